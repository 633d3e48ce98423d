"""v_deliveries: what became of every message, and why it has not arrived."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.sql.alerting import apply, silence
from tests.integration.sql.outbox import (
    OVERDUE,
    claim,
    claimed,
    fail_next,
    finish_sent,
    let_pass,
    open_alerts,
    send_all,
    stop,
)
from tests.support.calls import HOUR, JOURNAL, MINUTE, NOON, SECOND, Calls, Row, channel


@pytest.fixture
def told(calls: Calls) -> Calls:
    """A session on a database with one channel and the journal."""
    calls.configure(channels=[channel(), JOURNAL])
    return calls


def view(calls: Calls) -> list[Row]:
    return calls.ask("SELECT * FROM public.v_deliveries")


def newest(calls: Calls) -> Row:
    return view(calls)[0]


def found(calls: Calls, **named: Any) -> list[int]:
    return [row["get_deliveries"]["id"] for row in calls.rows("get_deliveries", **named)]


def test_a_message_shows_to_whom_and_about_what_it_is(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))

    row = newest(told)
    names = ("channel", "recipient", "subject", "alert_type", "source", "kind", "severity", "summary", "status", "attempts", "may_be_repeat", "why")  # fmt: skip
    assert {name: row[name] for name in names} == {
        "channel": "ops", "recipient": "", "subject": "transition", "alert_type": "error_rate", "source": "it", "kind": "opened", "severity": "high",
        "summary": "80 errors (limit 1)", "status": "pending", "attempts": 0, "may_be_repeat": False, "why": None,
    }  # fmt: skip
    assert [row[name] for name in ("digest_id", "instead_of", "first_attempt_at", "finished_at", "latency_seconds", "handed_on_at")] == [None] * 6  # fmt: skip


def test_a_sent_message_shows_how_long_it_took(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    let_pass(told, 10 * SECOND)
    send_all(told)

    row = newest(told)
    assert (row["status"], row["attempts"], 10 <= row["latency_seconds"] < 40) == ("sent", 1, True)
    assert row["finished_at"] >= row["first_attempt_at"]


def test_a_message_that_waits_for_its_next_attempt_shows_why(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    fail_next(told, outcome="unknown", reason="timed_out", p_retry_after=HOUR)

    row = newest(told)
    assert (row["status"], row["attempts"], row["may_be_repeat"], row["why"]) == ("pending", 1, True, "timed_out: HTTP 503")  # fmt: skip


def test_a_message_that_was_abandoned_shows_it(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    claimed(told, lease=OVERDUE)
    told("tend_deliveries")

    assert (newest(told)["status"], newest(told)["why"]) == ("pending", "abandoned")


def test_a_message_of_a_stopped_channel_shows_what_stopped_it(told: Calls) -> None:
    open_alerts(told, "a", "b")
    stop(told)

    why = {row["source"]: row["why"] for row in view(told) if row["channel"] == "ops"}
    assert why == {"s0": "bad_credentials: HTTP 503", "s1": "the channel is stopped: bad_credentials: HTTP 503"}


def test_a_message_that_was_handed_on_shows_when_and_the_other_instead_of_whom(told: Calls) -> None:
    apply(told, NOON, ("it", "high", 80))
    fail_next(told, p_final_status="failed")

    other, first = view(told)
    assert (first["status"], first["handed_on_at"] is not None, first["why"]) == ("failed", True, "unreachable: HTTP 503")  # fmt: skip
    assert (other["channel"], other["instead_of"], other["status"], other["handed_on_at"]) == ("journal", "ops", "pending", None)  # fmt: skip


def test_a_silenced_message_shows_that_it_was(told: Calls) -> None:
    silence(told, 60)
    apply(told, NOON, ("it", "high", 80))

    assert (newest(told)["status"], newest(told)["latency_seconds"]) == ("silenced", None)


@pytest.mark.parametrize("ending", ["sending", "sent", "pending", "failed"])
def test_a_message_in_a_digest_stands_as_its_digest_does(told: Calls, ending: str) -> None:
    open_alerts(told, *["disk full"] * 4)
    let_pass(told, MINUTE)
    if ending == "sent":
        send_all(told)
    elif ending == "sending":
        claimed(told)
    elif ending == "pending":
        fail_next(told, outcome="unknown", reason="timed_out", p_retry_after=HOUR)
    else:
        fail_next(told, p_final_status="failed")

    [digest] = [row for row in view(told) if row["subject"] == "digest"]
    members = [row for row in view(told) if row["digest_id"] == digest["id"]]
    assert digest["summary"] == "4 messages as one: disk full"
    assert len(members) == 4
    for name in ("status", "attempts", "first_attempt_at", "finished_at", "may_be_repeat", "why"):
        assert {row[name] for row in members} == {digest[name]}
    assert {row["summary"] for row in members} == {"bad"}
    assert digest["status"] == ending
    for row in (digest, *members):
        assert (row["latency_seconds"] is not None and 60 <= row["latency_seconds"] < 90) is (ending == "sent")


def test_every_message_is_shown_newest_first(told: Calls) -> None:
    open_alerts(told, *["disk full"] * 6)
    claimed(told)
    told.rows("send_canary")

    numbers = [row["id"] for row in view(told)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == told.one("SELECT count(*) FROM public.alert_deliveries") == 8


def test_messages_are_found_by_channel_alert_digest_number_and_trouble(told: Calls) -> None:
    open_alerts(told, *["disk full"] * 4)
    digest = fail_next(told, p_final_status="failed")["delivery_id"]
    open_alerts(told, "another", prefix="n")
    [waiting] = found(told, p_alert_id=5)

    assert found(told, p_channel="journal") == [9, 8, 7, 6]
    assert found(told, p_alert_id=1) == [6, 1]
    assert found(told, p_digest_id=digest) == [4, 3, 2, 1]
    assert found(told, p_ids=[digest, waiting]) == [waiting, digest]
    assert found(told, p_in_trouble=True) == [digest, 4, 3, 2, 1]
    assert found(told, p_limit=2) == [waiting, 9]


def test_the_story_of_an_alert_shows_its_message_as_the_view_does(told: Calls) -> None:
    open_alerts(told, *["disk full"] * 4)
    fail_next(told, p_final_status="failed")

    [step] = told("get_alert_story", 1)["transitions"]
    assert [(shown["channel"], shown["status"], shown["digest_id"], shown["instead_of"], shown["last_error"]) for shown in step["deliveries"]] == [
        ("ops", "failed", 5, None, "unreachable: HTTP 503"), ("journal", "pending", None, "ops", None),
    ]  # fmt: skip
    assert claim(told) is None
    assert finish_sent(told, 5) is False
