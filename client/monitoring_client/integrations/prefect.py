"""Reports each run of a Prefect flow or task: `@flow(**flow_hooks(monitor))`. Tested with Prefect 3.9.

A run is a task of automon with Prefect's id, and the name of the flow or task as its type. It imports nothing of Prefect.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from monitoring_client import MonitoringClient

FLUSH_SECONDS = 2.0
Hook = Callable[[Any, Any, Any], None]


def flow_hooks(monitor: MonitoringClient) -> dict[str, list[Hook]]:
    """Make the arguments of `@flow`. A flow that crashed fails with an error; one that was cancelled ends as cancelled."""
    runs = _Runs(monitor)
    return {**task_hooks(monitor), "on_crashed": [runs.on_failure], "on_cancellation": [runs.on_cancellation]}


def task_hooks(monitor: MonitoringClient) -> dict[str, list[Hook]]:
    """Make the arguments of `@task`. A task with all its retries is one run, which fails when they are used up."""
    runs = _Runs(monitor)
    return {"on_running": [runs.on_running], "on_completion": [runs.on_completion], "on_failure": [runs.on_failure]}


class _Runs:
    """Keeps nothing between two calls. `what` is a flow or a task, `run` its run, and `state` the one just entered."""

    def __init__(self, monitor: MonitoringClient) -> None:
        self._monitor = monitor

    def on_running(self, what: Any, run: Any, state: Any) -> None:
        self._monitor.start_task(what.name, task_id=str(run.id))

    def on_completion(self, what: Any, run: Any, state: Any) -> None:
        self._end(run, "completed")

    def on_failure(self, what: Any, run: Any, state: Any) -> None:
        error, message = _error_of(state), state.message or state.name
        kind, trace = state.name, None
        if error is not None:
            kind, message = type(error).__name__, str(error)
            trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._monitor.record_error(str(run.id), kind, "medium", message, what.name, stack_trace=trace)
        self._end(run, "failed", message)

    def on_cancellation(self, what: Any, run: Any, state: Any) -> None:
        self._end(run, "cancelled", state.message)

    def _end(self, run: Any, status: str, reason: str | None = None) -> None:
        self._monitor.complete_task(str(run.id), status, error_message=reason)
        self._monitor.flush(FLUSH_SECONDS)  # a flow may be all that its process runs


def _error_of(state: Any) -> BaseException | None:
    """Find the exception, where the state has it still at hand; what was stored elsewhere is not fetched."""
    for found in (state.data, getattr(state.data, "result", None)):
        if isinstance(found, BaseException):
            return found
    return None
