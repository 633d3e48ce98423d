"""Makes the rollups anew from the facts: after an upgrade, or after a restore on another server."""

from __future__ import annotations

from typing import Any, cast

import psycopg
from psycopg import sql

from automon.database import first_line
from automon.errors import AutomonError, DatabaseUnavailableError


def rebuild_rollups(conninfo: str, *, schema: str = "public") -> dict[str, Any]:
    """Roll up all facts that are kept, however long it takes, and answer how many tasks, errors and metrics there were.

    Raises DatabaseUnavailableError when the database does not answer, AutomonError when it has no rollups yet.
    """
    call = sql.SQL("SELECT {}.rebuild_rollups()").format(sql.Identifier(schema))
    try:
        with psycopg.connect(
            conninfo, connect_timeout=10, prepare_threshold=None, application_name="automon rebuild-rollups"
        ) as connection:
            connection.execute("SET LOCAL statement_timeout = 0")
            [(counts,)] = connection.execute(call).fetchall()
    except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
        raise AutomonError("the database is not at this version's schema", hint="Run `automon migrate`.") from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"no answer from the database: {first_line(error)}", hint="Nothing was changed; run it again."
        ) from error
    return cast(dict[str, Any], counts)
