"""From the buffer to the database, straight or by way of the disk: in order, with their own times, once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from monitoring_client import MonitoringClient
from monitoring_client.link import Link
from monitoring_client.losses import Losses
from monitoring_client.outbox import Outbox
from monitoring_client.recorder import Buffered, Recorder
from monitoring_client.spool import Spool
from tests.support.clock import ShiftedClock
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
SAID = "SELECT error_message FROM error_tracking ORDER BY occurred_at"
DEAD = "postgresql://app@127.0.0.1:1/work"


def say(monitor: MonitoringClient, what: object, **options: Any) -> None:
    assert monitor.record_error(None, "E", "low", str(what), "c", **options)


def test_facts_of_all_kinds_arrive_in_their_order(database_url: str, rows: Rows) -> None:
    with MonitoringClient(database_url) as monitor:
        for number in range(2500):  # several batches
            say(monitor, number)
        with monitor.task("work") as task:
            task.metric("rows", 7)
            task.progress(50)
            assert monitor.update_system_health("service", "api", "healthy")
            assert monitor.queue("mail").report(3)
        assert monitor.flush()

        assert monitor.dropped == 0
    assert rows(SAID) == [(str(number),) for number in range(2500)]
    assert rows("SELECT status FROM processing_metrics") == [("completed",)]
    assert rows("SELECT value FROM performance_monitoring") == [(7,)]


def test_what_waited_on_disk_arrives_in_order_with_its_own_times(
    database_url: str, rows: Rows, tmp_path: Path, until: Until
) -> None:
    spool = tmp_path / "spool"
    began = datetime.now(timezone.utc)
    with MonitoringClient(DEAD, spool=spool) as monitor:
        task_id = monitor.start_task("work")
        for number in range(10):
            say(monitor, number, durable=number % 2)
        monitor.complete_task(task_id)
        assert not monitor.flush(0.1)
    ended = datetime.now(timezone.utc)

    with MonitoringClient(database_url, spool=spool) as monitor:
        say(monitor, "new")
        until(lambda: rows("SELECT count(*) FROM processing_metrics WHERE status = 'completed'") == [(1,)])

    assert rows(SAID) == [(str(number),) for number in range(10)] + [("new",)]
    times = [row[0] for row in rows("SELECT occurred_at FROM error_tracking ORDER BY occurred_at")]
    assert all(began < at < ended for at in times[:-1])
    ((start, end),) = rows("SELECT start_time, end_time FROM processing_metrics")
    assert began < start < end < ended


def test_the_disk_takes_over_when_the_line_breaks_and_hands_back_in_order(line: Any, rows: Rows) -> None:
    line.open()
    with MonitoringClient(line.dsn) as monitor:
        for number in range(6):
            if number == 2:
                line.fall_silent()
                line.cut()
            if number == 4:
                line.speak()
            say(monitor, number)
            monitor.flush(20 if number in (1, 5) else 0.1)

    assert rows(SAID) == [(str(number),) for number in range(6)]


def test_facts_whose_answer_was_lost_are_stored_once(line: Any, rows: Rows, until: Until) -> None:
    line.open()
    with MonitoringClient(line.dsn) as monitor:
        say(monitor, "first")
        assert monitor.flush()
        line.lose_answers()
        task_id = monitor.start_task("work")
        for number in range(5):
            say(monitor, "same")
            monitor.record_performance_metric("m", "gauge", number)
        monitor.complete_task(task_id)
        until(lambda: rows("SELECT count(*) FROM performance_monitoring") == [(5,)])
        line.cut()
        line.speak()

        assert monitor.flush(20)
        assert monitor.dropped == 0
    assert rows(SAID) == [("first",)] + [("same",)] * 5
    assert rows("SELECT count(*) FROM performance_monitoring") == [(5,)]
    assert rows("SELECT count(*) FROM processing_metrics") == [(1,)]


REPORT = """
import sys
from monitoring_client import MonitoringClient
dsn, spool, name = sys.argv[1:]
with MonitoringClient(dsn, spool=spool) as monitor:
    for number in range(30):
        monitor.record_error(None, "E", "low", f"{name} {number}", name, durable=number % 3 == 0)
    if name.startswith("late"):
        assert monitor.flush(20)
