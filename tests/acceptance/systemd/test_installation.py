"""Installing, upgrading and removing the service."""

from __future__ import annotations

import pytest

from tests.support.systemd_service import CHECKOUT, CONFIG, DATABASE_URL, ENVIRONMENT, InstalledAutomon
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]

INSTALL = f"{CHECKOUT}/systemd/install.sh"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
PYTHON = "/usr/bin/python3"
PROGRAM = ("automon", "jobs", "notifiers", "scheduler", "sql", "systemd", "pyproject.toml", "README.md", "LICENSE")
SHIPPED = ("requirements.lock", "monitoring_config.json", "monitoring_config.schema.json")


def releases(automon: InstalledAutomon) -> list[str]:
    return automon.lab.read("ls", "/opt/automon/releases").splitlines()


@pytest.mark.parametrize("option", [(), ("--uninstall",)], ids=["install", "uninstall"])
def test_it_wants_to_be_root(automon: InstalledAutomon, option: tuple[str, ...]) -> None:
    done = automon.lab.run(*NOBODY, INSTALL, *option, check=False)
    assert done.returncode == 1
    assert "needs root: sudo make" in done.stderr
    assert done.stdout == ""


def test_it_refuses_an_unknown_option(automon: InstalledAutomon) -> None:
    done = automon.lab.run(INSTALL, "--remove", check=False)
    assert done.returncode == 1
    assert "unknown option --remove" in done.stderr


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("/root/own", "a private place that the service does not see"), ("/srv/own", "other users than root cannot run")],
)
def test_it_refuses_a_python_that_the_service_could_not_run(
    automon: InstalledAutomon, folder: str, reason: str
) -> None:
    before = releases(automon)
    automon.lab.run("install", "-d", "-m", "0700", folder)
    automon.lab.run("cp", "--dereference", PYTHON, f"{folder}/python3")
    done = automon.install(PYTHON=f"{folder}/python3", check=False)
    assert done.returncode == 1
    assert reason in done.stderr
    assert releases(automon) == before


def test_it_refuses_a_python_that_is_none(automon: InstalledAutomon) -> None:
    done = automon.install(PYTHON="/bin/false", check=False)
    assert done.returncode == 1
    assert "PYTHON=/bin/false is not Python 3.11 or newer" in done.stderr


def test_the_command_is_on_the_path(automon: InstalledAutomon) -> None:
    assert "version" in automon.lab.read(*NOBODY, "automon", "--version")
    assert "is right" in automon.lab.read(
        "env", f"DATABASE_URL={DATABASE_URL}", "automon", "check-config", "--config", CONFIG
    )


def test_a_second_installation_replaces_the_program_and_keeps_what_was_written(automon: InstalledAutomon) -> None:
    automon.configure('{"alerts": {"resolve_after_minutes": 9}}')
    automon.start()
    pid, [before] = automon.main_pid, releases(automon)
    told = automon.install().stdout
    assert f"kept {CONFIG}" in told
    assert "is installed and runs" in told
    assert automon.active
    assert automon.main_pid != pid
    [now] = releases(automon)
    assert now != before
    assert f"/opt/automon/releases/{now}/" in automon.lab.read("cat", f"/proc/{automon.main_pid}/cmdline")
    assert automon.lab.read("cat", CONFIG) == '{"alerts": {"resolve_after_minutes": 9}}'
    assert automon.lab.read("cat", ENVIRONMENT) == f"DATABASE_URL={DATABASE_URL}"


def test_a_program_that_does_not_start_gives_way_to_the_one_before(automon: InstalledAutomon) -> None:
    broken = "/srv/broken"
    automon.lab.run("mkdir", "-p", broken)
    automon.lab.run("cp", "-r", *(f"{CHECKOUT}/{name}" for name in (*PROGRAM, *SHIPPED)), broken)
    automon.lab.run("sh", "-c", f"echo 'raise SystemExit(1)' >> {broken}/scheduler/service.py")
    automon.start()
    before = releases(automon)
    done = automon.install(checkout=broken, check=False)
    assert done.returncode == 1
    assert "the new program did not start, so the one before is back" in done.stderr
    assert automon.active
    assert releases(automon) == before


def test_what_was_written_outlives_the_program(automon: InstalledAutomon) -> None:
    automon.configure('{"alerts": {"resolve_after_minutes": 9}}')
    automon.start()
    told = automon.uninstall()
    assert "/etc/automon" in told
    assert automon.lab.read("systemctl", "show", "--property", "LoadState", "--value", "automon") == "not-found"
    gone = (
        "/opt/automon",
        "/usr/local/bin/automon",
        "/etc/systemd/system/automon.service",
        "/etc/sysusers.d/automon.conf",
    )
    assert [path for path in gone if automon.lab.run("test", "-e", path, check=False).returncode == 0] == []
    automon.lab.run("test", "-d", "/var/lib/automon")
    automon.lab.run("id", "automon")
    automon.install()
    assert automon.lab.read("cat", CONFIG) == '{"alerts": {"resolve_after_minutes": 9}}'
    automon.start()
    wait_until(lambda: automon.active, what="the service after the second installation")
