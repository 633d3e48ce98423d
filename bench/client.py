"""What the Python client costs the application that reports, and how fast what it reports reaches the database.

Ratios are medians of short rounds in which both sides take turns, as in bench.write_path. What is compared with
OpenTelemetry's SDK needs `pip install opentelemetry-sdk` in the environment, which nothing else does.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from bench.harness import Connection, Figure, database, now, report
from bench.write_path import ratio_of
from monitoring_client import MonitoringClient

BURST = 100
BURSTS = 100
BETWEEN_BURSTS = 0.01  # seconds; an application does something besides reporting
BATCH = 1000
DEAD = "postgresql://127.0.0.1:1/nowhere"  # where every connection is refused
TO_INSTALL = "not measured: pip install opentelemetry-sdk"

Pair = Callable[[], object]


@contextmanager
def spool() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="automon-bench-") as folder:
        yield Path(folder) / "spool.sqlite3"


# The caller ---------------------------------------------------------------------------------------------------------


def pair_of(monitor: MonitoringClient) -> Pair:
    def pair() -> None:
        task_id = monitor.start_task("document_processing", 1024)
        monitor.complete_task(task_id, "completed", output_size=2048)

    return pair


@contextmanager
def spans() -> Iterator[Pair]:
    """Give the same pair as a span of OpenTelemetry that goes nowhere. Raises ImportError without the SDK."""
    trace, export = import_module("opentelemetry.sdk.trace"), import_module("opentelemetry.sdk.trace.export")
    completed = import_module("opentelemetry.trace").StatusCode.OK

    class Nowhere(export.SpanExporter):  # type: ignore[misc, name-defined] # the SDK is not among the dependencies
        def export(self, _spans: Sequence[Any]) -> Any:
            return export.SpanExportResult.SUCCESS

    provider = trace.TracerProvider()
    provider.add_span_processor(export.BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    tracer = provider.get_tracer("bench")

    def pair() -> None:
        said = {"input_size": 1024, "worker_id": "worker-01"}
        span = tracer.start_span("document_processing", attributes=said)
        span.set_attribute("output_size", 2048)
        span.set_status(completed)
        span.end()

    try:
        yield pair
    finally:
        provider.shutdown()


def times_of(pair: Pair) -> list[float]:
    """Measure each pair, in seconds, in bursts."""
    times = []
    for _ in range(BURSTS):
        for _ in range(BURST):
            began = time.perf_counter()
            pair()
            times.append(time.perf_counter() - began)
        time.sleep(BETWEEN_BURSTS)
    return times


def said_of(times: Sequence[float]) -> str:
    ordered = sorted(times)
    p99 = ordered[int(0.99 * len(ordered))]
    return f"median {1e6 * statistics.median(ordered):.1f} µs, p99 {1e6 * p99:.0f} µs, max {1e3 * ordered[-1]:.1f} ms"


def cost_to_the_caller() -> Iterable[Figure]:
    """Measure start and complete for the caller, with the database up and dead, and against OpenTelemetry."""
    goal = "median under 10 µs, p99 under 100 µs"
    with spool() as path, MonitoringClient(DEAD, spool=path) as monitor:
        yield "start + complete for the caller, database dead", said_of(times_of(pair_of(monitor))), goal
    with database() as url, spool() as path, MonitoringClient(url, spool=path) as monitor:
        pair = pair_of(monitor)
        yield "start + complete for the caller, database up", said_of(times_of(pair)), goal
        yield "the same against a span of OpenTelemetry", against_spans(pair), "at most 0.25"


def against_spans(pair: Pair) -> str:
    try:
        with spans() as span:
            ratio, ours, theirs = ratio_of(
                lambda: statistics.median(times_of(pair)), lambda: statistics.median(times_of(span)), 5
            )
    except ImportError:
        return TO_INSTALL
    return f"{ratio:.2f} ({1e6 * ours:.1f} against {1e6 * theirs:.1f} µs)"


# End to end ---------------------------------------------------------------------------------------------------------

COPY = "COPY processing_metrics (task_id, task_type, status, start_time, end_time, duration_seconds, input_size, output_size, worker_id) FROM STDIN"
START = "SELECT start_task_tracking(%s, %s, %s, %s)"
COMPLETE = "SELECT complete_task_tracking(%s, %s, %s)"


@dataclass
class EndToEnd:
    """Ways to bring tasks into the database; each answers how many a second, from the first call until all are there."""

    monitor: MonitoringClient
    connection: Connection
    tasks: int

    def by_client(self) -> float:
        pair = pair_of(self.monitor)
        began = now()
        for _ in range(self.tasks):
            pair()
        if not self.monitor.flush(120):
            raise RuntimeError("the facts did not arrive")
        return self.tasks / (now() - began)

    def by_copy(self) -> float:
        """Make the same facts and copy them in batches, each a transaction."""
        began = now()
        for _ in range(self.tasks // BATCH):
            lines = "".join(_line() for _ in range(BATCH))
            with self.connection.cursor() as cursor, cursor.copy(COPY) as copy:
                copy.write(lines.encode())
        return self.tasks / (now() - began)

    def by_single_calls(self) -> float:
        tasks = self.tasks // 20
        began = now()
        for _ in range(tasks):
            task_id = str(uuid.uuid4())
            self.connection.execute(START, [task_id, "document_processing", 1024, "worker-01"])
            self.connection.execute(COMPLETE, [task_id, "completed", 2048])
        return tasks / (now() - began)


def _line() -> str:
    started_at = datetime.now(UTC)
    ended_at = datetime.now(UTC)
    values = (
        uuid.uuid4(), "document_processing", "completed", started_at.isoformat(), ended_at.isoformat(), (ended_at - started_at).total_seconds(), 1024, 2048, "worker-01",
    )  # fmt: skip
    return "\t".join(map(str, values)) + "\n"


def end_to_end(tasks: int = 20_000, rounds: int = 7) -> Iterable[Figure]:
    """Measure how fast one process brings tasks into the database, flat out, and what it drops meanwhile."""
    with (
        database() as url,
        psycopg.connect(url, autocommit=True) as connection,
        spool() as path,
        MonitoringClient(url, spool=path) as monitor,
    ):
        ways = EndToEnd(monitor, connection, tasks)
        single, ours, calls = ratio_of(ways.by_client, ways.by_single_calls, max(3, rounds // 2))
        copy, _, copied = ratio_of(ways.by_client, ways.by_copy, rounds)
        dropped = monitor.dropped
        found = connection.execute("SELECT count(*) FROM processing_metrics WHERE worker_id = %s", [monitor.worker_id])
        stored = found.fetchall()[0][0]
    called = tasks * (rounds + max(3, rounds // 2))
    name = "start + complete pairs, one process, end to end"
    yield name, f"{single:.0f} times two autocommit calls ({ours:,.0f} against {calls:,.0f} a second)", "at least 20 times"  # fmt: skip
    yield name, f"{copy:.2f} of COPY ({copied:,.0f} a second)", "at least 0.50"
    yield "flat out, database up: dropped", f"{dropped} of {2 * called:,} calls, {stored:,} tasks stored", "0"


# The application ----------------------------------------------------------------------------------------------------

SECONDS_OF_WORK = 0.002


def work() -> None:
    """Use about two milliseconds of CPU, as a small task does."""
    for _ in range(_turns_of_work()):
        json.loads(_DOCUMENT)


_DOCUMENT = json.dumps([{"number": number, "text": "x" * 20} for number in range(20)])
_turns: list[int] = []


def _turns_of_work() -> int:
    if not _turns:
        began = time.perf_counter()
        for _ in range(1000):
            json.loads(_DOCUMENT)
        _turns.append(max(1, round(1000 * SECONDS_OF_WORK / (time.perf_counter() - began))))
    return _turns[0]


def tasks_per_second(monitor: MonitoringClient, seconds: float) -> float:
    """How many tasks of two milliseconds a second are done, each reported by two facts."""
    done = 0
    began = now()
    while now() < began + seconds:
        task_id = monitor.start_task("document_processing", 1024)
        work()
        monitor.complete_task(task_id, "completed", output_size=2048)
        done += 1
    return done / (now() - began)


@contextmanager
def deaf_server() -> Iterator[str]:
    """Give the DSN of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://127.0.0.1:{listener.getsockname()[1]}/nowhere"


