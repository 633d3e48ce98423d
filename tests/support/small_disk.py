"""A disk of its own, with a PostgreSQL server or without, that can be filled to the last byte.

    with SmallDisk(memory_path / "disk", migrated_postgres) as disk:
        disk.fill()
        psycopg.connect(disk.server.url).execute(...)    # DiskFull
        disk.free()

Needs root and the right to mount; skips the test where that is missing.
"""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.postgres import PostgresUnderTest, copy_server

# A migrated database with its server takes 41 MB.
_MEGABYTES = 80
# Two segments are the least; what is kept for later use would still take data when the disk is full.
_SETTINGS = {"min_wal_size": "8MB", "max_wal_size": "16MB"}
_ZEROS = bytes(1_000_000)
# The disk goes when the pipe closes: with the test, or with the process that runs it, however that ends.
_HOLD_DISK = """\
mount -t tmpfs -o "size=$2m,mode=0755" small-disk "$1" || exit
echo mounted
read -r _
umount "$1" 2>/dev/null || umount --lazy "$1"
"""


class SmallFolder:
    """A disk in memory, mounted at `folder`."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._ballast = folder / "ballast"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._mount(self._stack)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def forbid_writing(self) -> None:
        """Mount it for reading only; nobody may have a file open for writing."""
        self._remount("ro")

    def allow_writing(self) -> None:
        self._remount("rw")

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=True)

    def fill(self) -> None:
        """Leave no byte free. What the server gives back afterwards is free for it again."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(_ZEROS)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Give back all that `fill` took."""
        self._ballast.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def _mount(self, stack: ExitStack) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        self.folder.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _HOLD_DISK, "sh", self.folder, str(self._megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the process that runs the tests
        )
        assert process.stdout is not None
        if process.stdout.readline() != "mounted\n":
            reason = process.communicate()[1].strip().split("\n", 1)[0]
            pytest.skip(f"a small disk cannot be mounted: {reason}")
        stack.callback(process.communicate)


class SmallDisk(SmallFolder):
    """A small folder with a running copy of the stopped server in `source` and its log on it.

    A server that cannot write its journal gives up: `server.start` starts it again once there is room.
    """

    def __init__(self, folder: Path, source: Path, *, megabytes: int = _MEGABYTES) -> None:
        super().__init__(folder, megabytes=megabytes)
        self._source = source

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._mount(stack)
            directory = copy_server(self._source, self.folder / "server")
            self.server = stack.enter_context(PostgresUnderTest(directory, settings=_SETTINGS))
            self._stack = stack.pop_all()
        return self
