"""Hears what was decided in the database, by whichever session: this service, another one, a task, a person in psql."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

import psycopg
import structlog
from psycopg import sql

PAUSE_BEFORE_RECONNECTING = timedelta(seconds=2)
LOOK_AT_STOP_EVERY = timedelta(seconds=1)

log = structlog.get_logger("automon.listener")


class Listener:
    """Calls what belongs to a notice's name, from a thread of its own; all of it after each new connection.

    A notice is a hint: whoever is called looks into the tables.
    """

    def __init__(self, conninfo: str, stop: threading.Event, on_notice: Mapping[str, Callable[[], None]]) -> None:
        self._conninfo = conninfo
        self._stop = stop
        self._on_notice = on_notice
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except psycopg.OperationalError:
                # The pool tells of the outage; one voice is enough.
                self._stop.wait(PAUSE_BEFORE_RECONNECTING.total_seconds())
            except Exception:
                log.exception("listener_failed")
                self._stop.wait(PAUSE_BEFORE_RECONNECTING.total_seconds())

    def _listen(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None) as connection:
            for name, call in self._on_notice.items():
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
                call()
            # psycopg's own wait looks ten times a second whether it is to end, which was a third of what an idle service took.
            wire = select.poll()
            wire.register(connection.fileno(), select.POLLIN)
            while not self._stop.is_set():
                for notice in connection.notifies(timeout=0):
                    self._on_notice[notice.channel]()
                wire.poll(LOOK_AT_STOP_EVERY.total_seconds() * 1000)
