"""A checkout for one test: the files of this one by links, an environment that counts as installed, and its own data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.markdown import ROOT
from tests.support.waiting import wait_until

_LEFT_OUT = {".venv", ".automon", ".git"}
# What a developer's shell may hold and a newcomer's does not.
_FOREIGN = ("DATABASE_URL", "SLACK_WEBHOOK_URL", "NO_COLOR")
_FOREIGN_BEGINNINGS = ("AUTOMON_", "PG", "PYTEST_", "MAKE")


def newcomers_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _FOREIGN and not name.startswith(_FOREIGN_BEGINNINGS)
    }
    return kept | {"AUTOMON_LOG_FORMAT": "console"} | dict(extra or {})


def make_checkout(folder: Path) -> Path:
    """Link everything into that folder. Its `.venv` is the environment of these tests, newer than what it is made of."""
    for entry in ROOT.iterdir():
        if entry.name not in _LEFT_OUT and not entry.name.endswith("_cache"):
            (folder / entry.name).symlink_to(entry)
    venv = folder / ".venv"
    venv.mkdir()
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", venv)
    for name in ("bin", "lib"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    for stamp in (".run", ".dev"):
        (venv / stamp).touch()
    return folder


class RunningService:
    """A service that was started by a command; what it prints is in `output`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, text: str, seconds: float = 40) -> str:
        """Wait until the output holds that text and return all of it."""
        wait_until(lambda: text in self.output or self.process.poll() is not None, seconds=seconds, what=text)
        assert text in self.output, self.output
        return self.output


@contextmanager
def running(command: str, folder: Path, environment: Mapping[str, str]) -> Iterator[RunningService]:
    """Run a command of a page until the end of the test, then end it as Ctrl-C does."""
    log = folder / "service.log"
    with log.open("wb") as output:
        # In a group of its own: Ctrl-C goes to all of a terminal's group, and to nobody else.
        process = subprocess.Popen(
            command, shell=True, cwd=folder, env=dict(environment), stdout=output, stderr=output, process_group=0
        )
    try:
        yield RunningService(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 2)
        process.wait(30)


def shell(script: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as somebody who pastes it: a failing line does not stop the next."""
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=90, check=False
    )
