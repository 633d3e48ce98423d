"""Who watches automon from outside: systemd by its watchdog, somebody far away by pings. Both hear one judgement."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.acceptance.test_service_manager import Manager
from tests.faults.conftest import StartService
from tests.support.ping import PATH, FakePings
from tests.support.proxy import TcpProxy
from tests.support.service import Look, channels_of, make_config
from tests.support.slack import Answer, FakeSlack
from tests.support.waiting import wait_until

PINGING = make_config(ping={"every_seconds": 1})
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def outside() -> Iterator[FakePings]:
    with FakePings() as outside:
        yield outside


def wait_for_ping(outside: FakePings, path: str, body: str, *, after: int, count: int = 1) -> None:
    """Wait until so many pings have come to that path with that text, without the first `after` of all pings."""

    def found() -> bool:
        return sum(ping.path == path and body in ping.body for ping in outside.pings[after:]) >= count

    wait_until(found, seconds=20, what=f"{path} {body!r}: {outside.pings}")


def test_while_the_database_is_away_pings_say_so_and_the_watchdog_is_fed(
    manager: Manager, outside: FakePings, line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    watched = {"NOTIFY_SOCKET": str(manager.path), "AUTOMON_PING_URL": outside.url}
    start_service(PINGING, {"DATABASE_URL": url_over_line, **watched})
    manager.wait_for("STATUS=checks run")
    assert outside.wait_for(1)[0].path == f"{PATH}/start"
    wait_for_ping(outside, PATH, "works", after=1)

    line.refuse()
    manager.wait_for("STATUS=waiting for the database")
    manager.forget()
    manager.wait_for("WATCHDOG=1", count=3)
    assert manager.times("STATUS=") == 0
    wait_for_ping(outside, f"{PATH}/fail", "the database does not answer", after=1)

    line.allow()
    manager.wait_for("STATUS=checks run")
    wait_for_ping(outside, PATH, "works", after=len(outside.pings))
    assert [ping.path for ping in outside.pings].count(f"{PATH}/start") == 1


def test_the_watchdog_is_fed_no_more_when_messages_wait_that_nobody_tries_to_send(
    manager: Manager, outside: FakePings, slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    start_service(None, channels_of(slack)).wait_until_ready()
    look.ask("UPDATE public.notification_channels SET next_send_at = clock_timestamp() + %s, pause = %s", HOUR, HOUR)
    look.raise_alert()
    look.ask("UPDATE public.alert_deliveries SET next_attempt_at = next_attempt_at - %s", 4 * MINUTE)

    watched = {"NOTIFY_SOCKET": str(manager.path), "AUTOMON_PING_URL": outside.url}
    start_service(PINGING, {**channels_of(slack), **watched})

    manager.wait_for("STATUS=messages wait, and no attempt is made to send them")
    manager.forget()
    wait_for_ping(outside, f"{PATH}/fail", "messages wait, and no attempt is made", after=len(outside.pings), count=3)
    manager.hear()
    assert manager.heard == []


def test_a_ping_tells_that_no_channel_can_be_reached_and_the_watchdog_is_fed_all_the_same(
    manager: Manager, outside: FakePings, slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.no_service())
    first = start_service(None, channels_of(slack))
    first.wait_until_ready()
    look.raise_alert()
    first.wait_for_event("channel_stopped")
    first.stop()

    watched = {"NOTIFY_SOCKET": str(manager.path), "AUTOMON_PING_URL": outside.url}
    start_service(PINGING, {**channels_of(slack), **watched})

    wait_for_ping(outside, f"{PATH}/fail", "no channel can be reached", after=0)
    manager.wait_for("STATUS=no channel can be reached")
    manager.forget()
    manager.wait_for("WATCHDOG=1", count=2)
