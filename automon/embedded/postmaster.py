"""Reads what a running server tells about itself: postmaster.pid, and its command line in /proc."""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from automon.errors import EmbeddedPostgresError

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PATIENCE_SECONDS = 3.0
_PATIENCE_WITH_A_STOPPING_ONE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PidFile:
    pid: int
    port: int
    sockets: Path
    status: str

    @property
    def ready(self) -> bool:
        return self.status == "ready"


def read_pid_file(data: Path) -> PidFile | None:
    """Return what postmaster.pid says; None when it is not there or not complete yet."""
    try:
        lines = (data / "postmaster.pid").read_bytes().splitlines()
    except FileNotFoundError:
        return None
    # Lines: pid, data directory, start time, port, folder of the socket, address, shared memory, status.
    if len(lines) < 5 or not (lines[0].lstrip(b"-").isdigit() and lines[3].isdigit()):
        return None
    status = lines[7].strip().decode() if len(lines) > 7 else ""
    # A server in single-user mode writes its pid with a minus sign.
    return PidFile(pid=abs(int(lines[0])), port=int(lines[3]), sockets=Path(os.fsdecode(lines[4])), status=status)


def serves(pid: int, data: Path) -> bool:
    """Say whether that process is a server on that data directory, and not a later owner of the number."""
    try:
        # Anybody may read this; /proc/PID/exe and cwd are closed to a container's root. A zombie has none.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].rpartition(b"/")[2] == b"postgres" and os.fsencode(data) in words


def answers(socket_file: Path, seconds: float) -> bool:
    """Say whether the server behind that socket answers a question for TLS in time: without a login or a line in its log."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(seconds)
            channel.connect(str(socket_file))
            channel.sendall(_SSL_REQUEST)
            return channel.recv(1) in (b"N", b"S")
    except OSError:
        return False


def wait_for_predecessor(data: Path) -> None:
    """Return once no server runs on that data directory: that of a killed owner needs a moment to stop by itself."""
    began = time.monotonic()
    while (found := read_pid_file(data)) is not None and serves(found.pid, data):
        stopping = found.status == "stopping"
        patience = _PATIENCE_WITH_A_STOPPING_ONE_SECONDS if stopping else _PATIENCE_SECONDS
        if time.monotonic() - began > patience:
            raise EmbeddedPostgresError(
                f"another server (pid {found.pid}) runs on {data} and does not stop",
                hint=f"If nobody needs it, stop it with: kill -INT {found.pid}",
            )
        time.sleep(0.01)
    if found is not None and Path(f"/proc/{found.pid}").exists():
        # A stranger has the dead server's number by now, as happens after a container's restart, and PostgreSQL would
        # take it for the server. A child of the dead server that still lives is seen by the shared memory.
        (data / "postmaster.pid").unlink()
