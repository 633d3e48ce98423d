"""PostgreSQL's programs for people, of the server under test, or of one that is as new."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from automon.embedded.binaries import find_binaries
from tests.support.postgres import BIN_DIR

_OF_DEBIAN = Path("/usr/lib/postgresql")


def folder_with(*programs: str) -> Path:
    """Return a folder that holds these programs, as new as the server under test; skips where there is none."""
    server = find_binaries(BIN_DIR)
    folders = [server.directory, *sorted(_OF_DEBIAN.glob("*/bin"))]
    for folder in folders:
        if all((folder / program).exists() for program in programs) and major(folder / programs[0]) >= server.major:
            return folder
    pytest.skip(f"no {', '.join(programs)} of version {server.major} or newer on this machine")


def major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split(")")[-1].split()[0].partition(".")[0])
