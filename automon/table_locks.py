"""What a migration locks, and who is in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

# The locks that somebody may have to wait for, the weakest first, and what they mean for others.
LOCKS = {
    "ShareUpdateExclusiveLock": "readers and writers go on",
    "ShareLock": "writers wait",
    "ShareRowExclusiveLock": "writers wait",
    "ExclusiveLock": "writers wait",
    "AccessExclusiveLock": "readers and writers wait",
}
_QUERY_LENGTH = 80

_TABLES = """
SELECT c.oid, COALESCE(pg_partition_root(c.oid), c.oid)::regclass::text, pg_relation_size(c.oid) > 0
FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind IN ('r', 'p')
"""
_OWN_LOCKS = "SELECT l.relation, l.mode FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode = ANY (%s)"
_HOLDERS = """
SELECT a.pid, a.backend_type, a.application_name, a.usename, a.xact_start, a.query_start, a.query FROM pg_stat_activity a
WHERE a.pid <> pg_backend_pid() AND EXISTS (
    SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation' AND c.relnamespace = to_regnamespace(quote_ident(%s))
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
ORDER BY a.xact_start NULLS LAST LIMIT 3
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One relation: `root` is the table that it is a partition of, or itself."""

    oid: int
    root: str
    has_data: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLock:
    """The strongest lock on a table; `relations` counts the table and its partitions that are locked."""

    table: str
    relations: int
    mode: str

    @property
    def means(self) -> str:
        return LOCKS[self.mode]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What a migration would do: from the newest file in the ledger (None: nothing is installed) to the newest known."""

    from_file: str | None
    to_file: str
    files: tuple[str, ...]
    seconds: float
    locks: tuple[TableLock, ...]

    def to_document(self) -> dict[str, Any]:
        return asdict(self)


def tables_with_data(connection: psycopg.Connection, schema: str) -> list[Table]:
    """List the tables of a schema, partitions included, of which some part holds a row."""
    tables = [
        Table(oid=oid, root=root, has_data=has_data)
        for oid, root, has_data in connection.execute(_TABLES, [schema]).fetchall()
    ]
    filled = {table.root for table in tables if table.has_data}
    return [table for table in tables if table.root in filled]


def strongest_locks(connection: psycopg.Connection, tables: list[Table]) -> tuple[TableLock, ...]:
    """Say what the current transaction holds on those tables, strongest first."""
    held = connection.execute(_OWN_LOCKS, [list(LOCKS)]).fetchall()
    return group_by_table({table.oid: table.root for table in tables}, held)


def group_by_table(roots: Mapping[int, str], held: list[tuple[int, str]]) -> tuple[TableLock, ...]:
    strength = list(LOCKS)
    ranks: dict[str, dict[int, int]] = {}
    for oid, mode in held:
        if oid in roots:
            of_table = ranks.setdefault(roots[oid], {})
            of_table[oid] = max(of_table.get(oid, 0), strength.index(mode))
    locks = [
        TableLock(table=table, mode=strength[max(found.values())], relations=len(found))
        for table, found in ranks.items()
    ]
    return tuple(sorted(locks, key=lambda lock: (-strength.index(lock.mode), lock.table)))


def describe_holders(connection: psycopg.Connection, schema: str) -> list[str]:
    """Name the sessions that hold locks on the tables of a schema, the oldest transaction first."""
    return [_holder(*row) for row in connection.execute(_HOLDERS, [schema]).fetchall()]


def _holder(
    pid: int,
    kind: str | None,
    application: str,
    user: str | None,
    since: datetime | None,
    statement_since: datetime | None,
    query: str,
) -> str:
    who = f"process {pid} ({application or kind or 'no application name'}, user {user or 'of the system'})"
    if since is None:  # other roles' sessions show their query only to members of pg_read_all_stats
        return f"{who}: what it does is not shown to this role"
    words = " ".join(query.split())[:_QUERY_LENGTH]
    began = f", last statement {statement_since:%H:%M:%S}" if statement_since else ""
    return f"{who}: transaction since {since:%Y-%m-%d %H:%M:%S%z}{began}: {words!r}"
