"""A wall clock that tests set for other processes, while they run.

    clock = ShiftedClock(tmp_path / "clock")
    with ServiceProcess(folder, config, {"DATABASE_URL": url, **clock.environment()}) as service:
        clock.shift(timedelta(hours=-1))     # an hour back
        clock.shift(timedelta())             # and right again

Their monotonic clock stays true, and so does the kernel's time in files' dates.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("shifted_clock.c")
_VARIABLE = "AUTOMON_TEST_CLOCK"
_MICROSECOND = timedelta(microseconds=1)


class ShiftedClock:
    """A clock for all processes that are started with its environment; at first it is true.

    `folder` holds a library that others load: they must be able to read it, and its disk must not be `noexec`, which
    the memory of a container often is. Skips the test when there is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._library = _compile(folder / "shifted_clock.so")
        self._file = folder / "shift"
        self._microseconds = _map_number(self._file)

    def environment(self) -> dict[str, str]:
        """Give what a process needs in its environment to live by this clock."""
        return {"LD_PRELOAD": str(self._library), _VARIABLE: str(self._file)}

    def shift(self, offset: timedelta) -> None:
        """Let the clock be that far ahead of the true one, or behind it, from this moment on; offsets do not add up."""
        self._microseconds[0] = offset // _MICROSECOND


def _compile(library: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc) on this machine")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
    library.chmod(0o755)
    return library


def _map_number(path: Path) -> memoryview[int]:
    """Make a file of one signed number of 8 bytes, which everybody may read, and share its memory."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.fchmod(handle, 0o644)
        os.truncate(handle, 8)
        # Through the mapping all 8 bytes change at once; a write to the file might be seen half done.
        return memoryview(mmap.mmap(handle, 8)).cast("q")
    finally:
        os.close(handle)
