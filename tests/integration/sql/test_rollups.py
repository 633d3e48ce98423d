"""Rollups: whatever is committed when and by whom, they and the newest facts say what a count over all facts says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automon.migrate import migrate
from tests.integration.sql.conftest import NewSession
from tests.migration.released import copy_of_release
from tests.support.calls import DAY, HOUR, MINUTE, NOON, SECOND, Calls

TABLES = "public.processing_metrics, public.error_tracking, public.performance_monitoring, public.task_minutes, public.task_hours, public.error_minutes, public.error_hours, public.metric_hours"

TASKS = """
    SELECT task_type, status, count(*) AS tasks, round(sum(duration_seconds)::numeric, 6) AS seconds, max(duration_seconds) AS max_seconds,
        sum(input_size) AS input_size, min(end_time) AS first_end, max(end_time) AS last_end, max(start_time) AS last_start
    FROM public.processing_metrics_history WHERE end_time > %s AND end_time <= %s GROUP BY 1, 2 ORDER BY 1, 2
"""
ROLLED_TASKS = """
    SELECT task_type, status, sum(tasks)::bigint AS tasks, round(sum(seconds)::numeric, 6) AS seconds, max(max_seconds) AS max_seconds,
        sum(input_size) AS input_size, min(first_end) AS first_end, max(last_end) AS last_end, max(last_start) AS last_start
    FROM public.tasks_between(%s, %s) GROUP BY 1, 2 ORDER BY 1, 2
"""
ERRORS = """
    SELECT component, error_type, severity, count(*) AS errors, min(occurred_at) AS first_at, max(occurred_at) AS last_at
    FROM public.error_tracking WHERE occurred_at > %s AND occurred_at <= %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
ROLLED_ERRORS = "SELECT component, error_type, severity, errors, first_at, last_at FROM public.errors_between(%s, %s) ORDER BY 1, 2, 3"
METRICS = """
    SELECT date_trunc('hour', recorded_at, 'UTC') AS hour, metric_name, count(*) AS measurements, round(sum(value)::numeric, 6) AS total, min(value) AS low, max(value) AS high
    FROM public.performance_monitoring WHERE recorded_at >= %s GROUP BY 1, 2 ORDER BY 1, 2
"""
ROLLED_METRICS = """
    SELECT hour, metric_name, sum(measurements)::bigint AS measurements, round(sum(total)::numeric, 6) AS total, min(min_value) AS low, max(max_value) AS high
    FROM public.metrics_since(%s) GROUP BY 1, 2 ORDER BY 1, 2
"""


def assert_exact(calls: Calls, first: datetime, last: datetime) -> None:
    """Compare what rollups and newest facts say of a span with a count over all facts."""
    assert calls.ask(ROLLED_TASKS, first, last) == calls.ask(TASKS, first, last)
    assert calls.ask(ROLLED_ERRORS, first, last) == calls.ask(ERRORS, first, last)
    hour = first.replace(minute=0, second=0, microsecond=0)
    assert calls.ask(ROLLED_METRICS, hour) == calls.ask(METRICS, hour)


def record(calls: Calls, number: int, at: datetime, value: float) -> None:
    """Record one fact of each kind."""
    status = "failed" if number % 3 == 0 else "completed"
    task = f"t{number}"
    calls("start_task_tracking", task, f"type-{number % 2}", number, "w", at - timedelta(seconds=value))
    calls("complete_task_tracking", task, status, p_error_message=f"m{number}", p_at=at)
    calls("record_error", task, "timeout", "critical" if number % 4 else "low", f"m{number}", f"c{number % 2}", p_at=at)
    calls("record_performance_metric", f"n{number % 2}", "gauge", value - 3, p_at=at)


def roll_up_all(calls: Calls, limit: int = 100_000) -> int:
    """Roll up until nothing is left; answer in how many rounds."""
    rounds = 1
    while calls("roll_up", limit)["more"]:
        rounds += 1
    return rounds


# Whoever commits when ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    what: str
    session: int
    at: datetime
    value: float


