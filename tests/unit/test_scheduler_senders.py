"""Who hears directly that the database is away: each recipient once, with as many attempts as it takes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from structlog.testing import capture_logs

from automon.models import Guidance, Outage
from automon.store import Store
from jobs.delivery import Desk
from jobs.job import Context
from notifiers.channel import DeliveryError, DeliveryReason, Receipt
from notifiers.message import Message
from scheduler.senders import OutageTeller
from tests.support.notifications import CONTEXT

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
# The first pause is a second, spread by a fifth.
LONGEST_FIRST_PAUSE = 1.2 * SECOND


class HandClock:
    """A wall clock and a monotonic one, set by hand."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)
        self.seconds = 50.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, span: timedelta) -> None:
        self.wall += span
        self.seconds += span.total_seconds()


class Mailbox:
    """A channel to two recipients that fails as the script says and then works; `took` is who got what."""

    name = "email"
    recipients = ("ana", "ben")
    pace = timedelta(0)

    def __init__(self, *script: Exception | None) -> None:
        self._script = list(script)
        self.took: list[tuple[str, str]] = []
        self.tries = 0

    def send(self, message: Message, recipient: str) -> Receipt:
        self.tries += 1
        if self._script and (error := self._script.pop(0)):
            raise error
        self.took.append((recipient, message.headline))
        return Receipt(answer="ok", duration=SECOND)


class Stage:
    """A teller, and the outage that it is asked to tell of."""

    def __init__(self, *script: Exception | None) -> None:
        self.clock = HandClock()
        self.mailbox = Mailbox(*script)
        self.outage: Outage | None = None
        # It needs no database: that is the point of it.
        context = Context(store=cast(Store, None), clock=self.clock, instance="ops-1:7", stop=threading.Event())
        self._desk = Desk(channel=self.mailbox, message_context=CONTEXT, guidance_for=lambda *_: Guidance())
        self._teller = OutageTeller(context, lambda: self.outage)

    def begin(self, reason: str = "Connection refused") -> None:
        self.outage = Outage(since=self.clock.now(), at=self.clock.now() + 3 * SECOND, reason=reason)

    def tell(self, *, after: timedelta = timedelta(0)) -> list[str]:
        """Look once more after a while; answer who got something at this look."""
        self.clock.pass_by(after)
        before = len(self.mailbox.took)
        self._teller.tell(self._desk)
        return [recipient for recipient, _ in self.mailbox.took[before:]]


def failure(reason: DeliveryReason = DeliveryReason.UNREACHABLE, *, permanent: bool = False) -> DeliveryError:
    return DeliveryError(reason, permanent=permanent, detail="no route")


def test_without_an_outage_nobody_hears_anything() -> None:
    stage = Stage()

    assert [] == stage.tell() == stage.tell(after=HOUR)


def test_each_recipient_hears_of_an_outage_once() -> None:
    stage = Stage()
    stage.begin()

    assert ["ana", "ben"] == stage.tell()
    assert [] == stage.tell(after=SECOND) == stage.tell(after=HOUR)
    assert "the database has not answered for 3 s: Connection refused" in stage.mailbox.took[0][1]


def test_the_next_outage_is_told_anew() -> None:
    stage = Stage()
    stage.begin()
    stage.tell()
    stage.outage = None
    assert [] == stage.tell(after=HOUR)

    stage.begin("password authentication failed")

    assert ["ana", "ben"] == stage.tell()
    assert stage.mailbox.took[-1][1].endswith("password authentication failed")


def test_a_channel_that_fails_is_tried_again_after_a_pause() -> None:
    stage = Stage(failure())
    stage.begin()

    assert [] == stage.tell() == stage.tell(after=0.5 * SECOND)
    assert 1 == stage.mailbox.tries
    with capture_logs() as told:
        assert ["ana", "ben"] == stage.tell(after=SECOND)
    assert [("outage_told", 2)] == [(event["event"], event["attempts"]) for event in told]


def test_who_was_reached_before_another_failed_hears_it_once() -> None:
    stage = Stage(None, failure())
    stage.begin()

    assert ["ana"] == stage.tell()
    assert ["ben"] == stage.tell(after=LONGEST_FIRST_PAUSE)


def test_a_clock_that_is_put_back_does_not_put_the_next_attempt_off() -> None:
    stage = Stage(failure())
    stage.begin()
    stage.tell()

    stage.clock.wall -= HOUR

    assert ["ana", "ben"] == stage.tell(after=LONGEST_FIRST_PAUSE)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        pytest.param(failure(DeliveryReason.GONE, permanent=True), "outage_not_told", id="a channel that is gone"),
        pytest.param(ZeroDivisionError(), "outage_message_broke", id="a mistake in automon"),
    ],
)
def test_what_no_attempt_can_mend_is_said_once_in_the_log_and_left(error: Exception, event: str) -> None:
    stage = Stage(error)
    stage.begin()

    with capture_logs() as told:
        assert [] == stage.tell() == stage.tell(after=HOUR)

    assert [(event, "error")] == [(line["event"], line["log_level"]) for line in told]


def test_an_outage_that_ends_while_it_is_told_is_left() -> None:
    stage = Stage(failure())
    stage.begin()
    stage.tell()

    stage.outage = None

    assert [] == stage.tell(after=HOUR)
    assert 1 == stage.mailbox.tries
