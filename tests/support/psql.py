"""The psql of the server under test, else that of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from automon.embedded.binaries import find_binaries
from tests.support.postgres import BIN_DIR

SQL_FOLDER = Path(__file__).parents[2] / "sql"
ORCHESTRATOR = SQL_FOLDER / "000_main_migration.sql"


def psql_program() -> str:
    beside_server = find_binaries(BIN_DIR).directory / "psql"
    found = str(beside_server) if beside_server.exists() else shutil.which("psql")
    if found is None:
        pytest.skip("there is no psql on this machine")
    return found


def run_psql(url: str, *arguments: str, search_path: str = "") -> subprocess.CompletedProcess[str]:
    """Run psql without a user's settings; what comes back may be a failure."""
    environment = os.environ | ({"PGOPTIONS": f"-c search_path={search_path}"} if search_path else {})
    command = [psql_program(), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def psql(url: str, *arguments: str, search_path: str = "") -> str:
    """Run psql and return what it printed. Raises AssertionError, with its words, when it failed."""
    done = run_psql(url, *arguments, search_path=search_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def migrate_with_psql(url: str, *, schema: str | None = None) -> None:
    psql(url, *([] if schema is None else ["-v", f"schema={schema}"]), "-f", str(ORCHESTRATOR))
