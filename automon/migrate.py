"""Brings a database to the schema of this version: the files in `sql/`, through the ledger that psql shares.

A table that is in use is not waited for with a lock request, behind which every writer would queue: after 200 ms the
whole transaction gives up, and is tried again after a pause in which writers pass.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

import psycopg
from psycopg import sql

from automon import __version__
from automon.errors import DatabaseUnavailableError, MigrationError, SchemaInUseError
from automon.table_locks import Rehearsal, describe_holders, strongest_locks, tables_with_data

ORCHESTRATOR = "000_main_migration.sql"
SQL_FOLDER: Traversable = files("sql")
APPLICATION_NAME = "automon migrate"
# Seconds: how long to try again, and how the pauses between grow.
PATIENCE = 120.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
WORTH_ANOTHER_TRY = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
_MANIFEST_LINE = re.compile(r"begin_migration\('(?P<file>[^']+)', '(?P<checksum>[0-9a-f]{64})'\)")
_MARKED_PART = "-- >>> {0}.*?\n(.*?)-- <<< {0}"

Result = TypeVar("Result")


def marked_part(name: str, folder: Traversable = SQL_FOLDER) -> str:
    """Return the text of the orchestrator between the two marks of that name."""
    text = (folder / ORCHESTRATOR).read_text(encoding="utf-8")
    found = re.search(_MARKED_PART.format(name), text, re.DOTALL)
    if found is None:
        raise MigrationError(f"sql/{ORCHESTRATOR} has no part '{name}'", hint="Restore the released file.")
    return found[1]


def manifest(folder: Traversable = SQL_FOLDER) -> list[tuple[str, str]]:
    """Name the files to apply, in order, each with the SHA-256 that its content must have."""
    return [(line["file"], line["checksum"]) for line in _MANIFEST_LINE.finditer(marked_part("files", folder))]


def read_checked(file: str, checksum: str, folder: Traversable = SQL_FOLDER) -> str:
    """Return the text of a schema file. Raises MigrationError when it is not the file that was released."""
    content = (folder / file).read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise MigrationError(
            f"sql/{file} is not the file that {ORCHESTRATOR} expects",
            hint="Restore the released file, or run `make generate` if you are working on the schema.",
        )
    return content.decode("utf-8")


def migrate(
    conninfo: str,
    *,
    schema: str = "public",
    folder: Traversable = SQL_FOLDER,
    patience: float = PATIENCE,
    pause: Callable[[float], object] = time.sleep,
) -> list[str]:
    """Apply what is missing, all of it or nothing, and name the files that were applied.

    Tries for `patience` seconds to get the locks that it needs; `pause` is called with the seconds between two tries.
    Raises DatabaseUnavailableError when the database does not answer, SchemaInUseError when a lock was never to be had,
    MigrationError when the database refuses.
    """

    def apply(connection: psycopg.Connection) -> list[str]:
        with connection.transaction():
            prepare(connection, schema, folder)
            return apply_missing(connection, folder)

    return _try_until_free(conninfo, schema, apply, patience, pause)


def rehearse(
    conninfo: str,
    *,
    schema: str = "public",
    folder: Traversable = SQL_FOLDER,
    patience: float = PATIENCE,
    pause: Callable[[float], object] = time.sleep,
) -> Rehearsal:
    """Do what `migrate` does, locks included, take it back, and say what it was. Raises as `migrate` does."""

    def apply_and_undo(connection: psycopg.Connection) -> Rehearsal:
        with connection.transaction(force_rollback=True):
            before = tables_with_data(connection, schema)
            prepare(connection, schema, folder)
            began = time.monotonic()
            newest = _newest_applied(connection)
            applied = apply_missing(connection, folder)
            return Rehearsal(
                from_file=newest,
                to_file=manifest(folder)[-1][0],
                files=tuple(applied),
                seconds=time.monotonic() - began,
                locks=strongest_locks(connection, before),
            )

    return _try_until_free(conninfo, schema, apply_and_undo, patience, pause)


def prepare(connection: psycopg.Connection, schema: str, folder: Traversable) -> None:
    """Make the schema and its ledger unless they are there, and keep other migrations out until the transaction ends."""
    name = sql.Identifier(schema)
    connection.execute("SET LOCAL client_min_messages = warning")
    # Before the schema is made: of several runs at once, one makes it.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('automon migration', 0))")
    if connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", [schema]).fetchone() == (True,):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
    connection.execute("SELECT set_config('automon.version', %s, true)", [__version__])
    execute_script(connection, marked_part("ledger", folder))


def apply_missing(connection: psycopg.Connection, folder: Traversable) -> list[str]:
    """Apply the files that the ledger of a prepared schema does not hold, and name them."""
    released = [(file, checksum, read_checked(file, checksum, folder)) for file, checksum in manifest(folder)]
    connection.execute("SELECT refuse_newer_schema(%s)", [released[-1][0]])
    applied = []
    for file, checksum, text in released:
        [(pending,)] = connection.execute("SELECT begin_migration(%s, %s)", [file, checksum]).fetchall()
        if pending:
            execute_script(connection, text)
            applied.append(file)
    return applied


def _newest_applied(connection: psycopg.Connection) -> str | None:
    [(newest,)] = connection.execute("SELECT max(file) FROM monitoring_migrations").fetchall()
    return None if newest is None else str(newest)


def _try_until_free(
    conninfo: str,
    schema: str,
    work: Callable[[psycopg.Connection], Result],
    patience: float,
    pause: Callable[[float], object],
) -> Result:
    deadline = time.monotonic() + patience
    for seconds in _pauses():
        try:
            return _work_once(conninfo, work)
        except WORTH_ANOTHER_TRY as error:
            if time.monotonic() + seconds > deadline:
                raise _in_use(conninfo, schema, patience, error) from error
        pause(seconds)
    raise AssertionError("pauses never end")


def _pauses() -> Iterator[float]:
    seconds = FIRST_PAUSE
    while True:
        yield seconds
        seconds = min(seconds * 2, LONGEST_PAUSE)


def _work_once(conninfo: str, work: Callable[[psycopg.Connection], Result]) -> Result:
    connection = _connect(conninfo)
    try:
        with connection:
            return work(connection)
    except WORTH_ANOTHER_TRY:
        raise
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"the database went away: {first_line(error)}", hint="Nothing was changed; run it again."
        ) from error
    except psycopg.Error as error:
        hint = error.diag.message_hint or "Nothing was changed."
        raise MigrationError(f"the schema was not changed: {first_line(error)}", hint=hint) from error


def _connect(conninfo: str) -> psycopg.Connection:
    try:
        connection = psycopg.connect(
            conninfo,
            connect_timeout=10,
            prepare_threshold=None,
            application_name=APPLICATION_NAME,
            client_encoding="UTF8",
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"no connection to the database: {first_line(error)}", hint="Is it running, and is its URL right?"
        ) from None
    # Whatever the database has as its default: of several runs at once, the later ones must see what the first has done.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


def _in_use(conninfo: str, schema: str, patience: float, error: psycopg.Error) -> SchemaInUseError:
    holders = _work_once(conninfo, lambda connection: describe_holders(connection, schema))
    return SchemaInUseError(
        f"the schema was not changed: its tables were in use for {patience:.0f} s ({first_line(error)})",
        hint="\n  ".join(
            [
                "Nothing was changed. End the transaction that holds them, or wait for its end, and run it again.",
                *(holders or ["Nobody holds them any more."]),
            ]
        ),
    )


def execute_script(connection: psycopg.Connection, text: str) -> None:
    # Encoded, so that it counts as a finished query and not as a template that somebody composed. The dots are the one
    # character beyond ASCII in a released file, in a comment that a later file writes anew: not every database has it.
    connection.execute(text.replace("…", "...").encode("utf-8"))


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def write_manifest(orchestrator: str, checksums: list[tuple[str, str]], version: str = __version__) -> str:
    """Return the orchestrator's text with the file list made of these names and checksums."""
    newest = checksums[-1][0]
    lines = [
        f"SET LOCAL automon.version = '{version}';\n",
        f"SELECT refuse_newer_schema('{newest}') \\g /dev/null\n",
        f"SELECT COALESCE(max(file) < '{newest}', false) AS upgrades, max(file) AS newest FROM monitoring_migrations \\gset\n",  # noqa: S608  our own file names
        "\\if :upgrades\n\\echo automon: upgrading from :newest. If this ends with a lock timeout, nothing was changed: run it again\n\\endif\n",
    ]
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
