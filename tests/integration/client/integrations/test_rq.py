"""RQ's own workers on a Valkey, and what the database then holds of their jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rq
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitoring_client import MonitoringClient
from monitoring_client.integrations.rq import report_queues
from tests.support.markdown import ROOT

Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
JOBS = "tests.support.rq_jobs"
RUNS = "SELECT status, error_message FROM processing_metrics WHERE task_id = '{}' ORDER BY start_time"
PARENTS = "SELECT task_type, parent_task_id FROM processing_metrics WHERE parent_task_id IS NOT NULL ORDER BY 1"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking WHERE task_id = '{}'"


def send(queue: rq.Queue) -> None:
    """Enqueue one job of each kind of fate, under ids that the tests know."""
    for number in range(3):
        queue.enqueue(f"{JOBS}.add", 2, number, job_id=f"sum-{number}")
    queue.enqueue(f"{JOBS}.outer", job_id="outer")
    queue.enqueue(f"{JOBS}.divide", 1, 0, job_id="broken")
    queue.enqueue(f"{JOBS}.fetch", 1, job_id="retried", retry=rq.Retry(max=2))
    queue.enqueue(f"{JOBS}.fetch", 9, job_id="given-up", retry=rq.Retry(max=2))
    queue.enqueue(f"{JOBS}.ask_for_more", job_id="insatiable")
    queue.enqueue(f"{JOBS}.killed", job_id="killed")
    unreadable = queue.enqueue(f"{JOBS}.add", 1, 1, job_id="unreadable")
    queue.connection.hset(unreadable.key, "data", "no pickle")


def work(kind: str, socket: Path, database_url: str) -> None:
    """Let a worker of that class do what waits, and end."""
    options = ["--worker-class", f"{JOBS}.{kind}", "--name", kind, "--burst", "--url", f"unix://{socket}"]
    ran = subprocess.run(
        [sys.executable, "-m", "rq.cli", "worker", *options, "work"],
        cwd=ROOT,
        env={**os.environ, "AUTOMON_DSN": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_workers_report_each_run_as_it_ends(
    database_url: str, rows: Rows, valkey: Path, subtests: pytest.Subtests
) -> None:
    with Redis(unix_socket_path=str(valkey)) as link:
        queue = rq.Queue("work", connection=link)
        send(queue)
        work("TestedWorker", valkey, database_url)
        queue.enqueue(f"{JOBS}.add", 1, 1, job_id="spawned")
        work("TestedSpawnWorker", valkey, database_url)

    with subtests.test("each job is one run of its own id and name by the worker of that name"):
        assert rows(
            "SELECT task_id, task_type, status, worker_id FROM processing_metrics WHERE task_id LIKE 'sum%' ORDER BY 1"
        ) == [(f"sum-{number}", f"{JOBS}.add", "completed", "TestedWorker") for number in range(3)]

    with subtests.test("the worker may start a program for each job"):
        assert rows("SELECT task_id, status FROM processing_metrics WHERE worker_id = 'TestedSpawnWorker'") == [
            ("spawned", "completed")
        ]

    with subtests.test("what begins inside of a job has it as its parent"):
        assert rows(PARENTS) == [("inner", "outer")]

    with subtests.test("a failure is one error with type message and traceback"):
        assert rows(RUNS.format("broken")) == [("failed", "division by zero")]
        assert rows(ERRORS.format("broken")) == [("ZeroDivisionError", "division by zero", f"{JOBS}.divide", "medium")]
        [(trace,)] = rows("SELECT stack_trace FROM error_tracking WHERE task_id = 'broken'")
        assert "return first / second" in trace

    with subtests.test("an attempt that is retried ends as cancelled without an error"):
        assert rows(RUNS.format("retried")) == [("cancelled", "the line is down"), ("completed", None)]
        assert rows(ERRORS.format("retried")) == []

    with subtests.test("the last of all attempts fails with one error"):
        assert [status for status, _ in rows(RUNS.format("given-up"))] == ["cancelled", "cancelled", "failed"]
        assert [kind for kind, *_ in rows(ERRORS.format("given-up"))] == ["ConnectionError"]

    with subtests.test("a job that asks for more attempts than it has fails with one error"):
        assert [status for status, _ in rows(RUNS.format("insatiable"))] == ["cancelled", "failed"]
        assert [(kind, message) for kind, message, *_ in rows(ERRORS.format("insatiable"))] == [
            ("JobLostError", "no attempt is left")
        ]

    with subtests.test("a job whose process was killed fails with one error"):
        [(status, message)] = rows(RUNS.format("killed"))
        assert (status, "signal 9" in message) == ("failed", True)
        assert [kind for kind, *_ in rows(ERRORS.format("killed"))] == ["JobLostError"]

    with subtests.test("a job that cannot be read fails with one error"):
        assert rows("SELECT task_type, status FROM processing_metrics WHERE task_id = 'unreadable'") == [
            ("unreadable job", "failed")
        ]
        assert [kind for kind, *_ in rows(ERRORS.format("unreadable"))] == ["DeserializationError"]

    with subtests.test("the queue is reported at the end of each job"):
        pending = [number for (number,) in rows("SELECT pending FROM queue_monitoring ORDER BY recorded_at")]

        assert len(pending) == 14
        assert (pending[0], pending[-1]) == (9, 0)

    with subtests.test("nothing is left running"):
        assert rows("SELECT task_id FROM processing_metrics WHERE status = 'running'") == []


def test_a_queue_that_redis_does_not_tell_of_is_logged_and_left_out(
    monitor: MonitoringClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis(unix_socket_path=str(tmp_path / "nothing"), retry=Retry(NoBackoff(), 0)) as link:
        report_queues([rq.Queue("work", connection=link)], monitor)

    assert "the length of the queue work is unknown" in caplog.text


def test_the_example_reports_each_job_and_the_queue(run_example: RunExample, rows: Rows, valkey: Path) -> None:
    run_example("rq_jobs.py", REDIS_URL=f"unix://{valkey}")

    assert rows("SELECT task_type, status, count(*) FROM processing_metrics GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("rq_jobs.send_invoice", "completed", 2),
        ("rq_jobs.send_invoice", "failed", 1),
        ("rq_jobs.sync_stock", "cancelled", 2),
        ("rq_jobs.sync_stock", "completed", 1),
    ]
    assert rows("SELECT error_type, error_message FROM error_tracking") == [
        ("ValueError", "an invoice needs a customer")
    ]
    assert rows("SELECT pending FROM queue_monitoring ORDER BY recorded_at DESC LIMIT 1") == [(0,)]
