"""Who is told of what: channels, people who act, reminders, silences."""

from __future__ import annotations

import pytest

from tests.integration.sql.alerting import CHECK, alerts, apply, deliveries, ended_transition, kinds, silence, the_alert
from tests.integration.sql.outbox import claim
from tests.support.calls import DAY, HOUR, MINUTE, NOON, Calls, channel

# Channels -------------------------------------------------------------------------------------------------------------


def test_a_channel_hears_what_it_is_for(calls: Calls) -> None:
    channels = [
        channel("all"),
        channel("worst", min_severity="critical"),
        channel("ends", notify_on=["resolved"]),
        channel("two", recipients=["a", "b"], notify_on=["opened"]),
    ]
    calls.configure(channels=channels)
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + MINUTE, ("it", "critical", 150))
    apply(calls, NOON + 2 * MINUTE, ("it", "low", 30))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    heard: dict[str, list[str]] = {}
    for kind, name, _ in deliveries(calls):
        heard.setdefault(name, []).append(kind)
    assert heard == {
        "all": ["opened", "escalated", "eased", "resolved"], "worst": ["escalated", "eased", "resolved"], "ends": ["resolved"], "two": ["opened", "opened"],
    }  # fmt: skip


@pytest.mark.session("LISTEN")
def test_whoever_listens_is_told_at_once_that_there_is_something_to_send(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    calls.ask("LISTEN automon_deliveries")

    apply(calls, NOON, ("it", "high", 80))

    assert [notice.channel for notice in calls.connection.notifies(timeout=5, stop_after=1)] == ["automon_deliveries"]


# Acknowledged, resolved by hand ---------------------------------------------------------------------------------------


def test_an_alert_in_hand_says_whose_since_when_and_why(calls: Calls) -> None:
    apply(calls, NOON, ("it", "critical", 150))

    assert calls("acknowledge_alert", the_alert(calls)["id"], "kim", "looking", NOON + MINUTE) is True

    alert = the_alert(calls)
    assert (alert["acknowledged_at"], alert["acknowledged_by"], alert["acknowledged_note"]) == (
        NOON + MINUTE,
        "kim",
        "looking",
    )
    [row] = calls.ask("SELECT actor, note FROM public.alert_transitions WHERE kind = 'acknowledged'")
    assert row == {"actor": "kim", "note": "looking"}


def test_an_alert_is_taken_in_hand_once(calls: Calls) -> None:
    apply(calls, NOON, ("it", "critical", 150))
    calls("acknowledge_alert", the_alert(calls)["id"], "kim")

    assert calls("acknowledge_alert", the_alert(calls)["id"], "lou") is False
    assert the_alert(calls)["acknowledged_by"] == "kim"


def test_whoever_gives_no_name_is_the_user_of_the_session(calls: Calls) -> None:
    apply(calls, NOON, ("it", "critical", 150))
    calls("acknowledge_alert", the_alert(calls)["id"])

    assert the_alert(calls)["acknowledged_by"] == calls.connection.info.user


def test_an_alert_in_hand_still_escalates_and_ends_and_is_not_reminded_of(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    calls.configure(channels=[channel()])
    calls("acknowledge_alert", the_alert(calls)["id"], "kim", p_at=NOON)
    for hours in range(1, 5):
        apply(calls, NOON + hours * HOUR, ("it", "critical", 150))
    apply(calls, NOON + 5 * HOUR)
    apply(calls, NOON + 6 * HOUR)

    assert kinds(calls) == ["opened", "acknowledged", "escalated", "resolved"]


def test_an_alert_resolved_by_hand_says_by_whom(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))

    assert calls("resolve_alert", the_alert(calls)["id"], "kim", "fixed", NOON + MINUTE) is True
    assert calls("resolve_alert", the_alert(calls)["id"], "lou") is False
    assert calls("acknowledge_alert", the_alert(calls)["id"], "lou") is False

    alert = the_alert(calls)
    assert (alert["resolved_at"], alert["resolved_by"], alert["acknowledged_at"]) == (NOON + MINUTE, "kim", None)
    assert (ended_transition(calls)["actor"], ended_transition(calls)["note"]) == ("kim", "fixed")


def test_an_alert_whose_cause_still_stands_is_opened_again_after_it_was_resolved_by_hand(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    calls("resolve_alert", the_alert(calls)["id"], "kim", p_at=NOON + MINUTE)

    assert apply(calls, NOON + CHECK, ("it", "high", 80)) == 1
    assert len(alerts(calls)) == 2


def test_the_story_of_an_alert_tells_its_transitions_and_their_deliveries(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + MINUTE, ("it", "critical", 150))

    story = calls("get_alert_story", the_alert(calls)["id"])
    assert (story["source"], story["is_silenced"]) == ("it", False)
    assert [(step["kind"], [(told["channel"], told["status"]) for told in step["deliveries"]]) for step in story["transitions"]] == [
        ("opened", [("ops", "pending")]), ("escalated", [("ops", "pending")]),
    ]  # fmt: skip
    assert calls("get_alert_story", 999) is None


# Reminders ------------------------------------------------------------------------------------------------------------


def remind(calls: Calls, severity: str, hours: int) -> list[str]:
    for number in range(12 * hours + 1):
        apply(calls, NOON + number * CHECK, ("it", severity, 150))
    return kinds(calls)


def test_a_critical_alert_is_reminded_of_every_hour(calls: Calls) -> None:
    calls.configure(channels=[channel()])

    assert remind(calls, "critical", 3) == ["opened", "reminded", "reminded", "reminded"]


def test_an_alert_that_is_not_critical_is_not_reminded_of(calls: Calls) -> None:
    calls.configure(channels=[channel()])

    assert remind(calls, "high", 3) == ["opened"]


def test_reminders_can_be_turned_off(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"alerts.remind_after_seconds": 0})

    assert remind(calls, "critical", 3) == ["opened"]


@pytest.mark.parametrize(
    "listening", [[], [channel(notify_on=["opened", "resolved"])]], ids=["no channel", "none for reminders"]
)
def test_nobody_is_reminded_when_no_channel_wants_it(calls: Calls, listening: list[dict[str, object]]) -> None:
    calls.configure(channels=listening)

    assert remind(calls, "critical", 3) == ["opened"]


def test_an_alert_that_is_clearing_is_not_reminded_of(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"alerts.resolve_after_seconds": 86400})
    apply(calls, NOON, ("it", "critical", 150))

    assert apply(calls, NOON + 2 * HOUR) == 0


