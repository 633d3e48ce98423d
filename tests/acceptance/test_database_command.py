"""`automon database`: a PostgreSQL of automon's own in the foreground, as systemd runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from automon.embedded.postmaster import read_pid_file
from tests.acceptance.test_service_manager import Manager
from tests.support.postgres import copy_server
from tests.support.service import clean_environment, run_automon
from tests.support.waiting import wait_until


@pytest.fixture
def folder(memory_path: Path, pristine_postgres: Path) -> Path:
    return copy_server(pristine_postgres, memory_path / "database")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def database(folder: Path, port: int, manager: Manager) -> Iterator[subprocess.Popen[str]]:
    environment = clean_environment({"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "3000000"})
    command = [sys.executable, "-m", "automon", "database", "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def server_pid(folder: Path) -> int:
    found = read_pid_file(folder / "data")
    assert found is not None
    return found.pid


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_is_ready_when_its_server_is_and_ends_it_in_order(folder: Path, port: int, manager: Manager) -> None:
    with database(folder, port, manager) as process:
        manager.wait_for("READY=1")
        manager.wait_for(f"STATUS=accepts connections at {folder}/run and port {port}")
        manager.wait_for("WATCHDOG=1", count=2)
        server = server_pid(folder)
        with psycopg.connect(f"postgresql://automon@/automon?host={folder}/run&port={port}") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("automon",)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert ["database_ready", "database_stopping"] == [json.loads(line)["event"] for line in told.splitlines()]
    manager.wait_for("STOPPING=1")
    assert not exists(server)
    assert "database system is shut down" in (folder / "postgres.log").read_text()


def test_it_ends_with_its_server_and_says_so(folder: Path, port: int, manager: Manager) -> None:
    with database(folder, port, manager) as process:
        manager.wait_for("READY=1")
        os.kill(server_pid(folder), signal.SIGKILL)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "database_died" == json.loads(told.splitlines()[-1])["event"]


def test_a_server_that_hangs_feeds_no_watchdog(folder: Path, port: int, manager: Manager) -> None:
    with database(folder, port, manager) as process:
        manager.wait_for("WATCHDOG=1")
        server = server_pid(folder)
        os.kill(server, signal.SIGSTOP)
        assert process.stderr is not None
        told = next(line for line in process.stderr if '"stuck"' in line)
        assert "the server does not answer" in told
        manager.hear()
        manager.forget()
        next(line for line in process.stderr if '"stuck"' in line)
        manager.hear()
        assert manager.times("WATCHDOG=1") == 0
        os.kill(server, signal.SIGCONT)
        manager.wait_for("WATCHDOG=1")
        process.kill()
    wait_until(lambda: not exists(server), seconds=20, what="the end of the server with its owner")


def test_a_port_that_is_taken_is_named(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        environment = {"AUTOMON_LOG_FORMAT": "console"}
        arguments = ("database", "--folder", str(folder), "--port", str(port))
        done = run_automon(tmp_path, *arguments, environment=environment)
    assert done.returncode == 1
    assert f"automon: port {port} of 127.0.0.1 is in use by another program" in done.stderr
