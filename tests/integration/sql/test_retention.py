"""Retention beside readers, writers, checks and other clean-ups, and what is told when it falls behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import psycopg
import pytest

from tests.integration.sql.conftest import NewSession
from tests.support.calls import DAY, HOUR, JOURNAL, MINUTE, NOON, SECOND, Calls, Row, channel
from tests.support.waiting import wait_until

TABLES = {
    "processing_metrics_history",
    "error_tracking",
    "performance_monitoring",
    "queue_monitoring",
    "host_metrics",
    "task_minutes",
    "error_minutes",
}
HELD = "SELECT mode FROM pg_locks WHERE pid = %s AND locktype = 'relation' AND relation = %s::regclass AND granted"


def clean_up(calls: Calls, now: datetime = NOON) -> dict[str, Any]:
    answer = calls("cleanup_old_monitoring_data", now)
    assert isinstance(answer, dict)
    return answer


def clean_up_all(calls: Calls, now: datetime = NOON) -> list[dict[str, Any]]:
    """Call until there is no more, as the job does."""
    answers = [clean_up(calls, now)]
    while answers[-1]["more"]:
        answers.append(clean_up(calls, now))
    return answers


def record_task(calls: Calls, ended: datetime) -> None:
    calls.run_tasks(1, ended=ended, prefix=str(ended))


def record_error(calls: Calls, at: datetime, severity: str = "critical") -> None:
    calls("record_error", None, "timeout", severity, "no answer", "it", p_at=at)


def expired(calls: Calls, now: datetime = NOON) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in calls.rows("expired_partitions", now):
        found.setdefault(row["table_name"], []).append(row["partition_name"])
    return found


@contextmanager
def reading(session: Calls, table: str) -> Iterator[None]:
    """Hold every day of a table open, as a report or a backup does."""
    with session.connection.transaction():
        session.ask(f"SELECT count(*) FROM public.{table}")
        yield


def findings(calls: Calls, now: datetime = NOON) -> dict[str, Row]:
    return {row["source"]: row for row in calls.rows("evaluate_automon", now) if row["alert_type"] == "automon_storage"}


def firing(calls: Calls, now: datetime = NOON) -> dict[str, tuple[str, str]]:
    return {source: (row["severity"], row["summary"]) for source, row in findings(calls, now).items() if row["severity"]}  # fmt: skip


@pytest.fixture
def prepared(calls: Calls) -> Calls:
    """A session at whose noon every table has its days."""
    calls("ensure_partitions", 8, NOON)
    return calls


# Beside others -------------------------------------------------------------------------------------------------


def test_a_day_that_a_reader_holds_open_is_left_and_reported_and_goes_later(
    calls: Calls, new_session: NewSession
) -> None:
    record_task(calls, NOON - 40 * DAY)
    record_error(calls, NOON - 100 * DAY)

    with reading(new_session(), "processing_metrics"):
        first, *others = clean_up_all(calls)
    afterwards = clean_up(calls)

    assert (first["partitions_dropped"], first["partitions_in_use"], first["more"]) == (1, 1, True)
    assert [(other["partitions_dropped"], other["partitions_in_use"]) for other in others] == [(0, 1)]
    assert (afterwards["partitions_dropped"], afterwards["partitions_in_use"]) == (1, 0)


def test_a_clean_up_that_drops_nothing_holds_no_lock_that_others_wait_for(
    calls: Calls, new_session: NewSession
) -> None:
    record_task(calls, NOON - 40 * DAY)
    with reading(new_session(), "processing_metrics"), calls.connection.transaction():
        assert clean_up(calls)["partitions_in_use"] == 1

        pid = calls.connection.info.backend_pid
        modes = calls.ask("SELECT DISTINCT mode FROM pg_locks WHERE pid = %s AND locktype = 'relation'", pid)
        assert {row["mode"] for row in modes} <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}


def test_a_reader_of_one_day_keeps_that_day_alone(calls: Calls, new_session: NewSession) -> None:
    for days in (40, 41, 42):
        record_task(calls, NOON - days * DAY)
    oldest = expired(calls)["processing_metrics_history"][0]

    with reading(new_session(), oldest):
        answers = clean_up_all(calls)

    assert sum(answer["partitions_dropped"] for answer in answers) == 2
    assert expired(calls) == {"processing_metrics_history": [oldest]}


def test_a_view_on_a_day_keeps_that_day_alone_and_is_named(prepared: Calls) -> None:
    for days in (40, 41):
        record_task(prepared, NOON - days * DAY)
    oldest, _ = expired(prepared)["processing_metrics_history"]
    prepared.ask(f"CREATE VIEW public.last_spring AS SELECT * FROM public.{oldest}")

    clean_up_all(prepared)

    assert expired(prepared) == {"processing_metrics_history": [oldest]}
    assert f"the view public.last_spring, which needs {oldest}" in prepared("who_holds", "processing_metrics_history", NOON)  # fmt: skip


@pytest.mark.session("the server's process number")
def test_only_the_table_itself_is_locked_and_not_the_one_above_it(calls: Calls) -> None:
    record_task(calls, NOON - 40 * DAY)
    pid = calls.connection.info.backend_pid
    with calls.connection.transaction():
        assert clean_up(calls)["partitions_dropped"] == 1

        assert {"mode": "AccessExclusiveLock"} in calls.ask(HELD, pid, "public.processing_metrics_history")
        assert {"mode": "AccessExclusiveLock"} not in calls.ask(HELD, pid, "public.processing_metrics")


class Writer:
    """Records tasks and errors from a thread, and fails as soon as one statement has waited 0.3 s for a lock."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.written = 0
        self.error: psycopg.Error | None = None
        calls.ask("SET lock_timeout = '300ms'")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.error is None, self.error

    def write_some(self) -> None:
        """Return when something has been begun and written since."""
        goal = self.written + 2
        wait_until(lambda: self.written >= goal or self.error, what="the writer goes on")
        assert self.error is None, self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._calls("start_task_tracking", f"w-{self.written}", "ocr")
                self._calls("complete_task_tracking", f"w-{self.written}")
                self._calls("record_error", None, "timeout", "low", "no answer", "it")
                self.written += 1
        except psycopg.Error as error:
            self.error = error


