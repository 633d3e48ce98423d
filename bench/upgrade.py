"""How long writers wait while the schema of the newest release is upgraded below them, with a month of facts in it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import psycopg

from automon.embedded import EmbeddedPostgres
from automon.migrate import SQL_FOLDER, migrate
from bench.harness import Connection, Figure, now, quantiles, report
from tests.migration.released import RELEASED, copy_of_release

WRITERS = 4
SECONDS_OF_CALM = 3.0
TASKS_A_DAY = 10_000
DAYS = 30
MONTH = """
SELECT ensure_day_partition(t.name, now() - d.day * interval '1 day')
FROM (VALUES ('processing_metrics_history'), ('error_tracking'), ('performance_monitoring')) AS t (name) CROSS JOIN generate_series(1, %(days)s) AS d (day);
"""
TASKS = """
INSERT INTO processing_metrics_history (task_id, task_type, status, start_time, end_time, duration_seconds)
SELECT 'old-' || n, 'ocr', 'completed', m.at - interval '1 second', m.at, 1
FROM generate_series(1, %(tasks)s) AS n CROSS JOIN LATERAL (SELECT now() - interval '1 hour' - n * %(days)s * interval '1 day' / %(tasks)s) AS m (at);
"""
ERRORS = "SELECT record_error('old-' || n, 'timeout', 'low', 'no answer', 'api', p_at => now() - n * interval '1 minute') FROM generate_series(1, 20000) AS n"
CALLS = (
    "SELECT start_task_tracking(%s, 'under_load')",
    "SELECT record_error(%s, 'timeout', 'low', 'no answer', 'under_load')",
    "SELECT complete_task_tracking(%s, 'completed')",
)


class Writer:
    """Calls one record function after another and keeps when each began and how long it took, in seconds."""

    def __init__(self, url: str, name: str) -> None:
        self.calls: list[tuple[float, float]] = []
        self._url, self._name = url, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.is_set():
                task = f"{self._name}-{len(self.calls)}"
                for statement in CALLS:
                    began = now()
                    connection.execute(statement.encode(), [task])
                    self.calls.append((began, now() - began))


def fill(connection: Connection) -> None:
    values = {"days": DAYS, "tasks": TASKS_A_DAY * DAYS}
    for statement in (MONTH, TASKS, ERRORS):
        connection.execute(statement.encode(), values if "%(" in statement else None)
    connection.execute("VACUUM ANALYZE")


def time_upgrade(url: str, folder: Traversable) -> tuple[list[float], list[float], float, int]:
    """Answer how long the calls took that met no upgrade, those that did, and the upgrade itself, with its tries."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        threading.Event().wait(seconds)

    writers = [Writer(url, f"writer-{number}") for number in range(WRITERS)]
    threading.Event().wait(SECONDS_OF_CALM)
    began = now()
    migrate(url, folder=folder, pause=pause)
    ended = now()
    for writer in writers:
        writer.stop()
    calls = [call for writer in writers for call in writer.calls]
    met = [seconds for start, seconds in calls if start < ended and start + seconds > began]
    calm = [seconds for start, seconds in calls if start + seconds <= began]
    return calm, met, ended - began, len(pauses) + 1


def measure(full: bool) -> Iterator[Figure]:  # noqa: FBT001, ARG001  what every section of `python -m bench` has
    with (
        tempfile.TemporaryDirectory(prefix="automon-bench-") as directory,
        EmbeddedPostgres(Path(directory) / "server", port=0) as server,
    ):
        migrate(server.url, folder=copy_of_release(RELEASED[-1], Path(directory) / "released"))
        with psycopg.connect(server.url, autocommit=True) as connection:
            fill(connection)
        calm, met, seconds, tries = time_upgrade(server.url, SQL_FOLDER)
    yield f"upgrade from {RELEASED[-1]}", f"{seconds:.2f} s, {tries} tries", ""
    yield "a call of a writer before it", quantiles(calm, "ms", 1000), ""
    yield "a call of a writer that meets it", quantiles(met, "ms", 1000), "p99 under 500 ms"


def main() -> None:
    for figure in measure(full=False):
        report(*figure)


if __name__ == "__main__":
    main()
