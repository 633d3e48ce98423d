#!/bin/sh
# Installs automon as a systemd service, or upgrades it in place.
#
#   install.sh                   what you wrote below /etc/automon stays as it is
#   install.sh --with-database   with a PostgreSQL of automon's own, as the service automon-database
#   install.sh --rollback        back to the program before the last upgrade; once more: forward again
#   install.sh --uninstall       configuration, data, state and the user automon stay
#
# PYTHON=/usr/bin/python3.12   the Python to run it with; else the system's, 3.11 or newer
# AUTOMON_WHEELS=FOLDER        take the dependencies from this folder of wheels, not from a package index
#
# Every installation is built in a folder of its own below /opt/automon/releases, beside the one that runs, and keeps its
# units there; /opt/automon/current then points to it, and /opt/automon/previous to the one before. When the new one does
# not start, the link is turned back.
set -eu
umask 022
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

PROGRAM=/opt/automon
COMMAND=/usr/local/bin/automon
CONFIG=/etc/automon
STATE=/var/lib/automon
DATABASE=/var/lib/automon-database
DATABASE_URL='postgresql://automon@/automon?host=/run/automon-database&port=54329'
UNITS=/etc/systemd/system
OWN_UNITS='automon.service automon-database.service automon-host.service'
RELOAD_DROP_IN=$UNITS/automon.service.d/notify-reload.conf
SYSUSERS=/etc/sysusers.d/automon.conf
LOCK=/run/lock/automon-install
# Seconds for a program to show that it works. One whose database is away shows nothing, and is not waited for any longer.
PATIENCE=10

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=$(dirname -- "$here")

say() { printf '%s\n' "$*"; }
die() { printf 'automon: %s\n' "$*" >&2; exit 1; }

# --- before anything is changed ------------------------------------------------------------------------------------

require_root_and_systemd() {
    [ "$(id -u)" = 0 ] || die "this changes the system and needs root: sudo make ${1:-install}"
    command -v systemctl >/dev/null || die "there is no systemd on this machine; without it: make run"
}

require_no_package() {
    case $(dpkg-query --show --showformat='${db:Status-Abbrev}' automon 2>/dev/null || true) in
        i*) die "automon is installed as a Debian package here; use that (apt), or remove it first: apt remove automon" ;;
    esac
}

require_free_place() {
    case $checkout/ in
        "$PROGRAM"/*) die "this checkout lies in $PROGRAM, where the program goes; move it, for example to /usr/local/src/automon" ;;
    esac
    [ ! -e "$PROGRAM" ] || [ -d "$PROGRAM/releases" ] || die "$PROGRAM is there and was not made by this installer; move it away"
}

be_alone() {
    command -v flock >/dev/null || return 0
    mkdir -p "${LOCK%/*}"
    exec 9>"$LOCK"
    flock --nonblock 9 || die "another installation runs; try again when it is done"
}

is_fit() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_fit "$PYTHON" || die "PYTHON=$PYTHON is not Python 3.11 or newer with venv"
        command -v "$PYTHON"
        return
    fi
    # Only where every user may look: a private Python in root's PATH is of no use to the service.
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        for folder in /usr/bin /usr/local/bin; do
            if is_fit "$folder/$name"; then say "$folder/$name"; return; fi
        done
    done
    die "automon needs Python 3.11 or newer with venv (Debian: apt install python3 python3-venv); or name one: make install PYTHON=/path/to/python3.11"
}

require_public_python() {
    real=$("$1" -I -c 'import os, sys; print(os.path.realpath(sys.executable))')
    case $real in
        /root/* | /home/* | /run/user/* | /tmp/* | /var/tmp/*)
            die "Python is $real, a private place that the service does not see; name one of the system: make install PYTHON=/usr/bin/python3" ;;
    esac
    # As the user nobody, who may do as little as the user automon. The shell is needed: setpriv itself still looks for
    # the program with the rights of root.
    (cd / && setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '"$0" -I -c ""' "$real") 2>/dev/null ||
        die "Python is $real, which other users than root cannot run; name one of the system: make install PYTHON=/usr/bin/python3"
}

# --- the program ---------------------------------------------------------------------------------------------------

new_pip() {
    "$release/bin/python" -m pip --quiet --disable-pip-version-check --no-input install --root-user-action ignore \
        ${AUTOMON_WHEELS:+--no-index --find-links "$AUTOMON_WHEELS"} "$@"
}

build_release() {
    release=$PROGRAM/releases/$(date -u +%Y%m%dT%H%M%SZ)-$$
    mkdir -p "$PROGRAM/releases"
    trap forget_release EXIT
    trap 'exit 1' HUP INT TERM
    "$1" -m venv "$release"
    new_pip --require-hashes --only-binary :all: -r "$checkout/requirements.lock"
    new_pip --no-deps --no-build-isolation "$checkout"
    mkdir -p "$release/share/automon"
    find "$here" -maxdepth 1 -type f -exec cp {} "$release/share/automon" \;
    cp "$checkout/monitoring_config.schema.json" "$release/share/automon"
    chmod -R go=u-w "$release/share/automon"
}

forget_release() { # unless it is in use by now
    [ "$(readlink "$PROGRAM/current" || true)" = "releases/${release##*/}" ] || rm -rf "$release"
}

