"""The embedded server when processes are killed: nothing is lost or left over, nothing blocks the next start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from automon.embedded import find_running
from tests.support.owner import Owner
from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.waiting import wait_for_end, wait_until


@pytest.fixture
def directory(memory_path: Path, pristine_postgres: Path) -> Path:
    return copy_server(pristine_postgres, memory_path / "server")


@pytest.fixture
def owner(directory: Path) -> Iterator[Owner]:
    with Owner(directory) as owner:
        yield owner


def _count(server: PostgresUnderTest) -> object:
    with psycopg.connect(server.url) as link:
        return link.execute("SELECT count(*) FROM public.kept").fetchone()


def test_the_server_ends_by_itself_when_its_owner_is_killed(owner: Owner, directory: Path) -> None:
    server_pid = owner.server_pid()

    owner.kill()

    wait_for_end(server_pid, seconds=5)
    assert not (directory / "data" / "postmaster.pid").exists()
    assert find_running(directory) is None


def test_the_next_start_follows_a_killed_owner_at_once(owner: Owner, directory: Path) -> None:
    owner.server_pid()
    assert owner.ask("CREATE TABLE public.kept AS SELECT 1 AS number") == "SELECT 1"

    owner.kill()

    with PostgresUnderTest(directory) as server:
        assert _count(server) == (1,)


def test_a_killed_server_is_noticed_and_starts_again_with_what_was_committed(directory: Path) -> None:
    with PostgresUnderTest(directory) as server:
        with psycopg.connect(server.url) as link:
            link.execute("CREATE TABLE public.kept AS SELECT generate_series(1, 1000)")

        server.kill()

        assert not server.running
        assert find_running(directory) is None
        server.start()
        assert _count(server) == (1000,)
        assert "automatic recovery" in server.log_file.read_text()


def test_the_next_start_waits_for_the_children_of_a_killed_server(directory: Path) -> None:
    with PostgresUnderTest(directory) as server:
        with psycopg.connect(server.url) as link:
            # A stopped child keeps the shared memory until it is let go on.
            child = link.info.backend_pid
            os.kill(child, signal.SIGSTOP)
            server.kill()
            pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"sleep 0.5; kill -CONT {child}"], {})
            server.start()
            os.waitpid(pid, 0)

        assert server.running
        assert "pre-existing shared memory block" in server.log_file.read_text()


def test_killing_owner_and_server_together_leaves_nothing_that_blocks(owner: Owner, directory: Path) -> None:
    server_pid = owner.server_pid()

    os.kill(server_pid, signal.SIGKILL)
    owner.kill()

    with PostgresUnderTest(directory) as server:
        assert server.running


def test_an_owner_killed_while_it_makes_the_data_leaves_nothing_half_made(memory_path: Path) -> None:
    with Owner(memory_path / "server") as owner:
        wait_until(lambda: list((memory_path / "server").glob("initializing-*/data/base/1")), what="initdb under way")
        owner.kill()

    # Leaving the block has waited for the end of the owner.
    assert not (memory_path / "server" / "data").exists()
    with PostgresUnderTest(memory_path / "server") as server:
        assert server.running
        assert not list((memory_path / "server").glob("initializing-*"))


def test_ctrl_c_reaches_the_owner_and_not_the_server(owner: Owner) -> None:
    server_pid = owner.server_pid()

    os.killpg(owner.pid, signal.SIGINT)

    owner.wait_for("interrupted")
    assert owner.ask("SELECT 'alive'") == "('alive',)"
    assert os.getpgid(server_pid) != owner.pid


def test_a_strangers_process_with_the_dead_servers_number_does_not_block(directory: Path) -> None:
    with PostgresUnderTest(directory) as server:
        pid_file = directory / "data" / "postmaster.pid"
        said = pid_file.read_text()
        owner = pid_file.stat()
        server.kill()
    # This very process: alive, and no server.
    pid_file.write_text(said.replace(said.split("\n")[0], str(os.getpid()), 1))
    os.chown(pid_file, owner.st_uid, owner.st_gid)

    with PostgresUnderTest(directory) as server:
        assert server.running


def test_a_server_that_somebody_else_started_on_the_data_is_named_and_left_alone(directory: Path) -> None:
    with Owner(directory) as owner:
        server_pid = owner.server_pid()
        (directory / "lock").unlink()  # as if the owner held none

        with pytest.raises(Exception, match=f"another server \\(pid {server_pid}\\)") as caught:
            PostgresUnderTest(directory).start()

        assert f"kill -INT {server_pid}" in str(caught.value)
        assert owner.ask("SELECT 1") == "(1,)"
