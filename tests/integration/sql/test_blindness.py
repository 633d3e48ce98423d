"""Blindness: what did not arrive while nobody watched is neither silent nor late, and what arrives later is judged later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.sql.alerting import silence
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import claim, let_pass, send_all
from tests.support.calls import DAY, HOUR, MINUTE, SECOND, Calls, Row, channel

SETTLED = 6 * SECOND  # after its end a blind period is told, once host samples that were kept had time to arrive


def now(calls: Calls) -> datetime:
    moment = calls.one("SELECT now()")
    assert isinstance(moment, datetime)
    return moment


def be_blind(calls: Calls, span: timedelta, why: str = "no service ran") -> None:
    """A service beats, nobody does for that span, and it beats again until the end of it is told."""
    calls("beat", "a")
    let_pass(calls, span)
    calls("beat", "a", p_why=why)
    let_pass(calls, SETTLED)
    calls("beat", "a")


def periods(calls: Calls) -> list[Row]:
    return calls.ask("SELECT * FROM public.blind_periods ORDER BY id")


def blind_alerts(calls: Calls) -> list[Row]:
    return calls.ask("SELECT * FROM public.alerts WHERE alert_type = 'automon_blind' ORDER BY id")


def firing(calls: Calls) -> set[tuple[str, str]]:
    rows = calls.rows("evaluate_all")
    return {(row["alert_type"], row["source"]) for row in rows if row["severity"] is not None}


# When --------------------------------------------------------------------------------------------------------


def test_beats_that_follow_each_other_are_no_blind_period(calls: Calls) -> None:
    for _ in range(5):
        calls("beat", "a")
        let_pass(calls, 9 * SECOND)

    assert periods(calls) == []


def test_the_first_beat_of_all_ends_no_blind_period(calls: Calls) -> None:
    calls("beat", "a")

    assert periods(calls) == []


def test_a_restart_of_a_few_seconds_is_no_blind_period(calls: Calls) -> None:
    calls("beat", "old")
    calls("leave", "old")
    let_pass(calls, 9 * SECOND)
    calls("beat", "new")

    assert periods(calls) == []


def test_another_service_that_goes_on_leaves_no_blind_period(calls: Calls) -> None:
    calls("beat", "a")
    for _ in range(20):
        calls("beat", "b")
        let_pass(calls, 9 * SECOND)
    calls("beat", "a", p_why="the database did not answer")

    assert periods(calls) == []


def test_a_blind_period_lasts_from_the_last_beat_to_the_next_and_says_why(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, 3 * HOUR)
    calls("beat", "b", p_why="the database did not answer")

    [period] = periods(calls)
    assert 3 * HOUR <= period["ended_at"] - period["began_at"] < 3 * HOUR + MINUTE
    assert (period["why"], period["is_told"], period["alert_id"]) == ("the database did not answer", False, None)


def test_a_clock_that_is_put_back_makes_no_blind_period(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, -HOUR)
    calls("beat", "a")

    assert periods(calls) == []


def test_two_services_that_come_back_at_once_see_one_blind_period(calls: Calls, new_session: NewSession) -> None:
    calls("beat", "a")
    let_pass(calls, HOUR)
    for instance in ("a", "b", "c"):
        new_session()("beat", instance)

    assert len(periods(calls)) == 1


# Checks without a service ------------------------------------------------------------------------------------


def test_cron_alone_is_never_blind(calls: Calls) -> None:
    for _ in range(3):
        calls("run_monitoring_checks")
        let_pass(calls, HOUR)

    assert (periods(calls), calls.ask("SELECT * FROM public.watch_state")) == ([], [])


def test_cron_watches_in_the_place_of_a_service_that_is_gone(calls: Calls) -> None:
    calls("beat", "a")
    for _ in range(12):
        let_pass(calls, 290 * SECOND)
        calls("run_monitoring_checks")
    let_pass(calls, MINUTE)
    calls("beat", "a")

    assert periods(calls) == []


def test_checks_of_a_service_prolong_nothing_that_its_beats_do_not(calls: Calls) -> None:
    calls("beat", "a")
    calls("run_monitoring_checks")
    let_pass(calls, MINUTE)
    calls("beat", "a")

    assert len(periods(calls)) == 1


# What is told ------------------------------------------------------------------------------------------------


def test_a_blind_period_of_three_hours_is_told_once_with_its_beginning_and_its_end(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    be_blind(calls, 3 * HOUR)
    for _ in range(3):
        calls("beat", "a")

    [message] = send_all(calls)
    [period] = periods(calls)
    assert {key: message[key] for key in ("alert_type", "source", "kind", "severity", "summary", "unit", "threshold")} == {
        "alert_type": "automon_blind", "source": "automon", "kind": "resolved", "severity": "critical", "summary": "was blind for 3 h: no service ran", "unit": "s",
        "threshold": 120,
    }  # fmt: skip
    assert (datetime.fromisoformat(message["opened_at"]), datetime.fromisoformat(message["at"])) == (period["began_at"], period["ended_at"])  # fmt: skip
    assert 3 * 3600 <= message["value"] < 3 * 3600 + 60
    [alert] = blind_alerts(calls)
    assert (alert["opened_at"], alert["resolved_at"], alert["resolved_by"]) == (period["began_at"], period["ended_at"], "automon")  # fmt: skip


def test_what_cannot_be_known_of_a_blind_period_is_counted(calls: Calls) -> None:
    begin = now(calls)
    calls.configure(channels=[channel()])
    for minutes in range(5, 0, -1):
        at = begin - minutes * MINUTE
        calls("update_queue_metrics", "mail", 1, p_at=at)
        for host in ("web-1", "web-2"):
            calls("record_host_sample", host, {"cpu_percent": 1}, at)
        calls("update_system_health", "api", "main", "healthy", p_at=at)
    calls("update_queue_metrics", "new", 1, p_at=begin)
    calls.run_tasks(480, ended=begin - 30 * MINUTE)
    blind_until(calls, begin, begin + 3 * HOUR)

    evidence = calls.one("SELECT public.blind_evidence(began_at, ended_at) FROM public.blind_periods")
    assert evidence["totals"] == {"reports": 4 * 180, "sources": 4, "usual_tasks": 60}
    assert evidence["measured"] == (
        "about 720 expected reports cannot be known (180 of 1 component, 360 of 2 hosts, 180 of 1 queue); 60 tasks usually end in such a time"
    )
    assert evidence["left"] == "what is recorded late is judged late"


def blind_until(calls: Calls, began: datetime, ended: datetime) -> None:
    calls.ask("INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s, %s, 'no service ran')", began, ended)  # fmt: skip


def test_what_arrived_late_is_no_longer_missing(calls: Calls) -> None:
    begin = now(calls) - HOUR
    for minutes in range(-5, 60):
        calls("record_host_sample", "web-1", {"cpu_percent": 1}, begin + minutes * MINUTE)
    blind_until(calls, begin, begin + HOUR)

    evidence = calls.one("SELECT public.blind_evidence(began_at, ended_at) FROM public.blind_periods")
    assert (evidence["totals"]["reports"], evidence["measured"]) == (1, "about 1 expected report cannot be known (1 of 1 host)")  # fmt: skip


def test_where_nothing_was_expected_nothing_is_missing(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    be_blind(calls, HOUR)

    [message] = send_all(calls)
    assert message["evidence"]["measured"] == "no report that was expected is missing"
    assert message["evidence"]["totals"] == {"reports": 0, "sources": 0, "usual_tasks": 0}


def test_a_blind_period_is_told_a_few_seconds_after_its_end(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    calls("beat", "a")
    let_pass(calls, HOUR)
    calls("beat", "a")
    let_pass(calls, 3 * SECOND)
    calls("beat", "a")
    assert (blind_alerts(calls), claim(calls)) == ([], None)

    let_pass(calls, 3 * SECOND)
    calls("beat", "a")
    assert len(blind_alerts(calls)) == 1


@pytest.mark.parametrize(("seconds", "told"), [(110, False), (125, True)])
def test_a_short_blind_period_counts_and_is_not_told(calls: Calls, seconds: int, told: bool) -> None:
    be_blind(calls, seconds * SECOND)

    assert (len(periods(calls)), len(blind_alerts(calls))) == (1, told)
    assert periods(calls)[0]["is_told"] is True


def test_from_when_on_blindness_is_told_can_be_set(calls: Calls) -> None:
    calls.configure(settings={"alerts.blind_after_seconds": 30})
    be_blind(calls, 40 * SECOND)

    assert len(blind_alerts(calls)) == 1


def test_each_blind_period_is_told_by_itself(calls: Calls) -> None:
    be_blind(calls, HOUR)
    be_blind(calls, 2 * HOUR, "the database did not answer")

    assert [alert["summary"] for alert in blind_alerts(calls)] == [
        "was blind for 60 min: no service ran",
        "was blind for 2 h: the database did not answer",
    ]


@pytest.mark.parametrize(("notify_on", "expected"), [(["opened"], 1), (["resolved"], 1), (["escalated"], 0)])
def test_blindness_is_told_to_whoever_hears_of_the_beginning_or_the_end_of_alerts(
    calls: Calls, notify_on: list[str], expected: int
) -> None:
    calls.configure(channels=[channel(notify_on=notify_on)])
    be_blind(calls, HOUR)

    assert len(send_all(calls)) == expected


def test_blindness_can_be_silenced(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    silence(calls, 120, at=now(calls) - HOUR, source="automon")
    be_blind(calls, HOUR)

    assert (len(blind_alerts(calls)), claim(calls)) == (1, None)


def test_a_beat_does_not_wait_behind_a_check_and_the_next_one_tells(calls: Calls, new_session: NewSession) -> None:
    checking = new_session()
    calls("beat", "a")
    let_pass(calls, HOUR)
    calls("beat", "a")
    let_pass(calls, SETTLED)
    checking.ask("BEGIN")
    checking("lock_alerts")

    calls.ask("SET statement_timeout = '5s'")
    calls("beat", "a")
    assert blind_alerts(calls) == []
    checking.ask("COMMIT")
    calls("beat", "a")
    assert len(blind_alerts(calls)) == 1


def test_the_summary_shows_the_last_time_automon_was_blind(calls: Calls) -> None:
    assert calls("get_dashboard_summary")["automon"]["blind"] is None
    be_blind(calls, HOUR)

    shown = calls("get_dashboard_summary", p_now=now(calls))["automon"]["blind"]
    assert shown["why"] == "no service ran"
    assert datetime.fromisoformat(shown["to"]) == periods(calls)[0]["ended_at"]


# An outage that one service had -------------------------------------------------------------------------------


def test_the_end_of_an_outage_that_one_service_had_is_told(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    end = now(calls)

    assert calls("report_outage", "web-1", end - HOUR, end) is True

    [message] = send_all(calls)
    assert (message["source"], message["kind"], message["summary"]) == (
        "web-1",
        "resolved",
        "could not reach the database for 60 min; other services could",
    )


def test_an_outage_that_all_services_had_is_told_as_blindness(calls: Calls) -> None:
    end = now(calls)
    be_blind(calls, HOUR)

    assert calls("report_outage", "web-1", end - HOUR + MINUTE, end) is False
    assert [alert["source"] for alert in blind_alerts(calls)] == ["automon"]


def test_an_outage_that_all_services_had_for_a_moment_only_is_told(calls: Calls) -> None:
    be_blind(calls, MINUTE)
    end = now(calls)

    assert calls("report_outage", "web-1", end - HOUR, end) is True


def test_an_outage_that_ends_before_it_began_because_the_clock_was_put_back_is_told(calls: Calls) -> None:
    end = now(calls)

    assert calls("report_outage", "web-1", end, end - HOUR) is True
    assert len(blind_alerts(calls)) == 1


# Silence and running time --------------------------------------------------------------------------------------


def component(calls: Calls, at: datetime) -> None:
    calls("update_system_health", "api", "it", "healthy", p_at=at)


def queue(calls: Calls, at: datetime) -> None:
    calls("update_queue_metrics", "it", 1, p_at=at)


def host(calls: Calls, at: datetime) -> None:
    calls("record_host_sample", "it", {"cpu_percent": 1}, at)


@pytest.mark.parametrize(
    ("record", "found", "patience"),
    [
        (component, ("component_silence", "api/it"), 600 * SECOND),
        (queue, ("queue_silence", "it"), 900 * SECOND),
        (host, ("host_silence", "it"), 300 * SECOND),
    ],
    ids=["component", "queue", "host"],
)
def test_a_source_is_not_silent_for_a_blind_period_and_is_after_its_own_time(
    calls: Calls, record: Callable[[Calls, datetime], None], found: tuple[str, str], patience: timedelta
) -> None:
    end = now(calls)
    for minutes in range(4, -1, -1):
        record(calls, end - 3 * HOUR - minutes * MINUTE)
    assert firing(calls) == {found}
    blind_until(calls, end - 3 * HOUR, end)

    assert firing(calls) == set()
    assert not [row for row in calls.rows("evaluate_all", end + patience - MINUTE) if row["severity"]]
    later = [row for row in calls.rows("evaluate_all", end + patience) if row["severity"]]
    assert [(row["alert_type"], row["source"]) for row in later] == [found]
    assert "last report 3" in later[0]["summary"]


def test_a_task_is_not_late_for_a_blind_period_and_is_after_its_own_time(calls: Calls) -> None:
    end = now(calls)
    calls("start_task_tracking", "t", "ocr", p_at=end - 3 * HOUR - MINUTE)
    assert firing(calls) == {("running_time", "ocr")}
    blind_until(calls, end - 3 * HOUR, end)

    assert firing(calls) == set()
    [finding] = calls.rows("evaluate_running_time", end + MINUTE)
    assert (finding["value"], finding["severity"]) == (120, None)
    [finding] = calls.rows("evaluate_running_time", end + 2 * MINUTE)
    assert (finding["value"], finding["severity"], finding["summary"]) == (180, "low", "a task is running for 3.05 h (limit 3 min)")  # fmt: skip


def test_a_source_that_was_silent_before_is_still_silent(calls: Calls) -> None:
    end = now(calls)
    for minutes in range(5):
        host(calls, end - 4 * HOUR - minutes * MINUTE)
    blind_until(calls, end - 3 * HOUR, end)

    assert firing(calls) == {("host_silence", "it")}


def test_a_blind_period_is_taken_off_by_the_part_that_lies_within(calls: Calls) -> None:
    end = now(calls)
    blind_until(calls, end - 4 * HOUR, end - 2 * HOUR)
    blind_until(calls, end - HOUR, end + HOUR)

    assert calls("seeing_seconds", end - 3 * HOUR, end) == 3600
    assert calls("seeing_seconds", end - 2 * HOUR, end - HOUR) == 3600
    assert calls("seeing_seconds", end - 30 * MINUTE, end) == 0


# What is recorded late -----------------------------------------------------------------------------------------


def opened(calls: Calls) -> list[tuple[str, str]]:
    rows = calls.ask("SELECT alert_type, source FROM public.alerts WHERE alert_type <> 'automon_blind' ORDER BY id")
    return [(row["alert_type"], row["source"]) for row in rows]


def test_what_is_recorded_late_is_judged_late_and_once(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    be_blind(calls, 6 * HOUR)
    end = now(calls)
    assert calls("run_monitoring_checks", end) == 0

    calls.record_errors(120, "billing", until=end - 3 * HOUR)
    assert calls("run_monitoring_checks", end + MINUTE) == 1
    for minutes in range(2, 60):
        calls("run_monitoring_checks", end + minutes * MINUTE)

    [alert] = [row for row in calls.ask("SELECT * FROM public.alerts ORDER BY id") if row["alert_type"] == "error_rate"]
    assert (alert["severity"], alert["peak_value"], alert["resolved_by"]) == ("critical", 120, "automon")
    assert opened(calls) == [("error_rate", "billing")]
    told = [row for row in send_all(calls) if row.get("alert_type") == "error_rate"]
    assert [row["kind"] for row in told] == ["opened", "resolved"]
    assert told[0]["summary"] == "120 errors within an hour (limit 100) while automon was blind"
    assert told[0]["evidence"]["totals"]["errors"] == 120


def test_more_that_arrives_late_opens_no_second_alert_and_another_source_its_own(calls: Calls) -> None:
    be_blind(calls, 6 * HOUR)
    end = now(calls)
    calls.record_errors(60, "billing", until=end - 3 * HOUR)
    assert calls("run_monitoring_checks", end) == 1
    calls.record_errors(60, "mail", until=end - 2 * HOUR)
    calls.record_errors(10, "billing", until=end - 4 * HOUR)

    assert calls("run_monitoring_checks", end + MINUTE) == 1
    assert opened(calls) == [("error_rate", "billing"), ("error_rate", "mail")]


def test_facts_that_were_recorded_while_no_service_ran_are_judged(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, 5 * HOUR)
    calls.run_tasks(10, "ocr", status="failed", seconds=1000, ended=now(calls) - 3 * HOUR)
    calls("beat", "a")

    assert calls("run_monitoring_checks") == 2
    assert set(opened(calls)) == {("failure_rate", "ocr"), ("processing_time", "ocr")}


def test_what_is_wrong_now_is_judged_as_it_is_now(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, 5 * HOUR)
    end = now(calls)
    calls.record_errors(120, "billing", until=end - 3 * HOUR)
    calls.record_errors(30, "billing", until=end)
    calls("beat", "a")

    assert calls("run_monitoring_checks") == 1
    assert [(row["severity"], row["value"]) for row in calls.ask("SELECT severity, value FROM public.alerts")] == [("low", 30)]  # fmt: skip


def test_what_was_an_alert_before_the_blind_period_is_judged_after_it_as_it_is_then(calls: Calls) -> None:
    begin = now(calls) - 2 * HOUR
    calls.record_errors(120, "billing", until=begin - MINUTE)
    calls("run_monitoring_checks", begin)
    blind_until(calls, begin, begin + 2 * HOUR)
    calls.record_errors(5, "billing", until=begin + MINUTE)

    for minutes in (120, 125, 130):
        calls("run_monitoring_checks", begin + minutes * MINUTE)

    assert opened(calls) == [("error_rate", "billing")]


def test_what_was_within_its_limits_in_a_blind_period_opens_nothing(calls: Calls) -> None:
    be_blind(calls, 6 * HOUR)
    calls.record_errors(20, "billing", until=now(calls) - 3 * HOUR)

    assert calls("run_monitoring_checks") == 0


def test_a_short_burst_anywhere_in_a_long_blind_period_is_found(calls: Calls) -> None:
    end = now(calls)
    blind_until(calls, end - DAY, end)
    for hours in range(24):
        calls.record_errors(30, f"component-{hours}", until=end - hours * HOUR - 20 * MINUTE)

    calls("run_monitoring_checks", end)

    assert len(opened(calls)) == 24


def test_a_blind_period_is_remembered_for_a_day(calls: Calls) -> None:
    end = now(calls)
    blind_until(calls, end - 30 * HOUR, end - 25 * HOUR)
    calls.record_errors(120, "billing", until=end - 26 * HOUR)

    assert calls("run_monitoring_checks", end) == 0


def test_a_check_of_the_past_looks_at_no_blind_period_that_comes_after_it(calls: Calls) -> None:
    end = now(calls)
    blind_until(calls, end - 5 * HOUR, end)
    calls.record_errors(120, "billing", until=end - 3 * HOUR)

    assert calls("run_monitoring_checks", end - 4 * HOUR) == 0


def test_the_fallback_is_told_of_what_is_judged_late_and_of_blindness(calls: Calls) -> None:
    calls.configure(channels=[channel(fallback="mail"), channel("mail", notify_on=[])])
    calls.ask("UPDATE public.notification_channels SET stopped_at = now(), last_error = 'x', failures = 1, failing_since = now() WHERE name = 'ops'")  # fmt: skip
    be_blind(calls, 6 * HOUR)
    calls.record_errors(120, "billing", until=now(calls) - 3 * HOUR)
    calls("run_monitoring_checks")

    told: list[Any] = [(row["alert_type"], row["instead_of"]) for row in send_all(calls, name="mail")]
    assert told == [("automon_blind", "ops"), ("error_rate", "ops")]