point() { # NAME TARGET; a rename: there is no moment without the program
    ln -s "$2" "$PROGRAM/.$1.$$"
    mv -T "$PROGRAM/.$1.$$" "$PROGRAM/$1"
}

version_of() { "$PROGRAM/$1/bin/automon" --version; }

link_commands() {
    mkdir -p "$PROGRAM/bin"
    ln -sfn ../current/bin/automon "$PROGRAM/bin/automon"
    if [ -e "$COMMAND" ] && [ "$(readlink "$COMMAND" || true)" != "$PROGRAM/bin/automon" ]; then
        say "kept $COMMAND, which is not of this installation; the command is $PROGRAM/bin/automon"
    else
        mkdir -p "${COMMAND%/*}"
        ln -sfn "$PROGRAM/bin/automon" "$COMMAND"
    fi
}

remove_other_releases() {
    for other in "$PROGRAM"/releases/*; do
        case releases/${other##*/} in
            "$(readlink "$PROGRAM/current")" | "$(readlink "$PROGRAM/previous" || true)") ;;
            *) rm -rf "$other" ;;
        esac
    done
}

# --- what surrounds it ---------------------------------------------------------------------------------------------

make_user() {
    if command -v systemd-sysusers >/dev/null; then
        install -D -m 0644 "$here/automon.sysusers" "$SYSUSERS"
        systemd-sysusers "$SYSUSERS"
    elif ! id automon >/dev/null 2>&1; then
        useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin automon
    fi
}

keep_or_install() { # SOURCE TARGET MODE GROUP
    if [ -e "$2" ]; then
        say "kept $2"
    else
        install -m "$3" -o root -g "$4" "$1" "$2"
    fi
}

install_configuration() {
    [ -d "$CONFIG" ] || install -d -m 0755 "$CONFIG"
    keep_or_install "$checkout/monitoring_config.json" "$CONFIG/monitoring_config.json" 0644 root
    keep_or_install "$here/automon.env.example" "$CONFIG/automon.env" 0640 automon
}

systemd_version() { systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p'; }

systemd_runs() { [ -d /run/systemd/system ]; }

tell_systemd() { if systemd_runs; then systemctl daemon-reload; fi; }

state_of() { systemctl show --property ActiveState --value "$1"; }

property() { systemctl show --property "$1" --value automon.service; }

service_runs() { systemd_runs && systemctl --quiet is-active automon.service; }

turn_to() { # RELEASE; with the units that belong to it. Those of a release that was installed without are not known.
    point current "$1"
    own=$PROGRAM/current/share/automon
    [ -d "$own" ] || return 0
    for unit in $OWN_UNITS; do
        [ ! -f "$own/$unit" ] || install -D -m 0644 "$own/$unit" "$UNITS/$unit"
    done
    install -m 0644 "$own/monitoring_config.schema.json" "$CONFIG/monitoring_config.schema.json"
    if [ "$(systemd_version)" -ge 253 ]; then
        install -D -m 0644 "$own/notify-reload.conf" "$RELOAD_DROP_IN"
    fi
    tell_systemd
}

# --- does it work? -------------------------------------------------------------------------------------------------

restart_beside() { # what runs beside the service, or without it on a machine beside the main one
    systemd_runs || return 0
    for unit in automon-database.service automon-host.service; do
        if systemctl --quiet is-active "$unit"; then systemctl restart "$unit" || return 1; fi
    done
}

starts() { # restarts the service, and watches until it works, or has ended, or waits for its database
    restart_beside || return 1
    systemctl reset-failed automon.service
    systemctl restart automon.service || return 1
    deadline=$(($(date +%s) + PATIENCE))
    while [ "$(date +%s)" -lt "$deadline" ]; do
        [ "$(state_of automon.service)" = active ] && [ "$(property NRestarts)" = 0 ] || return 1
        case $(property StatusText) in
            '' | 'waiting for the database' | stop* | 'cannot start'*) sleep 0.2 ;;
            *) return 0 ;;
        esac
    done
}

go_back_to() { # RELEASE, after a program that did not start; says why it did not
    reason=$(property StatusText)
    turn_to "$1"
    starts || true
    case $reason in
        *newer_schema*) hint="An automon does not work on the schema of a newer one, and a schema does not go back: restore the database from before the upgrade first, or stay." ;;
        *) hint="The whole reason: journalctl -u automon" ;;
    esac
}