def test_no_writer_waits_for_long_while_readers_keep_old_days_from_a_clean_up(
    calls: Calls, new_session: NewSession
) -> None:
    now = calls.one("SELECT now()")
    for days in range(100, 110):
        record_task(calls, now - days * DAY)
        record_error(calls, now - days * DAY)

    with Writer(new_session()) as writer:
        with reading(new_session(), "processing_metrics"), reading(new_session(), "error_tracking"):
            for _ in range(6):
                assert clean_up(calls, now)["partitions_in_use"] == 20
                writer.write_some()
        answers = []
        while expired(calls, now):
            answers.append(clean_up(calls, now))
            writer.write_some()

    assert sum(answer["partitions_dropped"] for answer in answers) == 20


def test_a_second_clean_up_at_the_same_time_does_nothing_and_says_so(calls: Calls, new_session: NewSession) -> None:
    record_task(calls, NOON - 40 * DAY)
    first = new_session()
    with first.connection.transaction():
        assert clean_up(first)["partitions_dropped"] == 1

        second = clean_up(calls)
    assert (second["another_runs"], second["partitions_dropped"], second["more"]) == (True, 0, False)


def in_threads(*runs: Callable[[], None]) -> list[psycopg.Error]:
    """Run all at once to their ends, and answer what they raised."""
    raised: list[psycopg.Error] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except psycopg.Error as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return raised


def test_checks_and_clean_ups_that_are_told_of_other_days_never_meet_in_a_deadlock(
    calls: Calls, new_session: NewSession
) -> None:
    checks, cleaners = [new_session() for _ in range(2)], [new_session() for _ in range(2)]
    now = calls.one("SELECT now()")
    record_task(calls, now - 40 * DAY)

    def check(session: Calls) -> None:
        for number in range(8):
            session("run_monitoring_checks", now + number % 3 * 50 * DAY)
            session("check_automon_alerts", now)

    def clean(session: Calls) -> None:
        for number in range(16):
            clean_up(session, now + number % 4 * 50 * DAY)

    raised = in_threads(*(partial(check, one) for one in checks), *(partial(clean, one) for one in cleaners))

    assert raised == []


def test_a_clean_up_waits_for_nobody_while_somebody_may_wait_for_it(calls: Calls, new_session: NewSession) -> None:
    # A check has read tasks and goes on to errors, whose day the clean-up has dropped and not yet committed.
    check, now = new_session(), calls.one("SELECT now()")
    record_task(calls, now - 40 * DAY)
    record_error(calls, now - 100 * DAY)
    with calls.connection.transaction(), check.connection.transaction():
        check.ask("SELECT count(*) FROM public.processing_metrics_history")
        answer = clean_up(calls, now)
        assert answer["dropped_by_table"] == {"error_tracking": 1}
        assert answer["partitions_in_use"] == 1
        pid = calls.connection.info.backend_pid
        assert calls.ask("SELECT FROM pg_locks WHERE pid = %s AND NOT granted", pid) == []
    assert check.one("SELECT count(*) FROM public.error_tracking") == 0


