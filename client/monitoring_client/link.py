"""The one connection of a client: made when first needed, shared by all threads, dropped in a forked child, remade when lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from monitoring_client.errors import DatabaseUnavailableError, RejectedError, SettingError
from monitoring_client.rows import Row, moved
from monitoring_client.turns import BusyError, Turns

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

    from monitoring_client.exchange import Bell

CONNECT_SECONDS = 3.0
STATEMENT_SECONDS = 3.0
ANSWER_SECONDS = 4.0  # later than STATEMENT_SECONDS: a living server ends the statement, and the connection survives
TURN_SECONDS = 5.0

# What a DSN may override. The last four end a connection whose other end has vanished without a word.
CONNECTION_DEFAULTS: dict[str, str | int] = {
    "application_name": "automon-client",
    "client_encoding": "UTF8",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}

# The function that takes a kind of fact; what is not named here goes to RECORD_FACTS, in its order. Tasks that have ended
# come first: a start of the same id that follows is another run.
BULK = {"task": "record_tasks", "error": "record_errors", "metric": "record_performance_metrics"}
RECORD_FACTS = "record_facts"

# Classes of SQLSTATE that blame what was sent, not the state of the server.
BLAMES_THE_FACTS = ("AM", "22", "23", "54")
NOT_MIGRATED = ("3F000", "42883")
CLOCKS_DIFFER = ("AM005", "AM008")  # "lies in the future", "ends before its start"
SAME_OFFSET = timedelta(seconds=2)

_inherited: list[object] = []


class Refusal(NamedTuple):
    """A fact that the database will never take, and why."""

    row: Row
    error: RejectedError


class LostError(DatabaseUnavailableError):
    """The connection broke, or the transaction was the victim of another; a second try at once may well succeed."""


class Link:
    """Stores rows. Not to be interrupted by a signal handler that uses it again: such a call is refused."""

    def __init__(self, dsn: str | Callable[[], str], schema: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._secrets: list[str] = []
        self._connection: PGconn | None = None
        # How far this machine's clock is ahead of the database's, once the database has refused a moment for that.
        self._ahead = timedelta(0)
        self._turns = Turns()

    def after_fork(self) -> None:
        if self._connection is not None:
            # Kept for ever: closing it, or letting it be collected, would speak to the server in the parent's name.
            _inherited.append(self._connection)
            self._connection = None
        self._turns = Turns()

    def store(self, rows: Sequence[Row], bell: Bell | None = None) -> list[Refusal]:
        """Store rows, all in one transaction, and answer those that are refused.

        Storing them again changes nothing. Raises DatabaseUnavailableError, and whatever `bell` raises.
        """
        with self._turn():
            try:
                refusals = self._store_or_divide(rows, bell)
                if any(_is_about_clocks(refusal) for refusal in refusals):
                    refusals = self._store_with_our_clock_corrected(refusals, bell)
            except RejectedError:
                raise
            except BaseException:
                self._discard()  # also when interrupted in the middle of something, for example by Ctrl-C
                raise
            return refusals

    def close(self) -> None:
        with suppress(BusyError), self._turns.take(TURN_SECONDS):
            self._discard()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            with self._turns.take(TURN_SECONDS):
                yield
        except BusyError as error:
            raise DatabaseUnavailableError(f"no connection is free: {error}") from None

    # What the database blames on the facts ---------------------------------------------------------------------------

    def _store_or_divide(self, rows: Sequence[Row], bell: Bell | None) -> list[Refusal]:
        """Store rows; when the database refuses them as a whole, find those it is about by halves."""
        corrected = [moved(row, -self._ahead) if row.at_is_ours else row for row in rows] if self._ahead else rows
        try:
            return self._store_again_if_lost(rows, corrected, bell)
        except RejectedError as error:
            if len(rows) == 1:
                return [Refusal(rows[0], error)]
        middle = len(rows) // 2
        return [*self._store_or_divide(rows[:middle], bell), *self._store_or_divide(rows[middle:], bell)]

    def _store_with_our_clock_corrected(self, refusals: list[Refusal], bell: Bell | None) -> list[Refusal]:
        """Try once more what lies in the future of the database's clock: that clock decides."""
        ahead = datetime.now(timezone.utc) - self._now_there(bell)
        # A task that started under the old correction must be ended under the same.
        if abs(ahead - self._ahead) > SAME_OFFSET:
            self._ahead = ahead
        others = [refusal for refusal in refusals if not _is_about_clocks(refusal)]
        return others + self._store_or_divide([one.row for one in refusals if _is_about_clocks(one)], bell)

    def _now_there(self, bell: Bell | None) -> datetime:
        [result] = self._ask(b"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", bell)
        return datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=int(result.get_value(0, 0) or 0))

    # The connection --------------------------------------------------------------------------------------------------

    def _store_again_if_lost(self, rows: Sequence[Row], corrected: Sequence[Row], bell: Bell | None) -> list[Refusal]:
        was_in_use = self._connection is not None
        try:
            return self._store_once(rows, corrected, bell)
        except LostError:
            # Servers restart and poolers close what is idle; repeating is harmless, because the database knows a replay.
            if not was_in_use:
                raise
            self._discard()
            return self._store_once(rows, corrected, bell)

    def _store_once(self, rows: Sequence[Row], corrected: Sequence[Row], bell: Bell | None) -> list[Refusal]:
        groups: dict[str, list[int]] = {name: [] for name in (*BULK.values(), RECORD_FACTS)}
        for index, row in enumerate(rows):
            groups[BULK.get(row.kind, RECORD_FACTS)].append(index)
        groups = {name: indexes for name, indexes in groups.items() if indexes}
        connection = self._connection or self._connect(bell)
        calls = [
            _call(connection, self._schema, name, [corrected[index].body for index in indexes])
            for name, indexes in groups.items()
        ]
        limit = f"SELECT set_config('statement_timeout', '{STATEMENT_SECONDS * 1000:.0f}', true)".encode()
        results = self._ask(b"; ".join([limit, *calls]), bell)[1:]
        return [
            Refusal(
                rows[indexes[said["index"]]],
                RejectedError(said["message"], sqlstate=said["code"], hint=said["hint"] or ""),
            )
            for indexes, result in zip(groups.values(), results, strict=True)
            for said in _answer(result)["refused"]
        ]

    def _ask(self, query: bytes, bell: Bell | None) -> list[PGresult]:
        import psycopg

        from monitoring_client.exchange import NoAnswerError, exchange

        connection = self._connection or self._connect(bell)
        try:
            results = exchange(connection, query, ANSWER_SECONDS, bell)
        except NoAnswerError:
            raise DatabaseUnavailableError(f"the database did not answer within {ANSWER_SECONDS:.0f} s") from None
        except psycopg.Error as error:
            raise LostError(self._without_secrets(f"the connection broke: {error}")) from error
        for result in results:
            _check(result)
        return results

    def _connect(self, bell: Bell | None) -> PGconn:
        try:
            import psycopg  # noqa: F401 - whether it can be
        except ImportError as error:  # the module, or the libpq below it
            raise DatabaseUnavailableError(
                f"the database driver cannot be loaded ({error}); install automon-client[binary]"
            ) from None
        parameters = _parameters(self._dsn() if callable(self._dsn) else self._dsn)
        self._secrets = [str(parameters[name]) for name in ("password", "sslpassword") if parameters.get(name)]
        seconds = float(parameters.pop("connect_timeout", 0) or CONNECT_SECONDS)
        reasons = [self._try(host, seconds, bell) for host in _one_by_one(parameters) if self._connection is None]
        if self._connection is None:
            raise DatabaseUnavailableError(reasons[-1])
        return self._connection

    def _try(self, host: dict[str, Any], seconds: float, bell: Bell | None) -> str:
        """Connect to one host, or answer why it cannot be done."""
        import psycopg
        from psycopg.conninfo import make_conninfo

        from monitoring_client.exchange import NoAnswerError, connect

        try:
            self._connection = connect(make_conninfo("", **host).encode(), seconds, bell)
        except NoAnswerError:
            return f"cannot connect: no answer from {host.get('host', 'the server')} within {seconds:.0f} s"
        except psycopg.Error as error:
            return self._without_secrets(f"cannot connect: {error}")
        return ""

    def _without_secrets(self, text: str) -> str:
        text = " ".join(text.split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()


def _parameters(dsn: str) -> dict[str, Any]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if not isinstance(dsn, str) or not dsn.strip():  # for example os.environ.get(…) of what is not set
        raise SettingError("no database is named: give a DSN, or set AUTOMON_DSN")
    try:
        return {**CONNECTION_DEFAULTS, **conninfo_to_dict(dsn)}
    except ProgrammingError:
        pass
    # Raised out here, because the driver's error quotes the DSN with its password and would travel along as the context.
    raise SettingError(
        "the DSN cannot be read; it looks like postgresql://user:password@host:5432/database, with %XX for special characters"
    )


def _one_by_one(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Divide the hosts of a DSN: libpq itself would wait for the first for as long as we wait for all of them."""
    lists = {name: str(parameters[name]).split(",") for name in ("host", "hostaddr", "port") if parameters.get(name)}
    most = max((len(names) for names in lists.values()), default=1)
    hosts = [
        {**parameters, **{name: names[place if len(names) > 1 else 0] for name, names in lists.items()}}
        for place in range(most)
    ]
    if parameters.get("load_balance_hosts") == "random":
        import random

        random.shuffle(hosts)
    return hosts


def _call(connection: PGconn, schema: str, function: str, bodies: Sequence[str]) -> bytes:
    from psycopg.pq import Escaping

    escaping = Escaping(connection)
    name = escaping.escape_identifier(schema.encode()) + b"." + function.encode()
    return b"SELECT %b(%b::jsonb)" % (name, escaping.escape_literal(("[" + ",".join(bodies) + "]").encode()))


def _answer(result: PGresult) -> dict[str, Any]:
    import json

    answer: dict[str, Any] = json.loads(result.get_value(0, 0) or b"{}")
    return answer


def _check(result: PGresult) -> None:
    from psycopg.pq import DiagnosticField, ExecStatus

    if result.status == ExecStatus.TUPLES_OK:
        return
    sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"no reason given").decode("utf-8", "replace")
    if sqlstate.startswith(BLAMES_THE_FACTS):
        hint = (result.error_field(DiagnosticField.MESSAGE_HINT) or b"").decode("utf-8", "replace")
        raise RejectedError(message, sqlstate=sqlstate, hint=hint)
    if sqlstate in NOT_MIGRATED:
        message += "; has this database been migrated to automon's schema, and is this the schema's name?"
    if sqlstate.startswith(("08", "40", "57P")) or not sqlstate:
        raise LostError(f"the database gave up: {message}")
    raise DatabaseUnavailableError(f"the database could not store facts: {message} (SQLSTATE {sqlstate})")


def _is_about_clocks(refusal: Refusal) -> bool:
    return refusal.row.at_is_ours and refusal.error.sqlstate in CLOCKS_DIFFER
