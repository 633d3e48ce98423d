"""The one connection of a client: made when first needed, shared by all threads, dropped in a forked child, remade when lost.

What an outage may cost the application is bounded: a connection attempt and a statement have time limits, and after
a failure every call fails at once, for a pause that is proportional to what the failure has cost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from monitoring_client import forks
from monitoring_client.errors import DatabaseUnavailableError, RejectedError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.pq.abc import PGresult

    from monitoring_client.facts import Fact

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 3.0
ANSWER_SECONDS = 4.0  # later than STATEMENT_SECONDS: a living server ends the statement, and the connection survives
TURN_SECONDS = 3.0
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
PAUSE_PER_COST = 20  # at worst, an outage takes one twentieth of a thread's time

# What a DSN may override. The last four end a connection whose other end has vanished without a word.
CONNECTION_DEFAULTS = {
    "application_name": "automon-client",
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}

# Classes of SQLSTATE that blame the fact or the caller's rights, not the state of the server: no reason to pause.
BLAMES_THE_FACT = ("AM", "22", "23", "3F", "42", "54", "P0")

_inherited: list[object] = []


class _LostError(DatabaseUnavailableError):
    """The connection broke, or the transaction was the victim of another; a second try at once may well succeed."""


class Link:
    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._password = ""
        self._connection: Connection[Any] | None = None
        self._closed = False
        self._paused_until = 0.0
        self._why_paused = ""
        self._make_lock()
        forks.watch(self)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def after_fork(self) -> None:
        if self._connection is not None:
            # Kept for ever: closing it, or letting it be collected, would speak to the server in the parent's name.
            _inherited.append(self._connection)
            self._connection = None
        self._make_lock()

    def store(self, fact: Fact) -> None:
        """Record one fact. Raises DatabaseUnavailableError (at once during a pause) or RejectedError."""
        self._refuse_in_pause()
        with self._turn():
            self._refuse_in_pause()
            began = time.monotonic()
            try:
                self._store_again_if_lost(fact)
            except DatabaseUnavailableError as error:
                self._discard()
                self._pause(str(error), time.monotonic() - began)
                raise
            except RejectedError:
                raise
            except BaseException:
                self._discard()  # interrupted in the middle of something, for example by Ctrl-C
                raise

    def close(self) -> None:
        self._closed = True
        if self._lock.acquire(timeout=TURN_SECONDS):
            try:
                self._discard()
            finally:
                self._lock.release()

    def _refuse_in_pause(self) -> None:
        if self._closed:
            raise DatabaseUnavailableError("the client is closed")
        if time.monotonic() < self._paused_until:
            raise DatabaseUnavailableError(self._why_paused)

    def _pause(self, reason: str, cost: float) -> None:
        pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, PAUSE_PER_COST * cost))
        self._why_paused = f"{reason}; no further attempt for {pause:.0f} s"
        self._paused_until = time.monotonic() + pause

    @contextmanager
    def _turn(self) -> Iterator[None]:
        me = threading.get_ident()
        if self._holder == me:  # a signal handler or a logging handler, called in the middle of a call
            raise DatabaseUnavailableError("this thread is in the middle of recording another fact")
        if not self._lock.acquire(timeout=TURN_SECONDS):
            self._pause(f"other threads kept the connection busy for {TURN_SECONDS:.0f} s", TURN_SECONDS)
            raise DatabaseUnavailableError(self._why_paused)
        self._holder = me
        try:
            yield
        finally:
            self._holder = None
            self._lock.release()

    def _store_again_if_lost(self, fact: Fact) -> None:
        was_in_use = self._connection is not None
        try:
            self._store_once(fact)
        except _LostError:
            # Servers restart and poolers close what is idle; repeating is harmless, because the database knows a replay.
            if not was_in_use:
                raise
            self._discard()
            self._store_once(fact)

    def _store_once(self, fact: Fact) -> None:
        if self._connection is None:
            self._connection = self._connect()
        import psycopg

        from monitoring_client.exchange import NoAnswerError, exchange

        query = _query(self._connection, self._schema, fact)
        try:
            results = exchange(self._connection.pgconn, query, ANSWER_SECONDS)
        except NoAnswerError:
            raise DatabaseUnavailableError(f"the database did not answer within {ANSWER_SECONDS:.0f} s") from None
        except psycopg.Error as error:
            raise _LostError(self._without_password(f"the connection broke: {error}")) from error
        for result in results:
            _check(result)

    def _connect(self) -> Connection[Any]:
        try:
            import psycopg
        except ImportError as error:  # the module, or the libpq below it
            raise DatabaseUnavailableError(
                f"the database driver cannot be loaded ({error}); install automon-client[binary]"
            ) from None
        parameters = _parameters(self._dsn)
        self._password = str(parameters.get("password") or "")
        try:
            # Nothing may be prepared: behind a transaction pooler the next statement meets another session.
            return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
        except psycopg.Error as error:
            reason = self._without_password(f"cannot connect: {error}")
        raise DatabaseUnavailableError(reason)

    def _without_password(self, text: str) -> str:
        text = " ".join(text.split())
        return text.replace(self._password, "***") if self._password else text

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _parameters(dsn: str) -> dict[str, Any]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if not isinstance(dsn, str) or not dsn.strip():  # for example os.environ.get(…) of what is not set
        raise DatabaseUnavailableError("no database is named: give a DSN, or set AUTOMON_DSN")
    try:
        return {**CONNECTION_DEFAULTS, **conninfo_to_dict(dsn)}
    except ProgrammingError:
        pass
    # Raised out here, because the driver's error quotes the DSN with its password and would travel along as the context.
    raise DatabaseUnavailableError(
        "the DSN cannot be read; it looks like postgresql://user:password@host:5432/database, with %XX for special characters"
    )


def _query(connection: Connection[Any], schema: str, fact: Fact) -> bytes:
    from psycopg.sql import SQL, Identifier, Literal

    given = SQL(", ").join(
        SQL("{} => {}").format(Identifier(name), Literal(value))
        for name, value in [*fact.arguments.items(), ("p_at", fact.at)]
    )
    return (
        SQL("SELECT set_config('statement_timeout', {}, true); SELECT {}({})")
        .format(Literal(f"{STATEMENT_SECONDS * 1000:.0f}"), Identifier(schema, fact.function), given)
        .as_bytes(connection)
    )


def _check(result: PGresult) -> None:
    from psycopg.pq import DiagnosticField, ExecStatus

    if result.status == ExecStatus.TUPLES_OK:
        return
    sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"no reason given").decode("utf-8", "replace")
    if sqlstate.startswith(BLAMES_THE_FACT):
        raise RejectedError(message, sqlstate=sqlstate, hint=_hint(result, sqlstate))
    if sqlstate.startswith(("08", "40", "57P")) or not sqlstate:
        raise _LostError(f"the database gave up: {message}")
    raise DatabaseUnavailableError(f"the database could not store the fact: {message} (SQLSTATE {sqlstate})")


def _hint(result: PGresult, sqlstate: str) -> str:
    from psycopg.pq import DiagnosticField

    if sqlstate in ("3F000", "42883"):
        return "has this database been migrated to automon's schema, and is this the schema's name?"
    return (result.error_field(DiagnosticField.MESSAGE_HINT) or b"").decode("utf-8", "replace")
