"""Take pictures, as text, of what the command line shows of a small company's bad day: `docs/screens.md`.

The day is played into a database of its own, with every moment given, so that the page is the same whenever it is made.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from automon.cli.explain_screen import Explanation, explain_lines, source_lines
from automon.cli.status_commands import look
from automon.cli.status_screen import status_lines
from automon.cli.theme import PLAIN
from automon.cli.top_screen import Top
from automon.cli.work_screens import cause_lines, host_table, queue_table, task_screen, task_table
from automon.clock import SystemClock
from automon.database import Database
from automon.embedded import EmbeddedPostgres
from automon.migrate import migrate
from automon.models import Guidance
from automon.store import Store

PAGE_FILE = Path("docs/screens.md")
NOW = datetime(2025, 11, 24, 14, 20, tzinfo=UTC)
DAY = timedelta(hours=24)
HEIGHT = 24
VERBS = frozenset({"config", "runbook"})

_INTRODUCTION = """\
# What it looks like

Pictures of a small company's bad day, taken by `make generate` from the commands themselves; a test compares them. On a
terminal the shape and the word of a state are coloured: red, yellow, and blue for well (`AUTOMON_THEME=classic`: green;
`NO_COLOR=1`: none). Where a terminal has no UTF-8, letters stand for shapes: `x`, `!`, `ok`, `?`.
"""

# A day of tasks: type, worker, from, to, pause, shortest and longest seconds, how the end is.
_TASKS: tuple[tuple[str, str, timedelta, timedelta, timedelta, int, int, str], ...] = (
    ("document_processing", "worker-01", DAY, timedelta(), timedelta(minutes=3), 20, 60, "completed"),
    ("web_scrape", "worker-03", DAY, timedelta(), timedelta(minutes=2), 5, 20, "completed"),
    ("invoice_sync", "worker-02", DAY, timedelta(minutes=40), timedelta(minutes=10), 4, 9, "completed"),
    ("invoice_sync", "worker-02", timedelta(minutes=40), timedelta(), timedelta(minutes=2), 30, 35, "failed"),
    ("nightly_export", "worker-04", timedelta(hours=12), timedelta(hours=11), timedelta(hours=2), 90, 150, "completed"),
)
_RECORD_TASKS = """
SELECT start_task_tracking(k.task, %(type)s, 1200, %(worker)s, p_at => k.at), complete_task_tracking(k.task, %(status)s, 600,
    p_error_message => CASE WHEN %(status)s = 'failed' THEN 'api.ledger.example answers HTTP 503' END, p_at => k.at + k.seconds * interval '1 second')
FROM (SELECT %(type)s || '-' || %(status)s || '-' || n AS task, %(begin)s + n * %(pause)s AS at, %(least)s + n * 7 %% (%(most)s - %(least)s + 1) AS seconds
      FROM generate_series(0, %(count)s) AS n) AS k WHERE k.at + k.seconds * interval '1 second' < %(end)s
"""
_RECORD_ERRORS = """
SELECT record_error('invoice_sync-failed-' || n %% 20, CASE n %% 7 %% 3 WHEN 2 THEN 'ValidationError' ELSE 'LedgerUnavailable' END, 'high',
    CASE n %% 7 %% 3 WHEN 0 THEN 'HTTP 503 from api.ledger.example for invoice ' || 4100 + n WHEN 1 THEN 'connection to api.ledger.example timed out after 30 s'
        ELSE 'invoice ' || 4100 + n || ': tax id is missing' END, 'invoice-sync', p_at => %(now)s - n * interval '17 seconds') FROM generate_series(1, 130) AS n
"""
_RECORD_QUEUES = """
SELECT update_queue_metrics('mail', CASE WHEN n < 40 THEN 1204 - 29 * n ELSE 12 + n %% 6 END, 3, CASE WHEN n < 40 THEN 3 ELSE 42 END, 0, CASE WHEN n < 40 THEN 60 * (40 - n) ELSE 20 END,
    %(now)s - n * interval '1 minute'), update_queue_metrics('default', 17, 2, 61, 0, 2, %(now)s - n * interval '1 minute') FROM generate_series(0, 720) AS n
