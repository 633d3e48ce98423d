"""The names that this process gives: to itself as a worker, and to tasks."""

from __future__ import annotations

import itertools
import os

_worker: str | None = None
_prefix = ""
_numbers = itertools.count()


def worker_id() -> str:
    """Answer host and process."""
    global _worker  # noqa: PLW0603 - it is the same for the whole process
    if _worker is None:
        import socket

        _worker = f"{socket.gethostname()}:{os.getpid()}"
    return _worker


def new_task_id() -> str:
    """Make an id in the form of a UUID. Those of one process differ in the last digits, so that they are neighbours in an index."""
    return f"{_prefix}{next(_numbers):012x}"


def _begin() -> None:
    """Begin anew in each process: a forked child that went on from here would give its parent's names."""
    global _worker, _prefix  # noqa: PLW0603 - as above
    digits = os.urandom(10).hex()
    _worker = None
    _prefix = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:]}-"


_begin()
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_begin)
