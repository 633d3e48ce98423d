"""People and dashboards read from a streaming replica: every view and function that reads, and the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automon.clock import SystemClock
from automon.database import Database
from automon.store import Store
from tests.support.calls import JOURNAL, Calls, channel
from tests.support.postgres import PostgresUnderTest
from tests.support.replica import catch_up, primary_and_replica
from tests.support.service import make_config, run_automon, write_config
from tests.support.waiting import wait_until

# One pair of servers for all of them.
Servers = tuple[PostgresUnderTest, PostgresUnderTest]

READS = (
    "SELECT get_dashboard_summary()",
    "SELECT * FROM get_task_statistics()",
    "SELECT * FROM get_task_statistics('ocr', '2 days')",
    "SELECT * FROM evaluate_all()",
    "SELECT * FROM evaluate_automon()",
    "SELECT get_automon_health()",
    "SELECT * FROM storage_report()",
    "SELECT * FROM expired_partitions()",
    "SELECT * FROM rollup_lag()",
    "SELECT * FROM tasks_between(now() - interval '2 days', now())",
    "SELECT * FROM errors_between(now() - interval '2 days', now())",
    "SELECT * FROM metrics_since(now() - interval '2 days')",
    "SELECT * FROM get_deliveries()",
    "SELECT get_alert_story(id) FROM alerts",
    "SELECT evidence_for(alert_type, source, now()) FROM alerts",
    "SELECT * FROM processing_metrics ORDER BY start_time DESC LIMIT 50",
)
FACTS = (
    "SELECT start_task_tracking('running', 'ocr', p_at => now() - interval '2 hours')",
    "SELECT count(start_task_tracking('t' || n, 'ocr', 1, 'w') AND complete_task_tracking('t' || n, 'failed')) FROM generate_series(1, 40) n",
    "SELECT count(record_error('t' || n, 'timeout', 'critical', 'no answer in 3 s', 'ocr')) FROM generate_series(1, 40) n",
    "SELECT record_performance_metric('wait', 'gauge', 3, 's', 'ocr')",
    "SELECT update_system_health('api', 'main', 'unhealthy', 50)",
    "SELECT update_queue_metrics('mail', 700)",
    """SELECT record_host_sample('host-1', '{"cpu_percent": 20, "memory_percent": 99, "disks": []}', now())""",
    "SELECT run_monitoring_checks()",
    # Behind the last look of the rollups, so that readers have facts to add to them.
    "SELECT record_error('late', 'timeout', 'low', 'no answer', 'ocr')",
    "SELECT finish_job_run(begin_job_run('alert_checks', 'host-1:1'), 'succeeded')",
)


@pytest.fixture(scope="module")
def servers(postgres_directory: Path, migrated_postgres: Path) -> Iterator[Servers]:
    with primary_and_replica(migrated_postgres, postgres_directory / "replication") as (primary, replica):
        with psycopg.connect(primary.url, autocommit=True) as connection:
            Calls(connection).configure(channels=[channel(), JOURNAL])
            for statement in FACTS:
                connection.execute(statement.encode())
        catch_up(primary.url, replica.url)
        yield primary, replica


@pytest.fixture
def on_replica(servers: Servers) -> Iterator[Calls]:
    with psycopg.connect(servers[1].url, autocommit=True, options="-c search_path=public") as connection:
        yield Calls(connection)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path, make_config())
    return tmp_path


def environment(servers: Servers) -> dict[str, str]:
    primary, replica = servers
    return {"DATABASE_URL": primary.url, "AUTOMON_READER_URL": replica.url}


def test_the_replica_is_one(on_replica: Calls) -> None:
    assert on_replica.one("SELECT pg_is_in_recovery()") is True
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        on_replica("start_task_tracking", "t", "ocr")


@pytest.mark.parametrize("query", READS)
def test_what_reads_answers_on_a_replica_what_it_answers_on_the_primary(
    query: str, servers: Servers, on_replica: Calls
) -> None:
    with psycopg.connect(servers[0].url, autocommit=True) as connection:
        expected = len(connection.execute(query.encode()).fetchall())

    found = len(on_replica.ask(query))

    assert found == expected
    assert found > 0 or "expired" in query


def test_every_view_can_be_read_on_a_replica(on_replica: Calls) -> None:
    views = on_replica.ask("SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1")

    read = {view["viewname"]: len(on_replica.ask(f"SELECT * FROM {view['viewname']}")) for view in views}

    assert {"v_realtime_processing_status", "v_error_summary", "v_active_alerts"} <= read.keys()
    assert read["v_active_alerts"] > 0
    assert read["v_error_summary"] == 1


def test_status_reads_from_the_replica_and_says_so(folder: Path, servers: Servers) -> None:
    done = run_automon(folder, "status", environment=environment(servers))

    assert done.returncode == 2, done.stderr
    assert "REPLICA    0s behind" in done.stdout
    assert done.stderr == ""


def test_status_reads_from_the_primary_when_told_to(folder: Path, servers: Servers) -> None:
    asked = run_automon(folder, "status", "--primary", environment=environment(servers))
    named = run_automon(folder, "status", "--database-url", servers[0].url, environment=environment(servers))

    assert (asked.returncode, named.returncode) == (2, 2)
    assert "REPLICA" not in asked.stdout + named.stdout


@pytest.mark.parametrize("command", ["alerts", "deliveries", "channels", "explain 1"])
def test_the_other_commands_that_read_take_the_replica(command: str, folder: Path, servers: Servers) -> None:
    [_, replica] = servers
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x", "AUTOMON_READER_URL": replica.url}

    done = run_automon(folder, *command.split(), "--json", environment=away)

    assert json.loads(done.stdout)["schema_version"] == 1
    assert "database" not in done.stderr


def test_a_command_that_writes_takes_the_primary(folder: Path, servers: Servers, on_replica: Calls) -> None:
    number = on_replica.one("SELECT min(id) FROM v_active_alerts")

    done = run_automon(folder, "ack", str(number), environment=environment(servers))

    assert done.returncode == 0, done.stderr


def test_a_command_that_writes_says_what_is_wrong_with_a_replica(folder: Path, servers: Servers) -> None:
    done = run_automon(folder, "silence", "mail", "1h", "--database-url", servers[1].url)

    assert done.returncode == 1
    assert "name the database that it follows" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replica_that_is_away_is_named_with_the_way_around_it(folder: Path, servers: Servers) -> None:
    away = {"DATABASE_URL": servers[0].url, "AUTOMON_READER_URL": "postgresql://reader@127.0.0.1:1/x"}

    done = run_automon(folder, "status", environment=away)

    assert done.returncode == 4
    assert "x at 127.0.0.1:1 as reader" in done.stderr
    assert "This is the replica of database.reader_url." in done.stderr
    assert "add --primary" in done.stderr
    assert run_automon(folder, "status", "--primary", environment=away).returncode == 2


def test_a_replica_that_stands_still_says_how_old_it_is(servers: Servers, on_replica: Calls) -> None:
    [primary, replica] = servers
    database = Database(replica.url, SystemClock(), size=1)
    database.open()
    try:
        store = Store(database)
        wait_until(lambda: _behind(store) == timedelta(0), what="a replica that has caught up")
        on_replica.ask("SELECT pg_wal_replay_pause()")
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("SELECT record_error('t', 'timeout', 'low', 'no answer', 'ocr')")
        wait_until(lambda: _behind(store) > timedelta(0), what="the replica's falling behind")
    finally:
        on_replica.ask("SELECT pg_wal_replay_resume()")
        database.close()

    catch_up(primary.url, replica.url)


def _behind(store: Store) -> Any:
    replica = store.replica()
    assert replica is not None
    return replica.behind


def test_a_primary_is_no_replica(database_url: str) -> None:
    database = Database(database_url, SystemClock(), size=1)
    database.open()
    try:
        assert Store(database).replica() is None
    finally:
        database.close()
