"""The client: one method for each kind of fact."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from monitoring_client import facts, identity, settings
from monitoring_client.health import Health
from monitoring_client.losses import Losses
from monitoring_client.queues import Queue
from monitoring_client.recorder import Buffered, Direct, Recorder, Sink
from monitoring_client.tasks import Task, enclosing_task
from monitoring_client.tracking import track

if TYPE_CHECKING:
    from typing_extensions import Self

    from monitoring_client.facts import Fact
    from monitoring_client.sampler import HostSampler

P = ParamSpec("P")
R = TypeVar("R")
MOST_STARTS = 10_000  # of running tasks that are remembered, so that their ends can tell the whole story


class MonitoringClient:
    """Reports to the automon database that `dsn` names. Make one for a process; threads, coroutines and forked children may share it.

    Calls take microseconds: facts go to a buffer, and from there by a thread to the database, or to a file while it is away.
    No call raises: a fact that cannot be taken is dropped, counted in `dropped` and logged, at most once a minute, as a
    warning of the logger `automon_client`. Methods answer whether the fact was taken.

    With `durable=True`, for a client or a call, a fact is on disk when the call returns. With `raise_errors=True`, for tests
    and scripts, every call waits for the database and raises DatabaseUnavailableError, RejectedError, ValueError or TypeError.
    `at` is the moment of the fact, aware of its time zone; without it, it is the moment of the call.
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
        """Connect to nothing yet: the first fact does. What is not given is taken from AUTOMON_DSN, AUTOMON_SCHEMA and so on.

        `dsn` may be a function that answers it, for passwords that change; it is asked for each new connection. `spool` is the
        file that facts wait in while the database is away; False: they wait in memory alone.
        """
        told = settings.read(dsn=dsn, schema=schema, worker_id=worker_id, durable=durable, enabled=enabled, spool=spool)
        losses = Losses()
        self._given_worker_id = told.worker_id
        self._started: dict[str, Fact] = {}
        self._samplers: list[HostSampler] = []
        self._outbox = None
        sink: Sink | None = None
        if told.enabled:
            from monitoring_client.link import Link
            from monitoring_client.outbox import Outbox
            from monitoring_client.spool import Spool

            link = Link(told.dsn, told.schema)
            self._outbox = Outbox(link, Spool(told.spool) if told.spool else None, losses)
            sink = Direct(link) if raise_errors else Buffered(self._outbox, link, durable=told.durable)
            weakref.finalize(sink, self._outbox.abandon).atexit = False
        self._recorder = Recorder(sink, losses, raise_errors=raise_errors)

    @classmethod
    def from_environment(
        cls, *, schema: str | None = None, worker_id: str | None = None, raise_errors: bool = False
    ) -> MonitoringClient:
        """Make the client from AUTOMON_DSN and AUTOMON_SCHEMA; the same as without a DSN."""
        return cls(schema=schema, worker_id=worker_id, raise_errors=raise_errors)

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
        durable: bool | None = None,
    ) -> str:
        """Record that a task starts and answer its id, which is good to go on with even if nothing could be recorded."""
        task_id = identity.new_task_id() if task_id is None else task_id
        start = self._recorder.make(
            facts.start_task, task_id, task_type, input_size, worker_id or self.worker_id, enclosing_task(), at
        )
        if start is not None:
            self._started[task_id] = start
            if len(self._started) > MOST_STARTS:
                self._forget_a_start()
            self._recorder.put(start, durable=durable)
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
        durable: bool | None = None,
    ) -> bool:
        """Record that a task has ended: `completed`, `failed` or `cancelled`. Step timings are in seconds."""
        start = self._started.get(task_id) if isinstance(task_id, str) else None
        end = self._recorder.make(
            facts.complete_task, start, task_id, status, output_size, step_timings, error_message, at
        )
        taken = self._recorder.put(end, durable=durable)
        if taken:
            self._started.pop(task_id, None)
        return taken

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
        durable: bool | None = None,
    ) -> bool:
        """Record an error of a component: `low`, `medium`, `high` or `critical`. Outside of any task, task_id is None."""
        error = self._recorder.make(
            facts.record_error, task_id, error_type, severity, error_message, component, stack_trace, context, at
        )
        return self._recorder.put(error, durable=durable)

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
        durable: bool | None = None,
    ) -> bool:
        """Record how a component is: `healthy`, `degraded` or `unhealthy`. The response time is in milliseconds."""
        health = self._recorder.make(
            facts.update_system_health,
            component_type,
            component_name,
            status,
            response_time,
            failure_reason,
            details,
            at,
        )
        return self._recorder.put(health, durable=durable)

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

    def record_host_sample(self, host: str, sample: Mapping[str, Any], *, at: datetime | None = None) -> bool:
        """Record how a machine is, in the shape that the SQL function `record_host_sample` takes."""
        return self._recorder.record(facts.record_host_sample, host, sample, at)

    def queue(self, name: str) -> Queue:
        """Name a queue to report on: `monitor.queue("mail").report(pending=12)`."""
        return Queue(self._recorder, name)

    def health(self, component_type: str, component_name: str, *, slow_ms: float | None = None) -> Health:
        """Make a context that reports how a component is, by what happens inside: `with monitor.health("api", "main", slow_ms=500):`."""
        return Health(self, component_type, component_name, slow_ms=slow_ms)

    def sample_host(self, every: float = 60.0, *, host: str | None = None, component: str | None = None) -> HostSampler:
        """Begin to sample this host and this process every so many seconds, in a thread that ends with `close`."""
        from monitoring_client.sampler import HostSampler

        sampler = HostSampler(self, every=every, host=host, component=component).start()
        self._samplers.append(sampler)
        return sampler

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
        """Make a task as a context, for `with` and `async with`.

        An exception is recorded as an error of this severity and of `component` (the task type unless given), the task
        ends as failed, and the exception goes on. KeyboardInterrupt and CancelledError end it as cancelled.
        A task that begins inside of another has that one as its parent.
        """
        worker_id = worker_id or self.worker_id
        return Task(self._recorder, task_type, input_size, task_id, worker_id, component, severity, durable=durable)

    def tracked(
        self, task_type: str, *, component: str | None = None, severity: str = "medium"
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function, a coroutine function or a generator function: each call is a task of its own, as with `task`."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return track(function, lambda: self.task(task_type, component=component, severity=severity))

        return decorate

    @property
    def worker_id(self) -> str:
        """Who works here: what the client was given, or host and process."""
        return self._given_worker_id or identity.worker_id()

    @property
    def waits(self) -> bool:
        """Whether calls wait for a disk or the database."""
        return self._recorder.waits

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything that this process recorded is in the database. False when it is not after `timeout` seconds.

        For code that ends by `os._exit`, and for tests. The facts go on to be delivered after a False.
        """
        return self._outbox is None or self._outbox.flush(timeout)

    def flush_on_sigterm(self, timeout: float = 2.0) -> bool:
        """Deliver for `timeout` seconds when SIGTERM arrives, keep on disk what is left, and then do what SIGTERM did before.

        For programs that do not handle SIGTERM: it ends them, as before, but nothing that was recorded is lost. Call it in
        the main thread, once. False where it cannot be done.
        """
        if self._outbox is None:
            return False
        from monitoring_client.sigterm import before_sigterm

        outbox = self._outbox
        return before_sigterm(lambda: outbox.secure(timeout))

    def close(self, timeout: float = 2.0) -> None:
        """Deliver for `timeout` seconds, keep on disk what is left, and close the connection. Facts that come later are dropped."""
        for sampler in self._samplers:
            sampler.stop()
        if self._outbox is not None:
            self._outbox.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MonitoringClient worker_id={self.worker_id!r} dropped={self.dropped}>"

    def _forget_a_start(self) -> None:
        """Forget the oldest: of a task that somebody else ends, or nobody."""
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread did it meanwhile
            del self._started[next(iter(self._started))]
