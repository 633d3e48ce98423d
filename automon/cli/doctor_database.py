"""What `automon doctor` asks the database: the server, the role, the schema, and how automon fares in it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from automon.cli.findings import Check, Finding, State, failed, not_checked, ok, warning
from automon.cli.text import age
from automon.config import Config
from automon.database import Database, describe_url, first_line, is_pooled, parse_url
from automon.database_failure import how_to_connect
from automon.errors import DatabaseUnavailableError, SchemaMissingError
from automon.inspection import (
    Pooling,
    Rights,
    Schema,
    Server,
    Skew,
    clock_skew,
    detect_pooling,
    look_at_rights,
    look_at_schema,
    look_at_server,
)
from automon.migrate import manifest
from automon.store import Store

Document = dict[str, Any]
OLDEST, NEWEST = 14, 18
# Facts that are more than a minute ahead of the database are refused.
SKEW_WORTH_SAYING = 2.0
SKEW_THAT_HURTS = 60.0
DAYS_WORTH_SAYING = 2
MOST_NAMES = 3
DAYS_THAT_HURT = 7
ROLLUPS_WORTH_SAYING = 60.0
ROLLUPS_THAT_HURT = 600.0
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
START = "sudo systemctl enable --now automon   (in a checkout: make run)"


class DatabaseChecks:
    """The checks of one database, over connections that are cut when an answer takes too long.

    After the first that gets no answer the others do not wait for one.
    """

    def __init__(self, url: str, config: Config | None, database: Database) -> None:
        self._url = url
        self._pooled = config.database.pooled if config else None
        self._schema = config.database.schema_ if config else "public"
        self._database = database
        self._store = Store(database, self._schema)
        self._why_not = ""
        self._why_no_function = ""
        self._summary: Document | None = None
        self.zone = ""

    def checks(self) -> list[Check]:
        server = {
            "database": self._reach,
            "version": self._version,
            "clock": self._clock,
            "pooler": self._pooler,
            "schema": self._schema_files,
            "rights": self._rights,
        }
        functions: dict[str, Callable[[], Finding | None]] = {
            "partitions": self._partitions,
            "retention": self._retention,
            "rollups": self._rollups,
            "service": self._service,
            "checks": self._last_check,
            "channels": self._channels,
            "drift": self._drift,
        }
        return [
            *(Check(name, self._in_turn(name, look)) for name, look in server.items()),
            *(Check(name, self._in_turn(name, self._with_schema(name, look))) for name, look in functions.items()),
        ]

    def _with_schema(self, name: str, look: Callable[[], Finding | None]) -> Callable[[], Finding | None]:
        """Leave out what automon's own functions would tell, when they are not those of this version."""
        return lambda: not_checked(name, self._why_no_function) if self._why_no_function else look()

    def _in_turn(self, name: str, look: Callable[[], Finding | None]) -> Callable[[], Finding | None]:
        def run() -> Finding | None:
            if self._why_not:
                return not_checked(name, self._why_not)
            try:
                return look()
            except SchemaMissingError as error:
                return not_checked(name, error.message)
            except DatabaseUnavailableError as error:
                self._why_not = "the database does not answer"
                return failed(name, error.message, how_to_connect(error.message))
            except psycopg.Error as error:
                return not_checked(name, f"the database refused to say: {first_line(error)}")

        return run

    # The server -------------------------------------------------------------------------------------------------

    def _reach(self) -> Finding:
        try:
            with psycopg.connect(self._database.conninfo) as connection:
                is_encrypted = connection.pgconn.ssl_in_use
        except psycopg.OperationalError as error:
            self._why_not = "the database cannot be reached"
            reason = first_line(error)
            return failed("database", f"{describe_url(self._url)}: {reason}", how_to_connect(reason))
        self._database.open()
        return judge_way(self._url, is_encrypted=is_encrypted)

    def _server(self) -> Server:
        with self._database.connection() as connection:
            return look_at_server(connection)

    def _version(self) -> Finding:
        server = self._server()
        self.zone = server.zone
        return judge_server(server)

    def _clock(self) -> Finding:
        with self._database.connection() as connection:
            return judge_skew(clock_skew(connection))

    def _pooler(self) -> Finding:
        as_configured = is_pooled(parse_url(self._url)) if self._pooled is None else self._pooled
        return judge_pooling(detect_pooling(self._database.conninfo), as_configured=as_configured)

    # The schema and the role ------------------------------------------------------------------------------------

    def _schema_files(self) -> Finding:
        with self._database.connection() as connection:
            found = judge_schema(look_at_schema(connection, self._schema), [file for file, _ in manifest()])
        self._why_no_function = "the schema is not this version's" if found.state is State.FAILED else ""
        return found

    def _rights(self) -> Finding:
        server = self._server()
        with self._database.connection() as connection:
            schema = look_at_schema(connection, self._schema)
            rights = look_at_rights(connection, self._schema)
        return judge_rights(server.role, schema, rights)

    # What is kept -----------------------------------------------------------------------------------------------

    def _partitions(self) -> Finding:
        return judge_partitions(self._own()["partitions_ahead_days"], self._storage(), self._sql)

    def _retention(self) -> Finding:
        return judge_retention(self._storage(), self._sql)

    def _rollups(self) -> Finding:
        lag = self._store.rollup_lag()
        return judge_rollups(lag["behind_seconds"], lag["why"] or "", self._sql)

    def _storage(self) -> list[Document]:
        return self._store.storage_report()

    # automon itself ---------------------------------------------------------------------------------------------

    def _service(self) -> Finding:
        return judge_services(self._own()["services"])

    def _last_check(self) -> Finding:
        return judge_last_check(self._own())

    def _channels(self) -> Finding:
        return judge_channels(self._own()["channels"])

    def _drift(self) -> Finding:
        return judge_drift(self._store.config_drift())

    def _own(self) -> Document:
        if self._summary is None:
            from automon.clock import SystemClock

            self._summary = self._store.dashboard_summary(SystemClock().now())["automon"]
        return self._summary

    def _sql(self, call: str) -> str:
        """Write the command that makes a call in this database, without the password that its URL may hold."""
        return f'psql "$DATABASE_URL" -c {shlex.quote(f"SELECT {self._schema}.{call}")}'