moments = st.one_of(
    st.integers(-3 * 3600, 60).map(lambda seconds: NOON + seconds * SECOND),
    st.sampled_from([NOON, NOON - HOUR, NOON - MINUTE, NOON - HOUR - timedelta(microseconds=1), NOON - 2 * DAY]),
)
deeds = st.builds(
    Deed,
    st.sampled_from(["record", "record", "record", "begin", "commit", "roll back", "roll up", "roll up a little", "rebuild"]),
    st.integers(0, 2), moments, st.floats(0.001, 5000, allow_nan=False).map(lambda value: round(value, 3)),
)  # fmt: skip


@pytest.fixture
def writers(database_url: str, calls: Calls) -> Iterator[list[Calls]]:
    for back in range(-1, 4):  # whoever makes a day has the others wait until it commits
        calls("ensure_partitions", 0, NOON - back * DAY)
    with ExitStack() as stack:
        yield [
            Calls(stack.enter_context(psycopg.connect(database_url, autocommit=True, prepare_threshold=None)))
            for _ in range(3)
        ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(deeds, max_size=25), moments, moments)
def test_rollups_and_newest_facts_say_what_a_count_over_all_facts_says(
    calls: Calls, writers: list[Calls], done: list[Deed], first: datetime, last: datetime
) -> None:
    span = sorted((first, last))
    calls.ask(f"TRUNCATE {TABLES}")
    calls.ask("UPDATE public.rollup_state SET hours_since = '-infinity', minutes_since = '-infinity'")
    try:
        for number, deed in enumerate(done):
            do(deed, number, calls, writers[deed.session])
            assert_exact(calls, *span)
    finally:
        for writer in writers:
            writer.ask("ROLLBACK")
    roll_up_all(calls)
    assert_exact(calls, *span)


def do(deed: Deed, number: int, calls: Calls, writer: Calls) -> None:
    match deed.what:
        case "record":
            record(writer, number, deed.at, deed.value)
        case "begin" | "commit" | "roll back":
            writer.ask(deed.what.upper().replace("ROLL BACK", "ROLLBACK"))
        case "rebuild":
            calls("rebuild_rollups", NOON)
        case _:
            calls("roll_up", 1 if deed.what.endswith("little") else 100_000)


def test_a_transaction_that_stays_open_holds_nothing_up_and_is_counted_when_it_ends(
    calls: Calls, writers: list[Calls]
) -> None:
    late, other, _ = writers
    late.ask("BEGIN")
    record(late, 1, NOON, 5)
    record(other, 2, NOON, 5)

    assert calls("roll_up")["tasks"] == 1
    assert [row["open_transactions"] for row in calls.rows("rollup_lag")] == [1]
    assert calls("roll_up") == {"tasks": 0, "errors": 0, "metrics": 0, "more": False}

    late.ask("COMMIT")
    assert_exact(calls, NOON - HOUR, NOON)
    assert calls("roll_up") == {"tasks": 1, "errors": 1, "metrics": 1, "more": False}
    assert_exact(calls, NOON - HOUR, NOON)


def test_what_was_rolled_back_is_never_counted(calls: Calls, writers: list[Calls]) -> None:
    writers[0].ask("BEGIN")
    record(writers[0], 1, NOON, 5)
    calls("roll_up")
    writers[0].ask("ROLLBACK")

    assert calls("roll_up")["tasks"] == 0
    assert calls.ask("SELECT FROM public.task_hours") == []


def test_facts_and_rollup_in_one_transaction_stand_or_fall_together(calls: Calls) -> None:
    with calls.connection.transaction(force_rollback=True):
        record(calls, 1, NOON, 5)
        calls("roll_up")
        assert_exact(calls, NOON - HOUR, NOON)
    record(calls, 2, NOON, 5)

    roll_up_all(calls)

    assert_exact(calls, NOON - HOUR, NOON)
    assert calls.one("SELECT sum(tasks) FROM public.task_hours") == 1


def test_of_two_at_once_one_rolls_up_and_the_other_does_not_wait(calls: Calls, new_session: NewSession) -> None:
    record(calls, 1, NOON, 5)
    other = new_session()
    with other.connection.transaction():
        assert other("roll_up")["tasks"] == 1
        assert calls("roll_up") is None

    assert calls("roll_up")["tasks"] == 0


