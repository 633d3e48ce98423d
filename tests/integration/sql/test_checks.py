"""The checks: what each says of a moment, at its thresholds, and again later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from tests.support.calls import DAY, HOUR, MINUTE, NOON, SECOND, Calls, Row


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


class Case(NamedTuple):
    check: Check
    value: float
    severity: str | None
    threshold: float


def cases_of(check: Check) -> list[Case]:
    """At each level, just above it, and just under it: of the level below, if there is one."""
    found, below = [], None
    for severity, level in check.levels.items():
        under = Case(check, level - check.just_under, below, level if below is None else check.levels[below])
        found += [under, Case(check, level, severity, level), Case(check, level + check.just_under, severity, level)]
        below = severity
    return found


CASES = [case for check in CHECKS for case in cases_of(check)]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.check.alert_type} {case.value:g}" for case in CASES])
def test_a_value_is_of_the_highest_level_that_it_reaches(calls: Calls, case: Case) -> None:
    case.check.make(calls, case.value)

    finding = calls.evaluated(case.check.function, NOON, case.check.alert_type)[case.check.source]

    assert (finding["severity"], finding["threshold"], finding["unit"]) == (
        case.severity,
        case.threshold,
        case.check.unit,
    )
    assert finding["value"] == pytest.approx(case.value, abs=1e-6)


@pytest.mark.parametrize("check", CHECKS, ids=[check.alert_type for check in CHECKS])
def test_a_source_with_limits_of_its_own_is_judged_by_them_alone(calls: Calls, check: Check) -> None:
    check.make(calls, next(iter(check.levels.values())))
    calls("set_threshold", check.alert_type, check.source, None, None, 0.5, None)
    calls("set_threshold", check.alert_type, "another", None, None, None, 0.5)

    finding = calls.evaluated(check.function, NOON, check.alert_type)[check.source]
    assert (finding["severity"], finding["threshold"]) == ("high", 0.5)


@pytest.mark.parametrize("check", CHECKS, ids=[check.alert_type for check in CHECKS])
def test_a_check_without_levels_finds_nothing_wrong(calls: Calls, check: Check) -> None:
    check.make(calls, 2 * max(check.levels.values()) if check.unit != "%" else 100)
    calls("set_threshold", check.alert_type, "*", None, None, None, None)

    finding = calls.evaluated(check.function, NOON, check.alert_type)[check.source]
    assert (finding["severity"], finding["threshold"]) == (None, None)


@pytest.mark.parametrize("check", CHECKS, ids=[check.alert_type for check in CHECKS])
def test_thresholds_may_be_given_for_a_replay(calls: Calls, check: Check) -> None:
    check.make(calls, max(check.levels.values()))
    calls("set_threshold", check.alert_type, "*", None, None, None, 0.5)
    stricter = calls.one("SELECT public.thresholds_in_force()::text")
    calls("set_threshold", check.alert_type, "*", None, None, None, None)

    rows = calls.ask(
        f"SELECT severity FROM public.{check.function}(%s, %s::public.monitoring_thresholds[]) WHERE alert_type = %s AND source = %s",
        NOON,
        stricter,
        check.alert_type,
        check.source,
    )
    assert rows == [{"severity": "critical"}]


@pytest.mark.parametrize("check", CHECKS, ids=[check.alert_type for check in CHECKS])
def test_evidence_is_gathered_for_what_is_wrong_only(calls: Calls, check: Check) -> None:
    check.make(calls, min(check.levels.values()))

    wrong = calls.evaluated(check.function, NOON, check.alert_type)[check.source]
    assert {"measured", "totals"} <= set(wrong["evidence"])
    calls("set_threshold", check.alert_type, "*", None, None, None, 1e9)
    fine = calls.evaluated(check.function, NOON, check.alert_type)[check.source]
    assert (fine["severity"], fine["evidence"]) == (None, None)


def test_all_checks_together_say_what_each_says(calls: Calls) -> None:
    for make in (errors, failures, running, silent_component, silent_queue):
        make(calls, 100)
    for minutes in range(5):
        calls("update_system_health", "api", "web", "degraded", 5.0, p_at=NOON + minutes * SECOND)
        calls(
            "record_host_sample",
            "it",
            {"cpu_percent": 99, "memory_percent": 99, "disks": [{"mount": "/", "percent": 99}]},
            NOON - minutes * MINUTE,
        )

    one_by_one = [
        row for function in dict.fromkeys(check.function for check in CHECKS) for row in calls.rows(function, NOON)
    ]
    assert sorted(map(str, calls.rows("evaluate_all", NOON))) == sorted(map(str, one_by_one))
    assert len({row["alert_type"] for row in one_by_one}) == 13


def test_an_empty_database_has_nothing_to_say(calls: Calls) -> None:
    assert calls.rows("evaluate_all", NOON) == []


# The words of a finding -----------------------------------------------------------------------------------------------

SUMMARIES = [
    ("error_rate", 1120, "1,120 errors in the last hour (limit 100)"),
    ("failure_rate", 12.5, "12.5 % of tasks fail (limit 10 %)"),
    ("processing_time", 200, "tasks take 3 min (limit 3 min)"),
    ("running_time", 9000, "a task is running for 2.5 h (limit 15 min)"),
    ("component_silence", 700, "last report 11 min ago (limit 10 min)"),
    ("response_time", 2500, "answers in 2,500 ms (limit 2,000 ms)"),
    ("queue_backlog", 612, "612 waiting (limit 500)"),
    ("queue_silence", 1000, "last report 16 min ago (limit 15 min)"),
    ("host_cpu", 91.25, "CPU is 91.3 % busy (limit 90 %)"),
    ("host_memory", 99, "memory is 99 % full (limit 98 %)"),
    ("host_disk", 85, "disk is 85 % full (limit 80 %)"),
    ("host_silence", 301, "last report 5 min ago (limit 5 min)"),
]


@pytest.mark.parametrize(
    ("alert_type", "value", "summary"), SUMMARIES, ids=[alert_type for alert_type, *_ in SUMMARIES]
)
def test_a_finding_says_in_words_what_is_wrong_and_the_limit(
    calls: Calls, alert_type: str, value: float, summary: str
) -> None:
    [check] = [check for check in CHECKS if check.alert_type == alert_type]
    check.make(calls, value)

    assert calls.evaluated(check.function, NOON, alert_type)[check.source]["summary"] == summary


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0, "s", "0 s"), (1.25, "s", "1.3 s"), (59.4, "s", "59 s"), (119, "s", "119 s"), (120, "s", "2 min"), (7199, "s", "119 min"), (7200, "s", "2 h"),
     (172799, "s", "48 h"), (172800, "s", "2 days"), (0.05, "%", "0.05 %"), (99.96, "%", "100 %"), (1234567, "", "1,234,567"), (1e15, "", "1,000,000,000,000,000")],
)  # fmt: skip
def test_numbers_are_said_as_people_say_them(calls: Calls, value: float, unit: str, words: str) -> None:
    assert calls.one("SELECT public.in_words(%s::double precision, %s)", value, unit) == words


# What is counted ------------------------------------------------------------------------------------------------------


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


# Silence --------------------------------------------------------------------------------------------------------------

Recorder = Callable[[Calls, datetime], object]
SILENT: list[tuple[str, str, Recorder]] = [
    (
        "component_silence",
        "evaluate_component_health",
        lambda calls, at: calls("update_system_health", "it", "it", "healthy", p_at=at),
    ),
    ("queue_silence", "evaluate_queue_backlog", lambda calls, at: calls("update_queue_metrics", "it", 1, p_at=at)),
    ("host_silence", "evaluate_hosts", lambda calls, at: calls("record_host_sample", "it", {"cpu_percent": 1}, at)),
]
each_kind = pytest.mark.parametrize(
    ("alert_type", "function", "record"), SILENT, ids=[alert_type for alert_type, *_ in SILENT]
)


def silence(calls: Calls, alert_type: str, function: str) -> list[Row]:
    return list(calls.evaluated(function, NOON, alert_type).values())


@each_kind
def test_a_source_that_has_reported_twice_is_not_missed(
    calls: Calls, alert_type: str, function: str, record: Recorder
) -> None:
    for minutes in (301, 300):
        record(calls, NOON - minutes * MINUTE)

    assert silence(calls, alert_type, function) == []


@each_kind
def test_a_source_that_has_reported_three_times_is_missed(
    calls: Calls, alert_type: str, function: str, record: Recorder
) -> None:
    for minutes in (302, 301, 300):
        record(calls, NOON - minutes * MINUTE)

    [finding] = silence(calls, alert_type, function)
    assert (finding["value"], finding["severity"]) == (
        300 * 60,
        "high" if alert_type == "queue_silence" else "critical",
    )


@each_kind
def test_a_slow_source_is_not_missed_before_three_of_its_pauses(
    calls: Calls, alert_type: str, function: str, record: Recorder
) -> None:
    calls("set_setting", "health.known_for_seconds", 86400)
    for hours in (11, 8, 5, 2):
        record(calls, NOON - hours * HOUR)
    [finding] = silence(calls, alert_type, function)
    assert (finding["value"], finding["severity"]) == (0, None)

    calls.ask("SELECT public.set_setting('health.known_for_seconds', 600)")
    [finding] = list(calls.evaluated(function, NOON + 7 * HOUR, alert_type).values())
    assert finding["value"] == 9 * 3600


@each_kind
def test_a_source_that_has_been_silent_for_a_week_is_forgotten(
    calls: Calls, alert_type: str, function: str, record: Recorder
) -> None:
    for minutes in (2, 1, 0):
        record(calls, NOON - 8 * DAY - minutes * MINUTE) if alert_type != "component_silence" else record(
            calls, NOON - 8 * DAY + (2 - minutes) * MINUTE
        )

    assert silence(calls, alert_type, function) == []


# Evidence -------------------------------------------------------------------------------------------------------------


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
