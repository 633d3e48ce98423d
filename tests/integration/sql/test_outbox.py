"""The outbox: every message is claimed by one sender at a time, in the order of its alert, and accounted for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.integration.sql.alerting import apply, deliveries
from tests.integration.sql.conftest import NewSession
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls, channel

LEASE = 2 * MINUTE


@pytest.fixture
def told(calls: Calls) -> Calls:
    """A session on a database with one channel."""
    calls.configure(channels=[channel()])
    return calls


def claim(
    calls: Calls, holder: str = "me", *, lease: timedelta = LEASE, limit: int = 10, name: str = "ops"
) -> list[dict[str, Any]]:
    return [row["claim_deliveries"] for row in calls.rows("claim_deliveries", name, holder, lease, limit)]


def finish_sent(calls: Calls, delivery_id: int, holder: str = "me") -> bool:
    return bool(calls("finish_delivery_attempt", delivery_id, holder, "sent", 0.2, "ok"))


def finish_failed(calls: Calls, delivery_id: int, holder: str = "me", **named: object) -> bool:
    return bool(
        calls("finish_delivery_attempt", delivery_id, holder, "failed", 0.2, "HTTP 503", "unavailable", **named)
    )


def delivery(calls: Calls) -> dict[str, Any]:
    [row] = calls.ask("SELECT * FROM public.alert_deliveries")
    return row


def attempts(calls: Calls) -> list[tuple[Any, ...]]:
    return [
        tuple(row.values())
        for row in calls.ask("SELECT attempt, outcome, reason, detail FROM public.delivery_attempts ORDER BY id")
    ]


def test_a_claimed_message_says_all_that_a_message_may_say(told: Calls) -> None:
    apply(told, NOON, ("other", "critical", 150))
    apply(told, NOON + SECOND, ("it", "high", 80), ("other", "critical", 150))

    [_, message] = claim(told)

    assert {key: message[key] for key in ("channel", "recipient", "attempt", "uncertain", "kind", "alert_type", "source", "severity", "previous_severity")} == {
        "channel": "ops", "recipient": "", "attempt": 1, "uncertain": False, "kind": "opened", "alert_type": "error_rate", "source": "it", "severity": "high",
        "previous_severity": None,
    }  # fmt: skip
    assert (message["summary"], message["value"], message["threshold"], message["unit"]) == (
        "80 errors (limit 1)",
        80,
        1,
        "errors/h",
    )
    assert [(also["source"], also["severity"]) for also in message["also_open"]] == [("other", "critical")]


def test_what_one_sender_holds_another_does_not_get(told: Calls, new_session: NewSession) -> None:
    apply(told, NOON, *((f"s{number}", "high", 80.0) for number in range(6)))

    first, second, third = claim(told, "a", limit=4), claim(new_session(), "b", limit=4), claim(told, "c")

    assert ([row["source"] for row in first], [row["source"] for row in second], third) == (
        ["s0", "s1", "s2", "s3"],
        ["s4", "s5"],
        [],
    )


def test_two_senders_that_claim_at_the_same_moment_get_different_messages(told: Calls, new_session: NewSession) -> None:
    first, second = new_session(), new_session()
    apply(told, NOON, *((f"s{number}", "high", 80.0) for number in range(6)))
    first.ask("BEGIN")
    second.ask("BEGIN")

    claimed = [
        {row["source"] for row in claim(session, holder, limit=3)} for session, holder in [(first, "a"), (second, "b")]
    ]
    first.ask("COMMIT")
    second.ask("COMMIT")

    assert (len(claimed[0]), len(claimed[1]), claimed[0] & claimed[1]) == (3, 3, set())


def test_what_happened_to_one_alert_is_told_in_its_order(told: Calls, new_session: NewSession) -> None:
    apply(told, NOON, ("it", "high", 80))
    apply(told, NOON + MINUTE, ("it", "critical", 150))

    [opened] = claim(told)
    assert (opened["kind"], claim(new_session(), "another")) == ("opened", [])
    finish_failed(told, opened["delivery_id"], p_retry_after=HOUR)
    assert claim(told) == []
    told.ask("UPDATE public.alert_deliveries SET next_attempt_at = now()")
    [opened] = claim(told)
    finish_sent(told, opened["delivery_id"])

    assert [row["kind"] for row in claim(told)] == ["escalated"]


def test_a_message_that_is_held_back_holds_back_neither_other_alerts_nor_other_recipients(calls: Calls) -> None:
    calls.configure(channels=[channel(recipients=["a", "b"])])
    apply(calls, NOON, ("it", "high", 80))
    [to_a] = claim(calls, limit=1)
    finish_failed(calls, to_a["delivery_id"], p_retry_after=HOUR)
    apply(calls, NOON + MINUTE, ("it", "critical", 150), ("other", "low", 30))

    assert [(row["source"], row["recipient"], row["kind"]) for row in claim(calls)] == [
        ("it", "b", "opened"),
        ("other", "a", "opened"),
        ("other", "b", "opened"),
    ]


def test_a_sent_message_is_done(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [message] = claim(told)

    assert finish_sent(told, message["delivery_id"]) is True

    row = delivery(told)
    assert (row["status"], row["attempts"], row["last_error"], row["lease_until"], row["claimed_by"]) == (
        "sent",
        1,
        None,
        None,
        None,
    )
    assert row["finished_at"] is not None
    assert attempts(told) == [(1, "sent", None, "ok")]
    assert claim(told) == []


def test_a_failed_message_is_tried_again_when_it_is_time(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [message] = claim(told)

    assert finish_failed(told, message["delivery_id"], p_retry_after=HOUR) is True
    assert (delivery(told)["status"], delivery(told)["last_error"], claim(told)) == (
        "pending",
        "unavailable: HTTP 503",
        [],
    )

    told.ask("UPDATE public.alert_deliveries SET next_attempt_at = now()")
    [again] = claim(told)
    assert (again["attempt"], again["uncertain"], again["first_attempt_at"]) == (2, False, message["first_attempt_at"])
    finish_sent(told, again["delivery_id"])
    assert (delivery(told)["last_error"], attempts(told)) == (
        None,
        [(1, "failed", "unavailable", "HTTP 503"), (2, "sent", None, "ok")],
    )


def test_an_attempt_that_may_have_arrived_makes_the_next_one_uncertain(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [message] = claim(told)
    finish_failed(told, message["delivery_id"], p_uncertain=True, p_retry_after=timedelta(0))

    assert [row["uncertain"] for row in claim(told)] == [True]


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_message_that_is_given_up_says_why(told: Calls, status: str) -> None:
    apply(told, NOON, ("it", "high", 80))
    [message] = claim(told)

    assert finish_failed(told, message["delivery_id"], p_final_status=status) is True
    assert (delivery(told)["status"], delivery(told)["last_error"], claim(told)) == (
        status,
        "unavailable: HTTP 503",
        [],
    )


def test_a_claim_whose_lease_ran_out_is_claimed_again_as_uncertain(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [first] = claim(told, "killed", lease=timedelta(0))

    [second] = claim(told, "another")

    assert (first["uncertain"], second["uncertain"], second["attempt"]) == (False, True, 2)


def test_a_sender_that_lost_its_lease_does_not_decide_and_leaves_its_trace(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [lost] = claim(told, "slow", lease=timedelta(0))
    claim(told, "another")

    assert finish_sent(told, lost["delivery_id"], "slow") is False

    assert (delivery(told)["status"], delivery(told)["claimed_by"]) == ("sending", "another")
    assert [outcome for _, outcome, _, _ in attempts(told)] == ["sent"]


def test_an_attempt_is_finished_once(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    [message] = claim(told)
    finish_sent(told, message["delivery_id"])

    assert finish_failed(told, message["delivery_id"]) is False
    assert delivery(told)["status"] == "sent"


def test_a_sender_sleeps_until_there_is_something_to_do(told: Calls) -> None:
    def pause() -> timedelta | None:
        value = told("next_delivery_in", "ops")
        assert value is None or isinstance(value, timedelta)
        return value

    assert pause() is None
    apply(told, NOON, ("it", "high", 80))
    assert pause() == timedelta(0)
    [message] = claim(told)
    held = pause()
    assert held is not None
    assert MINUTE < held <= LEASE
    finish_failed(told, message["delivery_id"], p_retry_after=HOUR)
    apply(told, NOON + MINUTE, ("it", "critical", 150))  # waits behind the first
    waiting = pause()
    assert waiting is not None
    assert 59 * MINUTE < waiting <= HOUR
    assert told("next_delivery_in", "another") is None


def test_messages_of_a_channel_that_is_removed_from_the_config_say_so(calls: Calls) -> None:
    calls.configure(channels=[channel("gone"), channel("kept", recipients=["a", "b"])])
    apply(calls, NOON, ("it", "high", 80))
    claim(calls, name="gone")

    calls.configure(channels=[channel("kept", recipients=["b"])])

    rows = calls.ask("SELECT channel, recipient, status, last_error FROM public.alert_deliveries ORDER BY 1, 2")
    said = "the channel or the recipient is no longer in the config"
    assert [tuple(row.values()) for row in rows] == [
        ("gone", "", "failed", said),
        ("kept", "a", "failed", said),
        ("kept", "b", "pending", None),
    ]


def test_alerts_that_were_raised_while_there_was_no_channel_are_told_when_there_is_one(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80), ("small", "low", 30))

    calls.configure(channels=[channel(min_severity="medium")])
    calls.configure(channels=[channel(min_severity="medium")])

    assert deliveries(calls) == [("opened", "ops", "pending")]
    assert [row["source"] for row in claim(calls)] == ["it"]


def test_an_alert_that_was_told_when_its_channel_came_is_not_reminded_of_at_once(calls: Calls) -> None:
    now = calls.one("SELECT now()")
    apply(calls, now - 3 * HOUR, ("it", "critical", 150))
    calls.configure(channels=[channel()])

    assert apply(calls, now + MINUTE, ("it", "critical", 150)) == 0


def test_an_alert_that_is_silenced_when_its_channel_comes_is_not_told_yet(calls: Calls) -> None:
    now = calls.one("SELECT now()")
    apply(calls, now - HOUR, ("it", "critical", 150))
    calls.ask("SELECT public.silence_alerts('it', interval '1 hour')")
    calls.configure(channels=[channel()])

    assert deliveries(calls) == [("opened", "ops", "silenced")]


def test_resolved_alerts_are_not_told_to_a_channel_that_comes_later(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80))
    calls("resolve_alert", calls.one("SELECT id FROM public.alerts"), "kim")

    calls.configure(channels=[channel()])

    assert deliveries(calls) == []


def test_the_summary_shows_each_channel_and_what_waits(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80), ("other", "high", 80))
    [message] = claim(told, limit=1)
    finish_failed(told, message["delivery_id"])

    [shown] = told("get_dashboard_summary")["automon"]["channels"]
    assert (shown["name"], shown["recipients"], shown["waiting"], shown["failed_24h"], shown["last_error"]) == (
        "ops",
        1,
        1,
        1,
        "unavailable: HTTP 503",
    )
