"""Installing, upgrading and removing the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.systemd_service import (
    CHECKOUT,
    CONFIG,
    DATABASE_URL,
    ENVIRONMENT,
    WHEELS,
    WORKING,
    InstalledAutomon,
    LabDatabase,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

INSTALL = f"{CHECKOUT}/systemd/install.sh"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
COMMAND = "/usr/local/bin/automon"
PYTHON = "/usr/bin/python3"
PROGRAM_PYTHON = "/opt/automon/current/bin/python"
PROGRAM = ("automon", "jobs", "notifiers", "scheduler", "sql", "systemd", "pyproject.toml", "README.md", "LICENSE")
SHIPPED = ("requirements.lock", "monitoring_config.json", "monitoring_config.schema.json")


def releases(automon: InstalledAutomon) -> list[str]:
    return automon.lab.read("ls", "/opt/automon/releases").splitlines()


def release(automon: InstalledAutomon, name: str = "current") -> str:
    """Return the release that the link of that name points to."""
    return automon.lab.read("readlink", f"/opt/automon/{name}").removeprefix("releases/")


def running_release(automon: InstalledAutomon) -> str:
    """Return the release of the process that runs."""
    return automon.lab.read("cat", f"/proc/{automon.main_pid}/cmdline").split("/releases/")[1].partition("/")[0]


@contextmanager
def checkout_in(automon: InstalledAutomon, folder: str) -> Iterator[str]:
    """Make a checkout of another version in that folder."""
    automon.lab.run("mkdir", "-p", folder)
    try:
        automon.lab.run("cp", "-r", *(f"{CHECKOUT}/{name}" for name in (*PROGRAM, *SHIPPED)), folder)
        yield folder
    finally:
        automon.lab.run("rm", "-r", folder)


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


def test_two_installations_do_not_run_at_once(automon: InstalledAutomon) -> None:
    before = releases(automon)
    while_it_runs = f"flock /run/lock/automon-install env AUTOMON_WHEELS={WHEELS} {INSTALL}"
    done = automon.lab.run("sh", "-c", while_it_runs, check=False)
    assert done.returncode == 1
    assert "another installation runs" in done.stderr
    assert releases(automon) == before


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


def test_an_upgrade_keeps_what_was_written_and_the_program_before_to_go_back_to(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    written = json.dumps({"alerts": {"resolve_after_minutes": 9}})
    automon.configure(written)
    automon.start()
    automon.wait_for_status(WORKING)
    first = running_release(automon)
    told = automon.install().stdout
    second = running_release(automon)
    assert f"kept {CONFIG}" in told
    assert "is installed and runs" in told
    assert second != first
    assert automon.status == WORKING
    assert automon.lab.read("cat", CONFIG) == written
    assert automon.lab.read("cat", ENVIRONMENT) == f"DATABASE_URL={DATABASE_URL}"
    assert releases(automon) == sorted([first, second])

    assert "is back; once more goes forward to" in automon.rollback().stdout
    assert running_release(automon) == first
    assert (release(automon), release(automon, "previous")) == (first, second)
    automon.lab.run("systemctl", "stop", "automon")
    automon.rollback()
    assert release(automon) == second
    assert not automon.active


def test_a_program_that_does_not_start_gives_way_to_the_one_before(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    before, link, kept = release(automon), automon.lab.read("readlink", COMMAND), releases(automon)
    with checkout_in(automon, "/srv/a broken checkout") as broken:
        automon.lab.run("sh", "-c", 'echo "raise SystemExit(1)" >> "$1/scheduler/service.py"', "sh", broken)
        automon.lab.run("sed", "-i", "s/^Description=.*/Description=broken/", f"{broken}/systemd/automon.service")
        automon.lab.run("ln", "-sfn", "/bin/true", COMMAND)
        done = automon.install(checkout=broken, check=False)
    assert done.returncode == 1
    assert f"kept {COMMAND}, which is not of this installation" in done.stdout
    assert "the new program did not start, so the one before is back" in done.stderr
    assert running_release(automon) == release(automon) == before
    assert automon.status == WORKING
    assert "broken" not in automon.show("Description")
    assert releases(automon) == kept
    automon.lab.run("ln", "-sfn", link, COMMAND)


def test_an_older_program_is_not_left_alone_with_a_newer_schema(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    older = release(automon)
    with checkout_in(automon, "/srv/newer") as newer:
        automon.lab.write(f"{newer}/sql/099_newer.sql", "SELECT 1;\n")
        automon.lab.run("env", "--chdir", newer, f"PYTHONPATH={newer}", PROGRAM_PYTHON, "-m", "automon.migrate")
        automon.install(checkout=newer)
    newer_release = running_release(automon)
    assert newer_release != older
    try:
        done = automon.rollback(check=False)
        assert done.returncode == 1
        assert "the earlier program did not start, so all is as it was; stopped: " in done.stderr
        assert "newer_schema: the database is at 099_newer.sql" in done.stderr
        assert "restore the database from before the upgrade first, or stay" in done.stderr
        assert running_release(automon) == release(automon) == newer_release
        assert automon.status == WORKING
    finally:
        database.ask("DELETE FROM monitoring_migrations WHERE file = '099_newer.sql'")
    automon.rollback()
    assert running_release(automon) == older


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
        "/etc/systemd/system/automon-database.service",
        "/etc/sysusers.d/automon.conf",
    )
    assert [path for path in gone if automon.lab.run("test", "-e", path, check=False).returncode == 0] == []
    automon.lab.run("test", "-d", "/var/lib/automon")
    automon.lab.run("id", "automon")
    automon.install()
    assert "there is no earlier program" in automon.rollback(check=False).stderr
    assert automon.lab.read("cat", CONFIG) == '{"alerts": {"resolve_after_minutes": 9}}'
    automon.start()
    wait_until(lambda: automon.active, what="the service after the second installation")
