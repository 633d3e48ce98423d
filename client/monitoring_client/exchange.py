"""One simple query over a libpq connection, within a time limit that the client itself enforces.

The driver's own calls wait as long as the server keeps them waiting; `statement_timeout` helps only while the server is
alive to enforce it. A simple query may hold several statements, which are then one transaction and one round trip,
also behind a transaction pooler.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult


class NoAnswerError(Exception):
    """The server did not answer in time. The connection is in the middle of something and of no more use."""


def exchange(connection: PGconn, query: bytes, seconds: float) -> list[PGresult]:
    """Send the query and answer all its results. Raises NoAnswerError after `seconds`, psycopg.Error on a broken connection."""
    deadline = time.monotonic() + seconds
    connection.send_query(query)
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, selectors.EVENT_READ)
        _send(connection, selector, deadline)
        return _receive(connection, selector, deadline)


def _send(connection: PGconn, selector: selectors.BaseSelector, deadline: float) -> None:
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    while connection.flush():
        selector.modify(connection.socket, both)
        # A server that refuses may speak before it has read everything; both sides would wait if nobody listened.
        if _wait(selector, deadline) & selectors.EVENT_READ:
            connection.consume_input()
    selector.modify(connection.socket, selectors.EVENT_READ)


def _receive(connection: PGconn, selector: selectors.BaseSelector, deadline: float) -> list[PGresult]:
    results: list[PGresult] = []
    while True:
        while connection.is_busy():
            _wait(selector, deadline)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return results
        results.append(result)


def _wait(selector: selectors.BaseSelector, deadline: float) -> int:
    ready = selector.select(max(0.0, deadline - time.monotonic()))
    if not ready:
        raise NoAnswerError
    return ready[0][1]
