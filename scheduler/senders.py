"""One thread for each channel, so that a mail server that hangs never delays Slack."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import structlog

from automon.errors import DatabaseUnavailableError
from jobs.delivery import Desk, deliver_next
from jobs.job import Context

# Messages wake their sender. The poll is for those whose wake-up was lost on the way: a pooler passes none on.
LONGEST_SLEEP = timedelta(seconds=5)
PAUSE_AFTER_ERROR = timedelta(seconds=1)

log = structlog.get_logger("automon.senders")


class Sender:
    """Delivers what is due on one channel until it is told to stop; an attempt that has begun is finished."""

    def __init__(self, context: Context, desk: Desk) -> None:
        self._context = context
        self._desk = desk
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender-{desk.channel.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def end(self) -> None:
        self._ending.set()
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait for the sender to end; answer whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with structlog.contextvars.bound_contextvars(channel=self._desk.channel.name):
            while not self._ending.is_set():
                self._wake.clear()
                self._wake.wait(self._round().total_seconds())

    def _round(self) -> timedelta:
        """Deliver all that is due; answer how long to sleep."""
        try:
            while not self._ending.is_set() and deliver_next(self._context, self._desk):
                self._ending.wait(self._desk.channel.pace.total_seconds())
            due = self._context.store.next_delivery_in(self._desk.channel.name)
        except DatabaseUnavailableError:
            return PAUSE_AFTER_ERROR
        except Exception:
            log.exception("sender_round_failed")
            return LONGEST_SLEEP
        return LONGEST_SLEEP if due is None else min(due, LONGEST_SLEEP)


class Senders:
    """The senders of the channels in use; replaced as a whole when the config changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._senders: list[Sender] = []

    def start(self, desks: Sequence[Desk]) -> None:
        self._senders = [Sender(self._context, desk) for desk in desks]
        for sender in self._senders:
            sender.start()

    def wake(self) -> None:
        for sender in self._senders:
            sender.wake()

    def stop(self, timeout: float) -> bool:
        """End every sender within `timeout` seconds in all; answer whether each had finished what it was sending."""
        deadline = self._context.clock.monotonic() + timeout
        for sender in self._senders:
            sender.end()
        ended = [sender.join(max(0.0, deadline - self._context.clock.monotonic())) for sender in self._senders]
        return all(ended)
