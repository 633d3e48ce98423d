"""A TCP proxy that fails as networks do: cuts, goes deaf, refuses, delays."""

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
    """Listens on 127.0.0.1:`port` and passes everything on to the target, until told otherwise.

    A deaf proxy accepts and acknowledges like a live one and then says nothing: what a hung server looks like.
    """

    def __init__(self, target_port: int, target_host: str = HOST) -> None:
        self._target = (target_host, target_port)
        self._listener = _bind(0)
        self.port: int = self._listener.getsockname()[1]
        self._hearing = threading.Event()
        self._hearing.set()
        self._delay_seconds = 0.0
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.accepted = 0
        self.allow()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def allow(self) -> None:
        """Pass everything on, at once, and accept new connections."""
        self._delay_seconds = 0.0
        self._hearing.set()
        self._listener.listen()
        self._spawn(self._accept, self._listener)

    def delay(self, seconds: float) -> None:
        """Hold back each piece of data, either way, for that long."""
        self._delay_seconds = seconds

    def go_deaf(self) -> None:
        """Accept connections and data, pass nothing on and answer nothing; `allow` delivers what was held back."""
        self._hearing.clear()

    def cut(self) -> None:
        """Reset every connection there is; new ones are treated as before."""
        with self._lock:
            doomed, self._sockets = self._sockets, set()
        for link in doomed:
            _reset(link)

    def refuse(self) -> None:
        """Refuse new connections and reset those there are; the port stays this proxy's."""
        _wake_and_close(self._listener)
        self._listener = _bind(self.port)
        self.cut()

    def close(self) -> None:
        self._closed.set()
        self._hearing.set()
        _wake_and_close(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
