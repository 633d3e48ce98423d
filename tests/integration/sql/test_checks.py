"""The checks: what each says of a moment, at its thresholds and between them."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.integration.sql.checks import (
    CHECKS,
    Check,
    errors,
    failures,
    running,
    silent_component,
    silent_queue,
)
from tests.support.calls import MINUTE, NOON, SECOND, Calls


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
