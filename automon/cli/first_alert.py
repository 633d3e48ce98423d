"""A real alert on the way that all alerts take, timed hop by hop, and its end: nothing of it goes on alarming.

A pretended component reports that it is unhealthy. Where a service runs on the database, that one finds it and tells;
else its checks and its senders run here for the moment.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from automon.cli.delivery_screens import place, with_several_recipients
from automon.cli.text import local, took

if TYPE_CHECKING:
    from automon.clock import Clock
    from automon.config import Config
    from automon.store import Store

Document = dict[str, Any]

COMPONENT_TYPE = "test"
COMPONENT = "automon-setup-test"
SOURCE = f"{COMPONENT_TYPE}/{COMPONENT}"
ALERT_TYPE = "component_health"
REASON = "a test by automon setup; nothing is wrong"
NOTE = "the test of automon setup is over"
# What a person has resolved is not raised again for minutes, and this may be played again at once.
RESOLVED_BY = "automon"
# A service looks at the newest facts every second, and the slowest sender polls every five.
ALERT_PATIENCE = timedelta(seconds=20)
DELIVERY_PATIENCE = timedelta(seconds=60)
PAUSE = 0.05
DONE = ("sent", "failed", "expired", "silenced", "grouped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What became of the message to one recipient. Without a reason it has arrived."""

    where: str
    claimed_after: float | None
    sent_after: float | None
    why_not: str = ""

    @property
    def line(self) -> str:
        if self.why_not:
            return f"✗ {self.where}: {self.why_not}"
        return f"✓ {self.where}: claimed after {took(self.claimed_after or 0)}, sent after {took(self.sent_after or 0)}"


class Worker(Protocol):
    """Who finds the alert and sends its messages."""

    def prepare(self) -> None:
        """Do what must be done before the fact is recorded."""

    def check(self) -> None:
        """Give the checks a turn."""

    def send(self) -> None:
        """Give the senders a turn."""


class RunningService:
    """The service that runs on this database does everything by itself."""

    def prepare(self) -> None:
        """Leave all to the service."""

    def check(self) -> None:
        """Leave all to the service."""

    def send(self) -> None:
        """Leave all to the service."""


class InThisProcess:
    """The parts of the service that an alert needs, without the service: it does not say that it lives."""

    def __init__(self, store: Store, config: Config, clock: Clock) -> None:
        from jobs.job import Context
        from scheduler.configuration import make_desks

        host = socket.gethostname()
        self._store = store
        self._config = config
        self._clock = clock
        self._desks = [desk for desk in make_desks(config, host) if desk.channel.name != "journal"]
        self._context = Context(
            store=store, clock=clock, instance=f"{host}:setup:{secrets.token_hex(3)}", stop=threading.Event()
        )

    def prepare(self) -> None:
        """Bring thresholds and channels from the config to the database, as a service does when it starts."""
        from scheduler.configuration import database_document, make_desks

        desks = make_desks(self._config, socket.gethostname())
        self._store.sync_configuration(database_document(self._config, desks))

    def check(self) -> None:
        self._store.watch_facts(self._clock.now())

    def send(self) -> None:
        from jobs.delivery import deliver_next

        for desk in self._desks:
            while (record := deliver_next(self._context, desk)) is not None:
                record()


class NoAlertError(Exception):
    """The fact was recorded and no alert came of it; the text says why, as far as that is known."""


class FirstAlert:
    """Plays the alert. `say` gets a line for each hop as soon as it is known."""

    def __init__(self, store: Store, worker: Worker, clock: Clock, say: Callable[[str], None]) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._say = say
        self._began = 0.0

    def play(self) -> list[Told]:
        """Raise the alert, wait until it is told, and resolve it. Raises NoAlertError."""
        self._worker.prepare()
        self._began = time.monotonic()
        with self._pretended_trouble():
            self._say(f"fact recorded            {took(self._seconds())}")
            alert_id = self._wait_for_alert()
            self._say(f"alert {alert_id} opened          {took(self._seconds())}")
            told = self._wait_for_messages(alert_id, "opened", self._say)
        self._wait_for_messages(alert_id, "resolved", lambda _: None)
        self._say(f"resolved, and told       {took(self._seconds())}")
        return told

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def _pretended_trouble(self) -> Iterator[None]:
        """Report the trouble, and take it back whatever happens: its alert ends, and nobody waits for the next report."""
        self._store.update_system_health(COMPONENT_TYPE, COMPONENT, "unhealthy", REASON)
        try:
            yield
        finally:
            self._store.update_system_health(COMPONENT_TYPE, COMPONENT, "healthy", None)
            self._store.forget_source("component", SOURCE)
            for alert in self._own_alerts():
                self._store.resolve_alert(alert["id"], RESOLVED_BY, NOTE)

    def _own_alerts(self) -> list[Document]:
        return self._store.alerts(source=SOURCE, alert_type=ALERT_TYPE)

    def _wait_for_alert(self) -> int:
        for _ in self._until(ALERT_PATIENCE):
            self._worker.check()
            for alert in self._own_alerts():
                return int(alert["id"])
        raise NoAlertError(
            f"no alert came of it within {took(ALERT_PATIENCE.total_seconds())}: is component_health.unhealthy null in the config?"
        )

    def _wait_for_messages(self, alert_id: int, kind: str, say: Callable[[str], None]) -> list[Told]:
        """Wait until each message of that kind has an end, say each, and answer them all."""
        said: dict[int, Told] = {}
        deliveries: list[Document] = []
        for _ in self._until(DELIVERY_PATIENCE):
            self._worker.send()
            deliveries = [one for one in self._store.deliveries(alert_id=alert_id) if one["kind"] == kind]
            several = with_several_recipients(deliveries)
            for delivery in deliveries:
                if delivery["id"] not in said and (delivery["status"] in DONE or delivery["why"]):
                    said[delivery["id"]] = _told(delivery, place(delivery, several))
                    say(said[delivery["id"]].line)
            if len(said) == len(deliveries):
                return list(said.values())
        left = [one for one in deliveries if one["id"] not in said]
        late = [_late(one, place(one, with_several_recipients(deliveries))) for one in left]
        for one in late:
            say(one.line)
        return [*said.values(), *late]

    def _until(self, patience: timedelta) -> Iterator[None]:
        deadline = time.monotonic() + patience.total_seconds()
        while time.monotonic() < deadline:
            yield
            time.sleep(PAUSE)


def _told(delivery: Document, where: str) -> Told:
    created = local(delivery["created_at"])
    claimed, finished = delivery["first_attempt_at"], delivery["finished_at"]
    return Told(
        where=where,
        claimed_after=(local(claimed) - created).total_seconds() if claimed else None,
        sent_after=(local(finished) - created).total_seconds() if finished else None,
        why_not=_why_not(delivery),
    )


def _why_not(delivery: Document) -> str:
    match delivery["status"]:
        case "sent":
            return ""
        case "silenced":
            return "silenced, so nothing was sent (automon unsilence ends it)"
        case "grouped":
            return "told in a digest, for many messages are due"
        case _:
            return str(delivery["why"])


def _late(delivery: Document, where: str) -> Told:
    why = f"not sent within {took(DELIVERY_PATIENCE.total_seconds())}; look: automon deliveries --alert {delivery['alert_id']}"
    return Told(where=where, claimed_after=None, sent_after=None, why_not=why)


def all_arrived(told: Sequence[Told]) -> bool:
    return bool(told) and not any(one.why_not for one in told)
