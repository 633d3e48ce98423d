"""What the shared fixtures promise to every other test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import PostgresUnderTest, make_directory

_ROOT = Path(__file__).parents[2]
_DATABASES = "SELECT datname FROM pg_database WHERE datname = current_database()"


def _row(url: str, query: str) -> tuple[object, ...] | None:
    with psycopg.connect(url) as link:
        return link.execute(query.encode()).fetchone()


def test_an_empty_database_has_no_table(empty_database_url: str) -> None:
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert _row(empty_database_url, query) == (0,)


def test_a_database_is_migrated_and_another_one_for_each_test(database_url: str, empty_database_url: str) -> None:
    assert _row(database_url, "SELECT to_regclass('public.processing_metrics') IS NOT NULL") == (True,)
    assert _row(database_url, _DATABASES) != _row(empty_database_url, _DATABASES)


def test_the_connection_finds_nothing_by_an_unqualified_name(
    connection: psycopg.Connection[tuple[object, ...]],
) -> None:
    assert connection.execute("SELECT count(*) FROM public.alerts").fetchone() == (0,)
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT count(*) FROM alerts")


def test_databases_are_gone_after_their_test_even_when_somebody_is_connected(
    postgres_server: PostgresUnderTest,
) -> None:
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.address.socket_url(name)):
        postgres_server.drop_database(name)

    query = f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"
    assert _row(postgres_server.address.socket_url("postgres"), query) == (0,)


def test_an_own_server_is_migrated_and_may_be_killed_and_started(own_postgres: PostgresUnderTest) -> None:
    own_postgres.kill()
    own_postgres.start()

    assert _row(own_postgres.url, "SELECT count(*) FROM public.alerts") == (0,)


def test_what_a_killed_test_run_left_behind_is_removed_by_the_next(postgres_directory: Path) -> None:
    code = "import os; from tests.support.postgres import make_directory as make; print(make(), flush=True); os.abort()"
    killed = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()

    fresh = make_directory()

    assert not left.exists()
    assert postgres_directory.exists()
    assert str(os.getpid()) in fresh.name
    fresh.rmdir()
