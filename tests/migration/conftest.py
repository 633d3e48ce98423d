"""Databases as released versions left them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.migration.released import RELEASED, install_with_data
from tests.support.postgres import PostgresUnderTest


@pytest.fixture(scope="session", params=RELEASED)
def released_template(
    request: pytest.FixtureRequest, postgres_server: PostgresUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name of a database of a released version with something in every table; it is only copied."""
    name = postgres_server.create_database()
    url = postgres_server.address.socket_url(name)
    install_with_data(url, request.param, tmp_path_factory.mktemp("released") / "sql")
    postgres_server.close_to_clients(name)
    return name


@pytest.fixture
def released_url(postgres_server: PostgresUnderTest, released_template: str) -> Iterator[str]:
    """The URL of a database of a released version, for this test alone."""
    name = postgres_server.create_database(released_template)
    yield postgres_server.address.socket_url(name)
    postgres_server.drop_database(name)
