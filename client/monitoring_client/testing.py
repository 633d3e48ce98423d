"""For the tests of code that reports: a client that keeps what it is told, and assertions on that.

import pytest
from monitoring_client.testing import RecordingClient

@pytest.fixture
def monitor():
    return RecordingClient()

def test_an_import_is_reported(monitor):
    import_file("a.csv", monitor=monitor)

    monitor.assert_task("import", output_size=12)
    monitor.assert_no_errors()
"""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from monitoring_client.client import MonitoringClient
from monitoring_client.facts import Fact
from monitoring_client.losses import Losses
from monitoring_client.recorder import Recorder

MOST_SHOWN = 10


@dataclass(frozen=True)
class RecordedTask:
    """A task. `status` is `running` until it ends; `steps` are step timings in seconds; `error` is its error message."""

    task_type: str
    status: str
    task_id: str
    input_size: int | None = None
    output_size: int | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    worker_id: str | None = None
    parent_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class RecordedHeartbeat:
    """`progress` is in percent."""

    task_id: str
    progress: float | None
    step: str | None
    at: datetime


@dataclass(frozen=True)
class RecordedError:
    error_type: str
    severity: str
    message: str
    component: str | None
    task_id: str | None
    context: Mapping[str, Any] | None
    stack_trace: str | None
    at: datetime


@dataclass(frozen=True)
class RecordedMetric:
    metric_name: str
    metric_type: str
    value: float
    unit: str | None
    component: str | None
    tags: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True)
class RecordedHealth:
    """`response_time` is in milliseconds."""

    component_type: str
    component_name: str
    status: str
    response_time: float | None
    failure_reason: str | None
    details: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True)
class RecordedQueue:
    queue_name: str
    pending: int
    processing: int | None
    completed: int | None
    failed: int | None
    oldest_pending_seconds: float | None
    at: datetime


@dataclass(frozen=True)
class RecordedHostSample:
    host: str
    sample: Mapping[str, Any]
    at: datetime


