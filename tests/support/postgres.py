"""PostgreSQL servers for tests: in memory, without fsync, gone with the process that runs the tests."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg import sql

from automon.embedded import EmbeddedPostgres
from automon.embedded.account import Account
from automon.embedded.binaries import Binaries
from automon.embedded.log import ServerLog
from automon.embedded.postmaster import read_pid_file, serves
from tests.support.kinds import CHOSEN, DatabaseKind

BIN_DIR = Path(os.environ["AUTOMON_TEST_PG_BIN"]) if os.environ.get("AUTOMON_TEST_PG_BIN") else None
_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 1_000_000_000  # a container's /dev/shm is often 64 MB
_PREFIX = "automon-tests-"
# Autovacuum would make plans and timings differ from run to run; a test that needs statistics asks for them.
# Shared memory in the data directory goes with it, whoever is killed.
_SETTINGS = {"autovacuum": "off", "dynamic_shared_memory_type": "mmap"}
_FIRST_WITH_STRATEGY = 150_000


class PostgresUnderTest(EmbeddedPostgres):
    """A server on any free port whose data need not survive the machine.

    `settings` go before those of tests, and `environment` is added to the clean one that the server runs in.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(directory, bin_dir=BIN_DIR, settings={**_SETTINGS, **settings}, durable=False, port=0)
        self._environment = environment
        self._numbers = itertools.count(1)

    def _launch(
        self, binaries: Binaries, account: Account, settings: dict[str, str], log: ServerLog
    ) -> subprocess.Popen[bytes]:
        # The last step before the server, after it has become who it shall be, and for nothing else that is run.
        adding = ("/usr/bin/env", *(f"{name}={value}" for name, value in self._environment.items()))
        become = (*account.become, *(adding if self._environment else ()))
        return super()._launch(binaries, dataclasses.replace(account, become=become), settings, log)

    def kill(self) -> None:
        """End the server as kill -9 and the out-of-memory killer do; `start` starts it again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def create_database(self, template: str | None = None, kind: DatabaseKind = CHOSEN) -> str:
        """Make a database of that kind, a copy of `template` if one of the same kind is named, and return its name."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.address.socket_url("postgres"), autocommit=True) as admin:
            # Copying the files is faster than logging the pages when nothing is synced.
            copy = " STRATEGY FILE_COPY" if admin.info.server_version >= _FIRST_WITH_STRATEGY else ""
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}" + copy).format(
                    sql.Identifier(name), sql.Identifier(template or "template0")
                )
                + (sql.SQL("") if template else kind.fixed(admin.info.server_version))
            )
            for statement in kind.settings_of(name):  # a copy does not have them
                admin.execute(statement)
        if not template and kind.inhabitants:
            with psycopg.connect(self.address.socket_url(name), autocommit=True) as link:
                link.execute(kind.inhabitants)
        return name

    def drop_database(self, name: str) -> None:
        """Remove that database, whoever is still connected to it."""
        with psycopg.connect(self.address.socket_url("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close_to_clients(self, name: str) -> None:
        """Keep clients out of that database, so that it can be copied at any time."""
        with psycopg.connect(self.address.socket_url("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


def make_directory() -> Path:
    """Make a directory for servers, in memory if there is room, and remove those that killed test runs left behind."""
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    home = _MEMORY if roomy else Path(tempfile.gettempdir())
    _remove_abandoned(home)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=home))


def copy_server(source: Path, target: Path) -> Path:
    """Copy the directory of a stopped server, owners included, and return the copy."""
    target.mkdir(parents=True)
    subprocess.run(["cp", "-a", *(source / name for name in ("data", "password")), target], check=True)
    return target


def _remove_abandoned(home: Path) -> None:
    for directory in home.glob(f"{_PREFIX}*-*"):
        owner = directory.name.removeprefix(_PREFIX).split("-")[0]
        with contextlib.suppress(OSError):  # of another user
            if not Path("/proc", owner).exists() and not any(map(_is_served, directory.glob("**/data"))):
                shutil.rmtree(directory)


def _is_served(data: Path) -> bool:
    found = read_pid_file(data)
    return found is not None and serves(found.pid, data)
