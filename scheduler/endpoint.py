"""A small HTTP server for monitors, not for the world: http.server, with a bound on what its callers can hold.

One thread waits for callers and cuts off those whose time is up; each caller has a thread for its one request.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import structlog

from automon.config import ListenAddress

# Each has a thread, and the unit bounds those of the whole service.
MOST_CONNECTIONS = 16
MOST_HEAD_BYTES = 8192
# Seconds: for a connection, for hanging up, until an address is tried again, after a connection that could not be
# accepted, for the thread to end.
PATIENCE = 15.0
FAREWELL_PATIENCE = 1.0
PAUSE_BEFORE_LISTENING_AGAIN = 5.0
PAUSE_AFTER_FAILURE = 1.0
END_PATIENCE = 1.0

log = structlog.get_logger("automon.http")


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """`parts` make up the body; they are never copied, so that many slow readers of one text hold it once."""

    status: HTTPStatus
    content_type: str = "text/plain; charset=utf-8"
    parts: tuple[bytes, ...] = ()


class Endpoint:
    """Serves `pages`, by their paths, on the address of the last `listen`; a page may take its time.

    `requests` counts answers by path and status, `dropped` the connections that were cut off; `url` says where it is
    served, `problem` why it is not.
    """

    def __init__(self, pages: Mapping[str, Callable[[], Response]]) -> None:
        self.pages = pages
        self.patience, self.pause = PATIENCE, PAUSE_BEFORE_LISTENING_AGAIN
        self.requests: Counter[tuple[str, int]] = Counter()
        self.dropped = 0
        self.url = self.problem = ""
        self.lock = threading.Lock()
        self._address: ListenAddress | None = None
        self.ended = threading.Event()
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def listen(self, address: ListenAddress | None) -> None:
        """Serve on this address from now on; None: nowhere. One that cannot be had is tried again and again."""
        if address == self._address:
            return
        self.end()
        self._address, self.ended = address, threading.Event()
        if address is not None:
            self._thread = threading.Thread(target=self._run, args=(address, self.ended), name="http", daemon=True)
            self._thread.start()

    def end(self) -> None:
        self.ended.set()
        if self._server is not None:
            with suppress(OSError):  # it is closed already
                self._server.socket.shutdown(socket.SHUT_RDWR)  # which wakes its thread
        if self._thread is not None:
            self._thread.join(END_PATIENCE)
        self.url = self.problem = ""

    def _run(self, address: ListenAddress, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                server = Server(self, address)
            except OSError as error:
                if not self.problem:
                    log.error("http_cannot_listen", address=str(address), reason=error.strerror)  # noqa: TRY400  the reason says it all
                self.problem = f"cannot listen on {address}: {error.strerror}"
                ended.wait(self.pause)
                continue
            with server:
                self._server = server
                self._tell_of_success(ListenAddress(host=address.host, port=server.server_address[1]))
                while not ended.is_set():
                    server.timeout = server.keep_time()
                    server.handle_request()

    def _tell_of_success(self, address: ListenAddress) -> None:
        self.url, self.problem = f"http://{address}", ""
        log.info("http_listening", url=self.url)
        if not address.is_loopback:
            log.warning(
                "http_open_to_others", url=self.url, consequence="whoever reaches it reads it without a password"
            )


class Server(ThreadingTCPServer):
    """Takes an address, and those who call there. Raises OSError when the address is not to be had."""

    allow_reuse_address = True  # connections of the service before this one may still be fading away
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint: Endpoint, address: ListenAddress) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.endpoint = endpoint
        self.only_local_names = address.is_loopback
        # Until when each may stay, and those of them whose requests have not come; who called first stands first.
        self.callers: dict[socket.socket, float] = {}
        self.asking: dict[socket.socket, None] = {}
        self._room = threading.Semaphore(MOST_CONNECTIONS)
        super().__init__((address.host, address.port), Caller)

    def keep_time(self) -> float | None:
        """Cut off those whose time is up; return the seconds until somebody's is, None while nobody calls."""
        with self.endpoint.lock:
            for caller, until in list(self.callers.items()):
                if until > time.monotonic():
                    return until - time.monotonic()
                self._cut_off(caller)
        return None

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # There is no file to be had for it. The caller stays in the queue; to ask at once again would burn time.
            self.endpoint.ended.wait(PAUSE_AFTER_FAILURE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            # A monitor's request comes at once: who has been asking for the longest makes room, else who called first.
            with self.endpoint.lock:
                for caller in list(self.asking or self.callers)[:1]:
                    self._cut_off(caller)
            self._room.acquire()
        with self.endpoint.lock:
            self.callers[request], self.asking[request] = time.monotonic() + self.endpoint.patience, None
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self.endpoint.lock:
            self._forget(request)
        super().close_request(request)
        self._room.release()

    def server_close(self) -> None:
        super().server_close()
        with self.endpoint.lock:
            for caller in list(self.callers):  # nobody keeps their time any more
                self._cut_off(caller)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  as its base
        log.exception("http_failed")  # noqa: LOG004  its base calls this while it handles one

    def _cut_off(self, caller: socket.socket) -> None:
        self._forget(caller)
        self.endpoint.dropped += 1
        with suppress(OSError):  # it is gone
            caller.shutdown(socket.SHUT_RDWR)  # which wakes its thread

    def _forget(self, caller: socket.socket) -> None:
        self.callers.pop(caller, None)
        self.asking.pop(caller, None)


class Caller(BaseHTTPRequestHandler):
    """One request and its answer. No step has an end of its own: cutting off the caller ends whatever waits for it."""

    server: Server
    protocol_version = default_request_version = request_version = "HTTP/1.1"
    command = ""

    def handle(self) -> None:
        with suppress(OSError):  # the caller is gone, or was cut off
            head = self._receive()
            with self.server.endpoint.lock:
                self.server.asking.pop(self.request, None)
            self.rfile = io.BytesIO(head)
            self.raw_requestline = self.rfile.readline()
            if len(head) > MOST_HEAD_BYTES:
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "this is too long")
            elif self.parse_request():
                self._answer()
            # Closing while something of the caller's is unread would take back what has not arrived yet.
            self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(FAREWELL_PATIENCE)
            while self.request.recv(65536):
                pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        self._reply("other", Response(status=HTTPStatus(code), parts=(f"{message}\n".encode(),)))

    def _receive(self) -> bytes:
        """Return the head of the request, or nothing when it has no end; http.server itself would take megabytes."""
        with self.rfile as wire:
            head = line = wire.readline(MOST_HEAD_BYTES)
            while line not in (b"\r\n", b"\n", b"") and len(head) <= MOST_HEAD_BYTES:
                line = wire.readline(MOST_HEAD_BYTES)
                head += line
        return head if line else b""

    def _answer(self) -> None:
        path, pages = self.path.partition("?")[0], self.server.endpoint.pages
        if not path.startswith("/"):
            self.send_error(HTTPStatus.BAD_REQUEST, "this asks for something elsewhere")
        elif self.command not in ("GET", "HEAD"):
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED, "there is only GET and HEAD")
        elif self.server.only_local_names and not is_local_name(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "call this by localhost or an address")
        elif path not in pages:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is {', '.join(pages)}")
        else:
            try:
                response = pages[path]()
            except Exception:
                log.exception("http_page_failed", path=path)
                words = b"this page is broken; the log of the service says why\n"
                response = Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, parts=(words,))
            self._reply(path, response)

    def _reply(self, path: str, response: Response) -> None:
        with self.server.endpoint.lock:
            self.server.endpoint.requests[path, response.status.value] += 1
        self.send_response_only(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(sum(map(len, response.parts))))
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if response.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        for part in () if self.command == "HEAD" else response.parts:
            self.wfile.write(part)


def is_local_name(host: str) -> bool:
    """Say whether the value of a Host header is localhost or an IP address, with or without a port.

    A web page of somebody else's can have a name of its own point at 127.0.0.1, and its script then reads what answers
    there; it cannot do so with an address.
    """
    try:
        name = urlsplit(f"//{host}").hostname
        return name in (None, "localhost") or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
