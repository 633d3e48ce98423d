"""Writes entries with fields of their own to the systemd journal (the "native protocol" of systemd-journald)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

SOCKET = Path("/run/systemd/journal/socket")
# Seconds for which a full journal may hold up the one who writes.
PATIENCE = 0.5
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class JournalFullError(Exception):
    """The journal took no entry in time. It would not take the same text from stderr either."""


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Say whether the stream goes to the systemd journal: JOURNAL_STREAM names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Journal:
    """The journal behind that socket. It is connected to anew for each entry: journald may be restarted at any time."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._patience = PATIENCE

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry. Raises OSError when there is no journal, or it refuses; JournalFullError when it hangs."""
        data = encode(fields)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(self._patience)
            channel.connect(self._path)
            try:
                _send(channel, data)
            except (TimeoutError, BlockingIOError) as error:
                # Who waited once for a journal that hangs does not wait for it with every line.
                self._patience = 0.0
                raise JournalFullError from error
        self._patience = PATIENCE


def encode(fields: Mapping[str, str]) -> bytes:
    """Write the fields as journald reads them. A value with a line break is preceded by its length in 8 bytes."""
    return b"".join(_encode_field(name, value.encode("utf-8", "replace")) for name, value in fields.items())


def _encode_field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(value)), value)
    return b"%s=%s\n" % (name.encode("ascii"), value)


def _send(channel: socket.socket, data: bytes) -> None:
    try:
        channel.sendall(data)
    except OSError as error:
        if not _is_too_long(error):
            raise
        _send_as_file(channel, data)


def _is_too_long(error: OSError) -> bool:
    return error.errno in (errno.EMSGSIZE, errno.ENOBUFS)


def _send_as_file(channel: socket.socket, data: bytes) -> None:
    """Hand over a file in memory that nobody can change any more: journald takes no other from ordinary users."""
    handle = os.memfd_create("automon-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(handle, "wb", buffering=0) as file:
        file.write(data)
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(channel, [b""], [handle])
