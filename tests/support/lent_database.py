"""A pytest plugin: `database_url` from a server that somebody else runs, for a Python that the service does not support.

Two variables say where: LENT_SERVER_URL, of a superuser, and LENT_TEMPLATE, the migrated database that is copied.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

_NUMBERS = itertools.count(1)


@pytest.fixture
def database_url() -> Iterator[str]:
    """The URL of a migrated database for this test alone."""
    server, template = os.environ["LENT_SERVER_URL"], os.environ["LENT_TEMPLATE"]
    name = f"lent_{os.getpid()}_{next(_NUMBERS)}"
    _tell(server, "CREATE DATABASE {} TEMPLATE {}", name, template)
    yield make_conninfo(server, dbname=name)
    _tell(server, "DROP DATABASE {} WITH (FORCE)", name)


def _tell(server: str, statement: str, *names: str) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
