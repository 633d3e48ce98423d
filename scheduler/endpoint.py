"""A small HTTP server in one thread, which wakes only when somebody calls: for monitors, not for the world.

One request for each connection. Who is slow is cut off, and there are never more than a few connections, so nobody can
hold on to a thread or to memory.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

import structlog

from automon.config import ListenAddress
from scheduler.http_message import Response, in_words, read_request

MOST_CONNECTIONS = 32
MOST_HEAD_BYTES = 8192
BACKLOG = 128
CHUNK_BYTES = 65536
# Seconds: for a request to arrive, for a page that is late, for the answer to be taken, for the other side to hang up.
REQUEST_PATIENCE = 5.0
PAGE_PATIENCE = 3.0
SENDING_PATIENCE = 10.0
FAREWELL_PATIENCE = 1.0
# Until an address that could not be had is tried again, and after a connection that could not be accepted.
PAUSE_BEFORE_LISTENING_AGAIN = 5.0
PAUSE_AFTER_FAILURE = 1.0
END_PATIENCE = 1.0
OTHER_PATH = "other"

# Answers, or None when it would rather be asked again; with False it must answer.
Page = Callable[[bool], Response | None]

log = structlog.get_logger("automon.http")


class Connection:
    """One caller: its request comes in, a page is asked, the answer goes out, and the caller hangs up.

    `page` is set while the answer is waited for, `outgoing` what is left to send; with neither, and not `is_answered`,
    the request has not arrived.
    """

    def __init__(self, wire: socket.socket, deadline: float) -> None:
        self.wire = wire
        self.deadline = deadline
        self.received = b""
        self.path = OTHER_PATH
        self.wants_body = True
        self.page: Page | None = None
        self.outgoing: deque[memoryview] = deque()
        self.is_answered = False

    def fileno(self) -> int:
        return self.wire.fileno()

    @property
    def is_asking(self) -> bool:
        return self.page is None and not self.is_answered


class Endpoint:
    """Serves `pages`, by their paths, on the address of the last `listen`.

    `requests` counts answers by path and status, `dropped` the connections that were cut off; `url` says where it is
    served, `problem` why it is not.
    """

    def __init__(self, pages: Mapping[str, Page], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pages = pages
        self._monotonic = monotonic
        self._wanted: ListenAddress | None = None
        self._bound: ListenAddress | None = None
        self._listener: socket.socket | None = None
        self._accepts = False
        self._try_again_at = monotonic()
        self._connections: set[Connection] = set()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._selector: selectors.BaseSelector
        self._waker: socket.socket
        self._wakened: socket.socket
        self.url = ""
        self.problem = ""
        self.requests: Counter[tuple[str, int]] = Counter()
        self.dropped = 0

    def listen(self, address: ListenAddress | None) -> None:
        """Serve on this address from now on; None: nowhere. One that cannot be had is tried again and again."""
        if address != self._wanted:
            self._wanted, self._try_again_at = address, self._monotonic()
        if self._thread is None and address is not None:
            self._selector = selectors.DefaultSelector()
            self._waker, self._wakened = socket.socketpair()
            for wire in (self._waker, self._wakened):
                wire.settimeout(0)
            self._selector.register(self._wakened, selectors.EVENT_READ)
            self._thread = threading.Thread(target=self._run, name="http", daemon=True)
            self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Have those pages asked again that are late; may be called from any thread."""
        if self._thread is not None:
            with suppress(OSError):  # a full pipe wakes as well, and a closed one need not
                self._waker.send(b"\0")

    def end(self) -> None:
        self._ending = True
        self.wake()
        if self._thread is not None:
            self._thread.join(END_PATIENCE)

    # The thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending:
            try:
                self._round()
            except Exception:
                log.exception("http_failed")
                self._close_all()
                self._try_again_at = self._monotonic() + PAUSE_AFTER_FAILURE
        self._close_all()
        for wire in (self._waker, self._wakened):
            wire.close()
        self._selector.close()

    def _round(self) -> None:
        self._follow_address()
        for key, events in self._selector.select(self._time_to_wait()):
            if key.fileobj is self._wakened:
                self._hear_wake()
            elif isinstance(key.fileobj, socket.socket):
                self._accept(key.fileobj)
            elif key.fileobj in self._connections:
                self._serve(key.fileobj, events)
        self._keep_deadlines()

    def _time_to_wait(self) -> float | None:
        """Seconds until something is due that this thread is not woken for; None: nothing."""
        moments = [connection.deadline for connection in self._connections]
        if self._wanted is not None and not self._accepts:
            moments.append(self._try_again_at)
        return max(0.0, min(moments) - self._monotonic()) if moments else None

    def _hear_wake(self) -> None:
        with suppress(BlockingIOError):
            while self._wakened.recv(CHUNK_BYTES):
                pass
        for connection in list(self._connections):
            self._ask(connection, may_be_late=True)

    def _keep_deadlines(self) -> None:
        now = self._monotonic()
        for connection in [connection for connection in self._connections if connection.deadline <= now]:
            if connection.page is not None:
                self._ask(connection, may_be_late=False)
            else:
                self.dropped += bool(connection.is_asking or connection.outgoing)
                self._close(connection)

    # Where it listens -------------------------------------------------------------------------------------------

    def _follow_address(self) -> None:
        if self._bound != self._wanted:
            self._close_listener()
        if self._wanted is None or self._accepts or self._monotonic() < self._try_again_at:
            return
        if self._listener is None:
            self._open_listener(self._wanted)
        if self._listener is not None:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._accepts = True

    def _open_listener(self, address: ListenAddress) -> None:
        try:
            self._listener = open_listener(address)
        except OSError as error:
            self._try_again_at = self._monotonic() + PAUSE_BEFORE_LISTENING_AGAIN
            problem = f"cannot listen on {address}: {error.strerror}"
            if problem != self.problem:
                self.problem = problem
                log.error("http_cannot_listen", address=str(address), reason=error.strerror)  # noqa: TRY400  the reason says it all
            return
        self._bound, self.problem = address, ""
        self.url = f"http://{ListenAddress(host=address.host, port=self._listener.getsockname()[1])}"
        log.info("http_listening", url=self.url)
        if not address.is_loopback:
            log.warning(
                "http_open_to_others", url=self.url, consequence="whoever reaches it reads it without a password"
            )

    def _close_listener(self) -> None:
        self._stop_accepting()
        if self._listener is not None:
            self._listener.close()
            self._try_again_at = self._monotonic()
        self._listener, self._bound, self.url = None, None, ""
        if self._wanted is None:
            self.problem = ""

    def _stop_accepting(self) -> None:
        if self._accepts and self._listener is not None:
            self._selector.unregister(self._listener)
        self._accepts = False

    # Those who call ---------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            wire, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # There is no file to be had for it. The caller stays in the queue; to ask at once again would burn time.
            self._stop_accepting()
            self._try_again_at = self._monotonic() + PAUSE_AFTER_FAILURE
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self._make_room()
        wire.settimeout(0)
        connection = Connection(wire, self._monotonic() + REQUEST_PATIENCE)
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """Cut off who has been asking for the longest, for a monitor's request comes at once; else who is due first."""
        self.dropped += 1
        self._close(min(self._connections, key=lambda connection: (not connection.is_asking, connection.deadline)))

    def _serve(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._send(connection)
            else:
                self._receive(connection)
        except OSError:  # the other side is gone
            self._close(connection)

    def _receive(self, connection: Connection) -> None:
        data = connection.wire.recv(CHUNK_BYTES)
        if not data:
            self._close(connection)
        elif connection.is_asking:
            connection.received = (connection.received + data).replace(b"\r\n", b"\n")
            head, end, _ = connection.received.partition(b"\n\n")
            if len(head) > MOST_HEAD_BYTES:
                self._reply(connection, in_words(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too long"))
            elif end:
                self._heed(connection, head)

    def _heed(self, connection: Connection, head: bytes) -> None:
        connection.received = b""
        request = read_request(head, only_local_names=self._bound is not None and self._bound.is_loopback)
        if isinstance(request, Response):
            self._reply(connection, request)
            return
        connection.wants_body = request.wants_body
        connection.page = self._pages.get(request.path)
        if connection.page is None:
            self._reply(connection, in_words(HTTPStatus.NOT_FOUND, f"there is {', '.join(self._pages)}"))
            return
        connection.path = request.path
        connection.deadline = self._monotonic() + PAGE_PATIENCE
        self._ask(connection, may_be_late=True)

    def _ask(self, connection: Connection, *, may_be_late: bool) -> None:
        if connection.page is None:
            return
        try:
            response = connection.page(may_be_late)
        except Exception:
            log.exception("http_page_failed", path=connection.path)
            response = in_words(
                HTTPStatus.INTERNAL_SERVER_ERROR, "this page is broken; the log of the service says why"
            )
        if response is None and not may_be_late:
            response = in_words(HTTPStatus.SERVICE_UNAVAILABLE, "this page is late")
        if response is not None:
            self._reply(connection, response)

    def _reply(self, connection: Connection, response: Response) -> None:
        self.requests[connection.path, response.status.value] += 1
        connection.page, connection.is_answered = None, True
        parts = (response.head(), *(response.parts if connection.wants_body else ()))
        connection.outgoing.extend(memoryview(part) for part in parts if part)
        connection.deadline = self._monotonic() + SENDING_PATIENCE
        self._selector.modify(connection, selectors.EVENT_WRITE)

    def _send(self, connection: Connection) -> None:
        outgoing = connection.outgoing
        sent = connection.wire.send(outgoing[0])
        if sent < len(outgoing[0]):
            outgoing[0] = outgoing[0][sent:]
            return
        outgoing.popleft()
        if not outgoing:
            # Closing while something of the caller's is unread would take back what has not arrived yet.
            connection.wire.shutdown(socket.SHUT_WR)
            connection.deadline = self._monotonic() + FAREWELL_PATIENCE
            self._selector.modify(connection, selectors.EVENT_READ)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection)
        connection.wire.close()

    def _close_all(self) -> None:
        for connection in list(self._connections):
            self._close(connection)
        self._close_listener()


def open_listener(address: ListenAddress) -> socket.socket:
    """Take the address, without waiting for anybody. Raises OSError when it is not to be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of the service before this one may still be fading away.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        listener.settimeout(0)
    except OSError:
        listener.close()
        raise
    return listener