# Judgements. Pure functions -------------------------------------------------------------------------------------

Sql = Callable[[str], str]


def judge_way(url: str, *, is_encrypted: bool) -> Finding:
    where = describe_url(url)
    host = parse_url(url).get("host", "/")
    if is_encrypted:
        return ok("database", f"{where} answers, encrypted")
    if host.startswith("/") or host in LOCAL_HOSTS:
        return ok("database", f"{where} answers")
    told = f"{where} answers, but the way there is not encrypted: passwords and facts can be read on it"
    return warning("database", told, "Add ?sslmode=require to DATABASE_URL, if the server has TLS.")


def judge_server(server: Server) -> Finding:
    told = f"PostgreSQL {server.version}"
    if server.is_replica:
        return failed(
            "version",
            f"{told}, a replica, where nothing can be written",
            "Name in DATABASE_URL the server that it follows.",
        )
    if server.major < OLDEST:
        return failed(
            "version",
            f"{told} is older than {OLDEST}, the oldest that works",
            f"Upgrade the server to {OLDEST} to {NEWEST}.",
        )
    if server.major > NEWEST:
        return warning(
            "version", f"{told} is newer than {NEWEST}, the newest that was tried", "Look for a newer automon."
        )
    return ok("version", told)


def judge_skew(skew: Skew) -> Finding:
    direction = "ahead of" if skew.seconds > 0 else "behind"
    told = f"the database is {abs(skew.seconds):.1f} s {direction} this host"
    fix = "timedatectl set-ntp true   (on the machine whose clock is wrong)"
    if skew.at_least > SKEW_THAT_HURTS:
        return failed("clock", f"{told}: facts of clients on this host are refused or misplaced", fix)
    if skew.at_least > SKEW_WORTH_SAYING:
        return warning("clock", told, fix)
    return ok(
        "clock", f"this host and the database agree within {max(abs(skew.seconds), skew.uncertainty) * 1000:.0f} ms"
    )


def judge_pooling(found: Pooling, *, as_configured: bool) -> Finding:
    match found, as_configured:
        case Pooling.TRANSACTION, False:
            told = "a pooler lends connections for a transaction, and the config does not say so"
            return failed("pooler", told, 'In the config, section "database": "pooled": true')
        case Pooling.TRANSACTION, True:
            return ok("pooler", "one in transaction mode, as the config says; messages leave within 5 s")
        case _, True:
            told = "none in transaction mode, yet automon works as behind one: messages leave within 5 s instead of at once"
            return warning("pooler", told, 'In the config, section "database": "pooled": false')
        case Pooling.SESSION, _:
            return ok("pooler", "one that lends connections for a session")
        case _:
            return ok("pooler", "none in between")


def judge_schema(schema: Schema, known: Sequence[str]) -> Finding:
    if not schema.exists:
        return failed("schema", "automon's tables are not there", "automon migrate")
    if schema.files is None:
        return not_checked("schema", f"this role may not read the ledger; the tables belong to {schema.owner}")
    missing = [file for file in known if file not in schema.files]
    if newer := [file for file in schema.files if file > known[-1]]:
        return failed(
            "schema",
            f"the database is at {newer[-1]}, this automon knows up to {known[-1]}",
            "Upgrade automon on this machine.",
        )
    if missing:
        told = f"{len(missing)} files are not applied yet, the first is {missing[0]}"
        return failed("schema", told, "automon migrate")
    return ok("schema", f"at {known[-1]}, as this automon has it")


