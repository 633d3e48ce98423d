"""The service as systemd runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.systemd_lab import SystemdLab
from tests.support.systemd_service import (
    CONFIG,
    DATABASE_PASSWORD,
    DATABASE_URL,
    ENVIRONMENT,
    InstalledAutomon,
    LabDatabase,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]

LOOK_TWICE = """
import json, time
from jobs.host_reader import HostReader
reader = HostReader()
reader.look(time.monotonic())
time.sleep(1)
print(json.dumps(reader.look(time.monotonic())))
"""
DEAF = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
callers = []
while True:
    callers.append(server.accept())
    print("called", flush=True)
"""
WAITING = "waiting for the database"
WORKING = "checks run"


def test_it_is_ready_while_the_database_is_away_and_says_so(
    automon: InstalledAutomon, stopped_database: LabDatabase
) -> None:
    automon.start()
    assert automon.active
    assert automon.status == WAITING
    assert f'Status: "{WAITING}"' in automon.lab.read("systemctl", "status", "automon")


def test_it_begins_to_check_when_the_database_comes(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.start()
    pid = automon.main_pid
    stopped_database.start()
    automon.wait_for_status(WORKING)
    automon.wait_for_journal('"event": "service_ready"')
    assert automon.main_pid == pid
    assert DATABASE_PASSWORD not in automon.journal()


def test_it_says_when_the_database_goes_and_goes_on_when_it_is_back(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.configure_with(schedule={"host_sampling_seconds": 1})
    automon.start()
    automon.wait_for_status(WORKING)
    pid = automon.main_pid
    database.stop()
    automon.wait_for_status(WAITING)
    database.start()
    automon.wait_for_status(WORKING)
    assert automon.main_pid == pid


def test_it_gives_up_with_the_reason_when_no_database_is_named(automon: InstalledAutomon) -> None:
    automon.set_environment(DATABASE_URL="")
    assert automon.lab.run("systemctl", "start", "automon", check=False).returncode != 0
    assert "failed" == automon.show("ActiveState")
    assert "0" == automon.show("NRestarts")
    assert "no database: DATABASE_URL is not set" in automon.journal()
    assert "cannot start: no database" in automon.lab.run("systemctl", "status", "automon", check=False).stdout


def test_it_gives_up_with_line_and_column_when_the_configuration_is_wrong(automon: InstalledAutomon) -> None:
    automon.configure('{\n  "alerts": {"resolve_after_minutes": "soon"}\n}')
    assert automon.lab.run("systemctl", "start", "automon", check=False).returncode != 0
    assert f"{CONFIG}:2:" in automon.journal()


def test_a_reload_puts_a_changed_configuration_in_force(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    pid = automon.main_pid
    automon.configure_with(alert_thresholds={"error_rates": {"critical": 7}})
    automon.lab.run("systemctl", "reload", "automon")
    accepted = automon.wait_for_journal('"event": "config_accepted"')
    assert "error_rates" in accepted
    wait_until(
        lambda: database.ask("SELECT critical FROM monitoring_thresholds WHERE alert_type = 'error_rate'") == "7",
        what="the new threshold in the database",
    )
    assert automon.main_pid == pid
    assert automon.status == WORKING


def test_a_reload_of_a_wrong_configuration_changes_nothing_and_is_told(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    pid = automon.main_pid
    automon.configure('{"alert_thresholds": {"error_rate": {"critical": 7}}}')
    automon.lab.run("systemctl", "reload", "automon", check=False)
    assert f"{CONFIG}:1:" in automon.wait_for_journal('"event": "config_rejected"')
    automon.wait_for_status("config rejected, the one before stays in force")
    assert automon.active
    assert automon.main_pid == pid


def test_it_stops_at_once_and_without_an_error(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    began = time.monotonic()
    automon.lab.run("systemctl", "stop", "automon")
    assert time.monotonic() - began < 20
    assert automon.show("Result") == "success"
    assert automon.show("ExecMainStatus") == "0"
    assert "service_stopped" in automon.journal()


def test_it_is_started_again_when_it_is_killed(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.start()
    pid = automon.main_pid
    automon.lab.run("kill", "-KILL", str(pid))
    # The number is 0 from the end of the one to the start of the next.
    wait_until(lambda: automon.active and automon.main_pid not in (0, pid), what="another process")
    assert automon.show("NRestarts") == "1"


def test_it_is_killed_and_started_again_when_it_hangs(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.drop_in("[Service]\nWatchdogSec=2\nTimeoutStopSec=1\n")
    automon.start()
    pid = automon.main_pid
    automon.lab.run("kill", "-STOP", str(pid))
    wait_until(lambda: automon.active and automon.main_pid not in (0, pid), seconds=20, what="another process")
    assert "Watchdog timeout" in automon.journal()


def test_it_feeds_the_watchdog_while_the_database_is_away(
    automon: InstalledAutomon, stopped_database: LabDatabase
) -> None:
    automon.drop_in("[Service]\nWatchdogSec=2\n")
    automon.start()
    pid, began = automon.main_pid, time.monotonic()
    wait_until(lambda: time.monotonic() - began > 5, what="more than two times the watchdog's patience")
    assert automon.main_pid == pid
    assert automon.show("NRestarts") == "0"


def test_it_runs_as_its_own_user_without_any_right(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.start()
    status = automon.lab.read("cat", f"/proc/{automon.main_pid}/status")
    [user] = re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    assert user == automon.lab.read("id", "--user", "automon") != "0"
    assert re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\s+(\w+)", status, re.MULTILINE) == ["0" * 16] * 4
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_its_exposure_is_small(automon: InstalledAutomon) -> None:
    verdict = automon.lab.read("systemd-analyze", "security", "--no-pager", "automon.service").splitlines()[-1]
    found = re.search(r"exposure level for automon.service: ([\d.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= 2.0


def test_its_unit_has_no_mistake(automon: InstalledAutomon) -> None:
    done = automon.lab.run("systemd-analyze", "verify", "automon.service")
    assert done.stdout + done.stderr == ""


def test_nobody_but_its_group_reads_its_secrets(automon: InstalledAutomon) -> None:
    assert automon.lab.read("stat", "--format", "%A %U %G", ENVIRONMENT) == "-rw-r----- root automon"


def test_its_protection_leaves_the_host_samples_whole(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.configure_with(schedule={"host_sampling_seconds": 1})
    automon.start()
    automon.wait_for_status(WORKING)
    newest = "SELECT sample FROM host_metrics ORDER BY sampled_at DESC LIMIT 1"
    wait_until(lambda: "cpu_percent" in database.ask(newest), what="a second sample, which has rates")
    unprotected = automon.lab.read("/opt/automon/current/bin/python", "-c", LOOK_TWICE)
    assert shape(json.loads(database.ask(newest))) == shape(json.loads(unprotected))


def test_its_protection_does_not_hide_the_disk_of_the_homes(
    automon: InstalledAutomon, stopped_database: LabDatabase
) -> None:
    automon.start()
    measure = ("stat", "--file-system", "--format", "%T %b", "/home")
    within = ("nsenter", "--target", str(automon.main_pid), "--mount", "--", *measure)
    assert automon.lab.read(*within) == automon.lab.read(*measure)


def test_a_credential_can_hold_the_database_url(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.set_environment()
    automon.lab.run("install", "-m", "0600", "/dev/null", "/etc/automon/database_url")
    automon.lab.write("/etc/automon/database_url", DATABASE_URL + "\n")
    automon.drop_in("[Service]\nLoadCredential=database_url:/etc/automon/database_url\n")
    automon.configure_with(database={"url": "$cred:database_url"})
    automon.start()
    automon.wait_for_status(WORKING)


def shape(sample: Any) -> Any:
    """Return what is in a sample without its numbers."""
    match sample:
        case dict():
            return {name: shape(value) for name, value in sample.items()}
        case list():
            return [shape(value) for value in sample]
        case str():
            return sample
        case _:
            return "a number"


@contextmanager
def slack_in(lab: SystemdLab) -> Iterator[subprocess.Popen[str]]:
    """Run a stand-in for Slack in the lab's network."""
    command = lab.network(sys.executable, "-m", "tests.support.slack")
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def deaf_proxy_in(lab: SystemdLab) -> Iterator[subprocess.Popen[str]]:
    """Run a server in the lab's network that takes connections, says so, and never answers."""
    with subprocess.Popen(lab.network(sys.executable, "-c", DEAF), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Return the lines that it prints up to the one with that text; the test's time limit ends the wait."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"no {text} in {lines}")


def test_an_alert_reaches_slack(automon: InstalledAutomon, database: LabDatabase) -> None:
    with slack_in(automon.lab) as slack:
        exports = (line.removeprefix("export ").partition("=") for line in read_until(slack, "Ctrl-C")[:-1])
        environment = {name: value for name, _, value in exports}
        authority = Path(environment["REQUESTS_CA_BUNDLE"]).read_text()
        automon.lab.write("/etc/automon/lab-ca.pem", authority)
        environment |= {"REQUESTS_CA_BUNDLE": "/etc/automon/lab-ca.pem", "DATABASE_URL": DATABASE_URL}
        automon.set_environment(**environment)
        automon.start()
        automon.wait_for_status(WORKING)
        database.ask("SELECT update_system_health('api', 'lab_api', 'unhealthy', p_failure_reason => 'it burns')")
        automon.lab.run("systemctl", "restart", "automon")
        read_until(slack, "CRITICAL api/lab_api")  # another test's alert, of the same database, may come before it
    assert environment["SLACK_WEBHOOK_URL"] not in automon.journal()


def test_it_stops_in_time_while_a_channel_does_not_answer(automon: InstalledAutomon, database: LabDatabase) -> None:
    with deaf_proxy_in(automon.lab) as proxy:
        [port] = read_until(proxy, "")
        automon.set_environment(
            DATABASE_URL=DATABASE_URL,
            SLACK_WEBHOOK_URL="https://hooks.slack.com/services/T0DEAF000/B0DEAF000/deafWebhookToken00000000",
            HTTPS_PROXY=f"http://127.0.0.1:{port}",
        )
        automon.start()
        automon.wait_for_status(WORKING)
        database.ask("SELECT update_system_health('api', 'deaf_api', 'unhealthy', p_failure_reason => 'it burns')")
        automon.lab.run("systemctl", "restart", "automon")
        read_until(proxy, "called")
        began = time.monotonic()
        automon.lab.run("systemctl", "stop", "automon")
        assert time.monotonic() - began < 20
        assert automon.show("Result") == "success"


def test_an_alert_is_in_the_journal_when_there_is_no_channel(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    database.ask("SELECT update_system_health('api', 'quiet_api', 'unhealthy', p_failure_reason => 'it burns')")
    automon.lab.run("systemctl", "restart", "automon")
    automon.wait_for_journal("quiet_api")


def test_an_enabled_service_is_back_after_a_reboot(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.lab.run("systemctl", "enable", "automon", "database")
    try:
        automon.lab.reboot()
        automon.wait_for_status(WORKING)
    finally:
        automon.lab.run("systemctl", "disable", "automon", "database")
