#!/bin/sh
# Installs automon as a systemd service, or upgrades it in place.
#
#   install.sh               what you wrote below /etc/automon stays as it is
#   install.sh --uninstall   configuration, state and the user automon stay
#
# PYTHON=/usr/bin/python3.12   the Python to run it with; else the system's, 3.11 or newer
# AUTOMON_WHEELS=FOLDER        take the dependencies from this folder of wheels, not from a package index
#
# Every installation is built in a folder of its own below /opt/automon/releases, beside the one that runs;
# /opt/automon/current then points to it. When the new one does not start, the link is turned back.
set -eu
umask 022
unset PYTHONPATH PYTHONHOME

PROGRAM=/opt/automon
COMMAND=/usr/local/bin/automon
CONFIG=/etc/automon
STATE=/var/lib/automon
UNIT=/etc/systemd/system/automon.service
RELOAD_DROP_IN=/etc/systemd/system/automon.service.d/notify-reload.conf
SYSUSERS=/etc/sysusers.d/automon.conf

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=$(dirname -- "$here")

say() { printf '%s\n' "$*"; }
die() { printf 'automon: %s\n' "$*" >&2; exit 1; }

# --- before anything is changed ------------------------------------------------------------------------------------

require_root_and_systemd() {
    [ "$(id -u)" = 0 ] || die "this changes the system and needs root: sudo make ${1:-install}"
    command -v systemctl >/dev/null || die "there is no systemd on this machine; without it: make run"
}

require_free_place() {
    case $checkout/ in
        "$PROGRAM"/*) die "this checkout lies in $PROGRAM, where the program goes; move it, for example to /usr/local/src/automon" ;;
    esac
    [ ! -e "$PROGRAM" ] || [ -d "$PROGRAM/releases" ] || die "$PROGRAM is there and was not made by this installer; move it away"
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
    trap 'rm -rf "$release"' EXIT
    trap 'exit 1' HUP INT TERM
    "$1" -m venv "$release"
    new_pip --require-hashes --only-binary :all: -r "$checkout/requirements.lock"
    new_pip --no-deps --no-build-isolation "$checkout"
    version=$("$release/bin/automon" --version)
}

turn_link() { # a rename: there is no moment without the program
    ln -s "$1" "$PROGRAM/.current.$$"
    mv -T "$PROGRAM/.current.$$" "$PROGRAM/current"
}

link_commands() {
    mkdir -p "$PROGRAM/bin"
    ln -sfn ../current/bin/automon "$PROGRAM/bin/automon"
    ln -sfn "$PROGRAM/bin/automon" "$COMMAND"
}

remove_other_releases() {
    for other in "$PROGRAM"/releases/*; do
        [ "$other" = "$release" ] || rm -rf "$other"
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
    install -m 0644 "$checkout/monitoring_config.schema.json" "$CONFIG/monitoring_config.schema.json"
}

systemd_version() { systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p'; }

install_unit() {
    install -D -m 0644 "$here/automon.service" "$UNIT"
    if [ "$(systemd_version)" -ge 253 ]; then
        install -D -m 0644 "$here/notify-reload.conf" "$RELOAD_DROP_IN"
    fi
    systemd_runs || return 0
    systemctl daemon-reload
}

systemd_runs() { [ -d /run/systemd/system ]; }

service_runs() { systemd_runs && systemctl --quiet is-active automon.service; }

# --- the two ways --------------------------------------------------------------------------------------------------

start_new_release() {
    before=$(readlink "$PROGRAM/current" || true)
    turn_link "releases/${release##*/}"
    link_commands
    if service_runs && ! systemctl restart automon.service; then
        turn_link "$before"
        systemctl reset-failed automon.service
        systemctl restart automon.service || true
        die "the new program did not start, so the one before is back; the reason: journalctl -u automon"
    fi
    trap - EXIT
    remove_other_releases
}

print_next_steps() {
    if service_runs; then
        say "$version is installed and runs: systemctl status automon"
        return
    fi
    say "$version is installed. What is left to do:"
    say "  1. say where the database is     sudoedit $CONFIG/automon.env"
    say "  2. start it, now and at boot     sudo systemctl enable --now automon"
    say "  3. see that it works             systemctl status automon"
    systemd_runs || say "(systemd does not run here; it will find the service at the next boot)"
}

install_automon() {
    require_root_and_systemd install
    require_free_place
    python=$(find_python)
    require_public_python "$python"
    say "building automon with $("$python" --version), $python"
    build_release "$python"
    make_user
    install_configuration
    install_unit
    start_new_release
    print_next_steps
}

uninstall_automon() {
    require_root_and_systemd uninstall
    if systemd_runs; then systemctl disable --quiet --now automon.service 2>/dev/null || true; fi
    rm -f "$UNIT" "$RELOAD_DROP_IN" "$SYSUSERS"
    rmdir "${RELOAD_DROP_IN%/*}" 2>/dev/null || true
    if systemd_runs; then systemctl daemon-reload; systemctl reset-failed automon.service 2>/dev/null || true; fi
    [ "$(readlink "$COMMAND" || true)" != "$PROGRAM/bin/automon" ] || rm -f "$COMMAND"
    rm -rf "$PROGRAM/releases" "$PROGRAM/current" "$PROGRAM/bin"
    rmdir "$PROGRAM" 2>/dev/null || true
    say "automon is removed. What stays, and how to remove it too:"
    say "  configuration and secrets   rm -r $CONFIG"
    say "  state                       rm -r $STATE"
    say "  the user                    userdel automon"
}

case ${1:-} in
    '') install_automon ;;
    --uninstall) uninstall_automon ;;
    *) die "unknown option $1; there is --uninstall" ;;
esac