# --- the ways ------------------------------------------------------------------------------------------------------

start_new_release() {
    before=$(readlink "$PROGRAM/current" || true)
    turn_to "releases/${release##*/}"
    link_commands
    if ! service_runs; then
        restart_beside || say "not all that runs beside the service could be restarted: systemctl --failed"
    elif [ -n "$before" ] && ! starts; then
        go_back_to "$before"
        die "the new program did not start, so the one before is back; ${reason:-it ended}
  $hint"
    fi
    trap - EXIT
    [ -z "$before" ] || point previous "$before"
    remove_other_releases
}

start_database() {
    systemctl --quiet enable automon-database.service
    if systemd_runs; then
        systemctl restart automon-database.service || die "its database did not start; the reason: journalctl -u automon-database"
    fi
    if grep -q '^DATABASE_URL=$' "$CONFIG/automon.env"; then
        sed -i "s|^DATABASE_URL=\$|DATABASE_URL=$(printf %s "$DATABASE_URL" | sed 's/&/\\&/g')|" "$CONFIG/automon.env"
    elif ! grep -qF "DATABASE_URL=$DATABASE_URL" "$CONFIG/automon.env"; then
        say "kept the DATABASE_URL in $CONFIG/automon.env; that of the new database is"
        say "  DATABASE_URL=$DATABASE_URL"
    fi
}

print_next_steps() {
    version=$(version_of current)
    if service_runs; then
        say "$version is installed and runs: systemctl status automon"
        if [ -L "$PROGRAM/previous" ]; then say "back to the one before: sudo make rollback"; fi
        return
    fi
    say "$version is installed. What is left to do:"
    [ -n "${1:-}" ] ||
        say "  - say where the database is      sudoedit $CONFIG/automon.env"
    say "  - start it, now and at boot      sudo systemctl enable --now automon"
    say "  - see that it works              systemctl status automon"
    systemd_runs || say "(systemd does not run here; it will find the service at the next boot)"
}

install_automon() { # with-database, or nothing
    require_root_and_systemd install
    require_no_package
    require_free_place
    be_alone
    python=$(find_python)
    require_public_python "$python"
    say "building automon with $("$python" --version), $python"
    build_release "$python"
    make_user
    install_configuration
    start_new_release
    if [ -n "${1:-}" ]; then start_database; fi
    print_next_steps "${1:-}"
}

roll_back() {
    require_root_and_systemd rollback
    be_alone
    before=$(readlink "$PROGRAM/current") || die "automon is not installed in $PROGRAM"
    target=$(readlink "$PROGRAM/previous") || die "there is no earlier program: this is the first that was installed here"
    [ -x "$PROGRAM/$target/bin/automon" ] || die "the earlier program is gone from $PROGRAM/$target"
    ran=
    if systemd_runs; then case $(state_of automon.service) in inactive) ;; *) ran=yes ;; esac; fi
    turn_to "$target"
    if [ -z "$ran" ]; then
        restart_beside || say "not all that runs beside the service could be restarted: systemctl --failed"
    elif ! starts; then
        go_back_to "$before"
        die "the earlier program did not start, so all is as it was; ${reason:-it ended}
  $hint"
    fi
    point previous "$before"
    say "$(version_of current) is back; once more goes forward to $(version_of previous)"
}

uninstall_automon() {
    require_root_and_systemd uninstall
    be_alone
    if systemd_runs; then
        for unit in $OWN_UNITS; do systemctl disable --quiet --now "$unit" 2>/dev/null || true; done
    fi
    for unit in $OWN_UNITS; do rm -f "$UNITS/$unit"; done
    rm -f "$RELOAD_DROP_IN" "$SYSUSERS"
    rmdir "${RELOAD_DROP_IN%/*}" "$UNITS/automon.service.wants" 2>/dev/null || true
    tell_systemd
    if systemd_runs; then for unit in $OWN_UNITS; do systemctl reset-failed "$unit" 2>/dev/null || true; done; fi
    [ "$(readlink "$COMMAND" || true)" != "$PROGRAM/bin/automon" ] || rm -f "$COMMAND"
    rm -rf "${PROGRAM:?}/releases" "$PROGRAM/current" "$PROGRAM/previous" "${PROGRAM:?}/bin"
    rmdir "$PROGRAM" 2>/dev/null || true
    say "automon is removed. What stays, and how to remove it too:"
    say "  configuration and secrets   rm -r $CONFIG"
    say "  state                       rm -r $STATE"
    [ ! -d "$DATABASE" ] ||
        say "  its database, all facts     rm -r $DATABASE"
    say "  the user                    userdel automon"
}

case ${1:-} in
    '') install_automon ;;
    --with-database) install_automon with-database ;;
    --rollback) roll_back ;;
    --uninstall) uninstall_automon ;;
    *) die "unknown option $1; there are --with-database, --rollback and --uninstall" ;;
esac
