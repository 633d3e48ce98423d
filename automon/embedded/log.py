"""The server's log: what it said since this start."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

_LARGEST_BYTES = 10_000_000
_TAIL_LINES = 15


def keep_small(path: Path) -> None:
    """Begin a log that has grown too long anew, and keep what it held as the one before; its server may be writing."""
    if path.exists() and path.stat().st_size > _LARGEST_BYTES:
        before = path.with_name(f"{path.name}.1")
        before.unlink(missing_ok=True)
        with (
            os.fdopen(os.open(before, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy,
            path.open("rb") as log,
        ):
            shutil.copyfileobj(log, copy)
        # The server appends, so it goes on at the new end, which is the beginning.
        os.truncate(path, 0)


class ServerLog:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0
        self._size = 0
        self._grew_at = time.monotonic()
        keep_small(path)

    def open_for_server(self) -> BinaryIO:
        """Open the log for appending, for this user alone, and count from here what the next server says."""
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._start = self._size = os.fstat(handle).st_size
        self._grew_at = time.monotonic()
        return os.fdopen(handle, "ab")

    def silent_seconds(self) -> float:
        """Say for how long the server has added nothing, as far as this was asked."""
        size = self._path.stat().st_size
        if size != self._size:
            self._size, self._grew_at = size, time.monotonic()
        return time.monotonic() - self._grew_at

    def tail(self) -> str:
        return "\n".join(self._said().splitlines()[-_TAIL_LINES:])

    def says_port_is_taken(self) -> bool:
        return "could not create any TCP/IP sockets" in self._said()

    def says_memory_is_in_use(self) -> bool:
        return "pre-existing shared memory block" in self._said()

    def says_recovery(self) -> bool:
        said = self._said()
        return "database system was interrupted" in said or "automatic recovery" in said

    def _said(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")
