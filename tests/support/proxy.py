"""A TCP proxy that fails as networks and hung servers do: it cuts, goes deaf, refuses and delays."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_CHUNK_BYTES = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TcpProxy:
    """Listens on 127.0.0.1:`port` and passes everything on to the target, until told otherwise."""

    def __init__(self, target_port: int, target_host: str = HOST) -> None:
        self._target = (target_host, target_port)
        self._hearing = threading.Event()
        self._closed = threading.Event()
        self._delay_seconds = 0.0
        self._lock = threading.Lock()
        self._links: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = _bind(0)
        self._listening = False
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.allow()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def allow(self) -> None:
        """Accept new connections and pass everything on at once, also what was held back."""
        self._delay_seconds = 0.0
        self._hearing.set()
        if not self._listening:
            self._listening = True
            self._listener.listen()
            self._start(threading.Thread(target=self._accept, args=(self._listener,)))

    def delay(self, seconds: float) -> None:
        """Hold back each piece of data, either way, for that long."""
        self._delay_seconds = seconds

    def go_deaf(self) -> None:
        """Accept connections and data as before, and then pass nothing on and answer nothing."""
        self._hearing.clear()

    def cut(self) -> None:
        """Reset the connections that there are; new ones are treated as before."""
        with self._lock:
            doomed, self._links = self._links, set()
        for link in doomed:
            _reset(link)

    def refuse(self) -> None:
        """Refuse new connections and reset those that there are; the port stays this proxy's."""
        self._stop_listening()
        self._listener = _bind(self.port)
        self.cut()

    def close(self) -> None:
        self._closed.set()
        self._hearing.set()
        self._stop_listening()
        self.cut()
        for thread in list(self._threads):
            thread.join(10)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _start(self, thread: threading.Thread) -> None:
        thread.daemon = True
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # how a closed listener says so
            while True:
                client, _ = listener.accept()
                self.accepted += 1
                self._start(threading.Thread(target=self._connect, args=(client,)))

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        with self._lock:
            self._links |= {client, server}
        if not self._listening:
            self.cut()
        self._start(threading.Thread(target=self._pass_on, args=(client, server)))
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a cut, from either side
            while data := source.recv(_CHUNK_BYTES):
                self._closed.wait(self._delay_seconds)
                self._hearing.wait()
                target.sendall(data)
            self._hearing.wait()
            with self._lock:
                if target in self._links:  # a cut wakes the reader too, and must not look like a polite end
                    target.shutdown(socket.SHUT_WR)
            return
        with self._lock:
            self._links -= {source, target}
        _reset(target)
        _reset(source)


def _bind(port: int) -> socket.socket:
    """Take that port without listening on it: who connects is refused."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener


def _reset(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        link.shutdown(socket.SHUT_RD)  # wakes the thread that reads, without a polite end for the peer
    link.close()
