"""What the checks count, and what they leave out."""

from __future__ import annotations

import pytest

from tests.integration.sql.checks import (
    disk,
)
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls


def test_the_hour_of_errors_ends_with_the_moment_and_leaves_its_beginning_out(calls: Calls) -> None:
    for moment in (NOON - HOUR, NOON - HOUR + SECOND, NOON, NOON + SECOND):
        calls("record_error", "t", "timeout", "low", "no answer", "it", p_at=moment)

    assert calls.evaluated("evaluate_error_rate", NOON)["it"]["value"] == 2


def test_errors_are_counted_for_each_component(calls: Calls) -> None:
    calls.record_errors(30, "a")
    calls.record_errors(10, "b")

    findings = calls.evaluated("evaluate_error_rate", NOON)
    assert {source: (row["value"], row["severity"]) for source, row in findings.items()} == {
        "a": (30, "low"),
        "b": (10, None),
    }


def test_cancelled_tasks_count_neither_as_failed_nor_as_finished(calls: Calls) -> None:
    calls.run_tasks(5, status="failed", prefix="a")
    calls.run_tasks(5, status="completed", prefix="b")
    calls.run_tasks(90, status="cancelled", seconds=5000, prefix="c")

    assert calls.evaluated("evaluate_failure_rate", NOON)["ocr"]["value"] == 50
    assert calls.evaluated("evaluate_processing_time", NOON)["ocr"]["value"] == 10


@pytest.mark.parametrize(("tasks", "is_judged"), [(4, False), (5, True)])
def test_a_failure_rate_needs_five_tasks(calls: Calls, tasks: int, *, is_judged: bool) -> None:
    calls.run_tasks(tasks, status="failed")

    assert ("ocr" in calls.evaluated("evaluate_failure_rate", NOON)) is is_judged


def test_how_many_tasks_a_failure_rate_needs_can_be_set(calls: Calls) -> None:
    calls.run_tasks(1, status="failed")
    calls("set_setting", "failure_rate.min_tasks", 1)

    assert calls.evaluated("evaluate_failure_rate", NOON)["ocr"]["severity"] == "critical"


def test_one_slow_task_of_fifty_is_not_what_tasks_take(calls: Calls) -> None:
    calls.run_tasks(49, seconds=10, prefix="quick")
    calls.run_tasks(1, seconds=5000, prefix="slow")

    assert calls.evaluated("evaluate_processing_time", NOON)["ocr"]["value"] == 10


@pytest.mark.parametrize(
    ("status", "severity", "value"), [("healthy", None, 0), ("degraded", "medium", 1), ("unhealthy", "critical", 2)]
)
def test_a_component_is_judged_by_the_state_that_it_reports(
    calls: Calls, status: str, severity: str | None, value: float
) -> None:
    calls("update_system_health", "api", "main", status, p_failure_reason="timeout", p_at=NOON)

    finding = calls.evaluated("evaluate_component_health", NOON, "component_health")["api/main"]
    assert (finding["severity"], finding["value"], finding["summary"]) == (severity, value, f"is {status}: timeout")


def test_a_component_without_response_times_has_none_judged(calls: Calls) -> None:
    calls("update_system_health", "api", "main", "healthy", p_at=NOON)

    assert calls.evaluated("evaluate_component_health", NOON, "response_time") == {}


def test_the_cpu_is_judged_by_the_mean_of_five_samples(calls: Calls) -> None:
    for minute, percent in enumerate([100, 100, 100, 100]):
        calls("record_host_sample", "it", {"cpu_percent": percent}, NOON - minute * MINUTE)
    assert calls.evaluated("evaluate_hosts", NOON, "host_cpu") == {}

    calls("record_host_sample", "it", {"cpu_percent": 0}, NOON - 4 * MINUTE)
    assert calls.evaluated("evaluate_hosts", NOON, "host_cpu")["it"]["value"] == 80


def test_each_disk_of_a_host_is_a_source(calls: Calls) -> None:
    disk(calls, 99)

    findings = calls.evaluated("evaluate_hosts", NOON, "host_disk")
    assert {source: row["severity"] for source, row in findings.items()} == {"it /": None, "it /var": "critical"}


def test_two_components_that_are_called_alike_break_no_check(calls: Calls) -> None:
    calls("update_system_health", "a/b", "c", "unhealthy", p_at=NOON)
    calls("update_system_health", "a", "b/c", "degraded", p_at=NOON)

    assert calls("run_monitoring_checks", NOON) == 1
    assert calls.ask("SELECT source, severity FROM public.alerts") == [{"source": "a/b/c", "severity": "critical"}]
