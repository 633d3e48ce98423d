"""Looks at the host this runs on and stores what it saw; while the database is away, it keeps what it saw for later."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Protocol

import psycopg
import structlog

from automon.errors import AutomonError, DatabaseUnavailableError
from automon.models import HostSample
from jobs.job import Context, Result

# At one look a minute: a day.
KEEP = 1440
# A service looks before its first migration has made the schema.
AWAY = (DatabaseUnavailableError, psycopg.errors.InvalidSchemaName)
# The classes of what record_host_sample and PostgreSQL say about values: such a sample would never be taken.
REFUSALS = ("AM", "22")

log = structlog.get_logger("automon.host")


class Reader(Protocol):
    def look(self, at: float) -> dict[str, Any]:
        """Say how the host is; `at` is the moment in monotonic seconds."""


class HostSampling:
    """Needs no database: at most `keep` samples (1 or more) wait for it in memory, and the oldest give way to new ones.

    Counts: sampled; stored, by this run; waiting, after it; and dropped, since samples were last stored.
    Raises AutomonError when the database refused a sample for what is in it, after the others are stored.
    """

    name: ClassVar[str] = "host_sampling"

    def __init__(self, host: str, reader: Reader, keep: int = KEEP) -> None:
        self._host = host
        self._reader = reader
        self._waiting: deque[HostSample] = deque(maxlen=keep)
        self._dropped = 0
        self.stored = 0  # since the start

    @property
    def waiting(self) -> int:
        """How many samples wait for the database."""
        return len(self._waiting)

    def run_once(self, context: Context) -> Result:
        self._sample(context)
        return self.catch_up(context, sampled=1)

    def catch_up(self, context: Context, *, sampled: int = 0) -> Result:
        """Store what waits; `sampled` is how many looks this run has taken."""
        refusals: list[psycopg.Error] = []
        stored = self._store_waiting(context, refusals)
        counts = {"sampled": sampled, "stored": stored, "waiting": len(self._waiting), "dropped": self._dropped}
        if stored:
            self._tell_of_catching_up(stored)
        if refusals:
            raise refused(refusals)
        return Result(counts)

    def _sample(self, context: Context) -> None:
        values = self._reader.look(context.clock.monotonic())
        self._dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(HostSample(host=self._host, sampled_at=context.clock.now(), values=values))

    def _store_waiting(self, context: Context, refusals: list[psycopg.Error]) -> int:
        """Store what waits, oldest first, until the database is away or the service ends; answer how many were stored.

        A sample leaves the queue after it is stored: one that was stored without our hearing of it changes nothing the second time.
        """
        stored = 0
        while self._waiting and not context.stop.is_set():
            try:
                context.store.record_host_sample(self._waiting[0])
                stored += 1
                self.stored += 1
            except AWAY:
                break
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith(REFUSALS):
                    raise
                refusals.append(error)
            self._waiting.popleft()
        return stored

    def _tell_of_catching_up(self, stored: int) -> None:
        if stored > 1 or self._dropped:
            log.info("host_samples_caught_up", stored=stored, dropped=self._dropped, waiting=len(self._waiting))
        self._dropped = 0


class CatchUp:
    """Stores what waits, between two looks."""

    name: ClassVar[str] = HostSampling.name

    def __init__(self, sampling: HostSampling) -> None:
        self._sampling = sampling

    def run_once(self, context: Context) -> Result:
        return self._sampling.catch_up(context)


def refused(refusals: list[psycopg.Error]) -> AutomonError:
    """Say why samples were thrown away, in the words of the database about the first of them."""
    told = refusals[0].diag
    return AutomonError(
        f"the database refused {len(refusals)} of this host's samples: {told.message_primary}",
        hint=told.message_hint or "",
    )
