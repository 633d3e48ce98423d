"""The callbacks of Airflow on contexts such as it makes, and, where it is installed, on a DAG that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.integrations.airflow import callbacks
from tests.support.markdown import ROOT

Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
RUNS = "SELECT task_id, task_type, status, error_message FROM processing_metrics ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking"


def context(exception: str | BaseException | None = None, map_index: int = -1) -> dict[str, Any]:
    instance = SimpleNamespace(dag_id="shop", task_id="load", run_id="manual__1", map_index=map_index)
    return {"ti": instance, "task_instance": instance, "exception": exception}


def test_a_task_instance_is_one_run(monitor: MonitoringClient, rows: Rows) -> None:
    told = callbacks(monitor)
    told["on_execute_callback"](context())
    told["on_success_callback"](context())

    assert rows(RUNS) == [("shop.load manual__1", "shop.load", "completed", None)]


def test_task_instances_that_are_mapped_are_runs_of_their_own(monitor: MonitoringClient, rows: Rows) -> None:
    told = callbacks(monitor)
    for index in (0, 1):
        told["on_execute_callback"](context(map_index=index))
    for index in (0, 1):
        told["on_success_callback"](context(map_index=index))

    assert [task_id for task_id, *_ in rows(RUNS)] == ["shop.load manual__1 [0]", "shop.load manual__1 [1]"]


def test_the_last_attempt_fails_with_one_error_and_those_before_are_cancelled(
    monitor: MonitoringClient, rows: Rows
) -> None:
    told = callbacks(monitor)
    error = ConnectionError("the line is down")
    for end in ("on_retry_callback", "on_failure_callback"):
        told["on_execute_callback"](context())
        told[end](context(error))

    assert [(status, message) for *_, status, message in rows(RUNS)] == [
        ("cancelled", "the line is down"),
        ("failed", "the line is down"),
    ]
    assert rows(ERRORS) == [("ConnectionError", "the line is down", "shop.load", "medium")]


def test_a_failure_may_come_without_an_exception(monitor: MonitoringClient, rows: Rows) -> None:
    told = callbacks(monitor)
    for reason in ("it was killed", None):
        told["on_execute_callback"](context())
        told["on_failure_callback"](context(reason))

    assert [(kind, message) for kind, message, *_ in rows(ERRORS)] == [
        ("failure", "it was killed"),
        ("failure", "no reason given"),
    ]


def test_a_task_that_is_skipped_is_cancelled(monitor: MonitoringClient, rows: Rows) -> None:
    told = callbacks(monitor)
    told["on_execute_callback"](context())
    told["on_skipped_callback"](context())

    assert [status for *_, status, _ in rows(RUNS)] == ["cancelled"]
    assert rows(ERRORS) == []


@pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is too big to be installed for one test")
def test_the_example_reports_each_task_instance(run_example: RunExample, rows: Rows, tmp_path: Path) -> None:
    environment = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "examples")}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env={**os.environ, **environment}, check=True)
    run_example("airflow_dag.py", **environment)

    assert sorted((task_type, status) for _, task_type, status, _ in rows(RUNS)) == [
        ("shop.send_invoices", "completed"),
        ("shop.sync_returns", "cancelled"),
        ("shop.sync_stock", "cancelled"),
        ("shop.sync_stock", "failed"),
    ]
    assert [kind for kind, *_ in rows(ERRORS)] == ["ConnectionError"]
