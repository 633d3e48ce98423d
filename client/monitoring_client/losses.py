"""Counts the facts that were not recorded and says so, at most once a minute."""

from __future__ import annotations

import logging
import threading
import time

from monitoring_client import forks

logger = logging.getLogger("automon_client")
SECONDS_BETWEEN_WARNINGS = 60.0


class Losses:
    def __init__(self) -> None:
        self.count = 0
        self._unsaid = 0
        self._quiet_until = 0.0
        self._make_lock()
        forks.watch(self)

    def after_fork(self) -> None:
        self._make_lock()

    def _make_lock(self) -> None:
        # Reentrant, because a signal handler may lose a fact while the main thread is counting one.
        self._lock = threading.RLock()

    def add(self, reason: str) -> None:
        unsaid = self._count_one()
        # Outside of the lock: a logging handler may well call the client again.
        if unsaid:
            logger.warning("automon: %d fact(s) not recorded since the last such line; the latest: %s", unsaid, reason)
        else:
            logger.debug("automon: fact not recorded: %s", reason)

    def _count_one(self) -> int:
        """Answer how many losses a warning is to tell of now; 0 while it is too early for another warning."""
        with self._lock:
            self.count += 1
            self._unsaid += 1
            if time.monotonic() < self._quiet_until:
                return 0
            self._quiet_until = time.monotonic() + SECONDS_BETWEEN_WARNINGS
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid
