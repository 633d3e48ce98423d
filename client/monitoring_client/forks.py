"""Lets objects prepare for a fork of the process and wake up in the child, where connections, files and locks of the parent must not be touched."""

from __future__ import annotations

import logging  # noqa: F401 - so that its own lock is taken for a fork after ours, as what is being loaded meanwhile may log
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    def before_fork(self) -> None:
        """Come to rest: whatever another thread is in the middle of, the child can never finish."""

    def after_fork_in_parent(self) -> None:
        """Go on as before."""

    def after_fork_in_child(self) -> None:
        """Replace whatever a child must not share with its parent. Runs in the child, before anything else does."""


_watched: WeakSet[ForkAware] = WeakSet()
_resting: list[ForkAware] = []
# Threads may fork at the same moment. Held from before a fork until after it, and by whoever must not be interrupted by one.
_one_at_a_time = threading.RLock()
_is_held = False
MOST_SECONDS = 5.0


def watch(thing: ForkAware) -> None:
    # Without the lock: what makes a client may hold another that the holder needs, as logging's configuration does.
    _watched.add(thing)


@contextmanager
def none_meanwhile(look: Callable[[], object] = bool) -> Iterator[None]:
    """Hold forks back: for loading modules, whose half-loaded copies no child could ever use.

    `look` is called again and again while a fork is under way, and may raise to call the waiting off. After five seconds
    it goes on all the same: whoever is waited for may itself wait for something that the caller has locked.
    """
    lock = _one_at_a_time
    until = time.monotonic() + MOST_SECONDS
    while not (held := lock.acquire(timeout=0.01)) and time.monotonic() < until:
        look()
    try:
        yield
    finally:
        if held:
            lock.release()


def _all_watched() -> list[ForkAware]:
    while True:
        try:
            return list(_watched)
        except RuntimeError:  # noqa: PERF203 - another thread has just added one
            continue


def _before_fork() -> None:
    global _is_held  # noqa: PLW0603 - the process forks
    # Not for ever: what holds it may itself wait for something that another library has locked for this fork.
    _is_held = _one_at_a_time.acquire(timeout=MOST_SECONDS)
    _resting[:] = _all_watched()
    for thing in _resting:
        thing.before_fork()


def _after_fork_in_parent() -> None:
    try:
        for thing in _resting:
            thing.after_fork_in_parent()
        _resting.clear()
    finally:
        if _is_held:
            _one_at_a_time.release()


def _after_fork_in_child() -> None:
    global _one_at_a_time  # noqa: PLW0603 - the parent's is held
    _one_at_a_time = threading.RLock()
    for thing in _resting:
        thing.after_fork_in_child()
    _resting.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
