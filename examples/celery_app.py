"""Celery tasks that automon hears of: a program to start from.

    AUTOMON_DSN=postgresql://user:password@host:5432/database python examples/celery_app.py

It needs Celery (`pip install celery`) and no broker: the messages stay in this process, which is a worker for a moment.
With a broker of your own, start workers as ever: `celery -A celery_app worker`.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from celery import Celery, Task

from monitoring_client import MonitoringClient
from monitoring_client.integrations.celery import report_queues, watch

app = Celery("shop", broker="memory://")
monitor = MonitoringClient()  # AUTOMON_DSN says where to; nothing is connected before the first fact
watch(app, monitor)  # where the app is made, so that each worker and each of its processes reports


@app.task
def send_invoice(customer: str) -> str:
    time.sleep(0.02)  # here the work would be
    if not customer:
        raise ValueError("an invoice needs a customer")
    return f"invoice for {customer}"


# Each attempt is a run of its own: the first two end as cancelled, for the work goes on, and the third as completed.
@app.task(bind=True, autoretry_for=(ConnectionError,), max_retries=3, default_retry_delay=0)
def sync_stock(self: Task[Any, Any]) -> int:
    if self.request.retries < 2:
        raise ConnectionError("the shop does not answer")
    return 42


# In earnest, beat would send this one every minute: app.conf.beat_schedule.
@app.task
def report() -> None:
    report_queues(app, monitor)


def main() -> int:
    report.delay()
    for customer in ("Ada", "Grace", ""):
        send_invoice.delay(customer)
    sync_stock.delay()
    threading.Timer(1, app.control.shutdown).start()
    app.Worker(pool="solo", loglevel="ERROR", quiet=True, without_gossip=True, without_mingle=True).start()
    monitor.close()
    return 1 if monitor.dropped else 0


if __name__ == "__main__":
    sys.exit(main())
