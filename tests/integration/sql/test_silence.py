"""Silence: a source is missed by its own rhythm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from tests.support.calls import DAY, HOUR, MINUTE, NOON, Calls, Row

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
        record(calls, NOON - 8 * DAY - minutes * MINUTE)

    assert silence(calls, alert_type, function) == []


@each_kind
def test_a_source_that_is_forgotten_is_not_missed_until_it_reports_again(
    calls: Calls, alert_type: str, function: str, record: Recorder
) -> None:
    kind = alert_type.removesuffix("_silence")
    name = "it/it" if kind == "component" else "it"
    for minutes in (302, 301, 300):
        record(calls, NOON - minutes * MINUTE)

    assert [calls("forget_source", kind, name), calls("forget_source", kind, name)] == [True, False]
    assert silence(calls, alert_type, function) == []

    record(calls, NOON - MINUTE)
    [finding] = silence(calls, alert_type, function)
    assert (finding["severity"], finding["value"] <= 60) == (None, True)
