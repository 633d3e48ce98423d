"""A TCP proxy that understands enough of PostgreSQL's protocol to cut a session before its n-th query."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_QUERY = b"Q"


class QueryCutter:
    """Passes on one session without TLS; instead of query number `cut_before` (from 1) it resets both its ends."""

    def __init__(self, target_port: int, *, cut_before: int | None = None) -> None:
        self._target_port = target_port
        self._cut_before = cut_before
        self._listener = socket.create_server((HOST, 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.queries = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection((HOST, self._target_port))
        answers = threading.Thread(target=_copy, args=(server, client), daemon=True)
        answers.start()
        with contextlib.suppress(OSError):
            self._pass_queries(client, server)
        for link in (server, client):
            _reset(link)
        answers.join(10)

    def _pass_queries(self, client: socket.socket, server: socket.socket) -> None:
        with client.makefile("rb") as stream:
            length = stream.read(4)  # the first message has no letter
            server.sendall(length + stream.read(int.from_bytes(length, "big") - 4))
            while kind := stream.read(1):
                self.queries += kind == _QUERY
                if self.queries == self._cut_before:
                    return
                length = stream.read(4)
                server.sendall(kind + length + stream.read(int.from_bytes(length, "big") - 4))


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _reset(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        link.shutdown(socket.SHUT_RDWR)
    link.close()
