"""What a command writes: copied on with a look at it, or measured without touching it."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import struct
import time

STDIN, STDOUT, STDERR = 0, 1, 2
CHUNK = 65536
# As much as a pipe may hold. It is what can have been written before a question and not been copied yet.
LARGEST_PIPE = 1 << 20
COUNT = struct.Struct("=Q")


def close_on_exec_what_is_closed() -> set[int]:
    """Fill the standard descriptors that are closed, so that no file of ours becomes one, and answer which those are."""
    # The lowest that is free is taken, and the command finds it closed again.
    return {os.open(os.devnull, os.O_RDWR) for descriptor in (STDIN, STDOUT, STDERR) if not _is_open(descriptor)}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Growth:
    """Measures what is written to a file, without standing between: by how far the common position in it moves."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._before = self._position()

    def bytes(self) -> int | None:
        """How many bytes were written until now; None when that is unknown."""
        grown = self._position() - self._before
        return grown if self._is_file and grown >= 0 else None

    def _position(self) -> int:
        if not self._is_file:
            return 0
        if fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & os.O_APPEND:
            return os.fstat(self._descriptor).st_size
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


def copier(target: int, *, keep: int) -> Copier | None:
    """Start a copier. None where there is no process or descriptor left for it: then the command writes straight on."""
    try:
        return Copier(target, keep=keep)
    except OSError:
        return None


class Copier:
    """A process that copies a pipe to a descriptor, counts the bytes and keeps the last of them.

    A process and no thread, because the pipe has to outlive automon-run: where that is killed, or the command leaves
    something in the background, whoever still writes must not be ended by SIGPIPE. It ends when nobody can write any more.
    """

    def __init__(self, target: int, *, keep: int) -> None:
        source, self.inlet = os.pipe()
        question, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        if os.fork() == 0:
            try:
                _keep_open(source, target, question, answer)
                _Copying(source, target, keep).serve(question, answer)
            finally:
                os._exit(0)
        for ours in (source, question, answer):
            os.close(ours)

    def ask(self, deadline: float) -> tuple[int | None, bytes]:
        """How many bytes there were until now, and the last of them. None when the answer is not there by the deadline."""
        try:
            os.write(self._ask, b"?")
            answer = self._read_answer(deadline)
        except OSError:  # somebody killed it
            return None, b""
        return (COUNT.unpack_from(answer)[0], answer[COUNT.size :]) if answer else (None, b"")

    def _read_answer(self, deadline: float) -> bytes:
        answer = b""
        readable = select.poll()
        readable.register(self._answer, select.POLLIN)
        while readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
            data = os.read(self._answer, CHUNK)
            if not data:
                return answer
            answer += data
        return b""


def _keep_open(*descriptors: int) -> None:
    """Close all others: a pipe stays open as long as anybody holds its end, and a lock as long as its file is open."""
    edges = [-1, *sorted(descriptors), os.sysconf("SC_OPEN_MAX")]
    for below, above in zip(edges, edges[1:]):  # noqa: B905, RUF007 - Python 3.10 is meant as well
        os.closerange(below + 1, above)


class _Copying:
    """What goes on in the process."""

    def __init__(self, source: int, target: int, keep: int) -> None:
        self._source, self._target, self._keep = source, target, keep
        self._count = 0
        self._tail = b""
        self._poll = select.poll()
        self._is_open = True
        self._poll.register(source, select.POLLIN)
        os.set_blocking(source, False)

    def serve(self, question: int, answer: int) -> None:
        """Copy until nobody can write any more. The one question is answered when what was written before it is copied."""
        self._poll.register(question, select.POLLIN)
        asked = False
        while self._is_open or not asked:
            ready = dict(self._poll.poll())
            if self._is_open and self._source in ready:
                self._copy(CHUNK)
            if question in ready:
                asked = True
                self._poll.unregister(question)
                if os.read(question, 1):  # nothing to read: automon-run was killed
                    self._copy(LARGEST_PIPE)
                    os.write(answer, COUNT.pack(self._count) + self._tail)
                os.close(answer)

    def _copy(self, most: int) -> None:
        """Copy what is there, as far as it is not much more than so many bytes."""
        while self._is_open and most > 0:
            try:
                data = os.read(self._source, CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._end()
                return
            most -= len(data)
            self._count += len(data)
            tail = self._tail + data
            self._tail = tail[max(0, len(tail) - self._keep) :]
            self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._write_some(data) :]

    def _write_some(self, data: bytes) -> int:
        """Write what can be written, and answer how many bytes are done with."""
        try:
            return os.write(self._target, data)
        except BlockingIOError:  # somebody made the terminal or the pipe so; it is not ours to change
            writable = select.poll()
            writable.register(self._target, select.POLLOUT)
            writable.poll()
            return 0
        except OSError as error:
            if error.errno == errno.EPIPE:
                self._end()  # the command gets its SIGPIPE, as it would without us
            return len(data)  # a full disk: the command goes on, as most do

    def _end(self) -> None:
        self._is_open = False
        self._poll.unregister(self._source)
        os.close(self._source)
