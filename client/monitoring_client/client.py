"""The client: one method for each kind of fact."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from monitoring_client import facts
from monitoring_client.link import Link
from monitoring_client.queues import Queue
from monitoring_client.recorder import Recorder
from monitoring_client.tasks import Task
from monitoring_client.tracking import track

if TYPE_CHECKING:
    from typing_extensions import Self

P = ParamSpec("P")
R = TypeVar("R")


class MonitoringClient:
    """Reports to the automon database that `dsn` names. Make one for a process; threads may share it.

    No call raises: a fact that cannot be recorded is dropped, counted in `dropped` and logged, at most once a minute,
    as a warning of the logger `automon_client`. With `raise_errors=True`, for tests and scripts, calls raise
    DatabaseUnavailableError, RejectedError, ValueError or TypeError instead. Methods answer whether the fact was taken.
    `at` is the moment of the fact, aware of its time zone; without it, it is the moment of the call.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str = "public",
        worker_id: str | None = None,
        raise_errors: bool = False,
        enabled: bool | None = None,
    ) -> None:
        """Connect to nothing yet: the first fact does. `enabled=None` leaves it to AUTOMON_DISABLED."""
        if enabled is None:
            enabled = not _is_set("AUTOMON_DISABLED")
        self._worker_id = worker_id
        self._link = Link(dsn if dsn is not None else os.environ.get("AUTOMON_DSN", ""), schema)
        self._recorder = Recorder(self._link if enabled else None, raise_errors=raise_errors)
        weakref.finalize(self, self._link.close)

    @classmethod
    def from_environment(
        cls, *, schema: str | None = None, worker_id: str | None = None, raise_errors: bool = False
    ) -> MonitoringClient:
        """Make the client from AUTOMON_DSN and AUTOMON_SCHEMA; AUTOMON_DISABLED=1 switches it off."""
        return cls(
            os.environ.get("AUTOMON_DSN", ""),
            schema=schema or os.environ.get("AUTOMON_SCHEMA") or "public",
            worker_id=worker_id,
            raise_errors=raise_errors,
        )

    @property
    def dropped(self) -> int:
        """How many facts this process could not record."""
        return self._recorder.losses.count

    def start_task(
        self,
        task_type: str,
        input_size: int | None = None,
        worker_id: str | None = None,
        *,
        task_id: str | None = None,
        at: datetime | None = None,
    ) -> str:
        """Record that a task starts and answer its id, which is good to go on with even if nothing could be recorded."""
        task_id = facts.new_task_id() if task_id is None else task_id
        self._recorder.record(facts.start_task, task_id, task_type, input_size, worker_id or self.worker_id, at)
        return task_id

    def complete_task(
        self,
        task_id: str,
        status: str = "completed",
        output_size: int | None = None,
        step_timings: Mapping[str, float] | None = None,
        error_message: str | BaseException | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record that a task has ended: `completed`, `failed` or `cancelled`. Step timings are in seconds."""
        return self._recorder.record(facts.complete_task, task_id, status, output_size, step_timings, error_message, at)

    def heartbeat(
        self, task_id: str, progress: float | None = None, step: str | None = None, *, at: datetime | None = None
    ) -> bool:
        """Record that a task is alive, how far it is (0 to 100) and at which step."""
        return self._recorder.record(facts.heartbeat, task_id, progress, step, at)

    def record_error(
        self,
        task_id: str | None,
        error_type: str,
        severity: str,
        error_message: str | BaseException,
        component: str | None = None,
        stack_trace: str | None = None,
        context: Mapping[str, Any] | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record an error of a component: `low`, `medium`, `high` or `critical`. Outside of any task, task_id is None."""
        return self._recorder.record(
            facts.record_error, task_id, error_type, severity, error_message, component, stack_trace, context, at
        )

    def record_performance_metric(
        self,
        metric_name: str,
        metric_type: str,
        value: float,
        unit: str | None = None,
        component: str | None = None,
        tags: Mapping[str, Any] | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record one measured value, in the unit named."""
        return self._recorder.record(
            facts.record_performance_metric, metric_name, metric_type, value, unit, component, tags, at
        )

    def update_system_health(
        self,
        component_type: str,
        component_name: str,
        status: str,
        response_time: float | None = None,
        failure_reason: str | BaseException | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record how a component is: `healthy`, `degraded` or `unhealthy`. The response time is in milliseconds."""
        return self._recorder.record(
            facts.update_system_health,
            component_type,
            component_name,
            status,
            response_time,
            failure_reason,
            details,
            at,
        )

    def update_queue_metrics(
        self,
        queue_name: str,
        pending: int,
        processing: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        oldest_pending_seconds: float | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record how much waits in a queue, is being worked on, and is done; and how long the oldest has waited."""
        return self.queue(queue_name).report(pending, processing, completed, failed, oldest_pending_seconds, at=at)

    def queue(self, name: str) -> Queue:
        """Name a queue to report on: `monitor.queue("mail").report(pending=12)`."""
        return Queue(self._recorder, name)

    def task(
        self,
        task_type: str,
        input_size: int | None = None,
        *,
        task_id: str | None = None,
        worker_id: str | None = None,
        component: str | None = None,
        severity: str = "medium",
    ) -> Task:
        """Make a task as a context, for `with` and `async with`.

        An exception is recorded as an error of this severity and of `component` (the task type unless given), the task
        ends as failed, and the exception goes on. KeyboardInterrupt and CancelledError end it as cancelled.
        """
        return Task(self._recorder, task_type, input_size, worker_id or self.worker_id, component, severity, task_id)

    def tracked(
        self, task_type: str, *, component: str | None = None, severity: str = "medium"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function or a coroutine function: each call is a task of its own, as with `task`."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return track(function, lambda: self.task(task_type, component=component, severity=severity))

        return decorate

    @property
    def worker_id(self) -> str:
        """Who works here: what the client was given, or host and process."""
        import socket

        return self._worker_id or f"{socket.gethostname()}:{os.getpid()}"

    def flush(self, timeout: float = 5.0) -> bool:  # noqa: ARG002
        return True

    def close(self) -> None:
        """Close the connection. Facts that come later are dropped."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MonitoringClient worker_id={self.worker_id!r} dropped={self.dropped}>"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in {"1", "true", "yes", "on"}
