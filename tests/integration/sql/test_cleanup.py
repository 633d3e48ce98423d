"""Clean-up: what has passed its term goes, cheaply, and without holding anybody up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.integration.sql.alerting import apply
from tests.integration.sql.outbox import claimed, finish_sent, send_all
from tests.support.calls import DAY, HOUR, MINUTE, NOON, Calls, channel

NOW = NOON  # of a clean-up
NOTHING = {
    "alerts_deleted": 0, "health_intervals_deleted": 0, "job_runs_deleted": 0, "silences_deleted": 0, "deliveries_deleted": 0, "blind_periods_deleted": 0,
    "config_changes_deleted": 0, "sources_forgotten": 0, "errors_deleted": 0, "hours_deleted": 0, "partitions_dropped": 0, "partitions_in_use": 0, "dropped_by_table": {}, "bytes_freed": 0,
    "rows_dropped_estimated": 0, "another_runs": False, "more": False,
}  # fmt: skip
LEFT = {"oldest_day", "past_term_days"}


def clean_up(calls: Calls, now: datetime = NOW) -> dict[str, Any]:
    answer = calls("cleanup_old_monitoring_data", now)
    assert isinstance(answer, dict)
    return answer


def removed(answer: dict[str, Any]) -> dict[str, Any]:
    """What a clean-up says that it removed, without what it says is left."""
    return {key: value for key, value in answer.items() if key not in LEFT}


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
    answer = clean_up(calls, calls.one("SELECT now()"))

    assert removed(answer) == NOTHING
    assert set(answer["past_term_days"].values()) == {0}


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

    second = removed(clean_up(calls))
    assert second.pop("sources_forgotten") == (table in {"queue_monitoring", "host_metrics"})
    assert NOTHING.items() >= second.items()


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


def test_more_errors_than_one_call_deletes_go_in_several_oldest_first(calls: Calls) -> None:
    calls.record_errors(20_005, until=NOW - 40 * DAY, severity="low")
    before = calls.one("SELECT min(occurred_at) FROM public.error_tracking")

    answers = [clean_up(calls)]
    assert answers[0]["more"]
    assert calls.one("SELECT min(occurred_at) FROM public.error_tracking") > before
    while answers[-1]["more"]:
        answers.append(clean_up(calls))

    assert sum(answer["errors_deleted"] for answer in answers) == 20_005
    # How many of them a call deletes in its second is the machine's affair.
    assert all(0 < answer["errors_deleted"] <= 20_000 for answer in answers)


def test_expired_errors_are_found_by_an_index_and_not_by_a_look_at_what_stays(calls: Calls) -> None:
    for days in range(30, 60):
        calls.record_errors(40, until=NOW - days * DAY, severity="critical")
    calls.ask("ANALYZE public.error_tracking")
    read = "SELECT sum(seq_tup_read) AS by_scan, sum(idx_scan) AS by_index FROM pg_stat_xact_user_tables WHERE relname LIKE 'error_tracking_2024%%'"

    with calls.connection.transaction():
        assert calls.rows("expired_errors", NOW) == []
        [looked] = calls.ask(read)

    assert looked["by_scan"] == 0
    assert looked["by_index"] > 0


def test_a_term_beyond_all_time_is_for_ever(calls: Calls) -> None:
    record_error(calls, NOW - 400 * DAY)
    for name in ("errors_low", "errors_medium", "errors_high", "errors_critical", "health", "resolved_alerts", "job_runs", "queue", "host"):  # fmt: skip
        calls("set_setting", f"retention.{name}_days", 1e12)

    assert removed(clean_up(calls)) == NOTHING


def test_many_records_go_in_several_calls(calls: Calls) -> None:
    calls.ask(
        "INSERT INTO public.job_runs (job, instance, started_at) SELECT 'cleanup', 'a', %s - n * interval '1 minute' FROM generate_series(1, 1005) n",
        NOW - 40 * DAY,
    )

    first, second = clean_up(calls), clean_up(calls)

    assert (first["job_runs_deleted"], first["more"]) == (1000, True)
    assert (second["job_runs_deleted"], second["more"]) == (5, False)


def test_a_clean_up_says_what_it_freed_and_what_is_left(calls: Calls) -> None:
    for days in (40, 41):
        calls.run_tasks(20, ended=NOW - days * DAY, prefix=str(days))
    record_task(calls, NOW - 5 * DAY)
    record_error(calls, NOW - 100 * DAY)
    calls.ask("ANALYZE public.processing_metrics_history")
    size = calls.one(
        "SELECT sum(pg_total_relation_size(relation)) FROM public.day_partitions(%s) AS d WHERE days_past_term >= 0",
        NOW,
    )

    answer = clean_up(calls)

    assert answer["dropped_by_table"] == {"processing_metrics_history": 2, "error_tracking": 1}
    assert answer["bytes_freed"] == size
    assert answer["rows_dropped_estimated"] >= 40
    assert answer["oldest_day"]["processing_metrics_history"] == f"{NOW - 5 * DAY:%Y-%m-%d}"
    assert set(answer["past_term_days"].values()) == {0}


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
