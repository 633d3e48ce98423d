"""Facts: each record function stores what it is given, once."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import DataError

from tests.integration.sql.outbox import claims
from tests.support.calls import DAY, NOON, SECOND, Calls, Row

HOSTILE = {
    "quotes": """it's "quoted" \\' \\" ''; DROP TABLE public.alerts; --""",
    "dollar quotes": "$$ $body$ $1 %s %(x)s %L {0}",
    "emoji": "👩‍🚀 שלום ☃ \u202e",
    "line breaks": "first\r\n\tsecond\n",
    "a megabyte": "x" * 1_000_000,
}
ERROR = {
    "p_task_id": "t",
    "p_error_type": "timeout",
    "p_severity": "high",
    "p_error_message": "no answer",
    "p_component": "api",
}
METRIC = {
    "p_metric_name": "duration",
    "p_metric_type": "response_time",
    "p_value": 1.25,
    "p_unit": "seconds",
    "p_component": "api",
    "p_tags": {"zone": "a"},
}
QUEUE = {
    "p_queue_name": "mail",
    "p_pending": 5,
    "p_processing": 2,
    "p_completed": 7,
    "p_failed": 1,
    "p_oldest_pending_seconds": 12.5,
}
SAMPLE = {
    "cpu_percent": 12.5,
    "memory_percent": 40,
    "swap_percent": 0,
    "load_per_core": 0.5,
    "disks": [{"mount": "/", "percent": 10}, {"mount": "/var", "percent": 85.5}],
}

RECORDED: list[tuple[str, dict[str, Any], str, str]] = [
    ("record_error", ERROR, "error_tracking", "occurred_at"),
    ("record_performance_metric", METRIC, "performance_monitoring", "recorded_at"),
    ("update_queue_metrics", QUEUE, "queue_monitoring", "recorded_at"),
    ("record_host_sample", {"p_host": "host-1", "p_sample": SAMPLE}, "host_metrics", "sampled_at"),
]
by_function = pytest.mark.parametrize(
    ("function", "fact", "table", "column"), RECORDED, ids=[function for function, *_ in RECORDED]
)


def stored(calls: Calls, table: str) -> list[Row]:
    return calls.ask(f"SELECT * FROM public.{table}")


@by_function
def test_a_fact_is_stored_as_it_was_given(
    calls: Calls, function: str, fact: dict[str, Any], table: str, column: str
) -> None:
    assert calls(function, **fact, p_at=NOON) is True

    [row] = stored(calls, table)
    assert row[column] == NOON
    assert {name: row[name.removeprefix("p_")] for name in fact} == fact


@by_function
def test_a_fact_without_a_moment_happens_now(
    calls: Calls, function: str, fact: dict[str, Any], table: str, column: str
) -> None:
    before = calls.one("SELECT clock_timestamp()")

    assert calls(function, **fact) is True

    [row] = stored(calls, table)
    assert before <= row[column] <= calls.one("SELECT clock_timestamp()")


@by_function
def test_a_replay_changes_nothing(calls: Calls, function: str, fact: dict[str, Any], table: str, column: str) -> None:
    calls(function, **fact, p_at=NOON)
    before = stored(calls, table)

    assert calls(function, **fact, p_at=NOON) is False
    assert stored(calls, table) == before


@by_function
def test_the_same_at_another_moment_is_another_fact(
    calls: Calls, function: str, fact: dict[str, Any], table: str, column: str
) -> None:
    assert [calls(function, **fact, p_at=moment) for moment in (NOON, NOON + SECOND, NOON - DAY)] == [True, True, True]
    assert len(stored(calls, table)) == 3


def test_two_errors_alike_that_happen_now_are_two(calls: Calls) -> None:
    assert [calls("record_error", **ERROR), calls("record_error", **ERROR)] == [True, True]
    assert len(stored(calls, "error_tracking")) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"p_error_message": "other"},
        {"p_component": "web"},
        {"p_task_id": "u"},
        {"p_severity": "low"},
        {"p_error_type": "refused"},
    ],
)
def test_two_different_errors_of_one_moment_are_two(calls: Calls, changed: dict[str, str]) -> None:
    assert [calls("record_error", **ERROR, p_at=NOON), calls("record_error", **(ERROR | changed), p_at=NOON)] == [
        True,
        True,
    ]


def test_two_errors_whose_parts_read_alike_when_joined_are_two(calls: Calls) -> None:
    joined = {"p_component": "a,b", "p_error_type": "c"}, {"p_component": "a", "p_error_type": "b,c"}

    assert [calls("record_error", **(ERROR | parts), p_at=NOON) for parts in joined] == [True, True]


