"""What may happen to the file that facts wait in: the client delivers what it can, and the rest when it can."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.buffer import Buffer
from monitoring_client.delivery import LARGEST_BATCH, Delivery
from monitoring_client.facts import record_error
from monitoring_client.link import Link
from monitoring_client.losses import Losses
from monitoring_client.rows import Row
from monitoring_client.spool import Spool, SpoolError
from tests.support.small_disk import SmallFolder

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]

REPORT = '{"fact":"queue","queue_name":"mail","pending":%d,"at":"2026-11-01T00:00:00.%06d+00:00"}'


def test_a_full_disk_from_which_nothing_can_be_removed_holds_up_no_delivery(
    database_url: str, memory_path: Path, rows: Rows
) -> None:
    facts = LARGEST_BATCH + 1
    with SmallFolder(memory_path / "disk", megabytes=4) as disk:
        spool = Spool(disk.folder / "spool")
        spool.append([Row(0, "queue", "", False, REPORT % (number, number)) for number in range(facts)])
        disk.fill()

        with MonitoringClient(database_url, spool=spool.path) as monitor:
            assert monitor.flush(10)
            assert rows("SELECT count(*) FROM queue_monitoring") == [(facts,)]
            disk.free()
            assert monitor.flush(10)
        assert not spool.holds_any()
        spool.close()


def test_a_spool_at_a_place_that_cannot_even_be_looked_at_holds_up_no_delivery(
    database_url: str, tmp_path: Path, rows: Rows
) -> None:
    with MonitoringClient(database_url, spool=tmp_path / ("long" * 100)) as monitor:
        monitor.start_task("work")

        assert monitor.flush(10)
    assert rows("SELECT count(*) FROM processing_metrics") == [(1,)]


def test_what_a_forked_process_keeps_outlives_its_parent_and_itself(tmp_path: Path) -> None:
    monitor = MonitoringClient("postgresql://127.0.0.1:1/nowhere", durable=True, spool=tmp_path / "spool")
    assert monitor.record_error(None, "E", "low", "of the parent", "c")
    hear, speak = os.pipe()
    child = os.fork()
    if child == 0:
        monitor.record_error(None, "E", "low", "of the child", "c")
        os.read(hear, 1)
        monitor.record_error(None, "E", "low", "of the orphan", "c")
        os._exit(0)

    monitor.close()
    os.write(speak, b"\0")
    os.waitpid(child, 0)

    kept = Spool(tmp_path / "spool").oldest(10)
    assert [json.loads(row.body)["error_message"] for row in kept] == ["of the parent", "of the child", "of the orphan"]


def test_two_clients_of_one_process_on_one_spool_keep_all_facts(tmp_path: Path) -> None:
    one, another = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    one.append([Row(0, "error", "", False, "first")])
    another.append([Row(0, "error", "", False, "second")])
    another.close()
    # Another process opens and closes the file, and would remove the journal that nobody seems to use.
    look = "import pathlib, sys; from monitoring_client.spool import Spool; spool = Spool(pathlib.Path(sys.argv[1])); spool.oldest(1); spool.close()"
    subprocess.run([sys.executable, "-c", look, tmp_path / "spool"], check=True)

    one.append([Row(0, "error", "", False, "third")])
    # As after a kill: a copy of the files.
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert [row.body for row in Spool(tmp_path / "copy/spool").oldest(10)] == ["first", "second", "third"]


def test_processes_on_a_file_that_one_of_them_sets_aside_go_on_together_on_a_new_one(tmp_path: Path) -> None:
    one, another = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    rows = [Row(0, "error", "", False, f"{number:0500}") for number in range(100)]
    for spool in (one, another):
        spool.append(rows)
    one.close()
    with closing(sqlite3.connect(tmp_path / "spool")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "spool").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40_000)
    with pytest.raises(SpoolError, match="set aside"):
        one.oldest(1000)

    for spool, body in ((another, "first"), (one, "second"), (another, "third")):
        spool.append([Row(0, "error", "", False, body)])
    assert [row.body for row in one.oldest(10)] == ["first", "second", "third"]


def test_a_file_that_is_no_spool_is_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.path.write_text("a letter to somebody\n" * 1000, encoding="utf-8")
    with pytest.raises(SpoolError, match="set aside"):
        spool.append([Row(0, "error", "", False, "first")])

    spool.append([Row(0, "error", "", False, "first")])
    assert len(spool.oldest(10)) == 1
    assert spool.path.read_text(encoding="utf-8").startswith("a letter")
    assert len(Spool(spool.path).oldest(10)) == 1


def test_what_a_full_disk_has_no_room_for_follows_what_waits_there(
    line: Any, memory_path: Path, rows: Rows, until: Until
) -> None:
    with (
        SmallFolder(memory_path / "disk", megabytes=4) as disk,
        MonitoringClient(line.dsn, durable=True, spool=disk.folder / "spool") as monitor,
    ):
        for status in ("healthy", "degraded", "healthy"):  # nobody listens yet
            assert monitor.update_system_health("api", "main", status)
        disk.fill()
        line.open()

        until(lambda: monitor.update_system_health("api", "main", "unhealthy"))
    found = rows("SELECT status FROM system_health ORDER BY started_at")
    assert [status for (status,) in found] == ["healthy", "degraded", "healthy", "unhealthy"]


def test_memory_is_bounded_while_the_database_is_away_and_the_spool_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring_client.delivery.SECONDS_WITHOUT_SPOOL", 0.0)
    monkeypatch.setattr("monitoring_client.delivery.MOST_TEXT_WAITING", 100_000)
    buffer = Buffer(lambda: None, most_facts=100)
    link = Link("postgresql://127.0.0.1:1/nowhere", "public")
    delivery = Delivery(buffer, link, Spool(tmp_path / "spool", most_bytes=100_000), Losses())

    taken = 0
    for _ in range(5000):
        fact = record_error(None, "E", "low", "x" * 100, "c", None, None, None)
        taken += buffer.add(fact) or (delivery.keep() and buffer.add(fact))

    assert 300 < taken < 2000
    assert delivery.give_up() < taken


def test_a_task_id_that_no_file_can_hold_keeps_no_other_fact_from_it(tmp_path: Path) -> None:
    monitor = MonitoringClient("postgresql://127.0.0.1:1/nowhere", spool=tmp_path / "spool")
    for task_id in ("half of a pair \ud800", "nothing \x00", "fine"):
        monitor.start_task("work", task_id=task_id)
    monitor.close()

    assert monitor.dropped == 0
    kept = [json.loads(row.body)["task_id"] for row in Spool(tmp_path / "spool").oldest(10)]
    assert kept == ["half of a pair ?", "nothing \ufffd", "fine"]


def test_what_was_read_from_a_file_is_not_removed_from_the_one_that_took_its_place(tmp_path: Path) -> None:
    one, another = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    one.append([Row(0, "error", "", False, "in the old file") for _ in range(3)])
    read = one.oldest(10)
    (tmp_path / "spool-2").touch()
    another.append([Row(0, "error", "", False, "in the new file")])

    one.remove(read)

    assert [row.body for row in one.oldest(10)] == ["in the new file"]
