"""The sessions that tests speak in.

With AUTOMON_TEST_POOLER set, those that know `database_url` speak through a PgBouncer in transaction mode: each of their
transactions may meet another connection of the server.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg

from automon.database import BinaryCursor

THROUGH_POOLER = bool(os.environ.get("AUTOMON_TEST_POOLER"))

Connection = psycopg.Connection[Any]


def connect(url: str, *, search_path: str = "") -> Connection:
    """Open a session in autocommit mode that finds nothing by an unqualified name, unless it is given a path."""
    return psycopg.connect(
        url,
        autocommit=True,
        # A pooler hands no such options on, and begins each connection with an empty path.
        options=f"-c search_path={search_path}",
        client_encoding="UTF8",
        cursor_factory=BinaryCursor,
        prepare_threshold=None if THROUGH_POOLER else 5,
    )
