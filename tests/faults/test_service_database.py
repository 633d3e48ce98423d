"""The database away at the start, cut off, killed and deaf: the service says so once, loses nothing, and goes on by itself."""

from __future__ import annotations

import psycopg

from tests.faults.conftest import StartService
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Look, ServiceProcess, channels_of
from tests.support.slack import Answer, FakeSlack

SAMPLED_WITHIN = "SELECT count(*) >= %s FROM public.host_metrics WHERE sampled_at BETWEEN %s AND %s"


def troubles(service: ServiceProcess) -> list[str]:
    """Name every line above info, in order. That a job took longer than its second is no trouble here."""
    lines = [event["event"] for event in service.events if event["level"] not in {"debug", "info"}]
    return [line for line in lines if line != "job_still_running"]


def assert_one_outage_was_told(service: ServiceProcess) -> None:
    assert troubles(service) == ["database_unavailable"]
    [back] = service.events_named("database_available")
    assert 0 <= back["away_seconds"] < 60
    assert not any("exception" in event for event in service.events)


def test_a_service_whose_database_is_away_says_so_once_and_starts_when_it_comes(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    look("update_queue_metrics", "mail", 250)
    line.refuse()
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    lost = service.wait_for_event("database_unavailable", level="error")
    assert "Connection refused" in lost["reason"]
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '7 seconds'", lost["timestamp"])

    line.allow()

    ready = service.wait_until_ready()
    slack.wait_for(1)
    look.wait_for(SAMPLED_WITHIN, 1, lost["timestamp"], ready["timestamp"])
    assert_one_outage_was_told(service)


def test_a_database_that_goes_away_is_told_once_and_what_was_sampled_meanwhile_is_stored_afterwards(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()
    look.wait_for("SELECT count(*) > 0 FROM public.host_metrics")

    line.refuse()
    lost = service.wait_for_event("database_unavailable", level="error")
    look("update_queue_metrics", "mail", 250)
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '7 seconds'", lost["timestamp"])
    line.allow()

    back = service.wait_for_event("database_available")
    slack.wait_for(1, deadline=20)
    look.wait_for(SAMPLED_WITHIN, 1, lost["timestamp"], back["timestamp"])
    service.wait_for_event("host_samples_caught_up")
    assert_one_outage_was_told(service)


def test_a_database_that_takes_packets_and_answers_none_is_noticed_and_told_once(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()

    line.go_deaf()
    service.wait_for_event("database_unavailable", level="error", seconds=40)
    look("update_queue_metrics", "mail", 250)
    line.cut()
    line.allow()

    service.wait_for_event("database_available")
    slack.wait_for(1, deadline=20)
    assert_one_outage_was_told(service)


def test_a_killed_database_server_is_told_once_and_the_service_goes_on_with_the_next(
    own_postgres: PostgresUnderTest, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": own_postgres.url, **channels_of(slack)})
    service.wait_until_ready()

    own_postgres.kill()
    service.wait_for_event("database_unavailable")
    own_postgres.start()

    service.wait_for_event("database_available")
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        Look(connection)("update_queue_metrics", "mail", 250)
    slack.wait_for(1)
    assert_one_outage_was_told(service)


def test_connections_that_are_cut_are_replaced_without_losing_a_message(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()

    line.cut()
    look("update_queue_metrics", "mail", 250)

    slack.wait_for(1)
    assert troubles(service) in ([], ["database_unavailable"])


def test_what_was_sent_while_the_database_went_away_is_recorded_afterwards_and_not_sent_again(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=1))
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()
    look("update_queue_metrics", "mail", 250)
    slack.wait_for(1)

    line.refuse()
    service.wait_for_event("database_unavailable")
    assert look.one("SELECT status FROM public.alert_deliveries") == "sending"
    line.allow()

    service.wait_for_event("delivery_sent")
    assert look.ask("SELECT status, attempts, uncertain FROM public.alert_deliveries") == [
        {"status": "sent", "attempts": 1, "uncertain": False}
    ]
    assert len(slack.posts) == 1


def test_a_database_that_refuses_the_password_is_waited_for_without_telling_the_password(
    line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    wrong = url_over_line.replace("automon:", "automon:Wr0ng")
    service = start_service(None, {"DATABASE_URL": wrong})

    told = service.wait_for_event("database_unavailable")

    assert "password authentication failed" in told["reason"]
    assert service.stop() == 0
