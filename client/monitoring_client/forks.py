"""Tells objects that they woke up in a forked child, where connections and locks of the parent must not be touched."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    def after_fork(self) -> None:
        """Replace whatever a child must not share with its parent. Runs in the child, before anything else does."""


_watched: WeakSet[ForkAware] = WeakSet()


def watch(thing: ForkAware) -> None:
    _watched.add(thing)


def _after_fork_in_child() -> None:
    for thing in list(_watched):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
