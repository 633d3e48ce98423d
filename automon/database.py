"""The way to PostgreSQL: one small pool that starts without a database, notices outages and tells each of them once."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from automon.clock import Clock
from automon.errors import AutomonError, DatabaseUnavailableError

POOLER_PORTS = frozenset({"6432", "6543"})
# Keepalives alone do not end a query whose packets vanish: the unacknowledged data waits for the retransmission timer.
TRANSPORT = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
STATEMENT_TIMEOUT = "60s"
# A service that waits for another must see what that one has done, also where the database's default is stricter.
ISOLATION = r"read\ committed"
# Seconds until a server counts as gone that takes our packets and answers nothing: the statement's limit is its own to
# keep. Whether a connection still works is asked with nothing to compute, and while there is none, nobody waits long.
QUERY_PATIENCE = 75.0
CHECK_PATIENCE = 5.0
POOL_PATIENCE = 5.0
POOL_PATIENCE_IN_AN_OUTAGE = 1.0

log = structlog.get_logger("automon.database")


def parse_url(url: str) -> dict[str, str]:
    """Split a libpq URL into its parts. Raises AutomonError that does not repeat the URL: a password may be in it."""
    try:
        return {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        raise AutomonError(
            "the database URL is not one that PostgreSQL understands",
            hint="Use postgresql://user:password@host:5432/database; write special characters of the password as %XX.",
        ) from None


def is_pooled(parts: dict[str, str]) -> bool:
    """Guess whether a transaction pooler answers there, from the port and the host's name."""
    return parts.get("port") in POOLER_PORTS or "pooler" in parts.get("host", "")


def describe_url(url: str) -> str:
    """Write a database URL for people: host, port and database, never the password."""
    parts = parse_url(url)
    host, port = parts.get("host", "local socket"), parts.get("port", "5432")
    where = f"{host}:{port}" if not host.startswith("/") else f"socket {host}"
    return f"{parts.get('dbname', 'postgres')} at {where} as {parts.get('user', 'the current user')}"


class BinaryCursor(psycopg.Cursor[Any]):
    """Reads values in binary form: how a moment or a span is written as text is for the database's owner to choose."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.format = psycopg.pq.Format.BINARY


class Database:
    """A pool of at most `size` connections. Opening it needs no database; using it without one raises.

    Behind a transaction pooler (`pooled`, guessed when None) it prepares no statements and sets no session state.
    One that is `quiet` leaves it to another to tell of outages.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        pooled: bool | None = None,
        size: int = 6,
        patience: float = QUERY_PATIENCE,
        quiet: bool = False,
    ) -> None:
        parts = parse_url(url)
        self.pooled = is_pooled(parts) if pooled is None else pooled
        settings = (
            TRANSPORT
            | parts
            | {"application_name": parts.get("application_name", "automon"), "client_encoding": "UTF8"}
        )
        if not self.pooled:
            session = f"-c statement_timeout={STATEMENT_TIMEOUT} -c default_transaction_isolation={ISOLATION}"
            settings["options"] = f"{parts.get('options', '')} {session}".strip()
        self.conninfo = make_conninfo(**settings)
        self.description = describe_url(url)
        self._clock = clock
        self._patience = patience
        self._quiet = quiet
        self._lost_at: float | None = None
        self._answered_at = -math.inf  # in monotonic seconds
        self._closed = False
        self._lock = threading.Lock()
        self._pool = ConnectionPool(
            self.conninfo,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None if self.pooled else 5,
                "cursor_factory": BinaryCursor,
            },
            min_size=1,
            max_size=size,
            open=False,
            check=check_connection,
            timeout=POOL_PATIENCE,
            max_lifetime=1800,
            max_idle=120,
            # The pool doubles its pauses for so long and then begins anew: short, so that a return is noticed at once.
            reconnect_timeout=1,
            num_workers=1,
            name="automon",
        )

    def probe(self) -> None:
        """Connect once, without the pool, which waits and forgets the reason. Raises DatabaseUnavailableError with it."""
        try:
            psycopg.connect(self.conninfo).close()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(
                f"the database does not answer ({self.description}): {first_line(error)}",
                hint="Is it running, and is its URL right?",
            ) from error

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        """Close the pool; what still wants a connection gets an error, and that is no outage to tell of."""
        self._closed = True
        self._pool.close(timeout=2)

    @property
    def available(self) -> bool:
        """Whether the last use found the database; True before the first."""
        return self._lost_at is None

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailableError when there is none to be had."""
        timeout = POOL_PATIENCE if self.available else POOL_PATIENCE_IN_AN_OUTAGE
        lent: psycopg.Connection | None = None
        began = self._clock.monotonic()
        try:
            with self._pool.connection(timeout) as lent, cut_after(self._patience, lent):
                yield lent
        except (PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError) as error:
            if lent is not None and not lent.closed:
                raise  # the database has answered, with a deadlock or a statement that took too long: that is no outage
            self.note_loss(error, began)
            raise DatabaseUnavailableError(
                f"the database does not answer ({self.description}): {first_line(error)}",
                hint="Is it running, and is its URL right? A service that waits for it goes on by itself.",
            ) from error
        self._note_return()

    def note_loss(self, error: Exception, began: float = math.inf) -> None:
        """Tell of an outage, unless it is told of already; `connection` does this by itself.

        What failed `began` at this monotonic second. Who began before others got an answer has waited through an outage that is over.
        """
        with self._lock:
            if began < self._answered_at:
                return
            first, self._lost_at = self._lost_at is None, self._lost_at or self._clock.monotonic()
        if first and not self._closed:
            if not self._quiet:
                log.error("database_unavailable", database=self.description, reason=first_line(error))
            # What the pool still holds is dead too; to check each of them in turn would take seconds.
            self._pool.drain()

    def _note_return(self) -> None:
        self._answered_at = self._clock.monotonic()
        if self._lost_at is None:
            return
        with self._lock:
            lost_at, self._lost_at = self._lost_at, None
        if lost_at is not None and not self._quiet:
            log.info(
                "database_available",
                database=self.description,
                away_seconds=round(self._clock.monotonic() - lost_at, 1),
            )


class Deadlines:
    """Cuts connections whose time is up, from one thread: a timer for each use would cost more than most queries do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: dict[object, tuple[float, psycopg.Connection]] = {}
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, connection: psycopg.Connection) -> object:
        """Have the connection cut after so many seconds; what is answered takes that back."""
        entry, at = object(), time.monotonic() + seconds
        with self._changed:
            self._pending[entry] = at, connection
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            if at < self._wakes_at:
                self._changed.notify()
        return entry

    def take_back(self, entry: object) -> None:
        """Let the connection be; it is not cut any more when this returns."""
        with self._changed:
            self._pending.pop(entry, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for entry in [entry for entry, (at, _) in self._pending.items() if at <= now]:
                    cut(self._pending.pop(entry)[1])
                # What is taken back meanwhile leaves its moment to wake up at: that is seldom, and cheaper than to wake now.
                self._wakes_at = min((at for at, _ in self._pending.values()), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


_deadlines = Deadlines()


@contextmanager
def cut_after(seconds: float, connection: psycopg.Connection) -> Iterator[None]:
    """Cut the connection when what is done on it has not come to an end by then."""
    entry = _deadlines.add(seconds, connection)
    try:
        yield
    finally:
        _deadlines.take_back(entry)


def cut(connection: psycopg.Connection) -> None:
    """Shut a connection's socket, so that whoever waits for an answer gets an error instead."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def check_connection(connection: psycopg.Connection) -> None:
    with cut_after(CHECK_PATIENCE, connection):
        ConnectionPool.check_connection(connection)


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