"""


def test_several_processes_share_a_spool_and_each_fact_arrives_once(
    database_url: str, rows: Rows, tmp_path: Path, until: Until
) -> None:
    def run(dsn: str, *names: str) -> None:
        command = [sys.executable, "-W", "error", "-c", REPORT, dsn, str(tmp_path / "spool")]
        processes = [subprocess.Popen([*command, name]) for name in names]
        assert [process.wait(60) for process in processes] == [0] * len(names)

    run(DEAD, "early 1", "early 2")
    run(database_url, "late 1", "late 2")
    with MonitoringClient(database_url, spool=tmp_path / "spool") as monitor:
        monitor.record_performance_metric("m", "gauge", 1)
        until(lambda: rows("SELECT count(*) FROM error_tracking") == [(120,)])

    for name in ("early 1", "early 2", "late 1", "late 2"):
        found = rows("SELECT error_message FROM error_tracking WHERE component = %s ORDER BY occurred_at", name)
        assert found == [(f"{name} {number}",) for number in range(30)]


def test_a_full_spool_goes_first_and_what_was_dropped_is_counted_in_the_database(
    line: Any, rows: Rows, tmp_path: Path
) -> None:
    losses = Losses()
    link = Link(line.dsn, "public")
    outbox = Outbox(link, Spool(tmp_path / "spool", most_bytes=256 * 1024), losses, most_facts=50)
    recorder = Recorder(Buffered(outbox, link, durable=False), losses, raise_errors=False)
    monitor = MonitoringClient(enabled=False)
    monitor._recorder = recorder
    taken = [number for number in range(1000) if monitor.record_error(None, "E", "low", f"{number:4} {'x' * 900}")]
    assert 150 < len(taken) < 1000
    assert not outbox.flush(0.1)

    line.open()
    assert outbox.flush(20)
    outbox.close(2)

    arrived = rows("SELECT left(error_message, 4)::integer FROM error_tracking ORDER BY id")
    assert arrived == [(number,) for number in taken]
    ((counted,),) = rows("SELECT sum(value) FROM performance_monitoring WHERE metric_name = 'automon_client_dropped'")
    assert counted == losses.count == 1000 - len(taken)


def test_without_a_usable_disk_facts_wait_in_memory(
    line: Any, rows: Rows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with MonitoringClient(line.dsn, spool=tmp_path / "file" / "spool") as monitor:
        say(monitor, "waits")
        assert not monitor.flush(0.3)
        line.open()
        assert monitor.flush(20)

    assert rows(SAID) == [("waits",)]
    assert "no facts can be kept on disk" in caplog.text
    assert monitor.dropped == 0


def test_a_spool_that_is_deleted_does_not_hold_up_what_comes_after(
    line: Any, rows: Rows, tmp_path: Path, until: Until
) -> None:
    spool = tmp_path / "spool"
    with MonitoringClient(line.dsn, spool=spool) as monitor:
        say(monitor, "deleted", durable=True)
        until(spool.exists)
        for found in tmp_path.glob("spool*"):
            found.unlink()
        say(monitor, "later")
        line.open()

        assert monitor.flush(20)
    assert ("later",) in rows(SAID)


def test_a_refused_fact_is_found_in_its_batch_counted_and_told(
    database_url: str, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    with MonitoringClient(database_url) as monitor:
        for number in range(20):
            say(monitor, number)
            if number % 10 == 5:
                monitor.heartbeat("never started", 1)
        assert monitor.flush()

        assert monitor.dropped == 2
    assert len(rows(SAID)) == 20
    assert "unknown_task" in caplog.text
    assert rows("SELECT value FROM performance_monitoring WHERE metric_name = 'automon_client_dropped'") == [(2,)]


def test_what_cannot_be_written_as_text_costs_nobody_else_a_fact(database_url: str, rows: Rows) -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"deeper": deep}
    with MonitoringClient(database_url) as monitor:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(50_000)  # as some applications do
        try:
            say(monitor, "deep", context=deep)
        finally:
            sys.setrecursionlimit(limit)
        say(monitor, "large", context={"page": "x" * 10_000_000})
        say(monitor, "odd", context={"number": 10**5000, "half": "\ud800"})
        say(monitor, "fine", context={"a": 1})
        assert monitor.flush()

    found: dict[str, object] = dict(rows("SELECT error_message, context FROM error_tracking"))
    assert found["fine"] == {"a": 1}
    assert found["large"] == {"left_out": "context has more than 256000 characters"}
    assert set(found) >= {"odd"}


def test_odd_names_wait_on_disk_too(database_url: str, rows: Rows, tmp_path: Path, until: Until) -> None:
    with MonitoringClient(DEAD, spool=tmp_path / "spool") as monitor:
        monitor.start_task("work", task_id="half a pair: \ud800")
        say(monitor, "fine", durable=True)
    with MonitoringClient(database_url, spool=tmp_path / "spool") as monitor:
        say(monitor, "next")
        until(lambda: rows(SAID) == [("fine",), ("next",)])

    assert rows("SELECT task_id FROM processing_metrics_running") == [("half a pair: ?",)]


@pytest.fixture
def role(database: psycopg.Connection[Any], database_url: str) -> Any:
    """A role of the application, with a password and no rights yet."""
    name = f"app_{os.urandom(4).hex()}"
    database.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'one'").format(sql.Identifier(name)))
    yield name
    database.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def test_facts_wait_until_the_role_has_the_right_to_record_them(
    role: str, database: psycopg.Connection[Any], postgres_server: PostgresUnderTest, rows: Rows, caplog: Any
) -> None:
    dsn = address(postgres_server, database, role, "one")
    with MonitoringClient(dsn) as monitor:
        say(monitor, "waits")
        assert not monitor.flush(0.5)
        assert "permission denied" in caplog.text
        database.execute(sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {}").format(sql.Identifier(role)))

        assert monitor.flush(20)
    assert rows(SAID) == [("waits",)]
    assert monitor.dropped == 0


def test_a_password_that_is_changed_is_asked_for_again(
    role: str, database: psycopg.Connection[Any], postgres_server: PostgresUnderTest, rows: Rows
) -> None:
    database.execute(sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {}").format(sql.Identifier(role)))
    passwords = ["one"]
    with MonitoringClient(lambda: address(postgres_server, database, role, passwords[-1])) as monitor:
        say(monitor, "before")
        assert monitor.flush()
        database.execute(sql.SQL("ALTER ROLE {} PASSWORD 'two'").format(sql.Identifier(role)))
        passwords.append("two")
        rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", role)
        say(monitor, "after")

        assert monitor.flush(20)
    assert rows(SAID) == [("before",), ("after",)]


def address(server: PostgresUnderTest, database: psycopg.Connection[Any], role: str, password: str) -> str:
    """By TCP, where the server asks for a password."""
    return make_conninfo(
        host="127.0.0.1", port=server.address.port, dbname=database.info.dbname, user=role, password=password
    )


def test_of_several_hosts_the_one_that_answers_is_used(line: Any, rows: Rows) -> None:
    line.open()
    port = psycopg.conninfo.conninfo_to_dict(line.dsn)["port"]
    hosts = make_conninfo(line.dsn, host="127.0.0.1,127.0.0.1", hostaddr="127.0.0.1,127.0.0.1", port=f"1,{port}")
    with MonitoringClient(hosts) as monitor:
        say(monitor, "fact")
        assert monitor.flush()

    assert rows(SAID) == [("fact",)]


def test_after_a_failover_the_host_that_can_be_written_to_is_used(
    own_postgres: PostgresUnderTest, memory_path: Path
) -> None:
    """The first host answers, and takes no facts, as a former primary."""
    with PgBouncer(
        own_postgres, memory_path / "pooler", each_connection="SET default_transaction_read_only = on"
    ) as standby:
        own = psycopg.conninfo.conninfo_to_dict(standby.url())
        ports = f"{standby.port},{own_postgres.address.port}"
        dsn = make_conninfo(standby.url(), host="127.0.0.1,127.0.0.1", port=ports, dbname=own["dbname"])
        with MonitoringClient(dsn) as monitor:
            say(monitor, "fact")
            assert monitor.flush(10)


def test_a_pooler_that_gives_each_transaction_another_connection_is_no_obstacle(
    own_postgres: PostgresUnderTest, memory_path: Path
) -> None:
    with PgBouncer(own_postgres, memory_path / "pooler", settings={"server_round_robin": 1}) as pooler:
        monitors = [MonitoringClient(pooler.url(), spool=False) for _ in range(4)]
        for number in range(20):
            for monitor in monitors:
                with monitor.task("work"):
                    say(monitor, number)
            assert monitors[number % 4].flush()
        for monitor in monitors:
            monitor.close()

        assert [monitor.dropped for monitor in monitors] == [0] * 4
        with psycopg.connect(own_postgres.url) as connection:
            assert connection.execute("SELECT count(*) FROM error_tracking").fetchone() == (80,)
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        with psycopg.connect(pooler.url()) as connection:  # what was set was for a transaction, not for who comes next
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


AHEAD = """
import os, sys
from monitoring_client import MonitoringClient
with MonitoringClient(spool=sys.argv[1]) as monitor:
    seconds = float(sys.argv[2])
    task_id = monitor.start_task("work")
    print(monitor.flush(seconds), flush=True)
    sys.stdin.readline()
    monitor.record_error(task_id, "E", "low", "in between", "c")
    monitor.complete_task(task_id)
    print(monitor.flush(seconds), monitor.dropped, flush=True)
