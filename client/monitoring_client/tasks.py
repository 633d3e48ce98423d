"""A task as a context: started on entry; completed, failed or cancelled on exit."""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING

from monitoring_client import facts
from monitoring_client.facts import Fact
from monitoring_client.identity import new_task_id
from monitoring_client.off_loop import begin_off_loop, off_loop
from monitoring_client.recorder import Recorder

if TYPE_CHECKING:
    from typing_extensions import Self

SECONDS_BETWEEN_HEARTBEATS = 1.0

# The outermost task of a process may run inside of one of another process, such as automon-run's.
_enclosing: ContextVar[str | None] = ContextVar("automon_task", default=os.environ.get("AUTOMON_TASK_ID") or None)


def enclosing_task() -> str | None:
    """Answer the id of the task that this code runs in."""
    return _enclosing.get()


class Task:
    """One run of a task; `MonitoringClient.task` makes it. Set `output_size` before the end to have it recorded."""

    def __init__(
        self,
        recorder: Recorder,
        task_type: str,
        input_size: int | None,
        task_id: str | None,
        worker_id: str,
        component: str | None,
        severity: str,
        *,
        durable: bool | None,
    ) -> None:
        self.task_id = new_task_id() if task_id is None else task_id
        self.parent_id = enclosing_task()
        self.task_type = task_type
        self.input_size = input_size
        self.output_size: int | None = None
        self.step_timings: dict[str, float] = {}
        self._recorder = recorder
        self._worker_id = worker_id
        self._component = component or task_type
        self._severity = severity
        self._durable = durable
        self._start: Fact | None = None
        self._outer: Token[str | None] | None = None
        self._status: str | None = None  # that the application has given
        self._failure: str | None = None
        self._step: str | None = None
        self._next_heartbeat = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, in seconds. A step that is entered again adds to its time."""
        outer, self._step = self._step, name
        began = time.monotonic()
        try:
            yield
        finally:
            self._step = outer
            spent = self.step_timings.get(name, 0.0) + time.monotonic() - began
            self.step_timings[name] = round(spent, 6)

    def progress(self, percent: float | None = None, step: str | None = None) -> bool:
        """Record that the task is alive and how far it is, 0 to 100; the step is the current one unless given.

        Cheap enough for an inner loop: it is sent once a second at most. False when nothing was recorded now.
        """
        if time.monotonic() < self._next_heartbeat:
            return False
        self._next_heartbeat = time.monotonic() + SECONDS_BETWEEN_HEARTBEATS
        return self._recorder.record(facts.heartbeat, self.task_id, percent, step or self._step, None)

    def metric(self, name: str, value: float, unit: str | None = None) -> bool:
        """Record a result of the task as a performance metric of its component, tagged with the task's id."""
        tags = {"task_id": self.task_id}
        return self._recorder.record(
            facts.record_performance_metric, name, "result", value, unit, self._component, tags, None
        )

    def fail(self, message: str) -> None:
        """Let the task end as failed, with this message, though it raises nothing."""
        self._status, self._failure = "failed", message

    def cancel(self) -> None:
        """Let the task end as cancelled, though it raises nothing."""
        self._status, self._failure = "cancelled", None

    # Without `with`: for starts and ends that are calls in different places ------------------------------------------

    def start(self) -> Self:
        """Record that the task starts now."""
        self._begin()
        self._put_start()
        return self

    def end(self, error: BaseException | None = None, *, status: str | None = None) -> bool:
        """Record that the task has ended, by this exception if there is one.

        `status` outranks what the exception says, which then is the reason that is kept with the task.
        """
        if status is not None:
            self._status = status
        return self._finish(error, datetime.now(timezone.utc))

    async def astart(self) -> Self:
        """As `start`, while the event loop goes on."""
        self._begin()  # here, because the end, should the task be cancelled now, tells of the start
        if not self._takes_time:
            self._put_start()
            return self
        import asyncio

        try:
            await off_loop(self._put_start)
        except asyncio.CancelledError as cancelled:  # nobody will end the task; its start is on its way
            begin_off_loop(functools.partial(self._finish, cancelled, datetime.now(timezone.utc)))
            raise
        return self

    async def aend(self, error: BaseException | None = None) -> None:
        """As `end`, while the event loop goes on."""
        ended_at = datetime.now(timezone.utc)
        if self._takes_time:
            await off_loop(functools.partial(self._finish, error, ended_at))
        else:
            self._finish(error, ended_at)

    @property
    def _takes_time(self) -> bool:
        return self._recorder.waits if self._durable is None else self._durable

    # With `with` ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin()
        self._put_start()
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self._finish(error, datetime.now(timezone.utc))

    async def __aenter__(self) -> Self:
        await self.astart()
        self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        await self.aend(error)

    def enter(self) -> None:
        """Make this the task that encloses what begins from here on."""
        self._outer = _enclosing.set(self.task_id)

    def leave(self) -> None:
        """Make what enclosed this task enclose again."""
        outer, self._outer = self._outer, None
        if outer is not None:
            with suppress(ValueError):  # entered in another context, such as another thread of a pool: that one is gone
                _enclosing.reset(outer)

    def _begin(self) -> None:
        self._start = self._recorder.make(  # kept even if it cannot be recorded: the end tells of it again
            facts.start_task,
            self.task_id,
            self.task_type,
            self.input_size,
            self._worker_id,
            self.parent_id,
            None,
        )

    def _put_start(self) -> None:
        self._recorder.put(self._start, durable=self._durable)

    def _finish(self, error: BaseException | None, ended_at: datetime) -> bool:
        # When the application's own exception is on its way, none of ours may take its place.
        recorder = self._recorder if error is None else self._recorder.quiet()
        status = self._status or how_it_ended(error)
        failure = (self._failure or error) if status == "failed" else None
        if failure is not None:
            self._record_error(recorder, failure)
        if self._start is not None:
            ended_at = max(ended_at, self._start.body["at"])  # clocks are set back now and then
        steps = self.step_timings or None
        reason = failure or (error if self._status is not None else None)
        end = recorder.make(
            facts.complete_task, self._start, self.task_id, status, self.output_size, steps, reason, ended_at
        )
        if end is None:
            return False
        return recorder.put(
            end._replace(at_is_ours=self._start is None or self._start.at_is_ours), durable=self._durable
        )

    def _record_error(self, recorder: Recorder, failure: str | BaseException) -> None:
        kind, trace = "failure", None
        if isinstance(failure, BaseException):
            kind = type(failure).__name__
            trace = _trace(failure)
        error = recorder.make(
            facts.record_error, self.task_id, kind, self._severity, failure, self._component, trace, None, None
        )
        recorder.put(error, durable=self._durable)


def how_it_ended(error: BaseException | None) -> str:
    """Tell the status of a task that this exception has left; an interruption from outside is no failure."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "completed"
    if isinstance(error, SystemExit):
        return "failed"
    if isinstance(error, Exception) and type(error).__name__ != "CancelledError":  # concurrent.futures has one of these
        return "failed"
    return "cancelled"


def _trace(error: BaseException) -> str | None:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - an exception whose own text fails
        return None
