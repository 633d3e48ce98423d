"""What lies where in the directory of an embedded server, and how a client reaches it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from automon.embedded.postmaster import read_pid_file, serves
from automon.errors import EmbeddedPostgresError

NAME = "automon"  # of the role and of the database
HOST = "127.0.0.1"
_TMP = Path("/tmp")  # noqa: S108 - what is made there is private, and a stranger's is refused
_LONGEST_SOCKET_PATH = 107  # bytes; the kernel's sun_path less its closing zero


@dataclass(frozen=True, slots=True)
class Layout:
    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def port(self) -> Path:
        return self.directory / "port"

    @property
    def password(self) -> Path:
        return self.directory / "password"

    @property
    def passfile(self) -> Path:
        return self.directory / "pgpass"

    def sockets(self) -> Path:
        """Return the private folder of the socket: in the directory, or where paths are shorter if that is needed."""
        own = self.directory / "run"
        if _may_hold_sockets(own):
            return own
        name = f"{NAME}-{os.geteuid()}-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]}"
        homes = (Path(home) for home in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()) if home)
        return next((home / name for home in homes if home.is_dir() and _may_hold_sockets(home / name)), _TMP / name)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens. Neither URL holds a secret."""

    sockets: Path
    port: int
    passfile: Path

    @property
    def socket_file(self) -> Path:
        return self.sockets / f".s.PGSQL.{self.port}"

    def socket_url(self, database: str = NAME) -> str:
        """Return the URL that asks for no password: the socket's folder is closed to everybody else."""
        return f"postgresql://{NAME}@/{quote(database, safe='')}?host={_quoted(self.sockets)}&port={self.port}"

    def tcp_url(self, database: str = NAME) -> str:
        """Return the URL that names host and port; libpq reads the password from the file that it names."""
        return f"postgresql://{NAME}@{HOST}:{self.port}/{quote(database, safe='')}?passfile={_quoted(self.passfile)}"


def find_running(directory: Path) -> str | None:
    """Return the URL of the server that runs in that directory and accepts connections now, else None."""
    layout = Layout(directory.resolve())
    try:
        found = read_pid_file(layout.data)
    except OSError:  # another user's
        return None
    if found is None or not found.ready or not serves(found.pid, layout.data):
        return None
    return Address(found.sockets, found.port, layout.passfile).socket_url()


def make_private(folder: Path, uid: int, gid: int) -> None:
    """Make that folder, or take the one that is there, for that user alone; refuse a stranger's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_uid not in (os.geteuid(), uid):
            raise EmbeddedPostgresError(f"{folder} belongs to another user", hint="Remove it, or set TMPDIR.")
        os.fchmod(handle, 0o700)
        if os.geteuid() == 0:
            os.fchown(handle, uid, gid)
    finally:
        os.close(handle)


def write_private(path: Path, text: str) -> None:
    """Put that text into that file, readable by this user alone, all of it or nothing."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _may_hold_sockets(folder: Path) -> bool:
    path = os.fsencode(folder / ".s.PGSQL.65535")
    return len(path) <= _LONGEST_SOCKET_PATH and b"," not in path  # libpq takes a comma for the end of a host


def _quoted(path: Path) -> str:
    return quote(os.fsencode(path), safe="/")
