"""What recording costs: the functions against bare statements, and whole documents against single calls and COPY.

Each ratio is the median of short rounds in which both sides take turns, because machines are noisy: the disk of a busy
one may take five times as long for a commit in one second as in the next.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from bench.harness import Connection, database, now, report

CLIENTS = 8
PGBENCH = shutil.which("pgbench") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/pgbench")), None)
Measured = tuple[str, str, str]

# A number that is drawn anew for each turn of a client stands as :id.
BARE_TASK = (
    "INSERT INTO bench_tasks (task_id, task_type, status, start_time, input_size, worker_id) VALUES ('task-' || :id::bigint, 'ocr', 'running', clock_timestamp(), 1024, 'worker-01')",
    (
        "UPDATE bench_tasks SET status = 'completed', end_time = clock_timestamp(), duration_seconds = extract(epoch FROM clock_timestamp() - start_time),"
        """ output_size = 2048, step_timings = '{"parse": 1.2}' WHERE task_id = 'task-' || :id::bigint"""
    ),
)
TASK = (
    "SELECT start_task_tracking('task-' || :id::bigint, 'ocr', 1024, 'worker-01')",
    "SELECT complete_task_tracking('task-' || :id::bigint, 'completed', 2048, '{\"parse\": 1.2}')",
)
BARE_ERROR = (
    (
        "INSERT INTO error_tracking (fact_id, occurred_at, task_id, component, error_type, severity, error_message)"
        " VALUES (gen_random_uuid(), clock_timestamp(), 'task-' || :id::bigint, 'processor', 'timeout', 'medium', 'no answer in 30 s')"
    ),
)
ERROR = ("SELECT record_error('task-' || :id::bigint, 'timeout', 'medium', 'no answer in 30 s', 'processor')",)

HISTORY = """
INSERT INTO processing_metrics_history (task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size, step_timings)
SELECT 'old-' || n, 'ocr', 'worker-' || n %% 8, 'completed', e.at - interval '20 seconds', e.at, 20, 1024, 2048, '{"parse": 1.2}'
FROM generate_series(%(first)s, %(last)s) AS n CROSS JOIN LATERAL (SELECT now() - n * interval '30 days' / %(rows)s AS at) AS e
"""
BARE_HISTORY = """
CREATE TABLE bench_tasks (LIKE processing_metrics INCLUDING DEFAULTS);
ALTER TABLE bench_tasks ALTER id SET DEFAULT nextval('processing_metrics_id_seq');
INSERT INTO bench_tasks SELECT * FROM processing_metrics_history;
ALTER TABLE bench_tasks ADD PRIMARY KEY (task_id);
"""
ROWS_OF_A_STATEMENT = 1_000_000


def with_history(connection: Connection, rows: int) -> None:
    """Fill the history with so many tasks of thirty days, and a plain table with the same."""
    connection.execute("SELECT count(ensure_day_partition('processing_metrics_history', now() - n * interval '1 day')) FROM generate_series(0, 31) AS n")  # fmt: skip
    for first in range(1, rows + 1, ROWS_OF_A_STATEMENT):
        last = min(rows, first + ROWS_OF_A_STATEMENT - 1)
        connection.execute(HISTORY, {"first": first, "last": last, "rows": rows})
    connection.execute(BARE_HISTORY)
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def turns_per_second(url: str, statements: Sequence[str], seconds: float) -> float:
    """How many times a second eight clients together run these statements, each a transaction of its own."""
    return _with_pgbench(url, statements, seconds) if PGBENCH else _with_processes(url, statements, seconds)


def _with_pgbench(url: str, statements: Sequence[str], seconds: float) -> float:
    assert PGBENCH is not None
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("\\set id random(1, 9000000000000000000)\n" + "".join(f"{each};\n" for each in statements))
        script.flush()
        command = [PGBENCH, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(round(seconds)), "-f", script.name, url]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    [tps] = re.findall(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    return float(tps)


def _with_processes(url: str, statements: Sequence[str], seconds: float) -> float:
    with multiprocessing.get_context("spawn").Pool(CLIENTS) as pool:
        return sum(pool.starmap(_turns, [(url, statements, seconds)] * CLIENTS)) / seconds


def _turns(url: str, statements: Sequence[str], seconds: float) -> int:
    queries = [each.replace("%", "%%").replace(":id::", "%(id)s::").encode() for each in statements]
    turns = 0
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
        end = now() + seconds
        while now() < end:
            drawn = {"id": int.from_bytes(os.urandom(7), "big")}
            for query in queries:
                connection.execute(query, drawn)
            turns += 1
    return turns


def ratio_of(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Measure both by turns; return the median of the ratios of the rounds, and the median of each."""
    pairs = [(first(), second()) for _ in range(rounds)]
    ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
    return statistics.median(one / other for one, other in pairs), ours, theirs


