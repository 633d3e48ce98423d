"""The pooler that the fault tests rely on is one: what belongs to a session does not stay with its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.waiting import wait_until

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[..., Connection]

TIMEOUT = "SELECT current_setting('lock_timeout')"


@pytest.fixture
def database(postgres_server: PostgresUnderTest) -> Iterator[str]:
    name = postgres_server.create_database()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def pooler(postgres_server: PostgresUnderTest, memory_path: Path, database: str) -> Iterator[PgBouncer]:
    """With a single connection to the server."""
    with PgBouncer(postgres_server, memory_path / "pgbouncer", pool_size=1) as pooler:
        yield pooler


@pytest.fixture
def connect(pooler: PgBouncer, database: str) -> Iterator[Connect]:
    """Connect through the pooler, in autocommit mode, preparing nothing."""
    with ExitStack() as stack:

        def connect(**options: Any) -> Connection:
            defaults: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
            return stack.enter_context(psycopg.connect(pooler.url(database), **(defaults | options)))

        yield connect


def one(link: Connection, query: str) -> Any:
    [value] = link.execute(query.encode()).fetchone() or [None]
    return value


def waiting(console: Connection) -> list[int]:
    """Return how many clients wait for a connection, one number for each pool."""
    cursor = console.execute("SHOW POOLS")
    assert cursor.description is not None
    column = [column.name for column in cursor.description].index("cl_waiting")
    return [row[column] for row in cursor]


def test_two_clients_share_one_connection_of_the_server(connect: Connect) -> None:
    first, second = connect(), connect()
    backend = "SELECT pg_backend_pid()"

    assert one(first, backend) == one(second, backend) == one(first, backend)


def test_a_client_waits_while_another_is_in_a_transaction(pooler: PgBouncer, connect: Connect) -> None:
    first, second = connect(), connect()
    with ThreadPoolExecutor() as threads, psycopg.connect(pooler.url("pgbouncer"), autocommit=True) as console:
        with first.transaction():
            first.execute("SELECT 1")
            answer = threads.submit(one, second, "SELECT 2")
            wait_until(lambda: 1 in waiting(console), what="a client that waits for a connection")
            assert not answer.done()

        assert answer.result(10) == 2
        assert 1 not in waiting(console)


def test_a_setting_of_one_client_leaks_to_another_and_one_of_a_transaction_does_not(connect: Connect) -> None:
    first, second = connect(), connect()
    assert one(second, TIMEOUT) == "0"

    first.execute("SET lock_timeout = '7s'")
    assert one(second, TIMEOUT) == "7s"

    with first.transaction():
        first.execute("SET LOCAL lock_timeout = '9s'")
        assert one(first, TIMEOUT) == "9s"
    assert one(second, TIMEOUT) == "7s"


def test_a_statement_that_one_client_prepared_is_in_the_way_of_another(connect: Connect) -> None:
    first, second = connect(prepare_threshold=0), connect(prepare_threshold=0)
    first.execute("SELECT %s::int", [1])

    with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
        second.execute("SELECT %s::int", [2])


def test_a_client_that_listens_hears_nothing(
    postgres_server: PostgresUnderTest, database: str, connect: Connect
) -> None:
    pooled = connect()
    pooled.execute("LISTEN news")
    with psycopg.connect(postgres_server.address.socket_url(database), autocommit=True) as direct:
        direct.execute("LISTEN news")
        direct.execute("NOTIFY news, 'heard'")
        assert [notice.payload for notice in direct.notifies(timeout=10, stop_after=1)] == ["heard"]

    assert list(pooled.notifies(timeout=0.5, stop_after=1)) == []


def test_startup_options_are_refused(connect: Connect) -> None:
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
        connect(options="-c statement_timeout=60s")


def test_a_wrong_password_is_refused(pooler: PgBouncer, database: str) -> None:
    wrong = pooler.url(database).replace("automon:", "automon:Wr0ng")
    with pytest.raises(psycopg.OperationalError, match="auth"):
        psycopg.connect(wrong)


def test_it_ends_with_its_block_and_listens_on_the_loopback_only(
    postgres_server: PostgresUnderTest, database: str, memory_path: Path
) -> None:
    with PgBouncer(postgres_server, memory_path / "another") as pooler:
        assert f"listening on 127.0.0.1:{pooler.port}" in pooler.log
        assert pooler.log.count("listening on") == 1

    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        psycopg.connect(pooler.url(database))
