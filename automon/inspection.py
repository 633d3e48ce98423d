"""What a database is like from where this runs: its version, the role's rights, its clock, what stands in between.

Each function asks one thing of one connection, and works on any PostgreSQL, with automon's schema in it or without.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql

# What is called by whom, as a sample of each role's functions: the first is the service's, the others are granted.
NEEDED_BY = {
    "the service": ("sync_configuration", "beat", "run_monitoring_checks", "watch_facts", "claim_delivery"),
    "automon_writer": ("start_task_tracking", "record_error"),
    "automon_reader": ("get_dashboard_summary", "get_alert_story"),
    "automon_operator": ("acknowledge_alert", "silence_alerts"),
}
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """The server that answered. `version` is its number as the server writes it, `major` the first part of it."""

    version: str
    major: int
    is_replica: bool
    role: str
    zone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Skew:
    """How far the server's clock is ahead of this host's, in seconds, and how much the measurement may be off."""

    seconds: float
    uncertainty: float

    @property
    def at_least(self) -> float:
        """The difference that there is in any case."""
        return max(0.0, abs(self.seconds) - self.uncertainty)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """automon's schema in the database. `files` are those applied; None when the role may not read the ledger."""

    exists: bool
    owner: str = ""
    files: tuple[str, ...] | None = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rights:
    """Which functions the role may not call, by who needs them; a function that is not there is no matter of rights."""

    forbidden: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Pooling(StrEnum):
    """What hands out the server's connections."""

    NONE = "none"
    SESSION = "session"
    TRANSACTION = "transaction"


def look_at_server(connection: psycopg.Connection[Any]) -> Server:
    [(version, number, is_replica, role, zone)] = connection.execute(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),"
        " current_user::text, current_setting('TimeZone')"
    ).fetchall()
    return Server(version=version, major=number // 10000, is_replica=is_replica, role=role, zone=zone)


def clock_skew(connection: psycopg.Connection[Any]) -> Skew:
    """Compare the two clocks a few times and believe the fastest answer."""
    return min((_one_comparison(connection) for _ in range(_ROUNDS)), key=lambda skew: skew.uncertainty)


def _one_comparison(connection: psycopg.Connection[Any]) -> Skew:
    before, started = datetime.now(UTC), time.monotonic()
    [(epoch,)] = connection.execute("SELECT extract(epoch FROM pg_catalog.clock_timestamp())::float8").fetchall()
    half = (time.monotonic() - started) / 2
    return Skew(seconds=epoch - before.timestamp() - half, uncertainty=half)


def look_at_schema(connection: psycopg.Connection[Any], schema: str) -> Schema:
    ledger = f"{_quoted(connection, schema)}.monitoring_migrations"
    found = connection.execute(
        "SELECT pg_catalog.pg_get_userbyid(c.relowner)::text, pg_catalog.has_table_privilege(c.oid, 'SELECT')"
        " FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(%s)",
        [ledger],
    ).fetchone()
    if found is None:
        return Schema(exists=False)
    owner, may_read = found
    if not may_read:
        return Schema(exists=True, owner=owner, files=None)
    query = sql.SQL("SELECT file FROM {} ORDER BY file").format(sql.Identifier(schema, "monitoring_migrations"))
    return Schema(exists=True, owner=owner, files=tuple(row[0] for row in connection.execute(query).fetchall()))


def _quoted(connection: psycopg.Connection[Any], name: str) -> str:
    return sql.Identifier(name).as_string(connection)


def look_at_rights(connection: psycopg.Connection[Any], schema: str) -> Rights:
    """Find what the connected role may not call of what somebody needs."""
    forbidden: dict[str, tuple[str, ...]] = {}
    for who, names in NEEDED_BY.items():
        rows = connection.execute(
            "SELECT DISTINCT p.proname::text FROM pg_catalog.pg_proc p"
            " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = %s AND p.proname = ANY (%s)"
            " AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))"
            " ORDER BY 1",
            [schema, list(names)],
        ).fetchall()
        if rows:
            forbidden[who] = tuple(row[0] for row in rows)
    return Rights(forbidden=forbidden)


def detect_pooling(conninfo: str) -> Pooling:
    """Find out by two connections at once whether a pooler stands in between, and whether it lends by transaction.

    A pooler gives a client a number of its own for the server process; and one that lends by transaction lets two
    clients use one process in turn, or one client several.
    """
    with (
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as one,
        psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as other,
    ):
        seen = [(_process(one), _process(other)) for _ in range(_ROUNDS)]
        announced = one.info.backend_pid
    if any(first == second for first, second in seen) or len({first for first, _ in seen}) > 1:
        return Pooling.TRANSACTION
    return Pooling.NONE if seen[0][0] == announced else Pooling.SESSION


def _process(connection: psycopg.Connection[Any]) -> int:
    [(number,)] = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchall()
    return int(number)
