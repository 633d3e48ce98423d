"""Dramatiq actors that automon hears of: a program to start from.

    AUTOMON_DSN=postgresql://user:password@host:5432/database python examples/dramatiq_actors.py

It needs Dramatiq (`pip install dramatiq`) and no broker: the messages stay in this process, which is a worker for a moment.
With a broker of your own, start workers as ever: `dramatiq dramatiq_actors`.
"""

from __future__ import annotations

import sys
import time

import dramatiq
from dramatiq.brokers.stub import StubBroker

from monitoring_client import MonitoringClient
from monitoring_client.integrations.dramatiq import watch

broker = StubBroker()
monitor = MonitoringClient()  # AUTOMON_DSN says where to; nothing is connected before the first fact
watch(broker, monitor)
dramatiq.set_broker(broker)
attempts = iter(range(1, 100))


@dramatiq.actor(max_retries=0)
def send_invoice(customer: str) -> None:
    time.sleep(0.02)  # here the work would be
    if not customer:
        raise ValueError("an invoice needs a customer")


# Each attempt is a run of its own: the first two end as cancelled, for the work goes on, and the third as completed.
@dramatiq.actor(max_retries=3, min_backoff=10)
def sync_stock() -> None:
    if next(attempts) < 3:
        raise ConnectionError("the shop does not answer")


def main() -> int:
    for customer in ("Ada", "Grace", ""):
        send_invoice.send(customer)
    sync_stock.send()
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    broker.join("default", fail_fast=False)
    worker.stop()
    monitor.close()
    return 1 if monitor.dropped else 0


if __name__ == "__main__":
    sys.exit(main())
