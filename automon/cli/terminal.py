"""A terminal that a program draws on and reads keys from, and that is as it was afterwards, however the program ends."""

from __future__ import annotations

import base64
import os
import select
import signal
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, MappingProxyType
from typing import Any, Self

# Another screen without a cursor, on which no line wraps; and back.
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
KEYS = MappingProxyType(
    {
        "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
        "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape",
    }
)  # fmt: skip
# The rest of a key's sequence comes at once or, over a slow line, very soon; what comes later is a key by itself.
SEQUENCE_PATIENCE = 0.05
SMALLEST = (40, 10)


class Ended(SystemExit):
    """A signal asks for the end; its code is that of a process that a signal has ended."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Terminal:
    """The terminal of stdin and stdout, to be used as a context. Reading a key also ends when the size changes or `wake` is called."""

    def __init__(self) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._keys: deque[str] = deque()
        self._wake_end, self._woken_end = os.pipe()[::-1]
        os.set_blocking(self._wake_end, False)
        os.set_blocking(self._woken_end, False)
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._in)
        # First, so that whatever comes from here on finds the way back.
        for number, handler in (
            (signal.SIGTERM, _end), (signal.SIGHUP, _end), (signal.SIGTSTP, self._suspend), (signal.SIGWINCH, self._resized),
        ):  # fmt: skip
            self._handlers[number] = signal.signal(number, handler)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # A second signal must not come between the terminal and its old state.
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._give_back()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._wake_end)
            os.close(self._woken_end)

    def _take(self) -> None:
        tty.setcbreak(self._in)
        self._write(ENTER)

    def _give_back(self) -> None:
        with suppress(OSError):
            self._write(LEAVE)
        with suppress(termios.error):  # it has been closed
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _suspend(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  a handler's shape
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here it is gone on with.
        signal.signal(signal.SIGTSTP, self._suspend)
        self._take()
        self.wake()

    def _resized(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  a handler's shape
        self.wake()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; of a terminal that does not say, 80 by 24."""
        try:
            columns, lines = os.get_terminal_size(self._out)
        except OSError:
            columns, lines = 0, 0
        return (columns, lines) if columns and lines else (80, 24)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines and nothing else; they fit the terminal and hold no control characters but colours."""
        self._write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]) + f"{lines[-1]}\x1b[K\x1b[J")

    def copy(self, text: str) -> None:
        """Put a text into the reader's clipboard, also through ssh (OSC 52); a terminal that does not know it ignores it."""
        self._write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")

    def wake(self) -> None:
        """Have `key` return, from any thread or a signal handler."""
        with suppress(OSError):
            os.write(self._wake_end, b".")

    def key(self, seconds: float) -> str | None:
        """Wait for a key: one character or a name of KEYS; "end" when the terminal is gone; None when there was none in time."""
        if not self._keys:
            self._keys.extend(keys_of(self._read(max(seconds, 0))))
        return self._keys.popleft() if self._keys else None

    def _read(self, seconds: float) -> bytes | None:
        readable, _, _ = select.select([self._in, self._woken_end], [], [], seconds)
        if self._woken_end in readable:
            with suppress(BlockingIOError):
                os.read(self._woken_end, 4096)
        if self._in not in readable:
            return b""
        try:
            read = os.read(self._in, 4096)
        except OSError:
            return None
        while read.endswith((b"\x1b", b"\x1b[", b"\x1bO")) and select.select([self._in], [], [], SEQUENCE_PATIENCE)[0]:
            more = os.read(self._in, 4096)
            if not more:
                break
            read += more
        return read or None

    def _write(self, text: str) -> None:
        left = text.encode(sys.stdout.encoding or "ascii", "replace")
        while left:
            left = left[os.write(self._out, left) :]


def keys_of(read: bytes | None) -> Iterator[str]:
    """Split what a terminal sends into keys; what has no meaning here is left out. None: the terminal is gone."""
    if read is None:
        yield "end"
        return
    text = read.decode("utf-8", "ignore")
    while text:
        name = next((sequence for sequence in KEYS if len(sequence) > 1 and text.startswith(sequence)), None)
        if name is None and text.startswith(("\x1b[", "\x1bO")):
            length = next(
                (at + 1 for at, character in enumerate(text) if at > 1 and "@" <= character <= "~"), len(text)
            )
            text = text[length:]
            continue
        taken = name or text[0]
        text = text[len(taken) :]
        if taken in KEYS or taken.isprintable():
            yield KEYS.get(taken, taken)


def is_capable(environ: Mapping[str, str]) -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and environ.get("TERM", "") not in ("", "dumb")


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  a handler's shape
    raise Ended(number)


@contextmanager
def quietly_interrupted() -> Iterator[None]:
    """Take Ctrl-C as the wish to leave."""
    with suppress(KeyboardInterrupt):
        yield