# Silences -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "alert_type"), [("it", "*"), ("*", "error_rate"), ("it", "error_rate"), ("*", "*")])
def test_a_silenced_alert_is_opened_and_kept_and_nobody_is_told(calls: Calls, source: str, alert_type: str) -> None:
    calls.configure(channels=[channel()])
    silence(calls, 60, source=source, alert_type=alert_type)

    assert apply(calls, NOON, ("it", "high", 80)) == 1
    assert deliveries(calls) == [("opened", "ops", "silenced")]
    assert claim(calls) is None


@pytest.mark.parametrize(("source", "alert_type"), [("other", "*"), ("*", "queue_backlog"), ("it", "queue_backlog")])
def test_a_silence_of_something_else_silences_nothing(calls: Calls, source: str, alert_type: str) -> None:
    calls.configure(channels=[channel()])
    silence(calls, 60, source=source, alert_type=alert_type)
    apply(calls, NOON, ("it", "high", 80))

    assert deliveries(calls) == [("opened", "ops", "pending")]


@pytest.mark.parametrize("notify_on", [["opened"], ["opened", "reminded", "resolved"]], ids=["openings", "everything"])
def test_an_alert_that_still_stands_is_told_once_when_its_silence_has_ended(calls: Calls, notify_on: list[str]) -> None:
    calls.configure(channels=[channel(notify_on=notify_on)])
    silence(calls, 12)
    for number in range(6):
        apply(calls, NOON + number * CHECK, ("it", "high", 80))

    assert deliveries(calls) == [("opened", "ops", "silenced"), ("opened", "ops", "pending")]


def test_a_silence_that_is_ended_early_tells_early(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    number = silence(calls, 60)
    apply(calls, NOON, ("it", "high", 80))

    assert calls("end_silence", number, NOON + MINUTE) is True
    assert calls("end_silence", number, NOON + 2 * MINUTE) is False
    assert apply(calls, NOON + CHECK, ("it", "high", 80)) == 1


def test_an_alert_that_began_and_ended_in_silence_is_never_told(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    silence(calls, 7)
    apply(calls, NOON, ("it", "high", 80))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    assert deliveries(calls) == [("opened", "ops", "silenced"), ("resolved", "ops", "silenced")]


def test_the_end_of_an_alert_that_was_told_is_told(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    apply(calls, NOON, ("it", "high", 80))
    silence(calls, 1, at=NOON + MINUTE)
    apply(calls, NOON + MINUTE, ("it", "critical", 150))
    apply(calls, NOON + CHECK)
    apply(calls, NOON + 2 * CHECK)

    assert deliveries(calls) == [
        ("opened", "ops", "pending"),
        ("escalated", "ops", "silenced"),
        ("resolved", "ops", "pending"),
    ]


def test_the_view_of_open_alerts_shows_who_has_what_and_what_is_silenced(calls: Calls) -> None:
    now = calls.one("SELECT now()")
    apply(calls, now, ("a", "low", 1), ("b", "critical", 9), ("c", "high", 5))
    numbers = {row["source"]: row["id"] for row in alerts(calls)}
    calls("acknowledge_alert", numbers["a"], "kim", "looking")
    silence(calls, 60, at=now, source="c")

    rows = calls.ask("SELECT source, severity, status, acknowledged_by, silenced_until FROM public.v_active_alerts")
    assert [tuple(row.values()) for row in rows] == [
        ("b", "critical", "open", None, None), ("c", "high", "silenced", None, now + HOUR), ("a", "low", "acknowledged", "kim", None),
    ]  # fmt: skip


def test_a_resolved_alert_is_not_among_the_open_ones(calls: Calls) -> None:
    apply(calls, NOON - DAY, ("it", "high", 80))
    calls("resolve_alert", the_alert(calls)["id"], "kim")

    assert calls.ask("SELECT * FROM public.v_active_alerts") == []
