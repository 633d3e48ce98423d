"""When nobody watches: people hear of it while it lasts where somebody can tell them, and once when it is over."""

from __future__ import annotations

import re
import socket
from signal import SIGCONT

from tests.faults.conftest import StartService
from tests.support.proxy import TcpProxy
from tests.support.service import Look, ServiceProcess, channels_of, make_config
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

SOON = make_config(alerts={"blind_after_minutes": 0.05})
# A beat comes every few seconds.
TOLD_WITHIN = 5
NO_ANSWER = "CRITICAL automon: the database has not answered for "


def let_a_minute_pass(look: Look) -> None:
    """Make it a minute longer since somebody has watched."""
    look.ask(
        "UPDATE public.watch_state SET seen_at = seen_at - interval '1 minute', seen_until = seen_until - interval '1 minute'"
    )


def let_it_settle(look: Look) -> None:
    """Let the five seconds pass after which a blind period is told of, as soon as there is one."""
    look.wait_for("SELECT count(*) = 1 FROM public.blind_periods")
    look.ask(
        "UPDATE public.blind_periods SET began_at = began_at - interval '5 seconds', ended_at = ended_at - interval '5 seconds'"
    )


def wait_for_beat(look: Look, service: ServiceProcess) -> None:
    look.wait_for("SELECT count(*) = 1 FROM public.service_instances WHERE instance LIKE '%%:' || %s", service.pid)


def blind_periods(look: Look) -> int:
    return int(look.one("SELECT count(*) FROM public.blind_periods"))


def assert_that_is_all(look: Look, slack: FakeSlack, messages: int) -> None:
    """Check that the next message is about what is raised now."""
    look.wait_for("SELECT COALESCE(bool_and(status = 'sent'), true) FROM public.alert_deliveries")
    look.raise_alert(queue="later")
    assert " later:" in slack.wait_for(messages + 1)[messages].preview
    assert blind_periods(look) == look.one("SELECT count(*) FROM public.alerts WHERE alert_type = 'automon_blind'")


def test_each_channel_hears_once_that_the_database_is_away_and_once_that_it_is_back_however_often_it_must_be_tried(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    slack.script(Answer.broken())
    service = start_service(SOON, {"DATABASE_URL": url_over_line, **channels_of(slack, smtp)})
    service.wait_until_ready()
    wait_for_beat(look, service)

    line.refuse()

    refused, taken = slack.wait_for(2, deadline=15)
    assert refused.arrived_at + 0.8 < taken.arrived_at
    [mail] = smtp.wait_for(1)
    noted = service.wait_for_event("alert_message", level="error", state="outage")
    for told in (taken.preview, mail.text, noted["headline"]):
        assert re.search(r"CRITICAL automon: the database has not answered for \d+ s: Connection refused", told)
    for channel, attempts in {"slack": 2, "email": 1, "journal": 1}.items():
        service.wait_for_event("outage_told", channel=channel, attempts=attempts)
    let_a_minute_pass(look)
    line.allow()
    let_it_settle(look)

    ends = slack.wait_for(3, deadline=TOLD_WITHIN)[2].preview, smtp.wait_for(2)[1].text
    for told in ends:
        assert re.search(r"RESOLVED automon: was blind for \d+ s: the database did not answer", told)
    assert_that_is_all(look, slack, messages=3)
    assert len(smtp.wait_for(3)) == 3
    assert len(service.events_named("alert_message")) == 1


def test_nobody_hears_of_an_outage_that_is_over_soon(
    slack: FakeSlack, look: Look, line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()
    wait_for_beat(look, service)

    line.refuse()
    service.wait_for_event("database_unavailable")
    line.allow()
    service.wait_for_event("database_available")

    assert_that_is_all(look, slack, messages=0)
    assert service.events_named("alert_message", "outage_told") == []


def test_a_restart_within_seconds_is_no_blindness(look: Look, slack: FakeSlack, start_service: StartService) -> None:
    first = start_service(SOON, channels_of(slack))
    first.wait_until_ready()
    wait_for_beat(look, first)
    first.stop()

    second = start_service(SOON, channels_of(slack))

    wait_for_beat(look, second)
    assert_that_is_all(look, slack, messages=0)


def test_the_first_start_on_a_database_is_no_blindness(
    look: Look, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(SOON, channels_of(slack))

    wait_for_beat(look, service)
    assert_that_is_all(look, slack, messages=0)


def test_the_next_start_tells_once_that_no_service_ran(
    look: Look, slack: FakeSlack, start_service: StartService
) -> None:
    first = start_service(SOON, channels_of(slack))
    first.wait_until_ready()
    wait_for_beat(look, first)
    first.stop()
    let_a_minute_pass(look)

    for _ in range(2):
        start_service(SOON, channels_of(slack)).wait_until_ready()
    let_it_settle(look)

    [post] = slack.wait_for(1, deadline=TOLD_WITHIN)
    assert re.search(r"RESOLVED automon: was blind for \d+ s: no service ran", post.preview)
    assert_that_is_all(look, slack, messages=1)


def test_the_only_service_tells_once_that_it_was_frozen(
    look: Look, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(SOON, channels_of(slack))
    service.wait_until_ready()
    wait_for_beat(look, service)
    service.freeze()
    let_a_minute_pass(look)

    service.send(SIGCONT)
    let_it_settle(look)

    [post] = slack.wait_for(1, deadline=TOLD_WITHIN)
    assert ": the machine slept, or the service was stopped" in post.preview
    assert_that_is_all(look, slack, messages=1)


def test_a_service_that_alone_lost_its_line_tells_of_its_own_outage_and_the_other_goes_on_checking(
    slack: FakeSlack, look: Look, line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    cut_off = start_service(SOON, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    other = start_service(SOON, channels_of(slack))
    for service in (cut_off, other):
        service.wait_until_ready()
        wait_for_beat(look, service)

    line.refuse()
    [began] = slack.wait_for(1, deadline=15)
    assert NO_ANSWER in began.preview
    look("update_queue_metrics", "mail", 250)
    assert "HIGH mail: 250 waiting" in slack.wait_for(2)[1].preview
    line.allow()

    ended = slack.wait_for(3)[2].preview
    assert f"RESOLVED {socket.gethostname()}: could not reach the database for " in ended
    assert "; other services could" in ended
    assert blind_periods(look) == 0
    assert other.events_named("outage_told") == []