def throughput_of_the_application(rounds: int = 15, seconds: float = 2) -> Figure:
    """Measure the application with the client on and off, while the database hangs."""
    _turns_of_work()
    with deaf_server() as dsn, spool() as path, MonitoringClient(dsn, spool=path) as monitor:
        off = MonitoringClient(dsn, enabled=False)
        ratio, ours, without = ratio_of(
            lambda: tasks_per_second(monitor, seconds), lambda: tasks_per_second(off, seconds), rounds
        )
    figure = f"{ratio:.3f} of off ({ours:,.0f} against {without:,.0f} tasks a second)"
    return "the application's throughput, database hanging", figure, "at least 0.98 of off"


# The process --------------------------------------------------------------------------------------------------------

MEMORY = """
import datetime, logging, os, threading
{what}
with open("/proc/self/smaps_rollup") as file:
    sizes = dict(line.split()[:2] for line in file.readlines()[1:])
print(int(sizes["Rss:"]), int(sizes["Private_Clean:"]) + int(sizes["Private_Dirty:"]))
os._exit(0)
"""
MAKE = "import monitoring_client; monitor = monitoring_client.MonitoringClient(os.environ['BENCH_DSN'], spool=os.environ['BENCH_SPOOL'])"
DRIVER = "import psycopg"
USE = "; monitor.complete_task(monitor.start_task('work')); assert monitor.flush(20)"
IMPORT = "import time; began = time.perf_counter(); import monitoring_client; print(time.perf_counter() - began)"


