"""`automon migrate --dry-run`: what would be done is done, measured, and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automon.errors import DatabaseUnavailableError, MigrationError
from automon.migrate import manifest, migrate, rehearse
from automon.table_locks import TableLock, group_by_table
from tests.migration.released import copy_with
from tests.migration.test_upgrade import LOCKS_ALL_FACTS, TO_COME, state_of
from tests.support.service import make_config, run_automon, write_config

FILES = [file for file, _ in manifest()]


def objects_in(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT 'c' || relname FROM pg_class WHERE relnamespace >= 16384 OR relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'f' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'n' || nspname FROM pg_namespace UNION ALL SELECT 'r' || rolname FROM pg_roles"
        ).fetchall()


@pytest.mark.parametrize("schema", ["public", "monitoring"])
def test_a_rehearsed_installation_applies_every_file_and_leaves_nothing(empty_database_url: str, schema: str) -> None:
    before = objects_in(empty_database_url)

    found = rehearse(empty_database_url, schema=schema)

    assert (found.from_file, found.to_file, found.files) == (None, FILES[-1], tuple(FILES))
    assert found.locks == ()
    assert sorted(objects_in(empty_database_url)) == sorted(before)


def test_a_rehearsed_upgrade_says_what_it_locks_and_changes_nothing(released_url: str, tmp_path: Path) -> None:
    folder = copy_with(TO_COME, LOCKS_ALL_FACTS, tmp_path / "sql")
    before = state_of(released_url)
    known = len(before[1]["monitoring_migrations"])

    found = rehearse(released_url, folder=folder)

    assert (found.from_file, found.to_file) == (FILES[known - 1], TO_COME)
    assert found.files == (*FILES[known:], TO_COME)
    assert found.seconds > 0
    locked = {lock.table: lock for lock in found.locks if lock.mode == "AccessExclusiveLock"}
    assert {"processing_metrics", "error_tracking", "performance_monitoring"} <= locked.keys()
    assert locked["error_tracking"].relations == relations_of(released_url, "error_tracking")
    assert locked["error_tracking"].means == "readers and writers wait"
    assert state_of(released_url) == before
    assert migrate(released_url, folder=folder) == list(found.files)


def relations_of(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_partition_tree(%s::regclass)", [table]).fetchone()
    assert row is not None
    return int(row[0])


def test_tables_without_a_row_are_not_named(database_url: str, tmp_path: Path) -> None:
    folder = copy_with(TO_COME, LOCKS_ALL_FACTS, tmp_path / "sql")

    tables = {lock.table for lock in rehearse(database_url, folder=folder).locks}

    assert tables & {"processing_metrics", "error_tracking", "performance_monitoring"} == set()


def test_what_would_fail_fails(database_url: str, tmp_path: Path) -> None:
    folder = copy_with(TO_COME, "ALTER TABLE alerts ADD COLUMN source text;", tmp_path / "sql")
    before = state_of(database_url)

    with pytest.raises(MigrationError, match='column "source" of relation "alerts" already exists'):
        rehearse(database_url, folder=folder)

    assert state_of(database_url) == before


def test_a_rehearsal_gives_way_to_others_as_an_upgrade_does(database_url: str, tmp_path: Path) -> None:
    folder = copy_with(TO_COME, LOCKS_ALL_FACTS, tmp_path / "sql")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM processing_metrics")

        with pytest.raises(DatabaseUnavailableError, match="its tables were in use"):
            rehearse(database_url, folder=folder, patience=0)


def test_the_strongest_lock_of_a_table_and_its_partitions_is_told_once() -> None:
    roots = {1: "errors", 2: "errors", 3: "alerts"}
    held = [
        (1, "ShareUpdateExclusiveLock"),
        (2, "ShareLock"),
        (1, "AccessExclusiveLock"),
        (3, "ShareLock"),
        (9, "ShareLock"),
    ]

    assert group_by_table(roots, held) == (
        TableLock(table="errors", relations=2, mode="AccessExclusiveLock"),
        TableLock(table="alerts", relations=1, mode="ShareLock"),
    )


# The command ---------------------------------------------------------------------------------------------------------


def test_the_command_says_it_in_words_and_as_json(tmp_path: Path, released_url: str) -> None:
    write_config(tmp_path, make_config())
    environment = {"DATABASE_URL": released_url}
    before = state_of(released_url)
    newest = before[1]["monitoring_migrations"][-1]["file"]

    words = run_automon(tmp_path, "migrate", "--dry-run", environment=environment)
    document = run_automon(tmp_path, "migrate", "--dry-run", "--json", environment=environment)

    assert (words.returncode, document.returncode) == (0, 0)
    assert "dry run, nothing was changed" in words.stdout
    assert f"from   {newest}\nto     {FILES[-1]}\n" in words.stdout
    assert "AccessExclusiveLock on monitoring_migrations: readers and writers wait" in words.stdout
    assert "were held for a moment" in words.stdout
    told = json.loads(document.stdout)
    assert (told["schema_version"], told["from_file"], told["to_file"]) == (1, newest, FILES[-1])
    assert {"table": "monitoring_migrations", "relations": 1, "mode": "AccessExclusiveLock"} in told["locks"]
    assert state_of(released_url) == before


def test_the_command_has_nothing_to_say_of_a_schema_that_is_up_to_date(tmp_path: Path, database_url: str) -> None:
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "migrate", "--dry-run", environment={"DATABASE_URL": database_url})

    assert done.returncode == 0
    assert "nothing to do, the schema is up to date" in done.stdout


def test_json_is_for_a_dry_run_only(tmp_path: Path) -> None:
    done = run_automon(tmp_path, "migrate", "--json")

    assert done.returncode == 64
    assert "--json goes with --dry-run" in done.stderr
