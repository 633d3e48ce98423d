"""Evidence: what is said of a finding beside its value, and that it is said again of a moment that has passed."""

from __future__ import annotations

from datetime import datetime

from tests.integration.sql.checks import (
    CHECKS,
    disk,
    durations,
    memory,
    running,
    silent_component,
    silent_host,
    silent_queue,
)
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls


def test_the_evidence_of_errors_groups_them_by_what_they_say(calls: Calls) -> None:
    for number in range(24):
        calls(
            "record_error",
            f"task-{number}",
            "timeout",
            "high",
            f"no answer after {number} ms",
            "it",
            p_at=NOON - number * MINUTE,
        )
    calls("record_error", None, "refused", "critical", "login refused", "it", p_at=NOON - 5 * HOUR + MINUTE)
    calls("record_error", None, "refused", "critical", "login refused", "it", p_at=NOON - 30 * MINUTE)

    evidence = calls.evaluated("evaluate_error_rate", NOON)["it"]["evidence"]

    assert evidence["measured"] == "25 errors, 24 tasks affected"
    assert evidence["totals"] == {"errors": 25, "tasks": 24, "critical": 1, "high": 24}
    assert (datetime.fromisoformat(evidence["window_from"]), datetime.fromisoformat(evidence["window_to"])) == (
        NOON - HOUR,
        NOON,
    )
    assert evidence["trend"] == {"of": "errors", "step_seconds": 1800, "values": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 24]}
    assert [(part["count"], part["what"], part["message"]) for part in evidence["top"]] == [
        (24, "timeout", "no answer after 0 ms"),
        (1, "refused", "login refused"),
    ]
    assert datetime.fromisoformat(evidence["top"][0]["first_at"]) == NOON - 23 * MINUTE
    assert datetime.fromisoformat(evidence["top"][0]["last_at"]) == NOON
    assert evidence["top"][0]["sample"].startswith("task-")


def test_the_evidence_of_failures_names_workers_and_messages(calls: Calls) -> None:
    calls.run_tasks(3, status="failed", prefix="f")
    calls.run_tasks(7, prefix="c")

    evidence = calls.evaluated("evaluate_failure_rate", NOON)["ocr"]["evidence"]

    assert (evidence["measured"], evidence["totals"]) == (
        "3 of 10 tasks failed",
        {"tasks": 10, "failed": 3, "workers": 1, "slowest_seconds": 10},
    )
    assert [(part["count"], part["what"], part["message"], part["where"]) for part in evidence["top"]] == [
        (3, "failed", "disk full", "worker-1")
    ]
    assert evidence["trend"]["values"] == [0] * 11 + [3]


def test_the_evidence_of_slow_tasks_says_how_slow_the_slowest_was(calls: Calls) -> None:
    calls.run_tasks(2, seconds=400)

    evidence = calls.evaluated("evaluate_processing_time", NOON)["ocr"]["evidence"]
    assert evidence["measured"] == "2 tasks, the slowest took 6 min"
    assert [(part["count"], part["what"], part["message"]) for part in evidence["top"]] == [(2, "took up to 6 min", "")]


def test_the_evidence_of_running_tasks_says_where_they_are(calls: Calls) -> None:
    running(calls, 400)
    calls("record_task_heartbeat", "t", 40.0, "scan", NOON - MINUTE)

    evidence = calls.evaluated("evaluate_running_time", NOON)["it"]["evidence"]
    assert (evidence["measured"], evidence["totals"]) == (
        "2 tasks running, the oldest for 6 min",
        {"running": 2, "workers": 1},
    )
    oldest, newest = evidence["top"]
    assert (oldest["what"], oldest["message"], oldest["where"], oldest["sample"]) == (
        "running 6 min",
        "step scan, 40 % done, last heartbeat 60 s ago",
        "worker-1",
        "t",
    )
    assert (newest["message"], newest["where"]) == ("no heartbeat", None)


