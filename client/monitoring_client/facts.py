"""Facts as the bulk functions of the database take them: checked, with the moment at which the caller spoke. Nothing here does I/O.

Each function answers a `Fact` or raises TypeError or ValueError, which say what is wrong and what would be right.
They run in the application's time: what may wait (JSON, cleaning of text) waits for the sender.
"""

from __future__ import annotations

import functools
import math
import operator
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

END_STATUSES = ("completed", "failed", "cancelled")
SEVERITIES = ("low", "medium", "high", "critical")
HEALTH_STATUSES = ("healthy", "degraded", "unhealthy")
LONGEST_NAME = 512  # bytes: what an index of the database holds
SURELY_SHORT = LONGEST_NAME // 4  # characters; one takes at most four bytes
LONGEST_MESSAGE = 10_000  # characters
LONGEST_STACK_TRACE = 40_000
LARGEST_DOCUMENT = 256_000  # characters
LARGEST_COUNT = 2**63 - 1
MOST_BITS = 1024  # of a whole number in a document; larger ones become text


_now = functools.partial(datetime.now, timezone.utc)


class Fact(NamedTuple):
    """One fact. `kind` says which function of the database takes it; `at_is_ours`: the caller left the moment to the client.

    `size` is the memory that its longer texts and its document take, in characters, roughly.
    """

    kind: str
    body: dict[str, Any]
    at_is_ours: bool
    size: int = 0


def start_task(
    task_id: str,
    task_type: str,
    input_size: int | None,
    worker_id: str | None,
    parent_id: str | None,
    at: datetime | None,
) -> Fact:
    return Fact(
        "start",
        {
            "task_id": _name("task_id", task_id),
            "task_type": _name("task_type", task_type),
            "at": _now() if at is None else _moment(at),
            "input_size": None if input_size is None else _count("input_size", input_size),
            "worker_id": None if worker_id is None else _name("worker_id", worker_id),
            "parent_task_id": None if parent_id is None else _name("parent_id", parent_id),
        },
        at is None,
    )


def complete_task(
    start: Fact | None,
    task_id: str,
    status: str,
    output_size: int | None,
    step_timings: Mapping[str, float] | None,
    error_message: str | BaseException | None,
    at: datetime | None,
) -> Fact:
    """Make the end of a task. With its start, it says all about the task, and stands for itself if the start was never stored."""
    ended_at = _now() if at is None else _moment(at)
    ours = at is None
    steps, size = (None, 0) if step_timings is None else _document("step_timings", step_timings)
    end = {
        "status": _one_of("status", status, END_STATUSES),
        "output_size": None if output_size is None else _count("output_size", output_size),
        "step_timings": steps,
        "error_message": None if error_message is None else _message(error_message),
    }
    if start is None:
        return Fact("end", {"task_id": _name("task_id", task_id), "at": ended_at, **end}, ours, size)
    task = {**start.body, **end}
    started_at = task["started_at"] = task.pop("at")
    # Clocks are set back now and then.
    task["ended_at"] = started_at if ours and ended_at < started_at else ended_at
    return Fact("task", task, ours and start.at_is_ours, size)


def heartbeat(task_id: str, progress: float | None, step: str | None, at: datetime | None) -> Fact:
    body = {
        "task_id": _name("task_id", task_id),
        "at": _now() if at is None else _moment(at),
        "progress": None if progress is None else _number("progress", progress, least=0, most=100),
        "step": None if step is None else _name("step", step),
    }
    return Fact("heartbeat", body, at is None)


def record_error(
    task_id: str | None,
    error_type: str,
    severity: str,
    error_message: str | BaseException,
    component: str | None,
    stack_trace: str | None,
    context: Mapping[str, Any] | None,
    at: datetime | None,
) -> Fact:
    message = _message(error_message)
    trace = None if stack_trace is None else _text("stack_trace", stack_trace)[-LONGEST_STACK_TRACE:]
    document, size = (None, 0) if context is None else _document("context", context)
    body = {
        "error_type": _name("error_type", error_type),
        "severity": _one_of("severity", severity, SEVERITIES),
        "error_message": message,
        "at": _now() if at is None else _moment(at),
        "component": None if component is None else _name("component", component),
        "task_id": None if task_id is None else _name("task_id", task_id),
        "stack_trace": trace,
        "context": document,
        "id": _identity(at),
    }
    return Fact("error", body, at is None, size + len(message) + len(trace or ""))


def record_performance_metric(
    metric_name: str,
    metric_type: str,
    value: float,
    unit: str | None,
    component: str | None,
    tags: Mapping[str, Any] | None,
    at: datetime | None,
) -> Fact:
    document, size = (None, 0) if tags is None else _document("tags", tags)
    body = {
        "metric_name": _name("metric_name", metric_name),
        "value": _number("value", value),
        "at": _now() if at is None else _moment(at),
        "metric_type": _name("metric_type", metric_type),
        "unit": None if unit is None else _name("unit", unit),
        "component": None if component is None else _name("component", component),
        "tags": document,
        "id": _identity(at),
    }
    return Fact("metric", body, at is None, size)


