"""A Prefect flow that automon hears of: a program to start from.

    AUTOMON_DSN=postgresql://user:password@host:5432/database python examples/prefect_flow.py

It needs Prefect 3 (`pip install prefect`), which starts a server for a moment unless PREFECT_API_URL names one.
"""

from __future__ import annotations

import sys

from prefect import flow, task

from monitoring_client import MonitoringClient
from monitoring_client.integrations.prefect import flow_hooks, task_hooks

monitor = MonitoringClient()  # AUTOMON_DSN says where to; nothing is connected before the first fact


@task(**task_hooks(monitor))
def send_invoice(customer: str) -> str:
    if not customer:
        raise ValueError("an invoice needs a customer")
    return f"invoice for {customer}"


@flow(name="shop", **flow_hooks(monitor))
def shop() -> int:
    sent = [send_invoice(customer, return_state=True) for customer in ("Ada", "Grace", "")]
    return sum(state.is_completed() for state in sent)


if __name__ == "__main__":
    shop()
    monitor.close()
    sys.exit(1 if monitor.dropped else 0)
