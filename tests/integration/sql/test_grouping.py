"""Many messages at once become few: one for a cause that has many, and one for all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.sql.alerting import apply, silence
from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import (
    OVERDUE,
    WINDOW,
    claim,
    claimed,
    claims,
    fail_next,
    finish_failed,
    finish_sent,
    let_pass,
    open_alerts,
    send_all,
)
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls, Row, channel

DISK, NET, AUTH = "disk full", "no route to host", "wrong password"


@pytest.fixture
def told(calls: Calls) -> Calls:
    """A session on a database with one channel."""
    calls.configure(channels=[channel()])
    return calls


def shape(messages: Sequence[Row]) -> list[Any]:
    """Each message as the source of its alert, or as the number of alerts of a digest."""
    return [message["alerts"] if message["subject"] == "digest" else message["source"] for message in messages]


def sent(calls: Calls, **named: Any) -> list[Any]:
    return shape(send_all(calls, **named))


def statuses(calls: Calls) -> dict[str, int]:
    rows = calls.ask("SELECT status, count(*) AS n FROM public.alert_deliveries GROUP BY 1")
    return {row["status"]: row["n"] for row in rows}


# How many ------------------------------------------------------------------------------------------------------


def test_the_first_message_of_a_quiet_time_is_told_by_itself_and_at_once(told: Calls) -> None:
    open_alerts(told, DISK)

    assert sent(told) == ["s0"]


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([DISK] * 3, ["s0", "s1", "s2"]),
        ([DISK] * 4, [4]),
        ([DISK] * 40, [40]),
        ([DISK, NET, AUTH, "a", "b"], ["s0", "s1", "s2", "s3", "s4"]),
        ([DISK] * 40 + [NET], [40, "s40"]),
        ([DISK, NET, AUTH, "a", "b", "c", "d"], ["s0", "s1", "s2", "s3", 3]),
        ([DISK] * 3 + [NET] * 3, [3, "s3", "s4", "s5"]),
        ([DISK] * 9 + [NET] * 8 + [AUTH] * 7 + ["a"] * 6 + ["b"] * 5 + ["c"] * 4, [9, 8, 7, 6, 9]),
    ],
    ids=[
        "three of a cause",
        "four of a cause",
        "forty of a cause",
        "five causes",
        "forty and one",
        "seven causes",
        "six of two causes",
        "six big causes",
    ],
)
def test_few_messages_are_told_by_themselves_and_many_as_few(
    told: Calls, causes: list[str], expected: list[Any]
) -> None:
    open_alerts(told, *causes)

    assert sent(told) == expected


def test_the_worst_cause_is_told_first_when_there_are_too_many(told: Calls) -> None:
    open_alerts(told, *(f"{letter} failed" for letter in "abcdefg"), severity="low")
    open_alerts(told, "on fire", severity="critical", prefix="worst")

    assert sent(told) == ["worst0", "s0", "s1", "s2", 4]


def test_numbers_and_ids_make_no_other_cause(told: Calls) -> None:
    open_alerts(told, *(f"no answer after {number} ms" for number in range(4)))

    assert sent(told) == [4]


def test_alerts_of_different_types_have_one_cause_when_they_report_the_same(told: Calls) -> None:
    now = told.one("SELECT now()")
    told.record_errors(30, "api", until=now)
    told.run_tasks(10, "ocr", status="failed", ended=now)
    for name in ("a", "b"):
        told("update_system_health", "service", name, "unhealthy", p_failure_reason="disk full", p_at=now)
    told("run_monitoring_checks", now)

    assert [row["cause"] for row in told.ask("SELECT cause FROM public.alerts ORDER BY source")].count("disk full") == 3


def test_what_a_host_reports_has_one_cause(told: Calls) -> None:
    sample = {"memory_percent": 99, "disks": [{"mount": mount, "percent": 99} for mount in ("/", "/var", "/srv")]}
    told("record_host_sample", "web-1", sample, NOON)
    told("check_host_alerts", NOON)

    [message] = send_all(told)
    assert (message["alerts"], message["causes"]) == (4, [{"words": "host web-1", "count": 4}])


def test_each_recipient_is_spared_by_itself(calls: Calls) -> None:
    calls.configure(channels=[channel(recipients=["a", "b"])])
    open_alerts(calls, *[DISK] * 4)

    assert [(message["recipient"], message["alerts"]) for message in send_all(calls)] == [("a", 4), ("b", 4)]


def test_a_recipient_that_was_told_much_does_not_hold_up_another(calls: Calls) -> None:
    calls.configure(channels=[channel(recipients=["a"])])
    open_alerts(calls, DISK, NET, AUTH, "a", "b")
    assert len(send_all(calls)) == 5
    calls.configure(channels=[channel(recipients=["a", "b"])])
    open_alerts(calls, "new", prefix="n")

    assert [message["recipient"] for message in send_all(calls)] == ["b"]


def test_how_much_is_too_much_can_be_set(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"delivery.messages_per_cause": 1, "delivery.messages_at_once": 2})
    open_alerts(calls, DISK, DISK, NET, AUTH)

    assert sent(calls) == [2, 2]


def test_nobody_can_be_told_less_than_one_message(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"delivery.messages_per_cause": 0, "delivery.messages_at_once": 0})
    open_alerts(calls, DISK, DISK, NET)

    assert sent(calls) == [3]


# Over time -----------------------------------------------------------------------------------------------------


def test_what_follows_a_digest_within_the_window_is_grouped_too(told: Calls) -> None:
    open_alerts(told, *[DISK] * 4, prefix="a")
    assert sent(told) == [4]
    open_alerts(told, *[DISK] * 3, prefix="b")
    assert sent(told) == [3]
    open_alerts(told, DISK, prefix="c")
    assert sent(told) == ["c0"]


def test_a_cause_that_was_told_three_times_within_the_window_waits_until_it_has_passed(told: Calls) -> None:
    for prefix in "abc":
        open_alerts(told, DISK, prefix=prefix)
        assert sent(told) == [f"{prefix}0"]
    open_alerts(told, DISK, DISK, prefix="d")
    open_alerts(told, NET, prefix="other")

    assert sent(told) == ["other0"]
    let_pass(told, WINDOW)
    assert sent(told) == ["d0", "d1"]


def test_a_recipient_that_was_told_five_times_within_the_window_waits_until_it_has_passed(told: Calls) -> None:
    open_alerts(told, DISK, NET, AUTH, "a", "b")
    assert len(send_all(told)) == 5
    open_alerts(told, "c", "d", "e", prefix="n")

    assert sent(told) == []
    let_pass(told, WINDOW)
    assert sent(told) == ["n0", "n1", "n2"]


def test_a_sender_sleeps_until_its_recipient_may_be_told_more(told: Calls) -> None:
    open_alerts(told, DISK, NET, AUTH, "a", "b")
    send_all(told)
    open_alerts(told, "c", prefix="n")

    waiting = told("next_delivery_in", "ops")
    assert isinstance(waiting, timedelta)
    assert WINDOW - 5 * SECOND < waiting <= WINDOW
    let_pass(told, WINDOW)
    assert told("next_delivery_in", "ops") == timedelta(0)


def test_nobody_is_told_more_than_five_times_within_the_window_however_many_alerts_come(told: Calls) -> None:
    seen: list[Row] = []
    for number in range(30):
        open_alerts(told, *(f"{letter}{letter} failed" for letter in "abcdefg"), prefix=f"{number}-")
        seen += send_all(told)
        let_pass(told, 4 * SECOND)
    let_pass(told, WINDOW)
    seen += send_all(told)
    let_pass(told, WINDOW)
    seen += send_all(told)

    begun = [row["at"] for row in told.ask("SELECT first_attempt_at AS at FROM public.alert_deliveries WHERE first_attempt_at IS NOT NULL ORDER BY 1")]  # fmt: skip
    for moment in begun:
        assert sum(moment <= other < moment + WINDOW - SECOND for other in begun) <= 5
    assert sum(message.get("alerts", 1) for message in seen) == 30 * 7
    assert set(statuses(told)) <= {"sent", "grouped"}


def test_a_clock_that_was_put_back_makes_nobody_told_too_much_in_the_future(told: Calls) -> None:
    open_alerts(told, DISK, NET, AUTH, "a", "b")
    send_all(told)
    open_alerts(told, "c", prefix="n")

    let_pass(told, -HOUR)

    assert sent(told) == ["n0"]


# Digests as deliveries -----------------------------------------------------------------------------------------


def test_a_digest_says_what_it_is_about(told: Calls) -> None:
    open_alerts(told, *[DISK] * 9, severity="high")
    open_alerts(told, DISK, severity="critical", prefix="worst")

    digest = claimed(told)

    assert {key: digest[key] for key in ("subject", "channel", "attempt", "uncertain", "alerts", "transitions", "kinds", "severities", "instead_of", "more_causes")} == {
        "subject": "digest", "channel": "ops", "attempt": 1, "uncertain": False, "alerts": 10, "transitions": 10, "kinds": {"opened": 10},
        "severities": {"high": 9, "critical": 1}, "instead_of": None, "more_causes": 0,
    }  # fmt: skip
    assert digest["causes"] == [{"words": f"E: {DISK}", "count": 10}]
    assert [entry["source"] for entry in digest["entries"]] == ["worst0", *(f"s{number}" for number in range(7))]
    assert {datetime.fromisoformat(digest[key]) for key in ("at", "first_at")} == {NOON}


def test_a_digest_of_many_causes_names_the_five_most_frequent(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"delivery.messages_at_once": 1})
    open_alerts(calls, *(f"{letter}{letter} failed" for number, letter in enumerate("abcdefgh") for _ in range(1 + number)))  # fmt: skip

    digest = claimed(calls)

    assert digest["alerts"] == 36
    assert [cause["count"] for cause in digest["causes"]] == [8, 7, 6, 5, 4]
    assert digest["more_causes"] == 3
    assert calls.one("SELECT cause FROM public.alert_deliveries WHERE subject = 'digest'") == ""


def test_a_cause_is_told_in_words_of_one_of_its_alerts(told: Calls) -> None:
    open_alerts(told, *(f"no answer after {number} ms" for number in range(1, 5)))

    assert claimed(told)["causes"] == [{"words": "E: no answer after 1 ms", "count": 4}]


def test_a_digest_names_the_cause_that_its_alerts_had_when_it_was_made(told: Calls) -> None:
    open_alerts(told, *[DISK] * 4)
    digest = claimed(told)
    told.ask("UPDATE public.alerts SET cause = 'another'")

    message = told("delivery_message", digest["delivery_id"])
    assert message["causes"] == [{"words": f"E: {DISK}", "count": 4}]


def test_members_stay_on_record(told: Calls) -> None:
    open_alerts(told, *[DISK] * 4)
    digest = claimed(told)

    rows = told.ask("SELECT status, digest_id, attempts, finished_at IS NOT NULL AS done FROM public.alert_deliveries WHERE subject = 'transition'")  # fmt: skip
    assert rows == [{"status": "grouped", "digest_id": digest["delivery_id"], "attempts": 0, "done": True}] * 4


def test_what_happens_to_an_alert_in_a_digest_is_told_after_it(told: Calls, new_session: NewSession) -> None:
    open_alerts(told, *[DISK] * 4)
    digest = claimed(told)
    open_alerts(told, *[DISK] * 4, severity="critical")

    assert claim(new_session(), "another") is None
    finish_failed(told, digest["delivery_id"], p_retry_after=HOUR)
    assert claim(told) is None
    let_pass(told, HOUR)
    assert claimed(told)["delivery_id"] == digest["delivery_id"]
    finish_sent(told, digest["delivery_id"])

    following = claimed(told)
    assert (following["subject"], following["kinds"]) == ("digest", {"escalated": 4})


def test_a_digest_that_is_given_up_holds_nothing_up(told: Calls) -> None:
    open_alerts(told, *[DISK] * 4)
    fail_next(told, p_final_status="failed")
    open_alerts(told, DISK, severity="critical")

    assert sent(told) == ["s0"]


def test_a_message_that_was_tried_is_never_grouped(told: Calls) -> None:
    open_alerts(told, DISK)
    fail_next(told, p_retry_after=OVERDUE)
    open_alerts(told, *[DISK] * 10, prefix="n")

    assert sent(told) == ["s0", 10]


def test_a_digest_is_retried_as_it_is(told: Calls) -> None:
    open_alerts(told, *[DISK] * 4)
    first = fail_next(told, outcome="unknown", reason="timed_out", p_retry_after=OVERDUE)
    open_alerts(told, *[DISK] * 4, prefix="n")

    again = claimed(told)
    assert (again["delivery_id"], again["alerts"], again["attempt"], again["uncertain"]) == (first["delivery_id"], 4, 2, True)  # fmt: skip


def test_retries_do_not_count_as_told_just_now(told: Calls) -> None:
    open_alerts(told, DISK, NET, AUTH)
    for _ in range(3):
        fail_next(told, p_retry_after=HOUR)
    let_pass(told, HOUR)
    assert sent(told) == ["s0", "s1", "s2"]
    open_alerts(told, DISK, NET, AUTH, "a", "b", prefix="n")

    assert sent(told) == ["n0", "n1", "n2", "n3", "n4"]


def test_alerts_that_have_ended_meanwhile_count_once_by_their_end(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    for minutes in (0, 1):
        apply(calls, NOON + minutes * MINUTE, *((f"s{number}", "high", 80.0) for number in range(5)))
    for number in range(5):
        calls("resolve_alert", number + 1, "kim")

    assert [(message["kinds"], message["severities"]) for message in send_all(calls)] == [
        ({"opened": 5}, {"high": 5}),
        ({"resolved": 5}, {}),
    ]


def test_what_is_silenced_is_in_no_digest(told: Calls) -> None:
    silence(told, 60, source="s0")
    open_alerts(told, *[DISK] * 5)

    assert sent(told) == [4]


def test_two_senders_make_one_digest(told: Calls, new_session: NewSession) -> None:
    open_alerts(told, *[DISK] * 10)
    first, second = new_session(), new_session()
    first.ask("BEGIN")

    mine = claimed(first, "a")
    assert claims(second, "b") == []
    first.ask("COMMIT")
    assert claims(second, "b") == []

    assert (mine["alerts"], statuses(told)) == (10, {"grouped": 10, "sending": 1})
