"""Celery's own workers on a broker of files, and what the database then holds of their tasks."""

from __future__ import annotations

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

pytestmark = pytest.mark.xdist_group("celery")  # the tests look at the work of one worker

Ask = Callable[[str], list[tuple[Any, ...]]]
Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
QUICK = ("--without-gossip", "--without-mingle", "--without-heartbeat")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
RUNS = "SELECT status, worker_id, error_message FROM processing_metrics WHERE task_id = '{}' ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking WHERE task_id = '{}'"
ENDED = "SELECT count(DISTINCT task_id) FROM processing_metrics WHERE status IN ('completed', 'failed')"


@contextmanager
def worker(folder: Path, database_url: str, *options: str) -> Iterator[None]:
    """A worker that takes what waits in the folder, and is told to end, warmly, when the block ends."""
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
            *QUICK,
            *options,
        ],
        cwd=ROOT,
        env={**os.environ, "CELERY_FOLDER": str(folder), "AUTOMON_DSN": database_url, "C_FORCE_ROOT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        make_app(folder).send_task("add", (0, 0))  # on this broker a worker looks up when a message comes, or every 2 s
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said


def send(app: Celery) -> None:
    """Put one message of each kind of fate into the broker, under ids that the tests know."""
    for number in range(4):
        app.send_task("add", (2, number), task_id=f"sum-{number}")
    app.send_task("divide", (1, 0), task_id="broken")
    app.send_task("fetch", (1,), task_id="retried")
    app.send_task("fetch", (9,), task_id="given-up")
    app.send_task("add", (1, 1), task_id="late", expires=LONG_AGO)
    for name in ("ignored", "rejected"):
        app.send_task(name, task_id=name)


@pytest.fixture(scope="module", autouse=True)
def _work(shared_database_url: str, ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let a worker with two processes do all that is sent, and end."""
    folder = tmp_path_factory.mktemp("celery")
    app = make_app(folder)
    for name in ("killed", "endless"):
        app.send_task(name, task_id=name)
    with worker(folder, shared_database_url, "--pool", "prefork", "--concurrency", "2"):
        wait_until(lambda: ask(ENDED) == [(2,)], seconds=20, what="two processes were killed")
        send(app)
        wait_until(lambda: ask(ENDED) == [(10,)], seconds=20, what="all tasks have ended")


def test_each_task_is_one_run_of_its_own_id_and_name_by_the_worker_of_that_name(ask: Ask) -> None:
    assert ask(
        "SELECT task_id, task_type, status, worker_id FROM processing_metrics WHERE task_id LIKE 'sum%' ORDER BY 1"
    ) == [(f"sum-{number}", "add", "completed", "w1@tests") for number in range(4)]


def test_a_failure_is_one_error_with_type_message_and_traceback(ask: Ask) -> None:
    assert ask(RUNS.format("broken")) == [("failed", "w1@tests", "division by zero")]
    assert ask(ERRORS.format("broken")) == [("ZeroDivisionError", "division by zero", "divide", "medium")]
    [(trace,)] = ask("SELECT stack_trace FROM error_tracking WHERE task_id = 'broken'")
    assert "return first / second" in trace
    assert trace.endswith("ZeroDivisionError: division by zero\n")


def test_an_attempt_that_is_retried_ends_as_cancelled_without_an_error(ask: Ask) -> None:
    assert [status for status, *_ in ask(RUNS.format("retried"))] == ["cancelled", "completed"]
    assert "ConnectionError('the line is down')" in ask(RUNS.format("retried"))[0][2]
    assert ask(ERRORS.format("retried")) == []


def test_the_last_of_all_attempts_fails_with_one_error(ask: Ask) -> None:
    assert [status for status, *_ in ask(RUNS.format("given-up"))] == ["cancelled", "cancelled", "failed"]
    assert ask(ERRORS.format("given-up")) == [("ConnectionError", "the line is down", "fetch", "medium")]


def test_what_is_ignored_is_cancelled_and_what_is_rejected_for_good_is_a_failure(ask: Ask) -> None:
    assert ask(RUNS.format("ignored")) == [("cancelled", "w1@tests", None)]
    assert [status for status, *_ in ask(RUNS.format("rejected"))] == ["failed"]
    assert [kind for kind, *_ in ask(ERRORS.format("rejected"))] == ["Reject"]


def test_a_task_that_had_expired_is_cancelled(ask: Ask) -> None:
    assert ask(RUNS.format("late")) == [("cancelled", "w1@tests", "expired")]
    assert ask(ERRORS.format("late")) == []


@pytest.mark.parametrize(("task_id", "kind"), [("killed", "WorkerLostError"), ("endless", "TimeLimitExceeded")])
def test_a_run_whose_process_was_killed_fails_with_one_error(ask: Ask, task_id: str, kind: str) -> None:
    assert [(status, who) for status, who, _ in ask(RUNS.format(task_id))] == [("failed", "w1@tests")]
    assert [found for found, *_ in ask(ERRORS.format(task_id))] == [kind]


def test_nothing_is_left_running(ask: Ask) -> None:
    assert ask("SELECT task_id FROM processing_metrics WHERE status = 'running'") == []


def test_queues_are_reported_as_long_as_they_are(monitor: MonitoringClient, rows: Rows, tmp_path: Path) -> None:
    app = make_app(tmp_path)
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
