"""Installing and upgrading: psql and `automon migrate` apply the same files through the same ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from automon import __version__
from automon.errors import DatabaseUnavailableError, MigrationError
from automon.migrate import ORCHESTRATOR, manifest, marked_part, migrate
from tests.migration.normalised import describe, everything
from tests.migration.released import RELEASED, copy_of_release
from tests.support.calls import Calls
from tests.support.psql import SQL_FOLDER, migrate_with_psql, psql, run_psql
from tests.support.sessions import connect

FILES = [file for file, _ in manifest()]


def described(url: str, schema: str = "public") -> list[str]:
    with connect(url, search_path="public") as connection:
        return everything(connection, schema)


def ledger(url: str, schema: str = "public") -> list[tuple[Any, ...]]:
    with connect(url, search_path="public") as connection:
        query = sql.SQL("SELECT file, checksum, applied_at FROM {}.monitoring_migrations ORDER BY file").format(
            sql.Identifier(schema)
        )
        return connection.execute(query).fetchall()


def test_psql_and_automon_migrate_make_the_same_schema(empty_database_url: str, database_url: str) -> None:
    migrate_with_psql(empty_database_url)

    assert described(database_url) == described(empty_database_url)


def test_automon_migrate_names_the_files_that_it_applied_in_their_order(empty_database_url: str) -> None:
    assert migrate(empty_database_url) == FILES


def test_automon_migrate_changes_nothing_after_psql(empty_database_url: str) -> None:
    migrate_with_psql(empty_database_url)
    before = described(empty_database_url), ledger(empty_database_url)

    assert migrate(empty_database_url) == []
    assert (described(empty_database_url), ledger(empty_database_url)) == before


def test_psql_changes_nothing_after_automon_migrate(empty_database_url: str) -> None:
    migrate(empty_database_url)
    before = described(empty_database_url), ledger(empty_database_url)

    migrate_with_psql(empty_database_url)

    assert (described(empty_database_url), ledger(empty_database_url)) == before


@pytest.mark.parametrize("schema", ["public", "monitoring"])
def test_a_second_run_changes_nothing(empty_database_url: str, schema: str) -> None:
    migrate(empty_database_url, schema=schema)
    migrate_with_psql(empty_database_url, schema=schema)
    before = described(empty_database_url, schema), ledger(empty_database_url, schema)

    migrate_with_psql(empty_database_url, schema=schema)

    assert migrate(empty_database_url, schema=schema) == []
    assert (described(empty_database_url, schema), ledger(empty_database_url, schema)) == before


@pytest.mark.parametrize("schema", ["public", "monitoring"])
def test_twenty_at_once_of_both_kinds_install_once(empty_database_url: str, schema: str) -> None:
    def run(number: int) -> list[str]:
        if number % 2:
            return migrate(empty_database_url, schema=schema)
        migrate_with_psql(empty_database_url, schema=schema)
        return []

    with ThreadPoolExecutor(20) as pool:
        applied = list(pool.map(run, range(20)))

    assert sum(map(bool, applied)) <= 1
    assert [file for file, _, _ in ledger(empty_database_url, schema)] == FILES


def test_the_manifest_names_every_schema_file_with_its_checksum() -> None:
    released = sorted(path for path in SQL_FOLDER.glob("0*.sql") if path.name != ORCHESTRATOR)

    assert [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in released] == manifest()


def test_the_orchestrator_refuses_what_is_newer_than_its_last_file() -> None:
    assert f"refuse_newer_schema('{FILES[-1]}')" in marked_part("files")


@pytest.mark.parametrize("with_psql", [True, False], ids=["psql", "automon migrate"])
def test_a_failing_file_leaves_nothing_behind(empty_database_url: str, *, with_psql: bool) -> None:
    with connect(empty_database_url, search_path="public") as connection:
        connection.execute("CREATE VIEW v_active_alerts AS SELECT 'of somebody else'::text AS said")

    if with_psql:
        assert run_psql(empty_database_url, "-f", str(SQL_FOLDER / ORCHESTRATOR)).returncode != 0
    else:
        with pytest.raises(MigrationError, match="the schema was not changed"):
            migrate(empty_database_url)

    with connect(empty_database_url, search_path="public") as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
        functions = connection.execute(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchone()
    assert (left, functions) == ([("v_active_alerts",)], (0,))


@pytest.fixture
def changed_file(empty_database_url: str) -> str:
    """A database in which the second file was another one when it was applied."""
    migrate(empty_database_url)
    with connect(empty_database_url, search_path="public") as connection:
        connection.execute("UPDATE monitoring_migrations SET checksum = repeat('0', 64) WHERE file = %s", [FILES[1]])
    return empty_database_url


def test_automon_migrate_refuses_a_file_that_was_changed_after_it_was_applied(changed_file: str) -> None:
    with pytest.raises(MigrationError) as refused:
        migrate(changed_file)

    assert (
        refused.value.message
        == f"the schema was not changed: changed_migration: {FILES[1]} differs from the file of that name that was applied here"
    )
    assert (
        refused.value.hint
        == "Restore the released file; a change to the schema belongs in a new file with the next number."
    )
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate == "AM010"


def test_psql_refuses_a_file_that_was_changed_after_it_was_applied(changed_file: str) -> None:
    refused = run_psql(changed_file, "-v", "VERBOSITY=verbose", "-f", str(SQL_FOLDER / ORCHESTRATOR))

    assert refused.returncode != 0
    assert f"AM010: changed_migration: {FILES[1]} differs" in refused.stderr


@pytest.fixture
def newer_schema(empty_database_url: str) -> str:
    """A database that an automon of a later time has migrated."""
    migrate(empty_database_url)
    with connect(empty_database_url, search_path="public") as connection:
        connection.execute(
            "INSERT INTO monitoring_migrations (file, checksum, version) VALUES ('990_of_tomorrow.sql', repeat('9', 64), '9.9.0')"
        )
    return empty_database_url


def test_automon_migrate_refuses_a_newer_schema_and_names_both_versions(newer_schema: str) -> None:
    with pytest.raises(MigrationError) as refused:
        migrate(newer_schema)

    said = f"newer_schema: the database is at 990_of_tomorrow.sql (automon 9.9.0), this automon ({__version__}) knows the schema up to {FILES[-1]}"
    assert refused.value.message == f"the schema was not changed: {said}"
    assert refused.value.hint == "Upgrade automon on this machine; an older automon must not work on a newer schema."
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate == "AM011"


def test_psql_refuses_a_newer_schema_and_names_both_versions(newer_schema: str) -> None:
    refused = run_psql(newer_schema, "-v", "VERBOSITY=verbose", "-f", str(SQL_FOLDER / ORCHESTRATOR))

    assert refused.returncode != 0
    said = f"the database is at 990_of_tomorrow.sql (automon 9.9.0), this automon ({__version__}) knows the schema up to {FILES[-1]}"
    assert f"AM011: newer_schema: {said}" in refused.stderr


def test_a_released_automon_refuses_the_schema_of_this_one(database_url: str, tmp_path: Path) -> None:
    for version in RELEASED:
        with pytest.raises(MigrationError, match="newer_schema: the database is at"):
            migrate(database_url, folder=copy_of_release(version, tmp_path / version))


def test_the_ledger_names_the_version_that_applied_a_file(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        versions = connection.execute("SELECT DISTINCT version FROM monitoring_migrations").fetchall()

    assert versions == [(__version__,)]
    assert f"SET LOCAL automon.version = '{__version__}';" in marked_part("files")


def test_a_database_that_does_not_answer_is_said_to_be_unavailable(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="no connection to the database"):
        migrate(make_conninfo(database_url, dbname="is_not_there"))


@pytest.mark.parametrize("schema", ["public", "monitoring"])
def test_the_files_can_be_run_again_in_their_order_and_change_nothing(empty_database_url: str, schema: str) -> None:
    migrate(empty_database_url, schema=schema)
    before = described(empty_database_url, schema)

    for file in FILES:
        psql(empty_database_url, "-f", str(SQL_FOLDER / file), search_path=schema)

    assert described(empty_database_url, schema) == before


def test_a_file_that_is_run_again_keeps_the_facts_and_the_settings(database_url: str) -> None:
    with connect(database_url, search_path="public") as connection:
        calls = Calls(connection)
        calls("start_task_tracking", "kept", "ocr")
        calls("set_setting", "retention.queue_days", 3)
        calls("set_threshold", "error_rate", "*", 1, 2, 3, 4)

        for file in FILES:
            psql(database_url, "-f", str(SQL_FOLDER / file), search_path="public")

        assert calls.one("SELECT task_id FROM public.processing_metrics") == "kept"
        assert calls("setting", "retention.queue_days") == 3
        assert calls.one("SELECT low FROM public.monitoring_thresholds WHERE alert_type = 'error_rate'") == 1


@pytest.mark.parametrize("schema", ["monitoring", "Größe 1"])
def test_a_schema_may_have_a_name_that_needs_quotes(empty_database_url: str, schema: str) -> None:
    migrate(empty_database_url, schema=schema)
    migrate_with_psql(empty_database_url, schema=schema)

    with connect(empty_database_url) as connection:
        calls = Calls(connection, schema)
        assert calls("start_task_tracking", "t", "ocr") is True
        assert calls("complete_task_tracking", "t", "completed", p_at=datetime.now(UTC)) is True
        assert calls("run_monitoring_checks") == 0
        assert calls("get_dashboard_summary")["tasks"]["completed_last_hour"] == 1


@pytest.mark.parametrize("schema", ["it's", "50%s", 'a"b', "a$body$b", "a\\b"])
def test_a_name_that_could_be_taken_for_code_is_refused(empty_database_url: str, schema: str) -> None:
    with pytest.raises(MigrationError, match="invalid_name: the schema"):
        migrate(empty_database_url, schema=schema)

    with connect(empty_database_url, search_path="public") as connection:
        assert connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", [schema]).fetchone() == (True,)


def test_a_schema_of_its_own_has_what_public_has(empty_database_url: str) -> None:
    migrate_with_psql(empty_database_url)
    migrate_with_psql(empty_database_url, schema="monitoring")

    with connect(empty_database_url, search_path="public") as connection:
        assert describe(connection, "monitoring") == describe(connection, "public")


@pytest.fixture
def side_by_side(empty_database_url: str) -> Iterator[tuple[Calls, Calls]]:
    migrate(empty_database_url)
    migrate(empty_database_url, schema="monitoring")
    with connect(empty_database_url) as connection:
        yield Calls(connection), Calls(connection, "monitoring")


def test_the_functions_of_one_schema_never_name_another(side_by_side: tuple[Calls, Calls]) -> None:
    in_public, _ = side_by_side
    definitions = "SELECT string_agg(pg_get_functiondef(p.oid), '') FROM pg_proc p WHERE p.pronamespace = %s::regnamespace AND p.prokind = 'f' AND p.proname <> 'bind_functions_to_schema'"

    assert "public." not in in_public.one(definitions, "monitoring")
    assert "monitoring." not in in_public.one(definitions, "public")


def test_the_functions_of_one_schema_touch_only_its_tables(side_by_side: tuple[Calls, Calls]) -> None:
    in_public, in_monitoring = side_by_side
    in_monitoring("start_task_tracking", "t", "ocr", p_at=datetime(2024, 1, 1, tzinfo=UTC))
    in_monitoring("record_error", "t", "timeout", "critical", "no answer", "api")
    in_monitoring("update_queue_metrics", "mail", 1000)
    in_monitoring("update_system_health", "api", "main", "unhealthy")
    in_monitoring("record_performance_metric", "seconds", "gauge", 1.0)
    in_monitoring("record_host_sample", "host-1", {"cpu_percent": 1, "disks": [{"mount": "/", "percent": 99}]})
    in_monitoring("sync_configuration", {"thresholds": [], "settings": {}, "channels": []})
    in_monitoring("set_threshold", "queue_backlog", "*", 1, 2, 3, 4)

    assert in_monitoring("run_monitoring_checks") == 1
    assert in_monitoring("complete_task_tracking", "t", "failed") is True
    assert {row["n"] for row in in_public.ask(ROWS)} == {0}
    assert in_public.one("SELECT count(*) FROM public.monitoring_thresholds") == 14


ROWS = " UNION ALL ".join(
    f"SELECT count(*) AS n FROM public.{table}"
    for table in (
        "processing_metrics",
        "error_tracking",
        "performance_monitoring",
        "system_health",
        "queue_monitoring",
        "host_metrics",
        "alerts",
        "monitored_sources",
    )
)


def test_functions_of_others_in_the_same_schema_are_left_alone(empty_database_url: str) -> None:
    foreign = "CREATE FUNCTION app.total() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM public.orders); END'"
    with connect(empty_database_url, search_path="public") as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute("CREATE TABLE public.orders (id bigint)")
        connection.execute(foreign)
        connection.execute("COMMENT ON FUNCTION app.total() IS 'How many orders there are.'")

        migrate(empty_database_url, schema="app")

        assert connection.execute("SELECT app.total()").fetchone() == (0,)
        assert connection.execute("SELECT has_function_privilege('public', 'app.total()', 'EXECUTE')").fetchone() == (
            True,
        )
