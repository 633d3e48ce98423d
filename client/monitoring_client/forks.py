"""Lets objects prepare for a fork of the process and wake up in the child, where connections, files and locks of the parent must not be touched."""

from __future__ import annotations

import os
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


def watch(thing: ForkAware) -> None:
    _watched.add(thing)


def _before_fork() -> None:
    _resting[:] = list(_watched)
    for thing in _resting:
        thing.before_fork()


def _after_fork_in_parent() -> None:
    for thing in _resting:
        thing.after_fork_in_parent()
    _resting.clear()


def _after_fork_in_child() -> None:
    for thing in _resting:
        thing.after_fork_in_child()
    _resting.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
