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
    CHECKOUT,
    CONFIG,
    DATABASE_PASSWORD,
    DATABASE_URL,
    ENVIRONMENT,
    WAITING,
    WORKING,
    InstalledAutomon,
    LabDatabase,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

UNITS = ("automon.service", "automon-database.service", "automon-host.service")
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
    automon.wait_for_journal("service_ready")
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
    accepted = automon.wait_for_journal("config_accepted")
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
    entry = automon.wait_for_entry("AUTOMON_EVENT=config_rejected")
    assert entry["AUTOMON_PROBLEM"].startswith(f"{CONFIG}:1:")
    assert entry["MESSAGE"].startswith("config_rejected problem=")
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("3", "automon")
    automon.wait_for_status("config rejected, the one before stays in force")
    assert automon.active
    assert automon.main_pid == pid


def test_errors_and_nothing_else_have_error_priority(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    automon.configure('{"alert_thresholds": {"error_rate": {"critical": 7}}}')
    automon.lab.run("systemctl", "reload", "automon", check=False)
    automon.wait_for_entry("AUTOMON_EVENT=config_rejected")
    automon.lab.run("systemctl", "stop", "automon")
    errors = {entry["AUTOMON_EVENT"] for entry in automon.entries("--priority", "err")}
    others = {entry.get("AUTOMON_EVENT") for entry in automon.entries() if int(entry["PRIORITY"]) > 3}
    # An alert is there because no channel is, other than the journal: somebody has to see it.
    assert {"config_rejected"} <= errors <= {"config_rejected", "alert_message"}
    assert {"service_ready", "service_stopped"} <= others


def test_its_lines_reach_the_journal_when_the_socket_does_not_answer(
    automon: InstalledAutomon, stopped_database: LabDatabase
) -> None:
    automon.drop_in("[Service]\nInaccessiblePaths=/run/systemd/journal/socket\n")
    automon.configure("{")
    assert automon.lab.run("systemctl", "start", "automon", check=False).returncode != 0
    [entry] = [entry for entry in automon.entries("--priority", "err") if "cannot_start" in entry["MESSAGE"]]
    assert json.loads(entry["MESSAGE"])["problem"].startswith(f"{CONFIG}:1:")


def test_it_stops_at_once_and_without_an_error(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)
    began = time.monotonic()
    automon.lab.run("systemctl", "stop", "automon")
    assert time.monotonic() - began < 20
    assert automon.show("Result") == "success"
    assert automon.show("ExecMainStatus") == "0"
    assert "service_stopped" in automon.journal()


def kill_and_see_it_back(automon: InstalledAutomon) -> None:
    pid = automon.main_pid
    automon.lab.run("kill", "-KILL", str(pid))
    # The number is 0 from the end of the one to the start of the next.
    wait_until(lambda: automon.active and automon.main_pid not in (0, pid), what="another process")


def test_it_is_started_again_when_it_is_killed(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.start()
    kill_and_see_it_back(automon)
    assert automon.show("NRestarts") == "1"


def test_it_stays_down_when_it_dies_five_times_in_a_minute(
    automon: InstalledAutomon, stopped_database: LabDatabase
) -> None:
    automon.drop_in("[Service]\nRestartSec=0\n")
    automon.start()
    for _ in range(4):
        kill_and_see_it_back(automon)
    automon.lab.run("kill", "-KILL", str(automon.main_pid))
    wait_until(lambda: automon.show("ActiveState") == "failed", what="the end of systemd's patience")
    assert automon.show("NRestarts") == "5"
    told = automon.lab.run("systemctl", "status", "automon", check=False).stdout
    assert "start-limit-hit" in automon.show("Result") or "Start request repeated too quickly" in told
    assert automon.lab.run("systemctl", "start", "automon", check=False).returncode != 0
    automon.lab.run("systemctl", "reset-failed", "automon")
    automon.start()
    assert automon.active


def test_it_is_killed_and_started_again_when_it_hangs(automon: InstalledAutomon, stopped_database: LabDatabase) -> None:
    automon.drop_in("[Service]\nWatchdogSec=2\nTimeoutStopSec=1\n")
    automon.start()
    pid = automon.main_pid
    automon.lab.run("kill", "-STOP", str(pid))
    wait_until(lambda: automon.active and automon.main_pid not in (0, pid), seconds=20, what="another process")
    assert "Watchdog timeout" in automon.journal()


def test_it_is_started_again_when_its_threads_hang_and_leaves_the_reason(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.drop_in("[Service]\nWatchdogSec=3\n")
    automon.start()
    automon.wait_for_status(WORKING)
    pid = automon.main_pid
    stopper = (f"{CHECKOUT}/tests/support/stop_threads.py", str(pid))
    automon.lab.run("systemd-run", "--quiet", "--collect", "--unit", "stopper", "/usr/bin/python3", *stopper)
    try:
        entry = automon.wait_for_entry("AUTOMON_EVENT=stuck", seconds=30)
        assert entry["PRIORITY"] == "3"
        assert "the scheduler does not run" in entry["AUTOMON_TROUBLES"]
        wait_until(lambda: automon.active and automon.main_pid not in (0, pid), seconds=20, what="another process")
    finally:
        automon.lab.run("systemctl", "stop", "stopper", check=False)
    automon.wait_for_status(WORKING)
    told = automon.journal()
    assert "Watchdog timeout" in told
    assert "Fatal Python error: Aborted" in told  # and where each thread was
    assert automon.show("NRestarts") == "1"


def test_a_database_that_hangs_is_waited_for(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.drop_in("[Service]\nWatchdogSec=3\n")
    automon.start()
    automon.wait_for_status(WORKING)
    pid = automon.main_pid
    automon.lab.run("systemctl", "kill", "--signal", "STOP", "database")
    try:
        automon.wait_for_status(WAITING)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 5, what="more than the watchdog's patience")
        assert automon.status == WAITING
    finally:
        automon.lab.run("systemctl", "kill", "--signal", "CONT", "database")
    automon.wait_for_status(WORKING)
    assert automon.main_pid == pid
    assert automon.show("NRestarts") == "0"


def test_it_is_started_again_when_nobody_tries_to_send_what_waits(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    automon.set_environment(**slack_behind("9"))  # where nobody listens, should anybody call
    automon.drop_in("[Service]\nWatchdogSec=3\nRestartSec=0\n")
    automon.start()
    automon.wait_for_status(WORKING)
    # As a sender leaves it that has not come back for minutes.
    database.ask(
        "UPDATE notification_channels SET next_send_at = now() + interval '1 hour', pause = interval '1 hour', failures = 0, failing_since = NULL"
    )
    database.ask("SELECT update_system_health('api', 'stuck_api', 'unhealthy', p_failure_reason => 'it burns')")
    waiting = "FROM alert_deliveries WHERE channel = 'slack' AND status = 'pending' AND attempts = 0"
    wait_until(lambda: database.ask(f"SELECT count(*) {waiting}") != "0", seconds=20, what="a message that waits")
    database.ask(
        "UPDATE alert_deliveries SET next_attempt_at = next_attempt_at - interval '4 minutes' WHERE status = 'pending'"
    )
    try:
        entry = automon.wait_for_entry("AUTOMON_EVENT=stuck", seconds=30)
        assert entry["AUTOMON_TROUBLES"] == '["messages wait, and no attempt is made to send them"]'
        automon.wait_for_journal("Watchdog timeout")
        wait_until(lambda: automon.show("NRestarts") != "0", what="a new start")
    finally:
        automon.lab.run("systemctl", "stop", "automon")
        database.ask("UPDATE alert_deliveries SET status = 'failed', finished_at = now() WHERE status = 'pending'")
        database.ask("UPDATE notification_channels SET next_send_at = now(), pause = interval '0'")


def test_it_feeds_the_watchdog_while_a_channel_does_not_answer(
    automon: InstalledAutomon, database: LabDatabase
) -> None:
    with deaf_proxy_in(automon.lab) as proxy:
        [port] = read_until(proxy, "")
        automon.set_environment(**slack_behind(port))
        automon.drop_in("[Service]\nWatchdogSec=2\n")
        automon.start()
        automon.wait_for_status(WORKING)
        database.ask("SELECT update_system_health('api', 'slow_api', 'unhealthy', p_failure_reason => 'it burns')")
        read_until(proxy, "called")
        pid, began = automon.main_pid, time.monotonic()
        wait_until(lambda: time.monotonic() - began > 5, what="more than two times the watchdog's patience")
        assert automon.main_pid == pid
        assert automon.status == WORKING
        automon.lab.run("systemctl", "stop", "automon")


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


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_of_a_unit_is_small(automon: InstalledAutomon, unit: str) -> None:
    verdict = automon.lab.read("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
    found = re.search(rf"exposure level for {unit}: ([\d.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= 2.0


def test_no_unit_has_a_mistake(automon: InstalledAutomon) -> None:
    done = automon.lab.run("systemd-analyze", "verify", *UNITS)
    assert done.stdout + done.stderr == ""


def test_a_secret_can_be_encrypted_on_disk(automon: InstalledAutomon, database: LabDatabase) -> None:
    sealed = "/etc/automon/credentials/database_url.cred"
    automon.lab.run("install", "-d", "-m", "0700", "/etc/automon/credentials")
    encrypt = ("systemd-creds", "encrypt", "--name=database_url", "-", sealed)
    automon.lab.run(*encrypt, input=DATABASE_URL)
    assert DATABASE_PASSWORD not in automon.lab.read("cat", sealed)
    automon.set_environment()
    automon.configure_with(database={"url": "$cred:database_url"})
    automon.drop_in(f"[Service]\nLoadCredentialEncrypted=database_url:{sealed}\n")
    automon.start()
    automon.wait_for_status(WORKING)


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
def mail_in(lab: SystemdLab) -> Iterator[subprocess.Popen[str]]:
    """Run a stand-in for a mail server in the lab's network."""
    command = lab.network(sys.executable, "-m", "tests.support.smtp")
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def exports_of(stand_in: subprocess.Popen[str]) -> dict[str, str]:
    """Return the variables that a stand-in asks to be set."""
    lines = (line.removeprefix("export ").partition("=") for line in read_until(stand_in, "Ctrl-C")[:-1])
    return {name: value.strip("'") for name, _, value in lines}


@contextmanager
def deaf_proxy_in(lab: SystemdLab) -> Iterator[subprocess.Popen[str]]:
    """Run a server in the lab's network that takes connections, says so, and never answers."""
    with subprocess.Popen(lab.network(sys.executable, "-c", DEAF), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def slack_behind(port: str) -> dict[str, str]:
    """Return the environment of a service whose way to Slack leads to a proxy at that port."""
    return {
        "DATABASE_URL": DATABASE_URL,
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0DEAF000/B0DEAF000/deafWebhookToken00000000",
        "HTTPS_PROXY": f"http://127.0.0.1:{port}",
    }


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
        environment = exports_of(slack)
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


def test_credentials_can_hold_every_secret(automon: InstalledAutomon, database: LabDatabase) -> None:
    with slack_in(automon.lab) as slack, mail_in(automon.lab) as mail, deaf_proxy_in(automon.lab) as watcher:
        for_slack, for_mail = exports_of(slack), exports_of(mail)
        authorities = [Path(for_slack.pop("REQUESTS_CA_BUNDLE")), Path(for_mail.pop("SSL_CERT_FILE"))]
        automon.lab.write("/etc/automon/lab-ca.pem", "".join(path.read_text() for path in authorities))
        secrets = {
            "database_url": DATABASE_URL,
            "slack_webhook_url": for_slack.pop("SLACK_WEBHOOK_URL"),
            "email_url": for_mail.pop("AUTOMON_EMAIL_URL"),
            "ping_url": f"http://127.0.0.1:{read_until(watcher, '')[0]}/only-for-me",
        }
        automon.lab.run("install", "-d", "-m", "0700", "/etc/automon/credentials")
        for name, value in secrets.items():
            automon.lab.write(f"/etc/automon/credentials/{name}", value + "\n")
        trust = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), "/etc/automon/lab-ca.pem")
        automon.set_environment(**for_slack, **for_mail, **trust)
        automon.drop_in(automon.lab.read("cat", f"{CHECKOUT}/systemd/credentials.conf.example"))
        automon.configure_with(
            database={"url": "$cred:database_url"},
            channels={
                "slack": {"type": "slack", "webhook_url": "$cred:slack_webhook_url"},
                "email": {"type": "email", "url": "$cred:email_url"},
            },
            ping={"url": "$cred:ping_url", "every_seconds": 1},
        )
        automon.start()
        automon.wait_for_status(WORKING)
        database.ask("SELECT update_system_health('api', 'secret_api', 'unhealthy', p_failure_reason => 'it burns')")
        read_until(slack, "CRITICAL api/secret_api")
        read_until(mail, "api/secret_api")
        read_until(watcher, "called")
        shown = automon.journal() + automon.lab.read("systemctl", "show", "automon")
        environment = automon.lab.read("cat", f"/proc/{automon.main_pid}/environ")
        credential = "LoadCredential=database_url:/etc/automon/credentials/database_url"
        run = ("systemd-run", "--pipe", "--quiet", "--uid=automon", "--property", credential)
        assert automon.lab.run(*run, "automon", "status", check=False).returncode == 2  # the alert is critical
    assert [name for name, value in secrets.items() if value in shown + environment] == []


def test_it_stops_in_time_while_a_channel_does_not_answer(automon: InstalledAutomon, database: LabDatabase) -> None:
    with deaf_proxy_in(automon.lab) as proxy:
        [port] = read_until(proxy, "")
        automon.set_environment(**slack_behind(port))
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
