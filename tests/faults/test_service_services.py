"""Several services on one database: each due job runs once, and what one leaves behind another takes up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from signal import SIGCONT

import psycopg
import pytest

from tests.faults.conftest import StartService
from tests.support.service import Look, ServiceProcess, channels_of
from tests.support.slack import Answer, FakeSlack, Post
from tests.support.waiting import wait_until

MAY_BE_REPEAT = "an earlier try may have arrived already"
MINUTE = timedelta(minutes=1)
AT_ONCE = timedelta(0)
# A look comes every second. A job is due a tenth of its second early; two looks may be a little off their beat.
SHORTEST_PAUSE = 0.85
RUNS_OF_CHECKS = "SELECT count(*) {} FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded' AND instance LIKE '%%:' || %s"


def is_marked(post: Post) -> bool:
    return MAY_BE_REPEAT in post.text


def delivery_of(post: Post) -> int:
    found = re.search(r"delivery (\d+)\Z", post.text)
    assert found is not None, post.text
    return int(found[1])


def start_services(start_service: StartService, count: int, environment: dict[str, str]) -> list[ServiceProcess]:
    services = [start_service(None, environment) for _ in range(count)]
    for service in services:
        service.wait_until_ready()
    return services


def end_lease(look: Look, service: ServiceProcess) -> None:
    """Let the seconds pass after which a silent service counts as gone: there are at most ten of them."""
    lease = "SELECT lease_until < clock_timestamp() + interval '10 seconds' FROM public.service_instances WHERE instance LIKE '%%:' || %s"
    assert look.one(lease, service.pid)
    query = "UPDATE public.service_instances SET lease_until = clock_timestamp() WHERE instance LIKE '%%:' || %s"
    look.ask(query, service.pid)


@contextmanager
def frozen(service: ServiceProcess) -> Iterator[None]:
    """Stop a service where it is, as a machine that sleeps does, until the block ends."""
    service.freeze()
    try:
        yield
    finally:
        service.send(SIGCONT)


def another_session(look: Look) -> psycopg.Connection:
    """Open a transaction beside that of the test; what it has locked is free when its block ends."""
    info = look.connection.info
    return psycopg.connect(info.dsn, password=info.password)


@contextmanager
def alerts_locked(look: Look) -> Iterator[None]:
    """Keep every check waiting, as somebody who is changing alerts does."""
    with another_session(look) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('automon alerts', 0))")
        yield


def wait_for_running_check(look: Look, services: Sequence[ServiceProcess]) -> list[ServiceProcess]:
    """Wait until one of them is at a check; answer that one first."""
    runner = "SELECT split_part(instance, ':', 3)::int AS pid FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'running'"
    pids = [service.pid for service in services]
    look.wait_for(f"SELECT EXISTS ({runner} AND split_part(instance, ':', 3)::int = ANY (%s))", pids)
    [row] = look.ask(runner)
    return sorted(services, key=lambda service: service.pid != row["pid"])


def abandoned_checks(look: Look) -> list[int]:
    """Answer the process numbers of the services whose checks were abandoned."""
    query = "SELECT instance FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'abandoned' AND error <> '' AND finished_at >= started_at"
    return [int(row["instance"].rpartition(":")[2]) for row in look.ask(query)]


@pytest.mark.parametrize("count", [2, 5])
def test_each_due_job_is_run_by_one_service_and_each_service_samples_its_host(
    count: int, look: Look, start_service: StartService
) -> None:
    services = start_services(start_service, count, {})
    # Each judges once by its new config, however long ago another has judged.
    judging = (
        "SELECT count(DISTINCT instance) = %s FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'"
    )
    look.wait_for(judging, count)
    began = look.one("SELECT clock_timestamp()")
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '3 seconds'", began)

    runs = look.ask(
        "SELECT job, started_at, extract(epoch FROM started_at - lag(started_at) OVER (PARTITION BY job ORDER BY id)) AS pause"
        " FROM public.job_runs WHERE job IN ('alert_checks', 'self_check') AND started_at > %s ORDER BY id",
        began,
    )
    pauses = [float(run["pause"]) for run in runs if run["pause"] is not None]
    assert min(pauses) >= SHORTEST_PAUSE
    assert min(Counter(run["job"] for run in runs).values()) >= 2
    assert look.one("SELECT count(*) FROM public.job_runs WHERE job = 'cleanup'") == 1
    overlaps = (
        "SELECT count(*) FROM public.job_runs a JOIN public.job_runs b ON a.job = b.job AND a.id < b.id"
        " AND b.started_at < COALESCE(a.finished_at, 'infinity') WHERE a.job <> 'host_sampling'"
    )
    assert look.one(overlaps) == 0
    sampling = "SELECT DISTINCT split_part(instance, ':', 3) AS pid FROM public.job_runs WHERE job = 'host_sampling' AND started_at > %s"
    assert {int(row["pid"]) for row in look.ask(sampling, began)} == {service.pid for service in services}


def test_the_check_of_a_killed_service_is_taken_over_within_its_lease_and_its_run_is_abandoned(
    look: Look, start_service: StartService
) -> None:
    services = start_services(start_service, 2, {})
    with alerts_locked(look):
        killed, other = wait_for_running_check(look, services)
        killed.kill()
    before = look.one("SELECT clock_timestamp()")
    end_lease(look, killed)

    look.wait_for(f"{RUNS_OF_CHECKS.format('> 0')} AND started_at > %s", other.pid, before, seconds=3)

    assert abandoned_checks(look) == [killed.pid]


def test_a_service_that_ends_in_the_middle_of_a_check_leaves_it_to_the_others_at_once(
    look: Look, start_service: StartService
) -> None:
    services = start_services(start_service, 2, {})
    with alerts_locked(look):
        ending, staying = wait_for_running_check(look, services)
        assert ending.stop() == 0
        is_over = (
            "SELECT lease_until <= clock_timestamp() FROM public.service_instances WHERE instance LIKE '%%:' || %s"
        )
        assert look.one(is_over, ending.pid)
        wait_for_running_check(look, [staying])

    assert abandoned_checks(look) == [ending.pid]
    look.wait_for(RUNS_OF_CHECKS.format("> 0"), staying.pid)


def test_a_service_that_freezes_in_the_middle_of_sending_leads_to_a_marked_repeat_and_goes_on_when_it_thaws(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=1))
    [first] = start_services(start_service, 1, channels_of(slack))
    look.raise_alert()
    slack.wait_for(1)
    with frozen(first):
        [second] = start_services(start_service, 1, channels_of(slack))
        end_lease(look, first)
        look.raise_alert(queue="exports")
        look.wait_for("SELECT count(*) = 2 FROM public.alert_deliveries WHERE status = 'sent'")

    first.wait_for_event("delivery_sent")
    about_mail = [post for post in slack.posts if " mail:" in post.preview]
    assert [is_marked(post) for post in about_mail] == [False, True]
    assert len({delivery_of(post) for post in about_mail}) == 1
    assert second.stop() == 0
    thawed = look.one("SELECT clock_timestamp()")
    look.wait_for(f"{RUNS_OF_CHECKS.format('> 0')} AND started_at > %s", first.pid, thawed)
    look.raise_alert(queue="receipts")
    exports, receipts = slack.wait_for(4)[2:]
    assert (" exports:" in exports.preview, " receipts:" in receipts.preview) == (True, True)
    assert not is_marked(exports)
    assert not is_marked(receipts)


def test_a_service_that_freezes_between_its_claim_and_its_message_does_not_send_what_another_has_sent(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    [first] = start_services(start_service, 1, channels_of(slack))
    rest = (
        "UPDATE public.notification_channels SET next_send_at = clock_timestamp() + %s, pause = %s WHERE name = 'slack'"
    )
    look.ask(rest, MINUTE, MINUTE)
    look.raise_alert()
    with another_session(look) as other:
        # A claim that has chosen its delivery waits for whoever has that row.
        other.execute("SELECT FROM public.alert_deliveries FOR UPDATE")
        look.ask(rest, AT_ONCE, AT_ONCE)
        look.ask("SELECT pg_notify('automon_deliveries', '')")
        waiting = (
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%claim_delivery%'"
        )
        wait_until(lambda: look.connection.execute(waiting).fetchone() == (True,), what="a claim that waits")
        asked = look.one("SELECT clock_timestamp()")
        first.freeze()
    look.wait_for("SELECT status = 'sending' FROM public.alert_deliveries")
    end_lease(look, first)
    start_services(start_service, 1, channels_of(slack))
    look.wait_for("SELECT status = 'sent' AND attempts = 2 FROM public.alert_deliveries")
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '6 seconds'", asked)

    first.send(SIGCONT)

    first.wait_for_event("claim_grew_stale", channel="slack")
    look.wait_for("SELECT count(*) = 3 FROM public.delivery_attempts")
    assert [is_marked(post) for post in slack.posts] == [True]
    assert look.one("SELECT status FROM public.alert_deliveries") == "sent"
