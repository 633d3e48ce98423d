"""Fills a database with days of history at a steady rate, as an installation of that age holds it.

    python -m bench.history URL --days 100 --rows-per-day 1000000

Of the rows of a day, six in ten are tasks, three are errors and one is a measurement: 20 task types, 60 kinds of errors of
20 components, 20 metrics. Each day is filled and indexed aside and attached, which is ten times faster than recording.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Table:
    name: str
    moment: LiteralString
    share: float
    columns: LiteralString
    rows: LiteralString
    """Selects from `made`, which has n (from 1) and at (its moment)."""


TABLES = (
    Table(
        "processing_metrics_history",
        "end_time",
        0.6,
        "task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size, error_message",
        """SELECT 'task-' || md5(n::text || at::date), 'type-' || n % 20, 'worker-' || n % 50, CASE WHEN n % 97 = 0 THEN 'failed' ELSE 'completed' END,
               at - s * interval '1 second', at, s, 1024, 2048, CASE WHEN n % 97 = 0 THEN 'disk full' END
           FROM made CROSS JOIN LATERAL (SELECT (exp(3 + sin(n * 12.9898)) + n % 7)::double precision AS s) AS d""",
    ),
    Table(
        "error_tracking",
        "occurred_at",
        0.3,
        "fact_id, occurred_at, task_id, component, error_type, severity, error_message",
        """SELECT md5(n::text || at::date)::uuid, at, 'task-' || n % 100000, 'component-' || n % 20, 'type-' || n % 3,
               CASE WHEN n % 10 = 0 THEN 'high' ELSE 'low' END, 'no answer after ' || n || ' ms' FROM made""",
    ),
    Table(
        "performance_monitoring",
        "recorded_at",
        0.1,
        "fact_id, recorded_at, component, metric_name, metric_type, value, unit",
        """SELECT md5(n::text || at::date)::uuid, at, 'component-' || n % 5, 'metric-' || n % 20, 'gauge', exp(sin(n * 78.233) * 3), 'ms' FROM made""",
    ),
)


def fill(connection: Connection, *, days: int, rows_per_day: int, until: datetime) -> Iterator[str]:
    """Fill the days up to a moment, the newest in part; name each table and day that is done."""
    for back in range(days - 1, -1, -1):
        day = until.replace(hour=0, minute=0, second=0, microsecond=0) - back * DAY
        share = min((until - day) / DAY, 1.0)
        for table in TABLES:
            with connection.transaction():
                fill_day(connection, table, day, int(rows_per_day * table.share * share), rows_per_day * table.share)
            yield f"{table.name} {day:%Y-%m-%d}"


def fill_day(connection: Connection, table: Table, day: datetime, rows: int, per_day: float) -> None:
    leaf = sql.Identifier(f"{table.name}_{day:%Y%m%d}")
    parent = sql.Identifier(table.name)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(leaf))
    connection.execute(
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(leaf, parent)
    )
    insert_rows(connection, leaf, table, day, range(1, rows + 1), per_day)
    make_indexes(connection, table.name, leaf)
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, leaf, day, day + DAY)
    )


def make_indexes(connection: Connection, parent: str, leaf: sql.Identifier) -> None:
    """Make the table's indexes on a day by itself, so that attaching it has nothing left to make."""
    rows = connection.execute(
        "SELECT CASE WHEN i.indisunique THEN 'UNIQUE' ELSE '' END, substring(pg_get_indexdef(i.indexrelid) FROM 'USING .*')"
        " FROM pg_index i WHERE i.indrelid = %s::regclass",
        [parent],
    ).fetchall()
    for unique, definition in rows:
        connection.execute(sql.SQL("CREATE {} INDEX ON {} {}").format(sql.SQL(unique), leaf, sql.SQL(definition)))


