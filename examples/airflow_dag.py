"""An Airflow DAG that automon hears of: a file to start from.

    AUTOMON_DSN=postgresql://user:password@host:5432/database python examples/airflow_dag.py

It needs Airflow 3 with its database (`airflow db migrate`), and runs the DAG once, without a scheduler. In earnest, put it
into the folder of your DAGs.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from monitoring_client import MonitoringClient
from monitoring_client.integrations.airflow import callbacks

monitor = MonitoringClient()  # AUTOMON_DSN says where to; nothing is connected before the first fact


# What is among the default arguments holds for each task: nothing needs to be said in the tasks themselves.
@dag(dag_id="shop", schedule=None, default_args=callbacks(monitor))
def shop() -> None:
    @task
    def send_invoices() -> int:
        return 2

    @task
    def sync_returns() -> None:
        raise AirflowSkipException("nothing came back today")

    @task(retries=1, retry_delay=timedelta(0))
    def sync_stock() -> None:
        raise ConnectionError("the shop does not answer")

    send_invoices()
    sync_returns()
    sync_stock()


the_dag = shop()

if __name__ == "__main__":
    the_dag.test()
    monitor.close()
    sys.exit(1 if monitor.dropped else 0)
