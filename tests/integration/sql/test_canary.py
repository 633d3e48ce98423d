"""Canaries: messages that somebody asked for, sent on the way that alerts take."""

from __future__ import annotations

import pytest

from tests.integration.sql.outbox import (
    OVERDUE,
    attempts,
    claim,
    claimed,
    claims,
    delivery,
    fail_next,
    finish_sent,
    let_pass,
    open_alerts,
    send_all,
    stop,
)
from tests.support.calls import JOURNAL, MINUTE, SECOND, Calls, channel


@pytest.fixture
def told(calls: Calls) -> Calls:
    """A session on a database with two channels, one of which has two recipients, and the journal."""
    calls.configure(channels=[channel("mail", recipients=["a", "b"], min_severity="critical"), channel("ops"), JOURNAL])
    return calls


def ask(calls: Calls, by: str | None = "kim", name: str | None = None) -> list[int]:
    return [row["send_canary"] for row in calls.rows("send_canary", by, name)]


def receivers(calls: Calls) -> list[tuple[str, str]]:
    rows = calls.ask("SELECT channel, recipient FROM public.v_deliveries ORDER BY id")
    return [(row["channel"], row["recipient"]) for row in rows]


def test_a_canary_goes_to_every_recipient_of_every_channel_but_the_journal(told: Calls) -> None:
    numbers = ask(told)

    assert receivers(told) == [("mail", "a"), ("mail", "b"), ("ops", "")]
    assert [row["id"] for row in told.ask("SELECT id FROM public.alert_deliveries ORDER BY id")] == numbers


@pytest.mark.parametrize(("name", "expected"), [("mail", [("mail", "a"), ("mail", "b")]), ("journal", [("journal", "")])])  # fmt: skip
def test_a_canary_goes_to_the_channel_that_is_named(told: Calls, name: str, expected: list[tuple[str, str]]) -> None:
    ask(told, name=name)

    assert receivers(told) == expected


def test_without_channels_there_is_no_canary(calls: Calls) -> None:
    assert ask(calls) == []


def test_a_canary_says_who_asked_for_it_and_when(told: Calls) -> None:
    [number] = ask(told, name="ops")

    message = claimed(told)

    assert {key: message[key] for key in ("subject", "delivery_id", "channel", "recipient", "asked_by", "attempt", "uncertain")} == {
        "subject": "canary", "delivery_id": number, "channel": "ops", "recipient": "", "asked_by": "kim", "attempt": 1, "uncertain": False,
    }  # fmt: skip
    assert message["at"] == message["created_at"]


@pytest.mark.parametrize("by", [None, ""])
def test_a_canary_that_nobody_signs_is_of_the_sessions_user(told: Calls, by: str | None) -> None:
    ask(told, by, "ops")

    assert claimed(told)["asked_by"] == told.connection.info.user


@pytest.mark.session("LISTEN")
def test_whoever_sends_is_told_at_once_that_there_is_a_canary(told: Calls) -> None:
    told.ask("LISTEN automon_deliveries")
    ask(told)

    assert len(list(told.connection.notifies(timeout=5, stop_after=1))) == 1


def test_a_canary_leaves_a_receipt(told: Calls) -> None:
    ask(told, name="ops")
    send_all(told)

    [row] = told.rows("get_deliveries", "ops")
    shown = row["get_deliveries"]
    assert (shown["subject"], shown["summary"], shown["status"], shown["attempts"], shown["why"]) == (
        "canary",
        "canary for kim",
        "sent",
        1,
        None,
    )
    assert 0 <= shown["latency_seconds"] < 60
    assert attempts(told) == [(1, "sent", None, "ok")]


def test_a_canary_flies_before_a_crowd_of_alerts_and_is_never_grouped(told: Calls) -> None:
    open_alerts(told, *"abcdefghij")
    ask(told, name="ops")

    messages = send_all(told)
    assert (messages[0]["subject"], len(messages)) == ("canary", 6)


def test_canaries_do_not_count_as_told_just_now(told: Calls) -> None:
    for _ in range(6):
        ask(told, name="ops")
    assert len(send_all(told)) == 6
    open_alerts(told, *"abcde")

    assert [message["source"] for message in send_all(told)] == ["s0", "s1", "s2", "s3", "s4"]


def test_a_canary_is_tried_again_like_any_message(told: Calls) -> None:
    ask(told, name="ops")
    fail_next(told, p_retry_after=OVERDUE)

    assert claimed(told)["attempt"] == 2


@pytest.mark.parametrize("tried", [True, False], ids=["failed", "never tried"])
def test_a_canary_that_has_not_arrived_after_five_minutes_is_no_longer_tried(told: Calls, tried: bool) -> None:
    ask(told, name="ops")
    if tried:
        fail_next(told, p_retry_after=OVERDUE)
    let_pass(told, 5 * MINUTE - SECOND)
    assert told("tend_deliveries")["expired"] == 0
    let_pass(told, SECOND)

    assert told("tend_deliveries") == {"expired": 1, "handed_on": 0}

    expected = "unreachable: HTTP 503" if tried else "not delivered in time"
    assert (delivery(told)["status"], delivery(told)["last_error"], claim(told)) == ("expired", expected, None)


def test_a_canary_on_a_stopped_channel_shows_why_it_does_not_arrive(told: Calls) -> None:
    ask(told, name="ops")
    stop(told)
    [number] = ask(told, name="ops")

    [shown] = told.rows("get_deliveries", p_ids=[number])
    assert (shown["get_deliveries"]["status"], shown["get_deliveries"]["why"]) == (
        "pending",
        "the channel is stopped: bad_credentials: HTTP 503",
    )


def test_no_fallback_speaks_for_a_canary(told: Calls) -> None:
    ask(told, name="ops")
    message = fail_next(told, p_final_status="failed")
    ask(told, name="ops")
    stop(told)

    assert [row["subject"] for row in claims(told, name="journal")] == []
    assert finish_sent(told, message["delivery_id"]) is False
