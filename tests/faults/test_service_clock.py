"""A wall clock that is set while the service and its server run: checks, messages and samples go on within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import StartService
from tests.support.clock import ShiftedClock
from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.service import Look, ServiceProcess, channels_of
from tests.support.slack import Answer, FakeSlack
from tests.support.waiting import wait_until

HOUR_BACK = timedelta(hours=-1)
MONTH_AHEAD = timedelta(days=30)

SOON = 10
NEW_RUNS = (
    "SELECT count(*) >= 2 FROM public.job_runs"
    " WHERE job = %s AND outcome = 'succeeded' AND id > %s AND started_at BETWEEN %s AND clock_timestamp()"
)
NEW_SAMPLES = "SELECT count(*) >= 2 FROM public.host_metrics WHERE sampled_at BETWEEN %s AND clock_timestamp()"
UNTOLD = (
    "SELECT a.source FROM public.alert_transitions t JOIN public.alerts a ON a.id = t.alert_id"
    " WHERE a.alert_type = 'queue_backlog' AND NOT EXISTS (SELECT FROM public.alert_deliveries d WHERE d.transition_id = t.id AND d.status = 'sent')"
)


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path / "clock")


@pytest.fixture
def shifted_postgres(clock: ShiftedClock, memory_path: Path, migrated_postgres: Path) -> Iterator[PostgresUnderTest]:
    directory = copy_server(migrated_postgres, memory_path / "server")
    with PostgresUnderTest(directory, environment=clock.environment()) as server:
        yield server


@pytest.fixture
def shifted_look(shifted_postgres: PostgresUnderTest) -> Iterator[Look]:
    with psycopg.connect(shifted_postgres.url, autocommit=True) as connection:
        yield Look(connection)


def exceptions(service: ServiceProcess) -> set[str]:
    """Name every exception in the log, but for what PostgreSQL does to a statement when the clock is set around it."""
    told = [cause for event in service.events for cause in event.get("exception", [])]
    return {cause["exc_type"] for cause in told} - {"QueryCanceled"}


@pytest.mark.parametrize(
    "shift", [pytest.param(HOUR_BACK, id="an hour back"), pytest.param(MONTH_AHEAD, id="a month ahead")]
)
def test_checks_messages_retries_and_samples_go_on_within_seconds(
    shift: timedelta,
    clock: ShiftedClock,
    shifted_postgres: PostgresUnderTest,
    shifted_look: Look,
    slack: FakeSlack,
    start_service: StartService,
) -> None:
    look = shifted_look
    slack.script(Answer.broken(), Answer.broken())
    service = start_service(None, {"DATABASE_URL": shifted_postgres.url, **clock.environment(), **channels_of(slack)})
    service.wait_until_ready()
    look.wait_for("SELECT count(*) > 0 FROM public.host_metrics")
    look.raise_alert()
    look.wait_for("SELECT count(*) = 2 FROM public.delivery_attempts")
    newest_run = look.one("SELECT max(id) FROM public.job_runs")

    clock.shift(shift)
    shifted = look.one("SELECT clock_timestamp()")
    look("update_queue_metrics", "exports", 250)

    for job in ("alert_checks", "self_check", "host_sampling"):
        look.wait_for(NEW_RUNS, job, newest_run, shifted, seconds=SOON)
    look.wait_for(NEW_SAMPLES, shifted, seconds=SOON)
    look.wait_for("SELECT count(*) > 0 FROM public.alerts WHERE source = 'exports'", seconds=SOON)
    look.wait_for(f"SELECT NOT EXISTS ({UNTOLD})", seconds=SOON)
    assert [post.preview for post in slack.posts if " exports:" in post.preview]
    assert service.wait_for_event("clock_jumped")["seconds"] == pytest.approx(shift.total_seconds(), abs=5)
    look.raise_alert(queue="later")
    wait_until(lambda: " later:" in slack.posts[-1].preview, seconds=SOON, what="a message about what came later")
    assert exceptions(service) == set()


def test_a_message_that_is_being_sent_while_the_clock_is_set_back_is_sent_and_recorded_once(
    clock: ShiftedClock,
    shifted_postgres: PostgresUnderTest,
    shifted_look: Look,
    slack: FakeSlack,
    start_service: StartService,
) -> None:
    look = shifted_look
    slack.script(Answer.slow(seconds=1))
    service = start_service(None, {"DATABASE_URL": shifted_postgres.url, **clock.environment(), **channels_of(slack)})
    service.wait_until_ready()
    look.raise_alert()
    slack.wait_for(1)

    clock.shift(HOUR_BACK)

    look.wait_for("SELECT status = 'sent' AND attempts = 1 FROM public.alert_deliveries", seconds=SOON)
    look.raise_alert(queue="later")
    assert [" later:" in post.preview for post in slack.wait_for(2)] == [False, True]
    assert exceptions(service) == set()