# Clocks --------------------------------------------------------------------------------------------------------


def test_what_is_recorded_after_a_clock_came_back_finds_its_day_again(calls: Calls) -> None:
    now = calls.one("SELECT now()")
    clean_up_all(calls, now + 400 * DAY)
    assert calls.one("SELECT count(*) FROM public.day_partitions(%s) AS d", now) == 0

    calls("check_automon_alerts", now)

    assert firing(calls, now) == {}
    assert calls("start_task_tracking", "t", "ocr") is True
    assert calls("complete_task_tracking", "t") is True


def test_a_clock_that_was_put_back_expires_nothing(prepared: Calls) -> None:
    record_task(prepared, NOON - 29 * DAY)

    assert clean_up(prepared, NOON - 100 * DAY)["partitions_dropped"] == 0
    assert firing(prepared, NOON) == {}


# Alerts --------------------------------------------------------------------------------------------------------


def test_tables_that_are_as_they_should_be_are_within_their_limits(calls: Calls) -> None:
    found = findings(calls, calls.one("SELECT now()"))

    assert set(found) == {f"{what} of {table}" for what in ("retention", "days") for table in TABLES} | {"rollups"}
    assert {row["severity"] for row in found.values()} == {None}
    assert found["retention of host_metrics"]["summary"] == "nothing is past its term of 7 days"


@pytest.mark.parametrize(
    ("days", "severity"), [(1, None), (2, "medium"), (6, "medium"), (7, "high"), (9, "high")], ids=str
)
def test_a_table_that_holds_what_is_past_its_term_is_told(prepared: Calls, days: int, severity: str | None) -> None:
    record_task(prepared, NOON - (31 + days) * DAY)

    found = findings(prepared)["retention of processing_metrics_history"]

    assert found["severity"] == severity
    assert found["value"] == days
    assert found["summary"] == f"oldest row is {days} day{'s' * (days > 1)} past its term"


def test_errors_past_the_term_of_their_severity_count_as_well(prepared: Calls) -> None:
    record_error(prepared, NOON - 39 * DAY, "high")
    assert firing(prepared) == {}
    record_error(prepared, NOON - 39 * DAY, "low")

    assert firing(prepared) == {"retention of error_tracking": ("high", "oldest row is 9 days past its term")}


@pytest.mark.session("the server's process number")
def test_the_evidence_names_who_holds_the_table_open_and_the_next_step(
    prepared: Calls, new_session: NewSession
) -> None:
    record_task(prepared, NOON - 40 * DAY)
    reader = new_session()
    reader.ask("SET application_name = 'nightly report'")
    with reading(reader, "processing_metrics"):
        evidence = findings(prepared)["retention of processing_metrics_history"]["evidence"]

    pid = reader.connection.info.backend_pid
    assert f"held open by pid {pid} (nightly report, idle in transaction, since " in evidence["measured"]
    assert evidence["next"] == "SELECT cleanup_old_monitoring_data()"
    assert evidence["totals"] == {"kept_days": 30, "oldest_day": f"{NOON - 40 * DAY:%Y-%m-%d}", "days": 21}
    measured = findings(prepared)["retention of processing_metrics_history"]["evidence"]["measured"]
    assert measured == "nobody holds it open now: does the clean-up run?"


def test_what_is_recorded_late_after_a_clean_up_is_left_to_the_next_one(prepared: Calls) -> None:
    def ran(at: datetime) -> None:
        run = prepared("begin_job_run", "cleanup", "a", at)
        prepared("finish_job_run", run, "succeeded", clean_up(prepared), None, at)

    ran(NOON - 2 * HOUR)
    record_task(prepared, NOON - 400 * DAY)
    assert firing(prepared) == {}
    assert set(firing(prepared, NOON + 25 * HOUR)) == {"retention of processing_metrics_history"}


def test_a_clean_up_that_left_it_does_not_excuse_it(prepared: Calls, new_session: NewSession) -> None:
    record_task(prepared, NOON - 40 * DAY)
    with reading(new_session(), "processing_metrics"):
        left = clean_up(prepared)
    run = prepared("begin_job_run", "cleanup", "a", NOON - HOUR)
    prepared("finish_job_run", run, "succeeded", left, None, NOON - HOUR)

    assert set(firing(prepared)) == {"retention of processing_metrics_history"}


def drop_day(calls: Calls, table: str, at: datetime) -> None:
    calls.ask(f"DROP TABLE public.{calls('day_partition_name', table, at)}")


