"""Health: states are kept as intervals; uptime is what was known to be up of what was known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.integration.sql.conftest import NewSession
from tests.support.calls import DAY, HOUR, MINUTE, NOON, SECOND, Calls, Row

Report = tuple[float, str]


def report(calls: Calls, *reports: Report) -> None:
    """Report states at minutes after noon."""
    for minutes, status in reports:
        assert calls("update_system_health", "api", "main", status, p_at=NOON + minutes * MINUTE) is True


def intervals(calls: Calls) -> list[tuple[object, ...]]:
    """The intervals as (status, start, end, last report, reports), in minutes after noon."""

    def minutes(row: Row, column: str) -> float | None:
        return None if row[column] is None else (row[column] - NOON) / MINUTE

    rows = calls.ask("SELECT * FROM public.system_health ORDER BY started_at")
    return [
        (
            row["status"],
            minutes(row, "started_at"),
            minutes(row, "ended_at"),
            minutes(row, "last_reported_at"),
            row["report_count"],
        )
        for row in rows
    ]


def uptime(calls: Calls, window: timedelta, at_minute: float) -> float | None:
    value = calls("get_component_uptime", "api", "main", window, NOON + at_minute * MINUTE)
    assert value is None or isinstance(value, float)
    return value


def test_reports_of_one_state_make_one_interval(calls: Calls) -> None:
    report(calls, (0, "healthy"), (5, "healthy"), (10, "healthy"))

    assert intervals(calls) == [("healthy", 0, None, 10, 3)]


def test_a_change_of_state_closes_the_interval_and_opens_the_next(calls: Calls) -> None:
    report(calls, (0, "healthy"), (5, "unhealthy"), (8, "degraded"))

    assert intervals(calls) == [("healthy", 0, 5, 0, 1), ("unhealthy", 5, 8, 5, 1), ("degraded", 8, None, 8, 1)]


def test_a_silence_of_more_than_ten_minutes_is_neither_of_its_neighbours(calls: Calls) -> None:
    report(calls, (0, "healthy"), (10, "healthy"), (30, "healthy"), (50, "unhealthy"))

    assert intervals(calls) == [("healthy", 0, 20, 10, 2), ("healthy", 30, 40, 30, 1), ("unhealthy", 50, None, 50, 1)]


def test_a_report_keeps_the_newest_response_time_and_reason(calls: Calls) -> None:
    calls("update_system_health", "api", "main", "degraded", 12.5, "slow", {"replica": 1}, NOON)
    calls("update_system_health", "api", "main", "degraded", 40.0, "slower", {"replica": 2}, NOON + MINUTE)

    [row] = calls.ask("SELECT response_time_ms, failure_reason, details FROM public.system_health")
    assert row == {"response_time_ms": 40, "failure_reason": "slower", "details": {"replica": 2}}


@pytest.mark.parametrize("minutes", [0, 2, 4], ids=["first", "between", "same moment"])
def test_a_late_report_is_refused_and_changes_nothing(calls: Calls, minutes: int) -> None:
    report(calls, (0, "healthy"), (4, "unhealthy"))
    before = intervals(calls)

    assert calls("update_system_health", "api", "main", "degraded", p_at=NOON + minutes * MINUTE) is False
    assert intervals(calls) == before


def test_components_of_one_name_and_different_types_are_different(calls: Calls) -> None:
    calls("update_system_health", "api", "main", "healthy", p_at=NOON)
    calls("update_system_health", "database", "main", "unhealthy", p_at=NOON)

    assert len(intervals(calls)) == 2


def test_the_first_reports_of_many_sessions_make_one_interval(calls: Calls, new_session: NewSession) -> None:
    sessions = [new_session() for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        stored = list(
            pool.map(
                lambda number: sessions[number](
                    "update_system_health", "api", "main", "healthy", p_at=NOON + number * SECOND
                ),
                range(8),
            )
        )

    [(status, _, ended, last, count)] = intervals(calls)
    assert (status, ended, last, count) == ("healthy", None, 7 * SECOND / MINUTE, sum(stored))


@pytest.mark.parametrize(
    ("reports", "window", "at_minute", "percent"),
    [
        ([], HOUR, 0, None),
        ([(0, "healthy")], HOUR, 5, 100.0),
        ([(0, "unhealthy")], HOUR, 5, 0.0),
        ([(0, "degraded")], HOUR, 5, 100.0),
        ([(0, "healthy"), (6, "unhealthy")], HOUR, 8, 75.0),  # 6 of 8 minutes
        ([(0, "healthy"), (6, "unhealthy"), (8, "healthy")], HOUR, 10, 80.0),  # 8 of 10
        ([(0, "unhealthy"), (6, "healthy")], 8 * MINUTE, 10, 50.0),  # the window cuts the first two minutes off: 4 of 8
        ([(0, "healthy"), (6, "unhealthy")], 2 * MINUTE, 6, 100.0),  # the outage begins as the window ends
        ([(0, "healthy")], HOUR, 60, 100.0),  # known for ten minutes, then silence
        ([(0, "unhealthy"), (30, "healthy")], HOUR, 35, 33.333),  # ten minutes down, twenty unknown, five up
        ([(0, "healthy"), (30, "unhealthy")], HOUR, 55, 50.0),  # ten up, twenty unknown, ten down, fifteen unknown
        ([(0, "healthy")], HOUR, 71, None),  # what was known lies before the window
        ([(0, "healthy"), (6, "unhealthy")], HOUR, 3, 100.0),  # what comes later is not known yet
    ],
)
def test_uptime_is_the_part_of_the_known_time_that_was_not_unhealthy(
    calls: Calls, reports: list[Report], window: timedelta, at_minute: float, percent: float | None
) -> None:
    report(calls, *reports)

    assert uptime(calls, window, at_minute) == percent


def test_a_refused_late_report_does_not_change_uptime(calls: Calls) -> None:
    report(calls, (0, "healthy"), (8, "healthy"))

    calls("update_system_health", "api", "main", "unhealthy", p_at=NOON + 4 * MINUTE)

    assert uptime(calls, DAY, 8) == 100.0


def test_the_summary_view_shows_state_uptime_and_the_last_failure(calls: Calls) -> None:
    now = calls.one("SELECT now()")
    for minutes, status, reason in [(9, "healthy", None), (6, "unhealthy", "timeout"), (3, "healthy", None)]:
        calls("update_system_health", "api", "main", status, p_failure_reason=reason, p_at=now - minutes * MINUTE)

    [row] = calls.ask("SELECT * FROM public.v_system_health_summary")
    assert (row["status"], row["status_since"], row["outages_24h"], row["last_failure_reason"]) == (
        "healthy",
        now - 3 * MINUTE,
        1,
        "timeout",
    )
    assert (row["last_failure_at"], row["last_recovered_at"]) == (now - 6 * MINUTE, now - 3 * MINUTE)
    assert row["uptime_24h_percent"] == pytest.approx(66.667, abs=0.1)
