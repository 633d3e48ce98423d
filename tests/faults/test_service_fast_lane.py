"""What cannot wait is told long before the next check, whether or not notices arrive, and a fast lane that hangs or fails hurts nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.conftest import StartService
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Document, Look, channels_of, make_config
from tests.support.slack import FakeSlack

CHECKED = "SELECT count(*) = %s FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'"
HANGS = 4711  # the lock that a look waits for which was made to hang
WAITING_FOR_LOCK = (
    f"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {HANGS} AND NOT granted)"
)


def rarely_checking(fast_checks_seconds: int, **sections: Any) -> Document:
    """A config that checks at the start, and then after an hour."""
    schedule = {"alert_checks_seconds": 3600, "fast_checks_seconds": fast_checks_seconds}
    return make_config(schedule=schedule, **sections)


LOOK = """
CREATE OR REPLACE FUNCTION public.watch_facts(p_now timestamptz DEFAULT now()) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    v_changes integer;
BEGIN
    PERFORM nextval('public.looks_begun');
    {}
    v_changes := public.watch_facts_itself(p_now);
    PERFORM nextval('public.looks_ended');
    RETURN v_changes;
END
$body$
"""


@pytest.fixture(autouse=True)
def counting(look: Look) -> None:
    """Have the looks of this test counted, also those that fail."""
    look.ask("CREATE SEQUENCE public.looks_begun MINVALUE 0")
    look.ask("CREATE SEQUENCE public.looks_ended MINVALUE 0")
    look.ask("SELECT nextval('public.looks_begun'), nextval('public.looks_ended')")
    look.ask("ALTER FUNCTION public.watch_facts RENAME TO watch_facts_itself")
    look.ask(LOOK.format(""))


@contextmanager
def every_look(look: Look, does: str) -> Iterator[None]:
    """Let each look do that before anything else, until the block ends."""
    look.ask(LOOK.format(does))
    try:
        yield
    finally:
        look.ask(LOOK.format(""))


def looks(look: Look, which: str = "ended") -> int:
    count = look.one(f"SELECT last_value FROM public.looks_{which}")
    assert isinstance(count, int)
    return count


def wait_for_looks(look: Look, more: int = 1, which: str = "ended") -> None:
    """Wait until so many more looks have ended."""
    look.wait_for(f"SELECT last_value >= %s FROM public.looks_{which}", looks(look, which) + more)


def wait_for_first_check(look: Look) -> None:
    look.wait_for(CHECKED, 1)
    look.wait_for("SELECT last_value > 0 FROM public.looks_ended")


def unhealthy(look: Look) -> None:
    look("update_system_health", "api", "main", "unhealthy", p_failure_reason="timeout")


def critical_error(look: Look, component: str = "billing") -> None:
    look("record_error", None, "timeout", "critical", "no answer", component)


def error_rate(look: Look) -> None:
    look.ask(
        "SELECT public.record_error('t' || n, 'timeout', 'low', 'no answer', 'parser') FROM generate_series(1, 25) AS n"
    )


def backlog(look: Look) -> None:
    look("update_queue_metrics", "mail", 250)


def stuck_task(look: Look) -> None:
    look.ask("SELECT public.start_task_tracking('t', 'ocr', p_at => clock_timestamp() - interval '3 minutes')")


URGENT: dict[str, Callable[[Look], None]] = {
    "CRITICAL api/main: is unhealthy: timeout": unhealthy,
    "CRITICAL billing: 1 critical error": critical_error,
    "LOW parser: 25 errors": error_rate,
    "HIGH mail: 250 waiting": backlog,
    "LOW ocr: a task is running": stuck_task,
}


@pytest.fixture
def pooler(postgres_server: PostgresUnderTest, memory_path: Path) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server, memory_path / "pooler", pool_size=4) as pooler:
        yield pooler


def assert_all_is_told(look: Look, slack: FakeSlack) -> None:
    wait_for_first_check(look)
    for record in URGENT.values():
        record(look)

    told = [post.preview for post in slack.wait_for(len(URGENT), deadline=20)]

    assert [words for words in URGENT if not any(words in preview for preview in told)] == []
    assert len(told) == len(URGENT)
    assert look.one(CHECKED, 1)


def test_each_kind_that_cannot_wait_is_told_long_before_the_next_check(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    start_service(rarely_checking(1), channels_of(slack))

    assert_all_is_told(look, slack)


def test_behind_a_pooler_that_passes_no_notice_on_they_are_told_as_well(
    pooler: PgBouncer, slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    config = rarely_checking(1, database={"url": "$env:DATABASE_URL", "pooled": True})
    environment = {"DATABASE_URL": pooler.url(look.connection.info.dbname), **channels_of(slack)}
    start_service(config, environment)

    assert_all_is_told(look, slack)


def test_a_notice_leads_to_a_look_at_once_and_a_storm_of_them_to_four_looks_a_second(
    look: Look, start_service: StartService
) -> None:
    levels = {"critical_errors": {"low": 1, "critical": 200}}
    start_service(rarely_checking(3600, alert_thresholds=levels))
    wait_for_first_check(look)
    before, began = looks(look), look.one("SELECT clock_timestamp()")

    for _ in range(200):
        critical_error(look)

    look.wait_for(
        "SELECT EXISTS (SELECT FROM public.alerts WHERE alert_type = 'critical_errors' AND severity = 'critical')"
    )
    seconds = look.one("SELECT extract(epoch FROM clock_timestamp() - %s)::double precision", began)
    assert 1 <= looks(look) - before <= 4 * seconds + 2
    assert look.one(CHECKED, 1)


def test_what_is_noticed_during_a_look_leads_to_another(
    look: Look, start_service: StartService, database_url: str
) -> None:
    start_service(rarely_checking(3600))
    wait_for_first_check(look)
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [HANGS])
        # After the look has seen what there is.
        with every_look(
            look,
            f"v_changes := public.watch_facts_itself(p_now); PERFORM pg_advisory_xact_lock({HANGS}); RETURN v_changes;",
        ):
            critical_error(look)
            look.wait_for(WAITING_FOR_LOCK)
            unhealthy(look)
    look.wait_for("SELECT count(*) = 2 FROM public.alerts")
    assert look.one(CHECKED, 1)


def test_the_rhythm_of_the_config_is_kept_and_a_new_one_is_in_force_at_once(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(rarely_checking(3600), channels_of(slack))
    wait_for_first_check(look)
    began = look.one("SELECT clock_timestamp()")
    backlog(look)
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '3 seconds'", began)
    assert look.one("SELECT count(*) FROM public.alerts") == 0

    service.reload(rarely_checking(1))
    look.wait_for(CHECKED, 2)
    look("update_queue_metrics", "exports", 250)

    look.wait_for("SELECT count(*) = 2 FROM public.alerts")
    assert look.one(CHECKED, 2)


def test_two_services_that_look_at_once_raise_and_tell_once(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    services = [start_service(rarely_checking(1), channels_of(slack)) for _ in range(2)]
    for service in services:
        service.wait_until_ready()
    wait_for_looks(look, 3)

    unhealthy(look)
    backlog(look)

    wait_for_looks(look, 5)
    slack.wait_for(2)
    look.wait_for("SELECT count(*) = 2 FROM public.alert_deliveries WHERE status = 'sent'")
    assert look.one("SELECT count(*) FROM public.alert_transitions") == 2
    assert len(slack.posts) == 2


# A fast lane that is broken ---------------------------------------------------------------------------------------


def test_a_look_that_hangs_stops_neither_checks_nor_messages_and_goes_on_by_itself(
    slack: FakeSlack, look: Look, start_service: StartService, database_url: str
) -> None:
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [HANGS])
        with every_look(look, f"PERFORM pg_advisory_xact_lock({HANGS});"):
            look.wait_for(WAITING_FOR_LOCK)
            begun = looks(look, "begun")
            checked = look.one("SELECT count(*) FROM public.job_runs WHERE job = 'alert_checks'")

            backlog(look)

            assert "HIGH mail: 250 waiting" in slack.wait_for(1)[0].preview
            for job in ("alert_checks", "self_check", "host_sampling"):
                more = "SELECT count(*) >= %s FROM public.job_runs WHERE job = %s AND outcome = 'succeeded'"
                look.wait_for(more, checked + 2, job)
            assert looks(look, "begun") == begun
            service.wait_for_event("job_still_running", job="fast_checks")
    wait_for_looks(look)
    assert len(service.events_named("job_still_running", job="fast_checks")) == 1


def test_a_look_that_fails_is_told_of_once_and_once_when_it_works_again(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(rarely_checking(1), channels_of(slack))
    wait_for_first_check(look)

    with every_look(look, "RAISE EXCEPTION 'out of order';"):
        wait_for_looks(look, 4, "begun")

    service.wait_for_event("job_recovered", job="fast_checks")
    [told] = service.events_named("job_failed", job="fast_checks", level="error")
    assert "out of order" in told["exception"][0]["exc_value"]
    backlog(look)
    slack.wait_for(1)
    assert look.one(CHECKED, 1)
