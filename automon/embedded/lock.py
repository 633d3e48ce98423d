"""One owner at a time: a lock that the kernel frees with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from automon.errors import EmbeddedPostgresError

# A holder that was killed a moment ago may not have let go yet.
_PATIENCE_SECONDS = 1.0


class DirectoryLock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self) -> None:
        """Take the lock, or raise EmbeddedPostgresError with the number of the process that holds it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock_within(handle, _PATIENCE_SECONDS):
            holder = os.read(handle, 20).decode().strip() or "unknown"
            os.close(handle)
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL in {self._path.parent} is in use by process {holder}",
                hint="Stop that process first, or use another directory.",
            )
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock_within(handle: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True
