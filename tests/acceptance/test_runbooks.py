"""Each runbook, followed: its alert is provoked by facts, reads as the page shows it, and the page's first looks work on it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.calls import DAY, HOUR, JOURNAL, MINUTE, channel
from tests.support.checkout import newcomers_environment, shell
from tests.support.markdown import ROOT, Page
from tests.support.psql import psql_program
from tests.support.service import Look, make_config, run_automon, write_config

PAGES = {path.stem: Page(path) for path in sorted((ROOT / "docs/runbooks").glob("*.md"))}
ALERT = 41  # as the pages call it
# What a line begins with, and why it is not run here.
NOT_RUN = {
    "journalctl ": "the machine of the tests has no journal, and nothing of ours in it",
    "ssh ": "there is no second machine",
    "ping ": "there is no second machine",
    "du ": "it looks at the whole disk",
    "lsof ": "not installed everywhere",
    "automon send-test ": "the setup guide's test sends to a Slack",
    "automon channels resume ": "the setup guide's test takes a channel up again",
    "automon canary ": "the setup guide's test has a service to send it",
}
Provoke = Callable[[Look, datetime], None]


def errors(look: Look, now: datetime) -> None:
    look.record_errors(112, "invoice-sync", until=now)


def critical_error(look: Look, now: datetime) -> None:
    look("record_error", "task-1", "io", "critical", "disk full", "invoice-sync")


def failures(look: Look, now: datetime) -> None:
    look.run_tasks(8, "invoice_sync", status="failed", ended=now)


def slow_tasks(look: Look, now: datetime) -> None:
    look.run_tasks(3, "ocr", seconds=1200, ended=now)


def endless_task(look: Look, now: datetime) -> None:
    look("start_task_tracking", "export-7", "nightly_export", p_at=now - 20 * MINUTE)


def unhealthy(look: Look, now: datetime) -> None:
    look("update_system_health", "api", "main_api", "unhealthy", 80, "timeout")


def slow_answer(look: Look, now: datetime) -> None:
    look("update_system_health", "api", "main_api", "healthy", 12_000)


def silent_component(look: Look, now: datetime) -> None:
    for minutes in (22, 21, 20):
        look("update_system_health", "worker", "mailer", "healthy", p_at=now - minutes * MINUTE)


def backlog(look: Look, now: datetime) -> None:
    look("update_queue_metrics", "mail", 1204)


def silent_queue(look: Look, now: datetime) -> None:
    for minutes in (22, 21, 20):
        look("update_queue_metrics", "mail", 1, p_at=now - minutes * MINUTE)


def host(values: dict[str, object], since: tuple[int, ...] = (4, 3, 2, 1, 0)) -> Provoke:
    def record(look: Look, now: datetime) -> None:
        for minutes in since:
            look("record_host_sample", "ops-1", values, p_at=now - minutes * MINUTE)

    return record


def failing_job(look: Look, now: datetime) -> None:
    look("beat", "ops-1:1")
    for ago in (HOUR, MINUTE):
        run = look("begin_job_run", "cleanup", "ops-1:1", now - ago)
        look("finish_job_run", run, "failed", {}, "no space left on device", now - ago)


def stopped_channel(look: Look, now: datetime) -> None:
    look.configure(channels=[channel("slack", recipients=["webhook"]), JOURNAL])
    look("beat", "ops-1:1")
    look("send_canary", "ana", "slack")
    number = look("claim_delivery", "slack", "ops-1:1")["delivery_id"]
    why = {"p_detail": "Slack answered 404 no_service", "p_reason": "gone", "p_stops_channel": True}
    look("finish_delivery_attempt", number, "ops-1:1", "failed", 0.2, **why)


def blind_period(look: Look, now: datetime) -> None:
    ended = now - MINUTE
    began = ended - timedelta(hours=3, minutes=30)
    look.ask(
        "INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s, %s, 'no service ran')", began, ended
    )
    look("tell_of_blindness", now)


def expired_day(look: Look, now: datetime) -> None:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight - 93 * DAY - 12 * HOUR  # critical errors are kept for 90 days
    look("record_error", "task-1", "io", "critical", "disk full", "invoice-sync", p_at=at)


def refused_config(look: Look, now: datetime) -> None:
    look("beat", "ops-1:1")
    problem = {"line": 3, "column": 5, "key": "alert_thresholds.error_rate"}
    problem |= {"file": "/etc/automon/monitoring_config.json", "allowed": "known here: error_rates"}
    problem["message"] = "unknown key, did you mean 'error_rates'?"
    judgement = {"at": now.isoformat(), "noticed_by": "watch", "actor": "ana", "problems": [problem]}
    path = "/etc/automon/monitoring_config.json"
    look("record_config_judgements", "ops-1:1", "ops-1", path, Jsonb([judgement]))


ALERTS: dict[str, Provoke] = {
    "error_rate": errors,
    "critical_errors": critical_error,
    "failure_rate": failures,
    "processing_time": slow_tasks,
    "running_time": endless_task,
    "component_health": unhealthy,
    "component_silence": silent_component,
    "response_time": slow_answer,
    "queue_backlog": backlog,
    "queue_silence": silent_queue,
    "host_cpu": host({"cpu_percent": 97}),
    "host_memory": host({"memory_percent": 99}),
    "host_disk": host({"disks": [{"mount": "/var", "percent": 96, "free_bytes": 4_000_000_000}]}),
    "host_silence": host({"cpu_percent": 1}, since=(22, 21, 20)),
    "automon_job": failing_job,
    "automon_channel": stopped_channel,
    "automon_blind": blind_period,
    "automon_storage": expired_day,
    "automon_config": refused_config,
}


def provoke(look: Look, alert_type: str) -> None:
    look.ask("SELECT setval('public.alerts_id_seq', %s)", ALERT - 1)
    ALERTS[alert_type](look, look.one("SELECT now()"))
    look("run_monitoring_checks")
    look("check_automon_alerts")


def test_every_runbook_is_followed_here() -> None:
    assert set(PAGES) == set(ALERTS)


@pytest.mark.parametrize("alert_type", ALERTS)
def test_an_alert_reads_as_its_runbook_shows_it_and_the_first_looks_work(
    alert_type: str, look: Look, database_url: str, tmp_path: Path
) -> None:
    page = PAGES[alert_type]
    provoke(look, alert_type)

    said = look.ask("SELECT source || ': ' || summary AS said FROM public.alerts WHERE alert_type = %s", alert_type)
    assert {"said": page.text.splitlines()[2].strip("`")} in said

    with psycopg.connect(database_url, autocommit=True) as owner:
        for block in page.written_in("sql"):
            for statement in filter(str.strip, block.text.split(";\n")):
                owner.execute(statement.encode())

    lines = [line for line in first_looks(page) if not line.startswith(tuple(NOT_RUN))]
    write_config(tmp_path, make_config())
    done = shell(in_one_process(lines), tmp_path, environment(database_url))
    assert 0 == done.returncode, done.stderr
    assert f"#{ALERT}" in done.stdout, done.stdout


def first_looks(page: Page) -> list[str]:
    below = page.text.partition("## First looks\n")[2].partition("\n## ")[0]
    return [line for block in page.written_in("sh") if block.text in below for line in block.text.splitlines()]


def in_one_process(lines: list[str]) -> str:
    """Write the lines as a script that calls automon's commands in one process, which has to start only once."""
    # Whatever hangs, the doctor ends, and its process with it; it finds that no service runs.
    calls = [line for line in lines if line.startswith("automon ") and line != DOCTOR]
    others = [f"{line} || [ $? = 1 ]" if line == DOCTOR else line for line in lines if line not in calls]
    return "\n".join(["set -e", f"python -c {shlex.quote(CALL_ALL)} {shlex.join(calls)}", *others])


