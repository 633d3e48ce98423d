"""Says that this service lives, on a connection of its own, and is the first to know when the database is away."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from automon import __version__
from automon.database import first_line
from automon.errors import DatabaseUnavailableError, SchemaMissingError
from automon.models import Outage
from automon.store import Store
from jobs.job import Context

# As in the database, which is told nothing else: three beats may get lost before others take this service for dead.
LEASE = timedelta(seconds=10)
PAUSE = timedelta(seconds=2.5)
PAUSE_WITHOUT_ANSWER = timedelta(seconds=1)
BEATS_PER_HEALTH = 4
LEAVE_PATIENCE = timedelta(seconds=1)

NO_SERVICE = "no service ran"
NO_DATABASE = "the database did not answer"
ASLEEP = "the machine slept, or the service was stopped"

log = structlog.get_logger("automon.heartbeat")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """Since when the database has not answered: by the clock, in monotonic seconds, and why."""

    since: datetime
    since_monotonic: float
    reason: str


class Heartbeat:
    """Beats from a thread of its own until its end. `store` has connections that nothing else uses.

    `beat_at` is the monotonic second of its last round, successful or not; `health` what the database said of automon.
    """

    def __init__(self, context: Context, store: Store, host: str) -> None:
        self._context = context
        self._store = store
        self._host = host
        self._lost: Lost | None = None
        self._tell_after = timedelta.max
        self._has_beaten = False
        self._beaten_at = -math.inf
        self._has_untried = False
        self._failing = ""
        self._ending = threading.Event()
        self.beat_at = context.clock.monotonic()
        self.health: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._store.database.open()
        self._thread.start()

    def tell_after(self, span: timedelta) -> None:
        """Set how long the database must have been away before people hear of it."""
        self._tell_after = span

    def outage(self) -> Outage | None:
        """Answer the outage that people are to hear of now."""
        lost = self._lost
        if lost is None or self._lasted(lost) < self._tell_after:
            return None
        return Outage(since=lost.since, at=self._context.clock.now(), reason=lost.reason)

    @property
    def lives(self) -> bool:
        """Whether others take this service for alive: who has slept, or was cut off, beats before it does anything else."""
        return self._context.clock.monotonic() - self._beaten_at < LEASE.total_seconds()

    @property
    def database_is_away(self) -> bool:
        return self._lost is not None

    def end(self) -> None:
        """Stop beating, and let others have at once what this service holds."""
        self._ending.set()
        self._thread.join(PAUSE.total_seconds())
        if not self._thread.is_alive() and self._has_beaten and self._lost is None:
            # A database that fell deaf just now must not hold the end up.
            leaving = threading.Thread(target=self._leave, name="leave", daemon=True)
            leaving.start()
            leaving.join(LEAVE_PATIENCE.total_seconds())
        self._store.database.close()

    def _leave(self) -> None:
        try:
            self._store.leave(self._context.instance)
        except DatabaseUnavailableError:
            log.debug("leave_not_recorded")

    def _run(self) -> None:
        rounds = 0
        while not self._ending.is_set():
            self._beat(with_health=rounds % BEATS_PER_HEALTH == 0)
            rounds += 1
            pause = PAUSE if self.lives and self._lost is None else PAUSE_WITHOUT_ANSWER
            self._ending.wait(pause.total_seconds())

    def _beat(self, *, with_health: bool) -> None:
        why = self._why_blind()
        began_at, self.beat_at = self._context.clock.now(), self._context.clock.monotonic()
        try:
            self._store.beat(self._context.instance, version=__version__, why_blind=why)
            self._has_beaten, self._beaten_at = True, self.beat_at
            if self._lost is not None:
                self._report_return(self._lost)
            if with_health or self._lost is not None:
                self._note_health(self._store.automon_health())
            self._lost, self._failing = None, ""
        except SchemaMissingError:
            self._lost = None  # the database answers; the service is just about to make its schema
        except DatabaseUnavailableError as error:
            if self._lost is None:
                self._lost = Lost(since=began_at, since_monotonic=self.beat_at, reason=self._reason_of(error))
        except Exception as error:
            # Once, not with each beat.
            if self._failing != type(error).__name__:
                self._failing = type(error).__name__
                log.exception("heartbeat_failed")

    def _note_health(self, health: dict[str, Any]) -> None:
        """Keep what the database says; messages that wait untried count from the second time on.

        Whoever has just started or woken up finds what came in the meantime, and sends it at once.
        """
        had_untried, self._has_untried = self._has_untried, health["untried"] > 0
        self.health = health if had_untried else health | {"untried": 0}

    def _why_blind(self) -> str:
        """Say why no service has beaten, should that turn out to be so."""
        if self._lost is not None:
            return NO_DATABASE
        return ASLEEP if self._has_beaten else NO_SERVICE

    def _reason_of(self, loss: DatabaseUnavailableError) -> str:
        """Say why the database does not answer; the pool knows only for how long it has waited."""
        try:
            self._store.database.probe()
        except DatabaseUnavailableError as error:
            loss = error
        return first_line(loss.__cause__ if isinstance(loss.__cause__, Exception) else loss)

    def _report_return(self, lost: Lost) -> None:
        """Have the end told of an outage that was told of, unless the beat itself has found that all services were blind."""
        if self._lasted(lost) >= self._tell_after:
            self._store.report_outage(self._host, lost.since, self._context.clock.now())

    def _lasted(self, lost: Lost) -> timedelta:
        return timedelta(seconds=self._context.clock.monotonic() - lost.since_monotonic)