"""


def run_ahead(clock: ShiftedClock, dsn: str, spool: Path, between: Callable[[], None]) -> list[str]:
    with subprocess.Popen(
        [sys.executable, "-c", AHEAD, spool, "0.1" if dsn == DEAD else "20"],
        env={**os.environ, **clock.environment(), "AUTOMON_DSN": dsn},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        first = process.stdout.readline().strip()
        between()
        process.stdin.write("go\n")
        process.stdin.close()
        return [first, process.stdout.readline().strip()]


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    clock = ShiftedClock(tmp_path / "clock")
    clock.shift(timedelta(hours=1))
    return clock


def assert_it_happened_now(rows: Rows) -> None:
    ((start, end),) = rows("SELECT start_time, end_time FROM processing_metrics WHERE status = 'completed'")
    ((between,),) = rows("SELECT occurred_at FROM error_tracking")
    now = datetime.now(timezone.utc)
    assert now - timedelta(minutes=1) < start <= between <= end < now


def test_a_clock_that_is_an_hour_ahead_is_corrected_the_same_way_from_start_to_end(
    clock: ShiftedClock, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    assert run_ahead(clock, database_url, tmp_path / "spool", lambda: None) == ["True", "True 0"]

    assert_it_happened_now(rows)


def test_a_clock_that_is_set_right_is_believed_again(
    clock: ShiftedClock, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    answers = run_ahead(clock, database_url, tmp_path / "spool", lambda: clock.shift(timedelta()))

    assert answers == ["True", "True 0"]
    ((between,),) = rows("SELECT occurred_at FROM error_tracking")
    assert abs(datetime.now(timezone.utc) - between) < timedelta(minutes=1)


def test_what_a_wrong_clock_has_dated_on_disk_is_not_lost_when_the_clock_was_set_right(
    clock: ShiftedClock, database_url: str, rows: Rows, tmp_path: Path, until: Until
) -> None:
    run_ahead(clock, DEAD, tmp_path / "spool", lambda: None)

    with MonitoringClient(database_url, spool=tmp_path / "spool") as monitor:
        say(monitor, "now", at=datetime(2026, 1, 1, tzinfo=timezone.utc))
        until(lambda: rows("SELECT count(*) FROM processing_metrics") == [(1,)])
        rows("DELETE FROM error_tracking WHERE error_message = 'now' RETURNING 1")
        assert monitor.dropped == 0
    assert_it_happened_now(rows)


def test_a_closed_client_leaves_no_thread_and_takes_nothing(database_url: str) -> None:
    before = set(threading.enumerate())
    monitor = MonitoringClient(database_url)
    say(monitor, "fact")
    monitor.close()

    assert not monitor.record_error(None, "E", "low", "late", "c")
    assert monitor.flush(0.5)
    assert set(threading.enumerate()) == before
    assert monitor.dropped == 1


def test_a_client_that_nobody_holds_any_more_delivers_what_it_has_taken(
    database_url: str, rows: Rows, until: Until
) -> None:
    before = set(threading.enumerate())
    say(MonitoringClient(database_url), "fact")

    until(lambda: rows(SAID) == [("fact",)])
    until(lambda: set(threading.enumerate()) == before)


def test_a_flush_covers_what_was_recorded_before_it_by_any_thread(database_url: str, rows: Rows) -> None:
    with MonitoringClient(database_url) as monitor:
        seen = []
        for number in range(100):
            say(monitor, number)
            assert monitor.flush()
            seen += rows("SELECT count(*) FROM error_tracking")

    assert seen == [(number + 1,) for number in range(100)]