def test_a_backlog_is_worked_off_in_parts(calls: Calls) -> None:
    for number in range(10):
        record(calls, number, NOON - number * MINUTE, 5)

    assert roll_up_all(calls, 3) > 3

    assert_exact(calls, NOON - HOUR, NOON)


def test_no_fact_is_too_odd_to_be_rolled_up_with_the_others(calls: Calls) -> None:
    for value in (1.7e308, 1.6e308, -1.7e308, 5e-324, 0.0):
        calls("record_performance_metric", "n" * 512, "t" * 9000, value, "u" * 9000, "c" * 512, p_at=NOON)
    calls("start_task_tracking", "t", "ö" * 256, 2**63 - 1, "w" * 9000, NOON)
    calls("complete_task_tracking", "t", "failed", 2**63 - 1, p_error_message="m" * 90_000, p_at=NOON)
    calls("start_task_tracking", "another", "ö" * 256, 2**63 - 1, p_at=NOON)
    calls("complete_task_tracking", "another", "failed", 2**63 - 1, p_at=NOON + SECOND)
    calls("record_error", "i" * 512, "e" * 512, "low", "m" * 90_000, "c" * 512, p_at=NOON)

    assert calls("roll_up") == {"tasks": 2, "errors": 1, "metrics": 5, "more": False}
    [trend] = calls.rows("metrics_last_day", NOON)
    assert (trend["measurements"], trend["max_value"]) == (5, 1e290)
    assert [row["total_input_size"] for row in calls.rows("get_task_statistics", p_now=NOON + MINUTE)] == [
        2 * (2**63 - 1)
    ]


# What a view says --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=200),
    st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_percentile_is_off_by_less_than_a_bucket(calls: Calls, values: list[float], fraction: float) -> None:
    [row] = calls.ask(
        """
        WITH bucket AS (SELECT count(*) AS n, avg(v) AS mean, log_bucket AS bucket FROM unnest(%s::float8[]) AS v CROSS JOIN LATERAL public.log_bucket(v) GROUP BY 3)
        SELECT (public.percentiles_of(array_agg(n ORDER BY bucket), array_agg(mean ORDER BY bucket), ARRAY[%s::float8]))[1] AS found,
            (SELECT percentile_disc(%s) WITHIN GROUP (ORDER BY v) FROM unnest(%s::float8[]) AS v) AS low,
            (SELECT percentile_cont(%s) WITHIN GROUP (ORDER BY v) FROM unnest(%s::float8[]) AS v) AS exact
        FROM bucket
        """,
        values, fraction, fraction, values, fraction, values,
    )  # fmt: skip

    around = min(abs(value - row["exact"]) for value in values)
    widest = max(abs(row["exact"]), abs(row["low"])) * 0.1 + around + 1e-9
    assert abs(row["found"] - row["exact"]) <= widest + abs(row["low"] - row["exact"])


def test_a_percentile_of_equal_values_is_that_value(calls: Calls) -> None:
    calls.run_tasks(7, seconds=187.3)
    calls("roll_up")

    [row] = calls.rows("get_task_statistics", "ocr", timedelta(hours=1), NOON)

    assert row["p95_seconds"] == pytest.approx(187.3)


def test_how_many_names_a_sketch_has_seen_is_known_closely(calls: Calls) -> None:
    def counted(names: int) -> int:
        return int(
            calls.one("SELECT public.count_sketched(bit_or(public.sketch('task-' || n))) FROM generate_series(1, %s) AS n", names)
        )  # fmt: skip

    assert abs(counted(50) - 50) <= 3
    assert abs(counted(1000) - 1000) <= 100
    assert counted(1_000_000) == 3194
    assert calls.one("SELECT public.count_sketched(public.sketch(NULL))") == 0


# Beginning, restoring, forgetting ----------------------------------------------------------------------------------


