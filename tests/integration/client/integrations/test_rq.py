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

pytestmark = pytest.mark.xdist_group("rq")  # the tests look at the work of one worker

Ask = Callable[[str], list[tuple[Any, ...]]]
Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
JOBS = "tests.support.rq_jobs"
RUNS = "SELECT status, error_message FROM processing_metrics WHERE task_id = '{}' ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking WHERE task_id = '{}'"


def send(queue: rq.Queue) -> None:
    """Enqueue one job of each kind of fate, under ids that the tests know."""
    for number in range(3):
        queue.enqueue(f"{JOBS}.add", 2, number, job_id=f"sum-{number}")
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


@pytest.fixture(scope="module", autouse=True)
def _work(valkey: Path, shared_database_url: str) -> None:
    """Let a worker that forks for each job do all that is sent, and another that starts a program for each one job."""
    with Redis(unix_socket_path=str(valkey)) as link:
        queue = rq.Queue("work", connection=link)
        send(queue)
        work("TestedWorker", valkey, shared_database_url)
        queue.enqueue(f"{JOBS}.add", 1, 1, job_id="spawned")
        work("TestedSpawnWorker", valkey, shared_database_url)


def test_each_job_is_one_run_of_its_own_id_and_name_by_the_worker_of_that_name(ask: Ask) -> None:
    assert ask(
        "SELECT task_id, task_type, status, worker_id FROM processing_metrics WHERE task_id LIKE 'sum%' ORDER BY 1"
    ) == [(f"sum-{number}", f"{JOBS}.add", "completed", "TestedWorker") for number in range(3)]


def test_the_worker_may_start_a_program_for_each_job(ask: Ask) -> None:
    assert ask("SELECT task_id, status FROM processing_metrics WHERE worker_id = 'TestedSpawnWorker'") == [
        ("spawned", "completed")
    ]


def test_a_failure_is_one_error_with_type_message_and_traceback(ask: Ask) -> None:
    assert ask(RUNS.format("broken")) == [("failed", "division by zero")]
    assert ask(ERRORS.format("broken")) == [("ZeroDivisionError", "division by zero", f"{JOBS}.divide", "medium")]
    [(trace,)] = ask("SELECT stack_trace FROM error_tracking WHERE task_id = 'broken'")
    assert "return first / second" in trace


def test_an_attempt_that_is_retried_ends_as_cancelled_without_an_error(ask: Ask) -> None:
    assert ask(RUNS.format("retried")) == [("cancelled", "the line is down"), ("completed", None)]
    assert ask(ERRORS.format("retried")) == []


def test_the_last_of_all_attempts_fails_with_one_error(ask: Ask) -> None:
    assert [status for status, _ in ask(RUNS.format("given-up"))] == ["cancelled", "cancelled", "failed"]
    assert [kind for kind, *_ in ask(ERRORS.format("given-up"))] == ["ConnectionError"]


def test_a_job_that_asks_for_more_attempts_than_it_has_fails_with_one_error(ask: Ask) -> None:
    assert [status for status, _ in ask(RUNS.format("insatiable"))] == ["cancelled", "failed"]
    assert [(kind, message) for kind, message, *_ in ask(ERRORS.format("insatiable"))] == [
        ("JobLostError", "no attempt is left")
    ]


def test_a_job_whose_process_was_killed_fails_with_one_error(ask: Ask) -> None:
    [(status, message)] = ask(RUNS.format("killed"))
    assert (status, "signal 9" in message) == ("failed", True)
    assert [kind for kind, *_ in ask(ERRORS.format("killed"))] == ["JobLostError"]


def test_a_job_that_cannot_be_read_fails_with_one_error(ask: Ask) -> None:
    assert ask("SELECT task_type, status FROM processing_metrics WHERE task_id = 'unreadable'") == [
        ("unreadable job", "failed")
    ]
    assert [kind for kind, *_ in ask(ERRORS.format("unreadable"))] == ["DeserializationError"]


def test_the_queue_is_reported_at_the_end_of_each_job(ask: Ask) -> None:
    pending = [number for (number,) in ask("SELECT pending FROM queue_monitoring ORDER BY recorded_at")]

    assert len(pending) == 13
    assert (pending[0], pending[-1]) == (8, 0)


def test_nothing_is_left_running(ask: Ask) -> None:
    assert ask("SELECT task_id FROM processing_metrics WHERE status = 'running'") == []


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