class RecordingClient(MonitoringClient):
    """A MonitoringClient that keeps every fact in memory and sends nothing. Threads may share it.

    It has no database, no thread and no file, and goes by nothing in the environment. Mistakes in a call raise TypeError
    or ValueError, as does a report on a task that was never started: give `start_task` the id if another program starts
    it. When an exception of the application is leaving a task at the same time, that one goes on. `mistakes` has them all.
    """

    def __init__(self, dsn: str | None = None, *, worker_id: str | None = None, **settings: Any) -> None:
        """Take what the real client takes, so that it may be put in its place, and use the `worker_id` of it alone."""
        inspect.signature(MonitoringClient).bind(dsn, worker_id=worker_id, **settings)  # anything else is a mistake
        super().__init__("", worker_id=worker_id or "tester", enabled=False, durable=False, spool=False)
        self._notebook = _Notebook()
        self._mistakes = _Mistakes()
        self._recorder = Recorder(self._notebook, self._mistakes, raise_errors=True)

    @property
    def tasks(self) -> list[RecordedTask]:
        """All tasks as they are now, in the order of their start."""
        return list(self._notebook.tasks)

    @property
    def heartbeats(self) -> list[RecordedHeartbeat]:
        return list(self._notebook.heartbeats)

    @property
    def errors(self) -> list[RecordedError]:
        return list(self._notebook.errors)

    @property
    def metrics(self) -> list[RecordedMetric]:
        return list(self._notebook.metrics)

    @property
    def health_reports(self) -> list[RecordedHealth]:
        return list(self._notebook.health_reports)

    @property
    def queues(self) -> list[RecordedQueue]:
        return list(self._notebook.queues)

    @property
    def host_samples(self) -> list[RecordedHostSample]:
        return list(self._notebook.host_samples)

    @property
    def mistakes(self) -> list[str]:
        """What was wrong in calls, also where an exception of the application was on its way and nothing could be raised."""
        return list(self._mistakes.told)

    def clear(self) -> None:
        """Forget everything that was recorded."""
        self._notebook.clear()
        self._mistakes.told.clear()

    def assert_task(
        self,
        task_type: str,
        status: str = "completed",
        times: int | None = 1,
        *,
        input_size: int | None = None,
        output_size: int | None = None,
        steps: Collection[str] | None = None,
        error_contains: str | None = None,
        worker_id: str | None = None,
        parent_id: str | None = None,
    ) -> None:
        """Assert that exactly so many tasks are like this; `times=None`: at least one. What is left out may be anything.

        `status` may be `running`. `steps` are the names of all its steps.
        """
        __tracebackhide__ = True
        wanted = {
            "task_type": task_type,
            "status": status,
            "input_size": input_size,
            "output_size": output_size,
            "steps": None if steps is None else _Named(steps),
            "error": _containing(error_contains),
            "worker_id": worker_id,
            "parent_id": parent_id,
        }
        self._assert("task", self.tasks, wanted, times)

    def assert_error(
        self,
        error_type: str | None = None,
        severity: str | None = None,
        message_contains: str | None = None,
        *,
        component: str | None = None,
        task_id: str | None = None,
        times: int | None = None,
    ) -> None:
        """Assert that at least one error is like this, or exactly so many."""
        __tracebackhide__ = True
        wanted = {
            "error_type": error_type,
            "severity": severity,
            "message": _containing(message_contains),
            "component": component,
            "task_id": task_id,
        }
        self._assert("error", self.errors, wanted, times)

    def assert_no_errors(self) -> None:
        """Assert that no error was recorded."""
        __tracebackhide__ = True
        self._assert("error", self.errors, {}, 0)

    def assert_metric(
        self,
        metric_name: str,
        value: float | None = None,
        *,
        metric_type: str | None = None,
        unit: str | None = None,
        component: str | None = None,
        tags: Mapping[str, Any] | None = None,
        times: int | None = None,
    ) -> None:
        """Assert that at least one measurement is like this, or exactly so many. `tags` may be some of its tags; `pytest.approx` is a value."""
        __tracebackhide__ = True
        wanted = {
            "metric_name": metric_name,
            "value": value,
            "metric_type": metric_type,
            "unit": unit,
            "component": component,
            "tags": None if tags is None else _Including(tags),
        }
        self._assert("measurement", self.metrics, wanted, times)

    def assert_health(
        self,
        component_type: str,
        component_name: str,
        status: str = "healthy",
        *,
        reason_contains: str | None = None,
        times: int | None = None,
    ) -> None:
        """Assert that at least one report on a component is like this, or exactly so many."""
        __tracebackhide__ = True
        wanted = {
            "component_type": component_type,
            "component_name": component_name,
            "status": status,
            "failure_reason": _containing(reason_contains),
        }
        self._assert("health report", self.health_reports, wanted, times)

    def assert_queue(
        self,
        queue_name: str,
        pending: int | None = None,
        *,
        processing: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        oldest_pending_seconds: float | None = None,
        times: int | None = None,
    ) -> None:
        """Assert that at least one report on a queue is like this, or exactly so many."""
        __tracebackhide__ = True
        wanted = {
            "queue_name": queue_name,
            "pending": pending,
            "processing": processing,
            "completed": completed,
            "failed": failed,
            "oldest_pending_seconds": oldest_pending_seconds,
        }
        self._assert("queue report", self.queues, wanted, times)

    def assert_nothing_running(self) -> None:
        """Assert that every task that was started has ended."""
        __tracebackhide__ = True
        self._assert("task", self.tasks, {"status": "running"}, 0)

    def _assert(self, what: str, records: Sequence[object], wanted: Mapping[str, object], times: int | None) -> None:
        __tracebackhide__ = True
        wanted = {name: value for name, value in wanted.items() if value is not None}
        found = [record for record in records if _fits(record, wanted)]
        if len(found) == times or (times is None and found):
            return
        raise AssertionError(_difference(what, records, wanted, times, len(found)) + _told(self.mistakes))

    def __repr__(self) -> str:
        notes = self._notebook
        return f"<RecordingClient tasks={len(notes.tasks)} errors={len(notes.errors)} metrics={len(notes.metrics)}>"


