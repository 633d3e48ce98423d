"""What reading costs after a day and after many days at the same rate: the checks, the summary, the views, the rollups.

    python -m bench.flat                                     5 days of 100,000 rows, about two minutes
    python -m bench.flat --full --directory DIR --keep       100 days of 1,000,000 rows; DIR takes about 35 GB
    python -m bench.flat --full --url-small URL --url-big URL     the same databases once more

Two databases on one server, one of a day and one of many, take turns. A figure is the median of the calls, a ratio the
median of the ratios of the rounds, because machines are noisy: one second may be twice as slow as the next.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench import history
from bench.harness import ROOMY, Connection, Figure, create_database, now, report, server, tell_machine

ROUNDS = 40
WARM_UP = 6  # PostgreSQL plans a prepared statement five times before it keeps the plan
MOST_GROWTH = 1.2
VIEWS = (
    "v_realtime_processing_status", "v_error_summary", "v_system_health_summary", "v_queue_performance", "v_performance_trends", "v_active_alerts",
)  # fmt: skip
CALM = """
SELECT count(public.set_threshold(t, '*', 1e9, 1e9, 1e9, 1e9)) FROM unnest(public.judged_alert_types()) AS t
"""
# Recorded by the functions that applications call, so that the rollups find them as they find any.
THOUSAND_FACTS = (
    "SELECT count(start_task_tracking(%(name)s || n, 'type-' || n %% 20, 1024, 'worker-1')) FROM generate_series(1, 600) AS n",
    "SELECT count(complete_task_tracking(%(name)s || n)) FROM generate_series(1, 600) AS n",
    "SELECT count(record_error(%(name)s || n, 'type-' || n %% 3, 'low', 'no answer', 'component-' || n %% 20)) FROM generate_series(1, 300) AS n",
    "SELECT count(record_performance_metric('metric-' || n %% 20, 'gauge', n, 'ms', 'component-' || n %% 5)) FROM generate_series(1, 100) AS n",
)
FEW_PAIRS = 25
numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """Something to measure: what one turn of it takes, in seconds, and how long it may take, in milliseconds."""

    name: str
    turn: Callable[[Connection], float]
    most_ms: float | None

    @property
    def goal(self) -> str:
        growth = f"at most {MOST_GROWTH} times"
        return f"under {self.most_ms:.0f} ms, {growth}" if self.most_ms else growth


@dataclass(frozen=True)
class Sizes:
    days: int
    rows_per_day: int
    settings: dict[str, str] = field(default_factory=dict)


QUICK = Sizes(5, 100_000)
FULL = Sizes(100, 1_000_000, {"shared_buffers": "2GB", "maintenance_work_mem": "1GB", "max_wal_size": "16GB"})


def reading(query: str) -> Callable[[Connection], float]:
    def turn(connection: Connection) -> float:
        began = now()
        connection.execute(query.encode(), prepare=True).fetchall()
        return now() - began

    return turn


def roll_up_a_thousand(connection: Connection) -> float:
    name = unique_name()
    for statement in THOUSAND_FACTS:
        connection.execute(statement.encode(), {"name": name})
    began = now()
    row = connection.execute("SELECT public.roll_up()", prepare=True).fetchone()
    took = now() - began
    if row is None or row[0] is None or sum(row[0][kind] for kind in ("tasks", "errors", "metrics")) != 1000:
        raise RuntimeError(f"roll_up answered {row}")
    return took


def start_and_complete(connection: Connection) -> float:
    name = unique_name()
    began = now()
    for number in range(FEW_PAIRS):
        connection.execute(
            "SELECT public.start_task_tracking(%s, 'type-1', 1024, 'worker-1')", [f"{name}{number}"], prepare=True
        )
        connection.execute(
            "SELECT public.complete_task_tracking(%s, 'completed', 2048)", [f"{name}{number}"], prepare=True
        )
    took = now() - began
    connection.execute("SELECT public.roll_up()")
    return took / FEW_PAIRS


def unique_name() -> str:
    return f"bench-{datetime.now(UTC):%Y%m%d%H%M%S}-{next(numbers)}-"


CASES = (
    Case("all checks together", reading("SELECT count(*) FROM public.evaluate_all(now())"), 50),
    Case("get_dashboard_summary()", reading("SELECT public.get_dashboard_summary()"), 20),
    Case("get_metrics()", reading("SELECT public.get_metrics()"), 20),
    *(Case(view, reading(f"SELECT * FROM public.{view}"), 20) for view in VIEWS),
    Case("roll_up of 1,000 new facts", roll_up_a_thousand, None),
    Case("start and complete, one client", start_and_complete, None),
)


def compare(case: Case, small: Connection, big: Connection, days: int, rounds: int = ROUNDS) -> Figure:
    """Measure a case on both databases by turns."""
    for _ in range(WARM_UP):
        case.turn(small), case.turn(big)
    pairs = []
    for number in range(rounds):
        # Who comes second may find the processor's caches colder or warmer: each is it as often.
        if number % 2:
            pairs.append((case.turn(small), case.turn(big)))
        else:
            pairs.append((case.turn(big), case.turn(small))[::-1])
    one, many = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
    growth = statistics.median(big_time / small_time for small_time, big_time in pairs)
    return f"{case.name}, {days} days", f"{many:.1f} ms, {growth:.2f} times that of 1 day ({one:.1f} ms)", case.goal


def fill(url: str, days: int, rows_per_day: int, *, tell: bool) -> None:
    """Fill a migrated database with so many whole days and what has passed of today, unless it is filled."""
    with psycopg.connect(url, autocommit=True) as connection:
        if not history.is_prepared(connection):
            history.prepare(connection, days=days + 1, rows_per_day=rows_per_day, tell=tell)


@contextmanager
def filled(
    sizes: Sizes, directory: Path | None = None, *, keep: bool = False, tell: bool = False
) -> Iterator[tuple[str, str]]:
    """Give the URLs of both databases, filled, on a server below a directory, which is kept or goes with the measurement."""
    with server(directory, keep=keep, settings={**ROOMY, **sizes.settings}) as running:
        big, small = create_database(running, "bench_big"), create_database(running, "bench_small")
        fill(big, sizes.days, sizes.rows_per_day, tell=tell)
        fill(small, 1, sizes.rows_per_day, tell=tell)
        yield small, big


def compare_all(small_url: str, big_url: str, sizes: Sizes) -> Iterator[Figure]:
    """Measure every case on two filled databases, after what has passed since they were filled is added."""
    with ExitStack() as open_connections:
        small, big = (
            open_connections.enter_context(psycopg.connect(url, autocommit=True)) for url in (small_url, big_url)
        )
        for connection in (small, big):
            connection.execute(CALM)
            history.top_up(connection, rows_per_day=sizes.rows_per_day, until=datetime.now(UTC))
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        for case in CASES:
            for connection in (small, big):
                history.add_sources(connection)
            yield compare(case, small, big, sizes.days)


def measure(full: bool) -> Iterator[Figure]:  # noqa: FBT001  what every section of `python -m bench` has
    """Measure on a server that goes with it; `full` needs 35 GB where temporary files are, and an hour or two."""
    sizes = FULL if full else QUICK
    with filled(sizes) as (small, big):
        yield from compare_all(small, big, sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="100 days of 1,000,000 rows")
    parser.add_argument("--days", type=int, help="the days of the larger database")
    parser.add_argument("--rows-per-day", type=int)
    parser.add_argument("--directory", type=Path, help="where the server's directory is made")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="make the directory the server's own, leave it, and use what a run before this has filled",
    )
    parser.add_argument("--url-small", help="a filled database of one day, instead of a server of its own")
    parser.add_argument("--url-big", help="a filled database of many days")
    options = parser.parse_args()
    if bool(options.url_small) != bool(options.url_big):
        parser.error("--url-small and --url-big go together")
    if options.keep and not options.directory:
        parser.error("--keep needs --directory")
    default = FULL if options.full else QUICK
    sizes = Sizes(options.days or default.days, options.rows_per_day or default.rows_per_day, default.settings)
    with ExitStack() as stack:
        if options.url_small:
            urls = options.url_small, options.url_big
        else:
            urls = stack.enter_context(filled(sizes, options.directory, keep=options.keep, tell=options.full))
        tell_machine(urls[1])
        for figure in compare_all(*urls, sizes):
            report(*figure)


if __name__ == "__main__":
    main()
