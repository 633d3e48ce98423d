"""The disk that the fault tests fill is full when it is, and a server on it fails and recovers as servers do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from automon.embedded.binaries import find_binaries
from tests.support.postgres import BIN_DIR, PostgresUnderTest
from tests.support.small_disk import SmallDisk
from tests.support.waiting import wait_for_end, wait_until

ROOT = Path(__file__).parents[2]
MAKE_TABLE = "CREATE TABLE public.kept (words text)"
INSERT = "INSERT INTO public.kept SELECT repeat(md5(number::text), 30) FROM generate_series(1, 2000) AS number"
COUNT = "SELECT count(*) FROM public.kept"
# A megabyte of journal and nothing else.
WRITE_JOURNAL = "SELECT pg_logical_emit_message(false, 'journal', repeat('x', 1000000))"

FIRST_MAJOR_TO_GIVE_UP = 15

KILLED_WITH_A_DISK = """\
import os, pathlib, signal, sys
from tests.support.small_disk import SmallDisk
with SmallDisk(*map(pathlib.Path, sys.argv[1:])) as disk:
    print(disk.server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def disk(memory_path: Path, pristine_postgres: Path) -> Iterator[SmallDisk]:
    with SmallDisk(memory_path / "disk", pristine_postgres) as disk:
        yield disk


def execute(server: PostgresUnderTest, query: str) -> tuple[object, ...] | None:
    with psycopg.connect(server.url, autocommit=True) as link:
        cursor = link.execute(query.encode())
        return cursor.fetchone() if cursor.description else None


def fill_journal(server: PostgresUnderTest) -> None:
    with psycopg.connect(server.url, autocommit=True) as link:
        for _ in range(100):
            link.execute(WRITE_JOURNAL)


def mounts() -> str:
    return Path("/proc/self/mounts").read_text(encoding="utf-8")


def test_a_full_disk_fails_an_insert_and_a_freed_one_takes_it(disk: SmallDisk) -> None:
    execute(disk.server, MAKE_TABLE)
    disk.fill()
    assert disk.free_bytes == 0

    with pytest.raises(psycopg.errors.DiskFull):
        execute(disk.server, INSERT)
    assert execute(disk.server, COUNT) == (0,)

    disk.free()
    execute(disk.server, INSERT)
    assert execute(disk.server, COUNT) == (2000,)
    assert disk.free_bytes > 0


def test_a_session_outlives_a_full_disk(disk: SmallDisk) -> None:
    with psycopg.connect(disk.server.url, autocommit=True) as link:
        link.execute(MAKE_TABLE)
        disk.fill()
        with pytest.raises(psycopg.errors.DiskFull):
            link.execute(INSERT)
        disk.free()

        link.execute(INSERT)
        assert link.execute(COUNT).fetchone() == (2000,)


def test_a_server_that_cannot_write_its_journal_gives_up_and_starts_again_when_there_is_room(disk: SmallDisk) -> None:
    if find_binaries(BIN_DIR).major < FIRST_MAJOR_TO_GIVE_UP:
        pytest.skip("before version 15 a crash frees the room of statistics, in which the server comes back by itself")
    execute(disk.server, MAKE_TABLE)
    execute(disk.server, INSERT)
    disk.fill()

    with pytest.raises(psycopg.OperationalError):
        fill_journal(disk.server)
    wait_until(lambda: not disk.server.running, seconds=20, what="the end of the server")

    disk.free()
    disk.server.start()
    assert execute(disk.server, COUNT) == (2000,)
    assert "PANIC" in disk.server.log_file.read_text()


def test_the_disk_goes_with_its_block_also_when_it_is_full_and_the_server_has_given_up(
    memory_path: Path, pristine_postgres: Path
) -> None:
    folder = memory_path / "disk"
    with suppress(psycopg.OperationalError), SmallDisk(folder, pristine_postgres) as disk:
        assert f" {folder} tmpfs " in mounts()
        disk.fill()
        fill_journal(disk.server)

    assert str(folder) not in mounts()
    assert list(folder.iterdir()) == []


def test_disk_and_server_go_with_a_process_that_is_killed(
    disk: SmallDisk, memory_path: Path, pristine_postgres: Path
) -> None:
    folder = memory_path / "another"
    command = [sys.executable, "-c", KILLED_WITH_A_DISK, str(folder), str(pristine_postgres)]

    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert killed.stdout.strip().isdigit(), killed.stderr
    wait_until(lambda: str(folder) not in mounts(), what="the end of the mount")
    wait_for_end(int(killed.stdout))
    assert f" {memory_path / 'disk'} tmpfs " in mounts()
