"""The checks, and facts that make each of them find a value of choice at noon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.support.calls import HOUR, MINUTE, NOON, Calls


def errors(calls: Calls, value: float) -> None:
    calls.record_errors(int(value), "it")


def failures(calls: Calls, percent: float) -> None:
    """Of 1000 tasks, that many percent fail."""
    failed = round(percent * 10)
    calls.ask(
        "SELECT public.start_task_tracking('t' || n, 'it', p_at => %s), public.complete_task_tracking('t' || n, CASE WHEN n <= %s THEN 'failed' ELSE 'completed' END, p_at => %s)"
        " FROM generate_series(1, 1000) AS n",
        NOON - MINUTE, failed, NOON - MINUTE,
    )  # fmt: skip


def durations(calls: Calls, seconds: float) -> None:
    calls.run_tasks(3, "it", seconds=seconds)


def running(calls: Calls, seconds: float) -> None:
    calls("start_task_tracking", "newer", "it", p_at=NOON)
    calls("start_task_tracking", "t", "it", None, "worker-1", p_at=NOON - timedelta(seconds=seconds))


def backlog(calls: Calls, pending: float) -> None:
    calls("update_queue_metrics", "it", 5000, p_at=NOON - HOUR)
    calls("update_queue_metrics", "it", int(pending), p_at=NOON)


def response(calls: Calls, milliseconds: float) -> None:
    calls("update_system_health", "api", "main", "healthy", milliseconds, p_at=NOON)


def rhythm(calls: Calls, silent_for: float, record: Callable[[datetime], object]) -> None:
    for number in range(5):
        record(NOON - timedelta(seconds=silent_for) - number * MINUTE)


def silent_component(calls: Calls, seconds: float) -> None:
    last = NOON - timedelta(seconds=seconds)
    for number in range(4, -1, -1):
        calls("update_system_health", "api", "main", "healthy", p_at=last - number * MINUTE)


def silent_queue(calls: Calls, seconds: float) -> None:
    rhythm(calls, seconds, lambda at: calls("update_queue_metrics", "it", 1, p_at=at))


def silent_host(calls: Calls, seconds: float) -> None:
    rhythm(calls, seconds, lambda at: calls("record_host_sample", "it", {"cpu_percent": 1}, at))


def cpu(calls: Calls, percent: float) -> None:
    rhythm(calls, 0, lambda at: calls("record_host_sample", "it", {"cpu_percent": percent}, at))


def memory(calls: Calls, percent: float) -> None:
    calls("record_host_sample", "it", {"memory_percent": percent}, NOON)


def disk(calls: Calls, percent: float) -> None:
    calls(
        "record_host_sample",
        "it",
        {"disks": [{"mount": "/", "percent": 1}, {"mount": "/var", "percent": percent}]},
        NOON,
    )


class Check(NamedTuple):
    alert_type: str
    function: str
    source: str
    unit: str
    levels: dict[str, float]
    just_under: float
    make: Callable[[Calls, float], None]


CHECKS = [
    Check(
        "error_rate",
        "evaluate_error_rate",
        "it",
        "errors/h",
        {"low": 25, "medium": 50, "high": 75, "critical": 100},
        1,
        errors,
    ),
    Check(
        "failure_rate",
        "evaluate_failure_rate",
        "it",
        "%",
        {"low": 10, "medium": 25, "high": 50, "critical": 75},
        0.1,
        failures,
    ),
    Check(
        "processing_time",
        "evaluate_processing_time",
        "it",
        "s",
        {"low": 180, "medium": 300, "high": 600, "critical": 900},
        0.001,
        durations,
    ),
    Check(
        "running_time",
        "evaluate_running_time",
        "it",
        "s",
        {"low": 180, "medium": 300, "high": 600, "critical": 900},
        0.001,
        running,
    ),
    Check(
        "component_silence",
        "evaluate_component_health",
        "api/main",
        "s",
        {"medium": 600, "high": 1800, "critical": 3600},
        0.001,
        silent_component,
    ),
    Check(
        "response_time",
        "evaluate_component_health",
        "api/main",
        "ms",
        {"low": 1000, "medium": 2000, "high": 5000, "critical": 10000},
        0.001,
        response,
    ),
    Check(
        "queue_backlog",
        "evaluate_queue_backlog",
        "it",
        "tasks",
        {"low": 50, "medium": 100, "high": 200, "critical": 500},
        1,
        backlog,
    ),
    Check("queue_silence", "evaluate_queue_backlog", "it", "s", {"medium": 900, "high": 3600}, 0.001, silent_queue),
    Check("host_cpu", "evaluate_hosts", "it", "%", {"low": 80, "medium": 90, "high": 95}, 0.001, cpu),
    Check(
        "host_memory", "evaluate_hosts", "it", "%", {"low": 80, "medium": 90, "high": 95, "critical": 98}, 0.001, memory
    ),
    Check(
        "host_disk",
        "evaluate_hosts",
        "it /var",
        "%",
        {"low": 80, "medium": 90, "high": 95, "critical": 98},
        0.001,
        disk,
    ),
    Check("host_silence", "evaluate_hosts", "it", "s", {"high": 300, "critical": 900}, 0.001, silent_host),
]
