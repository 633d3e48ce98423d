"""The schema in one page, so that every change of it shows up in review."""

from __future__ import annotations

import os
from typing import Any

import psycopg

from tests.migration.normalised import DUMP, RENEW, describe


def test_a_migrated_database_is_what_the_normalised_dump_says(connection: psycopg.Connection[Any]) -> None:
    found = describe(connection)
    if os.environ.get(RENEW):
        DUMP.write_text(found, encoding="utf-8")

    assert found == DUMP.read_text(encoding="utf-8"), f"run it with {RENEW}=1 and review the difference"
