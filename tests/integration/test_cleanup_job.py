"""The clean-up as the service runs it: until nothing more goes, and what it says of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from structlog.testing import capture_logs

from automon.clock import SystemClock
from automon.database import Database
from automon.store import Store
from jobs.cleanup import Cleanup
from jobs.job import Context
from tests.support.calls import DAY, Calls


@pytest.fixture
def context(database_url: str) -> Iterator[Context]:
    database = Database(database_url, SystemClock())
    database.open()
    yield Context(store=Store(database), clock=SystemClock(), instance="tests:1", stop=threading.Event())
    database.close()


@pytest.fixture
def calls(connection: psycopg.Connection[tuple[object, ...]]) -> Calls:
    return Calls(connection)


def make_days(calls: Calls, table: str, first: int, last: int) -> None:
    for days in range(first, last + 1):
        calls("ensure_day_partition", table, calls.one("SELECT now()") - days * DAY)


def test_a_run_goes_on_until_nothing_more_goes_and_counts_all_of_it(context: Context, calls: Calls) -> None:
    make_days(calls, "host_metrics", 20, 80)
    make_days(calls, "error_tracking", 100, 101)

    with capture_logs() as logs:
        counts = Cleanup().run_once(context).counts

    assert counts["dropped_by_table"] == {"host_metrics": 61, "error_tracking": 2}
    assert (counts["partitions_dropped"], counts["partitions_in_use"], counts["more"]) == (63, 0, False)
    [told] = [line for line in logs if line["event"] == "retention_freed"]
    assert told["log_level"] == "info"
    assert told["partitions_dropped"] == 63
    assert told["bytes_freed"] == counts["bytes_freed"]


def test_a_run_that_removes_nothing_says_nothing(context: Context) -> None:
    with capture_logs() as logs:
        counts = Cleanup().run_once(context).counts

    assert counts["partitions_dropped"] == 0
    assert [line for line in logs if line["event"] == "retention_freed"] == []


def test_a_run_that_left_days_to_others_is_unfinished_until_they_went(context: Context, calls: Calls) -> None:
    make_days(calls, "host_metrics", 20, 21)
    cleanup = Cleanup()
    with calls.connection.transaction():
        calls.ask("SELECT FROM public.host_metrics")
        counts = cleanup.run_once(context).counts

        assert (counts["partitions_dropped"], counts["partitions_in_use"]) == (0, 2)
        assert cleanup.is_unfinished
    assert cleanup.run_once(context).counts["partitions_dropped"] == 2
    assert not cleanup.is_unfinished


def test_a_run_that_is_told_to_stop_leaves_the_rest(context: Context, calls: Calls) -> None:
    make_days(calls, "host_metrics", 20, 21)
    context.stop.set()

    assert Cleanup().run_once(context).counts == {"dropped_by_table": {}}
    assert calls.one("SELECT count(*) FROM public.expired_partitions() AS e") == 2
