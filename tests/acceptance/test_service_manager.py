"""What a service manager hears: the datagrams of sd_notify(3), on a socket of the test's own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartService
from tests.support.service import make_config

NOBODY_LISTENS = "postgresql://automon@127.0.0.1:9/nowhere"


class Manager:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait_for(self, line: str, *, count: int = 1, seconds: float = 20) -> None:
        """Wait until so many lines were heard that begin so."""
        deadline = time.monotonic() + seconds
        while self.times(line) < count:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                raise AssertionError(f"no {line} within {seconds} s, only {self.heard}") from None

    def times(self, line: str) -> int:
        """Answer how many lines were heard that begin so, of what was waited for."""
        return sum(said.startswith(line) for datagram in self.heard for said in datagram.splitlines())

    def hear(self) -> None:
        """Hear all that was said until now."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.heard.append(self._socket.recv(4096).decode())

    def forget(self) -> None:
        self.heard.clear()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_the_manager_hears_of_readiness_life_reload_and_end(manager: Manager, start_service: StartService) -> None:
    service = start_service(None, {"NOTIFY_SOCKET": str(manager.path)})

    manager.wait_for("READY=1")
    manager.wait_for("STATUS=checks run")
    manager.wait_for("WATCHDOG=1")
    manager.forget()
    service.reload(make_config())
    manager.wait_for("RELOADING=1")
    manager.wait_for("MONOTONIC_USEC=")
    manager.wait_for("READY=1")
    service.reload("{}}")
    manager.wait_for("STATUS=config rejected")
    assert service.stop() == 0
    manager.wait_for("STOPPING=1")


def test_the_service_is_ready_and_says_that_it_waits_while_its_database_is_away(
    manager: Manager, start_service: StartService
) -> None:
    start_service(None, {"NOTIFY_SOCKET": str(manager.path), "DATABASE_URL": NOBODY_LISTENS})

    manager.wait_for("READY=1")
    manager.wait_for("STATUS=waiting for the database")
    manager.wait_for("WATCHDOG=1")


def test_a_manager_on_an_abstract_socket_is_heard_too(tmp_path: Path, start_service: StartService) -> None:
    name = f"automon-test-{tmp_path.name}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(20)
        start_service(None, {"NOTIFY_SOCKET": f"@{name}"})
        heard = {listener.recv(4096).decode() for _ in range(2)}
    assert "READY=1" in heard
