"""A database whose disk is full: the service keeps running, and tells everything when there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import StartService
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, channels_of
from tests.support.slack import Answer, FakeSlack
from tests.support.small_disk import SmallDisk
from tests.support.waiting import wait_until

QUEUES = [f"queue-{number}" for number in range(3)]
# A megabyte of journal and nothing else.
WRITE_JOURNAL = "SELECT pg_logical_emit_message(false, 'journal', repeat('x', 1000000))"


@pytest.fixture
def disk(memory_path: Path, migrated_postgres: Path) -> Iterator[SmallDisk]:
    with SmallDisk(memory_path / "disk", migrated_postgres) as disk:
        yield disk


def wait_until_recording_has_failed(server: PostgresUnderTest) -> None:
    def has_failed() -> bool:
        said = server.log_file.read_text(encoding="utf-8", errors="replace")
        return "No space left on device" in said and 'STATEMENT:  SELECT * FROM "public"."finish_delivery' in said

    wait_until(has_failed, seconds=20, what="a receipt that finds no room")


def crash(server: PostgresUnderTest) -> None:
    """Write more journal than the disk has room for."""
    with suppress(psycopg.OperationalError), psycopg.connect(server.url, autocommit=True) as connection:
        for _ in range(100):
            connection.execute(WRITE_JOURNAL)
    wait_until(lambda: "PANIC" in server.log_file.read_text(errors="replace"), what="a crash of the server")


def revive(server: PostgresUnderTest) -> None:
    """Start a server that has given up; one that is just recovering goes on by itself."""
    wait_until(lambda: not server.running or answers(server), seconds=30, what="the server's end or an answer")
    if not server.running:
        server.start()


def answers(server: PostgresUnderTest) -> bool:
    try:
        psycopg.connect(server.url).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("crashes", [False, True], ids=["for data", "for its journal, too"])
def test_what_waits_and_what_is_being_sent_when_the_disk_fills_up_is_told_once_when_there_is_room(
    crashes: bool, disk: SmallDisk, slack: FakeSlack, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=1))
    service = start_service(None, {"DATABASE_URL": disk.server.url, **channels_of(slack)})
    service.wait_until_ready()
    with psycopg.connect(disk.server.url, autocommit=True) as connection:
        for queue in QUEUES:
            Look(connection).raise_alert(queue=queue)
    slack.wait_for(1)

    disk.fill()
    wait_until_recording_has_failed(disk.server)
    if crashes:
        crash(disk.server)
    disk.free()
    revive(disk.server)

    with psycopg.connect(disk.server.url, autocommit=True) as connection:
        look = Look(connection)
        own = "FROM public.alert_deliveries d JOIN public.alerts a ON a.id = d.alert_id WHERE a.alert_type = 'queue_backlog'"
        look.wait_for(f"SELECT count(*) = 3 {own} AND d.status = 'sent'", seconds=30)
        assert look.one(f"SELECT bool_and(d.attempts = 1) {own}")
    told = [queue for post in slack.posts for queue in QUEUES if f" {queue}:" in post.preview]
    assert told == QUEUES
    checked = (
        "SELECT count(*) FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded' AND started_at > %s"
    )
    with psycopg.connect(disk.server.url, autocommit=True) as connection:
        look = Look(connection)
        look.wait_for(f"SELECT ({checked}) > 0", look.one("SELECT clock_timestamp()"))
    assert not [event for event in service.events if event["logger"].startswith("apscheduler")]
    assert service.stop() == 0
