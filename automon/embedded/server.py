"""Runs one PostgreSQL server as a child of this process, and ends it with this process, however that ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from automon.embedded.account import ENVIRONMENT, Account, choose_account
from automon.embedded.binaries import Binaries, find_binaries
from automon.embedded.cluster import prepare_cluster
from automon.embedded.layout import HOST, Address, Layout, make_private, write_private
from automon.embedded.lock import DirectoryLock
from automon.embedded.log import ServerLog, keep_small
from automon.embedded.postmaster import answers, read_pid_file, wait_for_predecessor
from automon.embedded.settings import as_options, server_settings
from automon.errors import EmbeddedPostgresError

DEFAULT_PORT = 54329
_POLL_SECONDS = 0.005
_ANSWER_SECONDS = 2.0
_ATTEMPTS = 100
_PAUSE_BETWEEN_ATTEMPTS_SECONDS = 0.1
_SILENCE_BEFORE_GIVING_UP_SECONDS = 60.0
_FAST_SHUTDOWN_SECONDS = 20.0
_IMMEDIATE_SHUTDOWN_SECONDS = 10.0


class EmbeddedPostgres:
    """A PostgreSQL server whose data, log, password and socket live in one directory.

    `port` is the one wanted on 127.0.0.1 (0: any); another is taken when it is in use, and kept for the next start,
    unless `any_port` is False: then only that one will do. `sockets` is a folder for the socket, where paths are short.
    With `durable=False` a crash of the machine may destroy the data. `start` raises EmbeddedPostgresError.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        durable: bool = True,
        port: int = DEFAULT_PORT,
        any_port: bool = True,
        sockets: Path | None = None,
    ) -> None:
        self._layout = Layout(directory.resolve())
        self._bin_dir = bin_dir
        self._settings = settings
        self._durable = durable
        self._wanted_port = port
        self._any_port = any_port
        self._sockets = sockets.resolve() if sockets else None
        self._lock = DirectoryLock(self._layout.lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None

    @property
    def address(self) -> Address:
        """Where the server listens, or did until it ended."""
        if self._address is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL was not started")
        return self._address

    @property
    def url(self) -> str:
        """The URL over the private socket: works for this user without a password, whatever PG… variables are set."""
        return self.address.socket_url()

    @property
    def tcp_url(self) -> str:
        """The URL to show to people: host and port, and the name of the file with the password, not the password."""
        return self.address.tcp_url()

    @property
    def password_file(self) -> Path:
        """The file that holds the password of role automon for connections over TCP, and nothing else."""
        return self._layout.password

    @property
    def log_file(self) -> Path:
        return self._layout.log

    @property
    def pid(self) -> int | None:
        """The number of the server's process while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def answers(self) -> bool:
        """Whether the server runs and its main process comes round: a connection gets a first answer within 2 seconds."""
        return self.running and answers(self.address.socket_file, _ANSWER_SECONDS)

    @property
    def running(self) -> bool:
        return self.pid is not None

    def keep_log_small(self) -> None:
        """Begin a log that has grown too long anew; to be called now and then while the server runs."""
        keep_small(self._layout.log)

    def start(self) -> None:
        """Start the server and return when it accepts connections; also starts one anew that has died."""
        if threading.current_thread() is not threading.main_thread():
            # The kernel ends the server with the thread that started it.
            raise EmbeddedPostgresError("the embedded PostgreSQL must be started by the main thread")
        try:
            if self.running or not self._lock.held:
                self._acquire_lock()
        except OSError as error:
            raise _unusable(self._layout.directory, error) from error
        try:
            self._start()
        except OSError as error:
            self.stop()
            raise _unusable(self._layout.directory, error) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server cleanly, roughly if it does not obey; does nothing when it does not run."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        # One that was handed in belongs to who did it.
        if self._address is not None and self._address.sockets not in (self._sockets, self._layout.directory / "run"):
            _remove_if_empty(self._address.sockets)
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _acquire_lock(self) -> None:
        # Others may pass, so that the server's user can when root starts it; everything inside is closed by itself.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        self._layout.directory.mkdir(mode=mode, parents=True, exist_ok=True)
        self._lock.acquire()

    def _start(self) -> None:
        self._address = None
        binaries = find_binaries(self._bin_dir)
        wait_for_predecessor(self._layout.data)
        account = choose_account(self._layout.directory, self._layout.data, binaries)
        prepare_cluster(self._layout, binaries, account, durable=self._durable)
        sockets = self._sockets or self._layout.sockets()
        make_private(sockets, account.uid, account.gid)
        for leftover in sockets.glob(".s.PGSQL.*"):
            leftover.unlink()  # nobody listens there, and a stranger with a dead server's number would block the start
        self._address = self._launch_until_ready(binaries, account, sockets)
        write_private(self._layout.port, f"{self._address.port}\n")

    def _launch_until_ready(self, binaries: Binaries, account: Account, sockets: Path) -> Address:
        log = ServerLog(self._layout.log)
        ports = self._ports()
        port = next(ports)
        for _ in range(_ATTEMPTS):
            settings = server_settings(binaries.major, sockets, port, durable=self._durable)
            self._process = self._launch(binaries, account, settings, log)
            if self._became_ready(self._process, log):
                return Address(sockets, port, self._layout.passfile)
            if log.says_port_is_taken():
                port = next(ports, 0)
                if not port:
                    raise _port_is_taken(self._wanted_port)
            elif log.says_memory_is_in_use():
                time.sleep(_PAUSE_BETWEEN_ATTEMPTS_SECONDS)  # children of a killed server, about to notice
            else:
                break
        raise EmbeddedPostgresError(
            f"PostgreSQL did not start; the end of {self._layout.log}:\n{log.tail()}", hint="The log has the reason."
        )

    def _ports(self) -> Iterator[int]:
        """Yield the port of the last time if it is free, then the one wanted, then any that is free, without end."""
        if not self._any_port:
            yield self._wanted_port
            return
        remembered = _read_port(self._layout.port)
        yield from (port for port in (remembered, self._wanted_port) if port and _is_free(port))
        while True:
            yield _any_free_port()

    def _launch(
        self, binaries: Binaries, account: Account, settings: dict[str, str], log: ServerLog
    ) -> subprocess.Popen[bytes]:
        options = as_options({**settings, **self._settings})
        with log.open_for_server() as output:
            return subprocess.Popen(  # noqa: S603 - a list, no shell between
                account.command(binaries.postgres, "-D", self._layout.data, *options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for this process, which still has things to write before the end
            )

    def _became_ready(self, process: subprocess.Popen[bytes], log: ServerLog) -> bool:
        """Wait until the server accepts connections or has ended; recovery takes the time that it takes."""
        while process.poll() is None:
            found = read_pid_file(self._layout.data)
            if found is not None and found.pid == process.pid and found.ready:
                return True
            if log.silent_seconds() > _SILENCE_BEFORE_GIVING_UP_SECONDS and not log.says_recovery():
                _end(process)
            time.sleep(_POLL_SECONDS)
        return False


def _unusable(directory: Path, error: OSError) -> EmbeddedPostgresError:
    message = f"cannot use {directory} for the embedded PostgreSQL: {error.strerror}: {error.filename}"
    owner = directory.stat().st_uid if directory.exists() else os.geteuid()
    if owner != os.geteuid():
        return EmbeddedPostgresError(message, hint=f"It belongs to user {owner}: run as that user, or remove it.")
    return EmbeddedPostgresError(message, hint="Choose a directory that this user may write to.")


def _port_is_taken(port: int) -> EmbeddedPostgresError:
    return EmbeddedPostgresError(
        f"port {port} of {HOST} is in use by another program",
        hint="Name another with --port, and in the DATABASE_URL of those who use this database.",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    ways = ((signal.SIGINT, _FAST_SHUTDOWN_SECONDS), (signal.SIGQUIT, _IMMEDIATE_SHUTDOWN_SECONDS))
    for way, seconds in ways:
        process.send_signal(way)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _read_port(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() and int(text) < 65536 else None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