def insert_rows(
    connection: Connection, into: sql.Identifier, table: Table, day: datetime, numbers: range, per_day: float
) -> None:
    """Insert the rows of those numbers, of a day that has that many."""
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) WITH made AS (SELECT n, {}::timestamptz + n * interval '1 day' / {} AS at FROM generate_series({}, {}) AS n) {}"
        ).format(into, sql.SQL(table.columns), day, per_day + 1, numbers.start, numbers.stop - 1, sql.SQL(table.rows))
    )


def top_up(connection: Connection, *, rows_per_day: int, until: datetime) -> None:
    """Add what has happened since a database was filled, at the same rate, and roll it up."""
    connection.execute("SELECT ensure_partitions()")
    for table in TABLES:
        per_day = rows_per_day * table.share
        for day, numbers in missing(newest(connection, table), until, per_day):
            connection.execute("SELECT ensure_day_partition(%s, %s)", [table.name, day])
            insert_rows(connection, sql.Identifier(table.name), table, day, numbers, per_day)
    add_sources(connection)
    while connection.execute("SELECT roll_up()->>'more'").fetchone() == ("true",):
        pass


def newest(connection: Connection, table: Table) -> datetime:
    query = sql.SQL("SELECT {0} FROM {1} ORDER BY {0} DESC LIMIT 1").format(
        sql.SQL(table.moment), sql.Identifier(table.name)
    )
    row = connection.execute(query).fetchone()
    assert row is not None, f"{table.name} was never filled"
    moment: datetime = row[0]
    return moment.astimezone(UTC)


def missing(since: datetime, until: datetime, per_day: float) -> Iterator[tuple[datetime, range]]:
    """Yield each day between two moments with the numbers of its rows that lie between them."""
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        numbers = range(
            max(0, round((since - day) / DAY * (per_day + 1))) + 1, int(min((until - day) / DAY, 1.0) * per_day) + 1
        )
        if numbers:
            yield day, numbers
        day += DAY


def add_sources(connection: Connection) -> None:
    """Add what is small at any age: running tasks, queues, components and a host that report every minute."""
    for statement in (
        "SELECT start_task_tracking('running-' || n, 'type-' || n % 20) FROM generate_series(1, 500) AS n",
        "SELECT update_queue_metrics('queue-' || q, 20 + q, p_at => now() - m * interval '1 minute') FROM generate_series(0, 19) AS q CROSS JOIN generate_series(180, 0, -1) AS m",
        "SELECT update_system_health('worker', 'worker-' || c, 'healthy', 20, p_at => now() - m * interval '1 minute') FROM generate_series(0, 19) AS c CROSS JOIN generate_series(20, 0, -1) AS m",
        """SELECT record_host_sample('host-1', '{"cpu_percent": 20, "memory_percent": 30, "disks": [{"mount": "/", "percent": 40}]}', now() - m * interval '1 minute') FROM generate_series(180, 0, -1) AS m""",
    ):
        connection.execute(statement.encode())


def prepare(connection: Connection, *, days: int, rows_per_day: int, tell: bool = False) -> None:
    """Fill a migrated database with history up to now, its rollups included."""
    for done in fill(connection, days=days, rows_per_day=rows_per_day, until=datetime.now(UTC)):
        if tell:
            print(done, flush=True)
    connection.execute("SELECT set_setting('retention.processing_days', 1000)")
    connection.execute("SELECT set_setting('retention.errors_low_days', 1000)")
    connection.execute("SELECT set_setting('retention.performance_days', 1000)")
    connection.execute("SELECT ensure_partitions()")
    connection.execute("SELECT rebuild_rollups()")
    add_sources(connection)  # the last, by which is_prepared knows that nothing is missing
    connection.execute("VACUUM ANALYZE")


def is_prepared(connection: Connection) -> bool:
    return connection.execute("SELECT FROM queue_monitoring LIMIT 1").fetchall() != []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="a migrated database")
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--rows-per-day", type=int, default=1_000_000)
    options = parser.parse_args()
    with psycopg.connect(options.url, autocommit=True) as connection:
        prepare(connection, days=options.days, rows_per_day=options.rows_per_day, tell=True)


if __name__ == "__main__":
    main()