def test_an_error_may_belong_to_no_task_and_no_component(calls: Calls) -> None:
    calls("record_error", None, "timeout", "low", "no answer")

    [row] = stored(calls, "error_tracking")
    assert (row["task_id"], row["component"]) == (None, "unknown")


def test_an_error_keeps_its_stack_trace_and_context(calls: Calls) -> None:
    calls("record_error", **ERROR, p_stack_trace="File a.py", p_context={"page": 3})

    [row] = stored(calls, "error_tracking")
    assert (row["stack_trace"], row["context"]) == ("File a.py", {"page": 3})


def test_a_measurement_without_a_type_is_a_gauge(calls: Calls) -> None:
    calls("record_performance_metric", "temperature", None, -3.5)

    [row] = stored(calls, "performance_monitoring")
    assert (row["metric_type"], row["unit"], row["component"], row["value"]) == ("gauge", "", "unknown", -3.5)


def test_a_host_sample_shows_the_fullest_disk(calls: Calls) -> None:
    calls("record_host_sample", "host-1", SAMPLE, NOON)

    [row] = stored(calls, "host_metrics")
    assert (
        row["cpu_percent"],
        row["memory_percent"],
        row["swap_percent"],
        row["disk_percent"],
        row["load_per_core"],
    ) == (12.5, 40, 0, 85.5, 0.5)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_stored_as_text(calls: Calls, text: str) -> None:
    name = text[:100]
    calls("start_task_tracking", name, name, p_worker_id=text)
    calls("record_task_heartbeat", name, p_step=text)
    calls("complete_task_tracking", name, "failed", p_error_message=text)
    calls("record_error", name, name, "low", text, name, text, {"text": text})
    calls("record_performance_metric", name, name, 1, text, name, {text[:50]: text})
    calls("update_system_health", name, name, "unhealthy", p_failure_reason=text)
    calls("update_queue_metrics", name, 1000)

    [task] = calls.ask(
        "SELECT task_id, task_type, worker_id, current_step, error_message FROM public.processing_metrics"
    )
    assert list(task.values()) == [name, name, text, text, text]
    [error] = stored(calls, "error_tracking")
    assert (error["error_message"], error["stack_trace"], error["context"]) == (text, text, {"text": text})
    assert stored(calls, "performance_monitoring")[0]["tags"] == {text[:50]: text}
    assert stored(calls, "system_health")[0]["failure_reason"] == text
    assert stored(calls, "queue_monitoring")[0]["queue_name"] == name


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_goes_through_the_checks_into_an_alert(calls: Calls, text: str) -> None:
    name = text[:100]
    calls.configure(channels=[{"name": "ops", "recipients": [""], "min_severity": "low", "notify_on": ["opened"]}])
    for number in range(30):
        calls("start_task_tracking", f"{name}{number}", name, p_worker_id=name)
        calls("complete_task_tracking", f"{name}{number}", "failed", p_error_message=text)
        calls("record_error", name, name, "low", text, name)
    calls("update_system_health", name, "x", "unhealthy", p_failure_reason=text)
    calls("update_queue_metrics", name, 1000)

    assert calls("run_monitoring_checks") == 4
    assert {row["source"] for row in calls.ask("SELECT source FROM public.alerts")} == {name, f"{name}/x"}
    assert len(claims(calls)) == 4


def test_a_nul_is_refused(calls: Calls) -> None:
    with pytest.raises(DataError):
        calls("record_error", "t", "timeout", "low", "a\0b")
    assert stored(calls, "error_tracking") == []


@pytest.mark.parametrize("length", [1, 512])
def test_a_name_of_up_to_512_bytes_is_taken(calls: Calls, length: int) -> None:
    assert calls("start_task_tracking", "t" * length, "o" * length) is True
    assert calls("complete_task_tracking", "t" * length) is True
    assert calls("record_error", "t" * length, "e" * length, "low", "m", "c" * length) is True
    assert calls("update_system_health", "y" * length, "z" * length, "healthy") is True
    assert calls("update_queue_metrics", "q" * length, 0) is True


@pytest.mark.parametrize(
    ("message", "signature"),
    [
        ("no answer after 1200 ms", "no answer after # ms"),
        ("row 8f14e45f-ceea-467f-ab0b-1234567890ab is gone", "row # is gone"),
        ("at 0x7ffe10 in a.c:12", "at # in a.c:#"),
        ("first line 1\nsecond line 2", "first line #"),
        ("", ""),
    ],
)
def test_a_signature_leaves_out_what_changes_from_one_error_to_the_next(
    calls: Calls, message: str, signature: str
) -> None:
    assert calls("error_signature", message) == signature
