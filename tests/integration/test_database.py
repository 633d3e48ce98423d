"""The pool: it needs no database to open, tells of each outage once, and knows an answer from a silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from automon.clock import SystemClock
from automon.database import Database, describe_url, is_pooled, parse_url
from automon.errors import AutomonError, DatabaseUnavailableError
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.waiting import wait_until

NOBODY_LISTENS = "postgresql://automon:s3cret@127.0.0.1:9/work"
CANCELLED = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(10)"


@pytest.fixture
def line(postgres_server: PostgresUnderTest) -> Iterator[TcpProxy]:
    with TcpProxy(postgres_server.address.port) as proxy:
        yield proxy


@pytest.fixture
def database(postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy) -> Iterator[Database]:
    """A pool whose every connection goes over the line."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    url = postgres_server.address.tcp_url(name).replace(f":{postgres_server.address.port}/", f":{line.port}/")
    database = Database(url, SystemClock(), size=3, patience=0.3)
    database.open()
    yield database
    line.allow()
    line.cut()
    database.close()


def ask(database: Database, query: str) -> Any:
    with database.connection() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def answers(database: Database) -> bool:
    try:
        return bool(ask(database, "SELECT 1") == 1)
    except DatabaseUnavailableError:
        return False


def test_it_opens_without_a_database_and_says_what_is_wrong_without_the_password() -> None:
    database = Database(NOBODY_LISTENS, SystemClock())
    database.open()

    with pytest.raises(DatabaseUnavailableError, match=r"work at 127\.0\.0\.1:9 as automon") as raised:
        database.probe()
    assert "Connection refused" in raised.value.message
    assert "s3cret" not in f"{raised.value} {database.description}"
    assert database.available
    database.close()


def test_an_outage_is_told_once_at_its_beginning_and_once_at_its_end(database: Database, line: TcpProxy) -> None:
    assert ask(database, "SELECT 1") == 1

    with capture_logs() as told:
        line.refuse()
        for _ in range(3):
            assert not answers(database)
        line.allow()
        wait_until(lambda: answers(database), seconds=15)

    assert database.available
    assert [(event["event"], event["log_level"]) for event in told] == [
        ("database_unavailable", "error"),
        ("database_available", "info"),
    ]
    assert told[1]["away_seconds"] >= 0


def test_connections_that_died_while_nobody_used_them_are_replaced_unseen(database: Database, line: TcpProxy) -> None:
    assert ask(database, "SELECT 1") == 1

    with capture_logs() as told:
        line.cut()
        assert ask(database, "SELECT 1") == 1

    assert told == []


def test_a_server_that_never_answers_is_noticed(database: Database, line: TcpProxy) -> None:
    def ask_a_server_that_falls_silent() -> None:
        with database.connection() as connection:
            connection.execute("SELECT 1")
            line.go_deaf()
            connection.execute("SELECT 2")

    with pytest.raises(DatabaseUnavailableError):
        ask_a_server_that_falls_silent()


def test_a_statement_that_takes_longer_than_our_patience_ends_with_its_connection(database: Database) -> None:
    with pytest.raises(DatabaseUnavailableError):
        ask(database, "SELECT pg_sleep(30)")


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        pytest.param(CANCELLED, psycopg.errors.QueryCanceled, id="as for a statement that took too long"),
        pytest.param("SELECT 1/0", psycopg.errors.DivisionByZero, id="error"),
    ],
)
def test_an_answer_that_is_an_error_is_no_outage(
    statement: str, error: type[psycopg.Error], database: Database
) -> None:
    with capture_logs() as told, pytest.raises(error):
        ask(database, statement)

    assert told == []
    assert database.available


def test_threads_wait_for_each_others_connections(database: Database) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(database, "SELECT pg_backend_pid()"))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(found) == 12
    assert len(set(found)) <= 3


def test_a_direct_connection_limits_its_statements_and_a_pooled_one_sets_nothing() -> None:
    direct = Database("postgresql://automon@db.example:5432/work", SystemClock())
    pooled = Database("postgresql://automon@db.example:6543/work", SystemClock())

    assert "statement_timeout=60s" in direct.conninfo
    assert "statement_timeout" not in pooled.conninfo
    assert (direct.pooled, pooled.pooled) == (False, True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a@h:6543/d", True),
        ("postgresql://a@h:6432/d", True),
        ("postgresql://a@aws-0-eu.pooler.supabase.com:5432/d", True),
        ("postgresql://a@h:5432/d", False),
    ],
)
def test_a_pooler_is_known_by_its_port_or_its_name(url: str, expected: bool) -> None:
    assert is_pooled(parse_url(url)) is expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ana:s3cret@db.example:5433/work", "work at db.example:5433 as ana"),
        ("host=/run/postgresql dbname=work user=ana password=s3cret", "work at socket /run/postgresql as ana"),
        ("postgresql://", "postgres at local socket:5432 as the current user"),
    ],
)
def test_a_url_is_described_without_its_password(url: str, words: str) -> None:
    assert describe_url(url) == words


def test_a_url_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(AutomonError, match="not one that PostgreSQL understands") as raised:
        parse_url("postgresql://ana:s3cret%zz@h/d")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__suppress_context__
