"""Threads, coroutines and forked processes that share one client."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from monitoring_client import MonitoringClient

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_threads_share_one_client(monitor: MonitoringClient, rows: Rows) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            with monitor.task(f"type-{worker}", input_size=number) as task:
                task.output_size = number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert monitor.dropped == 0
    assert rows(
        "SELECT status, count(*), count(DISTINCT task_id), bool_and(input_size = output_size)"
        " FROM processing_metrics GROUP BY 1"
    ) == [("completed", 160, 160, True)]
    assert rows(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'automon-client' AND datname = current_database()"
    ) == [(1,)]


def test_concurrent_coroutines_are_tasks_of_their_own(monitor: MonitoringClient, rows: Rows) -> None:
    here: list[int] = []

    @monitor.tracked("fetch")
    async def fetch(number: int, everybody_is_here: asyncio.Event) -> int:
        here.append(number)
        if len(here) == 6:
            everybody_is_here.set()
        await everybody_is_here.wait()
        if number == 3:
            raise ConnectionError("reset")
        return number

    async def main() -> list[int | BaseException]:
        meeting = asyncio.Event()
        return await asyncio.gather(*(fetch(number, meeting) for number in range(6)), return_exceptions=True)

    answers = asyncio.run(main())

    assert [answer for answer in answers if isinstance(answer, int)] == [0, 1, 2, 4, 5]
    assert rows("SELECT status, count(*) FROM processing_metrics GROUP BY 1 ORDER BY 1") == [
        ("completed", 5),
        ("failed", 1),
    ]
    assert rows("SELECT error_type, error_message FROM error_tracking") == [("ConnectionError", "reset")]


def test_a_cancelled_coroutine_is_a_cancelled_task(monitor: MonitoringClient, rows: Rows) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @monitor.tracked("wait")
        async def wait() -> None:
            begun.set()
            await asyncio.Event().wait()

        waiting = asyncio.create_task(wait())
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())

    assert rows("SELECT status FROM processing_metrics") == [("cancelled",)]


def test_a_coroutine_that_is_cancelled_while_it_starts_leaves_no_running_task(
    monitor: MonitoringClient, database_url: str, rows: Rows, until: Until
) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as locker:
            await locker.execute("LOCK TABLE processing_metrics_running IN EXCLUSIVE MODE")
            starting = asyncio.create_task(monitor.tracked("slow start")(asyncio.sleep)(0))
            await asyncio.to_thread(until, lambda: rows(BLOCKED) == [(1,)])
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

    asyncio.run(main())

    assert rows("SELECT status FROM processing_metrics") == [("cancelled",)]


def test_the_event_loop_goes_on_while_the_database_is_slow(
    monitor: MonitoringClient, database_url: str, rows: Rows, until: Until
) -> None:
    @monitor.tracked("fetch")
    async def fetch() -> str:
        return "page"

    async def main() -> str:
        async with await psycopg.AsyncConnection.connect(database_url) as locker:
            await locker.execute("LOCK TABLE processing_metrics_running IN EXCLUSIVE MODE")
            fetching = asyncio.create_task(fetch())
            await asyncio.to_thread(until, lambda: rows(BLOCKED) == [(1,)])  # on a loop that stood still, this is never
            await locker.rollback()
            return await fetching

    assert asyncio.run(main()) == "page"
    assert rows("SELECT status FROM processing_metrics") == [("completed",)]


FORKING = """
import os, sys
import psycopg
from monitoring_client import MonitoringClient

dsn = os.environ["AUTOMON_DSN"]

def sessions():
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'automon-client' AND datname = current_database()"
        ).fetchall()

monitor = MonitoringClient(dsn, raise_errors=True)
before = monitor.start_task("parent", worker_id="parent")
own = sessions()
child = os.fork()
if child == 0:
    monitor.complete_task(monitor.start_task("child", worker_id="child"))
    sys.exit(0)  # with all destructors and exit handlers
assert os.waitpid(child, 0)[1] == 0
monitor.complete_task(before)
with monitor.task("parent"):
    pass
assert own == sessions(), "the child has ended the session of its parent"
print(monitor.dropped)
"""


def test_parent_and_child_of_a_fork_both_report(database_url: str, rows: Rows) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING],
        env={**os.environ, "AUTOMON_DSN": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, "0"), ran.stderr
    assert rows("SELECT task_type, status, count(*) FROM processing_metrics GROUP BY 1, 2 ORDER BY 1") == [
        ("child", "completed", 1),
        ("parent", "completed", 2),
    ]


def test_a_process_ends_without_a_warning_and_closes_its_connection(database_url: str) -> None:
    program = (
        "import os; from monitoring_client import MonitoringClient; MonitoringClient(os.environ['DSN']).start_task('t')"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        env={**os.environ, "DSN": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the mask of a thread from /proc")
def test_the_senders_thread_leaves_signals_to_the_others(database_url: str, until: Until) -> None:
    with MonitoringClient(database_url, spool=False) as monitor:
        monitor.record_performance_metric("depth", "gauge", 1.0)
        [sender] = [thread for thread in threading.enumerate() if thread.name == "automon-client"]

        def blocked() -> int:
            status = Path(f"/proc/self/task/{sender.native_id}/status").read_text(encoding="ascii")
            return int(status.partition("SigBlk:")[2].split()[0], 16)

        until(lambda: blocked() >> (signal.SIGTERM - 1) & 1)
        assert blocked() >> (signal.SIGSEGV - 1) & 1 == 0
