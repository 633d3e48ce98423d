"""A clean-up whose server process is killed in the middle."""

from __future__ import annotations

import os
import signal

import psycopg
import pytest

from tests.support.calls import DAY, NOON, Calls
from tests.support.postgres import PostgresUnderTest
from tests.support.waiting import wait_until


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, autocommit=True, options="-c search_path=")


def answers(url: str) -> bool:
    try:
        connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def is_cut_off(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def kept(calls: Calls) -> tuple[int, int, int]:
    return (
        calls.one("SELECT count(*) FROM public.processing_metrics"),
        calls.one("SELECT count(*) FROM public.error_tracking"),
        calls.one("SELECT count(*) FROM public.expired_partitions(%s) AS e", NOON),
    )


def test_a_clean_up_that_is_killed_has_removed_nothing_and_the_next_one_does(own_postgres: PostgresUnderTest) -> None:
    with connect(own_postgres.url) as connection, connect(own_postgres.url) as bystander:
        calls = Calls(connection)
        calls.run_tasks(3, ended=NOON - 40 * DAY)
        calls.record_errors(3, until=NOON - 50 * DAY, severity="low")
        # Killed: neither the statements before the last one nor its days are half gone.
        calls.ask("BEGIN")
        answer = calls("cleanup_old_monitoring_data", NOON)
        assert (answer["partitions_dropped"], answer["errors_deleted"]) == (1, 3)
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            calls.ask("COMMIT")
        # A server process that was killed takes all others with it, a moment later.
        wait_until(lambda: is_cut_off(bystander), what="the server has noticed")

    wait_until(lambda: answers(own_postgres.url), what="the server has recovered")
    with connect(own_postgres.url) as connection:
        calls = Calls(connection)
        assert kept(calls) == (3, 3, 1)
        answer = calls("cleanup_old_monitoring_data", NOON)
        assert (answer["partitions_dropped"], answer["errors_deleted"]) == (1, 3)
        assert kept(calls) == (0, 0, 0)
