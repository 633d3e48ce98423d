"""A lock for what cannot be entered twice, whose waiting has an end, and which a signal handler cannot lock itself up in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """It is not our turn: another thread keeps it for too long, or this thread is in the middle of its own."""


class Turns:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    @contextmanager
    def take(self, seconds: float) -> Iterator[None]:
        """Wait for our turn. Raises BusyError after so many seconds, and at once in a thread that is having it."""
        me = threading.get_ident()
        if self._holder == me:  # a signal handler or a logging handler, called in the middle of a call
            raise BusyError("this thread is in the middle of recording another fact")
        if not self._lock.acquire(timeout=seconds):
            raise BusyError(f"other threads were busy with it for {seconds:.0f} s")
        self._holder = me
        try:
            yield
        finally:
            self._holder = None
            self._lock.release()
