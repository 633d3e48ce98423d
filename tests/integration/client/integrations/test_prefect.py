"""The hooks of Prefect on states such as it makes, and, where it is installed, on a flow that it runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.integrations.prefect import flow_hooks, task_hooks

Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
RUNS = "SELECT task_id, task_type, status, error_message FROM processing_metrics ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking"
FLOW = SimpleNamespace(name="shop")
RUN = SimpleNamespace(id="5e0c")


def state(name: str, message: str | None = None, data: Any = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, message=message, data=data)


def test_a_run_that_completes_is_one_task(monitor: MonitoringClient, rows: Rows) -> None:
    hooks = task_hooks(monitor)
    hooks["on_running"][0](FLOW, RUN, state("Running"))
    hooks["on_completion"][0](FLOW, RUN, state("Completed"))

    assert rows(RUNS) == [("5e0c", "shop", "completed", None)]


@pytest.mark.parametrize("wrapped", [False, True], ids=["at hand", "in a record"])
def test_a_failure_is_one_error_of_the_exception(monitor: MonitoringClient, rows: Rows, wrapped: bool) -> None:
    error = ValueError("no customer")
    hooks = flow_hooks(monitor)
    hooks["on_running"][0](FLOW, RUN, state("Running"))
    hooks["on_failure"][0](FLOW, RUN, state("Failed", "it failed", SimpleNamespace(result=error) if wrapped else error))

    assert rows(RUNS) == [("5e0c", "shop", "failed", "no customer")]
    assert rows(ERRORS) == [("ValueError", "no customer", "shop", "medium")]


def test_a_crash_without_an_exception_is_an_error_of_the_state(monitor: MonitoringClient, rows: Rows) -> None:
    hooks = flow_hooks(monitor)
    hooks["on_running"][0](FLOW, RUN, state("Running"))
    hooks["on_crashed"][0](FLOW, RUN, state("Crashed", "the process was killed"))

    assert rows(ERRORS) == [("Crashed", "the process was killed", "shop", "medium")]


def test_a_flow_that_is_cancelled_ends_as_cancelled(monitor: MonitoringClient, rows: Rows) -> None:
    hooks = flow_hooks(monitor)
    hooks["on_running"][0](FLOW, RUN, state("Running"))
    hooks["on_cancellation"][0](FLOW, RUN, state("Cancelling", "by Ada"))

    assert rows(RUNS) == [("5e0c", "shop", "cancelled", "by Ada")]
    assert rows(ERRORS) == []


@pytest.mark.skipif(find_spec("prefect") is None, reason="Prefect is too big to be installed for one test")
def test_the_example_reports_the_flow_and_each_of_its_tasks(
    run_example: RunExample, rows: Rows, tmp_path: Path
) -> None:
    run_example("prefect_flow.py", PREFECT_HOME=str(tmp_path))

    assert sorted((task_type, status) for _, task_type, status, _ in rows(RUNS)) == [
        ("send_invoice", "completed"),
        ("send_invoice", "completed"),
        ("send_invoice", "failed"),
        ("shop", "completed"),
    ]
    assert [kind for kind, *_ in rows(ERRORS)] == ["ValueError"]