def update_system_health(
    component_type: str,
    component_name: str,
    status: str,
    response_time: float | None,
    failure_reason: str | BaseException | None,
    details: Mapping[str, Any] | None,
    at: datetime | None,
) -> Fact:
    document, size = (None, 0) if details is None else _document("details", details)
    body = {
        "component_type": _name("component_type", component_type),
        "component_name": _name("component_name", component_name),
        "status": _one_of("status", status, HEALTH_STATUSES),
        "at": _now() if at is None else _moment(at),
        "response_time_ms": None if response_time is None else _number("response_time", response_time, least=0),
        "failure_reason": None if failure_reason is None else _message(failure_reason),
        "details": document,
    }
    return Fact("health", body, at is None, size)


def update_queue_metrics(
    queue_name: str,
    pending: int,
    processing: int | None,
    completed: int | None,
    failed: int | None,
    oldest_pending_seconds: float | None,
    at: datetime | None,
) -> Fact:
    oldest = oldest_pending_seconds
    body = {
        "queue_name": _name("queue_name", queue_name),
        "pending": _count("pending", pending),
        "at": _now() if at is None else _moment(at),
        "processing": None if processing is None else _count("processing", processing),
        "completed": None if completed is None else _count("completed", completed),
        "failed": None if failed is None else _count("failed", failed),
        "oldest_pending_seconds": None if oldest is None else _number("oldest_pending_seconds", oldest, least=0),
    }
    return Fact("queue", body, at is None)


def record_host_sample(host: str, sample: Mapping[str, Any], at: datetime | None) -> Fact:
    document, size = _document("sample", sample)
    body = {
        "host": _name("host", host),
        "sample": document,
        "at": _now() if at is None else _moment(at),
    }
    return Fact("host", body, at is None, size)


def readable(value: object) -> str:
    """Give the text of an exception or of anything else, even if its own `__str__` fails: a fact is not lost over that."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever somebody else's code does there
        return f"<{type(value).__name__} that cannot be shown>"


def _identity(at: datetime | None) -> str | None:
    """Tell a fact from others that say the same. One whose moment the caller gave is known by its content: recording it again changes nothing."""
    return os.urandom(16).hex() if at is None else None


def _moment(at: datetime) -> datetime:
    if not isinstance(at, datetime):
        raise TypeError(f"at must be a datetime, not {type(at).__name__}")
    if at.utcoffset() is None:
        raise ValueError("at must be aware of its time zone, for example datetime.now(timezone.utc)")
    return at.astimezone(timezone.utc)


def _name(what: str, value: str) -> str:
    if type(value) is str and 0 < len(value) <= SURELY_SHORT:
        return value
    value = _text(what, value)
    if not value:
        raise ValueError(f"{what} must not be empty")
    size = len(value.encode("utf-8", "replace"))
    if size > LONGEST_NAME:
        raise ValueError(f"{what} must have at most {LONGEST_NAME} bytes, not {size}")
    return value


def _text(what: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return str.__str__(value)  # of an enum that is a str, the text


def _message(value: str | BaseException) -> str:
    return (value if type(value) is str else readable(value))[:LONGEST_MESSAGE]


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if type(value) is str and value in allowed:
        return value
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {_text(what, value)!r}")
    return _text(what, value)


def _count(what: str, value: int) -> int:
    if type(value) is int and 0 <= value <= LARGEST_COUNT:
        return value
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be a whole number, not {type(value).__name__}") from None
    if not 0 <= number <= LARGEST_COUNT:
        raise ValueError(f"{what} must lie between 0 and {LARGEST_COUNT}, not {number}")
    return int(number)


def _number(what: str, value: float, *, least: float = -math.inf, most: float = math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number, not {number}")
    if not least <= number <= most:
        allowed = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
        raise ValueError(f"{what} must be {allowed}, not {number:g}")
    return number


def _document(what: str, value: Mapping[str, Any]) -> tuple[object, int]:
    """Copy a document as it is now, because the caller may go on to change it before it is sent. Answers the copy and its size.

    A fact is not lost over a document that is too large or cannot be copied: a note takes its place.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping, not {type(value).__name__}")
    copying = _Copying()
    try:
        return copying.copy(value), copying.size
    except _TooLargeError:
        return {"left_out": f"{what} has more than {LARGEST_DOCUMENT} characters"}, 0
    except RecursionError:
        return {"left_out": f"{what} contains itself, or is nested too deeply"}, 0
    except Exception as error:  # noqa: BLE001 - whatever somebody else's mapping does, or another thread does to it
        return {"left_out": f"{what} cannot be read: {readable(error)[:LONGEST_NAME]}"}, 0


class _TooLargeError(Exception):
    pass


class _Copying:
    """Finds the nearest that jsonb can hold: what is no JSON becomes text."""

    def __init__(self) -> None:
        self.size = 0

    def copy(self, value: object) -> object:
        self._count(len(value) + 8 if isinstance(value, str) else 8)  # a number or a comma takes room too
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value) if value.bit_length() < MOST_BITS else self._text(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, Mapping):
            return {self._text(key): self.copy(item) for key, item in value.items()}
        if isinstance(
            value, (list, tuple, set, frozenset)
        ):  # no other iterable: a cursor or a stream is the application's
            return [self.copy(item) for item in value]
        return self._text(value)

    def _text(self, value: object) -> str:
        text = readable(value)
        self._count(len(text))
        return text

    def _count(self, characters: int) -> None:
        self.size += characters
        if self.size > LARGEST_DOCUMENT:
            raise _TooLargeError
