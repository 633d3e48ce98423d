"""Jobs and a worker for the tests: `rq worker --worker-class tests.support.rq_jobs.TestedWorker`."""

from __future__ import annotations

import os
import signal

import rq

from monitoring_client import MonitoringClient
from monitoring_client.integrations.rq import ReportsJobs


class TestedWorker(ReportsJobs, rq.Worker):
    monitor = MonitoringClient(os.environ.get("AUTOMON_DSN", ""), spool=False)


class TestedSpawnWorker(ReportsJobs, rq.SpawnWorker):
    monitor = TestedWorker.monitor


def add(first: int, second: int) -> int:
    return first + second


def outer() -> None:
    with TestedWorker.monitor.task("inner"):
        pass


def divide(first: int, second: int) -> float:
    return first / second


def fetch(good_from: int) -> str:
    """Succeed at the attempt of that number, of at most three."""
    job = rq.get_current_job()
    assert job is not None
    if 3 - (job.retries_left or 0) <= good_from:
        raise ConnectionError("the line is down")
    return "page"


def ask_for_more() -> rq.Retry:
    return rq.Retry(max=1)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
