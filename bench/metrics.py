"""/metrics with 1,000 task types: how long a scrape takes, what it costs the service and the database.

    python -m bench.metrics

60,000 tasks of 1,000 types ended within the hour, each type once a minute; 5,000 run; 1,000 components have errors.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import psutil
import psycopg

from bench.harness import Connection, Figure, database, now, quantiles, report, service

TYPES = 1000
SCRAPES = 200
READINGS = 20
PORT = 18484
CONFIG = {"http": {"listen": f"127.0.0.1:{PORT}"}}
FACTS = (
    """INSERT INTO processing_metrics_history (task_id, task_type, worker_id, status, start_time, end_time, duration_seconds)
       SELECT 'task-' || n || '-' || m, 'type-' || n, 'worker-' || n %% 50, CASE WHEN (n + m) %% 97 = 0 THEN 'failed' ELSE 'completed' END, at - s * interval '1 second', at, s
       FROM generate_series(1, %(types)s) AS n CROSS JOIN generate_series(0, 59) AS m
       CROSS JOIN LATERAL (SELECT now() - m * interval '1 minute' - n * interval '30 milliseconds' AS at, exp(2 + sin(n * 12.9898 + m)) AS s) AS d""",
    """INSERT INTO processing_metrics (task_id, task_type, worker_id, status, start_time)
       SELECT 'running-' || n, 'type-' || n %% %(types)s, 'worker-1', 'running', now() - n * interval '1 second' FROM generate_series(1, 5 * %(types)s) AS n""",
    """INSERT INTO error_tracking (fact_id, occurred_at, component, error_type, severity, error_message)
       SELECT gen_random_uuid(), now() - n * interval '500 milliseconds', 'component-' || n %% %(types)s, 'timeout', 'low', 'no answer' FROM generate_series(1, 5 * %(types)s) AS n""",
    "SELECT count(update_queue_metrics('queue-' || n, n)) FROM generate_series(1, 100) AS n",
    "SELECT count(update_system_health('worker', 'worker-' || n, 'healthy', 12.5)) FROM generate_series(1, 100) AS n",
    "SELECT count(set_threshold(t, '*', 1e9, 1e9, 1e9, 1e9)) FROM unnest(judged_alert_types()) AS t",
)


def fill(connection: Connection) -> None:
    for statement in FACTS:
        connection.execute(statement.encode(), {"types": TYPES})
    while connection.execute("SELECT roll_up()->>'more'").fetchone() == ("true",):
        pass
    connection.execute("ANALYZE")


def read(connection: Connection) -> float:
    began = now()
    connection.execute("SELECT get_metrics()", prepare=True).fetchall()
    return now() - began


def scrape() -> tuple[float, int]:
    """Ask once; answer the seconds and the bytes."""
    began = now()
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as response:
        text = response.read()
    return now() - began, len(text)


def measure(full: bool) -> Iterator[Figure]:  # noqa: ARG001, FBT001  as every section
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        fill(connection)
        readings = [read(connection) for _ in range(READINGS)]
        yield "get_metrics(), 1,000 task types", quantiles(readings, "ms", 1000), "under 300 ms: 2 % of a core"
        with service(url, CONFIG, {}) as process:
            seen = psutil.Process(process.pid)
            time.sleep(3)  # until the first checks are over
            before = seen.memory_info().rss
            first, size = scrape()
            used = seen.cpu_times()
            times = [scrape()[0] for _ in range(SCRAPES)]
            after = seen.cpu_times()
            grown = (seen.memory_info().rss - before) / 1e6
        yield "first scrape after a pause, 1,000 task types", f"{first * 1000:.0f} ms, {size / 1e6:.2f} MB", "under 1 s"
        yield "scrape of /metrics, 1,000 task types", quantiles(times, "ms", 1000), "under 20 ms"
        spent = (after.user + after.system - used.user - used.system) / SCRAPES
        yield "CPU of the service for a scrape", f"{spent * 1000:.1f} ms", "under 5 ms"
        yield "memory that scraping takes, 1,000 task types", f"{grown:.1f} MB", "under 10 MB"


def main() -> None:
    for figure in measure(full=False):
        report(*figure)


if __name__ == "__main__":
    main()
