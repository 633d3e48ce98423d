"""What every test may ask for: a database, empty or migrated, and servers to hurt."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from automon.migrate import migrate
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest, copy_server, make_directory
from tests.support.sessions import THROUGH_POOLER, connect

# The next transaction of a session goes to another connection whenever there is one.
UNFORGIVING = {"server_round_robin": 1, "ignore_startup_parameters": "options", "max_client_conn": 1000}
LOGGERS = ("", "apscheduler", "apscheduler.executors", "apscheduler.scheduler", "psycopg.pool", "urllib3", "apprise")
EMPTY_PATH = "SET search_path = ''"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let tests that share something expensive run in one worker."""
    from tests.support.sharing import SharingScheduling

    return SharingScheduling(config, log)


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no client of a test keep facts where those of this machine's user are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put back what a test changes for the whole process: a command that is called within it silences the log."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    hooks = sys.excepthook, threading.excepthook
    yield
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def postgres_directory() -> Iterator[Path]:
    """A directory in memory for servers; gone after the run."""
    directory = make_directory()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def pristine_postgres(postgres_directory: Path) -> Path:
    """The directory of a stopped server with nothing in its database, to be copied."""
    directory = postgres_directory / "pristine"
    with PostgresUnderTest(directory):
        pass
    return directory


@pytest.fixture(scope="session")
def migrated_postgres(postgres_directory: Path, pristine_postgres: Path) -> Path:
    """The directory of a stopped server whose database automon is migrated, to be copied."""
    directory = copy_server(pristine_postgres, postgres_directory / "migrated")
    with PostgresUnderTest(directory) as server:
        migrate(server.url)
    return directory


@pytest.fixture(scope="session")
def postgres_server(postgres_directory: Path, pristine_postgres: Path) -> Iterator[PostgresUnderTest]:
    """The server that all tests of this process share; not to be stopped."""
    with PostgresUnderTest(copy_server(pristine_postgres, postgres_directory / "shared")) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: PostgresUnderTest) -> str:
    """The name of a migrated database that is only copied."""
    name = postgres_server.create_database()
    migrate(postgres_server.address.socket_url(name))
    postgres_server.close_to_clients(name)
    return name


@pytest.fixture(scope="session")
def url_of(postgres_server: PostgresUnderTest, postgres_directory: Path) -> Iterator[Callable[[str], str]]:
    """The way to a database of the shared server: straight, or through a pooler when AUTOMON_TEST_POOLER says so."""
    if not THROUGH_POOLER:
        yield postgres_server.address.socket_url
        return
    with PgBouncer(
        postgres_server, postgres_directory / "pooler", pool_size=20, settings=UNFORGIVING, each_connection=EMPTY_PATH
    ) as pooler:
        yield pooler.url


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest,
    postgres_server: PostgresUnderTest,
    template_database: str,
    url_of: Callable[[str], str],
) -> Iterator[str]:
    """The URL of a migrated database for this test alone."""
    needs_session = request.node.get_closest_marker("session")
    if THROUGH_POOLER and needs_session is not None:
        pytest.skip(f"a pooler in transaction mode does not keep {needs_session.args[0]}")
    name = postgres_server.create_database(template_database)
    url = url_of(name)
    if THROUGH_POOLER:
        have_connections(url, 3)
    yield url
    postgres_server.drop_database(name)


def have_connections(url: str, count: int) -> None:
    """Make a pooler connect so many times to a database: as often as there are transactions at once."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(psycopg.connect(url)).execute("SELECT 1")


@pytest.fixture
def empty_database_url(postgres_server: PostgresUnderTest) -> Iterator[str]:
    """The URL of a database for this test alone with nothing in it."""
    name = postgres_server.create_database()
    yield postgres_server.address.socket_url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An autocommit connection to `database_url` that finds nothing by an unqualified name."""
    with connect(database_url) as link:
        yield link


@pytest.fixture
def memory_path(postgres_directory: Path) -> Iterator[Path]:
    """An empty directory for this test alone, in memory, which disks of test machines are too slow for."""
    directory = Path(tempfile.mkdtemp(dir=postgres_directory))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def own_postgres(memory_path: Path, migrated_postgres: Path) -> Iterator[PostgresUnderTest]:
    """A running server for this test alone, to stop, start and kill; its database automon is migrated."""
    with PostgresUnderTest(copy_server(migrated_postgres, memory_path / "server")) as server:
        yield server
