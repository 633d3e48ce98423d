"""The command line with 1,000 task types and 50 open alerts: how long `automon status` and `automon --help` take.

    python -m bench.status

Each is a process of its own, from its start to its end.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psycopg

from bench.harness import Figure, database, median_and_max, now, report
from bench.metrics import fill

RUNS = 11
ALERTS = (
    "SELECT count(update_queue_metrics('full-' || n, 10000 + n)) FROM generate_series(1, 50) AS n",
    "SELECT set_threshold('queue_backlog', '*', 50, 100, 200, 500)",
    "SELECT run_monitoring_checks()",
)


def seconds(*arguments: str) -> float:
    began = now()
    subprocess.run([sys.executable, "-m", "automon", *arguments], stdout=subprocess.DEVNULL, check=False)
    return now() - began


def measure(full: bool) -> Iterator[Figure]:  # noqa: ARG001, FBT001  as every section
    with database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection)
            for statement in ALERTS:
                connection.execute(statement.encode())
        for words in (("status",), ("tasks",), ("errors",)):
            times = [seconds(*words, "--database-url", url) for _ in range(RUNS)]
            yield f"automon {words[0]}", median_and_max(times, "s"), "under 0.5 s"
        yield "automon --help", median_and_max([seconds("--help") for _ in range(RUNS)], "s"), "under 0.5 s"


def main() -> None:
    for figure in measure(full=False):
        report(*figure)


if __name__ == "__main__":
    main()
