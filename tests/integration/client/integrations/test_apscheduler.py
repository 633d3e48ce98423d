"""Schedulers of APScheduler, and what the database then holds of the runs of their jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from monitoring_client import MonitoringClient
from monitoring_client.integrations.apscheduler import watch
from tests.support.scheduled_jobs import divide

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
RunExample = Callable[..., None]
RUNS = "SELECT task_type, status, error_message FROM processing_metrics ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking"
RUNNING = "SELECT count(*) FROM processing_metrics WHERE status = 'running'"
ENDED = "SELECT count(*) FROM processing_metrics WHERE status <> 'running'"


@contextmanager
def watched(monitor: MonitoringClient, **options: Any) -> Iterator[BackgroundScheduler]:
    """A scheduler that runs until its jobs have ended."""
    scheduler = BackgroundScheduler(timezone=timezone.utc, **options)
    watch(scheduler, monitor)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown()


def test_each_run_is_a_task_of_the_name_of_its_job(monitor: MonitoringClient, rows: Rows, until: Until) -> None:
    with watched(monitor) as scheduler:
        scheduler.add_job(divide, args=(4, 2))
        scheduler.add_job(divide, args=(6, 2), name="halve")
        until(lambda: rows(ENDED) == [(2,)])

    assert sorted(rows(RUNS)) == [("divide", "completed", None), ("halve", "completed", None)]
    assert rows(ERRORS) == []


def test_a_failure_is_one_error_with_type_message_and_traceback(
    monitor: MonitoringClient, rows: Rows, until: Until
) -> None:
    with watched(monitor) as scheduler:
        scheduler.add_job(divide, args=(1, 0))
        until(lambda: rows(ENDED) == [(1,)])

    assert rows(RUNS) == [("divide", "failed", "division by zero")]
    assert rows(ERRORS) == [("ZeroDivisionError", "division by zero", "divide", "medium")]
    [(trace,)] = rows("SELECT stack_trace FROM error_tracking")
    assert "return first / second" in trace
    assert trace.endswith("ZeroDivisionError: division by zero\n")


def test_a_failure_in_another_process_comes_with_its_traceback(
    monitor: MonitoringClient, rows: Rows, until: Until
) -> None:
    with watched(monitor, executors={"default": ProcessPoolExecutor(1)}) as scheduler:
        scheduler.add_job(divide, args=(1, 0))
        until(lambda: rows(ENDED) == [(1,)])

    assert rows(RUNS) == [("divide", "failed", "division by zero")]
    [(trace,)] = rows("SELECT stack_trace FROM error_tracking")
    assert "return first / second" in trace


def test_two_runs_of_one_job_at_once_are_two_tasks(monitor: MonitoringClient, rows: Rows, until: Until) -> None:
    both = threading.Barrier(2)
    with watched(monitor) as scheduler:
        scheduler.add_job(both.wait, "interval", seconds=0.05, max_instances=2, id="pair", name="meet")
        until(lambda: rows(RUNNING) == [(2,)] or rows(ENDED)[0][0] >= 2)
        scheduler.remove_job("pair")
        both.abort()
        until(lambda: rows(RUNNING) == [(0,)])

    assert {(name, status) for name, status, _ in rows(RUNS)} <= {("meet", "completed"), ("meet", "failed")}
    [(overlapping,)] = rows(
        "SELECT count(*) FROM processing_metrics a, processing_metrics b"
        " WHERE a.task_id < b.task_id AND a.start_time < b.end_time AND b.start_time < a.end_time"
    )
    assert overlapping >= 1


def test_a_run_that_was_missed_is_cancelled_with_an_error(monitor: MonitoringClient, rows: Rows, until: Until) -> None:
    long_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    with watched(monitor) as scheduler:
        scheduler.add_job(divide, "date", run_date=long_ago, args=(4, 2), misfire_grace_time=1, name="nightly")
        until(lambda: rows(ENDED) == [(1,)])

    message = f"the run of {long_ago} was missed"
    assert rows(RUNS) == [("nightly", "cancelled", message)]
    assert rows(ERRORS) == [("MissedRun", message, "nightly", "medium")]


def test_a_run_that_finds_all_instances_at_work_is_an_error_without_a_task(
    monitor: MonitoringClient, rows: Rows, until: Until
) -> None:
    go_on = threading.Event()
    with watched(monitor) as scheduler:
        scheduler.add_job(go_on.wait, "interval", seconds=0.05, id="slow", name="slow", coalesce=True)
        until(lambda: rows(ERRORS))
        scheduler.remove_job("slow")
        go_on.set()

    assert {(kind, component) for kind, _, component, _ in rows(ERRORS)} == {("TooManyInstances", "slow")}
    assert rows("SELECT count(*) FROM error_tracking WHERE task_id IS NOT NULL") == [(0,)]


def test_a_run_whose_end_is_told_before_its_submission_is_one_task(monitor: MonitoringClient, rows: Rows) -> None:
    ended = threading.Event()
    with watched(monitor, executors={"default": DebugExecutor()}) as scheduler:  # it runs the job while it submits it
        scheduler.add_listener(lambda _event: ended.set(), EVENT_JOB_EXECUTED)
        scheduler.add_job(divide, args=(4, 2))
        assert ended.wait(20)

    assert rows(RUNS) == [("divide", "completed", None)]


def test_jobs_that_were_there_before_are_known_by_name(monitor: MonitoringClient, rows: Rows, until: Until) -> None:
    scheduler = BackgroundScheduler(timezone=timezone.utc)
    scheduler.add_job(divide, args=(4, 2), name="early")
    scheduler.start(paused=True)
    watch(scheduler, monitor)
    scheduler.resume()
    until(lambda: rows(ENDED) == [(1,)])
    scheduler.shutdown()

    assert rows(RUNS) == [("early", "completed", None)]


def test_coroutines_of_an_event_loop_are_reported_too(monitor: MonitoringClient, rows: Rows) -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def job() -> None:
            await asyncio.sleep(0)

        scheduler = AsyncIOScheduler(timezone=timezone.utc)
        watch(scheduler, monitor)
        scheduler.add_listener(lambda _event: done.set(), EVENT_JOB_EXECUTED)
        scheduler.add_job(job, name="await")
        scheduler.start()
        await asyncio.wait_for(done.wait(), 20)
        scheduler.shutdown()

    asyncio.run(main())

    assert rows(RUNS) == [("await", "completed", None)]


def test_the_example_reports_each_run_and_what_was_missed(run_example: RunExample, rows: Rows) -> None:
    run_example("apscheduler_jobs.py")

    ended = rows("SELECT DISTINCT task_type, status FROM processing_metrics ORDER BY 1, 2")
    assert ended == [
        ("hourly stock sync", "failed"),
        ("nightly report", "cancelled"),
        ("send_invoices", "completed"),
    ]
    assert {kind for kind, *_ in rows(ERRORS)} == {"ConnectionError", "MissedRun"}
