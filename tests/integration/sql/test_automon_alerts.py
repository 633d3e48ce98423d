"""automon's alerts about itself: jobs that do not run, channels that do not deliver, and what it says to who asks from outside."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.sql.alerting import kinds
from tests.integration.sql.outbox import (
    OVERDUE,
    channel_row,
    claim,
    claimed,
    claims,
    fail_next,
    finish_sent,
    let_pass,
    open_alerts,
    send_all,
    stop,
)
from tests.support.calls import HOUR, JOURNAL, MINUTE, SECOND, Calls, Row, channel

# When a job counts as missing: three of its rhythms and a minute; a day and two hours for the clean-up.
OVERDUE_AFTER = {"alert_checks": 16 * MINUTE, "self_check": 4 * MINUTE, "cleanup": 26 * HOUR}


@pytest.fixture
def serving(calls: Calls) -> Calls:
    """A session on a database on which a service runs."""
    calls("beat", "a")
    return calls


def run(calls: Calls, job: str, outcome: str, *, ago: timedelta = timedelta(0), error: str | None = None) -> None:
    at = calls.one("SELECT now() - %s", ago)
    number = calls("begin_job_run", job, "a", at)
    calls("finish_job_run", number, outcome, {}, error, at)


def run_all(calls: Calls, *, but: str | None = None) -> None:
    """Have every job succeed now, but that one."""
    for job in {*OVERDUE_AFTER, "host_sampling"} - {but}:
        run(calls, job, "succeeded")


def findings(calls: Calls, alert_type: str) -> dict[str, Row]:
    rows = calls.rows("evaluate_automon", now(calls))
    return {row["source"]: row for row in rows if row["alert_type"] == alert_type}


def now(calls: Calls) -> datetime:
    moment = calls.one("SELECT clock_timestamp()")
    assert isinstance(moment, datetime)
    return moment


def firing(calls: Calls, alert_type: str) -> dict[str, str]:
    return {source: row["severity"] for source, row in findings(calls, alert_type).items() if row["severity"]}


def age(calls: Calls, span: timedelta) -> None:
    """Let time pass in which the service lives on."""
    let_pass(calls, span)
    calls("beat", "a", p_why=None)


# Jobs ----------------------------------------------------------------------------------------------------------


def test_jobs_that_run_as_they_should_are_within_their_limits(serving: Calls) -> None:
    run_all(serving)

    found = findings(serving, "automon_job")
    assert {source: row["severity"] for source, row in found.items()} == dict.fromkeys({*OVERDUE_AFTER, "host_sampling"})  # fmt: skip
    assert re.fullmatch(r"succeeded \d(\.\d)? s ago", found["cleanup"]["summary"])


def test_a_service_that_has_just_started_misses_no_job(serving: Calls) -> None:
    assert firing(serving, "automon_job") == {}


@pytest.mark.parametrize(("job", "severity"), [("alert_checks", "critical"), ("self_check", "high"), ("cleanup", "high")])  # fmt: skip
@pytest.mark.parametrize("has_run", [True, False], ids=["ran before", "never ran"])
def test_a_job_that_has_not_succeeded_for_too_long_is_missed(
    serving: Calls, job: str, severity: str, has_run: bool
) -> None:
    if has_run:
        run(serving, job, "succeeded")
    let_pass(serving, OVERDUE_AFTER[job] - SECOND)
    run_all(serving, but=job)
    serving("beat", "a", p_why=None)
    assert firing(serving, "automon_job") == {}

    age(serving, 2 * SECOND)

    assert firing(serving, "automon_job") == {job: severity}
    summary = findings(serving, "automon_job")[job]["summary"]
    assert summary.startswith("has not succeeded for ")
    assert findings(serving, "automon_job")[job]["threshold"] == OVERDUE_AFTER[job].total_seconds()


def test_a_job_follows_the_rhythm_that_is_set(calls: Calls) -> None:
    calls.configure(settings={"schedule.alert_checks_seconds": 60})
    calls("beat", "a")
    run_all(calls)
    age(calls, 4 * MINUTE + SECOND)
    run(calls, "self_check", "succeeded")

    assert firing(calls, "automon_job") == {"alert_checks": "critical"}


@pytest.mark.parametrize("job", [*OVERDUE_AFTER, "host_sampling"])
def test_a_job_that_fails_twice_in_a_row_is_told_with_its_error(serving: Calls, job: str) -> None:
    run_all(serving)
    run(serving, job, "failed", error="no space")
    assert firing(serving, "automon_job") == {}
    run(serving, job, "failed", error="still no space")

    found = findings(serving, "automon_job")[job]
    assert (found["severity"], found["summary"]) == ("high", "has failed 2 times in a row: still no space")
    assert found["evidence"] == {"measured": "2 failed runs since it last succeeded", "next": "journalctl -u automon -p warning"}  # fmt: skip


def test_a_job_that_succeeds_again_has_forgotten_its_failures(serving: Calls) -> None:
    run_all(serving)
    for outcome in ("failed", "failed", "succeeded"):
        run(serving, "alert_checks", outcome, error="x")

    assert firing(serving, "automon_job") == {}


def test_a_run_that_was_abandoned_is_no_failure_and_no_success(serving: Calls) -> None:
    for _ in range(3):
        run(serving, "alert_checks", "abandoned")
    assert firing(serving, "automon_job") == {}

    age(serving, OVERDUE_AFTER["alert_checks"] + SECOND)
    assert "alert_checks" in firing(serving, "automon_job")


def test_jobs_are_judged_only_while_a_service_runs(serving: Calls) -> None:
    let_pass(serving, 2 * HOUR)

    assert findings(serving, "automon_job") == {}


def test_a_job_is_not_missed_for_the_time_in_which_no_service_ran(serving: Calls) -> None:
    run_all(serving)
    let_pass(serving, 5 * HOUR)
    serving("beat", "a")

    assert firing(serving, "automon_job") == {}


def test_a_job_that_is_missed_is_told_and_its_return_too(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    calls("beat", "a")
    run_all(calls)
    age(calls, OVERDUE_AFTER["alert_checks"] + SECOND)
    run_all(calls, but="alert_checks")
    assert calls("check_automon_alerts", now(calls)) == 1
    run(calls, "alert_checks", "succeeded")
    assert calls("check_automon_alerts", now(calls)) == 1

    assert [(row["alert_type"], row["source"], row["kind"], row["severity"]) for row in send_all(calls)] == [
        ("automon_job", "alert_checks", "opened", "critical"),
        ("automon_job", "alert_checks", "resolved", "critical"),
    ]


# Channels ------------------------------------------------------------------------------------------------------


def test_a_channel_that_works_is_within_its_limits(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL])

    [found] = findings(calls, "automon_channel").values()
    assert (found["source"], found["severity"], found["summary"]) == ("ops", None, "delivers")


def test_a_channel_that_fails_is_told_when_its_fallback_speaks(calls: Calls) -> None:
    calls.configure(channels=[channel(fallback="mail"), channel("mail", min_severity="high"), JOURNAL])
    open_alerts(calls, "a", severity="low")
    fail_next(calls, p_retry_after=HOUR, p_channel_pause=HOUR)
    let_pass(calls, 10 * MINUTE - SECOND)
    assert firing(calls, "automon_channel") == {}
    let_pass(calls, SECOND)

    found = findings(calls, "automon_channel")["ops"]
    assert (found["severity"], found["threshold"], found["summary"]) == ("high", 600, "fails for 10 min: unreachable: HTTP 503")  # fmt: skip
    assert found["evidence"]["measured"] == "1 message waits, told by mail instead"
    calls("check_automon_alerts", now(calls))
    assert [(row["source"], row["instead_of"]) for row in send_all(calls, name="mail")] == [("ops", None), ("s0", "ops")]  # fmt: skip


def test_a_channel_that_stops_after_it_has_failed_escalates(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    open_alerts(calls, "x")
    fail_next(calls, name="a", p_retry_after=OVERDUE, p_channel_pause=OVERDUE)
    let_pass(calls, 11 * MINUTE)
    calls("check_automon_alerts", now(calls) - SECOND)
    stop(calls, "a")

    assert kinds(calls)[1:] == ["opened", "escalated"]


def test_a_channel_that_works_again_is_told_everywhere(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    calls("resume_channel", "a")
    calls("check_automon_alerts", now(calls))

    assert [(row["kind"], row["summary"]) for row in send_all(calls, name="a") if row["subject"] == "transition"] == [("resolved", "delivers")]  # fmt: skip
    assert [row["kind"] for row in send_all(calls, name="b")] == ["opened", "resolved"]


def test_the_alert_about_a_channel_ends_when_the_config_no_longer_has_it(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    calls.configure(channels=[channel("b"), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    calls("check_automon_alerts", now(calls))

    assert [row["summary"] for row in send_all(calls, name="b")][1:] == ["is no longer in the config"]


def test_checks_of_facts_leave_automons_own_alerts_alone(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), JOURNAL], settings={"alerts.resolve_after_seconds": 0})
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    calls("run_monitoring_checks", now(calls))
    calls("resolve_resolved_alerts", now(calls))

    assert kinds(calls) == ["opened"]


def test_automons_own_alerts_have_a_story_and_end_by_hand(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), JOURNAL])
    calls.rows("send_canary", "kim", "a")
    stop(calls, "a")
    number = calls.one("SELECT id FROM public.v_active_alerts WHERE alert_type = 'automon_channel'")

    assert calls("acknowledge_alert", number, "kim") is True
    assert calls("resolve_alert", number, "kim") is True
    assert [step["kind"] for step in calls("get_alert_story", number)["transitions"]] == ["opened", "acknowledged", "resolved"]  # fmt: skip


# From outside --------------------------------------------------------------------------------------------------


def health(calls: Calls) -> Any:
    return calls("get_automon_health")


def test_a_fresh_database_has_nothing_to_say_of_its_checks(calls: Calls) -> None:
    assert health(calls) == {
        "check_every_seconds": 300,
        "check_succeeded_seconds_ago": None,
        "check_ran_seconds_ago": None,
        "channels": 0,
        "channels_in_trouble": 0,
        "untried": 0,
    }


def test_health_says_how_long_ago_the_checks_succeeded_and_ran(calls: Calls) -> None:
    run(calls, "alert_checks", "succeeded", ago=10 * MINUTE)
    run(calls, "alert_checks", "failed", ago=5 * MINUTE, error="x")

    assert 600 <= health(calls)["check_succeeded_seconds_ago"] < 630
    assert 300 <= health(calls)["check_ran_seconds_ago"] < 330


def test_health_counts_channels_in_trouble(calls: Calls) -> None:
    calls.configure(channels=[channel("a"), channel("b"), channel("c"), JOURNAL])
    for name in ("a", "b"):
        calls.rows("send_canary", "kim", name)
    stop(calls, "a")
    fail_next(calls, name="b", p_retry_after=HOUR, p_channel_pause=HOUR)

    assert (health(calls)["channels"], health(calls)["channels_in_trouble"]) == (3, 1)
    let_pass(calls, 10 * MINUTE)
    assert health(calls)["channels_in_trouble"] == 2


def test_health_counts_what_nobody_has_tried_for_three_minutes(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL])
    open_alerts(calls, "a", "b")
    let_pass(calls, 2 * MINUTE)
    assert health(calls)["untried"] == 0
    let_pass(calls, MINUTE)
    assert health(calls)["untried"] == 2

    send_all(calls)
    assert health(calls)["untried"] == 0


def test_what_waits_for_a_channel_in_trouble_was_not_left_untried(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL])
    open_alerts(calls, "a", "b")
    fail_next(calls, p_retry_after=HOUR, p_channel_pause=HOUR)
    let_pass(calls, 3 * MINUTE)
    assert health(calls)["untried"] == 0

    calls("resume_channel", "ops")
    claim(calls)
    stop_of(calls)
    assert health(calls)["untried"] == 0


def stop_of(calls: Calls) -> None:
    stop(calls)
    assert channel_row(calls)["stopped_at"] is not None


def test_what_waits_behind_an_earlier_message_of_its_alert_was_not_left_untried(calls: Calls) -> None:
    calls.configure(channels=[channel(), JOURNAL])
    open_alerts(calls, "a", "b")
    fail_next(calls, p_retry_after=HOUR)
    open_alerts(calls, "a", "b", severity="critical")
    for message in claims(calls):
        finish_sent(calls, message["delivery_id"])
    finish_sent(calls, claimed(calls)["delivery_id"])
    let_pass(calls, 4 * MINUTE)

    assert calls.one("SELECT count(*) FROM public.alert_deliveries WHERE status = 'pending' AND attempts = 0") == 1
    assert health(calls)["untried"] == 0
