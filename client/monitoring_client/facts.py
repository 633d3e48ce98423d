"""Facts as the SQL functions take them: checked, cleaned, with the moment at which the caller spoke. Nothing here does I/O.

Each function answers a `Fact` or raises TypeError or ValueError, which say what is wrong and what would be right.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

END_STATUSES = ("completed", "failed", "cancelled")
SEVERITIES = ("low", "medium", "high", "critical")
HEALTH_STATUSES = ("healthy", "degraded", "unhealthy")
LONGEST_NAME = 512  # bytes: what an index of the database holds
LONGEST_MESSAGE = 10_000  # characters
LONGEST_STACK_TRACE = 40_000
LARGEST_COUNT = 2**63 - 1


class Fact(NamedTuple):
    """One call of a SQL function. `at_is_ours`: the caller left the moment to the client. No moment: the database's now."""

    function: str
    arguments: dict[str, str | float | None]
    at: datetime | None
    at_is_ours: bool


def start_task(
    task_id: str, task_type: str, input_size: int | None, worker_id: str | None, at: datetime | None
) -> Fact:
    return _fact(
        "start_task_tracking",
        at,
        p_task_id=_name("task_id", task_id),
        p_task_type=_name("task_type", task_type),
        p_input_size=_count("input_size", input_size),
        p_worker_id=_optional_name("worker_id", worker_id),
    )


def complete_task(
    task_id: str,
    status: str,
    output_size: int | None,
    step_timings: Mapping[str, float] | None,
    error_message: str | BaseException | None,
    at: datetime | None,
) -> Fact:
    return _fact(
        "complete_task_tracking",
        at,
        p_task_id=_name("task_id", task_id),
        p_status=_one_of("status", status, END_STATUSES),
        p_output_size=_count("output_size", output_size),
        p_step_timings=_document("step_timings", step_timings),
        p_error_message=None if error_message is None else _message(error_message),
    )


def heartbeat(task_id: str, progress: float | None, step: str | None, at: datetime | None) -> Fact:
    return _fact(
        "record_task_heartbeat",
        at,
        p_task_id=_name("task_id", task_id),
        p_progress=None if progress is None else _number("progress", progress, least=0, most=100),
        p_step=_optional_name("step", step),
    )


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
    return _fact(
        "record_error",
        at,
        p_task_id=_optional_name("task_id", task_id),
        p_error_type=_name("error_type", error_type),
        p_severity=_one_of("severity", severity, SEVERITIES),
        p_error_message=_message(error_message),
        p_component=_optional_name("component", component),
        p_stack_trace=None if stack_trace is None else _text("stack_trace", stack_trace)[-LONGEST_STACK_TRACE:],
        p_context=_document("context", context),
    )


def record_performance_metric(
    metric_name: str,
    metric_type: str,
    value: float,
    unit: str | None,
    component: str | None,
    tags: Mapping[str, Any] | None,
    at: datetime | None,
) -> Fact:
    return _fact(
        "record_performance_metric",
        at,
        p_metric_name=_name("metric_name", metric_name),
        p_metric_type=_name("metric_type", metric_type),
        p_value=_number("value", value),
        p_unit=_optional_name("unit", unit),
        p_component=_optional_name("component", component),
        p_tags=_document("tags", tags),
    )


def update_system_health(
    component_type: str,
    component_name: str,
    status: str,
    response_time: float | None,
    failure_reason: str | BaseException | None,
    details: Mapping[str, Any] | None,
    at: datetime | None,
) -> Fact:
    return _fact(
        "update_system_health",
        at,
        p_component_type=_name("component_type", component_type),
        p_component_name=_name("component_name", component_name),
        p_status=_one_of("status", status, HEALTH_STATUSES),
        p_response_time_ms=None if response_time is None else _number("response_time", response_time, least=0),
        p_failure_reason=None if failure_reason is None else _message(failure_reason),
        p_details=_document("details", details),
    )


def update_queue_metrics(
    queue_name: str,
    pending: int,
    processing: int | None,
    completed: int | None,
    failed: int | None,
    oldest_pending_seconds: float | None,
    at: datetime | None,
) -> Fact:
    if pending is None:
        raise TypeError("pending must be a whole number, not None")
    oldest = oldest_pending_seconds
    return _fact(
        "update_queue_metrics",
        at,
        p_queue_name=_name("queue_name", queue_name),
        p_pending=_count("pending", pending),
        p_processing=_count("processing", processing),
        p_completed=_count("completed", completed),
        p_failed=_count("failed", failed),
        p_oldest_pending_seconds=None if oldest is None else _number("oldest_pending_seconds", oldest, least=0),
    )


def new_task_id() -> str:
    import uuid  # here and not above, because importing the client is to cost next to nothing

    return str(uuid.uuid4())


def now() -> datetime:
    return datetime.now(timezone.utc)


def readable(value: object) -> str:
    """Give the text of an exception or of anything else, even if its own `__str__` fails: a fact is not lost over that."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever somebody else's code does there
        return f"<{type(value).__name__} that cannot be shown>"


def _fact(function: str, at: datetime | None, **arguments: str | float | None) -> Fact:
    return Fact(function, arguments, now() if at is None else _moment(at), at is None)


def _moment(at: datetime) -> datetime:
    if not isinstance(at, datetime):
        raise TypeError(f"at must be a datetime, not {type(at).__name__}")
    if at.utcoffset() is None:
        raise ValueError("at must be aware of its time zone, for example datetime.now(timezone.utc)")
    return at.astimezone(timezone.utc)


def _name(what: str, value: str) -> str:
    value = _text(what, value)
    if not value:
        raise ValueError(f"{what} must not be empty")
    if len(value.encode()) > LONGEST_NAME:
        raise ValueError(f"{what} must have at most {LONGEST_NAME} bytes, not {len(value.encode())}")
    return value


def _optional_name(what: str, value: str | None) -> str | None:
    return None if value is None else _name(what, value)


def _text(what: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return _storable(value)


def _storable(value: str) -> str:
    """Replace what PostgreSQL cannot hold in a text (NUL, lone surrogates); also make a plain str of a str-based enum."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _message(value: str | BaseException) -> str:
    return _storable(readable(value))[:LONGEST_MESSAGE]


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if _text(what, value) not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")
    return _storable(value)


def _count(what: str, value: int | None) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be a whole number, not {type(value).__name__}") from None
    if not 0 <= number <= LARGEST_COUNT:
        raise ValueError(f"{what} must lie between 0 and {LARGEST_COUNT}, not {number}")
    return number


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


def _document(what: str, value: Mapping[str, Any] | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping, not {type(value).__name__}")
    try:
        return json.dumps(_jsonable(value), ensure_ascii=False)
    except RecursionError:
        return json.dumps({"unreadable": f"{what} contains itself, or is nested too deeply"})


def _jsonable(value: object) -> object:
    """Find the nearest that jsonb can hold: what is no JSON becomes text, so that a fact is not lost over its context."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {_storable(readable(key)): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):  # no other iterable: a cursor or a stream is the application's
        return [_jsonable(item) for item in value]
    return _storable(readable(value))
