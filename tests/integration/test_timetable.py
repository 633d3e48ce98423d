"""What a service can tell of its fast lane: for how long it has been at a look, and for how long its looks have failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from automon.clock import SystemClock
from automon.config import Schedule
from automon.database import Database
from automon.store import Store
from jobs.alert_checks import AlertChecks
from jobs.fast_checks import FastChecks
from jobs.host_reader import HostReader
from jobs.host_sampling import HostSampling
from jobs.job import Context
from jobs.self_check import SelfCheck
from scheduler.timetable import Timetable
from tests.support.waiting import wait_until

NEVER = timedelta(0)
MINUTE = timedelta(minutes=1)
SCHEDULE = Schedule(
    alert_checks=MINUTE,
    fast_checks=timedelta(seconds=1),
    host_sampling=MINUTE,
    self_check=MINUTE,
    cleanup_at=time(3),
    timezone=ZoneInfo("UTC"),
)


def nobody() -> None:
    """Take no notice of what changed."""


@pytest.fixture
def timetable(database_url: str) -> Iterator[Timetable]:
    """A timetable at work, with the jobs that all services share."""
    database = Database(database_url, SystemClock())
    context = Context(store=Store(database, "public"), clock=SystemClock(), instance="test", stop=threading.Event())
    jobs = AlertChecks(on_change=nobody), FastChecks(on_change=nobody), SelfCheck(on_change=nobody)
    timetable = Timetable(context, HostSampling("host", HostReader()), *jobs, lives=lambda: True)
    database.open()
    timetable.start()
    timetable.run_shared_jobs(SCHEDULE)
    yield timetable
    timetable.end()
    database.close()


def test_it_tells_for_how_long_looks_have_failed(
    timetable: Timetable, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    connection.execute("ALTER FUNCTION public.watch_facts RENAME TO watch_facts_away")
    wait_until(lambda: timetable.looks_fail_for > timedelta(seconds=1.1), what="a second look that fails")

    connection.execute("ALTER FUNCTION public.watch_facts_away RENAME TO watch_facts")

    wait_until(lambda: timetable.looks_fail_for == NEVER, what="a look that succeeds")


def test_it_tells_for_how_long_a_look_has_not_come_back(
    timetable: Timetable, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    connection.execute("SELECT public.update_queue_metrics('mail', 700)")
    with connection.transaction():
        connection.execute("SELECT public.lock_alerts()")
        wait_until(lambda: timetable.looking_for > timedelta(seconds=1.1), what="a look that waits")
        assert timetable.looks_fail_for == NEVER

    wait_until(lambda: timetable.looking_for == NEVER, what="the end of that look")
