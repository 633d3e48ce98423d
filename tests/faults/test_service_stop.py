"""How the service ends: soon, with what it was sending finished and written down."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from tests.faults.conftest import StartService
from tests.support.proxy import TcpProxy
from tests.support.service import Look, channels_of
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_ends_it_after_what_it_is_sending_was_sent_and_recorded(
    number: Signals, slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=2))
    service = start_service(None, channels_of(slack, smtp))
    service.wait_until_ready()
    look.raise_alert()
    slack.wait_for(1)

    assert service.stop(number) == 0

    assert look.one("SELECT status FROM public.alert_deliveries WHERE channel = 'slack'") == "sent"
    assert [event["event"] for event in service.events][-1] == "service_stopped"


def test_an_idle_service_ends_at_once_and_more_signals_do_no_harm(start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()

    service.send(SIGTERM)
    service.send(SIGTERM)
    service.send(SIGINT)

    assert service.wait(10) == 0
    assert len(service.events_named("service_stopping")) == 1
    assert service.events_named("uncaught_exception") == []


def test_signals_that_interrupt_each_other_neither_hang_it_nor_are_lost(start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()

    for _ in range(3000):
        service.send(SIGHUP)
    service.send(SIGTERM)

    assert service.wait(20) == 0
    assert service.events_named("config_accepted")
    assert service.events_named("service_stopped")


def test_a_service_that_waits_for_its_database_ends_at_once(
    line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    line.refuse()
    service = start_service(None, {"DATABASE_URL": url_over_line})
    service.wait_for_event("database_unavailable")

    assert service.stop(seconds=10) == 0


def test_a_service_whose_database_is_deaf_ends_within_its_time(
    line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line})
    service.wait_until_ready()
    line.go_deaf()

    assert service.stop() == 0


def test_a_mail_server_that_hangs_for_good_does_not_hold_the_end_up(look: Look, start_service: StartService) -> None:
    with FakeSmtp(silent_after_data=True) as hanging:
        service = start_service(None, channels_of(smtp=hanging))
        service.wait_until_ready()
        look.raise_alert()
        hanging.wait_for(1)

        assert service.stop() == 0

    # The mail was handed over and never confirmed: what is known of it is written down, or its lease ends.
    assert look.one("SELECT status FROM public.alert_deliveries") in {"pending", "sending"}
