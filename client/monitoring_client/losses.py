"""Counts the facts that were not recorded and says so, at most once a minute."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger("automon_client")
SECONDS_BETWEEN_WARNINGS = 60.0


class Losses:
    def __init__(self) -> None:
        self.count = 0
        self._unsaid = 0
        self._unreported = 0
        self._quiet_until = 0.0
        self._make_lock()

    def _make_lock(self) -> None:
        # Reentrant, because a signal handler may lose a fact while the main thread is counting one.
        self._lock = threading.RLock()

    def add(self, reason: str, facts: int = 1) -> None:
        unsaid = self._count(facts)
        # Outside of the lock: a logging handler may well call the client again.
        if unsaid:
            logger.warning("automon: %d fact(s) not recorded since the last such line; the latest: %s", unsaid, reason)
        else:
            logger.debug("automon: fact not recorded: %s", reason)

    def take_unreported(self) -> int:
        """Answer how many losses the database has not been told of, and take them as told."""
        with self._lock:
            unreported, self._unreported = self._unreported, 0
            return unreported

    def forget(self) -> None:
        """Begin anew: in a forked child, whose parent counts its own."""
        self.count = self._unsaid = self._unreported = 0
        self._make_lock()

    def _count(self, facts: int) -> int:
        """Answer how many losses a warning is to tell of now; 0 while it is too early for another warning."""
        with self._lock:
            self.count += facts
            self._unreported += facts
            self._unsaid += facts
            if time.monotonic() < self._quiet_until:
                return 0
            self._quiet_until = time.monotonic() + SECONDS_BETWEEN_WARNINGS
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid
