"""A terminal of its own for a program: it sees what is drawn, presses keys, changes the size, and says how it was left.

with TerminalProcess(["automon", "top"], folder, environment) as terminal:
    terminal.wait_for("ALERTS")
    terminal.press("q")
    assert terminal.wait() == 0
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import wait_until

FRAME = "\x1b[H"
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


class TerminalProcess:
    """A process whose stdin, stdout and stderr are a pseudo-terminal, which is also its controlling one."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, size: tuple[int, int] = (80, 24)
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size, tell=False)
        self._slave = slave
        self.modes_before = termios.tcgetattr(slave)
        self._written = ""
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], cwd=folder, env={"TERM": "xterm-256color", **environment}, stdin=slave, stdout=slave,
            stderr=slave,
        )  # fmt: skip
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._over.set()
        self._reader.join(10)
        os.close(self._slave)
        os.close(self.master)

    def _read(self) -> None:
        while not self._over.is_set():
            if not select.select([self.master], [], [], 0.05)[0]:
                continue
            try:
                read = os.read(self.master, 65536)
            except OSError:
                return
            with self._lock:
                self._written += read.decode("utf-8", "replace")

    @property
    def written(self) -> str:
        """Everything that was written, escape sequences included."""
        with self._lock:
            return self._written

    @property
    def screen(self) -> list[str]:
        """The lines of the last frame that was drawn to its end, without colours."""
        frames = [frame for frame in self.written.split(FRAME) if "\x1b[J" in frame]
        if not frames:
            return []
        return [_SEQUENCE.sub("", line) for line in frames[-1].partition("\x1b[J")[0].replace("\r", "").split("\n")]

    def wait_for(self, text: str, seconds: float = 20) -> list[str]:
        try:
            wait_until(lambda: text in "\n".join(self.screen), seconds=seconds, what=f"{text!r} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.written[-4000:]!r}") from None
        return self.screen

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, columns: int, lines: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if tell:
            os.killpg(self.process.pid, signal.SIGWINCH)

    @property
    def modes(self) -> list[Any]:
        """How the terminal is set now: as `modes_before`, or what a program has made of it."""
        return termios.tcgetattr(self._slave)

    def wait(self, seconds: float = 20) -> int:
        return self.process.wait(seconds)
