"""The outbox: every message is claimed by one sender at a time, in the order of its alert, and accounted for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.integration.sql.alerting import apply, deliveries
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import (
    LEASE,
    OVERDUE,
    attempts,
    claim,
    claimed,
    claims,
    delivery,
    end_service,
    fail_next,
    finish_failed,
    finish_sent,
    let_pass,
    send_all,
)
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls, channel


def pause(calls: Calls) -> timedelta | None:
    value = calls("next_delivery_in", "ops")
    assert value is None or isinstance(value, timedelta)
    return value


@pytest.fixture
def told(calls: Calls) -> Calls:
    """A session on a database with one channel."""
    calls.configure(channels=[channel()])
    return calls


def test_a_claimed_message_says_all_that_a_message_may_say(told: Calls) -> None:
    apply(told, NOON, ("other", "critical", 150))
    apply(told, NOON + SECOND, ("it", "high", 80), ("other", "critical", 150))

    [_, message] = claims(told)

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
    apply(told, NOON, *((f"s{number}", "high", 80.0) for number in range(3)))

    first, second = claimed(told, "a"), claims(new_session(), "b")

    assert (first["source"], [row["source"] for row in second], claim(told, "c")) == ("s0", ["s1", "s2"], None)


def test_two_senders_that_claim_at_the_same_moment_get_different_messages(told: Calls, new_session: NewSession) -> None:
    first, second = new_session(), new_session()
    apply(told, NOON, *((f"s{number}", "high", 80.0) for number in range(3)))
    first.ask("BEGIN")
    second.ask("BEGIN")

    # The channel is held while one chooses; whoever comes meanwhile comes back later.
    mine, theirs = claimed(first, "a"), claim(second, "b")
    first.ask("COMMIT")
    second.ask("COMMIT")

    assert theirs is None
    assert claimed(second, "b")["delivery_id"] != mine["delivery_id"]


def test_eight_senders_that_claim_as_fast_as_they_can_send_each_message_once(
    calls: Calls, new_session: NewSession
) -> None:
    generous = {"delivery.messages_per_cause": 1000, "delivery.messages_at_once": 1000}
    calls.configure(channels=[channel("a"), channel("b")], settings=generous)
    apply(calls, NOON, *((f"s{number}", "high", 80.0) for number in range(60)))
    apply(calls, NOON + MINUTE, *((f"s{number}", "critical", 150.0) for number in range(60)))
    senders = [(new_session(), f"sender-{number}", "ab"[number % 2]) for number in range(8)]

    def send_until_nothing_waits(sender: tuple[Calls, str, str]) -> list[tuple[str, str, str]]:
        session, holder, name = sender
        sent: list[tuple[str, str, str]] = []
        while session("next_delivery_in", name) is not None:
            sent += [(row["channel"], row["source"], row["kind"]) for row in send_all(session, holder, name=name)]
        return sent

    with ThreadPoolExecutor(len(senders)) as pool:
        sent = [message for messages in pool.map(send_until_nothing_waits, senders) for message in messages]

    expected = [(name, f"s{number}", kind) for name in "ab" for number in range(60) for kind in ("opened", "escalated")]
    assert sorted(sent) == sorted(expected)
    assert {attempt[:2] for attempt in attempts(calls)} == {(1, "sent")}


def test_what_happened_to_one_alert_is_told_in_its_order(told: Calls, new_session: NewSession) -> None:
    apply(told, NOON, ("it", "high", 80))
    apply(told, NOON + MINUTE, ("it", "critical", 150))

    opened = claimed(told)
    assert (opened["kind"], claim(new_session(), "another")) == ("opened", None)
    finish_failed(told, opened["delivery_id"], p_retry_after=HOUR)
    assert claim(told) is None
    let_pass(told, HOUR)
    opened = claimed(told)
    finish_sent(told, opened["delivery_id"])

    assert [row["kind"] for row in claims(told)] == ["escalated"]


def test_a_message_that_is_held_back_holds_back_neither_other_alerts_nor_other_recipients(calls: Calls) -> None:
    calls.configure(channels=[channel(recipients=["a", "b"])])
    apply(calls, NOON, ("it", "high", 80))
    to_a = claimed(calls)
    finish_failed(calls, to_a["delivery_id"], p_retry_after=HOUR)
    apply(calls, NOON + MINUTE, ("it", "critical", 150), ("other", "low", 30))

    assert {(row["source"], row["recipient"], row["kind"]) for row in claims(calls)} == {
        ("it", "b", "opened"),
        ("other", "a", "opened"),
        ("other", "b", "opened"),
    }


def test_a_sent_message_is_done(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    message = claimed(told)

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
    assert claim(told) is None


def test_a_failed_message_is_tried_again_when_it_is_time(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    message = claimed(told)

    assert finish_failed(told, message["delivery_id"], p_retry_after=HOUR) is True
    assert (delivery(told)["status"], delivery(told)["last_error"], claim(told)) == (
        "pending",
        "unreachable: HTTP 503",
        None,
    )

    told.ask("UPDATE public.alert_deliveries SET next_attempt_at = now()")
    again = claimed(told)
    assert (again["attempt"], again["uncertain"], again["first_attempt_at"]) == (2, False, message["first_attempt_at"])
    finish_sent(told, again["delivery_id"])
    assert (delivery(told)["last_error"], attempts(told)) == (
        None,
        [(1, "failed", "unreachable", "HTTP 503"), (2, "sent", None, "ok")],
    )


def test_an_attempt_that_may_have_arrived_makes_the_next_one_uncertain(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    fail_next(told, outcome="unknown", reason="timed_out", p_retry_after=OVERDUE)

    assert [row["uncertain"] for row in claims(told)] == [True]
    assert attempts(told) == [(1, "unknown", "timed_out", "HTTP 503")]


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_message_that_is_given_up_says_why(told: Calls, status: str) -> None:
    apply(told, NOON, ("it", "high", 80))
    message = claimed(told)

    assert finish_failed(told, message["delivery_id"], p_final_status=status) is True
    assert (delivery(told)["status"], delivery(told)["last_error"], claim(told)) == (
        status,
        "unreachable: HTTP 503",
        None,
    )


def test_a_claim_whose_lease_ran_out_is_claimed_again_as_uncertain(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    first = claimed(told, "killed", lease=timedelta(0))

    second = claimed(told, "another")

    assert (second["delivery_id"], second["attempt"], second["uncertain"]) == (first["delivery_id"], 2, True)
    assert attempts(told) == [(1, "unknown", "abandoned", "its sender ended before it could say how it went")]


@pytest.mark.parametrize("ends", [end_service, lambda calls, holder: calls("leave", holder)], ids=["killed", "stopped"])
def test_what_a_service_held_that_is_gone_is_claimed_at_once(told: Calls, ends: Callable[[Calls, str], object]) -> None:
    apply(told, NOON, ("it", "high", 80))
    told("beat", "gone")
    claimed(told, "gone", lease=HOUR)
    assert claim(told, "another") is None

    ends(told, "gone")

    assert claimed(told, "another")["uncertain"] is True
    [row] = told.ask("SELECT instance, outcome FROM public.delivery_attempts")
    assert row == {"instance": "gone", "outcome": "unknown"}


def test_what_a_service_holds_that_lives_stays_with_it(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    told("beat", "here")
    claimed(told, "here", lease=HOUR)

    assert claim(told, "another") is None


def test_a_sender_that_lost_its_lease_does_not_decide_and_leaves_its_trace(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    lost = claimed(told, "slow", lease=timedelta(0))
    claimed(told, "another")

    assert finish_sent(told, lost["delivery_id"], "slow") is False

    assert (delivery(told)["status"], delivery(told)["claimed_by"]) == ("sending", "another")
    assert [attempt[:3] for attempt in attempts(told)] == [(1, "unknown", "abandoned"), (1, "sent", None)]


def test_a_sender_that_lost_its_lease_says_nothing_about_the_channel(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    lost = claimed(told, "slow", lease=timedelta(0))
    claimed(told, "another")

    assert finish_failed(told, lost["delivery_id"], "slow", p_stops_channel=True) is False

    assert told.one("SELECT stopped_at FROM public.notification_channels") is None


def test_a_sender_that_was_taken_for_dead_and_has_sent_is_believed_until_another_begins(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    slow = claimed(told, "slow", lease=timedelta(0))
    told("tend_deliveries")
    assert delivery(told)["status"] == "pending"

    assert finish_sent(told, slow["delivery_id"], "slow") is True

    assert (delivery(told)["status"], claim(told, "another")) == ("sent", None)


def test_a_sender_that_was_taken_for_dead_and_has_failed_changes_nothing(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    slow = claimed(told, "slow", lease=timedelta(0))
    told("tend_deliveries")

    assert finish_failed(told, slow["delivery_id"], "slow", p_final_status="failed") is False

    assert (delivery(told)["status"], delivery(told)["uncertain"]) == ("pending", True)


def test_an_attempt_is_finished_once(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    message = claimed(told)
    finish_sent(told, message["delivery_id"])

    assert finish_failed(told, message["delivery_id"]) is False
    assert delivery(told)["status"] == "sent"


def test_the_end_of_a_delivery_that_is_gone_is_no_mistake(told: Calls) -> None:
    assert finish_sent(told, 999) is False


def test_a_sender_sleeps_until_there_is_something_to_do(told: Calls) -> None:
    assert pause(told) is None
    apply(told, NOON, ("it", "high", 80))
    assert pause(told) == timedelta(0)
    message = claimed(told)
    held = pause(told)
    assert held is not None
    assert MINUTE < held <= LEASE
    finish_failed(told, message["delivery_id"], p_retry_after=HOUR)
    apply(told, NOON + MINUTE, ("it", "critical", 150))  # waits behind the first
    waiting = pause(told)
    assert waiting is not None
    assert 59 * MINUTE < waiting <= HOUR
    assert told("next_delivery_in", "another") is None


def test_a_sender_leaves_the_pace_of_its_channel_between_two_messages(told: Calls, new_session: NewSession) -> None:
    apply(told, NOON, ("a", "high", 80), ("b", "high", 80))
    finish_sent(told, claimed(told, "one", pace=HOUR)["delivery_id"], "one")

    assert claim(new_session(), "two", pace=HOUR) is None
    resting = pause(told)
    assert resting is not None
    assert 59 * MINUTE < resting <= HOUR
    let_pass(told, HOUR)
    assert claimed(told, "two", pace=HOUR)["source"] == "b"


def test_a_clock_that_was_put_back_makes_nothing_wait_longer_than_it_was_to(told: Calls) -> None:
    apply(told, NOON, ("a", "high", 80))
    fail_next(told, p_retry_after=MINUTE, p_channel_pause=MINUTE)
    assert claim(told) is None

    let_pass(told, -2 * HOUR)

    assert pause(told) == timedelta(0)
    assert claimed(told)["attempt"] == 2


def test_messages_of_a_channel_that_is_removed_from_the_config_say_so(calls: Calls) -> None:
    calls.configure(channels=[channel("gone"), channel("kept", recipients=["a", "b"])])
    apply(calls, NOON, ("it", "high", 80))

    calls.configure(channels=[channel("kept", recipients=["b"])])

    rows = calls.ask("SELECT channel, recipient, status, last_error FROM public.alert_deliveries ORDER BY 1, 2")
    said = "the channel or the recipient is no longer in the config"
    assert [tuple(row.values()) for row in rows] == [
        ("gone", "", "failed", said),
        ("kept", "a", "failed", said),
        ("kept", "b", "pending", None),
    ]


@pytest.mark.parametrize("ending", ["sent", "pending", "lost"])
def test_what_is_being_sent_when_its_channel_is_removed_is_finished_first(calls: Calls, ending: str) -> None:
    calls.configure(channels=[channel("gone")])
    apply(calls, NOON, ("it", "high", 80))
    message = claimed(calls, name="gone")

    calls.configure()
    assert delivery(calls)["status"] == "sending"

    if ending == "sent":
        assert finish_sent(calls, message["delivery_id"]) is True
    elif ending == "pending":
        assert finish_failed(calls, message["delivery_id"], p_retry_after=HOUR, p_channel_pause=HOUR) is True
    else:
        let_pass(calls, LEASE)
    calls("tend_deliveries")
    assert (delivery(calls)["status"], len(attempts(calls))) == ("sent" if ending == "sent" else "failed", 1)


def test_alerts_that_were_raised_while_there_was_no_channel_are_told_when_there_is_one(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 80), ("small", "low", 30))

    calls.configure(channels=[channel(min_severity="medium")])
    calls.configure(channels=[channel(min_severity="medium")])

    assert deliveries(calls) == [("opened", "ops", "pending")]
    assert [row["source"] for row in claims(calls)] == ["it"]


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
    fail_next(told, p_final_status="failed", p_channel_pause=HOUR)

    [shown] = told("get_dashboard_summary")["automon"]["channels"]
    assert (shown["name"], shown["recipients"], shown["state"], shown["waiting"], shown["failed_24h"], shown["expired_24h"], shown["last_error"]) == (
        "ops", 1, "failing", 1, 1, 0, "unreachable: HTTP 503",
    )  # fmt: skip
