"""The Debian package: built from the checkout, installed, upgraded, removed and purged by dpkg."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.systemd_lab import SystemdLab
from tests.support.systemd_service import (
    CHECKOUT,
    CONFIG,
    DATABASE_URL,
    ENVIRONMENT,
    OWN_DATABASE_URL,
    WHEELS,
    WORKING,
    InstalledAutomon,
    LabDatabase,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
LEFT_OUT = {"DPKG_DEB_COMPRESSOR_TYPE": "none"}  # to compress takes longer than all the rest


@dataclass
class Package:
    lab: SystemdLab
    path: str

    def field(self, name: str) -> str:
        return self.lab.read("dpkg-deb", "--field", self.path, name)

    def install(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.lab.run("dpkg", "--install", "--force-confold", self.path, check=check)

    def as_version(self, version: str, change: str = "true") -> Package:
        """Build the same files as another version, after that shell command in their folder."""
        build = f"""
            set -e
            rm -rf /srv/again
            dpkg-deb --raw-extract "$1" /srv/again
            sed -i 's/^Version: .*/Version: {version}/' /srv/again/DEBIAN/control
            cd /srv/again && {change}
            DPKG_DEB_COMPRESSOR_TYPE=none dpkg-deb --root-owner-group --build /srv/again /srv/packages/{version}.deb
            rm -rf /srv/again
        """
        self.lab.run("sh", "-c", build, "sh", self.path)
        return Package(self.lab, f"/srv/packages/{version}.deb")


@pytest.fixture(scope="module")
def package(lab: SystemdLab) -> Iterator[Package]:
    environment = {"AUTOMON_WHEELS": WHEELS, "OUTPUT": "/srv/packages", **LEFT_OUT}
    assignments = (f"{name}={value}" for name, value in environment.items())
    lab.run("env", *assignments, f"{CHECKOUT}/systemd/deb/build.sh")
    yield Package(lab, lab.read("sh", "-c", "ls /srv/packages/automon_*.deb"))
    lab.run("rm", "-r", "/srv/packages")


@pytest.fixture(scope="module")
def machine(installed: InstalledAutomon) -> Iterator[InstalledAutomon]:
    """A machine without automon, but with what it takes to look at one."""
    installed.reset()
    installed.uninstall()
    installed.lab.run("rm", "-r", "/etc/automon")
    yield installed
    installed.install()


@pytest.fixture
def automon(machine: InstalledAutomon) -> Iterator[InstalledAutomon]:
    machine.drop_in("")
    machine.mark_journal()
    yield machine
    machine.lab.run("dpkg", "--purge", "--force-remove-reinstreq", "automon")


def state(lab: SystemdLab) -> str:
    """Return how dpkg sees the package: "ii" is installed, "rc" removed with its configuration left, nothing unknown."""
    shown = lab.run("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}", "automon", check=False)
    return shown.stdout.strip()


def exists(lab: SystemdLab, path: str) -> bool:
    return lab.run("test", "-e", path, check=False).returncode == 0


def test_it_is_made_as_a_package_should_be(package: Package) -> None:
    lab = package.lab
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.field("Version"))
    assert package.field("Architecture") == lab.read("dpkg", "--print-architecture")
    assert re.match(r"python3\.\d+, libc6 ", package.field("Depends"))
    listed = [line.split(maxsplit=5) for line in lab.read("dpkg-deb", "--contents", package.path).splitlines()]
    assert {owner for _, owner, *_ in listed} == {"root/root"}
    assert {mode for mode, *_ in listed} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "-rw-r-----", "lrwxrwxrwx"}
    assert [path for mode, *_, path in listed if mode == "-rw-r-----"] == [f".{ENVIRONMENT}"]
    assert lab.run("sh", "-c", f"dpkg-deb --fsys-tarfile {package.path} | grep -aF /srv/", check=False).stdout == ""


def test_package_and_installer_do_not_meet(automon: InstalledAutomon, package: Package) -> None:
    lab = automon.lab
    lab.run("mkdir", "-p", "/opt/automon/releases")
    refused = package.install(check=False)
    lab.run("rm", "-r", "/opt/automon")
    assert refused.returncode != 0
    assert "it is installed in /opt/automon already" in refused.stderr
    assert state(lab) != "ii"
    assert not exists(lab, "/usr/lib/automon")

    package.install()
    refused = automon.install(check=False)
    assert refused.returncode == 1
    assert "automon is installed as a Debian package here" in refused.stderr
    assert not exists(lab, "/opt/automon")


def test_it_installs_upgrades_goes_back_and_is_purged(
    automon: InstalledAutomon, package: Package, database: LabDatabase
) -> None:
    lab = automon.lab
    told = package.install().stdout
    assert "it does not run yet. Say where the database is" in told
    assert state(lab) == "ii"
    assert lab.read("systemctl", "is-enabled", "automon") == "enabled"
    assert not automon.active
    assert lab.read("stat", "--format", "%A %U %G", ENVIRONMENT) == "-rw-r----- root automon"
    assert lab.run("dpkg", "--verify", "automon").stdout == ""
    assert "version" in lab.read(*NOBODY, "automon", "--version")
    verified = lab.run("systemd-analyze", "verify", "automon.service", "automon-database.service")
    assert verified.stdout + verified.stderr == ""

    written = '{"alerts": {"resolve_after_minutes": 9}}'
    automon.configure(written)
    automon.set_environment(DATABASE_URL=DATABASE_URL)
    automon.mark_journal()
    automon.start()
    automon.wait_for_status(WORKING)
    assert automon.entries("AUTOMON_EVENT=service_ready") != []
    first = automon.main_pid

    newer = package.as_version("9.0.0")
    newer.install()
    assert lab.read("dpkg-query", "--show", "--showformat", "${Version}", "automon") == "9.0.0"
    wait_until(lambda: automon.main_pid not in (0, first), what="another process")
    automon.wait_for_status(WORKING)
    assert lab.read("cat", CONFIG) == written
    assert lab.read("cat", ENVIRONMENT) == f"DATABASE_URL={DATABASE_URL}"

    broken = newer.as_version(
        "9.0.1",
        "echo 'raise SystemExit(1)' >> usr/lib/automon/scheduler/service.py; rm -rf usr/lib/automon/scheduler/__pycache__",
    )
    refused = broken.install(check=False)
    assert refused.returncode != 0
    assert "version 9.0.0 ran, this one did not start; the reason: journalctl -u automon" in refused.stderr
    assert not automon.active
    newer.install()
    assert state(lab) == "ii"
    lab.run("systemctl", "start", "automon")
    automon.wait_for_status(WORKING)

    lab.run("systemctl", "disable", "automon")
    package.install()  # downgrades work as upgrades do
    assert lab.run("systemctl", "is-enabled", "automon", check=False).stdout.strip() == "disabled"
    automon.wait_for_status(WORKING)

    lab.run("dpkg", "--remove", "automon")
    assert state(lab) == "rc"
    assert not automon.active
    assert lab.read("cat", CONFIG) == written
    assert exists(lab, "/var/lib/automon")
    assert not exists(lab, "/usr/lib/automon")

    lab.run("dpkg", "--purge", "automon")
    assert state(lab) == ""
    left = ("/etc/automon", "/var/lib/automon", "/usr/bin/automon", "/usr/lib/systemd/system/automon.service")
    assert [path for path in left if exists(lab, path)] == []
    assert lab.run("getent", "passwd", "automon", check=False).stdout == ""
    links = lab.read("find", "/etc/systemd/system", "-name", "*automon*")
    assert links == ""


def test_its_own_database_works(automon: InstalledAutomon, package: Package) -> None:
    lab = automon.lab
    package.install()
    automon.set_environment(DATABASE_URL=OWN_DATABASE_URL)
    lab.run("systemctl", "enable", "--now", "automon-database")
    automon.start()
    automon.wait_for_status(WORKING)
    assert lab.run("automon", "status", check=False).returncode in (0, 1, 2, 3)
    before = lab.read("pgrep", "--uid", "automon", "--oldest", "postgres")
    package.install()
    automon.wait_for_status(WORKING)
    assert lab.read("pgrep", "--uid", "automon", "--oldest", "postgres") != before
    lab.run("dpkg", "--purge", "automon")
    assert not exists(lab, "/var/lib/automon-database")
    assert lab.read("find", "/etc/systemd/system", "-name", "*automon*") == ""