def test_a_database_that_has_facts_begins_with_its_next_whole_day(empty_database_url: str, tmp_path: Path) -> None:
    migrate(empty_database_url, folder=copy_of_release("0.1.0", tmp_path / "sql"))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        calls = Calls(connection)
        now: datetime = calls.one("SELECT now()")
        record(calls, 1, now - DAY, 5)
        record(calls, 2, now, 5)

        migrate(empty_database_url)
        record(calls, 3, now, 5)
        roll_up_all(calls)

        assert calls.one("SELECT hours_since FROM public.rollup_state") == calls.one(
            "SELECT (date_trunc('day', %s AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'", now
        )
        assert_exact(calls, now - 2 * DAY, now + DAY)
        assert calls.ask("SELECT FROM public.task_hours") == []

        assert calls("rebuild_rollups")["tasks"] == 3
        assert_exact(calls, now - 2 * DAY, now + DAY)
        record(calls, 4, now - DAY, 5)
        assert calls("roll_up")["tasks"] == 1
        assert_exact(calls, now - 2 * DAY, now + DAY)


def test_a_database_from_another_server_counts_on(calls: Calls) -> None:
    record(calls, 1, NOON, 5)
    roll_up_all(calls)
    # As after a restore: the facts carry numbers of a server that was far ahead, and the new one begins low.
    calls.ask("UPDATE public.rollup_state SET server = 'another', next_transaction = next_transaction + 1000000")
    for table in ("processing_metrics_history", "error_tracking", "performance_monitoring"):
        calls.ask(f"UPDATE public.{table} SET recorded_in = recorded_in + 900000")
    now: datetime = calls.one("SELECT now()")
    record(calls, 2, now, 5)
    assert [row["why"] for row in calls.rows("rollup_lag")] == [
        "the database came from another server, and nothing has been rolled up since"
    ]

    roll_up_all(calls)
    record(calls, 3, now, 5)
    roll_up_all(calls)

    for first in (NOON - HOUR, now - HOUR):
        assert_exact(calls, first, first + 2 * HOUR)
    assert calls.one("SELECT min(recorded_in) > 1000000 FROM public.error_tracking WHERE task_id = 't3'") is True
    calls("rebuild_rollups", now)
    record(calls, 4, now, 5)
    roll_up_all(calls)
    assert_exact(calls, now - HOUR, now + HOUR)


def test_hours_outlive_the_facts_and_go_by_their_own_term(calls: Calls) -> None:
    record(calls, 1, NOON, 5)
    roll_up_all(calls)

    assert calls("forget_rollups", NOON + 400 * DAY, 1000) == 0
    assert calls("forget_rollups", NOON + 401 * DAY, 1000) == 3


def test_a_rebuild_keeps_the_hours_whose_facts_are_gone(calls: Calls) -> None:
    record(calls, 1, NOON - 60 * DAY, 5)
    record(calls, 2, NOON, 5)
    roll_up_all(calls)
    calls.ask("DELETE FROM public.processing_metrics WHERE task_id = 't1'")

    calls("rebuild_rollups", NOON)

    assert calls.one("SELECT sum(tasks) FROM public.task_hours") == 2


# How far behind ----------------------------------------------------------------------------------------------------


def lag(calls: Calls, seconds: float = 0) -> dict[str, Any]:
    [row] = calls.ask("SELECT * FROM public.rollup_lag(clock_timestamp() + %s * interval '1 second')", seconds)
    return row


def test_rollups_that_are_up_to_date_are_not_behind_however_long_nothing_happens(calls: Calls) -> None:
    record(calls, 1, NOON, 5)
    roll_up_all(calls)

    assert (lag(calls, 3600)["behind_seconds"], lag(calls, 3600)["why"]) == (0, None)


def test_rollups_that_nobody_makes_say_since_when(calls: Calls) -> None:
    record(calls, 1, NOON, 5)
    calls.ask("UPDATE public.rollup_state SET rolled_at = clock_timestamp()")

    late = lag(calls, 60)

    assert 60 <= late["behind_seconds"]
    assert late["why"].startswith("nobody has rolled up since ")
    assert lag(calls)["why"] is None


@pytest.mark.session("the server's process number")
def test_rollups_that_somebody_holds_up_say_who(calls: Calls, new_session: NewSession) -> None:
    record(calls, 1, NOON, 5)
    holder = new_session()
    holder.ask("SET application_name = 'nightly report'")
    with holder.connection.transaction():
        holder.ask("SELECT FROM public.rollup_state FOR UPDATE")

        assert lag(calls, 60)["why"].startswith(
            f"nightly report (process {holder.connection.info.backend_pid}) is at it since"
        )
