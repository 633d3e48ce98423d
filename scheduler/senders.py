"""One thread for each channel, so that a mail server that hangs never delays Slack."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import psycopg
import structlog

from automon.errors import DatabaseUnavailableError
from automon.models import Outage
from jobs.delivery import Desk, Record, deliver_next
from jobs.job import Context
from notifiers.channel import DeliveryError
from notifiers.notice import compose_outage
from notifiers.retry import Retry, decide

# Messages wake their sender. The poll is for those whose wake-up was lost on the way: a pooler passes none on.
LONGEST_SLEEP = timedelta(seconds=5)
# What waits may wait for something else than time: for another message, or until its recipient may be told more.
SHORTEST_SLEEP = timedelta(seconds=0.2)
PAUSE_AFTER_ERROR = timedelta(seconds=0.5)

log = structlog.get_logger("automon.senders")


class OutageTeller:
    """Tells one channel directly that the database is away: once, with as many attempts as it takes."""

    def __init__(self, context: Context, outage: Callable[[], Outage | None]) -> None:
        self._context = context
        self._outage = outage
        self._done_with: datetime | None = None
        self._told: set[str] = set()
        self._attempts = 0
        self._first_attempt_at = context.clock.now()
        # In monotonic seconds: a clock that is put back must not put the next attempt off.
        self._next_attempt_at = context.clock.monotonic()

    def tell(self, desk: Desk) -> None:
        outage = self._outage()
        if outage is None or outage.since == self._done_with:
            self._attempts = 0
            return
        now = self._context.clock.monotonic()
        if self._attempts == 0:
            self._told.clear()
            self._first_attempt_at, self._next_attempt_at = self._context.clock.now(), now
        if now >= self._next_attempt_at:
            self._attempts += 1
            self._try(desk, outage)

    def _try(self, desk: Desk, outage: Outage) -> None:
        message = compose_outage(outage, desk.message_context)
        try:
            for recipient in desk.channel.recipients:
                if recipient not in self._told:
                    desk.channel.send(message, recipient)
                    self._told.add(recipient)
        except DeliveryError as error:
            self._plan_again(outage, error)
        except Exception:
            log.exception("outage_message_broke")
            self._done_with = outage.since
        else:
            self._done_with = outage.since
            log.info("outage_told", since=outage.since.isoformat(), attempts=self._attempts)

    def _plan_again(self, outage: Outage, error: DeliveryError) -> None:
        decision = decide(
            failure=error.failure,
            attempt=self._attempts,
            channel_failures=self._attempts - 1,
            first_attempt_at=self._first_attempt_at,
            now=self._context.clock.now(),
            jitter=random.uniform(-1, 1),  # noqa: S311  spreads retries, guards nothing
        )
        if isinstance(decision, Retry):
            self._next_attempt_at = self._context.clock.monotonic() + decision.pause.total_seconds()
        else:
            self._done_with = outage.since
            log.error("outage_not_told", reason=str(error.reason), detail=error.detail)


class Tally:
    """Attempts to deliver since the start, by channel and outcome: sent, failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}

    def know(self, channel: str) -> None:
        """Count a channel from 0, so that its first attempt is seen as a change."""
        with self._lock:
            for outcome in ("sent", "failed"):
                self._counts.setdefault((channel, outcome), 0)

    def add(self, channel: str, *, was_sent: bool) -> None:
        # A replaced sender may finish beside its successor.
        with self._lock:
            self._counts[channel, "sent" if was_sent else "failed"] += 1

    def counts(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._counts)