def memory(what: str, environment: dict[str, str]) -> tuple[float, float]:
    """How many megabytes a fresh process has resident after that, and how many of them are its own."""
    found = [_told(MEMORY.format(what=what), environment).split() for _ in range(3)]
    resident, own = (statistics.median(float(each[place]) for each in found) for place in (0, 1))
    return resident / 1024, own / 1024


def _told(program: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    ).stdout


def memory_and_import() -> Iterable[Figure]:
    with database() as url, spool() as path:
        environment = {"BENCH_DSN": url, "BENCH_SPOOL": str(path)}
        without, driver, unused, used = (memory(what, environment) for what in ("", DRIVER, MAKE, MAKE + USE))
    imports = [1000 * float(_told(IMPORT, {})) for _ in range(11)]
    yield "memory added before first use", _added(unused, without), "under 3 MB"
    with_driver = f"{_added(used, without)}; the driver alone: {_added(driver, without)}"
    yield "memory added after a flush, with the driver", with_driver, "under 15 MB"
    yield "import", f"median {statistics.median(imports):.0f} ms, least {min(imports):.0f} ms", "under 30 ms"


def _added(with_it: tuple[float, float], without: tuple[float, float]) -> str:
    resident, own = (one - other for one, other in zip(with_it, without, strict=True))
    return f"{resident:.1f} MB resident, {own:.1f} MB of its own"


# After an outage ----------------------------------------------------------------------------------------------------


def record_some(monitor: MonitoringClient, facts: int) -> None:
    """Record facts as an outage leaves them behind: three in five of tasks, the rest errors and measurements."""
    pair = pair_of(monitor)
    for number in range(facts // 10):
        for _ in range(3):
            pair()
        monitor.record_error(None, "Timeout", "medium", f"no answer to request {number} in 30 s", "processor")
        monitor.record_error(None, "Timeout", "medium", f"no answer to retry {number} in 30 s", "processor")
        monitor.record_performance_metric("latency", "response_time", 1.25, "seconds", "processor")
        monitor.record_performance_metric("size", "gauge", number, "bytes", "processor", {"tenant": number % 10})


class Worker:
    """An application that works and reports nothing, in the thread that uses it; its longest task is remembered."""

    def until(self, over: threading.Event) -> float:
        """Work until then; answer the tasks a second."""
        done, self.longest = 0, 0.0
        began = last = now()
        while not over.is_set():
            work()
            done += 1
            last, before = now(), last
            self.longest = max(self.longest, last - before)
        return done / (last - began)

    def for_seconds(self, seconds: float) -> float:
        over = threading.Event()
        timer = threading.Timer(seconds, over.set)
        timer.start()
        return self.until(over)


def replay(facts: int = 100_000) -> Iterable[Figure]:
    """Measure how fast what an outage has left on disk reaches the database, and what the application feels of it."""
    with database() as url, spool() as path:
        with MonitoringClient(DEAD, spool=path) as away:
            record_some(away, facts)
        lost = away.dropped
        worker = Worker()
        alone = worker.for_seconds(3)
        gc.collect()
        with MonitoringClient(url, spool=path) as monitor:
            over = threading.Event()

            def replay_all() -> None:
                monitor.flush(300)
                over.set()

            began = now()
            threading.Thread(target=replay_all).start()
            beside = worker.until(over)
            took = now() - began
    yield f"replay of {facts:,} spooled facts beside work", f"{took:.1f} s, {lost} lost", "under 10 s for 100,000"
    yield "the application meanwhile", f"{beside / alone:.2f} of alone, longest task {1000 * worker.longest:.0f} ms", "no task is held up"  # fmt: skip


def measure(full: bool) -> Iterable[Figure]:  # noqa: FBT001  what every section of `python -m bench` has
    """Measure everything; `full` takes more and longer rounds."""
    yield from cost_to_the_caller()
    yield from end_to_end(rounds=15 if full else 5)
    yield throughput_of_the_application(rounds=31 if full else 9)
    yield from memory_and_import()
    yield from replay()


def main() -> None:
    for figure in measure(full=True):
        report(*figure)


if __name__ == "__main__":
    main()
