"""Reports each task instance of an Airflow DAG: `default_args=callbacks(monitor)`. Tested with Airflow 3.3.

A run is a task of automon whose type is the DAG and the task, `dag.task`. It imports nothing of Airflow.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from monitoring_client import MonitoringClient

FLUSH_SECONDS = 2.0
Callback = Callable[[Mapping[str, Any]], None]


def callbacks(monitor: MonitoringClient) -> dict[str, Callback]:
    """Make the callbacks of an operator, to be among the `default_args` of a DAG or the arguments of one task.

    An attempt that is retried ends as cancelled, for the work goes on; each attempt is a run, all with the same id. The
    last one ends as failed with one error. A task that skips itself ends as cancelled.
    """
    runs = _Runs(monitor)
    return {
        "on_execute_callback": runs.on_execute,
        "on_success_callback": runs.on_success,
        "on_failure_callback": runs.on_failure,
        "on_retry_callback": runs.on_retry,
        "on_skipped_callback": runs.on_skipped,
    }


class _Runs:
    """Keeps nothing between two calls: a start and an end may come from different processes."""

    def __init__(self, monitor: MonitoringClient) -> None:
        self._monitor = monitor

    def on_execute(self, context: Mapping[str, Any]) -> None:
        instance = context["ti"]
        self._monitor.start_task(_type_of(instance), task_id=_id_of(instance))

    def on_success(self, context: Mapping[str, Any]) -> None:
        self._end(context, "completed")

    def on_failure(self, context: Mapping[str, Any]) -> None:
        instance, error = context["ti"], context.get("exception")
        kind, trace = "failure", None
        if isinstance(error, BaseException):
            kind = type(error).__name__
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._monitor.record_error(
            _id_of(instance), kind, "medium", error or "no reason given", _type_of(instance), stack_trace=trace
        )
        self._end(context, "failed", error)

    def on_retry(self, context: Mapping[str, Any]) -> None:
        self._end(context, "cancelled", context.get("exception"))

    def on_skipped(self, context: Mapping[str, Any]) -> None:
        self._end(context, "cancelled", "the task was skipped")

    def _end(self, context: Mapping[str, Any], status: str, reason: Any = None) -> None:
        self._monitor.complete_task(_id_of(context["ti"]), status, error_message=reason)
        self._monitor.flush(FLUSH_SECONDS)  # the process of a task instance ends by os._exit


def _type_of(instance: Any) -> str:
    return f"{instance.dag_id}.{instance.task_id}"


def _id_of(instance: Any) -> str:
    """Name a task instance: what is mapped over has an index, which is -1 for what is not."""
    index = getattr(instance, "map_index", -1)
    return f"{_type_of(instance)} {instance.run_id}" + ("" if index in (None, -1) else f" [{index}]")
