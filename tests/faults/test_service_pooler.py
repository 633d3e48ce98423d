"""The whole way behind a transaction pooler, which passes no notice on and resets nothing between two transactions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import StartService
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, ServiceProcess, channels_of, make_config
from tests.support.slack import Answer, FakeSlack

POOLED = make_config(database={"url": "$env:DATABASE_URL", "pooled": True})
POLL_SECONDS = 5
CHECKED_SINCE = (
    "SELECT count(DISTINCT instance) = %s FROM public.job_runs"
    " WHERE job = 'alert_checks' AND outcome = 'succeeded' AND started_at > %s"
)
MISTAKES = {"uncaught_exception", "sender_round_failed", "heartbeat_failed", "job_failed", "listener_failed"}


@pytest.fixture
def pooler(postgres_server: PostgresUnderTest, memory_path: Path) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server, memory_path / "pooler", pool_size=4) as pooler:
        yield pooler


@pytest.fixture
def environment(pooler: PgBouncer, look: Look, slack: FakeSlack) -> dict[str, Any]:
    return {"DATABASE_URL": pooler.url(look.connection.info.dbname), **channels_of(slack)}


def assert_no_mistakes(service: ServiceProcess) -> None:
    assert [event for event in service.events if event["event"] in MISTAKES] == []
    assert not [event for event in service.events if event["logger"].startswith("apscheduler")]


def test_an_alert_that_somebody_else_raises_is_told_within_the_poll_and_its_end_too(
    environment: dict[str, Any], slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(POOLED, environment)
    service.wait_until_ready()

    look.raise_alert()

    assert "HIGH mail: 250 waiting" in slack.wait_for(1, deadline=POLL_SECONDS + 1)[0].preview
    look("update_queue_metrics", "mail", 3)
    assert "RESOLVED mail: 3 waiting" in slack.wait_for(2, deadline=POLL_SECONDS + 1)[1].preview
    look.wait_for("SELECT bool_and(status = 'sent') FROM public.alert_deliveries")
    assert_no_mistakes(service)
    assert service.stop() == 0
    assert look.one("SELECT lease_until <= clock_timestamp() FROM public.service_instances")


def test_two_services_share_the_jobs_and_one_takes_over_what_the_other_leaves_behind(
    environment: dict[str, Any], slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=60))
    first = start_service(POOLED, environment)
    first.wait_until_ready()
    look.raise_alert()
    slack.wait_for(1, deadline=POLL_SECONDS + 1)
    second = start_service(POOLED, environment)
    second.wait_until_ready()
    look.wait_for("SELECT count(DISTINCT instance) = 2 FROM public.job_runs WHERE job = 'host_sampling'")
    overlaps = (
        "SELECT count(*) FROM public.job_runs a JOIN public.job_runs b ON a.job = b.job AND a.id < b.id"
        " AND b.started_at < COALESCE(a.finished_at, 'infinity') WHERE a.job <> 'host_sampling'"
    )
    assert look.one(overlaps) == 0

    first.kill()
    look.ask(
        "UPDATE public.service_instances SET lease_until = clock_timestamp() WHERE instance LIKE '%%:' || %s", first.pid
    )

    repeated = slack.wait_for(2, deadline=POLL_SECONDS + 1)[1]
    assert "an earlier try may have arrived already" in repeated.text
    look.wait_for(CHECKED_SINCE, 1, look.one("SELECT clock_timestamp()"))
    assert_no_mistakes(second)
