"""What the database says for /metrics, read ahead by a thread of its own while somebody asks for it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from automon.clock import Clock
from automon.errors import DatabaseUnavailableError

# Seconds. Monitors ask every 15 to 60 seconds: what they get is read before they come, and not while they wait.
PAUSE = 15.0
PAUSE_AFTER_FAILURE = 5.0
# Of the database's time: where a reading takes long, the pauses do, too. A reading is given 2 s, so none lasts 100 s.
LARGEST_SHARE = 0.02
# What should have been replaced so long ago is not told, for nobody could tell it from what is so now.
LATE_AFTER = 5.0
# For so long after somebody has asked, it is read again and again.
INTEREST = 150.0
# For so long the first who asks waits for a reading. It is given less.
PATIENCE = 3.0

log = structlog.get_logger("automon.http")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """`text` is what was read, as it is told; `at` and `seconds`: when, by the monotonic clock, and for how long."""

    text: bytes
    at: float
    seconds: float

    @property
    def due_at(self) -> float:
        """When the next is to be read."""
        return self.at + max(PAUSE, self.seconds / LARGEST_SHARE)


class Readings:
    """`read` answers the text, and may raise anything.

    The thread is started by the first who asks, and sleeps while nobody does.
    """

    def __init__(self, clock: Clock, read: Callable[[], bytes]) -> None:
        self._clock = clock
        self._read = read
        self.patience = PATIENCE
        self._changed = threading.Condition()
        self._asked_at = -math.inf
        self._due_at = -math.inf
        self._newest: Reading | None = None
        self._has_failed = False
        self._failure = ""
        self._ended = False
        self._thread: threading.Thread | None = None
        self.counts = {"succeeded": 0, "failed": 0}

    def ask(self) -> None:
        """Have it read, now if it is not known, and from time to time from now on."""
        with self._changed:
            was_idle = self._clock.monotonic() - self._asked_at > INTEREST
            self._asked_at = self._clock.monotonic()
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()
            elif was_idle:
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait for the reading that is under way, or about to be, where there is none and the last one did not fail."""
        with self._changed:
            self._changed.wait_for(lambda: self.newest() is not None or not self._is_coming(), self.patience)

    def newest(self) -> Reading | None:
        """Answer the newest reading, unless it is too old."""
        newest = self._newest
        if newest is None or self._clock.monotonic() > newest.due_at + LATE_AFTER:
            return None
        return newest

    def _is_coming(self) -> bool:
        return not self._ended and not self._has_failed and self._clock.monotonic() >= self._due_at

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait_for_turn():
            reading = self._try_to_read()
            with self._changed:
                self._newest, self._has_failed = reading, reading is None
                self._due_at = reading.due_at if reading else self._clock.monotonic() + PAUSE_AFTER_FAILURE
                self._changed.notify_all()

    def _wait_for_turn(self) -> bool:
        """Wait until it is to be read again; False at the end."""
        with self._changed:
            while not self._ended:
                now = self._clock.monotonic()
                if now - self._asked_at > INTEREST:
                    # Whoever comes after a pause waits for a new one.
                    self._has_failed = False
                    self._changed.wait()
                elif now >= self._due_at:
                    return True
                else:
                    self._changed.wait(self._due_at - now)
        return False

    def _try_to_read(self) -> Reading | None:
        began = self._clock.monotonic()
        try:
            text = self._read()
        except DatabaseUnavailableError:
            self.counts["failed"] += 1  # others tell of the outage
        except Exception as error:
            self.counts["failed"] += 1
            if self._failure != type(error).__name__:
                self._failure = type(error).__name__
                log.exception("metrics_not_read")
        else:
            self.counts["succeeded"] += 1
            self._failure = ""
            return Reading(text=text, at=began, seconds=self._clock.monotonic() - began)
        return None
