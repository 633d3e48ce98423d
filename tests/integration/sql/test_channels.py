"""Channels that fail: they rest, they stop, others speak for them, and nothing is lost or told twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.sql.alerting import alerts, apply, deliveries, kinds, silence
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import (
    LEASE,
    OVERDUE,
    channel_row,
    claim,
    claimed,
    claims,
    delivery,
    end_service,
    fail_next,
    finish_failed,
    finish_sent,
    let_pass,
    open_alerts,
    outbox,
    send_all,
    stop,
)
from tests.support.calls import DAY, HOUR, JOURNAL, MINUTE, NOON, SECOND, Calls, Row, channel

TEN_MINUTES = 10 * MINUTE  # fallback_after_seconds, as shipped
FALLBACK = [channel("ops", fallback="mail"), channel("mail", notify_on=[]), JOURNAL]


@pytest.fixture
def alone(calls: Calls) -> Calls:
    """A session on a database with one channel and the journal."""
    calls.configure(channels=[channel(), JOURNAL])
    return calls


@pytest.fixture
def backed(calls: Calls) -> Calls:
    """A session on a database with a channel, another that speaks for it and for nothing else, and the journal."""
    calls.configure(channels=FALLBACK)
    return calls


def rests(calls: Calls, name: str = "ops") -> bool:
    return claim(calls, name=name) is None


def told_of(calls: Calls, name: str) -> list[tuple[str, str | None]]:
    """What a channel sends, as (source, instead of)."""
    return [(message["source"], message["instead_of"]) for message in send_all(calls, name=name)]


# A channel that fails ------------------------------------------------------------------------------------------


def test_a_channel_that_fails_rests_for_all_its_messages(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    fail_next(alone, p_retry_after=SECOND, p_channel_pause=MINUTE)

    assert rests(alone)
    let_pass(alone, MINUTE)
    assert {row["source"] for row in claims(alone)} == {"s0", "s1"}


def test_a_long_rest_is_not_cut_short_by_what_another_sender_finds(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    first, second = claims(alone)
    finish_failed(alone, first["delivery_id"], reason="rate_limited", p_retry_after=HOUR, p_channel_pause=HOUR)
    finish_failed(alone, second["delivery_id"], p_retry_after=SECOND, p_channel_pause=SECOND)

    let_pass(alone, MINUTE)

    assert rests(alone)
    assert channel_row(alone)["failures"] == 2


def test_a_message_that_is_refused_says_nothing_about_its_channel(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    fail_next(alone, reason="rejected_content", p_final_status="failed")

    assert channel_row(alone)["failures"] == 0
    assert claimed(alone)["source"] == "s1"


def test_a_channel_remembers_since_when_how_often_and_why_it_fails(alone: Calls) -> None:
    open_alerts(alone, "a")
    for number in range(3):
        message = fail_next(alone, p_retry_after=MINUTE, p_channel_pause=MINUTE)
        assert message["channel_failures"] == number
        let_pass(alone, MINUTE)

    assert channel_row(alone)["failures"] == 3
    assert channel_row(alone)["last_error"] == "unreachable: HTTP 503"
    [shown] = alone("get_dashboard_summary")["automon"]["channels"]
    assert (shown["state"], shown["fallback"], shown["waiting"]) == ("failing", "journal", 1)
    assert alone.one("SELECT now() - failing_since BETWEEN interval '3 minutes' AND interval '4 minutes' FROM public.notification_channels WHERE name = 'ops'")  # fmt: skip


def test_a_channel_that_works_again_has_forgotten_its_failures(alone: Calls) -> None:
    open_alerts(alone, "a")
    fail_next(alone, p_retry_after=OVERDUE, p_channel_pause=OVERDUE)

    assert len(send_all(alone)) == 1

    assert (channel_row(alone)["failures"], channel_row(alone)["failing_since"], channel_row(alone)["last_error"]) == (0, None, None)  # fmt: skip


def test_a_failure_of_what_was_sent_to_an_address_that_has_changed_since_is_none_of_the_new_one(calls: Calls) -> None:
    calls.configure(channels=[channel(fingerprint="old")])
    open_alerts(calls, "a")
    message = claimed(calls)
    calls.configure(channels=[channel(fingerprint="new")])

    finish_failed(calls, message["delivery_id"], reason="gone", p_stops_channel=True)

    assert (channel_row(calls)["failures"], channel_row(calls)["stopped_at"]) == (0, None)
    assert claimed(calls)["attempt"] == 2


# Fallbacks -----------------------------------------------------------------------------------------------------


def test_the_fallback_speaks_when_its_channel_has_failed_for_ten_minutes(backed: Calls) -> None:
    open_alerts(backed, "a", "b")
    fail_next(backed, p_retry_after=HOUR, p_channel_pause=HOUR)

    let_pass(backed, TEN_MINUTES - SECOND)
    assert (backed("tend_deliveries")["handed_on"], claim(backed, name="mail")) == (0, None)
    let_pass(backed, SECOND)
    assert backed("tend_deliveries") == {"expired": 0, "handed_on": 2}
    assert told_of(backed, "mail") == [("s0", "ops"), ("s1", "ops")]


def test_when_the_fallback_speaks_can_be_set(calls: Calls) -> None:
    calls.configure(channels=[channel(fallback="mail", fallback_after_seconds=30), channel("mail", notify_on=[])])
    open_alerts(calls, "a")
    fail_next(calls, p_retry_after=HOUR, p_channel_pause=HOUR)

    let_pass(calls, 30 * SECOND)

    assert calls("tend_deliveries")["handed_on"] == 1


def test_what_happens_while_the_fallback_speaks_is_told_by_it_at_once(backed: Calls) -> None:
    open_alerts(backed, "a")
    stop(backed)
    assert told_of(backed, "mail") == [("s0", "ops")]

    apply(backed, NOON + HOUR, ("s0", "critical", 150), ("other", "high", 80))

    assert sorted(told_of(backed, "mail")) == [("other", "ops"), ("s0", "ops")]


@pytest.mark.parametrize(
    "act",
    [
        lambda calls, number: calls("acknowledge_alert", number, "kim"),
        lambda calls, number: calls("resolve_alert", number, "kim"),
    ],
    ids=["acknowledged", "resolved"],
)
def test_what_people_do_while_the_fallback_speaks_is_told_by_it_at_once(backed: Calls, act: Any) -> None:
    open_alerts(backed, "a")
    stop(backed)
    send_all(backed, name="mail")

    assert act(backed, the_alert_of(backed, "s0")["id"]) is True

    assert told_of(backed, "mail") == [("s0", "ops")]


def the_alert_of(calls: Calls, source: str) -> Row:
    [row] = [row for row in alerts(calls) if row["source"] == source]
    return row


def test_a_chain_of_fallbacks_goes_on_until_one_works_and_ends_at_the_journal(calls: Calls) -> None:
    chain = [channel("a", fallback="b"), channel("b", fallback="c", notify_on=[]), channel("c", notify_on=[]), JOURNAL]
    calls.configure(channels=chain)
    open_alerts(calls, "x")
    stop(calls, "a")
    assert outbox(calls)[:2] == [("opened", "a", None, "pending"), ("opened", "b", "a", "pending")]
    stop(calls, "b")
    stop(calls, "c")

    assert outbox(calls, "s0") == [("opened", "a", None, "pending"), ("opened", "b", "a", "pending"), ("opened", "c", "b", "pending"), ("opened", "journal", "c", "pending")]  # fmt: skip
    assert told_of(calls, "journal")[0] == ("s0", "c")


def test_a_new_message_goes_down_the_whole_chain_at_once(calls: Calls) -> None:
    chain = [channel("a", fallback="b"), channel("b", fallback="c", notify_on=[]), channel("c", notify_on=[]), JOURNAL]
    calls.configure(channels=chain)
    for name in ("a", "b"):
        calls.rows("send_canary", "kim", name)
        stop(calls, name)

    open_alerts(calls, "x")

    assert outbox(calls, "s0") == [("opened", "a", None, "pending"), ("opened", "b", "a", "pending"), ("opened", "c", "b", "pending")]  # fmt: skip


def test_the_journal_speaks_for_a_channel_without_a_fallback(alone: Calls) -> None:
    open_alerts(alone, "a")
    stop(alone)

    assert told_of(alone, "journal") == [("s0", "ops")]


def test_the_journal_speaks_for_a_channel_whose_fallback_there_is_not(calls: Calls) -> None:
    calls.configure(channels=[channel(fallback="elsewhere"), JOURNAL])
    open_alerts(calls, "a")
    stop(calls)

    assert told_of(calls, "journal") == [("s0", "ops")]


def test_the_journal_speaks_for_a_channel_that_is_removed(alone: Calls) -> None:
    open_alerts(alone, "a")
    alone.configure(channels=[JOURNAL])

    assert told_of(alone, "journal") == [("s0", "ops")]


def test_a_journal_that_fails_is_replaced_by_nobody(alone: Calls) -> None:
    open_alerts(alone, "a")
    stop(alone)
    stop(alone, "journal")

    assert outbox(alone, "s0") == [("opened", "ops", None, "pending"), ("opened", "journal", "ops", "pending")]  # fmt: skip
    assert alone("tend_deliveries")["handed_on"] == 0


def test_without_a_journal_what_was_given_up_waits_for_one(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    open_alerts(calls, "a")
    fail_next(calls, p_final_status="failed")
    assert (calls("tend_deliveries")["handed_on"], delivery(calls)["handed_on_at"]) == (0, None)

    calls.configure(channels=[channel(), JOURNAL])

    assert told_of(calls, "journal") == [("s0", "ops")]


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_a_message_that_is_given_up_is_told_by_the_fallback_at_once(backed: Calls, status: str) -> None:
    open_alerts(backed, "a", "b")
    fail_next(backed, p_final_status=status)

    assert told_of(backed, "mail") == [("s0", "ops")]
    assert told_of(backed, "ops") == [("s1", None)]


def test_a_digest_that_is_given_up_is_told_by_the_fallback_with_all_its_members(backed: Calls) -> None:
    open_alerts(backed, *["a"] * 6)
    fail_next(backed, p_final_status="failed")

    [digest] = send_all(backed, name="mail")
    assert (digest["subject"], digest["alerts"], digest["instead_of"]) == ("digest", 6, "ops")
    assert backed.one("SELECT count(*) FROM public.alert_deliveries WHERE channel = 'ops' AND handed_on_at IS NULL") == 0  # fmt: skip


def test_each_recipient_of_the_fallback_hears_once_of_what_several_recipients_missed(calls: Calls) -> None:
    channels = [channel(recipients=["a", "b"], fallback="mail"), channel("mail", recipients=["x", "y"], notify_on=[])]
    calls.configure(channels=channels)
    open_alerts(calls, "one")
    stop(calls)

    assert sorted(message["recipient"] for message in send_all(calls, name="mail")) == ["x", "y"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_told_to_a_recipient_that_was_told_by_itself(calls: Calls, when: str) -> None:
    calls.configure(channels=[channel("ops", fallback="mail"), channel("mail"), JOURNAL])
    open_alerts(calls, "a")
    if when == "before":
        assert told_of(calls, "mail") == [("s0", None)]
    stop(calls)
    assert [entry for entry in told_of(calls, "mail") if entry[0] == "s0"] == ([("s0", None)] if when == "after" else [])  # fmt: skip

    apply(calls, NOON + HOUR, ("s0", "critical", 150))
    assert [entry for entry in told_of(calls, "mail") if entry[0] == "s0"] == [("s0", None)]


def test_two_channels_that_share_a_fallback_have_it_speak_once(calls: Calls) -> None:
    channels = [channel("a", fallback="c"), channel("b", fallback="c"), channel("c", notify_on=[]), JOURNAL]
    calls.configure(channels=channels)
    open_alerts(calls, "x")
    stop(calls, "a")
    stop(calls, "b")

    assert [entry for entry in told_of(calls, "c") if entry[0] == "s0"] == [("s0", "a")]


def test_what_was_handed_on_is_not_handed_on_again(backed: Calls) -> None:
    open_alerts(backed, *["a"] * 5)
    stop(backed)
    send_all(backed, name="mail")

    for _ in range(2):
        assert backed("tend_deliveries")["handed_on"] == 0
    let_pass(backed, 2 * DAY)
    assert backed("tend_deliveries") == {"expired": 1, "handed_on": 0}
    assert claim(backed, name="mail") is None


def test_what_was_handed_on_and_then_grouped_is_not_handed_on_again(backed: Calls) -> None:
    open_alerts(backed, *["a"] * 4)
    backed.ask("UPDATE public.notification_channels SET failures = 1, failing_since = now() - interval '1 day', last_error = 'x' WHERE name = 'ops'")  # fmt: skip
    assert backed("tend_deliveries")["handed_on"] == 4
    assert [message["alerts"] for message in send_all(backed, name="mail")] == [4]

    fail_next(backed, p_final_status="failed")
    backed("tend_deliveries")

    assert claim(backed, name="mail") is None


def test_a_channel_that_works_again_says_late_what_its_fallback_has_said(backed: Calls) -> None:
    open_alerts(backed, "a")
    stop(backed)
    send_all(backed, name="mail")

    backed("resume_channel", "ops")

    assert ("s0", None) in told_of(backed, "ops")


def test_the_fallback_tells_the_changes_of_an_alert_in_their_order(calls: Calls) -> None:
    calls.configure(channels=[channel("ops", fallback="mail"), channel("mail", notify_on=["escalated"]), JOURNAL])
    apply(calls, NOON, ("it", "high", 80))
    fail_next(calls, p_retry_after=HOUR, p_channel_pause=HOUR)
    apply(calls, NOON + MINUTE, ("it", "critical", 150))
    let_pass(calls, TEN_MINUTES)
    calls("tend_deliveries")

    assert [(message["kind"], message["instead_of"]) for message in send_all(calls, name="mail")] == [
        ("opened", "ops"),
        ("escalated", None),
    ]


def test_what_is_silenced_is_told_by_no_fallback(backed: Calls) -> None:
    silence(backed, 60, source="*")
    backed.rows("send_canary", "kim", "ops")
    stop(backed)
    apply(backed, NOON, ("it", "high", 80))

    assert [row for row in outbox(backed) if row[0] == "opened" and row[3] != "silenced"] == []


# Stopped and resumed -------------------------------------------------------------------------------------------


def test_a_stopped_channel_sends_nothing_until_somebody_resumes_it(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    stop(alone)
    let_pass(alone, HOUR)
    open_alerts(alone, "c", prefix="n")

    assert rests(alone)
    assert alone("next_delivery_in", "ops") is None
    assert alone("resume_channel", "ops") is True
    assert {source for source, _ in told_of(alone, "ops")} >= {"s0", "s1", "n0"}


@pytest.mark.session("LISTEN")
def test_resuming_a_channel_tries_all_that_waits_at_once(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    fail_next(alone, p_retry_after=HOUR)
    fail_next(alone, p_retry_after=HOUR, p_channel_pause=HOUR)
    alone.ask("LISTEN automon_deliveries")

    assert alone("resume_channel", "ops") is True

    assert [notice.channel for notice in alone.connection.notifies(timeout=5, stop_after=1)] == ["automon_deliveries"]
    assert (channel_row(alone)["failures"], channel_row(alone)["last_error"]) == (0, None)
    assert {source for source, _ in told_of(alone, "ops")} == {"s0", "s1"}


def test_a_channel_that_is_in_no_trouble_cannot_be_resumed(alone: Calls) -> None:
    assert alone("resume_channel", "ops") is False


@pytest.mark.parametrize("call", [("resume_channel", "op"), ("send_canary", "kim", "op")], ids=["resume", "canary"])
def test_a_channel_that_there_is_not_is_refused_with_the_names_of_those_that_there_are(alone: Calls, call: tuple[str, ...]) -> None:  # fmt: skip
    with pytest.raises(psycopg.Error) as refusal:
        alone.rows(*call)

    assert refusal.value.sqlstate == "AM013"
    assert refusal.value.diag.message_primary == "unknown_channel: there is no channel 'op'"
    assert refusal.value.diag.message_hint == "The service knows ops."


def test_without_any_channel_the_refusal_asks_whether_a_service_has_run(calls: Calls) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        calls("resume_channel", "ops")

    assert refusal.value.diag.message_hint == "There is none yet: has the service run?"


def test_a_channel_whose_address_or_secret_has_changed_is_taken_up_again(calls: Calls) -> None:
    calls.configure(channels=[channel(fingerprint="old"), JOURNAL])
    open_alerts(calls, "a")
    stop(calls)

    calls.configure(channels=[channel(fingerprint="old", min_severity="high"), JOURNAL])
    assert channel_row(calls)["stopped_at"] is not None
    calls.configure(channels=[channel(fingerprint="new"), JOURNAL])
    assert (channel_row(calls)["stopped_at"], channel_row(calls)["fingerprint"]) == (None, "new")
    assert ("s0", None) in told_of(calls, "ops")


def test_a_channel_that_loses_its_fingerprint_is_taken_up_once(calls: Calls) -> None:
    calls.configure(channels=[channel(fingerprint="old"), JOURNAL])
    calls.configure(channels=[channel(), JOURNAL])
    open_alerts(calls, "a")
    stop(calls)

    calls.configure(channels=[channel(), JOURNAL])

    assert channel_row(calls)["stopped_at"] is not None


def test_the_other_channels_hear_at_once_of_a_channel_that_stops(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")

    [message] = send_all(calls, name="b")
    assert (message["alert_type"], message["source"], message["kind"], message["severity"], message["summary"]) == (
        "automon_channel",
        "a",
        "opened",
        "critical",
        "is stopped: bad_credentials: HTTP 503",
    )
    assert message["evidence"] == {
        "measured": "1 message waits, told by the journal instead",
        "next": "automon channels resume a",
    }


def test_a_channel_is_not_told_of_itself_until_it_works_again(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    send_all(calls, name="b")
    calls("resume_channel", "a")
    for minutes in (0, 5):
        let_pass_in_alerts(calls, 5 * MINUTE)
        assert calls("check_automon_alerts") == (minutes == 5)

    assert [(message["subject"], message.get("kind")) for message in send_all(calls, name="a")] == [("canary", None), ("transition", "resolved")]  # fmt: skip
    assert [message["kind"] for message in send_all(calls, name="b")] == ["resolved"]


def let_pass_in_alerts(calls: Calls, span: timedelta) -> None:
    columns = ("opened_at", "last_seen_at", "peak_at", "clear_since", "last_told_at")
    moved = ", ".join(f"{column} = {column} - %s" for column in columns)
    calls.ask(f"UPDATE public.alerts SET {moved}", *[span] * len(columns))


def test_the_only_channel_stops_and_its_story_does_not_grow(alone: Calls) -> None:
    alone.rows("send_canary", "kim", "ops")
    stop(alone)
    for _ in range(3):
        let_pass_in_alerts(alone, 2 * HOUR)
        assert alone("check_automon_alerts") == 0

    assert kinds(alone) == ["opened"]


def test_a_channel_that_was_the_only_one_to_hear_of_another_leaves_no_reminders_behind(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    send_all(calls, name="b")
    calls.configure(channels=[channel("a"), JOURNAL])
    for _ in range(3):
        let_pass_in_alerts(calls, 2 * HOUR)
        assert calls("check_automon_alerts") == 0

    assert kinds(calls) == ["opened"]


def test_stopping_a_stopped_channel_keeps_the_moment_and_the_alert(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    open_alerts(calls, "x", "y")
    first, second = claimed(calls, name="a"), claimed(calls, name="a")
    finish_failed(calls, first["delivery_id"], reason="gone", p_stops_channel=True)
    stopped_at = channel_row(calls, "a")["stopped_at"]

    finish_failed(calls, second["delivery_id"], reason="gone", p_stops_channel=True)

    assert channel_row(calls, "a")["stopped_at"] == stopped_at
    assert [row["alert_type"] for row in alerts(calls)].count("automon_channel") == 1


def test_a_message_that_arrives_after_its_channel_was_stopped_does_not_start_it(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), JOURNAL])
    open_alerts(calls, "x", "y")
    first, second = claimed(calls, name="a"), claimed(calls, name="a")
    finish_failed(calls, first["delivery_id"], reason="gone", p_stops_channel=True)

    assert finish_sent(calls, second["delivery_id"]) is True

    assert channel_row(calls, "a")["stopped_at"] is not None


# Too old -------------------------------------------------------------------------------------------------------


def test_what_was_tried_for_a_day_expires_and_is_told_by_the_fallback(backed: Calls) -> None:
    open_alerts(backed, "a")
    fail_next(backed, p_retry_after=DAY)
    let_pass(backed, DAY - SECOND)
    assert backed("tend_deliveries") == {"expired": 0, "handed_on": 0}

    let_pass(backed, SECOND)
    assert backed("tend_deliveries") == {"expired": 1, "handed_on": 1}

    assert outbox(backed) == [("opened", "ops", None, "expired"), ("opened", "mail", "ops", "pending")]


def test_what_waits_for_a_stopped_channel_expires_a_day_after_the_later_of_both(alone: Calls) -> None:
    open_alerts(alone, "a", "b")
    stop(alone)
    let_pass(alone, DAY / 2)
    open_alerts(alone, "c", prefix="n")
    let_pass(alone, DAY / 2)

    assert alone("tend_deliveries")["expired"] == 2
    let_pass(alone, DAY / 2)
    assert alone("tend_deliveries")["expired"] == 1


def test_what_no_service_has_tried_never_grows_too_old(alone: Calls) -> None:
    open_alerts(alone, "a")
    let_pass(alone, 30 * DAY)

    assert alone("tend_deliveries")["expired"] == 0
    assert told_of(alone, "ops") == [("s0", None)]


def test_how_long_to_try_can_be_set(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL], settings={"delivery.keep_trying_seconds": 60})
    open_alerts(calls, "a")
    fail_next(calls, p_retry_after=HOUR)
    let_pass(calls, MINUTE)

    assert calls("tend_deliveries")["expired"] == 1


@pytest.mark.parametrize("ends", ["lease", "service"])
def test_what_a_service_held_when_it_died_on_a_channel_that_stopped_is_put_back_and_expires(
    calls: Calls, ends: str
) -> None:
    calls.configure(channels=[channel("a"), JOURNAL])
    open_alerts(calls, "x", "y")
    claimed(calls, "dead", name="a", lease=LEASE if ends == "lease" else 30 * DAY)
    stop(calls, "a")
    if ends == "lease":
        let_pass(calls, LEASE)
    else:
        end_service(calls, "dead")

    calls("tend_deliveries")
    assert [row[3] for row in outbox(calls) if row[1] == "a"] == ["pending", "pending"]
    let_pass(calls, DAY)
    assert calls("tend_deliveries")["expired"] == 2


# At the same moment --------------------------------------------------------------------------------------------


def test_a_claim_does_not_wait_for_who_tends_and_gets_nothing_that_was_given_up(
    alone: Calls, new_session: NewSession
) -> None:
    tending = new_session()
    open_alerts(alone, "a")
    fail_next(alone, p_retry_after=OVERDUE)
    let_pass(alone, DAY)
    tending.ask("BEGIN")
    assert tending("tend_deliveries")["expired"] == 1

    assert claim(alone) is None
    tending.ask("COMMIT")
    assert claim(alone) is None
    assert deliveries(alone)[0] == ("opened", "ops", "expired")
