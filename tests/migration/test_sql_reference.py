"""The page about the schema says what the schema is."""

from __future__ import annotations

from typing import Any

import psycopg

from docs.generate.sql import PAGE_FILE, describe


def test_the_page_says_what_a_freshly_migrated_database_is(connection: psycopg.Connection[Any]) -> None:
    assert describe(connection) == PAGE_FILE.read_text(encoding="utf-8"), "run `python -m docs.generate.sql`"


def test_the_page_names_every_function_and_every_error(connection: psycopg.Connection[Any]) -> None:
    page = describe(connection)
    names = connection.execute(
        "SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE pronamespace = 'public'::pg_catalog.regnamespace"
    ).fetchall()

    assert [name for (name,) in names if f"`{name}`" not in page] == []
    assert [code for code in (f"AM{number:03}" for number in range(1, 13)) if f"| `{code}` |" not in page] == []
