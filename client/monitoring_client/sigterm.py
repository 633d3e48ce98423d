"""Has something done when SIGTERM arrives. Left alone, it ends a Python process without a word, and without exit handlers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType


def before_sigterm(work: Callable[[], object]) -> bool:
    """Have work done when SIGTERM arrives, and then what SIGTERM did before: end the process, or call a handler.

    False where that cannot be: outside of the main thread, and where a handler was installed by other means than Python's.
    """
    former = signal.getsignal(signal.SIGTERM)
    if former is None:
        return False

    def handle(number: int, frame: FrameType | None) -> None:
        work()
        if callable(former):
            former(number, frame)
        elif former == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    try:
        signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread
        return False
    return True
