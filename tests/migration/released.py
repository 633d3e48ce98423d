"""The states that databases out there may be in: one for each version that was released.

A release adds its version here, and a folder `released/VERSION` with the orchestrator as released and the calls that
its programs make. The schema files themselves are never edited, so those in `sql/` are the released ones; the
orchestrator's checksums see to that.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from automon.migrate import ORCHESTRATOR, manifest, migrate, write_manifest
from tests.support.psql import SQL_FOLDER

RELEASED = ("0.1.0",)
FOLDER = Path(__file__).with_name("released")

Rows = dict[str, list[dict[str, Any]]]

# The tables of a schema, each with all of its partitions.
_TABLES = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Call:
    statement: str
    answer: str


def calls_of(version: str) -> list[Call]:
    """Give the calls that the programs of that version make, in an order that works, with what they answer."""
    text = (FOLDER / version / "calls.sql").read_text(encoding="utf-8")
    lines = [line.partition(" -- ") for line in text.splitlines() if line.startswith("SELECT")]
    return [Call(statement, answer) for statement, _, answer in lines]


def copy_of_release(version: str, target: Path) -> Path:
    """Make the folder `sql/` of that version."""
    target.mkdir(parents=True)
    shutil.copy(FOLDER / version / ORCHESTRATOR, target)
    for file, _ in manifest(target):
        shutil.copy(SQL_FOLDER / file, target)
    return target


def copy_with(name: str, text: str, target: Path) -> Path:
    """Make a folder `sql/` of a version to come: what is here, and one file more."""
    shutil.copytree(SQL_FOLDER, target)
    (target / name).write_text(text, encoding="utf-8")
    orchestrator = target / ORCHESTRATOR
    checksums = [*manifest(target), (name, _checksum(target / name))]
    orchestrator.write_text(write_manifest(orchestrator.read_text(encoding="utf-8"), checksums), encoding="utf-8")
    return target


def _checksum(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def install_with_data(url: str, version: str, folder: Path) -> None:
    """Install that version and use it until there is something in every table. The folder is made."""
    migrate(url, folder=copy_of_release(version, folder))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT note_sight(now() - interval '1 hour', interval '10 seconds')")
        for call in calls_of(version):
            connection.execute(call.statement.encode())
        # What is on its way when the upgrade comes, and what a later version has to leave alone.
        connection.execute("SELECT start_task_tracking('on-its-way', 'ocr')")
        connection.execute("SELECT update_queue_metrics('mail', 700)")
        connection.execute("SELECT run_monitoring_checks()")
    empty = [table for table, rows in all_rows(url).items() if not rows]
    assert empty == [], f"the calls of {version} leave tables empty: {empty}"


def all_rows(url: str) -> Rows:
    """Give every row of every table."""
    with psycopg.connect(url) as connection:
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
        return {
            table: [row for (row,) in connection.execute(_rows_of(table)).fetchall()]  # the oldest first
            for table in tables
        }


def _rows_of(table: str) -> bytes:
    return f"SELECT to_jsonb(t) FROM public.{table} AS t ORDER BY to_jsonb(t)::text".encode()


def versions_of_the_changelog(text: str) -> list[tuple[str, str]]:
    """Give each version with its date (or "unreleased"), newest first."""
    return re.findall(r"^## (\d+\.\d+\.\d+), (\S+)$", text, re.MULTILINE)
