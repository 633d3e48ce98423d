"""Clean-up: what has passed its term goes, cheaply, and without holding anybody up."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any

import pytest

from tests.integration.sql.alerting import apply
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import claimed, finish_sent, send_all
from tests.support.calls import DAY, HOUR, MINUTE, NOON, Calls, channel

NOW = NOON  # of a clean-up
NOTHING = {
    "alerts_deleted": 0, "health_intervals_deleted": 0, "job_runs_deleted": 0, "silences_deleted": 0, "errors_deleted": 0, "partitions_dropped": 0,
    "partitions_in_use": 0, "more": False,
}  # fmt: skip


def clean_up(calls: Calls, now: datetime = NOW) -> dict[str, Any]:
    answer = calls("cleanup_old_monitoring_data", now)
    assert isinstance(answer, dict)
    return answer


def days_of(calls: Calls, table: str) -> list[str]:
    """The days of 2024 and before that have a partition."""
    rows = calls.ask(
        "SELECT right(inhrelid::regclass::text, 8) AS day FROM pg_inherits WHERE inhparent = ('public.' || %s)::regclass ORDER BY 1",
        table,
    )
    return [row["day"] for row in rows if row["day"] < "20250101"]


def record_task(calls: Calls, ended: datetime) -> None:
    calls.run_tasks(1, ended=ended, prefix=str(ended))


def record_error(calls: Calls, at: datetime, severity: str = "critical") -> None:
    calls("record_error", None, "timeout", severity, "no answer", "it", p_at=at)


RETAINED = [
    ("processing_metrics_history", 30, record_task),
    ("error_tracking", 90, record_error),
    ("performance_monitoring", 7, lambda calls, at: calls("record_performance_metric", "seconds", "gauge", 1, p_at=at)),
    ("queue_monitoring", 7, lambda calls, at: calls("update_queue_metrics", "mail", 1, p_at=at)),
    ("host_metrics", 7, lambda calls, at: calls("record_host_sample", "host-1", {"cpu_percent": 1}, at)),
]
each_table = pytest.mark.parametrize(("table", "days", "record"), RETAINED, ids=[table for table, *_ in RETAINED])


def test_a_fresh_database_has_nothing_to_clean_up(calls: Calls) -> None:
    assert calls("cleanup_old_monitoring_data", calls.one("SELECT now()")) == NOTHING


@each_table
def test_a_day_goes_when_all_of_it_has_passed_its_term(calls: Calls, table: str, days: int, record: Any) -> None:
    last_kept = NOW.replace(hour=0) - days * DAY
    for moment in (last_kept - MINUTE, last_kept + 13 * HOUR, NOW):
        record(calls, moment)

    assert clean_up(calls)["partitions_dropped"] == 1

    assert days_of(calls, table) == sorted({f"{last_kept:%Y%m%d}", f"{NOW:%Y%m%d}"})
    assert calls.one(f"SELECT count(*) FROM public.{table}") == 2


@each_table
def test_a_second_clean_up_finds_nothing_left(calls: Calls, table: str, days: int, record: Any) -> None:
    record(calls, NOW - (days + 2) * DAY)
    clean_up(calls)

    assert clean_up(calls) == NOTHING


def test_how_long_a_table_is_kept_can_be_set(calls: Calls) -> None:
    record_task(calls, NOW - 3 * DAY)
    calls("set_setting", "retention.processing_days", 2)

    assert clean_up(calls)["partitions_dropped"] == 1


def test_what_runs_is_never_cleaned_up(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOW - 400 * DAY)

    clean_up(calls)

    assert calls.one("SELECT count(*) FROM public.processing_metrics") == 1


def test_errors_go_by_the_term_of_their_severity(calls: Calls) -> None:
    for days in (29, 31, 61, 89):
        for severity in ("low", "medium", "high", "critical"):
            record_error(calls, NOW - days * DAY, severity)

    assert clean_up(calls)["errors_deleted"] == 3 + 2 * 3 - 1

    rows = calls.ask(
        "SELECT (%s - occurred_at) / 86400 AS days, severity FROM (SELECT extract(epoch FROM occurred_at) AS occurred_at, severity FROM public.error_tracking) e",
        NOW.timestamp(),
    )
    kept = sorted((round(row["days"]), row["severity"]) for row in rows)
    assert kept == [
        (29, "critical"),
        (29, "high"),
        (29, "low"),
        (29, "medium"),
        (31, "critical"),
        (31, "high"),
        (61, "critical"),
        (89, "critical"),
    ]


def test_many_errors_go_in_several_calls(calls: Calls) -> None:
    calls.record_errors(20_005, until=NOW - 40 * DAY, severity="low")

    first, second = clean_up(calls), clean_up(calls)

    assert (first["errors_deleted"], first["more"]) == (20_000, True)
    assert (second["errors_deleted"], second["more"]) == (5, False)


def resolved_alert(calls: Calls, at: datetime, source: str = "it") -> None:
    apply(calls, at, (source, "high", 80))
    calls("resolve_alert", calls.one("SELECT id FROM public.alerts WHERE resolved_at IS NULL"), "kim", p_at=at)


def test_a_resolved_alert_goes_with_its_story(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    resolved_alert(calls, NOW - 8 * DAY)
    assert len(send_all(calls)) == 2

    assert clean_up(calls)["alerts_deleted"] == 1
    for table in ("alerts", "alert_transitions", "alert_deliveries", "delivery_attempts"):
        assert calls.one(f"SELECT count(*) FROM public.{table}") == 0


def test_a_resolved_alert_stays_until_its_messages_are_out(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    resolved_alert(calls, NOW - 8 * DAY)

    assert clean_up(calls)["alerts_deleted"] == 0
    calls.configure()
    assert clean_up(calls)["alerts_deleted"] == 1


def test_a_resolved_alert_stays_until_the_digest_is_out_that_tells_of_it(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    for number in range(4):
        resolved_alert(calls, NOW - 8 * DAY, f"s{number}")
    digest = claimed(calls)

    assert clean_up(calls)["alerts_deleted"] == 0
    finish_sent(calls, digest["delivery_id"])
    assert [row["subject"] for row in send_all(calls)] == ["digest"]
    assert clean_up(calls)["alerts_deleted"] == 4


def test_digests_and_canaries_go_when_they_have_passed_the_term_of_alerts(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    for number in range(4):
        resolved_alert(calls, NOW - 8 * DAY, f"s{number}")
    calls.rows("send_canary")
    send_all(calls)
    now = calls.one("SELECT now()")

    clean_up(calls, now + 6 * DAY)
    assert calls.one("SELECT count(*) FROM public.alert_deliveries") == 3
    clean_up(calls, now + 8 * DAY)
    assert calls.one("SELECT count(*) FROM public.alert_deliveries") == 0


def test_an_open_alert_and_a_newly_resolved_one_stay(calls: Calls) -> None:
    resolved_alert(calls, NOW - 6 * DAY)
    apply(calls, NOW - 100 * DAY, ("other", "high", 80))

    assert clean_up(calls)["alerts_deleted"] == 0


def test_closed_health_intervals_go_and_the_present_state_stays(calls: Calls) -> None:
    calls("update_system_health", "api", "main", "healthy", p_at=NOW - 100 * DAY)
    calls("update_system_health", "api", "main", "unhealthy", p_at=NOW - 99 * DAY)

    assert clean_up(calls)["health_intervals_deleted"] == 1
    assert calls.one("SELECT status FROM public.system_health") == "unhealthy"


def test_old_job_runs_and_silences_go(calls: Calls) -> None:
    for days in (31, 29):
        calls("begin_job_run", "cleanup", "host-1", NOW - days * DAY)
    for days in (8, 6):
        calls.ask("SELECT public.silence_alerts('it', interval '1 hour', p_at => %s)", NOW - days * DAY)

    cleaned = clean_up(calls)
    assert (cleaned["job_runs_deleted"], cleaned["silences_deleted"]) == (1, 1)


def test_a_queue_and_a_host_without_reports_are_forgotten(calls: Calls) -> None:
    calls("update_queue_metrics", "old", 1, p_at=NOW - 9 * DAY)
    calls("record_host_sample", "old", {"cpu_percent": 1}, NOW - 9 * DAY)
    calls("update_queue_metrics", "new", 1, p_at=NOW)

    clean_up(calls)
    clean_up(calls)

    assert [row["name"] for row in calls.ask("SELECT name FROM public.monitored_sources")] == ["new"]


def test_a_day_that_a_reader_holds_open_is_left_and_reported_and_goes_later(
    calls: Calls, new_session: NewSession
) -> None:
    reader = new_session()
    record_task(calls, NOW - 40 * DAY)
    record_error(calls, NOW - 100 * DAY)
    reader.ask("BEGIN")
    reader.ask("SELECT * FROM public.processing_metrics")

    held = clean_up(calls)
    reader.ask("COMMIT")
    afterwards = clean_up(calls)

    assert (held["partitions_dropped"], held["partitions_in_use"]) == (1, 1)
    assert (afterwards["partitions_dropped"], afterwards["partitions_in_use"]) == (1, 0)


def test_writers_are_not_held_up_by_a_clean_up_that_waits_for_a_reader(calls: Calls, new_session: NewSession) -> None:
    reader, writer = new_session(), new_session()
    for days in (40, 41):
        record_task(calls, NOW - days * DAY)
    record_task(writer, NOW)
    reader.ask("BEGIN")
    reader.ask("SELECT * FROM public.processing_metrics")
    cleaned: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: cleaned.append(clean_up(calls)))

    thread.start()
    pauses, number = [], 0
    while thread.is_alive():
        begun = time.monotonic()
        calls_of_a_writer = [
            writer("start_task_tracking", f"w-{number}", "ocr", p_at=NOW),
            writer("complete_task_tracking", f"w-{number}", p_at=NOW),
        ]
        pauses.append(time.monotonic() - begun)
        assert calls_of_a_writer == [True, True]
        number += 1

    assert cleaned[0]["partitions_in_use"] == 2
    assert max(pauses) < 1.0
