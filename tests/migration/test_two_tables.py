"""The schema with `processing_metrics` as a view over two tables, as docs/scaling.md describes it for Citus and Timescale.

It is made of the schema's own files and of the SQL blocks of that page, each of which says which statement it replaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb

from automon.migrate import execute_script, manifest, marked_part, read_checked
from tests.support.calls import DAY, HOUR, MINUTE, Calls
from tests.support.markdown import ROOT, Page
from tests.support.postgres import PostgresUnderTest

HEAD = re.compile(r"^-- (?P<file>\S+\.sql), instead of: (?P<statement>.+)$", re.MULTILINE)
VIEWS = (
    "v_realtime_processing_status", "v_error_summary", "v_system_health_summary", "v_queue_performance", "v_performance_trends", "v_active_alerts",
)  # fmt: skip


def replacements() -> list[tuple[str, str, str]]:
    """Give each block of the page: the file, how the statements begin that it replaces, and its text."""
    blocks = [block.text for block in Page(ROOT / "docs/scaling.md").blocks if block.language == "sql"]
    heads = [HEAD.match(block) for block in blocks]
    assert all(heads)
    return [(head["file"], head["statement"], block) for head, block in zip(heads, blocks, strict=True) if head]


def with_two_tables(file: str, text: str) -> str:
    for where, begin, block in replacements():
        if where == file:
            text, count = re.subn(rf"^{re.escape(begin)}.*?;[^\n]*$", lambda _, block=block: block, text, flags=re.MULTILINE | re.DOTALL)  # type: ignore[misc]  # fmt: skip
            assert count == 1, f"{file} has {count} statements that begin with {begin}"
    return text


def install(connection: psycopg.Connection) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL search_path TO public")
        execute_script(connection, marked_part("ledger"))
        for file, checksum in manifest():
            execute_script(connection, with_two_tables(file, read_checked(file, checksum)))


@pytest.fixture(scope="module")
def two_tables(postgres_server: PostgresUnderTest) -> Iterator[str]:
    """The name of a database with the two tables that is only copied."""
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.address.socket_url(name), autocommit=True) as connection:
        install(connection)
    postgres_server.close_to_clients(name)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def calls(postgres_server: PostgresUnderTest, two_tables: str) -> Iterator[Calls]:
    name = postgres_server.create_database(two_tables)
    with psycopg.connect(
        postgres_server.address.socket_url(name), autocommit=True, options="-c search_path="
    ) as connection:
        yield Calls(connection)
    postgres_server.drop_database(name)


def test_every_block_of_the_page_replaces_a_statement_of_the_schema() -> None:
    files = dict(manifest())

    assert len(replacements()) == 9
    assert {file for file, _, _ in replacements()} <= files.keys()


def test_it_is_a_view_over_two_tables_with_the_columns_of_the_one_table(calls: Calls, connection: psycopg.Connection) -> None:  # fmt: skip
    kind = "SELECT relkind::text FROM pg_class WHERE oid = 'public.processing_metrics'::regclass"
    columns = """
        SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = 'public.processing_metrics'::regclass AND a.attnum > 0"""

    assert calls.one(kind) == "v"
    assert calls.one("SELECT count(*) FROM pg_inherits WHERE inhrelid = 'public.processing_metrics_history'::regclass") == 0  # fmt: skip
    assert calls.one(columns) == Calls(connection).one(columns)


def test_a_task_goes_the_whole_way(calls: Calls) -> None:
    assert calls("start_task_tracking", "t", "ocr", 1024, "w") is True
    assert calls("start_task_tracking", "t", "ocr") is False
    assert calls("record_task_heartbeat", "t", 50.0, "parse") is True
    running = calls.ask("SELECT task_id, status, progress FROM public.processing_metrics")
    assert calls("complete_task_tracking", "t", "completed", 2048) is True
    assert calls("complete_task_tracking", "t") is False
    ended = calls.ask("SELECT task_id, status, input_size, output_size FROM public.processing_metrics")

    assert running == [{"task_id": "t", "status": "running", "progress": 50.0}]
    assert ended == [{"task_id": "t", "status": "completed", "input_size": 1024, "output_size": 2048}]
    with pytest.raises(psycopg.errors.DatabaseError, match="unknown_task"):
        calls("complete_task_tracking", "nobody")


def test_a_replay_changes_nothing_and_makes_the_day_that_is_missing(calls: Calls) -> None:
    began = datetime.now(UTC) - 20 * DAY
    for _ in range(2):
        calls("start_task_tracking", "t", "ocr", p_at=began)
        calls("complete_task_tracking", "t", p_at=began + MINUTE)

    assert calls.ask("SELECT start_time, end_time FROM public.processing_metrics") == [
        {"start_time": began, "end_time": began + MINUTE}
    ]


def test_a_task_keeps_its_parent(calls: Calls) -> None:
    start = {"fact": "start", "task_id": "t", "task_type": "ocr", "at": "2024-05-14T12:00:00Z", "parent_task_id": "p"}
    end = {"fact": "end", "task_id": "t", "at": "2024-05-14T12:01:00Z"}

    assert calls("record_facts", Jsonb([start, end])) == {"stored": 2, "known": 0, "refused": []}
    assert calls.ask("SELECT status, parent_task_id FROM public.processing_metrics") == [
        {"status": "completed", "parent_task_id": "p"}
    ]


def test_checks_rollups_and_views_see_what_runs_and_what_has_ended(calls: Calls) -> None:
    now = datetime.now(UTC)
    calls("start_task_tracking", "stuck", "scan", p_at=now - 2 * HOUR)
    for number in range(20):
        calls("start_task_tracking", f"t{number}", "ocr", p_at=now - 2 * MINUTE)
        calls("complete_task_tracking", f"t{number}", "failed", p_at=now - MINUTE)
    calls("record_error", "t1", "timeout", "critical", "no answer", "ocr")
    calls("record_performance_metric", "wait", "gauge", 3.0)
    calls("update_queue_metrics", "mail", 700)
    calls("update_system_health", "api", "main", "healthy", 50)

    rolled = calls("roll_up")
    calls("run_monitoring_checks")
    rebuilt = calls("rebuild_rollups")

    assert (rolled["tasks"], rebuilt["tasks"]) == (20, 20)
    assert calls.one("SELECT sum(tasks) FROM public.task_hours") == 20
    alerts = calls.ask("SELECT alert_type, source FROM public.v_active_alerts")
    assert {("failure_rate", "ocr"), ("running_time", "scan")} <= {(a["alert_type"], a["source"]) for a in alerts}
    assert [row for view in VIEWS if not (row := calls.one(f"SELECT count(*) FROM public.{view}"))] == []
    [ocr] = calls.rows("get_task_statistics", "ocr")
    assert ocr["failed"] == 20
    assert calls("get_dashboard_summary")["tasks"]["running"] == 1


def test_days_are_made_ahead_and_dropped_when_they_have_passed_their_term(calls: Calls) -> None:
    past = datetime.now(UTC) - 40 * DAY
    calls("start_task_tracking", "old", "ocr", p_at=past)
    calls("complete_task_tracking", "old", p_at=past + MINUTE)
    calls("start_task_tracking", "new", "ocr")
    calls("complete_task_tracking", "new")

    assert calls("ensure_partitions", 12) > 0
    assert calls("ensure_partitions", 12) == 0
    removed = calls("cleanup_old_monitoring_data")

    assert removed["dropped_by_table"] == {"processing_metrics_history": 1}
    assert calls.one("SELECT string_agg(task_id, ',') FROM public.processing_metrics") == "new"
    assert calls.rows("storage_report")
