"""A stand-in for a dead man's switch such as Healthchecks, on 127.0.0.1.

    with FakePings(Answer.broken()) as outside:     # then "OK" for ever
        start_service(env={**os.environ, "AUTOMON_PING_URL": outside.url})
        start, ping = outside.wait_for(2)

With a TLS context it speaks HTTPS. As a proxy it takes pings for any http address, and says which in `path`; asked for
a way to an https address, it gives the scripted answer.
"""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PATH = "/ping/5f1c7e0a-fake-uuid"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One scripted answer. `hang`: none at all until the server ends; `drip`: one byte every so many seconds, for ever."""

    status: int = 200
    body: str = "OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    hang: bool = False
    drip: float = 0

    @classmethod
    def broken(cls) -> Answer:
        return cls(status=500, body="Internal Server Error")

    @classmethod
    def unknown(cls) -> Answer:
        return cls(status=404, body="not found")

    @classmethod
    def redirect(cls, target: str, status: int = 302) -> Answer:
        return cls(status=status, headers={"Location": target})

    @classmethod
    def hanging(cls) -> Answer:
        return cls(hang=True)

    @classmethod
    def dripping(cls, *, seconds: float = 1) -> Answer:
        return cls(drip=seconds)

    @classmethod
    def no_http(cls) -> Answer:
        return cls(raw=b"220 mail.example.org ESMTP\r\n")

    @classmethod
    def hang_up(cls) -> Answer:
        return cls(raw=b"")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """One call that arrived. `arrived_at` is `time.monotonic()`."""

    method: str
    path: str
    body: str
    headers: Mapping[str, str]
    arrived_at: float


class FakePings:
    """Answers from its script first, then with OK."""

    def __init__(self, *script: Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._port = port
        self._tls = tls
        self._pings: list[Ping] = []
        self._changed = threading.Condition()
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", self._port), self)
        if self._tls:
            # The handshake belongs to the connection's own thread: one that never ends must not hold up the others.
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{PATH}"

    @property
    def pings(self) -> list[Ping]:
        with self._changed:
            return list(self._pings)

    def script(self, *answers: Answer) -> None:
        """Add answers for the next calls."""
        with self._changed:
            self._script += answers

    def script_is_over(self) -> None:
        """Answer with OK from now on, whatever was scripted."""
        with self._changed:
            self._script.clear()

    def wait_for(self, count: int, deadline: float = 10) -> list[Ping]:
        """Wait at most `deadline` seconds until `count` calls have arrived; AssertionError when they have not."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._pings) >= count, deadline)
            assert arrived, f"{len(self._pings)} of {count} calls arrived within {deadline} s"
            return list(self._pings)

    def receive(self, ping: Ping) -> Answer:
        with self._changed:
            self._pings.append(ping)
            self._changed.notify_all()
            return self._script.pop(0) if self._script else Answer()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pings: FakePings) -> None:
        self.pings = pings
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that gave up waiting is part of the game.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        ping = Ping(
            method=self.command,
            path=self.path,
            body=body,
            headers=dict(self.headers),
            arrived_at=time.monotonic(),
        )
        self._answer(self.server.pings.receive(ping))

    def do_GET(self) -> None:
        """A client's way of following a redirect."""
        self.do_POST()

    def do_CONNECT(self) -> None:
        """A client's way through a proxy; there is none here but what the script says."""
        self.do_POST()

    def _answer(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.hang:
            self.server.pings.stopping.wait()
        elif answer.drip:
            self._drip(answer.drip)
        elif answer.raw is not None:
            self.wfile.write(answer.raw)
        else:
            self._send(answer)

    def _drip(self, seconds: float) -> None:
        """Begin an answer that is right so far and never ends."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.server.pings.stopping.wait(seconds):
            self.wfile.write(b".")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body.encode())))
        self.end_headers()
        self.wfile.write(answer.body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is not a server's log."""
