"""What the tests of the integrations share: a database and a Valkey for all tests of a file, and the examples."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.markdown import ROOT
from tests.support.postgres import PostgresUnderTest
from tests.support.valkey import Valkey

Ask = Callable[[str], list[tuple[Any, ...]]]
RunExample = Callable[..., None]


@pytest.fixture(scope="module")
def shared_database_url(
    postgres_server: PostgresUnderTest, template_database: str, url_of: Callable[[str], str]
) -> Iterator[str]:
    """The URL of a migrated database for the tests of this file."""
    name = postgres_server.create_database(template_database)
    yield url_of(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def ask(shared_database_url: str) -> Iterator[Ask]:
    """Look into the database that the tests of this file share."""
    with psycopg.connect(shared_database_url, autocommit=True) as link:
        yield lambda query: link.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def valkey(postgres_directory: Path) -> Iterator[Path]:
    """The socket of a Valkey for the tests of this file."""
    with Valkey(Path(tempfile.mkdtemp(dir=postgres_directory))) as socket:
        yield socket


@pytest.fixture
def run_example(database_url: str) -> RunExample:
    """Run a program of `examples/` to its end, which must be a good one. Keywords go into its environment."""

    def run(program: str, **environment: str) -> None:
        ran = subprocess.run(
            [sys.executable, program],
            cwd=ROOT / "examples",
            env={**os.environ, "AUTOMON_DSN": database_url, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run
