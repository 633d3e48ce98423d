"""Alerts: opened once, followed, cleared with patience."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.integration.sql.alerting import CHECK, alerts, apply, deliveries, ended_transition, kinds, the_alert
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import claimed
from tests.support.calls import MINUTE, NOON, SECOND, Calls, channel


def test_a_finding_opens_an_alert(calls: Calls) -> None:
    assert apply(calls, NOON, ("it", "high", 80)) == 1

    alert = the_alert(calls)
    assert (
        alert["alert_type"],
        alert["source"],
        alert["severity"],
        alert["value"],
        alert["threshold"],
        alert["unit"],
    ) == ("error_rate", "it", "high", 80, 1, "errors/h")
    assert (alert["summary"], alert["evidence"]) == ("80 errors (limit 1)", {"measured": "made up"})
    assert (alert["opened_at"], alert["last_seen_at"], alert["peak_at"], alert["resolved_at"]) == (
        NOON,
        NOON,
        NOON,
        None,
    )
    assert kinds(calls) == ["opened"]


def test_a_finding_that_goes_on_opens_no_second_alert(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))

    assert apply(calls, NOON + CHECK, ("it", "high", 85)) == 0
    assert (the_alert(calls)["value"], the_alert(calls)["last_seen_at"], kinds(calls)) == (85, NOON + CHECK, ["opened"])


def test_each_source_has_its_own_alert(calls: Calls) -> None:
    assert apply(calls, NOON, ("a", "low", 1), ("b", "high", 2), ("c", None, 0)) == 2
    assert [(row["source"], row["severity"]) for row in alerts(calls)] == [("b", "high"), ("a", "low")]


def test_a_finding_within_limits_opens_nothing(calls: Calls) -> None:
    assert apply(calls, NOON, ("it", None, 0)) == 0
    assert alerts(calls) == []


def test_an_alert_escalates_and_eases(calls: Calls) -> None:
    for minutes, severity in enumerate(["low", "critical", "medium", "medium"]):
        apply(calls, NOON + minutes * MINUTE, ("it", severity, 10.0 * minutes))

    assert kinds(calls) == ["opened", "escalated", "eased"]
    chain = calls.ask("SELECT previous_severity, severity FROM public.alert_transitions ORDER BY id")
    assert [tuple(row.values()) for row in chain] == [(None, "low"), ("low", "critical"), ("critical", "medium")]


def test_an_alert_remembers_its_worst_moment(calls: Calls) -> None:
    for minutes, severity, value in [
        (0, "low", 30),
        (1, "critical", 110),
        (2, "critical", 120),
        (3, "critical", 105),
        (4, "low", 26),
    ]:
        apply(calls, NOON + minutes * MINUTE, ("it", severity, value))

    alert = the_alert(calls)
    assert (alert["peak_severity"], alert["peak_value"], alert["peak_summary"], alert["peak_at"]) == (
        "critical",
        120,
        "120 errors (limit 1)",
        NOON + 2 * MINUTE,
    )
    assert (alert["severity"], alert["value"]) == ("low", 26)


def test_an_alert_clears_only_after_a_time_within_its_limits(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))

    assert apply(calls, NOON + CHECK, ("it", None, 3)) == 0
    assert (the_alert(calls)["clear_since"], the_alert(calls)["resolved_at"]) == (NOON + CHECK, None)
    assert apply(calls, NOON + CHECK + 269 * SECOND, ("it", None, 3)) == 0
    assert apply(calls, NOON + CHECK + 270 * SECOND, ("it", None, 2)) == 1

    alert = the_alert(calls)
    assert (alert["resolved_at"], alert["resolved_by"], alert["summary"], alert["value"]) == (
        NOON + CHECK + 270 * SECOND,
        "automon",
        "2 errors (limit 1)",
        2,
    )


def test_how_long_an_alert_must_be_clear_can_be_set(calls: Calls) -> None:
    calls("set_setting", "alerts.resolve_after_seconds", 0)
    apply(calls, NOON, ("it", "high", 80))

    assert apply(calls, NOON + SECOND, ("it", None, 0)) == 1


def test_a_source_that_flaps_keeps_one_alert_and_sends_no_further_messages(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    for number in range(20):
        apply(calls, NOON + number * CHECK, ("it", "high" if number % 2 == 0 else None, 80))

    assert kinds(calls) == ["opened"]
    assert deliveries(calls) == [("opened", "ops", "pending")]


def test_a_source_that_is_no_longer_measured_clears_with_words_of_its_own(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + CHECK)

    assert apply(calls, NOON + 2 * CHECK) == 1
    assert (the_alert(calls)["summary"], the_alert(calls)["value"]) == ("no errors in the last hour", None)


def test_a_check_leaves_alerts_of_other_types_alone(calls: Calls) -> None:
    calls("update_queue_metrics", "mail", 1000)
    calls("check_queue_backlog_alerts")

    for function in (
        "check_error_rate_alerts",
        "check_processing_performance_alerts",
        "check_system_health_alerts",
        "check_host_alerts",
    ):
        assert calls.one(f"SELECT public.{function}(now() + interval '30 minutes')") == 0
    assert the_alert(calls)["clear_since"] is None


def test_trouble_that_comes_back_is_a_new_alert(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    assert apply(calls, NOON + 3 * CHECK, ("it", "low", 30)) == 1
    assert [(row["severity"], row["resolved_at"]) for row in alerts(calls)] == [
        ("high", NOON + 2 * CHECK),
        ("low", None),
    ]


def test_resolving_what_is_resolved_opens_nothing(calls: Calls) -> None:
    apply(calls, NOON, ("old", "high", 80))

    assert apply(calls, NOON + CHECK, ("new", "high", 80), ("old", None, 0), resolve_only=True) == 0
    assert apply(calls, NOON + 2 * CHECK, ("new", "high", 80), ("old", None, 0), resolve_only=True) == 1
    assert [row["source"] for row in alerts(calls)] == ["old"]


@pytest.mark.parametrize("late", [("it", "critical", 200), ("it", None, 0)], ids=["worse", "clear"])
def test_an_evaluation_that_comes_late_changes_nothing_of_an_open_alert(
    calls: Calls, late: tuple[str, str | None, float]
) -> None:
    apply(calls, NOON, ("it", "high", 80))
    before = the_alert(calls)

    assert apply(calls, NOON - SECOND, late) == 0
    assert (the_alert(calls), kinds(calls)) == (before, ["opened"])


def test_an_evaluation_that_comes_late_does_not_undo_that_an_alert_began_to_clear(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + CHECK)

    assert apply(calls, NOON + CHECK - SECOND, ("it", "high", 80)) == 0
    assert the_alert(calls)["clear_since"] == NOON + CHECK


def test_an_evaluation_that_comes_late_does_not_open_again_what_was_resolved_since(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    assert apply(calls, NOON + 2 * CHECK - SECOND, ("it", "high", 80)) == 0
    assert len(alerts(calls)) == 1


@pytest.mark.session("SET lock_timeout")
def test_evaluations_that_come_at_once_wait_for_each_other(calls: Calls, new_session: NewSession) -> None:
    first, second = new_session(), new_session()
    first.ask("BEGIN")
    apply(first, NOON, ("it", "high", 80))

    second.ask("SET lock_timeout = '50ms'")
    with pytest.raises(Exception, match="lock timeout"):
        apply(second, NOON, ("it", "high", 80))
    first.ask("COMMIT")

    assert apply(second, NOON, ("it", "high", 80)) == 0
    assert len(alerts(calls)) == 1


# The end of an alert --------------------------------------------------------------------------------------------------


def test_the_end_of_a_failure_rate_says_how_many_tasks_were_not_repeated(calls: Calls) -> None:
    calls.run_tasks(7, status="failed", prefix="f")
    calls("check_processing_performance_alerts", NOON)
    for minutes in (60, 65):
        calls("check_processing_performance_alerts", NOON + minutes * MINUTE)

    ended = ended_transition(calls)
    assert ended["summary"] == "too few tasks in the last hour to judge"
    assert isinstance(ended["evidence"], dict)
    assert ended["evidence"]["left"] == "7 failed tasks were not repeated"


def test_the_end_of_an_error_rate_says_how_many_tasks_were_hit(calls: Calls) -> None:
    calls.record_errors(30, "it")
    calls("check_error_rate_alerts", NOON)
    for minutes in (60, 65):
        calls("check_error_rate_alerts", NOON + minutes * MINUTE)

    evidence = ended_transition(calls)["evidence"]
    assert isinstance(evidence, dict)
    assert evidence["left"] == "30 tasks with errors were not repeated"


@pytest.mark.parametrize(("pending", "left"), [(1, "1 task still waits"), (30, "30 tasks still wait"), (0, None)])
def test_the_end_of_a_backlog_says_what_still_waits(calls: Calls, pending: int, left: str | None) -> None:
    calls("update_queue_metrics", "mail", 600, p_at=NOON)
    calls("check_queue_backlog_alerts", NOON)
    calls("update_queue_metrics", "mail", pending, p_at=NOON + MINUTE)
    for minutes in (5, 10):
        calls("check_queue_backlog_alerts", NOON + minutes * MINUTE)

    evidence = ended_transition(calls)["evidence"]
    assert isinstance(evidence, dict)
    assert evidence.get("left") == left


def test_the_end_is_told_with_how_long_it_lasted_and_how_bad_it_was(calls: Calls) -> None:
    calls.configure(channels=[channel(notify_on=["resolved"])])
    apply(calls, NOON, ("it", "critical", 150))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    message = claimed(calls)
    assert (message["kind"], message["peak_severity"], message["peak_summary"]) == (
        "resolved",
        "critical",
        "150 errors (limit 1)",
    )
    assert datetime.fromisoformat(message["at"]) - datetime.fromisoformat(message["opened_at"]) == 2 * CHECK
