"""What every test may ask for: a database, empty or migrated, and servers to hurt."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from automon.migrate import migrate
from tests.support.postgres import PostgresUnderTest, copy_server, make_directory


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


@pytest.fixture
def database_url(postgres_server: PostgresUnderTest, template_database: str) -> Iterator[str]:
    """The URL of a migrated database for this test alone."""
    name = postgres_server.create_database(template_database)
    yield postgres_server.address.socket_url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def empty_database_url(postgres_server: PostgresUnderTest) -> Iterator[str]:
    """The URL of a database for this test alone with nothing in it."""
    name = postgres_server.create_database()
    yield postgres_server.address.socket_url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An autocommit connection to `database_url` that finds nothing by an unqualified name."""
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=") as link:
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
