"""The database refuses, hangs, hangs up or comes back; the application hardly notices."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from monitoring_client import DatabaseUnavailableError, MonitoringClient
from monitoring_client.spool import Spool

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
HANG_UP = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'automon-client'"
)


def seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_server_that_never_answers_costs_the_caller_nothing(deaf_dsn: str, tmp_path: Path) -> None:
    monitor = MonitoringClient(deaf_dsn, spool=tmp_path / "spool")

    assert seconds(lambda: [monitor.start_task("work") for _ in range(100)]) < 0.5
    assert seconds(lambda: monitor.close(0.1)) < 2
    assert monitor.dropped == 0
    assert len(Spool(tmp_path / "spool").oldest(1000)) == 100


def test_a_server_that_never_answers_costs_three_seconds_where_the_caller_waits(deaf_dsn: str) -> None:
    monitor = MonitoringClient(deaf_dsn, raise_errors=True)

    def start() -> None:
        with pytest.raises(DatabaseUnavailableError, match="no answer"):
            monitor.start_task("work")

    assert 2.5 < seconds(start) < 5


def test_a_connection_that_falls_silent_is_given_up_and_nothing_is_lost(line: Any, rows: Rows) -> None:
    line.open()
    with MonitoringClient(line.dsn) as monitor:
        assert monitor.record_error(None, "E", "low", "before", "c")
        assert monitor.flush()
        line.fall_silent()
        assert monitor.record_error(None, "E", "low", "meanwhile", "c")
        assert not monitor.flush(5)
        line.cut()
        line.speak()

        assert monitor.flush(20)
    assert rows("SELECT error_message FROM error_tracking ORDER BY occurred_at") == [("before",), ("meanwhile",)]


def test_a_statement_that_waits_for_a_lock_is_ended_on_the_server_and_repeated(
    database_url: str, rows: Rows, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    with MonitoringClient(database_url) as monitor, psycopg.connect(database_url) as locker:
        locker.execute("LOCK TABLE error_tracking IN EXCLUSIVE MODE")
        monitor.record_error(None, "E", "low", "boom", "c")
        until(lambda: "statement timeout" in caplog.text)
        locker.rollback()

        assert monitor.flush(20)
    assert rows("SELECT count(*) FROM error_tracking") == [(1,)]


def test_a_connection_that_was_closed_while_idle_loses_nothing(monitor: MonitoringClient, rows: Rows) -> None:
    task_id = monitor.start_task("work")
    assert rows(HANG_UP) == [(1,)]

    assert monitor.complete_task(task_id)
    assert monitor.dropped == 0


def test_a_line_that_was_cut_while_idle_loses_nothing(line: Any) -> None:
    line.open()
    with MonitoringClient(line.dsn, raise_errors=True) as monitor:
        task_id = monitor.start_task("work")
        line.cut()

        assert monitor.complete_task(task_id)


def test_a_connection_that_is_cut_in_the_middle_of_a_statement_stores_the_fact_once(
    monitor: MonitoringClient, database_url: str, rows: Rows, until: Until
) -> None:
    monitor.start_task("work")
    with psycopg.connect(database_url) as locker, ThreadPoolExecutor(1) as pool:
        locker.execute("LOCK TABLE error_tracking IN EXCLUSIVE MODE")
        recording = pool.submit(monitor.record_error, None, "E", "low", "boom", "c")
        until(lambda: rows(BLOCKED) == [(1,)])
        rows(HANG_UP)
        locker.rollback()

        assert recording.result(timeout=20)
    assert rows("SELECT count(*) FROM error_tracking") == [(1,)]


def test_it_reconnects_by_itself_and_a_task_of_the_outage_is_recorded_whole(line: Any, rows: Rows) -> None:
    with MonitoringClient(line.dsn) as monitor:
        with monitor.task("work") as task:  # nobody listens yet
            assert not monitor.flush(0.2)
        line.open()

        assert monitor.flush(20)
        assert monitor.dropped == 0
    assert rows("SELECT task_id, status FROM processing_metrics") == [(task.task_id, "completed")]


def test_a_busy_thread_does_not_hold_up_the_others_for_long(
    monitor: MonitoringClient, database_url: str, rows: Rows, until: Until
) -> None:
    with psycopg.connect(database_url) as locker, ThreadPoolExecutor(4) as pool:
        locker.execute("LOCK TABLE error_tracking IN EXCLUSIVE MODE")
        waits = [pool.submit(seconds, lambda: _swallow(monitor)) for _ in range(4)]

        assert max(wait.result() for wait in waits) < 10


def _swallow(monitor: MonitoringClient) -> None:
    with pytest.raises(DatabaseUnavailableError):
        monitor.record_error(None, "E", "low", "boom", "c")


class WorkerTimeLimitError(Exception):
    pass


def test_a_time_limit_of_the_application_gets_through(line: Any) -> None:
    def interrupt(*_: object) -> None:
        raise WorkerTimeLimitError

    line.open()
    monitor = MonitoringClient(line.dsn, raise_errors=True)
    monitor.start_task("work")
    line.fall_silent()
    before = signal.signal(signal.SIGUSR1, interrupt)
    main_thread = threading.get_ident()
    timer = threading.Timer(0.3, signal.pthread_kill, (main_thread, signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(WorkerTimeLimitError):
            monitor.start_task("work")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
        monitor.close()


def test_a_signal_handler_may_call_the_client(line: Any) -> None:
    line.open()
    monitor = MonitoringClient(line.dsn, raise_errors=True)
    monitor.start_task("work")
    line.fall_silent()
    refused: list[str] = []

    def report(*_: object) -> None:
        try:
            monitor.start_task("work")
        except DatabaseUnavailableError as error:
            refused.append(str(error))

    before = signal.signal(signal.SIGUSR1, report)
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(DatabaseUnavailableError, match="did not answer"):
            monitor.start_task("work")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
        monitor.close()

    assert ["in the middle" in reason for reason in refused] == [True]


def test_a_wrong_role_is_told_without_the_password(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    dsn = psycopg.conninfo.make_conninfo(database_url, user="nobody_of_that_name", password="s3cr3t-pw")
    with caplog.at_level(logging.DEBUG), MonitoringClient(dsn) as monitor:
        monitor.start_task("work")
        assert not monitor.flush(0.5)

    assert "nobody_of_that_name" in caplog.text
    assert "s3cr3t-pw" not in caplog.text
