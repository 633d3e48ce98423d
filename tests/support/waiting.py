"""Waiting for something to become true, with a deadline."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; fail when it is not within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.005)


def wait_for_end(pid: int, *, seconds: float = 10.0) -> None:
    """Return when that process, anybody's, has ended; fail when it has not within that time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
    finally:
        os.close(handle)
    if not ended:
        raise AssertionError(f"process {pid} did not end within {seconds} s")
