"""What may happen to the file that facts wait in: the client delivers what it can, and the rest when it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitoring_client import MonitoringClient
from monitoring_client.delivery import LARGEST_BATCH
from monitoring_client.rows import Row
from monitoring_client.spool import Spool
from tests.support.small_disk import SmallFolder

Rows = Callable[..., list[tuple[Any, ...]]]

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
