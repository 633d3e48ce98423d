"""A Celery app for a worker of the tests, on the Valkey at $VALKEY_SOCKET: `celery -A tests.support.celery_app`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject

from monitoring_client import MonitoringClient
from monitoring_client.integrations.celery import watch


def make_app(socket: str) -> Celery:
    """Make an app on the Valkey that listens there. A broker of files would lose messages that are read while they are written."""
    app = Celery("tests", broker=f"redis+socket://{socket}")
    app.conf.update(broker_connection_retry_on_startup=False, worker_hijack_root_logger=False, worker_lost_wait=0.1)
    return app


app = make_app(os.environ.get("VALKEY_SOCKET", ""))
monitor = MonitoringClient(os.environ.get("AUTOMON_DSN", ""), spool=False)
watch(app, monitor)
watch(app, monitor)  # a second time, as when a module is imported under two names


@app.task(name="add")
def add(first: int, second: int) -> int:
    return first + second


@app.task(name="outer")
def outer() -> None:
    with monitor.task("inner"):
        add.apply_async((1, 1), task_id="sent")


@app.task(name="divide")
def divide(first: int, second: int) -> float:
    return first / second


@app.task(name="fetch", bind=True, autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=0)
def fetch(self: Task[Any, Any], good_from: int) -> str:
    """Succeed at the attempt of that number, of at most three."""
    if self.request.retries < good_from:
        raise ConnectionError("the line is down")
    return "page"


@app.task(name="ignored")
def ignored() -> None:
    raise Ignore


@app.task(name="rejected")
def rejected() -> None:
    raise Reject("unreadable", requeue=False)


@app.task(name="killed")
def killed() -> None:
    monitor.flush()  # as if it had lived a while: what a process has not sent yet ends with it
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="endless", time_limit=0.5)
def endless() -> None:
    monitor.flush()
    time.sleep(60)
