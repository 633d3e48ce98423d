"""A task as a context: started on entry; completed, failed or cancelled on exit."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from monitoring_client import facts
from monitoring_client.off_loop import begin_off_loop, off_loop
from monitoring_client.recorder import Recorder

if TYPE_CHECKING:
    from typing_extensions import Self

SECONDS_BETWEEN_HEARTBEATS = 1.0


class Task:
    """One run of a task; `MonitoringClient.task` makes it. Set `output_size` before the end to have it recorded."""

    def __init__(
        self,
        recorder: Recorder,
        task_type: str,
        input_size: int | None,
        worker_id: str,
        component: str | None,
        severity: str,
        task_id: str | None = None,
    ) -> None:
        self.task_id = task_id or facts.new_task_id()
        self.task_type = task_type
        self.input_size = input_size
        self.output_size: int | None = None
        self.step_timings: dict[str, float] = {}
        self._recorder = recorder
        self._worker_id = worker_id
        self._component = component or task_type
        self._severity = severity
        self._started_at = facts.now()
        self._start_is_known = False
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

    def progress(self, percent: float, step: str | None = None) -> bool:
        """Record that the task is alive and how far it is, 0 to 100; the step is the current one unless given.

        Cheap enough for an inner loop: it is sent once a second at most. False when nothing was recorded now.
        """
        if time.monotonic() < self._next_heartbeat:
            return False
        self._next_heartbeat = time.monotonic() + SECONDS_BETWEEN_HEARTBEATS
        return self._recorder.record(facts.heartbeat, self.task_id, percent, step or self._step, None)

    def start(self) -> None:
        self.__enter__()

    def end(self, error: BaseException | None = None, *, status: str | None = None) -> None:
        self._end(error, facts.now(), status)

    def __enter__(self) -> Self:
        self._started_at = facts.now()
        self._start(self._recorder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error, facts.now())

    async def __aenter__(self) -> Self:
        """As `with`, but the event loop goes on while the database is spoken to."""
        import asyncio

        self._started_at = facts.now()
        try:
            await off_loop(functools.partial(self._start, self._recorder))
        except asyncio.CancelledError as cancelled:  # `async with` will not call __aexit__; the start is on its way
            begin_off_loop(functools.partial(self._end, cancelled, facts.now()))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await off_loop(functools.partial(self._end, error, facts.now()))

    def _start(self, recorder: Recorder) -> None:
        self._start_is_known = recorder.record(
            facts.start_task, self.task_id, self.task_type, self.input_size, self._worker_id, self._started_at
        )

    def _end(self, error: BaseException | None, ended_at: datetime, status: str | None = None) -> None:
        # When the application's own exception is on its way, none of ours may take its place.
        recorder = self._recorder if error is None else self._recorder.quiet()
        ended_at = max(ended_at, self._started_at)
        if not self._start_is_known:
            self._start(recorder)  # the database was away then; it may be back
        status = status or how_it_ended(error)
        if error is not None and status == "failed":
            self._record_error(recorder, error, ended_at)
        recorder.record(
            facts.complete_task, self.task_id, status, self.output_size, self.step_timings or None, error, ended_at
        )

    def _record_error(self, recorder: Recorder, error: BaseException, at: datetime) -> None:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        kind, task_id, component = type(error).__name__, self.task_id, self._component
        recorder.record(facts.record_error, task_id, kind, self._severity, error, component, trace, None, at)


def how_it_ended(error: BaseException | None) -> str:
    """Tell the status of a task that this exception has left; an interruption from outside is no failure."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "completed"
    if isinstance(error, SystemExit):
        return "failed"
    if isinstance(error, Exception) and type(error).__name__ != "CancelledError":  # concurrent.futures has one of these
        return "failed"
    return "cancelled"