@pytest.mark.parametrize(
    ("left", "severity"), [(6 * HOUR + SECOND, None), (6 * HOUR, "high"), (SECOND, "high")], ids=["early", "near", "late"]
)  # fmt: skip
def test_a_missing_partition_of_tomorrow_is_told_in_the_evening(
    prepared: Calls, left: timedelta, severity: str | None
) -> None:
    midnight = NOON + 12 * HOUR
    drop_day(prepared, "error_tracking", midnight)

    found = findings(prepared, midnight - left)["days of error_tracking"]

    assert (found["severity"], found["summary"]) == (severity, "no partition for tomorrow, 2024-05-15")


def test_a_missing_partition_of_today_is_critical(prepared: Calls) -> None:
    drop_day(prepared, "host_metrics", NOON)

    found = findings(prepared)["days of host_metrics"]

    assert found["severity"] == "critical"
    assert found["summary"].startswith("no partition for today, 2024-05-14")
    assert found["evidence"]["next"] == "SELECT ensure_partitions()"


def test_a_day_that_was_detached_is_missing_and_cannot_be_mended_by_itself(prepared: Calls) -> None:
    day = prepared("day_partition_name", "host_metrics", NOON)
    prepared.ask(f"ALTER TABLE public.host_metrics DETACH PARTITION public.{day}")

    assert prepared("check_automon_alerts", NOON) == 1

    assert prepared.one("SELECT source || ': ' || severity FROM public.alerts") == "days of host_metrics: critical"


def test_the_self_check_makes_the_days_before_it_judges_them(calls: Calls) -> None:
    assert firing(calls) != {}

    assert calls("check_automon_alerts", NOON) == 0
    assert firing(calls) == {}


@pytest.mark.session("the server's process number")
def test_days_that_cannot_be_made_are_told_and_fail_no_check(prepared: Calls, new_session: NewSession) -> None:
    drop_day(prepared, "host_metrics", NOON)
    other = new_session()
    with other.connection.transaction():
        # ANALYZE of a table, or another migration, keeps partitions from being attached.
        other.ask("LOCK TABLE ONLY public.host_metrics IN SHARE UPDATE EXCLUSIVE MODE")
        assert prepared("check_automon_alerts", NOON) == 1

        evidence = prepared.one("SELECT evidence FROM public.alerts")
        assert f"held open by pid {other.connection.info.backend_pid} " in evidence["measured"]


def test_an_alert_about_storage_ends_when_the_clean_up_has_done_its_work(prepared: Calls) -> None:
    prepared.configure(channels=[channel(), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    record_task(prepared, NOON - 40 * DAY)
    assert prepared("check_automon_alerts", NOON) == 1
    clean_up_all(prepared)
    assert prepared("check_automon_alerts", NOON + MINUTE) == 1

    ended = "SELECT summary FROM public.alert_transitions WHERE kind = 'resolved'"
    assert prepared.one(ended) == "nothing is past its term of 30 days"


# The report ----------------------------------------------------------------------------------------------------


def test_the_report_says_what_each_table_keeps(prepared: Calls) -> None:
    record_task(prepared, NOON - 40 * DAY)
    drop_day(prepared, "host_metrics", NOON + DAY)

    report = {row.pop("table_name"): row for row in prepared.rows("storage_report", NOON)}

    assert set(report) == TABLES
    tasks = report["processing_metrics_history"]
    assert (tasks["kept_days"], tasks["oldest_day"], tasks["partitions"]) == (30, (NOON - 40 * DAY).date(), 21)
    assert 9.4 < tasks["past_term_days"] < 9.6
    assert tasks["size_bytes"] > 0
    assert {table for table, row in report.items() if not row["tomorrow_is_prepared"]} == {"host_metrics"}


def test_a_table_without_a_term_is_kept_for_ever(prepared: Calls) -> None:
    record_task(prepared, NOON - 400 * DAY)
    prepared.ask("DELETE FROM public.monitoring_settings WHERE name = 'retention.processing_days'")

    assert clean_up(prepared)["partitions_dropped"] == 0
    [tasks] = [row for row in prepared.rows("storage_report", NOON) if row["table_name"] == "processing_metrics_history"]  # fmt: skip
    assert (tasks["kept_days"], tasks["past_term_days"]) == (None, None)
    assert firing(prepared) == {}


@pytest.mark.parametrize("table", ["task_minutes", "error_minutes"])
def test_tables_of_minutes_have_a_term_of_their_own_as_soon_as_it_is_set(calls: Calls, table: str) -> None:
    calls.ask("DELETE FROM public.monitoring_settings WHERE name = 'retention.minutes_days'")
    assert calls("retention_days", table) is None
    calls.ask("INSERT INTO public.monitoring_settings (name, value) VALUES ('retention.minutes_days', 400)")

    assert calls("retention_days", table) == 400
