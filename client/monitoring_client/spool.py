"""Facts on disk, for as long as the database is away: one SQLite file, which processes of one user and one database share.

A row that was appended survives a kill and, once it is synced, a loss of power. Rows go to the database in the order in
which they were appended, by one process at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
# All in one row, because the driver lets other threads run with each that it fetches, and a busy one lets go of the
# interpreter only after 5 ms.
OLDEST = """
SELECT json_group_array(json_array(number, kind, run, at_is_ours, body))
FROM (SELECT number, kind, run, at_is_ours, body FROM facts WHERE number > ? ORDER BY number LIMIT ?)
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
        self._number = 1  # of the file in use: one that was damaged is passed over for the next, by all processes
        self._opened: tuple[Path, int, int] | None = None  # which file the connection is to
        self._is_unsafe = False
        self._leading: IO[str] | None = None
        self._newest = 0  # the last row that this process appended
        self._sent = 0  # the last row that need not be sent again, though it may still be in the file
        self._turns = Turns()

    def load(self) -> None:
        """Load what takes its time; without it, no file can be used."""
        with suppress(ImportError):
            import sqlite3  # noqa: F401

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
            # SQLite forbids a child even to close it, and believes that this process holds the locks of its parent.
            _inherited.append(self._connection)
            self._connection = None
            self._is_unsafe = True
        if self._leading is not None:
            # The parent leads on: closing what was inherited does not unlock what the parent holds.
            self._leading.close()
            self._leading = None
        self._newest = 0

    def append(self, rows: Sequence[Row], *, synced: bool = True) -> None:
        """Keep rows; when this returns, they are on disk. Raises FullError when there is no room for all of them.

        Rows that are not synced survive a kill, and a loss of power once others are synced.
        """
        while rows:
            self._run(lambda connection: self._insert(connection, rows, synced=synced))
            if self._is_in_place():
                return

    def oldest(self, most: int) -> list[Row]:
        """Answer the rows that are next to be sent."""
        ((found,),) = self._run(lambda connection: connection.execute(OLDEST, (self._sent, most)).fetchall())
        return sorted(Row(number, kind, run, bool(ours), body) for number, kind, run, ours, body in json.loads(found))

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove rows that `oldest` has answered, now or, as a full disk has no room even for that, as soon as it has."""
        self._sent = rows[-1].number
        self._remove_sent()

    def holds_ours(self) -> bool:
        """Whether something that this process appended waits still; what it records now must wait behind it."""
        return self._newest > 0 and self._run(self._look_for_ours)

    def holds_any(self) -> bool:
        """Whether anything waits, this process's or of others. Does not make the file."""
        if _identity(self._file()) is None:
            return False
        query = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM facts"
        ((first, last),) = self._run(lambda connection: connection.execute(query).fetchall())
        if 0 < first <= self._sent:
            self._remove_sent()
        return bool(last > self._sent)

    def lead(self) -> bool:
        """Become the one process that sends from this file. False while another is; the kernel ends that with the process."""
        if self._leading is not None:
            return True
        try:
            import fcntl
        except ImportError:  # where there is none, two may send the same rows: slower, and no row is stored twice
            return True
        try:
            leading = _private(self.path.with_suffix(".lock"))
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

    def __del__(self) -> None:
        self._abandon()  # Python complains of a connection that nobody has closed

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[Row], *, synced: bool) -> None:
        with _transaction(connection, synced=synced):
            connection.executemany(
                "INSERT INTO facts (kind, run, at_is_ours, body) VALUES (?, ?, ?, ?)", [row[1:] for row in rows]
            )
            ((newest,),) = connection.execute("SELECT max(number) FROM facts")
        self._newest = newest

    def _look_for_ours(self, connection: sqlite3.Connection) -> bool:
        ((first,),) = connection.execute("SELECT min(number) FROM facts WHERE number > ?", (self._sent,))
        if first is None or first > self._newest:
            self._newest = 0
        return self._newest > 0

    def _remove_sent(self) -> None:
        with suppress(FullError):
            self._run(self._delete_sent)

    def _delete_sent(self, connection: sqlite3.Connection) -> None:
        # Nothing in a file that was opened just now, whose numbers begin anew. Not synced: what a loss of power brings
        # back is sent again, and the database knows it.
        with _transaction(connection, synced=False):
            connection.execute("DELETE FROM facts WHERE number <= ?", (self._sent,))

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
        if type(error) is sqlite3.DatabaseError:
            return SpoolError(f"{self._set_aside()} was damaged and has been set aside: {error}")
        return SpoolError(f"cannot use {self.path}: {error}")

    def _open(self) -> sqlite3.Connection:
        if not self._is_in_place():
            self._abandon()
        if self._connection is None:
            import sqlite3

            if self._is_unsafe:
                raise SpoolError(f"cannot use {self.path}: this process was forked in the middle of something")
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._file()
            _make(file)
            opened = _identity(file)
            if opened != self._opened:
                self._newest = 0
            self._opened = opened
            connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._sent = 0  # the file may be another one than before
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        import sqlite3

        with suppress(sqlite3.OperationalError):  # some file systems cannot, or another process is just doing it
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
        connection.execute(TABLE)

    def _is_in_place(self) -> bool:
        """Whether the file that is open is the one in use: another process may have set it aside, or somebody removed it."""
        return self._opened == _identity(self._file())

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _file(self) -> Path:
        while _identity(_numbered(self.path, self._number + 1)) is not None:
            self._number += 1
        return _numbered(self.path, self._number)

    def _set_aside(self) -> Path:
        """Have all processes go on with the next file. What others have open is neither renamed nor removed: SQLite cannot bear that."""
        damaged = _numbered(self.path, self._number)
        if self._opened == _identity(damaged):
            with suppress(OSError):
                _make(_numbered(self.path, self._number + 1))
        return damaged


@contextmanager
def _transaction(connection: sqlite3.Connection, *, synced: bool) -> Iterator[None]:
    connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        yield


def _private(path: Path, flags: int = 0) -> IO[str]:
    """Open a file, made readable for its owner alone if it is new: facts may quote what the application works on."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600), "r+")


def _numbered(path: Path, number: int) -> Path:
    if number == 1:
        return path
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _make(path: Path) -> None:
    """Make a file unless it is there; one that is must not even be opened, as closing it again would end all locks on it."""
    with suppress(FileExistsError):
        _private(path, os.O_EXCL).close()


def _identity(path: Path) -> tuple[Path, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - many times a second
    except OSError:
        return None
    return path, found.st_dev, found.st_ino
