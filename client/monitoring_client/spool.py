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
from monitoring_client.facts import readable
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
    """The file is made when first needed. Every method raises SpoolError when it cannot be used.

    `path` may be a function that answers the path, where finding it out takes time; it is asked once.
    """

    def __init__(self, path: Path | Callable[[], Path], most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_pages = max(16, most_bytes // PAGE)
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the file that the connection is to
        self._read_from: sqlite3.Connection | None = None
        self._leading: IO[str] | None = None
        self._newest = 0  # the last row that this process appended
        self._turns = Turns()

    @property
    def path(self) -> Path:
        """The file. Raises SpoolError when it cannot be told."""
        if callable(self._path):
            try:
                self._path = self._path()
            except Exception as error:  # the application's function that gives the DSN, which names the file
                raise SpoolError(f"cannot tell which file to use: {readable(error)}") from error
        return self._path

    @property
    def held_ours(self) -> bool:
        """Whether something that this process appended waited when `holds_ours` last looked."""
        return self._newest > 0

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

        def read(connection: sqlite3.Connection) -> list[tuple[int, str, str, int, str]]:
            self._read_from = connection
            return connection.execute(query, (most,)).fetchall()

        found = self._run(read)
        return [Row(number, kind, run, bool(ours), body) for number, kind, run, ours, body in found]

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove rows that `oldest` has answered."""
        self._run(lambda connection: self._delete(connection, rows[-1].number))

    def holds_ours(self) -> bool:
        """Whether something that this process appended waits still; what it records now must wait behind it."""
        return self._newest > 0 and self._run(self._look_for_ours)

    def holds_any(self) -> bool:
        """Whether anything waits, this process's or of others. Does not make the file."""
        if not os.path.exists(self.path):  # noqa: PTH110 - Path.exists raises where a folder may not be looked into
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
        try:
            leading = os.fdopen(os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "r+")
        except OSError as error:
            raise SpoolError(f"cannot use {self.path}: {error}") from error
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
        if connection is not self._read_from:  # another file has taken the place of the one that the rows are from
            return
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
            try:
                return work(self._open())
            except sqlite3.Error as error:
                raise self._reason(error) from error
        except OSError as error:
            raise SpoolError(f"cannot use {self.path}: {error}") from error

    def _reason(self, error: sqlite3.Error) -> MonitoringError:
        import sqlite3

        if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
            return FullError(f"there is no more room in {self.path}: {error}")
        self._abandon()
        # The plain class is what SQLite's "corrupt" and "not a database" become.
        if type(error) is sqlite3.DatabaseError and self._set_aside():
            return SpoolError(f"{self.path} was damaged and has been set aside: {error}")
        return SpoolError(f"cannot use {self.path}: {error}")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if _identity(self.path) == self._identity:
                return self._connection
            # It was deleted or replaced, and what is written to the old one would be gone with this process.
            self._abandon()
        import sqlite3

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(self.path)
        self._newest = 0 if _identity(self.path) != self._identity else self._newest
        self._identity = _identity(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            with suppress(sqlite3.OperationalError):  # some file systems cannot, or another process is just doing it
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
            connection.execute(TABLE)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _set_aside(self) -> bool:
        """Rename a damaged file. False when another process has done so already."""
        if _identity(self.path) != self._identity:
            return False
        aside = f"{self.path}.damaged-{time.time_ns()}"
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        return True


def _make_private(path: Path) -> None:
    """Make a file that is readable for its owner alone, if there is none: facts may quote what the application works on.

    One that is there is not opened: closing it again would end the locks that SQLite holds on it in this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
