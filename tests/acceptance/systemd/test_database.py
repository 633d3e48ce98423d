"""automon's own PostgreSQL as a unit of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.systemd_lab import SystemdLab
from tests.support.systemd_service import ENVIRONMENT, OWN_DATABASE_URL, WORKING, InstalledAutomon
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

UNIT = "automon-database"
FOLDER = "/var/lib/automon-database"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
DROP_IN = "/run/systemd/system/automon-database.service.d/lab.conf"


@pytest.fixture(scope="module")
def named(installed: InstalledAutomon) -> Iterator[str]:
    """Install automon's own database, which no other test shall meet; what the environment file says after that."""
    installed.reset()
    installed.set_environment(DATABASE_URL="", AUTOMON_LOG_FORMAT="console")
    installed.install("--with-database")
    yield installed.lab.read("cat", ENVIRONMENT)
    installed.lab.run("systemctl", "disable", "--now", UNIT, "automon")
    installed.lab.run("rm", "-r", FOLDER)


@pytest.fixture(scope="module")
def with_database(installed: InstalledAutomon, named: str) -> InstalledAutomon:
    """automon, installed with its own database."""
    return installed


@pytest.fixture
def automon(with_database: InstalledAutomon) -> Iterator[InstalledAutomon]:
    """The service at work on its own database."""
    lab = with_database.lab
    with_database.drop_in("")
    with_database.set_environment(DATABASE_URL=OWN_DATABASE_URL)
    with_database.mark_journal()
    with_database.start()
    with_database.wait_for_status(WORKING)
    yield with_database
    lab.run("systemctl", "stop", "automon")
    lab.run("rm", "--force", DROP_IN)
    lab.run("systemctl", "daemon-reload")


def show(lab: SystemdLab, name: str) -> str:
    return lab.read("systemctl", "show", "--property", name, "--value", UNIT)


def postmaster(lab: SystemdLab) -> int:
    """Return the process number of PostgreSQL itself, a child of the unit's main process; 0 while there is none."""
    found = lab.run("pgrep", "--parent", show(lab, "MainPID"), "--exact", "postgres", check=False).stdout.split()
    return int(found[0]) if found else 0


def test_the_installer_names_it_where_none_was_named(with_database: InstalledAutomon, named: str) -> None:
    lab = with_database.lab
    assert named.splitlines() == [f"DATABASE_URL={OWN_DATABASE_URL}", "AUTOMON_LOG_FORMAT=console"]
    assert lab.read("stat", "--format", "%A %U %G", ENVIRONMENT) == "-rw-r----- root automon"
    assert lab.read("systemctl", "is-enabled", UNIT) == "enabled"
    assert re.fullmatch("accepts connections at /run/automon-database and port 54329", show(lab, "StatusText"))
    with_database.set_environment(DATABASE_URL="postgresql://elsewhere/automon")
    told = with_database.install("--with-database").stdout
    assert (
        f"kept the DATABASE_URL in {ENVIRONMENT}; that of the new database is\n  DATABASE_URL={OWN_DATABASE_URL}"
        in told
    )
    assert lab.read("cat", ENVIRONMENT) == "DATABASE_URL=postgresql://elsewhere/automon"


def test_commands_of_root_find_it_and_those_of_others_do_not(automon: InstalledAutomon) -> None:
    assert automon.lab.run("automon", "status", check=False).returncode in (0, 1, 2, 3)
    done = automon.lab.run(*NOBODY, "automon", "status", "--database-url", OWN_DATABASE_URL, check=False)
    assert done.returncode == 4
    assert "Permission denied" in done.stderr
    for folder in (FOLDER, "/run/automon-database"):
        assert automon.lab.read("stat", "--format", "%A %U %G", folder) == "drwx------ automon automon"
    assert automon.lab.read("stat", "--format", "%A %U", f"{FOLDER}/password") == "-rw------- automon"


def test_applications_report_over_the_loopback_with_a_password(automon: InstalledAutomon) -> None:
    password = automon.lab.read("cat", f"{FOLDER}/password")
    url = f"postgresql://automon:{password}@127.0.0.1:54329/automon"
    answer = "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute('SELECT current_user').fetchone()[0])"
    python = "/opt/automon/current/bin/python"
    assert automon.lab.read(*NOBODY, python, "-c", answer, url) == "automon"
    assert automon.lab.run(*NOBODY, python, "-c", answer, url.replace(password, "x"), check=False).returncode != 0


def test_it_outlives_automon_and_automon_outlives_it(automon: InstalledAutomon) -> None:
    server = postmaster(automon.lab)
    automon.lab.run("systemctl", "restart", "automon")
    automon.wait_for_status(WORKING)
    assert postmaster(automon.lab) == server != 0

    pid = automon.main_pid
    automon.lab.run("kill", "-KILL", show(automon.lab, "MainPID"))
    wait_until(lambda: postmaster(automon.lab) not in (0, server), seconds=20, what="another server")
    automon.wait_for_status(WORKING)
    assert automon.main_pid == pid
    assert automon.lab.run("test", "-e", f"/proc/{server}", check=False).returncode != 0


def test_a_server_that_dies_or_hangs_is_replaced(automon: InstalledAutomon) -> None:
    lab = automon.lab
    server = postmaster(lab)
    lab.run("kill", "-KILL", str(server))
    wait_until(lambda: postmaster(lab) not in (0, server), seconds=20, what="another server after its death")
    assert "database_died" in lab.read("journalctl", "--unit", UNIT, "--priority", "err", "--output", "cat")

    lab.write(DROP_IN, "[Service]\nWatchdogSec=6\nTimeoutAbortSec=1\n")
    lab.run("systemctl", "daemon-reload")
    lab.run("systemctl", "restart", UNIT)
    server = postmaster(lab)
    lab.run("kill", "-STOP", str(server))
    wait_until(lambda: postmaster(lab) not in (0, server), seconds=30, what="another server after it hung")
    told = lab.read("journalctl", "--unit", UNIT, "--priority", "err", "--output", "cat")
    assert "Watchdog timeout" in told
    assert "the server does not answer" in told


def test_both_are_back_after_a_reboot_and_the_database_ends_last(automon: InstalledAutomon) -> None:
    lab = automon.lab
    lab.run("systemctl", "enable", "automon")
    tell = "SELECT update_system_health('api', 'before_reboot', 'healthy')"
    run = (
        "import psycopg, sys; print(psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2]).fetchone()[0])",
    )
    python = ("/opt/automon/current/bin/python", "-c", *run, OWN_DATABASE_URL)
    lab.run(*python, tell)
    lab.reboot()
    automon.wait_for_status(WORKING)
    assert lab.read(*python, "SELECT count(*) FROM system_health WHERE component_name = 'before_reboot'") == "1"
    units = ("--unit", "automon", "--unit", UNIT)
    before = lab.read("journalctl", "--boot", "-1", *units, "--output", "cat").splitlines()
    ends = [line.partition(" ")[0] for line in before if line.startswith(("service_stopped", "database_stopping"))]
    assert ends[-2:] == ["service_stopped", "database_stopping"]


def test_its_data_outlives_the_program(automon: InstalledAutomon) -> None:
    told = automon.uninstall()
    assert FOLDER in told
    assert automon.lab.run("pgrep", "--exact", "postgres", "--uid", "automon", check=False).stdout == ""
    assert automon.lab.read("systemctl", "show", "--property", "LoadState", "--value", UNIT) == "not-found"
    automon.install("--with-database")
    automon.start()
    automon.wait_for_status(WORKING)
    automon.lab.run("test", "-s", f"{FOLDER}/data/PG_VERSION")
