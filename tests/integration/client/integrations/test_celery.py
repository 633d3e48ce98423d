"""Celery's own workers on a Valkey, and what the database then holds of their tasks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from monitoring_client import MonitoringClient
from monitoring_client.integrations.celery import report_queues
from tests.support.celery_app import make_app
from tests.support.markdown import ROOT
from tests.support.waiting import wait_until

Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
OPTIONS = ("--pool", "prefork", "--concurrency", "2", "--without-gossip", "--without-mingle", "--without-heartbeat")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
RUNS = "SELECT status, worker_id, error_message FROM processing_metrics WHERE task_id = '{}' ORDER BY start_time"
PARENTS = "SELECT task_type, parent_task_id FROM processing_metrics WHERE parent_task_id IS NOT NULL ORDER BY 1"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking WHERE task_id = '{}'"
ENDED = """SELECT count(DISTINCT task_id) FILTER (WHERE status <> 'running'),
                  count(DISTINCT task_id) FILTER (WHERE status IN ('completed', 'failed')) FROM processing_metrics"""


@contextmanager
def worker(valkey: Path, database_url: str) -> Iterator[subprocess.Popen[str]]:
    """A worker with two processes that takes what waits; it and they are gone when the block has ended."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.support.celery_app",
            "worker",
            "--hostname",
            "w1@tests",
            *OPTIONS,
        ],
        cwd=ROOT,
        env={**os.environ, "VALKEY_SOCKET": str(valkey), "AUTOMON_DSN": database_url, "C_FORCE_ROOT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end_warmly(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said


def send(app: Celery) -> None:
    """Put one message of each kind of fate into the broker, under ids that the tests know."""
    for number in range(4):
        app.send_task("add", (2, number), task_id=f"sum-{number}")
    app.send_task("outer", task_id="outer")
    app.send_task("divide", (1, 0), task_id="broken")
    app.send_task("fetch", (1,), task_id="retried")
    app.send_task("fetch", (9,), task_id="given-up")
    app.send_task("add", (1, 1), task_id="late", expires=LONG_AGO)
    for name in ("ignored", "rejected"):
        app.send_task(name, task_id=name)


def test_a_worker_with_two_processes_reports_each_run_as_it_ends(
    database_url: str, rows: Rows, valkey: Path, subtests: pytest.Subtests
) -> None:
    app = make_app(str(valkey))
    send(app)
    with worker(valkey, database_url) as process:
        wait_until(lambda: rows(ENDED) == [(13, 11)], seconds=20, what="all tasks have ended")
        end_warmly(process)

    with subtests.test("each task is one run of its own id and name by the worker of that name"):
        assert rows(
            "SELECT task_id, task_type, status, worker_id FROM processing_metrics WHERE task_id LIKE 'sum%' ORDER BY 1"
        ) == [(f"sum-{number}", "add", "completed", "w1@tests") for number in range(4)]

    with subtests.test("what begins inside of a task, or is sent by it, has it as its parent"):
        assert rows(PARENTS) == [("add", "outer"), ("inner", "outer")]

    with subtests.test("a failure is one error with type message and traceback"):
        assert rows(RUNS.format("broken")) == [("failed", "w1@tests", "division by zero")]
        assert rows(ERRORS.format("broken")) == [("ZeroDivisionError", "division by zero", "divide", "medium")]
        [(trace,)] = rows("SELECT stack_trace FROM error_tracking WHERE task_id = 'broken'")
        assert "return first / second" in trace
        assert trace.endswith("ZeroDivisionError: division by zero\n")

    with subtests.test("an attempt that is retried ends as cancelled without an error"):
        assert [status for status, *_ in rows(RUNS.format("retried"))] == ["cancelled", "completed"]
        assert "ConnectionError('the line is down')" in rows(RUNS.format("retried"))[0][2]
        assert rows(ERRORS.format("retried")) == []

    with subtests.test("the last of all attempts fails with one error"):
        assert [status for status, *_ in rows(RUNS.format("given-up"))] == ["cancelled", "cancelled", "failed"]
        assert rows(ERRORS.format("given-up")) == [("ConnectionError", "the line is down", "fetch", "medium")]

    with subtests.test("what is ignored is cancelled and what is rejected for good is a failure"):
        assert rows(RUNS.format("ignored")) == [("cancelled", "w1@tests", None)]
        assert [status for status, *_ in rows(RUNS.format("rejected"))] == ["failed"]
        assert [kind for kind, *_ in rows(ERRORS.format("rejected"))] == ["Reject"]

    with subtests.test("a task that had expired is cancelled"):
        assert rows(RUNS.format("late")) == [("cancelled", "w1@tests", "expired")]
        assert rows(ERRORS.format("late")) == []

    with subtests.test("nothing is left running"):
        assert rows("SELECT task_id FROM processing_metrics WHERE status = 'running'") == []


def test_a_run_whose_process_is_killed_fails_with_one_error(database_url: str, rows: Rows, valkey: Path) -> None:
    app = make_app(str(valkey))
    for name in ("killed", "endless"):
        app.send_task(name, task_id=name)
    with worker(valkey, database_url):
        wait_until(lambda: rows(ENDED) == [(2, 2)], seconds=20, what="two processes were killed")

    for name, kind in (("killed", "WorkerLostError"), ("endless", "TimeLimitExceeded")):
        assert [(status, who) for status, who, _ in rows(RUNS.format(name))] == [("failed", "w1@tests")]
        assert [found for found, *_ in rows(ERRORS.format(name))] == [kind]


def test_queues_are_reported_as_long_as_they_are(monitor: MonitoringClient, rows: Rows, valkey: Path) -> None:
    app = make_app(str(valkey))
    for number in range(3):
        app.send_task("add", (1, number))

    report_queues(app, monitor)

    assert rows("SELECT queue_name, pending FROM queue_monitoring") == [("celery", 3)]


def test_a_queue_that_the_broker_does_not_know_is_logged_and_left_out(
    monitor: MonitoringClient, caplog: pytest.LogCaptureFixture
) -> None:
    report_queues(Celery("tests", broker="memory://"), monitor)

    assert "the length of the queue celery is unknown" in caplog.text


def test_the_example_reports_each_run_and_the_queue(run_example: RunExample, rows: Rows) -> None:
    run_example("celery_app.py")

    assert rows("SELECT task_type, status, count(*) FROM processing_metrics GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("shop.report", "completed", 1),
        ("shop.send_invoice", "completed", 2),
        ("shop.send_invoice", "failed", 1),
        ("shop.sync_stock", "cancelled", 2),
        ("shop.sync_stock", "completed", 1),
    ]
    assert rows("SELECT error_type, error_message FROM error_tracking") == [
        ("ValueError", "an invoice needs a customer")
    ]
    assert rows("SELECT queue_name, pending FROM queue_monitoring") == [("celery", 4)]
