"""The client for code on an event loop: the same core, and what takes its time does so beside the loop."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from monitoring_client.client import MonitoringClient
from monitoring_client.health import Health
from monitoring_client.off_loop import off_loop
from monitoring_client.tasks import Task

if TYPE_CHECKING:
    from typing_extensions import Self

    from monitoring_client.sampler import HostSampler

P = ParamSpec("P")
R = TypeVar("R")


def _awaitable(
    method: Callable[Concatenate[MonitoringClient, P], R],
) -> Callable[Concatenate[AsyncMonitoringClient, P], Coroutine[Any, Any, R]]:
    async def call(self: AsyncMonitoringClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        work = functools.partial(method, self.client, *args, **kwargs)
        if not self.client.waits and not kwargs.get("durable"):
            return work()
        return await off_loop(work)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class AsyncMonitoringClient:
    """MonitoringClient with coroutines for methods: `await monitor.start_task(…)`. Its arguments and promises are the same.

    As long as facts go to memory, the coroutines do not even give way to others. `task` is for `async with`, and
    `tracked` for functions of any kind.
    """

    def __init__(
        self,
        dsn: str | Callable[[], str] | None = None,
        *,
        schema: str | None = None,
        worker_id: str | None = None,
        durable: bool | None = None,
        raise_errors: bool = False,
        enabled: bool | None = None,
        spool: str | os.PathLike[str] | bool | None = None,
    ) -> None:
        """As MonitoringClient."""
        self.client = MonitoringClient(
            dsn,
            schema=schema,
            worker_id=worker_id,
            durable=durable,
            raise_errors=raise_errors,
            enabled=enabled,
            spool=spool,
        )

    start_task = _awaitable(MonitoringClient.start_task)
    complete_task = _awaitable(MonitoringClient.complete_task)
    heartbeat = _awaitable(MonitoringClient.heartbeat)
    record_error = _awaitable(MonitoringClient.record_error)
    record_performance_metric = _awaitable(MonitoringClient.record_performance_metric)
    update_system_health = _awaitable(MonitoringClient.update_system_health)
    update_queue_metrics = _awaitable(MonitoringClient.update_queue_metrics)
    record_host_sample = _awaitable(MonitoringClient.record_host_sample)

    def task(
        self,
        task_type: str,
        input_size: int | None = None,
        *,
        task_id: str | None = None,
        worker_id: str | None = None,
        component: str | None = None,
        severity: str = "medium",
        durable: bool | None = None,
    ) -> Task:
        """As MonitoringClient.task, for `async with`."""
        return self.client.task(
            task_type,
            input_size,
            task_id=task_id,
            worker_id=worker_id,
            component=component,
            severity=severity,
            durable=durable,
        )

    def tracked(
        self, task_type: str, *, component: str | None = None, severity: str = "medium"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """As MonitoringClient.tracked."""
        return self.client.tracked(task_type, component=component, severity=severity)

    def health(self, component_type: str, component_name: str, *, slow_ms: float | None = None) -> Health:
        """As MonitoringClient.health, for `async with`."""
        return self.client.health(component_type, component_name, slow_ms=slow_ms)

    def sample_host(self, every: float = 60.0, *, host: str | None = None, component: str | None = None) -> HostSampler:
        """As MonitoringClient.sample_host."""
        return self.client.sample_host(every, host=host, component=component)

    def queue(self, name: str) -> AsyncQueue:
        """As MonitoringClient.queue."""
        return AsyncQueue(self, name)

    @property
    def dropped(self) -> int:
        """As MonitoringClient.dropped."""
        return self.client.dropped

    @property
    def worker_id(self) -> str:
        """As MonitoringClient.worker_id."""
        return self.client.worker_id

    async def flush(self, timeout: float = 5.0) -> bool:
        """As MonitoringClient.flush."""
        return await off_loop(lambda: self.client.flush(timeout))

    async def close(self, timeout: float = 2.0) -> None:
        """As MonitoringClient.close."""
        await off_loop(lambda: self.client.close(timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()


class AsyncQueue:
    """Reports on one queue; `AsyncMonitoringClient.queue` makes it."""

    def __init__(self, monitor: AsyncMonitoringClient, name: str) -> None:
        self._monitor = monitor
        self.name = name

    async def report(
        self,
        pending: int,
        processing: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        oldest_pending_seconds: float | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record how much waits, is being worked on, and is done. False when the fact was dropped."""
        return await self._monitor.update_queue_metrics(
            self.name, pending, processing, completed, failed, oldest_pending_seconds, at=at
        )