def test_the_evidence_of_a_component_shows_its_last_states(calls: Calls) -> None:
    for minutes, status in [(9, "healthy"), (6, "degraded"), (3, "unhealthy")]:
        calls(
            "update_system_health",
            "api",
            "main",
            status,
            p_failure_reason=f"{status} it is",
            p_at=NOON - minutes * MINUTE,
        )

    evidence = calls.evaluated("evaluate_component_health", NOON, "component_health")["api/main"]["evidence"]
    assert evidence["measured"] == "unhealthy for 3 min, uptime 66.7 % in 24 h"
    assert [(part["what"], part["message"]) for part in evidence["top"]] == [
        ("unhealthy", "unhealthy it is"),
        ("degraded", "degraded it is"),
    ]


def test_the_evidence_of_a_queue_shows_how_it_grew(calls: Calls) -> None:
    calls("update_queue_metrics", "it", 10, p_completed=5, p_at=NOON - 50 * MINUTE)
    calls("update_queue_metrics", "it", 300, 2, 6, 1, 130.0, NOON)

    evidence = calls.evaluated("evaluate_queue_backlog", NOON, "queue_backlog")["it"]["evidence"]
    assert evidence["measured"] == "300 waiting, 10 at the beginning, the oldest for 2 min, 11 done, 1 failed"
    assert evidence["totals"] == {"pending": 300, "processing": 2, "completed": 11, "failed": 1, "reports": 2}
    assert evidence["trend"]["values"] == [None] * 10 + [10, 300]


def test_the_evidence_of_a_host_shows_all_that_was_measured(calls: Calls) -> None:
    calls(
        "record_host_sample",
        "it",
        {
            "cpu_percent": 5,
            "memory_percent": 99,
            "swap_percent": 1,
            "load_per_core": 0.25,
            "disks": [{"mount": "/", "percent": 50}],
        },
        NOON,
    )

    evidence = calls.evaluated("evaluate_hosts", NOON, "host_memory")["it"]["evidence"]
    assert evidence["measured"] == "CPU 5 %, memory 99 %, swap 1 %, fullest disk 50 %, load 0.25 per core"
    assert evidence["trend"]["of"] == "memory %"
    assert evidence["trend"]["values"][-1] == 99


# Replay ---------------------------------------------------------------------------------------------------------------


def test_a_moment_that_has_passed_is_judged_as_it_was_then(calls: Calls) -> None:
    for check in CHECKS:
        if check.make not in {silent_component, silent_queue, silent_host, disk, memory, durations}:
            check.make(calls, min(check.levels.values()))
    then = calls.rows("evaluate_all", NOON)
    assert {row["severity"] for row in then} >= {"low"}

    calls.record_errors(200, "it", until=NOON + 20 * MINUTE)
    calls.run_tasks(20, "it", status="failed", ended=NOON + MINUTE, prefix="later")
    calls("complete_task_tracking", "t", "completed", p_at=NOON + MINUTE)
    calls("update_queue_metrics", "it", 9999, p_at=NOON + MINUTE)
    calls("record_host_sample", "it", {"cpu_percent": 0}, NOON + MINUTE)
    calls("update_system_health", "api", "main", "unhealthy", p_at=NOON + MINUTE)

    again = {(row["alert_type"], row["source"]): row for row in calls.rows("evaluate_all", NOON)}
    assert {key: (row["severity"], row["value"], row["summary"]) for key, row in again.items()} == {
        (row["alert_type"], row["source"]): (row["severity"], row["value"], row["summary"]) for row in then
    }
    for alert_type in ("error_rate", "failure_rate", "queue_backlog"):
        assert again[alert_type, "it"]["evidence"] == next(
            row["evidence"] for row in then if row["alert_type"] == alert_type
        )


def test_a_task_that_ran_then_and_has_ended_since_ran_then(calls: Calls) -> None:
    running(calls, 1000)
    calls("complete_task_tracking", "t", p_at=NOON + SECOND)

    assert calls.evaluated("evaluate_running_time", NOON)["it"]["value"] == 1000
    assert calls.evaluated("evaluate_running_time", NOON + SECOND)["it"]["value"] == 1