def judge_rights(role: str, schema: Schema, rights: Rights) -> Finding:
    if not schema.exists:
        return not_checked("rights", "there is nothing yet to have rights on")
    if not rights.forbidden:
        return ok("rights", f"{role} may do everything; the tables belong to {schema.owner}")
    told = "; ".join(f"{who}: {', '.join(names)}" for who, names in rights.forbidden.items())
    fix = f"Name in DATABASE_URL the role that the tables belong to, {schema.owner}."
    if "the service" in rights.forbidden:
        return failed("rights", f"{role} may not call what is needed by {told}", fix)
    return warning("rights", f"{role} may not call what is needed by {told}", fix)


def judge_partitions(days_ahead: int, storage: Sequence[Mapping[str, Any]], to_sql: Sql) -> Finding:
    unprepared = [table["table_name"] for table in storage if not table["tomorrow_is_prepared"]]
    if unprepared:
        return failed("partitions", f"none for tomorrow in {', '.join(unprepared)}", to_sql("ensure_partitions()"))
    return ok("partitions", f"made for {days_ahead} days ahead")


def judge_retention(storage: Sequence[Mapping[str, Any]], to_sql: Sql) -> Finding:
    size = sum(table["size_bytes"] for table in storage)
    late = [
        (table["table_name"], table["past_term_days"])
        for table in storage
        if (table["past_term_days"] or 0) >= DAYS_WORTH_SAYING
    ]
    if not late:
        return ok("retention", f"nothing is kept beyond its term; facts take {_size(size)}")
    told = ", ".join(f"{name} by {int(days)} days" for name, days in late) + f"; facts take {_size(size)}"
    judged = failed if max(days for _, days in late) >= DAYS_THAT_HURT else warning
    return judged("retention", f"kept beyond its term: {told}", to_sql("cleanup_old_monitoring_data()"))


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def judge_rollups(behind_seconds: float, why: str, to_sql: Sql) -> Finding:
    if behind_seconds < ROLLUPS_WORTH_SAYING:
        return ok("rollups", "up to date")
    told = f"{age(behind_seconds)} behind the facts: {why}" if why else f"{age(behind_seconds)} behind the facts"
    judged = failed if behind_seconds >= ROLLUPS_THAT_HURT else warning
    return judged("rollups", told, to_sql("roll_up()"))


def judge_services(services: Sequence[Mapping[str, Any]]) -> Finding:
    if not services:
        return failed("service", "none runs on this database: nothing is checked and nobody is told", START)
    told = ", ".join(
        f"{service['instance'].split(':')[0]} ({service['version']}, beat {age(service['beat_seconds_ago'])} ago)"
        for service in services
    )
    return ok("service", f"{len(services)} running: {told}")


def judge_last_check(own: Mapping[str, Any]) -> Finding:
    last, every = own["last_check"], own["check_every_seconds"]
    if last is None and own["services"]:
        return warning(
            "checks", "none has run yet; a service has just started", "automon doctor   (again, in a minute)"
        )
    if last is None:
        return failed("checks", "none has run yet", START)
    told = f"the last {age(last['age_seconds'])} ago, every {age(every)}"
    if last["outcome"] == "failed":
        return failed("checks", f"{told}; it failed: {last['error']}", "journalctl -u automon -p warning -n 20")
    if last["age_seconds"] > 3 * every + 60:
        return failed("checks", told, START)
    return ok("checks", told)


def judge_channels(channels: Sequence[Mapping[str, Any]]) -> Finding:
    if not channels:
        return warning("channels", "no service has brought one to the database yet", START)
    troubled = [channel for channel in channels if channel["state"] != "working"]
    if not troubled:
        return ok("channels", f"{', '.join(channel['name'] for channel in channels)}: working")
    told = "; ".join(f"{channel['name']} is {channel['state']}: {channel['last_error']}" for channel in troubled)
    fix = "\n".join(f"automon channels resume {channel['name']}   (when that is repaired)" for channel in troubled)
    judged = failed if any(channel["state"] == "stopped" for channel in troubled) else warning
    return judged("channels", told, fix)


def judge_drift(drift: Sequence[Mapping[str, Any]]) -> Finding:
    if not drift:
        return ok("drift", "the database works with what the config file says")
    names = [" ".join(filter(None, (row["name"], row["source"], row["level"]))) for row in drift]
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    told = f"SQL has changed {shown} past the config file; the next reload takes that back"
    return warning("drift", told, "automon config drift   (and write into the file what is to stay)")


def unreachable(why: str, fix: str) -> list[Check]:
    """Make the one check that stands for all of a database that is not even named."""
    return [Check("database", lambda: failed("database", why, fix))]
