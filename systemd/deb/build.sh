#!/bin/sh
# Builds a Debian package of this checkout, for this machine's architecture and one Python: dist/automon_VERSION_ARCH.deb
#
# PYTHON=/usr/bin/python3   the Python that the package is for: the one of the distribution on which it will run
# REVISION=2                adds "-2" to the version
# MAINTAINER='Name <mail>'  who answers for it
# AUTOMON_WHEELS=FOLDER     take the dependencies from this folder of wheels, not from a package index
# OUTPUT=FOLDER             instead of dist
#
# Needs python3-venv and dpkg-deb, no root. The same checkout gives the same package, bit for bit.
set -eu
umask 022
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=$(dirname -- "$(dirname -- "$here")")
units=$checkout/systemd
python=${PYTHON:-/usr/bin/python3}
output=${OUTPUT:-$checkout/dist}

die() { printf 'automon: %s\n' "$*" >&2; exit 1; }

command -v dpkg-deb >/dev/null || die "dpkg-deb is missing (apt install dpkg)"
"$python" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    die "$python is not Python 3.11 or newer with venv (apt install python3-venv)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
root=$work/root
site=$root/usr/lib/automon
# The real name, python3.11: the package works with no other, and stays with it when the distribution goes on.
interpreter=$("$python" -I -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$checkout/pyproject.toml" | sed 's/\(a\|b\|rc\|\.dev\)\([0-9]*\)$/~\1\2/')${REVISION:+-$REVISION}
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$checkout" log -1 --format=%ct 2>/dev/null || stat --format %Y "$checkout/pyproject.toml")}
export SOURCE_DATE_EPOCH

pip() { "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

collect_wheels() { # each with the hash of the lock file
    "$python" -m venv "$work/venv"
    pip download --require-hashes --only-binary :all: --dest "$work/wheels" \
        ${AUTOMON_WHEELS:+--no-index --find-links "$AUTOMON_WHEELS"} --requirement "$checkout/requirements.lock"
    pip install --no-index --find-links "$work/wheels" hatchling
    pip wheel --no-deps --no-build-isolation --wheel-dir "$work/own" "$checkout"
}

install_program() {
    pip install --no-compile --no-index --find-links "$work/wheels" --target "$site" "$(ls "$work"/own/*.whl)[embedded]"
    # What pip notes for itself; it names folders of this machine.
    rm -rf "${site:?}/bin" "$site"/*.dist-info/RECORD "$site"/*.dist-info/INSTALLER "$site"/*.dist-info/REQUESTED \
        "$site"/*.dist-info/direct_url.json
    # Compiled here: the service may not write there. With the hash of the source inside instead of its time.
    "$python" -I -m compileall -q --invalidation-mode unchecked-hash -s "$root" "$site"
    install -d "$root/usr/bin"
    sed "s|@INTERPRETER@|/usr/bin/$interpreter|" "$here/automon" >"$root/usr/bin/automon"
    chmod 0755 "$root/usr/bin/automon"
}

install_surroundings() {
    for unit in automon automon-database automon-host; do
        install -D -m 0644 "$units/$unit.service" "$root/usr/lib/systemd/system/$unit.service"
        sed -i -e 's|/opt/automon/bin/automon|/usr/bin/automon|' \
            -e 's|^# Installed by install.sh, which replaces|# Installed by the package, which replaces|' "$root/usr/lib/systemd/system/$unit.service"
    done
    install -D -m 0644 "$units/automon.sysusers" "$root/usr/lib/sysusers.d/automon.conf"
    install -D -m 0644 -t "$root/usr/share/automon" "$units/notify-reload.conf" "$units/credentials.conf.example" "$checkout/monitoring_config.schema.json"
    install -D -m 0644 "$checkout/monitoring_config.json" "$root/etc/automon/monitoring_config.json"
    install -D -m 0640 "$units/automon.env.example" "$root/etc/automon/automon.env"
    ln -s /usr/share/automon/monitoring_config.schema.json "$root/etc/automon/monitoring_config.schema.json"
    install -D -m 0644 "$checkout/LICENSE" "$root/usr/share/doc/automon/copyright"
    gzip -9n <"$checkout/CHANGELOG.md" >"$root/usr/share/doc/automon/changelog.gz"
}

write_control() {
    install -D -m 0755 -t "$root/DEBIAN" "$here/preinst" "$here/postinst" "$here/prerm" "$here/postrm"
    printf '%s\n' /etc/automon/automon.env /etc/automon/monitoring_config.json >"$root/DEBIAN/conffiles"
    (cd "$root" && find etc usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2) >"$root/DEBIAN/md5sums"
    cat >"$root/DEBIAN/control" <<END
Package: automon
Version: $version
Architecture: $architecture
Maintainer: ${MAINTAINER:-automon <automon@localhost>}
Installed-Size: $(du -sk --apparent-size --exclude DEBIAN "$root" | cut -f 1)
Depends: $interpreter, libc6 (>= 2.28), systemd (>= 247), tzdata
Suggests: postgresql
Section: admin
Priority: optional
Description: watches automation and alerts in Slack and email
 automon watches what automation reports through SQL functions or a small client
 into a PostgreSQL database: failures, slow and stuck tasks, queues that pile up,
 components and hosts that fall silent. It sends alerts to Slack, email and other
 services, and runs as one systemd service.
 .
 The package carries its Python libraries, and PostgreSQL for those who have no
 database of their own (automon-database.service).
END
}

build_package() {
    chmod 0644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums"
    find "$root" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    mkdir -p "$output"
    dpkg-deb --root-owner-group --build "$root" "$output/automon_${version}_$architecture.deb"
}

collect_wheels
install_program
install_surroundings
write_control
build_package
