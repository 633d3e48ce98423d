"""Tasks: starting, living, ending; once each, whoever asks and however often."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.errors import CheckViolation

from tests.integration.sql.conftest import NewSession
from tests.support.calls import DAY, HOUR, MINUTE, NOON, SECOND, Calls, Row
from tests.support.waiting import wait_until


def the_task(calls: Calls, task_id: str = "t") -> Row:
    [row] = calls.ask("SELECT * FROM public.processing_metrics WHERE task_id = %s", task_id)
    return row


def test_a_start_is_stored(calls: Calls) -> None:
    assert calls("start_task_tracking", "t", "ocr", 1024, "worker-1", NOON) is True

    task = the_task(calls)
    assert (task["task_type"], task["input_size"], task["worker_id"], task["start_time"]) == (
        "ocr",
        1024,
        "worker-1",
        NOON,
    )
    assert (task["status"], task["end_time"], task["duration_seconds"]) == ("running", None, None)


def test_an_end_is_stored_with_what_the_start_said(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", 1024, "worker-1", NOON)

    assert calls("complete_task_tracking", "t", "failed", 2048, {"scan": 1.2}, "disk full", NOON + 90 * SECOND) is True

    task = the_task(calls)
    assert (task["task_type"], task["input_size"], task["worker_id"], task["start_time"]) == (
        "ocr",
        1024,
        "worker-1",
        NOON,
    )
    assert (task["status"], task["end_time"], task["duration_seconds"]) == ("failed", NOON + 90 * SECOND, 90)
    assert (task["output_size"], task["step_timings"], task["error_message"]) == (2048, {"scan": 1.2}, "disk full")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_task_may_end_in_three_ways(calls: Calls, status: str) -> None:
    calls("start_task_tracking", "t", "ocr")

    assert calls("complete_task_tracking", "t", status) is True
    assert the_task(calls)["status"] == status


def test_a_task_keeps_its_number_from_start_to_end(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr")
    number = the_task(calls)["id"]
    calls("complete_task_tracking", "t")

    assert number is not None
    assert the_task(calls)["id"] == number


def test_a_start_of_a_running_task_changes_nothing(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", 1, "worker-1", NOON)
    before = the_task(calls)

    assert calls("start_task_tracking", "t", "other", 2, "worker-2") is False
    assert the_task(calls) == before


def test_a_second_end_changes_nothing(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("complete_task_tracking", "t", "completed", p_at=NOON + SECOND)
    before = the_task(calls)

    assert calls("complete_task_tracking", "t", "failed") is False
    assert the_task(calls) == before


def test_a_replay_of_start_heartbeat_and_end_changes_nothing(calls: Calls) -> None:
    def replay() -> list[bool]:
        return [
            calls("start_task_tracking", "t", "ocr", 1, "worker-1", NOON),
            calls("record_task_heartbeat", "t", 50.0, "scan", NOON + SECOND),
            calls("complete_task_tracking", "t", "completed", 2, None, None, NOON + 2 * SECOND),
        ]

    assert replay() == [True, True, True]
    before = the_task(calls)
    assert replay() == [False, False, False]
    assert the_task(calls) == before


def test_a_task_may_run_again_under_its_old_name(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("complete_task_tracking", "t", p_at=NOON + SECOND)

    assert calls("start_task_tracking", "t", "ocr", p_at=NOON + HOUR) is True
    assert calls("complete_task_tracking", "t", p_at=NOON + 2 * HOUR) is True
    assert [
        row["duration_seconds"]
        for row in calls.ask("SELECT duration_seconds FROM public.processing_metrics ORDER BY start_time")
    ] == [1, 3600]


def test_a_replayed_end_of_an_earlier_run_leaves_the_present_run_alone(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("complete_task_tracking", "t", p_at=NOON + SECOND)
    calls("start_task_tracking", "t", "ocr", p_at=NOON + HOUR)

    assert calls("complete_task_tracking", "t", p_at=NOON + SECOND) is False
    assert calls.one("SELECT count(*) FROM public.processing_metrics_running") == 1


def test_a_task_that_ends_as_it_starts_takes_no_time(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)

    assert calls("complete_task_tracking", "t", p_at=NOON) is True
    assert the_task(calls)["duration_seconds"] == 0


def test_a_task_started_by_a_clock_that_is_ahead_ends_no_earlier_than_it_started(calls: Calls) -> None:
    ahead = calls.one("SELECT clock_timestamp() + interval '30 seconds'")
    calls("start_task_tracking", "t", "ocr", p_at=ahead)

    assert calls("complete_task_tracking", "t") is True
    assert (the_task(calls)["end_time"], the_task(calls)["duration_seconds"]) == (ahead, 0)


def test_a_heartbeat_is_stored_and_keeps_what_it_does_not_name(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)

    assert calls("record_task_heartbeat", "t", 40.0, "scan", NOON + MINUTE) is True
    assert calls("record_task_heartbeat", "t", p_at=NOON + 2 * MINUTE) is True
    task = the_task(calls)
    assert (task["heartbeat_at"], task["progress"], task["current_step"]) == (NOON + 2 * MINUTE, 40, "scan")


def test_an_older_heartbeat_changes_nothing(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("record_task_heartbeat", "t", 40.0, "scan", NOON + 2 * MINUTE)
    before = the_task(calls)

    assert calls("record_task_heartbeat", "t", 10.0, "load", NOON + MINUTE) is False
    assert the_task(calls) == before


def test_a_heartbeat_after_the_end_changes_nothing(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("complete_task_tracking", "t", p_at=NOON + SECOND)
    before = the_task(calls)

    assert calls("record_task_heartbeat", "t", 99.0) is False
    assert the_task(calls) == before


def test_a_missing_day_is_made_by_the_call_that_needs_it(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON - 400 * DAY)
    partition = f"processing_metrics_history_{NOON:%Y%m%d}"
    assert calls.one("SELECT to_regclass('public.' || %s)", partition) is None

    assert calls("complete_task_tracking", "t", p_at=NOON) is True

    assert calls.one("SELECT tableoid::regclass::text FROM public.processing_metrics") == f"public.{partition}"


def complete_insisting(calls: Calls, task_id: str) -> bool:
    """Complete a task, again when the day was being attached at that very instant.

    PostgreSQL shows a new partition in the catalogue a moment before every session routes rows to it.
    """
    for _ in range(3):
        with contextlib.suppress(CheckViolation):
            return bool(calls("complete_task_tracking", task_id, p_at=NOON + SECOND))
    raise AssertionError("the day was not seen")


def test_a_missing_day_is_made_once_by_many_who_need_it_at_once(calls: Calls, new_session: NewSession) -> None:
    sessions = [new_session() for _ in range(8)]
    for number in range(8):
        calls("start_task_tracking", f"t-{number}", "ocr", p_at=NOON)

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda number: complete_insisting(sessions[number], f"t-{number}"), range(8)))

    assert ended == [True] * 8
    assert calls.one("SELECT count(*) FROM public.processing_metrics_history") == 8


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "UTC"])
def test_a_day_begins_at_midnight_utc_whatever_the_time_zone_of_the_session(calls: Calls, zone: str) -> None:
    calls.ask(f"SET TimeZone = '{zone}'")
    midnight = NOON.replace(hour=0)
    for name, moment in [("last", midnight - SECOND / 1000), ("first", midnight)]:
        calls("start_task_tracking", name, "ocr", p_at=midnight - HOUR)
        calls("complete_task_tracking", name, p_at=moment)
        calls("record_error", name, "timeout", "low", "no answer", p_at=moment)

    assert [
        row["day"]
        for row in calls.ask(
            "SELECT right(tableoid::regclass::text, 8) AS day FROM public.processing_metrics ORDER BY end_time"
        )
    ] == ["20240513", "20240514"]
    assert [
        row["day"]
        for row in calls.ask(
            "SELECT right(tableoid::regclass::text, 8) AS day FROM public.error_tracking ORDER BY occurred_at"
        )
    ] == ["20240513", "20240514"]
    calls.use_usual_forms()
    bounds = (
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = 'public.error_tracking_20240514'::regclass"
    )
    assert calls.one(bounds) == "FOR VALUES FROM ('2024-05-14 00:00:00+00') TO ('2024-05-15 00:00:00+00')"


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
def test_the_days_ahead_are_the_same_in_every_time_zone(calls: Calls, zone: str) -> None:
    calls.ask("SELECT public.ensure_partitions(8, %s)", NOON)
    calls.ask(f"SET TimeZone = '{zone}'")

    assert calls("ensure_partitions", 8, NOON) == 0


def wait_for_blocked_session(calls: Calls) -> None:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    wait_until(lambda: calls.one(blocked) == 1, what="a session that waits for another")


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


@pytest.mark.parametrize("first_commits", [True, False], ids=["the first commits", "the first gives up"])
def test_of_two_sessions_that_complete_one_task_at_once_one_succeeds_and_neither_fails(
    calls: Calls, new_session: NewSession, *, first_commits: bool
) -> None:
    first, second = new_session(), new_session()
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    first.ask("BEGIN")
    assert first("complete_task_tracking", "t", "completed", p_at=NOON + SECOND) is True

    thread, answers = in_thread(lambda: second("complete_task_tracking", "t", "failed", p_at=NOON + SECOND))
    wait_for_blocked_session(calls)
    first.ask("COMMIT" if first_commits else "ROLLBACK")
    thread.join(10)

    assert answers == [not first_commits]
    assert the_task(calls)["status"] == ("completed" if first_commits else "failed")


def test_of_two_sessions_that_start_one_task_at_once_one_succeeds_and_neither_fails(
    calls: Calls, new_session: NewSession
) -> None:
    first, second = new_session(), new_session()
    first.ask("BEGIN")
    assert first("start_task_tracking", "t", "ocr", p_at=NOON) is True

    thread, answers = in_thread(lambda: second("start_task_tracking", "t", "other", p_at=NOON))
    wait_for_blocked_session(calls)
    first.ask("COMMIT")
    thread.join(10)

    assert answers == [False]
    assert the_task(calls)["task_type"] == "ocr"


def test_users_query_one_table_for_what_runs_and_what_has_ended(calls: Calls) -> None:
    calls("start_task_tracking", "runs", "ocr", p_at=NOON)
    calls.run_tasks(2)

    rows = calls.ask("SELECT status, count(*) AS n FROM public.processing_metrics GROUP BY status ORDER BY 1")
    assert rows == [{"status": "completed", "n": 2}, {"status": "running", "n": 1}]