DOCTOR = "automon doctor"
# What looks at alerts answers that there are some: 1, 2, or 3 without a service.
CALL_ALL = """
import shlex, sys
from automon.cli import main
for line in sys.argv[1:]:
    words = shlex.split(line)[1:]
    try:
        main(words, prog_name="automon")
    except SystemExit as end:
        if end.code not in (0, *((1, 2, 3) if words[0] in ("status", "channels") else ())):
            sys.exit(f"{line}: {end.code}")
"""


def environment(database_url: str) -> dict[str, str]:
    found = newcomers_environment({"DATABASE_URL": database_url})
    return found | {"PATH": f"{ROOT / '.venv/bin'}:{Path(psql_program()).parent}:{found['PATH']}"}


@pytest.mark.parametrize("beginning", NOT_RUN)
def test_what_is_not_run_stands_in_a_runbook(beginning: str) -> None:
    lines = [line for page in PAGES.values() for block in page.written_in("sh") for line in block.text.splitlines()]

    assert any(line.startswith(beginning) for line in lines)


def test_the_alerts_of_the_runbooks_name_them_when_they_are_asked_for_by_number(
    look: Look, database_url: str, tmp_path: Path
) -> None:
    provoke(look, "queue_backlog")
    write_config(tmp_path, make_config())

    found = run_automon(tmp_path, "runbook", f"#{ALERT}", environment={"DATABASE_URL": database_url})
    missing = run_automon(tmp_path, "runbook", "4711", environment={"DATABASE_URL": database_url})

    assert (0, "queue_backlog: work piles up") == (found.returncode, found.stdout.splitlines()[0])
    assert (1, "") == (missing.returncode, missing.stdout)
    assert "there is no alert 4711" in missing.stderr
