"""A PgBouncer in transaction mode in front of a server of the tests, on 127.0.0.1.

    with PgBouncer(server, memory_path / "pgbouncer", pool_size=1) as pooler:
        psycopg.connect(pooler.url("automon"))

It runs as the user who runs the server: as root it refuses to. It ends with the test, or else with the process.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import pytest

from automon.embedded.account import ENVIRONMENT, Account, choose_account
from automon.embedded.binaries import find_binaries
from automon.embedded.layout import HOST, NAME, make_private
from tests.support.postgres import BIN_DIR, PostgresUnderTest
from tests.support.waiting import wait_until

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_FIRST_WITH_PREPARED_STATEMENTS = (1, 21)
_ATTEMPTS = 5


class PgBouncer:
    """Lends at most `pool_size` connections of a database to all who connect, each for one transaction.

    The rest is as PgBouncer comes: it refuses startup parameters that it does not know, and resets nothing between
    transactions. Prepared statements are not carried over, as in its versions before 1.21. `server` must be running;
    skips the test when there is no PgBouncer. `settings` go before what it sets otherwise.
    """

    def __init__(
        self,
        server: PostgresUnderTest,
        folder: Path,
        *,
        pool_size: int = 2,
        settings: Mapping[str, object] = MappingProxyType({}),
        each_connection: str = "",
    ) -> None:
        """`each_connection` is a statement with which a connection to the server begins."""
        self._program = _find_pgbouncer()
        self._server = server
        self._folder = folder
        self._pool_size = pool_size
        self._settings = settings
        self._each_connection = each_connection
        self._password = server.password_file.read_text(encoding="utf-8").strip()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = self._server.password_file.with_name("data")
        account = choose_account(self._folder, data, find_binaries(BIN_DIR))
        make_private(self._folder, account.uid, account.gid)
        try:
            self._launch_until_ready(account)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def url(self, database: str = NAME) -> str:
        """Return the URL of a database through the pooler, with the password in it; `pgbouncer` is its console."""
        return f"postgresql://{NAME}:{self._password}@{HOST}:{self.port}/{database}"

    def _launch_until_ready(self, account: Account) -> None:
        for _ in range(_ATTEMPTS):
            self.port = _free_port()
            self._launch(account)
            if self._became_ready():
                return
            if "nowhere to listen on" not in self.log:
                break
        raise AssertionError(f"PgBouncer did not start:\n{self.log}")

    def _launch(self, account: Account) -> None:
        users = self._folder / "users.txt"
        config = self._folder / "pgbouncer.ini"
        for path, text in ((users, f'"{NAME}" "{self._password}"\n'), (config, self._config(users))):
            path.write_text(text, encoding="utf-8")
            os.chown(path, account.uid, account.gid)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                account.command(self._program, config),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )

    def _config(self, users: Path) -> str:
        pooler: dict[str, object] = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "stats_users": NAME,
            "pool_mode": "transaction",
            "default_pool_size": self._pool_size,
        }
        if _version(self._program) >= _FIRST_WITH_PREPARED_STATEMENTS:
            pooler["max_prepared_statements"] = 0
        pooler.update(self._settings)
        begin = self._each_connection.replace("'", "''")
        databases = {
            "*": f"host={HOST} port={self._server.address.port}" + (f" connect_query='{begin}'" if begin else "")
        }
        return _section("databases", databases) + _section("pgbouncer", pooler)

    def _became_ready(self) -> bool:
        process = self._process
        assert process is not None
        wait_until(lambda: "process up" in self.log or process.poll() is not None, what="PgBouncer up or ended")
        return process.poll() is None

    def _end(self) -> None:
        # Newer ones wait for their clients when asked to end, and there is nothing to lose.
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _find_pgbouncer() -> Path:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
    if found is None:
        pytest.skip("there is no pgbouncer on this machine")
    return Path(found)


def _version(program: Path) -> tuple[int, int]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def _section(name: str, values: Mapping[str, object]) -> str:
    return "\n".join((f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
