"""A client on a real database, a look into that database, and servers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from monitoring_client import MonitoringClient


@pytest.fixture
def monitor(database_url: str) -> Iterator[MonitoringClient]:
    with MonitoringClient(database_url, worker_id="tester", raise_errors=True) as client:
        yield client


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def rows(database: psycopg.Connection[Any]) -> Rows:
    def ask(query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return database.execute(query.encode(), arguments or None).fetchall()

    return ask


Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def until() -> Until:
    """Wait until something is true, for at most 20 s."""

    def wait(happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not happened():
            assert time.monotonic() < deadline, "it did not happen within 20 s"
            threading.Event().wait(0.02)

    return wait


class Line:
    """A TCP line to the database, which can be laid late, fall silent, and be cut."""

    def __init__(self, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._speaks = threading.Event()
        self._speaks.set()
        port = self._listener.getsockname()[1]
        self.dsn = make_conninfo(database_url, host="127.0.0.1", hostaddr="127.0.0.1", port=port)

    def open(self) -> None:
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    def cut(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._connect()
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._target.get("host") or "127.0.0.1"), int(self._target.get("port") or 5432)
        if host.startswith("/"):
            far = socket.socket(socket.AF_UNIX)
            far.connect(f"{host}/.s.PGSQL.{port}")
            return far
        return socket.create_connection((host, port))

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if self._speaks.is_set():
                    sink.sendall(data)


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    line = Line(database_url)
    yield line
    line.close()


@pytest.fixture
def deaf_dsn() -> Iterator[str]:
    """A server that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"postgresql://app:secret@127.0.0.1:{listener.getsockname()[1]}/work"
