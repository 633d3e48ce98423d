"""A small company's automation on a bad day, played in a minute: what `make demo` lets automon watch.

    python examples/demo_workload.py --dsn postgresql://user:password@host:5432/database

Everything goes through the client. What would take hours is recorded with earlier moments, and what is to be forgotten
within the minute is recorded as almost an hour old, because error rates, failure rates and durations look back one hour.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from uuid import uuid4

from monitoring_client import MonitoringClient

HISTORY = timedelta(hours=3)
CHECKS_LOOK_BACK = timedelta(hours=1)


@dataclass(frozen=True)
class WorkloadPart:
    """One kind of task on a good day."""

    task_type: str
    worker_id: str
    every: timedelta
    seconds: tuple[int, int]
    size: int


GOOD_DAY = (
    WorkloadPart("document_processing", "worker-01", timedelta(minutes=3), (20, 60), 48_000),
    WorkloadPart("invoice_sync", "worker-02", timedelta(minutes=10), (4, 9), 1_200),
    WorkloadPart("web_scrape", "worker-03", timedelta(minutes=1), (5, 20), 90_000),
    WorkloadPart("nightly_export", "worker-04", timedelta(minutes=55), (90, 150), 2_000_000),
)
STORM_MESSAGES = (
    "HTTP 503 from api.ledger.example for invoice {number}",
    "invoice {number}: tax id is missing",
    "connection to api.ledger.example timed out after 30 s",
)
BACKLOG = (60, 130, 260, 540)


@dataclass(frozen=True)
class Stage:
    """What every act needs. `forgotten_from` is a moment which leaves the sliding hour early in the recovery."""

    monitor: MonitoringClient
    dice: random.Random
    now: datetime
    forgotten_from: datetime
    stuck_task_id: str


Act = tuple[str, Callable[[Stage], None]]


def run_demo(
    dsn: str,
    *,
    say: Callable[[str], None],
    stop: threading.Event,
    seconds_of_trouble: float,
    seconds_of_recovery: float,
) -> None:
    """Play a good day, then trouble, then the recovery, and tell each act in one line. Returns early when `stop` is set."""
    with MonitoringClient(dsn) as monitor:
        dice = random.Random(7)
        say("Three quiet hours: documents, invoices, web pages and exports are processed, the mail queue is short.")
        play_good_day(monitor, dice, datetime.now(timezone.utc))
        now = datetime.now(timezone.utc)
        leaves_the_hour = now + timedelta(seconds=seconds_of_trouble + seconds_of_recovery / 3)
        stage = Stage(monitor, dice, now, leaves_the_hour - CHECKS_LOOK_BACK, f"web_scrape-{uuid4()}")
        play(stage, trouble(), seconds_of_trouble, say, stop)
        play(stage, recovery(), seconds_of_recovery, say, stop)
        if monitor.dropped:
            say(f"{monitor.dropped} facts could not be recorded: is the database there, and migrated?")


def play(
    stage: Stage, acts: tuple[Act, ...], seconds: float, say: Callable[[str], None], stop: threading.Event
) -> None:
    began = time.monotonic()
    for number, (line, act) in enumerate(acts, start=1):
        if stop.is_set():
            return
        say(line)
        act(stage)
        stop.wait(max(0.0, began + seconds * number / len(acts) - time.monotonic()))


def trouble() -> tuple[Act, ...]:
    return (
        ("The ledger's API breaks: invoice-sync fails again and again, with three different errors.", error_storm),
        ("Mail piles up: 60 messages wait.", partial(backlog, pending=BACKLOG[0])),
        ("Documents take a quarter of an hour instead of half a minute.", slow_documents),
        ("A web page has been in work for 20 minutes; 130 messages wait.", page_hangs),
        ("The payment gateway answers slowly; 260 messages wait.", gateway_degrades),
        ("The queue `exports` and the worker scraper-3 have said nothing for long.", two_go_silent),
        ("The payment gateway is down; 540 messages wait.", gateway_fails),
        ("Nothing changes for a while.", nothing_more),
    )


def recovery() -> tuple[Act, ...]:
    return (
        ("The payment gateway is back; the mail queue drains: 300 wait.", gateway_recovers),
        ("The stuck web page is done; `exports` and scraper-3 report again; 90 messages wait.", stragglers_return),
        ("The ledger answers: invoices go through. The failures leave the last hour now.", invoices_go_through),
        ("Mail is sent: nothing waits any more.", partial(backlog, pending=0)),
        ("All quiet.", all_quiet),
    )


def play_good_day(monitor: MonitoringClient, dice: random.Random, now: datetime) -> None:
    for part in GOOD_DAY:
        for began in moments(now - HISTORY, now - timedelta(minutes=3), part.every):
            finish_task(monitor, part, began, dice.randint(*part.seconds))
    for at in moments(now - HISTORY, now, timedelta(minutes=10)):
        report_components(monitor, dice, at)
        monitor.queue("mail").report(dice.randint(4, 18), processing=3, oldest_pending_seconds=20, at=at)
    for at in moments(now - HISTORY, now, timedelta(minutes=25)):
        monitor.record_error(None, "HTTPError", "low", "HTTP 404: page is gone", "web-scraper", at=at)


def error_storm(stage: Stage) -> None:
    for number in range(130):
        at = stage.forgotten_from + timedelta(milliseconds=7 * number)
        message = STORM_MESSAGES[number % 7 % 3].format(number=4_100 + number)
        kind = "ValidationError" if "tax id" in message else "LedgerUnavailable"
        stage.monitor.record_error(
            None, kind, "high", message, "invoice-sync", context={"attempt": 1 + number % 3}, at=at
        )
    for number in range(26):
        at = stage.forgotten_from + timedelta(milliseconds=31 * number)
        began = at - timedelta(seconds=stage.dice.randint(30, 35))
        task_id = stage.monitor.start_task("invoice_sync", 1_200, "worker-02", at=began)
        stage.monitor.complete_task(task_id, "failed", error_message="api.ledger.example answers HTTP 503", at=at)


def slow_documents(stage: Stage) -> None:
    part = GOOD_DAY[0]
    for number in range(12):
        seconds = stage.dice.randint(950, 1_150)
        ended = stage.forgotten_from + timedelta(milliseconds=40 * number)
        finish_task(stage.monitor, part, ended - timedelta(seconds=seconds), seconds)


def page_hangs(stage: Stage) -> None:
    began = stage.now - timedelta(minutes=20)
    stage.monitor.start_task("web_scrape", 90_000, "worker-03", task_id=stage.stuck_task_id, at=began)
    backlog(stage, pending=BACKLOG[1])


def gateway_degrades(stage: Stage) -> None:
    stage.monitor.update_system_health("api", "payment_gateway", "degraded", response_time=6_400)
    backlog(stage, pending=BACKLOG[2])


def two_go_silent(stage: Stage) -> None:
    # Missed is only what has reported at a rhythm before.
    for at in moments(stage.now - timedelta(minutes=60), stage.now - timedelta(minutes=20), timedelta(minutes=5)):
        stage.monitor.queue("exports").report(2, at=at)
    for at in moments(stage.now - HISTORY, stage.now - timedelta(minutes=45), timedelta(minutes=9)):
        stage.monitor.update_system_health("worker", "scraper-3", "healthy", at=at)


def gateway_fails(stage: Stage) -> None:
    stage.monitor.update_system_health("api", "payment_gateway", "unhealthy", failure_reason="connection refused")
    stage.monitor.record_error(
        None,
        "ConnectionRefused",
        "critical",
        "payment gateway refuses connections",
        "payments",
        at=stage.forgotten_from,
    )
    backlog(stage, pending=BACKLOG[3])


def gateway_recovers(stage: Stage) -> None:
    stage.monitor.update_system_health("api", "payment_gateway", "healthy", response_time=85)
    backlog(stage, pending=300)


def stragglers_return(stage: Stage) -> None:
    stage.monitor.complete_task(stage.stuck_task_id, "completed", 41_000)
    stage.monitor.queue("exports").report(pending=0)
    stage.monitor.update_system_health("worker", "scraper-3", "healthy")
    backlog(stage, pending=90)


def invoices_go_through(stage: Stage) -> None:
    for number in range(8):
        began = datetime.now(timezone.utc) - timedelta(seconds=10 + number)
        finish_task(stage.monitor, GOOD_DAY[1], began, 6)


def all_quiet(stage: Stage) -> None:
    report_components(stage.monitor, stage.dice, datetime.now(timezone.utc))
    backlog(stage, pending=0)


def nothing_more(stage: Stage) -> None:
    """Record nothing: this act only gives time to look."""


def backlog(stage: Stage, *, pending: int) -> None:
    stage.monitor.queue("mail").report(pending, processing=3, oldest_pending_seconds=1.5 * pending)


def report_components(monitor: MonitoringClient, dice: random.Random, at: datetime) -> None:
    for name in ("main_api", "payment_gateway"):
        milliseconds = dice.randint(60, 140)
        monitor.update_system_health("api", name, "healthy", response_time=milliseconds, at=at)
        monitor.record_performance_metric("latency", "response_time", milliseconds, "ms", name, at=at)


def finish_task(monitor: MonitoringClient, part: WorkloadPart, began: datetime, seconds: float) -> None:
    """Record a whole task that has run for so long; a third of the time went into reading."""
    task_id = monitor.start_task(part.task_type, part.size, part.worker_id, at=began)
    steps = {"read": round(seconds / 3, 1), "work": round(seconds * 2 / 3, 1)}
    monitor.complete_task(task_id, "completed", part.size // 2, steps, at=began + timedelta(seconds=seconds))


def moments(first: datetime, last: datetime, every: timedelta) -> list[datetime]:
    return [first + number * every for number in range(int((last - first) / every) + 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a workload with trouble and recovery for automon to watch.")
    parser.add_argument(
        "--dsn", default=os.environ.get("AUTOMON_DSN"), help="the automon database (or set AUTOMON_DSN)"
    )
    parser.add_argument("--trouble", type=float, default=30, metavar="SECONDS", help="how long the trouble lasts (30)")
    parser.add_argument(
        "--recovery", type=float, default=30, metavar="SECONDS", help="how long the recovery takes (30)"
    )
    arguments = parser.parse_args()
    if not arguments.dsn:
        parser.error("give --dsn postgresql://user:password@host:5432/database, or set AUTOMON_DSN")
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    say = partial(print, flush=True)
    run_demo(
        arguments.dsn, say=say, stop=stop, seconds_of_trouble=arguments.trouble, seconds_of_recovery=arguments.recovery
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
