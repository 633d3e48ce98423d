"""What the helpers report, as the database has it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.health import Health
from monitoring_client.host_reader import HostReader
from monitoring_client.log_handler import MonitoringHandler
from monitoring_client.sampler import HostSampler, OtherHostReader

Rows = Callable[..., list[tuple[Any, ...]]]


def test_errors_that_are_logged_are_stored(monitor: MonitoringClient, rows: Rows) -> None:
    log = logging.Logger("shop")  # noqa: LOG001 - of its own: nobody else is to hear it
    log.addHandler(MonitoringHandler(monitor))
    for number in range(20):
        log.error("cannot reach %s", f"host-{number}", extra={"try": number})
    try:
        list[int]().pop()
    except IndexError:
        log.critical("no stock", exc_info=True)
    log.handlers[0].close()

    assert rows("SELECT error_type, severity, component, count(*) FROM error_tracking GROUP BY 1, 2, 3 ORDER BY 1") == [
        ("IndexError", "critical", "shop", 1),
        ("shop", "medium", "shop", 6),
    ]
    assert rows("SELECT context->>'left_out' FROM error_tracking WHERE error_message LIKE %s", "%15 more%") == [("15",)]
    assert rows("SELECT context->'extra'->>'try' FROM error_tracking WHERE error_message = 'cannot reach host-4'") == [
        ("4",)
    ]
    assert rows("SELECT stack_trace LIKE %s FROM error_tracking WHERE severity = 'critical'", "%IndexError%") == [
        (True,)
    ]


def test_a_program_that_ends_in_a_storm_has_told_of_all_of_it(database_url: str, rows: Rows) -> None:
    program = (
        "import logging, sys\n"
        "from monitoring_client import MonitoringClient\n"
        "from monitoring_client.log_handler import MonitoringHandler\n"
        "logging.getLogger().addHandler(MonitoringHandler(MonitoringClient(sys.argv[1], spool=False)))\n"
        "for number in range(1000):\n"
        "    logging.getLogger('shop').error('row %d is broken', number)\n"
    )
    command = [sys.executable, "-c", program, database_url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stderr == ""
    assert rows("SELECT count(*), sum((context->>'left_out')::int) FROM error_tracking") == [(6, 995)]


def test_a_record_that_waited_in_a_queue_keeps_its_moment(monitor: MonitoringClient, rows: Rows) -> None:
    created = time.time() - 3600
    record = logging.makeLogRecord({"name": "shop", "levelno": logging.ERROR, "msg": "boom", "created": created})
    MonitoringHandler(monitor).handle(record)

    ((occurred_at,),) = rows("SELECT occurred_at FROM error_tracking")
    assert isinstance(occurred_at, datetime)
    assert occurred_at.timestamp() == pytest.approx(created, abs=0.001)


def test_health_is_stored_as_intervals_with_reasons(monitor: MonitoringClient, rows: Rows) -> None:
    api = Health(monitor, "api", "main_api")
    with api:
        pass
    with api:
        pass
    with pytest.raises(ConnectionError), api:
        raise ConnectionError("refused")

    assert rows(
        "SELECT status, failure_reason, report_count, response_time_ms < 1000 FROM system_health ORDER BY id"
    ) == [
        ("healthy", None, 1, True),
        ("unhealthy", "ConnectionError: refused", 1, True),
    ]


def test_a_sample_of_the_host_fills_the_columns_that_alerts_go_by(monitor: MonitoringClient, rows: Rows) -> None:
    HostSampler(monitor, host="ops-1", component="shop").sample()

    assert rows("SELECT host, memory_percent > 0, load_per_core >= 0, sample ? 'cpu' FROM host_metrics") == [
        ("ops-1", True, True, True)
    ]
    assert rows("SELECT metric_name, unit, component, tags->>'host' FROM performance_monitoring ORDER BY 1") == [
        ("process_memory", "bytes", "shop", "ops-1"),
        ("process_open_files", "files", "shop", "ops-1"),
        ("process_threads", "threads", "shop", "ops-1"),
    ]


@pytest.mark.parametrize("reader", [HostReader(), OtherHostReader()], ids=["linux", "elsewhere"])
def test_every_sample_is_taken(reader: HostReader | OtherHostReader, rows: Rows) -> None:
    reader.look(time.monotonic() - 60)
    sample = reader.look(time.monotonic())
    stored = rows("SELECT record_host_sample('ops-1', %s)", json.dumps(sample))

    assert stored == [(True,)]
    assert rows("SELECT sample FROM host_metrics") == [(sample,)]