class Sender:
    """Delivers what is due on one channel until it is told to end; an attempt that has begun is finished and recorded.

    It claims nothing before it is let go: until then the database may hold the channels of another config.
    `beat_at` is the monotonic second in which it last came round.
    """

    def __init__(self, context: Context, desk: Desk, teller: OutageTeller, tally: Tally) -> None:
        self._context = context
        self._desk = desk
        self._teller = teller
        self._tally = tally
        self._wake = threading.Event()
        self._may_claim = threading.Event()
        self._ending = threading.Event()
        self._unrecorded: Record | None = None
        self.beat_at = context.clock.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"sender-{desk.channel.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def let_go(self) -> None:
        self._may_claim.set()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def end(self) -> None:
        self._ending.set()
        self._wake.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """Wait for the sender to end; answer whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with structlog.contextvars.bound_contextvars(channel=self._desk.channel.name):
            # What was sent and is not written down yet would be sent again.
            while not self._ending.is_set() or self._unrecorded:
                self._wake.clear()
                self._wake.wait(self._round().total_seconds())

    def _round(self) -> timedelta:
        """Deliver all that is due; answer how long to sleep."""
        self.beat_at = self._context.clock.monotonic()
        try:
            self._teller.tell(self._desk)
            if not self._may_claim.is_set():
                return PAUSE_AFTER_ERROR
            self._record()
            while not self._ending.is_set():
                self._unrecorded = deliver_next(self._context, self._desk)
                if self._unrecorded is None:
                    break
                self._record()
                self.beat_at = self._context.clock.monotonic()
            due = self._context.store.next_delivery_in(self._desk.channel.name)
        except (DatabaseUnavailableError, psycopg.OperationalError):
            return PAUSE_AFTER_ERROR
        except Exception:
            log.exception("sender_round_failed")
            return LONGEST_SLEEP
        return LONGEST_SLEEP if due is None else min(max(due, SHORTEST_SLEEP), LONGEST_SLEEP)

    def _record(self) -> None:
        """Write down how the last attempt went, if that is left to do."""
        if self._unrecorded is not None:
            was_sent = self._unrecorded()
            self._unrecorded = None
            if was_sent is not None:
                self._tally.add(self._desk.channel.name, was_sent=was_sent)


class Senders:
    """The senders of the channels in use. A changed config replaces them; one that is sending finishes beside its successor."""

    def __init__(self, context: Context, outage: Callable[[], Outage | None]) -> None:
        self._context = context
        self._outage = outage
        self._tellers: dict[str, OutageTeller] = {}
        self._senders: list[Sender] = []
        self._replaced: list[Sender] = []
        self.tally = Tally()

    def replace(self, desks: Sequence[Desk]) -> None:
        """Start a sender for each desk and end those that there are, without waiting for what they are sending."""
        for sender in self._senders:
            sender.end()
        self._replaced = [sender for sender in (*self._replaced, *self._senders) if sender.is_alive]
        # Who was told of an outage stays told, whatever becomes of the config.
        self._tellers = {
            desk.channel.name: self._tellers.get(desk.channel.name) or OutageTeller(self._context, self._outage)
            for desk in desks
        }
        for desk in desks:
            self.tally.know(desk.channel.name)
        senders = [Sender(self._context, desk, self._tellers[desk.channel.name], self.tally) for desk in desks]
        for sender in senders:
            sender.start()
        # Not before: the service may be ending at this very moment, and then waits for those that it finds here.
        self._senders = senders

    def let_go(self) -> None:
        """Let the senders claim: the database knows their channels now."""
        for sender in self._senders:
            sender.let_go()

    def wake(self) -> None:
        for sender in self._senders:
            sender.wake()

    def slowest(self) -> timedelta:
        """Answer how long ago the sender came round that has not done so for the longest."""
        now = self._context.clock.monotonic()
        return timedelta(seconds=max((now - sender.beat_at for sender in self._senders), default=0.0))

    def stop(self, timeout: float) -> bool:
        """End every sender within `timeout` seconds in all; answer whether each had finished what it was sending."""
        deadline = self._context.clock.monotonic() + timeout
        senders = (*self._replaced, *self._senders)
        for sender in senders:
            sender.end()
        ended = [sender.join(max(0.0, deadline - self._context.clock.monotonic())) for sender in senders]
        return all(ended)
