"""The server's settings: small in memory, quiet in the log, safe on disk unless told otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from automon.embedded.layout import HOST, NAME

_SMALL = {
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum_max_workers": "1",
    "max_parallel_workers": "0",
    "max_worker_processes": "2",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "jit": "off",
}
_QUIET = {
    "cluster_name": NAME,
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "timezone": "UTC",
}
# Commits stay synchronous: what was committed must survive kill -9 of the server, if not of the machine.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
_FIRST_MAJOR_WITH_IO_METHOD = 18


def server_settings(major: int, sockets: Path, port: int, *, durable: bool) -> dict[str, str]:
    quoted = str(sockets).replace('"', '""')
    return {
        **_SMALL,
        **({"io_method": "sync"} if major >= _FIRST_MAJOR_WITH_IO_METHOD else {}),
        **_QUIET,
        "fsync": "on",
        **({} if durable else _NOT_DURABLE),
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
    }


def as_options(settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        yield "-c"
        yield f"{name}={value}"