class _Mistakes(Losses):
    """Keeps what was wrong with facts, where the real client counts it and logs it once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def add(self, reason: str, facts: int = 1) -> None:
        self.count += facts
        self.told.append(reason)


class _Notebook:
    """Takes facts where the real client would send them."""

    waits = False

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        self.tasks: list[RecordedTask] = []
        self.heartbeats: list[RecordedHeartbeat] = []
        self.errors: list[RecordedError] = []
        self.metrics: list[RecordedMetric] = []
        self.health_reports: list[RecordedHealth] = []
        self.queues: list[RecordedQueue] = []
        self.host_samples: list[RecordedHostSample] = []

    def take(self, fact: Fact, durable: bool | None) -> None:  # noqa: ARG002, FBT001 - as the real client calls it
        with self._lock:
            getattr(self, f"_take_{fact.kind}")(fact.body)

    def _take_start(self, body: Mapping[str, Any]) -> None:
        place = self._place(body["task_id"])
        if place is None or self.tasks[place].status != "running":  # a replay changes nothing
            self.tasks.append(_started(body, body["at"]))

    def _take_task(self, body: Mapping[str, Any]) -> None:
        """Take the end of a task that says how it began."""
        place = self._place(body["task_id"])
        if place is None:
            self.tasks.append(_started(body, body["started_at"]))
        self._end(body, body["ended_at"])

    def _take_end(self, body: Mapping[str, Any]) -> None:
        self._end(body, body["at"])

    def _end(self, body: Mapping[str, Any], at: datetime) -> None:
        place = self._known(body["task_id"])
        if self.tasks[place].status == "running":  # a second end changes nothing
            self.tasks[place] = replace(
                self.tasks[place],
                status=body["status"],
                output_size=body["output_size"],
                steps=body["step_timings"] or {},
                error=body["error_message"],
                ended_at=at,
            )

    def _take_heartbeat(self, body: Mapping[str, Any]) -> None:
        self._known(body["task_id"])
        self.heartbeats.append(RecordedHeartbeat(**body))

    def _take_error(self, body: Mapping[str, Any]) -> None:
        said = {name: value for name, value in body.items() if name not in ("error_message", "id")}
        self.errors.append(RecordedError(message=body["error_message"], **said))

    def _take_metric(self, body: Mapping[str, Any]) -> None:
        self.metrics.append(RecordedMetric(**{name: value for name, value in body.items() if name != "id"}))

    def _take_health(self, body: Mapping[str, Any]) -> None:
        said = {name: value for name, value in body.items() if name != "response_time_ms"}
        self.health_reports.append(RecordedHealth(response_time=body["response_time_ms"], **said))

    def _take_queue(self, body: Mapping[str, Any]) -> None:
        self.queues.append(RecordedQueue(**body))

    def _take_host(self, body: Mapping[str, Any]) -> None:
        self.host_samples.append(RecordedHostSample(**body))

    def _place(self, task_id: str) -> int | None:
        """Find the latest task of that id."""
        return next((place for place in reversed(range(len(self.tasks))) if self.tasks[place].task_id == task_id), None)

    def _known(self, task_id: str) -> int:
        place = self._place(task_id)
        if place is None:
            raise ValueError(
                f"no task with the id {task_id!r} was started; if another program starts it, start it in the test"
            )
        return place


def _started(body: Mapping[str, Any], at: datetime) -> RecordedTask:
    return RecordedTask(
        task_type=body["task_type"],
        status="running",
        task_id=body["task_id"],
        input_size=body["input_size"],
        worker_id=body["worker_id"],
        parent_id=body["parent_task_id"],
        started_at=at,
    )


class _Containing(str):
    """Wanted: a text with this in it."""

    __slots__ = ()

    def fits(self, value: object) -> bool:
        return self in str(value or "")


class _Named(tuple[str, ...]):
    """Wanted: a mapping with these names."""

    __slots__ = ()

    def fits(self, value: Iterable[str]) -> bool:
        return set(self) == set(value)


class _Including(dict[str, Any]):
    """Wanted: a mapping that has at least these members."""

    __slots__ = ()

    def fits(self, value: Mapping[str, Any] | None) -> bool:
        return self.items() <= (value or {}).items()


def _containing(text: str | None) -> _Containing | None:
    return None if text is None else _Containing(text)


def _fits(record: object, wanted: Mapping[str, object]) -> bool:
    return all(_value_fits(getattr(record, name), value) for name, value in wanted.items())


def _value_fits(value: object, wanted: Any) -> bool:
    if isinstance(wanted, (_Containing, _Named, _Including)):
        return wanted.fits(value)  # type: ignore[arg-type]  # each stands beside a field of its type
    return bool(value == wanted)


def _difference(
    what: str, records: Iterable[object], wanted: Mapping[str, object], times: int | None, found: int
) -> str:
    """Say what was wanted and what there is instead, closest first."""
    number = "at least one" if times is None else f"exactly {times}" if times else "no"
    asked = " ".join(f"{name}{_relation(value)}{_plain(value)!r}" for name, value in wanted.items())
    title = f"wanted {number} {what}{' with ' if asked else ''}{asked}; there {'is' if found == 1 else 'are'} {found or 'none'}."
    closest = sorted(records, key=lambda record: -_likeness(record, wanted))
    if not closest:
        return f"{title}\nNo {what} was recorded at all."
    shown = [f"  {_shown(record)}" for record in closest[:MOST_SHOWN]]
    left = len(closest) - len(shown)
    more = [f"  and {left} more"] if left else []
    return "\n".join([title, f"Recorded, closest first ({len(closest)}):", *shown, *more])


def _told(mistakes: Sequence[str]) -> str:
    return "".join(f"\nA call was wrong: {mistake}" for mistake in mistakes)


def _relation(wanted: object) -> str:
    return " containing " if isinstance(wanted, (_Containing, _Including)) else "="


def _plain(wanted: object) -> object:
    if isinstance(wanted, _Containing):
        return str(wanted)
    return dict(wanted) if isinstance(wanted, _Including) else wanted


def _likeness(record: object, wanted: Mapping[str, object]) -> float:
    """Count what fits, and half of what is similar."""
    return sum(
        1.0 if _value_fits(getattr(record, name), value) else _similarity(getattr(record, name), value) / 2
        for name, value in wanted.items()
    )


def _similarity(value: object, wanted: object) -> float:
    return difflib.SequenceMatcher(None, str(value)[:200], str(wanted)[:200]).ratio()


def _shown(record: Any) -> str:
    """Name what is set of a record; moments and stack traces only make it long."""
    said = {part.name: getattr(record, part.name) for part in fields(record)}
    return " ".join(
        f"{name}={value!r:.200}"
        for name, value in said.items()
        if value not in (None, {}) and name not in ("at", "started_at", "ended_at", "stack_trace")
    )
