"""A conversation over a libpq connection, within time limits that the client itself enforces, and which can be called off.

The driver's own calls wait as long as the server keeps them waiting; `statement_timeout` helps only while the server is
alive to enforce it. A simple query may hold several statements, which are then one transaction and one round trip,
also behind a transaction pooler.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult


class NoAnswerError(Exception):
    """The server did not answer in time. The connection is in the middle of something and of no more use."""


class Bell(Protocol):
    """What may ring while a server is waited for. `answer` deals with it, or raises to call the waiting off."""

    def fileno(self) -> int: ...

    def answer(self) -> None: ...


def connect(conninfo: bytes, seconds: float, bell: Bell | None) -> PGconn:
    """Connect. Raises NoAnswerError after `seconds`, psycopg.OperationalError when refused. Looking up a host's name is not limited."""
    from psycopg import OperationalError
    from psycopg.pq import ConnStatus, PGconn, PollingStatus

    deadline = time.monotonic() + seconds
    connection = PGconn.connect_start(conninfo)
    try:
        events = selectors.EVENT_WRITE
        while connection.status != ConnStatus.BAD:
            _wait(connection, events, deadline, bell)
            status = connection.connect_poll()
            if status == PollingStatus.OK:
                connection.nonblocking = 1
                return connection
            if status == PollingStatus.FAILED:
                break
            events = selectors.EVENT_READ if status == PollingStatus.READING else selectors.EVENT_WRITE
    except BaseException:
        connection.finish()
        raise
    reason = connection.error_message.decode("utf-8", "replace").strip()
    connection.finish()
    raise OperationalError(reason or "no reason given")


def exchange(connection: PGconn, query: bytes, seconds: float, bell: Bell | None = None) -> list[PGresult]:
    """Send the query and answer all its results. Raises NoAnswerError after `seconds`, psycopg.Error on a broken connection."""
    deadline = time.monotonic() + seconds
    connection.send_query(query)
    while connection.flush():
        # A server that refuses may speak before it has read everything; both sides would wait if nobody listened.
        if _wait(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, deadline, bell) & selectors.EVENT_READ:
            connection.consume_input()
    results: list[PGresult] = []
    while True:
        while connection.is_busy():
            _wait(connection, selectors.EVENT_READ, deadline, bell)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return results
        results.append(result)


def _wait(connection: PGconn, events: int, deadline: float, bell: Bell | None) -> int:
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, events)
        if bell is not None:
            selector.register(bell, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj: happened for key, happened in selector.select(max(0.0, deadline - time.monotonic()))}
            if not ready:
                raise NoAnswerError
            if bell is not None and bell in ready:
                bell.answer()
            if connection.socket in ready:
                return ready[connection.socket]