"""
# The service has been there for twelve days, and has checked just now.
_SERVICE = """
INSERT INTO service_instances (instance, version, started_at, beat_at, lease_until) VALUES ('ops-1:3f9a1c:4711', '0.2.0', %(now)s - interval '12 days', %(now)s, 'infinity')
"""
_CHECKED = """
INSERT INTO job_runs (job, instance, started_at, finished_at, outcome) VALUES ('alert_checks', 'ops-1:3f9a1c:4711', %(now)s - interval '4 seconds', %(now)s, 'succeeded')
"""
_SENT = "UPDATE alert_deliveries SET status = 'sent', attempts = 1, first_attempt_at = %(now)s - interval '1 minute', finished_at = %(now)s - interval '1 minute' WHERE status = 'pending'"
_CHECKS = (
    "check_error_rate_alerts", "check_processing_performance_alerts", "check_system_health_alerts", "check_queue_backlog_alerts", "check_host_alerts",
)  # fmt: skip
_LEVELS = """
SELECT jsonb_agg(jsonb_build_object('alert_type', t.alert_type, 'source', t.source, 'low', t.low, 'medium', t.medium, 'high', t.high, 'critical', t.critical)) FROM monitoring_thresholds t
"""


def play(connection: psycopg.Connection[Any]) -> None:
    """Record the day and judge it as a service would, into a migrated database with nothing in it."""

    def run(statement: str, **values: object) -> list[Any]:
        cursor = connection.execute(statement.encode(), {"now": NOW, **values} if "%(" in statement else None)
        return cursor.fetchall() if cursor.description else []

    connection.execute("SET search_path = public")
    [(levels,)] = run(_LEVELS)
    told = ["opened", "escalated", "reminded", "resolved"]
    channels = [{"name": name, "recipients": [name], "min_severity": "low", "notify_on": told} for name in ("slack", "email")]  # fmt: skip
    run(
        "SELECT sync_configuration(%(config)s)",
        config=Jsonb({"thresholds": levels, "settings": {}, "channels": channels}),
    )
    run("SELECT ensure_partitions(8, %(now)s)")
    for task_type, worker, begin, end, pause, least, most, status in _TASKS:
        run(
            _RECORD_TASKS, type=task_type, worker=worker, begin=NOW - begin, end=NOW - end, pause=pause, least=least, most=most,
            status=status, count=int((begin - end) / pause),
        )  # fmt: skip
    run("SELECT start_task_tracking('web_scrape-stuck', 'web_scrape', 90000, 'worker-03', p_at => %(now)s - interval '4 minutes')")  # fmt: skip
    run(_RECORD_ERRORS)
    run(_RECORD_QUEUES)
    for component in ("api/main_api", "api/payments", "worker/scraper-1", "worker/mail-relay"):
        kind, name = component.split("/")
        run("SELECT update_system_health(%(kind)s, %(name)s, 'healthy', 84, p_at => %(now)s - n * interval '1 minute') FROM generate_series(120, 30, -1) AS n", kind=kind, name=name)  # fmt: skip
        healthy = component != "worker/mail-relay"
        run(
            "SELECT update_system_health(%(kind)s, %(name)s, %(status)s, 84, %(why)s, p_at => %(now)s - n * interval '1 minute') FROM generate_series(22, 0, -1) AS n",
            kind=kind, name=name, status="healthy" if healthy else "unhealthy", why=None if healthy else "connection refused",
        )  # fmt: skip
    for host, disk in (("ops-1", 61.0), ("ops-2", 91.4), ("db-1", 44.0)):
        sample = {"cpu_percent": 12.0, "memory_percent": 41.0, "disks": [{"mount": "/var", "percent": disk, "free_bytes": 8_600_000_000, "total_bytes": 100_000_000_000}]}  # fmt: skip
        run("SELECT record_host_sample(%(host)s, %(sample)s, %(now)s - n * interval '1 minute') FROM generate_series(0, 60) AS n", host=host, sample=Jsonb(sample))  # fmt: skip
    run(_SERVICE)
    for minutes in range(40, -1, -5):
        at = NOW - timedelta(minutes=minutes)
        run("SELECT roll_up(1000000, %(at)s)", at=at)
        for check in _CHECKS:
            run(f"SELECT {check}(%(at)s)", at=at)
    run("SELECT acknowledge_alert(id, 'ana', 'relay restarted', %(now)s) FROM alerts WHERE alert_type = 'component_health'")  # fmt: skip
    run(_SENT)
    run(_CHECKED)


def screens_page(url: str) -> str:
    """Write the page from the database in which the day was played. Times are those of the process's zone."""
    database = Database(url, SystemClock(), size=1)
    database.open()
    try:
        return "\n".join([_INTRODUCTION, *(_picture(title, lines) for title, lines in _pictures(Store(database)))])
    finally:
        database.close()


def _picture(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n```text\n{PLAIN.finish(lines)}\n```\n"


def _pictures(store: Store) -> Iterator[tuple[str, Sequence[str]]]:
    status = look(store, now=NOW)
    yield "`automon status`", status_lines(status, PLAIN)
    yield "`automon top`, with the alerts chosen", _top(lambda: look(store, limit=20, now=NOW), "1", "down")
    worst = next(alert for alert in status.alerts if alert["alert_type"] == "error_rate")
    yield f"`automon explain {worst['id']}`", explain_lines(_explanation(store, worst["id"]), PLAIN)
    yield "`automon explain document_processing`", source_lines("document_processing", store.source_report("document_processing", NOW), NOW, VERBS, PLAIN)  # fmt: skip
    yield "`automon tasks`", task_table(store.task_report(window=DAY, now=NOW), DAY, NOW, PLAIN)
    details = store.task_details("invoice_sync", window=DAY, now=NOW)
    if details is not None:
        yield "`automon tasks invoice_sync`", task_screen(details, DAY, NOW, PLAIN)
    yield "`automon errors`", cause_lines(store.error_causes(window=DAY, now=NOW), DAY, NOW, PLAIN)
    yield "`automon queues`", queue_table(store.queue_report(NOW), NOW, PLAIN)
    yield "`automon hosts`", host_table(store.host_report(NOW), NOW, PLAIN)


def _top(find: Callable[[], Any], *keys: str) -> list[str]:
    top = Top(by="ana", status=find())
    for key in keys:
        top.press(key)
        top.lines(80, HEIGHT, PLAIN)
    return top.lines(80, HEIGHT, PLAIN)


def _explanation(store: Store, alert_id: int) -> Explanation:
    story, context = store.alert_story(alert_id), store.alert_context(alert_id, NOW)
    if story is None or context is None:
        raise ValueError(f"the day has no alert {alert_id}")
    guidance = Guidance(
        impact="customers get no invoice",
        next_step="restart the ledger gateway, then repeat the failed invoices",
        runbook="https://wiki.example.org/runbooks/invoice-sync",
    )
    return Explanation(story=story, context=context, guidance=guidance, now=NOW, verbs=VERBS)


def main() -> None:
    """Write the page into the checkout that this runs in."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    with (
        tempfile.TemporaryDirectory(prefix="automon-") as directory,
        EmbeddedPostgres(Path(directory), durable=False, port=0) as server,
    ):
        migrate(server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            play(connection)
        PAGE_FILE.write_text(screens_page(server.url), encoding="utf-8")


if __name__ == "__main__":
    main()
