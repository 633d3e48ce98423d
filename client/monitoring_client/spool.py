"""Facts on disk, for as long as the database is away: one SQLite file, which processes of one user and one database share.

A row that was appended survives a kill and, as it is synced, a loss of power. Rows go to the database in the order in
which they were appended, by one process at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from monitoring_client.errors import FullError, MonitoringError
from monitoring_client.rows import Row
from monitoring_client.turns import BusyError, Turns

if TYPE_CHECKING:
    import sqlite3

MOST_BYTES = 64 * 2**20
BUSY_SECONDS = 2.0  # to wait for another process that is writing
PAGE = 4096
TABLE = """
CREATE TABLE IF NOT EXISTS facts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, run TEXT NOT NULL, at_is_ours INTEGER NOT NULL, body TEXT NOT NULL
)
"""

R = TypeVar("R")
_inherited: list[object] = []


class SpoolError(MonitoringError):
    """The file cannot be used: no place that can be written to, a broken disk, another program's file."""


class Spool:
    """`path` is made when first needed. Every method raises SpoolError when the file cannot be used."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_pages = max(16, most_bytes // PAGE)
        self._connection: sqlite3.Connection | None = None
        self._leading: IO[str] | None = None
        self._newest = 0  # the last row that this process appended
        self._turns = Turns()

    def after_fork(self) -> None:
        self._turns = Turns()
        if self._connection is not None:
            _inherited.append(self._connection)  # SQLite forbids a child even to close it
            self._connection = None
        if self._leading is not None:
            # The parent leads on: closing what was inherited does not unlock what the parent holds.
            self._leading.close()
            self._leading = None
        self._newest = 0

    def append(self, rows: Sequence[Row]) -> None:
        """Keep rows; when this returns, they are on disk. Raises FullError when there is no room for all of them."""
        if not rows:
            return
        self._run(lambda connection: self._insert(connection, rows))

    def oldest(self, most: int) -> list[Row]:
        """Answer the rows that are next to be sent."""
        query = "SELECT number, kind, run, at_is_ours, body FROM facts ORDER BY number LIMIT ?"
        found = self._run(lambda connection: connection.execute(query, (most,)).fetchall())
        return [Row(number, kind, run, bool(ours), body) for number, kind, run, ours, body in found]

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove rows that `oldest` has answered."""
        self._run(lambda connection: self._delete(connection, rows[-1].number))

    def holds_ours(self) -> bool:
        """Whether something that this process appended waits still; what it records now must wait behind it."""
        return self._newest > 0 and self._run(self._look_for_ours)

    def holds_any(self) -> bool:
        """Whether anything waits, this process's or of others. Does not make the file."""
        if not self.path.exists():
            return False
        return bool(self._run(lambda connection: connection.execute("SELECT 1 FROM facts LIMIT 1").fetchall()))

    def lead(self) -> bool:
        """Become the one process that sends from this file. False while another is; the kernel ends that with the process."""
        if self._leading is not None:
            return True
        try:
            import fcntl
        except ImportError:  # where there is none, two may send the same rows: slower, and no row is stored twice
            return True
        leading = _private(self.path.with_suffix(".lock"))
        try:
            fcntl.flock(leading, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            leading.close()
            return False
        self._leading = leading
        return True

    def give_up_lead(self) -> None:
        if self._leading is not None:
            self._leading.close()
            self._leading = None

    def close(self) -> None:
        self.give_up_lead()
        with suppress(BusyError), self._turns.take(BUSY_SECONDS):
            self._abandon()

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.executemany(
                "INSERT INTO facts (kind, run, at_is_ours, body) VALUES (?, ?, ?, ?)", [row[1:] for row in rows]
            )
            ((newest,),) = connection.execute("SELECT max(number) FROM facts")
        self._newest = newest

    def _look_for_ours(self, connection: sqlite3.Connection) -> bool:
        ((first,),) = connection.execute("SELECT min(number) FROM facts")
        if first is None or first > self._newest:
            self._newest = 0
        return self._newest > 0

    def _delete(self, connection: sqlite3.Connection, number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.execute("DELETE FROM facts WHERE number <= ?", (number,))

    def _run(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            with self._turns.take(BUSY_SECONDS):
                return self._run_in_turn(work)
        except BusyError as error:
            raise SpoolError(f"cannot use {self.path}: {error}") from None

    def _run_in_turn(self, work: Callable[[sqlite3.Connection], R]) -> R:
        import sqlite3

        try:
            return work(self._open())
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise FullError(f"there is no more room in {self.path}: {error}") from error
            self._abandon()
            raise SpoolError(f"cannot use {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            self._abandon()
            self._set_aside()
            raise SpoolError(f"{self.path} was damaged and has been set aside: {error}") from error
        except OSError as error:
            raise SpoolError(f"cannot use {self.path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            import sqlite3

            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _private(self.path).close()
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
            connection.execute(TABLE)
            self._connection = connection
        return self._connection

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _set_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            damaged = Path(f"{self.path}{suffix}")
            if damaged.exists():
                damaged.rename(f"{self.path}.damaged-{time.time_ns()}{suffix}")


def _private(path: Path) -> IO[str]:
    """Open a file, made readable for its owner alone if it is new: facts may quote what the application works on."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
