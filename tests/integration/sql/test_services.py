"""Services: who lives, who runs a due job, and what becomes of what a dead one held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.sql.conftest import NewSession
from tests.integration.sql.outbox import end_service, let_pass
from tests.support.calls import DAY, HOUR, MINUTE, SECOND, Calls

LEASE = 10 * SECOND
PAUSE = 5 * MINUTE


def living(calls: Calls) -> list[str]:
    return [shown["instance"] for shown in calls("get_dashboard_summary")["automon"]["services"]]


def ask_for(calls: Calls, instance: str = "a", *, job: str = "alert_checks", pause: timedelta = PAUSE, due_since: datetime | None = None) -> int | None:  # fmt: skip
    number = calls("claim_job_run", job, instance, pause, due_since)
    assert number is None or isinstance(number, int)
    return number


def run(calls: Calls, instance: str = "a", *, outcome: str = "succeeded", **named: Any) -> int:
    """Run a job that must be due, from beginning to end."""
    number = ask_for(calls, instance, **named)
    assert number is not None
    assert calls("finish_job_run", number, outcome) is True
    return number


def runs(calls: Calls) -> list[tuple[str, str]]:
    rows = calls.ask("SELECT instance, outcome FROM public.job_runs ORDER BY id")
    return [(row["instance"], row["outcome"]) for row in rows]


# Who lives -----------------------------------------------------------------------------------------------------


def test_a_service_lives_from_its_first_beat_until_its_lease_ends(calls: Calls) -> None:
    assert living(calls) == []
    calls("beat", "a", "1.2.3")
    assert living(calls) == ["a"]

    let_pass(calls, LEASE - SECOND)
    assert living(calls) == ["a"]
    let_pass(calls, SECOND)
    assert living(calls) == []


def test_a_beat_prolongs_the_lease_and_keeps_the_start(calls: Calls) -> None:
    calls("beat", "a", "1.2.3")
    [first] = calls.ask("SELECT started_at, version FROM public.service_instances")
    for _ in range(3):
        calls("beat", "a", "1.2.3")
        let_pass(calls, LEASE - SECOND)

    assert living(calls) == ["a"]
    [row] = calls.ask("SELECT started_at, version FROM public.service_instances")
    assert row == {"started_at": first["started_at"] - 3 * (LEASE - SECOND), "version": "1.2.3"}


def test_services_live_beside_each_other(calls: Calls) -> None:
    calls("beat", "a")
    calls("beat", "b")
    calls("leave", "a")

    assert living(calls) == ["b"]


def test_a_service_that_leaves_and_comes_back_lives(calls: Calls) -> None:
    calls("beat", "a")
    calls("leave", "a")
    assert living(calls) == []
    calls("beat", "a")
    assert living(calls) == ["a"]


def test_leaving_without_having_been_there_is_no_mistake(calls: Calls) -> None:
    calls("leave", "a")

    assert living(calls) == []


def test_a_service_that_beat_in_a_future_that_was_taken_back_is_gone_until_it_beats_again(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, -HOUR)
    assert living(calls) == []

    calls("beat", "a")
    assert living(calls) == ["a"]


def test_a_service_that_is_gone_for_a_day_is_forgotten(calls: Calls) -> None:
    calls("beat", "old")
    let_pass(calls, DAY + LEASE + SECOND)
    calls("beat", "new")

    assert [row["instance"] for row in calls.ask("SELECT instance FROM public.service_instances")] == ["new"]


# Jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_that_never_ran_is_due(calls: Calls) -> None:
    assert ask_for(calls) is not None
    assert runs(calls) == [("a", "running")]


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_job_is_due_again_a_pause_after_it_began_however_it_ended(calls: Calls, outcome: str) -> None:
    run(calls, "a", outcome=outcome)

    assert (ask_for(calls, "a"), ask_for(calls, "b")) == (None, None)
    let_pass(calls, PAUSE - 2 * SECOND)
    assert ask_for(calls, "b") is None
    let_pass(calls, 2 * SECOND)
    assert ask_for(calls, "b") is not None


def test_a_look_that_comes_as_often_as_the_job_finds_it_due_each_time(calls: Calls) -> None:
    for _ in range(5):
        run(calls)
        let_pass(calls, PAUSE - SECOND / 2)

    assert len(runs(calls)) == 5


def test_a_service_that_has_slept_gets_no_job_before_its_beat_has_said_for_how_long(calls: Calls) -> None:
    calls("beat", "a")
    let_pass(calls, HOUR)

    assert ask_for(calls) is None
    calls("beat", "a")

    assert calls.one("SELECT count(*) FROM public.blind_periods") == 1
    assert ask_for(calls) is not None


def test_jobs_are_due_independently_of_each_other(calls: Calls) -> None:
    run(calls, job="alert_checks")

    assert ask_for(calls, job="self_check") is not None


def test_a_job_that_is_to_run_at_once_runs_whatever_its_pause(calls: Calls) -> None:
    run(calls)

    assert ask_for(calls, pause=timedelta(0)) is not None


def test_two_services_that_ask_at_once_get_one_run(calls: Calls, new_session: NewSession) -> None:
    first, second = new_session(), new_session()
    first.ask("BEGIN")

    assert ask_for(first, "a") is not None
    assert ask_for(second, "b") is None
    first.ask("COMMIT")
    assert ask_for(second, "b") is None


def test_twenty_services_that_ask_at_once_get_one_run(calls: Calls, new_session: NewSession) -> None:
    services = [(new_session(), f"service-{number}") for number in range(20)]
    for session, instance in services:
        session("beat", instance)

    with ThreadPoolExecutor(len(services)) as pool:
        answers = list(pool.map(lambda service: ask_for(*service), services))

    assert sum(answer is not None for answer in answers) == 1
    assert len(runs(calls)) == 1


def test_a_run_goes_on_for_as_long_as_its_service_lives(calls: Calls) -> None:
    calls("beat", "a")
    assert ask_for(calls, "a") is not None
    let_pass(calls, HOUR)
    calls("beat", "a")

    assert ask_for(calls, "b") is None


@pytest.mark.parametrize("ends", [end_service, lambda calls, instance: calls("leave", instance)], ids=["killed", "stopped"])  # fmt: skip
def test_a_run_whose_service_is_gone_is_taken_over_at_once_and_marked_as_abandoned(calls: Calls, ends: Any) -> None:
    calls("beat", "dead")
    number = ask_for(calls, "dead")
    ends(calls, "dead")

    assert ask_for(calls, "b") is not None

    assert runs(calls) == [("dead", "abandoned"), ("b", "running")]
    assert calls.one("SELECT error FROM public.job_runs WHERE id = %s", number) == "it never said how it ended"
    assert calls("finish_job_run", number, "succeeded") is False


def test_a_run_whose_service_has_been_forgotten_is_taken_over(calls: Calls) -> None:
    calls("beat", "dead")
    ask_for(calls, "dead")
    let_pass(calls, 3 * DAY)
    calls("beat", "b")

    assert ask_for(calls, "b") is not None


def test_a_run_of_a_service_that_has_not_beaten_yet_is_left_to_it_for_a_pause(calls: Calls) -> None:
    ask_for(calls, "starting")
    assert ask_for(calls, "b") is None

    let_pass(calls, PAUSE)

    assert ask_for(calls, "b") is not None


def test_a_service_that_could_not_say_how_its_run_ended_runs_the_job_again(calls: Calls) -> None:
    calls("beat", "a")
    ask_for(calls, "a")
    let_pass(calls, PAUSE)
    calls("beat", "a")

    assert ask_for(calls, "a") is not None
    assert runs(calls) == [("a", "abandoned"), ("a", "running")]


def test_a_job_is_due_when_the_clock_was_put_back_behind_its_last_run(calls: Calls) -> None:
    run(calls)
    let_pass(calls, -2 * HOUR)

    assert ask_for(calls) is not None


# Daily ---------------------------------------------------------------------------------------------------------


def daily(calls: Calls, since: timedelta) -> int | None:
    """Ask for the clean-up that is due since that long ago."""
    due = calls.one("SELECT now() - %s", since)
    return ask_for(calls, job="cleanup", pause=HOUR, due_since=due)


def clean_up(calls: Calls, since: timedelta, outcome: str) -> None:
    number = daily(calls, since)
    assert number is not None
    calls("finish_job_run", number, outcome)


def test_a_daily_job_runs_once_after_each_moment_at_which_it_is_due(calls: Calls) -> None:
    clean_up(calls, MINUTE, "succeeded")
    for hours in range(1, 24):
        let_pass(calls, HOUR)
        assert daily(calls, hours * HOUR + MINUTE) is None
    let_pass(calls, HOUR)

    assert daily(calls, MINUTE) is not None


def test_a_daily_job_that_failed_runs_again_after_its_pause(calls: Calls) -> None:
    clean_up(calls, MINUTE, "failed")
    assert daily(calls, MINUTE) is None
    let_pass(calls, HOUR)

    assert daily(calls, HOUR + MINUTE) is not None


def test_a_daily_job_that_was_missed_while_no_service_ran_runs_late(calls: Calls) -> None:
    clean_up(calls, MINUTE, "succeeded")
    let_pass(calls, 3 * DAY)

    assert daily(calls, 10 * HOUR) is not None


def test_a_daily_job_that_succeeded_in_a_future_that_was_taken_back_is_due(calls: Calls) -> None:
    clean_up(calls, MINUTE, "succeeded")
    let_pass(calls, -2 * DAY)

    assert daily(calls, MINUTE) is not None
