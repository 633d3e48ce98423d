"""What a clean-up costs and how long writers wait for it: a large day, a backlog of days, and readers that hold days open.

.venv/bin/python -m bench.retention            days of 200,000 rows
.venv/bin/python -m bench.retention --full     days of 3,000,000 rows
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg

from bench.harness import Connection, Figure, database, median_and_max, now, report

WRITERS = 2
GOAL_OF_WRITERS = "no writer over 0.3 s"
FILL = """
INSERT INTO public.processing_metrics_history (task_id, task_type, worker_id, status, start_time, end_time, duration_seconds)
SELECT 't' || n, 'ocr', 'worker-1', 'completed', moment - interval '1 second', moment, 1
FROM generate_series(1, %(rows)s) AS n CROSS JOIN LATERAL (
    SELECT date_trunc('day', now() - %(days)s * interval '1 day', 'UTC') + n * interval '1 day' / (%(rows)s + 1) AS moment) AS m
"""


class Writers:
    """Applications that record tasks and errors, and remember how long each statement took."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(WRITERS)]
        self.waits: list[float] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self._write(100)
        self.waits.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._write(100)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def longest(self) -> str:
        return f"{max(self.waits) * 1000:.0f} ms, longest of {len(self.waits)} statements"

    def _write(self, statements: int) -> None:
        goal = len(self.waits) + statements
        while len(self.waits) < goal:
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            task = 0
            while not self._stop.is_set():
                name = f"writer-{number}-{task}"
                self._timed(connection, "SELECT public.start_task_tracking(%s, 'ocr')", name)
                self._timed(connection, "SELECT public.complete_task_tracking(%s)", name)
                self._timed(connection, "SELECT public.record_error(%s, 'timeout', 'low', 'no answer', 'it')", name)
                task += 1

    def _timed(self, connection: Connection, query: str, name: str) -> None:
        began = now()
        connection.execute(query.encode(), (name,))
        self.waits.append(now() - began)


def clean_up(connection: Connection) -> dict[str, Any]:
    row = connection.execute("SELECT public.cleanup_old_monitoring_data()").fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


def make_days(connection: Connection, table: str, first: int, last: int) -> None:
    connection.execute(
        "SELECT count(public.ensure_day_partition(%s, now() - n * interval '1 day')) FROM generate_series(%s::integer, %s) n",
        (table, first, last),
    )


@contextmanager
def reading(url: str, table: str) -> Iterator[None]:
    """Hold every day of a table open."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SELECT FROM public.{table} LIMIT 1".encode())
        yield


def large_day(rows: int) -> list[Figure]:
    """Drop one day of that many tasks while others write."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        make_days(connection, "processing_metrics_history", 40, 40)
        connection.execute(FILL, {"rows": rows, "days": 40})
        with Writers(url) as writers:
            began = now()
            answer = clean_up(connection)
            while answer["partitions_dropped"] == 0:  # a writer was always at it
                answer = clean_up(connection)
            took = now() - began
    return [
        (f"drop a day of {rows:,} rows", f"{took * 1000:.0f} ms, {answer['bytes_freed'] / 1e6:.0f} MB", "under 1 s"),
        ("writers meanwhile", writers.longest(), GOAL_OF_WRITERS),
    ]


def backlog(days: int) -> list[Figure]:
    """Drop a backlog of days of two tables while others write, call after call."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        for table in ("processing_metrics_history", "error_tracking"):
            make_days(connection, table, 100, 99 + days)
        calls = 0
        with Writers(url) as writers:
            began = now()
            left = 2 * days
            while left:
                left -= clean_up(connection)["partitions_dropped"]
                calls += 1
            took = now() - began
    return [
        (f"drop {2 * days} days of two tables", f"{took:.1f} s in {calls} calls", "none"),
        ("writers meanwhile", writers.longest(), GOAL_OF_WRITERS),
    ]


def days_in_use(tries: int) -> list[Figure]:
    """Try, and fail, to drop days that readers hold open while others write."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        for table in ("processing_metrics_history", "error_tracking"):
            make_days(connection, table, 100, 109)
        with reading(url, "processing_metrics"), reading(url, "error_tracking"), Writers(url) as writers:
            times = []
            for _ in range(tries):
                began = now()
                assert clean_up(connection)["partitions_in_use"] == 20
                times.append(now() - began)
    return [
        ("a clean-up that readers keep from all days", f"max {max(times) * 1000:.0f} ms, of {tries}", "under 0.5 s"),
        ("writers meanwhile", writers.longest(), GOAL_OF_WRITERS),
    ]


def errors_of_a_severity(rows: int) -> list[Figure]:
    """Delete expired errors one by one, and look when there are none beside many that stay."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        make_days(connection, "error_tracking", 9, 85)
        connection.execute(
            "INSERT INTO public.error_tracking (fact_id, occurred_at, component, error_type, severity, error_message)"
            " SELECT gen_random_uuid(), now() - interval '10 days' - n * (interval '74 days' / %(rows)s), 'it', 'timeout',"
            " CASE WHEN n %% 3 = 0 THEN 'critical' ELSE 'low' END, 'no answer' FROM generate_series(1, %(rows)s) n",
            {"rows": rows},
        )
        connection.execute("ANALYZE public.error_tracking")
        deleted, began = 0, now()
        with Writers(url) as writers:
            answer = clean_up(connection)
            while answer["more"]:
                deleted += answer["errors_deleted"]
                answer = clean_up(connection)
            deleted += answer["errors_deleted"]
            took = now() - began
        connection.execute("VACUUM public.error_tracking")  # as autovacuum does after so many deletes
        looks = []
        for _ in range(20):
            began = now()
            assert connection.execute("SELECT FROM public.expired_errors(now())").fetchall() == []
            looks.append(now() - began)
    return [
        (f"delete {deleted:,} errors by severity", f"{deleted / took:,.0f} a second", "over 5,000 a second"),
        ("writers meanwhile", writers.longest(), GOAL_OF_WRITERS),
        (f"find none beside {rows - deleted:,} that stay", median_and_max(looks, "ms", 1000), "median under 50 ms"),
    ]


def measure(full: bool) -> Iterator[Figure]:  # noqa: FBT001  what every section of `python -m bench` has
    """Measure all of it; `full` makes a day of 3,000,000 rows and 300,000 errors."""
    yield from large_day(3_000_000 if full else 200_000)
    yield from backlog(120 if full else 60)
    yield from days_in_use(10)
    yield from errors_of_a_severity(300_000 if full else 60_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--full", action="store_true", help="a day of 3,000,000 rows, 300,000 errors")
    for figure in measure(parser.parse_args().full):
        report(*figure)


if __name__ == "__main__":
    main()
