"""What wakes a thread that waits, also while it waits for a server."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable


class Bell:
    """`ring` may be called by any thread and by signal handlers; `on_ring` is called in the thread that waits."""

    def __init__(self, on_ring: Callable[[], None]) -> None:
        self._on_ring = on_ring
        self._hear, self._pull = socket.socketpair()
        self._hear.settimeout(0)
        self._pull.settimeout(0)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # it has rung so often already that one more is not needed; or it is closed
            self._pull.send(b"\0")

    def fileno(self) -> int:
        return self._hear.fileno()

    def answer(self) -> None:
        with contextlib.suppress(OSError):
            self._hear.recv(4096)
        self._on_ring()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds, or once it has rung."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._hear, selectors.EVENT_READ)
            if selector.select(seconds):
                with contextlib.suppress(OSError):
                    self._hear.recv(4096)

    def close(self) -> None:
        self._hear.close()
        self._pull.close()
