"""The client on an event loop: its coroutines, their tasks and what encloses them, across awaits, threads and generators."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from monitoring_client import AsyncMonitoringClient, DatabaseUnavailableError, MonitoringClient
from monitoring_client.spool import Spool

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
AN_HOUR_AGO = datetime.now(timezone.utc) - timedelta(hours=1)
DEAD = "postgresql://app@127.0.0.1:1/work"
FAMILY = """
    SELECT task.task_type, parent.task_type FROM processing_metrics AS task
    LEFT JOIN processing_metrics AS parent ON parent.task_id = task.parent_task_id ORDER BY 1
"""


def test_a_buffered_coroutine_does_not_even_give_way(database_url: str, rows: Rows) -> None:
    async def main() -> None:
        async with AsyncMonitoringClient(database_url, worker_id="w") as monitor:
            began = asyncio.get_running_loop().create_task(asyncio.sleep(0))
            task_id = await monitor.start_task("work")
            assert await monitor.heartbeat(task_id, 50)
            assert await monitor.record_error(task_id, "E", "low", "boom", "c")
            assert await monitor.record_performance_metric("m", "gauge", 1)
            assert await monitor.update_system_health("service", "api", "healthy")
            assert await monitor.queue("mail").report(3, at=AN_HOUR_AGO)
            assert await monitor.complete_task(task_id)
            assert not began.done()
            assert await monitor.flush()
            assert monitor.dropped == 0

    asyncio.run(main())

    assert rows("SELECT status, worker_id FROM processing_metrics") == [("completed", "w")]
    assert rows("SELECT count(*) FROM error_tracking") == [(1,)]
    assert rows("SELECT pending, recorded_at FROM queue_monitoring") == [(3, AN_HOUR_AGO)]


def test_what_is_durable_is_on_disk_when_the_await_is_over_and_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    spool = tmp_path / "spool"

    async def main() -> None:
        monitor = AsyncMonitoringClient(DEAD, spool=spool)
        await monitor.record_error(None, "E", "low", "first", "c", durable=True)
        with closing(sqlite3.connect(spool, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            recording = asyncio.create_task(monitor.record_error(None, "E", "low", "second", "c", durable=True))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not recording.done()
            other.execute("ROLLBACK")
            assert await recording
        assert len(Spool(spool).oldest(10)) == 2
        await monitor.close(0)

    asyncio.run(main())


def test_a_durable_task_that_is_cancelled_while_it_starts_ends_as_cancelled(
    database_url: str, rows: Rows, tmp_path: Path, until: Until
) -> None:
    spool = tmp_path / "spool"

    async def work(monitor: AsyncMonitoringClient) -> None:
        async with monitor.task("work", durable=True):
            raise AssertionError("it was cancelled before")

    async def main() -> None:
        async with AsyncMonitoringClient(database_url, spool=spool) as monitor:
            await monitor.record_error(None, "E", "low", "makes the file", "c", durable=True)
            assert await monitor.flush()
            with closing(sqlite3.connect(spool, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                starting = asyncio.create_task(work(monitor))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                starting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await starting
                other.execute("ROLLBACK")
            cancelled = "SELECT 1 FROM processing_metrics WHERE status = 'cancelled'"
            await asyncio.to_thread(until, lambda: rows(cancelled))

    asyncio.run(main())


def test_tasks_that_run_side_by_side_keep_their_own_parents(database_url: str, rows: Rows) -> None:
    async def child(monitor: AsyncMonitoringClient, name: str, gate: asyncio.Event) -> None:
        async with monitor.task(f"child of {name}"):
            await gate.wait()
            await asyncio.to_thread(in_thread, monitor, name)

    def in_thread(monitor: AsyncMonitoringClient, name: str) -> None:
        with monitor.task(f"thread of {name}"):
            pass

    async def parent(monitor: AsyncMonitoringClient, name: str, gate: asyncio.Event) -> None:
        async with monitor.task(name):
            children = asyncio.gather(child(monitor, name, gate), asyncio.sleep(0))
            if name == "b":
                gate.set()
            await children

    async def main() -> None:
        async with AsyncMonitoringClient(database_url) as monitor:
            gate = asyncio.Event()
            await asyncio.gather(*(parent(monitor, name, gate) for name in ("a", "b")))
            async with monitor.task("later"):
                pass
            assert await monitor.flush()

    asyncio.run(main())

    assert rows(FAMILY) == [
        ("a", None),
        ("b", None),
        ("child of a", "a"),
        ("child of b", "b"),
        ("later", None),
        ("thread of a", "child of a"),
        ("thread of b", "child of b"),
    ]


def test_a_generator_encloses_its_own_work_and_not_that_of_its_caller(database_url: str, rows: Rows) -> None:
    monitor = AsyncMonitoringClient(database_url)

    @monitor.tracked("generator")
    def numbers() -> Iterator[int]:
        for number in range(2):
            with monitor.task(f"inside {number}"):
                pass
            yield number

    @monitor.tracked("async generator")
    async def letters() -> AsyncIterator[str]:
        for letter in "ab":
            async with monitor.task(f"inside {letter}"):
                await asyncio.sleep(0)
            yield letter

    async def main() -> None:
        for number in numbers():
            with monitor.task(f"outside {number}"):
                pass
        async for letter in letters():
            async with monitor.task(f"outside {letter}"):
                pass
        assert await monitor.flush()
        await monitor.close()

    asyncio.run(main())

    assert rows(FAMILY) == [
        ("async generator", None),
        ("generator", None),
        ("inside 0", "generator"),
        ("inside 1", "generator"),
        ("inside a", "async generator"),
        ("inside b", "async generator"),
        ("outside 0", None),
        ("outside 1", None),
        ("outside a", None),
        ("outside b", None),
    ]


def test_a_task_may_end_in_another_context_than_it_began_in(database_url: str, rows: Rows) -> None:
    """As dependencies of web frameworks do, whose two halves run in threads of a pool."""
    with MonitoringClient(database_url) as monitor:
        task = monitor.task("request")
        contextvars.copy_context().run(task.__enter__)
        contextvars.copy_context().run(task.__exit__, None, None, None)
        assert monitor.flush()

    assert rows("SELECT status FROM processing_metrics") == [("completed",)]


def test_a_generator_that_is_abandoned_ends_its_task_as_cancelled(database_url: str, rows: Rows) -> None:
    async def main() -> None:
        async with AsyncMonitoringClient(database_url) as monitor:

            @monitor.tracked("letters")
            async def letters() -> AsyncIterator[str]:
                yield "a"
                yield "b"

            async for _ in letters():
                break
            await asyncio.sleep(0)
            assert await monitor.flush()

    asyncio.run(main())

    assert rows("SELECT status FROM processing_metrics") == [("cancelled",)]


def test_an_exception_of_the_application_gets_through_and_is_recorded(database_url: str, rows: Rows) -> None:
    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncMonitoringClient]:
        async with AsyncMonitoringClient(database_url, durable=True) as monitor:
            yield monitor

    async def main() -> None:
        async with connected() as monitor, monitor.task("work"):
            raise ConnectionError("reset")

    with pytest.raises(ConnectionError):
        asyncio.run(main())

    assert rows("SELECT status FROM processing_metrics") == [("failed",)]
    assert rows("SELECT error_message FROM error_tracking") == [("reset",)]


def test_it_raises_if_it_was_told_to() -> None:
    async def main() -> None:
        monitor = AsyncMonitoringClient(DEAD, raise_errors=True)
        with pytest.raises(DatabaseUnavailableError):
            await monitor.start_task("work")
        with pytest.raises(ValueError, match="status"):
            await monitor.complete_task("t", "odd")

    asyncio.run(main())
