"""A pair of PostgreSQL servers: one that writes, and one that repeats what it writes, over a real replication stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.waiting import wait_until

_SENDS = {"wal_level": "replica", "max_wal_senders": "4"}


@contextmanager
def primary_and_replica(source: Path, folder: Path) -> Iterator[tuple[PostgresUnderTest, PostgresUnderTest]]:
    """Run two servers that begin as copies of the directory of a stopped one; the second follows the first."""
    first = PostgresUnderTest(copy_server(source, folder / "primary"), settings=_SENDS)
    with first:
        pass  # the log of a server that never meant to send any cannot be followed
    copy = copy_server(folder / "primary", folder / "replica")
    _own_file(copy / "data" / "standby.signal", like=copy / "data" / "PG_VERSION")
    with first:
        follows = {"primary_conninfo": f"host={first.address.sockets} port={first.address.port} user=automon"}
        second = PostgresUnderTest(copy, settings={**_SENDS, **follows, "max_standby_streaming_delay": "-1"})
        with second:
            yield first, second


def _own_file(path: Path, *, like: Path) -> None:
    path.touch(mode=0o600)
    owner = like.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def catch_up(primary_url: str, replica_url: str) -> None:
    """Wait until the replica shows what the primary has committed by now."""
    with (
        psycopg.connect(primary_url, autocommit=True) as primary,
        psycopg.connect(replica_url, autocommit=True) as replica,
    ):
        [(written,)] = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchall()
        wait_until(
            lambda: replica.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone() == (True,),
            seconds=20,
            what="the replica's catching up",
        )
