"""Brings a database to the schema of this version: the files in `sql/`, through the ledger that psql shares."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg import sql

from automon.errors import DatabaseUnavailableError, MigrationError

ORCHESTRATOR = "000_main_migration.sql"
_MANIFEST_LINE = re.compile(r"begin_migration\('(?P<file>[^']+)', '(?P<checksum>[0-9a-f]{64})'\)")
_MARKED_PART = "-- >>> {0}.*?\n(.*?)-- <<< {0}"


def sql_folder() -> Traversable:
    return files("sql")


def marked_part(name: str) -> str:
    """Return the text of the orchestrator between the two marks of that name."""
    text = (sql_folder() / ORCHESTRATOR).read_text(encoding="utf-8")
    found = re.search(_MARKED_PART.format(name), text, re.DOTALL)
    if found is None:
        raise MigrationError(f"sql/{ORCHESTRATOR} has no part '{name}'", hint="Restore the released file.")
    return found[1]


def manifest() -> list[tuple[str, str]]:
    """Name the files to apply, in order, each with the SHA-256 that its content must have."""
    return [(line["file"], line["checksum"]) for line in _MANIFEST_LINE.finditer(marked_part("files"))]


def read_checked(file: str, checksum: str) -> str:
    """Return the text of a schema file. Raises MigrationError when it is not the file that was released."""
    content = (sql_folder() / file).read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise MigrationError(
            f"sql/{file} is not the file that {ORCHESTRATOR} expects",
            hint="Restore the released file, or run `make generate` if you are working on the schema.",
        )
    return content.decode("utf-8")


def migrate(conninfo: str, *, schema: str = "public") -> list[str]:
    """Apply what is missing, all of it or nothing, and name the files that were applied.

    Raises DatabaseUnavailableError when the database does not answer, MigrationError when it refuses.
    """
    try:
        connection = psycopg.connect(
            conninfo,
            connect_timeout=10,
            prepare_threshold=None,
            application_name="automon migrate",
            client_encoding="UTF8",
        )
        # Whatever the database has as its default: of several runs at once, the later ones must see what the first has done.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"no connection to the database: {first_line(error)}", hint="Is it running, and is its URL right?"
        ) from None
    try:
        with connection:
            return apply_missing(connection, schema)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"the database went away: {first_line(error)}", hint="Nothing was changed; run it again."
        ) from error
    except psycopg.Error as error:
        hint = error.diag.message_hint or "Nothing was changed."
        raise MigrationError(f"the schema was not changed: {first_line(error)}", hint=hint) from error


def apply_missing(connection: psycopg.Connection, schema: str) -> list[str]:
    released = [(file, checksum, read_checked(file, checksum)) for file, checksum in manifest()]
    name = sql.Identifier(schema)
    applied = []
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        # Before the schema is made: of several runs at once, one makes it.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('automon migration', 0))")
        if connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", [schema]).fetchone() == (True,):
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
        execute_script(connection, marked_part("ledger"))
        connection.execute("SELECT refuse_newer_schema(%s)", [released[-1][0]])
        for file, checksum, text in released:
            [(pending,)] = connection.execute("SELECT begin_migration(%s, %s)", [file, checksum]).fetchall()
            if pending:
                execute_script(connection, text)
                applied.append(file)
    return applied


def execute_script(connection: psycopg.Connection, text: str) -> None:
    # Encoded, so that it counts as a finished query and not as a template that somebody composed. The dots are the one
    # character beyond ASCII in a released file, in a comment that 019 writes anew: not every database has it.
    connection.execute(text.replace("…", "...").encode("utf-8"))


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def write_manifest(orchestrator: str, checksums: list[tuple[str, str]]) -> str:
    """Return the orchestrator's text with the file list made of these names and checksums."""
    newest = checksums[-1][0]
    lines = [f"SELECT refuse_newer_schema('{newest}') \\g /dev/null\n"]
    for file, checksum in checksums:
        lines.append(
            f"SELECT begin_migration('{file}', '{checksum}') AS pending \\gset\n\\if :pending\n\\ir {file}\n\\endif\n"
        )
    begin, end = "-- >>> files (written by `make generate`)\n", "-- <<< files"
    head, rest = orchestrator.split(begin)
    return head + begin + "".join(lines) + end + rest.split(end, 1)[1]


def main() -> None:
    """Write the manifest of the checkout that this runs in: `python -m automon.migrate`."""
    from pathlib import Path

    folder = Path("sql")
    names = sorted(path.name for path in folder.glob("0*.sql") if path.name != ORCHESTRATOR)
    checksums = [(name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in names]
    target = folder / ORCHESTRATOR
    target.write_text(write_manifest(target.read_text(encoding="utf-8"), checksums), encoding="utf-8")


if __name__ == "__main__":
    main()
