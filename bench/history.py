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
    share: float
    columns: LiteralString
    indexes: tuple[LiteralString, ...]
    rows: LiteralString
    """Selects from `made`, which has n (from 1) and at (its moment)."""


TABLES = (
    Table(
        "processing_metrics_history",
        0.6,
        "task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size, error_message",
        ("(end_time)", "(start_time)", "(task_id)", "(recorded_in)"),
        """SELECT 'task-' || md5(n::text || at::date), 'type-' || n % 20, 'worker-' || n % 50, CASE WHEN n % 97 = 0 THEN 'failed' ELSE 'completed' END,
               at - s * interval '1 second', at, s, 1024, 2048, CASE WHEN n % 97 = 0 THEN 'disk full' END
           FROM made CROSS JOIN LATERAL (SELECT (exp(3 + sin(n * 12.9898)) + n % 7)::double precision AS s) AS d""",
    ),
    Table(
        "error_tracking",
        0.3,
        "fact_id, occurred_at, task_id, component, error_type, severity, error_message",
        ("(occurred_at, fact_id)", "(component, occurred_at)", "(task_id) WHERE task_id IS NOT NULL", "(recorded_in)"),
        """SELECT md5(n::text || at::date)::uuid, at, 'task-' || n % 100000, 'component-' || n % 20, 'type-' || n % 3,
               CASE WHEN n % 10 = 0 THEN 'high' ELSE 'low' END, 'no answer after ' || n || ' ms' FROM made""",
    ),
    Table(
        "performance_monitoring",
        0.1,
        "fact_id, recorded_at, component, metric_name, metric_type, value, unit",
        ("(recorded_at, fact_id)", "(metric_name, recorded_at)", "(recorded_in)"),
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
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) WITH made AS (SELECT n, {}::timestamptz + n * interval '1 day' / {} AS at FROM generate_series(1, {}) AS n) {}"
        ).format(leaf, sql.SQL(table.columns), day, per_day + 1, rows, sql.SQL(table.rows))
    )
    for index in table.indexes:
        connection.execute(sql.SQL("CREATE INDEX ON {} ").format(leaf) + sql.SQL(index))
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(parent, leaf, day, day + DAY)
    )


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
    add_sources(connection)
    connection.execute("SELECT rebuild_rollups()")
    connection.execute("VACUUM ANALYZE")


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
