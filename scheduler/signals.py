"""Signals as messages to the main thread, which waits for them between two ticks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from types import FrameType

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WAKE = 0  # no signal has this number


class Signals:
    """What has arrived and is not heeded yet.

    A handler interrupts the main thread wherever it is; the lock of an Event may be just what it holds. SimpleQueue.put
    is made for that.
    """

    def __init__(self) -> None:
        self._seen: SimpleQueue[int] = SimpleQueue()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT and SIGHUP, and give them back at the end. For the main thread."""

        def see(number: int, _frame: FrameType | None) -> None:
            self._seen.put(number)

        before = {number: signal.signal(number, see) for number in HEEDED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wake(self) -> None:
        """End the wait; may be called from any thread."""
        self._seen.put(WAKE)

    def wait(self, seconds: float) -> int | None:
        """Return the signal that arrives within so many seconds; None without one."""
        try:
            return self._seen.get(timeout=seconds) or None
        except Empty:
            return None