def tasks_against_bare_statements(rows: int, rounds: int = 11, seconds: float = 2) -> tuple[Measured, float]:
    """Measure start and complete against INSERT and UPDATE by key, both on so many tasks of history; also return the ratio."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        with_history(connection, rows)
        ratio, ours, bare = ratio_of(
            lambda: turns_per_second(url, TASK, seconds), lambda: turns_per_second(url, BARE_TASK, seconds), rounds
        )
    name = f"start and complete on {rows:,} tasks, {CLIENTS} clients"
    return (
        name,
        f"{ratio:.2f} of INSERT and UPDATE ({ours:,.0f} against {bare:,.0f} a second)",
        "at least 0.60",
    ), ratio


def errors_against_bare_insert(rounds: int = 11, seconds: float = 2) -> Measured:
    """Measure record_error against the INSERT that it makes."""
    with database() as url:
        ratio, ours, bare = ratio_of(
            lambda: turns_per_second(url, ERROR, seconds), lambda: turns_per_second(url, BARE_ERROR, seconds), rounds
        )
    figure = f"{ratio:.2f} of INSERT ({ours:,.0f} against {bare:,.0f} a second)"
    return f"record_error, {CLIENTS} clients", figure, "at least 0.85"


# Documents ----------------------------------------------------------------------------------------------------------

Fact = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """A bulk form: how to make its facts, to record one by single calls, and the columns that COPY fills."""

    function: str
    make: Callable[[int, datetime], Fact]
    single: tuple[str, ...]
    table: str
    row: Callable[[Fact], dict[str, Any]]


def _task(number: int, at: datetime) -> Fact:
    return {
        "task_id": str(uuid.uuid4()), "task_type": f"type-{number % 10}", "status": "completed", "started_at": (at - timedelta(seconds=20)).isoformat(),
        "ended_at": at.isoformat(), "input_size": 1024, "output_size": 2048, "worker_id": "worker-01", "step_timings": {"parse": 1.2, "load": 0.5},
    }  # fmt: skip


def _error(number: int, at: datetime) -> Fact:
    return {
        "task_id": str(uuid.uuid4()), "error_type": "timeout", "severity": "medium", "error_message": f"no answer after {number} ms",
        "component": f"component-{number % 20}", "context": {"page": number}, "at": at.isoformat(),
    }  # fmt: skip


def _metric(number: int, at: datetime) -> Fact:
    return {
        "metric_name": f"duration-{number % 10}", "metric_type": "response_time", "value": number * 1.25, "unit": "seconds", "component": "api",
        "tags": {"zone": "a"}, "at": at.isoformat(),
    }  # fmt: skip


FORMS = [
    Form(
        "record_tasks", _task,
        ("SELECT start_task_tracking(%(task_id)s, %(task_type)s, %(input_size)s, %(worker_id)s, %(started_at)s::timestamptz)",
         "SELECT complete_task_tracking(%(task_id)s, %(status)s, %(output_size)s, %(step_timings)s::jsonb, NULL, %(ended_at)s::timestamptz)"),
        "processing_metrics",
        lambda fact: {
            **{name: fact[name] for name in ("task_id", "task_type", "status", "input_size", "output_size", "worker_id", "step_timings")},
            "start_time": fact["started_at"], "end_time": fact["ended_at"], "duration_seconds": 20,
        },
    ),
    Form(
        "record_errors", _error,
        ("SELECT record_error(%(task_id)s, %(error_type)s, %(severity)s, %(error_message)s, %(component)s, NULL, %(context)s::jsonb, %(at)s::timestamptz)",),
        "error_tracking", lambda fact: {"fact_id": uuid.uuid4(), "occurred_at": fact["at"], **{name: value for name, value in fact.items() if name != "at"}},
    ),
    Form(
        "record_performance_metrics", _metric,
        ("SELECT record_performance_metric(%(metric_name)s, %(metric_type)s, %(value)s, %(unit)s, %(component)s, %(tags)s::jsonb, %(at)s::timestamptz)",),
        "performance_monitoring", lambda fact: {"fact_id": uuid.uuid4(), "recorded_at": fact["at"], **{name: value for name, value in fact.items() if name != "at"}},
    ),
]  # fmt: skip


class Rounds:
    """Records facts that are new each time: a thousand by document or by COPY, a hundred by single calls."""

    def __init__(self, connection: Connection, form: Form, facts: int) -> None:
        self._connection = connection
        self._form = form
        self._facts = facts
        self._at = datetime.now(UTC) - timedelta(hours=1)

    def by_document(self) -> float:
        document = json.dumps(self._some(self._facts))
        began = now()
        row = self._connection.execute(f"SELECT {self._form.function}(%s)".encode(), [document]).fetchone()
        took = now() - began
        if row is None or row[0]["stored"] != self._facts:
            raise RuntimeError(f"{self._form.function} answered {row}")
        return self._facts / took

    def by_copy(self) -> float:
        rows = [self._form.row(fact) for fact in self._some(self._facts)]
        data = "".join("\t".join(map(_copied, row.values())) + "\n" for row in rows).encode()
        query = f"COPY {self._form.table} ({', '.join(rows[0])}) FROM STDIN".encode()
        began = now()
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            copy.write(data)
        return self._facts / (now() - began)

    def by_single_calls(self) -> float:
        facts = [{name: _adapted(value) for name, value in fact.items()} for fact in self._some(self._facts // 10)]
        began = now()
        for fact in facts:
            for call in self._form.single:
                self._connection.execute(call.encode(), fact)
        return len(facts) / (now() - began)

    def _some(self, count: int) -> list[Fact]:
        self._at += timedelta(seconds=1)
        return [self._form.make(number, self._at + timedelta(microseconds=100 * number)) for number in range(count)]


def _adapted(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def _copied(value: object) -> str:
    return str(_adapted(value)).replace("\\", "\\\\")


def documents_against_single_calls_and_copy(rounds: int = 20, facts: int = 1000) -> Iterable[Measured]:
    """Measure each bulk form against single calls and COPY of the same facts into the same tables; each call commits."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        for form in FORMS:
            timed = Rounds(connection, form, facts)
            copy_ratio, ours, copied = ratio_of(timed.by_document, timed.by_copy, rounds)
            single_ratio, _, single = ratio_of(timed.by_document, timed.by_single_calls, max(3, rounds // 4))
            name = f"{form.function}, {facts:,} a call"
            yield name, f"{single_ratio:.0f} times single calls ({ours:,.0f} against {single:,.0f} a second)", "at least 20 times"  # fmt: skip
            yield name, f"{copy_ratio:.2f} of COPY ({ours:,.0f} against {copied:,.0f} a second)", "at least 0.50"


def measure(full: bool) -> Iterable[Measured]:  # noqa: FBT001  what every section of `python -m bench` has
    """Measure everything; `full` adds fifty million tasks of history, which takes an hour and 40 GB."""
    measured, small = tasks_against_bare_statements(1_000_000)
    yield measured
    if full:
        measured, large = tasks_against_bare_statements(50_000_000)
        yield measured
        yield "the same with fifty times the history", f"{large / small - 1:+.0%}", "within 15 %"
    yield errors_against_bare_insert()
    yield from documents_against_single_calls_and_copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also with fifty million tasks of history")
    for name, figure, goal in measure(parser.parse_args().full):
        report(name, figure, goal)


if __name__ == "__main__":
    main()
