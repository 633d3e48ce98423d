"""Starts and watches a second process that owns an embedded server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_ROOT = Path(__file__).parents[2]


class Owner:
    def __init__(self, directory: Path, *, before: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.support.embedded_owner", directory],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def server_pid(self) -> int:
        """Wait until the server is ready and return the number of its process."""
        line = self._read_line()
        assert line.isdigit(), line + self._pipe(self._process.stderr).read()
        return int(line)

    def ask(self, statement: str) -> str:
        """Execute and commit that statement; return its first row or its status."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(statement + "\n")
        pipe.flush()
        return self._read_line()

    def wait_for(self, line: str) -> None:
        assert self._read_line() == line

    def kill(self) -> None:
        """Send kill -9 and do not wait: what follows must bear that."""
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def _read_line(self) -> str:
        return self._pipe(self._process.stdout).readline().strip()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
