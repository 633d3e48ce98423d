"""RQ jobs that automon hears of: a program to start from.

    export AUTOMON_DSN=postgresql://user:password@host:5432/database REDIS_URL=redis://localhost:6379
    python examples/rq_jobs.py

It needs RQ (`pip install rq`) and a Redis or Valkey, writes to the queue `automon-example` there, and does what waits in
it. In earnest, a worker runs for ever: `rq worker --worker-class rq_jobs.ShopWorker automon-example`.
"""

from __future__ import annotations

import os
import sys
import time

from redis import Redis
from rq import Queue, Retry, Worker, get_current_job

from monitoring_client import MonitoringClient
from monitoring_client.integrations.rq import ReportsJobs


class ShopWorker(ReportsJobs, Worker):
    monitor = MonitoringClient()  # AUTOMON_DSN says where to; nothing is connected before the first fact


def send_invoice(customer: str) -> str:
    time.sleep(0.02)  # here the work would be
    if not customer:
        raise ValueError("an invoice needs a customer")
    return f"invoice for {customer}"


# Each attempt is a run of its own: the first two end as cancelled, for the work goes on, and the third as completed.
def sync_stock() -> int:
    job = get_current_job()
    if job is not None and job.retries_left:
        raise ConnectionError("the shop does not answer")
    return 42


def main() -> int:
    with Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379")) as redis:
        queue = Queue("automon-example", connection=redis)
        for customer in ("Ada", "Grace", ""):
            # By name, because RQ takes no function of the program that was started.
            queue.enqueue("rq_jobs.send_invoice", customer)
        queue.enqueue("rq_jobs.sync_stock", retry=Retry(max=2))
        ShopWorker([queue], connection=redis).work(burst=True, logging_level="ERROR")
    ShopWorker.monitor.close()
    return 1 if ShopWorker.monitor.dropped else 0


if __name__ == "__main__":
    sys.exit(main())
