"""Jobs of APScheduler that automon hears of: a program to start from.

    AUTOMON_DSN=postgresql://user:password@host:5432/database python examples/apscheduler_jobs.py

It needs APScheduler 3 (`pip install "apscheduler<4"`) and nothing else, and ends after a second.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

from apscheduler.schedulers.background import BackgroundScheduler

from monitoring_client import MonitoringClient
from monitoring_client.integrations.apscheduler import watch


def send_invoices() -> None:
    time.sleep(0.02)  # here the work would be


def sync_stock() -> None:
    raise ConnectionError("the shop does not answer")


def main() -> int:
    with MonitoringClient() as monitor:  # AUTOMON_DSN says where to; nothing is connected before the first fact
        scheduler = BackgroundScheduler(timezone=timezone.utc)
        watch(scheduler, monitor)
        # A job's name is the type of its tasks: name those whose function says too little.
        scheduler.add_job(send_invoices, "interval", seconds=0.3)
        scheduler.add_job(sync_stock, name="hourly stock sync")
        # This one should have run while the program was not there: automon is told that it was missed.
        an_hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
        scheduler.add_job(send_invoices, "date", run_date=an_hour_ago, name="nightly report", misfire_grace_time=60)
        scheduler.start()
        time.sleep(1)
        scheduler.shutdown()  # waits for what runs; only then is the monitor closed
        monitor.flush()
        return 1 if monitor.dropped else 0


if __name__ == "__main__":
    sys.exit(main())
