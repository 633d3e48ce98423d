"""The client without a database: it stays cheap, quiet and discreet, and the application goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from monitoring_client import DatabaseUnavailableError, MonitoringClient, MonitoringError, forks
from monitoring_client.spool import Spool

PASSWORD = "s3cr3t-pässword"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def dead_dsn(closed_port: int) -> str:
    return f"postgresql://app:{quote(PASSWORD)}@127.0.0.1:{closed_port}/work"


def test_a_dead_database_costs_no_exception_and_the_facts_wait(dead_dsn: str, tmp_path: Path) -> None:
    monitor = MonitoringClient(dead_dsn, spool=tmp_path / "spool")

    task_id = monitor.start_task("document_processing", 1024)
    assert re.fullmatch(r"[0-9a-f-]{36}", task_id)
    assert monitor.complete_task(task_id, "completed", output_size=2048)
    assert monitor.record_error(task_id, "processing_error", "medium", "boom", "processor")
    monitor.close()

    assert monitor.dropped == 0
    with contextlib.closing(Spool(tmp_path / "spool")) as left:
        assert [row.kind for row in left.oldest(10)] == ["task", "error"]


def test_without_a_place_on_disk_facts_wait_in_memory_and_are_lost_with_the_program(dead_dsn: str) -> None:
    monitor = MonitoringClient(dead_dsn, spool=False)
    monitor.record_error(None, "E", "low", "boom", "c")
    assert monitor.dropped == 0

    monitor.close(timeout=0)
    assert monitor.dropped == 1


def test_an_id_that_was_given_is_kept(dead_dsn: str) -> None:
    assert MonitoringClient(dead_dsn).start_task("import", task_id="import-7") == "import-7"


def test_one_line_a_minute_is_enough(dead_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "automon_client"), MonitoringClient(dead_dsn) as monitor:
        for _ in range(50):
            monitor.start_task("work")
            assert not monitor.flush(0.01)

    assert [(record.name, record.levelname) for record in caplog.records] == [("automon_client", "WARNING")]
    assert "cannot connect" in caplog.text


@pytest.mark.parametrize(
    "template",
    [
        "postgresql://app:{password}@127.0.0.1:{port}/work",
        "host=127.0.0.1 port={port} user=app dbname=work password={password}",
        "postgresql://app:{password}%zz@127.0.0.1:{port}/work",
        "postgresql://app:{password}@127.0.0.1:{port}/work?no_such_option={password}",
        "app:{password}@127.0.0.1/work",
    ],
    ids=["URL", "key and value", "broken escape", "unknown option", "no DSN at all"],
)
def test_the_password_is_never_told(template: str, closed_port: int, caplog: pytest.LogCaptureFixture) -> None:
    password = "s3cr3t-pw"
    monitor = MonitoringClient(template.format(password=password, port=closed_port), raise_errors=True)
    with caplog.at_level(logging.DEBUG), pytest.raises(MonitoringError) as caught:
        monitor.start_task("work")

    assert "fact" in caplog.text
    assert password not in caplog.text + repr(monitor)
    error: BaseException | None = caught.value
    while error is not None:
        assert password not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("dsn", ["", None], ids=["empty", "None"])
def test_a_missing_dsn_is_told_and_breaks_nothing(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    with MonitoringClient(dsn) as monitor:
        assert monitor.start_task("work")

    assert "AUTOMON_DSN" in caplog.text
    assert monitor.dropped == 1


def test_a_mistake_is_logged_and_dropped(dead_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    monitor = MonitoringClient(dead_dsn)

    assert monitor.complete_task("t", "done") is False
    assert monitor.dropped == 1
    assert "complete_task: status must be one of completed, failed, cancelled, not 'done'" in caplog.text


def test_errors_are_raised_for_those_who_ask(dead_dsn: str) -> None:
    monitor = MonitoringClient(dead_dsn, raise_errors=True)

    with pytest.raises(ValueError, match="status"):
        monitor.complete_task("t", "done")
    with pytest.raises(DatabaseUnavailableError, match="cannot connect"):
        monitor.complete_task("t")


def test_the_exception_of_a_task_goes_on_even_when_errors_are_raised(dead_dsn: str) -> None:
    strict = MonitoringClient(dead_dsn, raise_errors=True)

    strict.task("work").__exit__(KeyError, KeyError("mine"), None)
    assert strict.dropped == 2  # the error and the end


def test_a_logging_handler_may_call_the_client(dead_dsn: str) -> None:
    monitor = MonitoringClient(dead_dsn)
    monitor.close()

    class Reporter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            monitor.record_error(None, "log", "low", record.getMessage(), "logging")

    reporter = Reporter()
    logging.getLogger("automon_client").addHandler(reporter)
    try:
        monitor.start_task("work")
    finally:
        logging.getLogger("automon_client").removeHandler(reporter)

    assert monitor.dropped == 2


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_a_client_that_is_switched_off_does_nothing(
    dead_dsn: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTOMON_DISABLED", value)
    monitor = MonitoringClient(dead_dsn, raise_errors=True)

    with monitor.task("work") as task:
        assert task.progress(50) is False
    assert (monitor.dropped, caplog.records) == (0, [])


def test_an_argument_outranks_the_environment(dead_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMON_DISABLED", "1")
    monitor = MonitoringClient(dead_dsn, enabled=True, raise_errors=True)

    with pytest.raises(DatabaseUnavailableError):
        monitor.start_task("work")


def test_a_closed_client_drops(dead_dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    with MonitoringClient(dead_dsn) as monitor:
        pass
    monitor.start_task("work")

    assert monitor.dropped == 1
    assert "the client is closed" in caplog.text


def test_importing_and_making_a_client_loads_no_driver() -> None:
    program = (
        "import sys, monitoring_client\n"
        "monitor = monitoring_client.MonitoringClient('postgresql://u:p@h/d')\n"
        "monitor.tracked('t')(print)\n"
        "print([name for name in ('psycopg', 'asyncio', 'sqlite3', 'ssl') if name in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}
    )

    assert ran.stdout.strip() == "[]"


def test_a_missing_driver_is_told_with_the_remedy() -> None:
    program = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "import monitoring_client\n"
        "monitor = monitoring_client.MonitoringClient('postgresql://u:p@h/d')\n"
        "monitor.start_task('t')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "install automon-client[binary]" in ran.stderr


def test_making_a_client_waits_for_no_thread_that_loads_the_driver() -> None:
    loads, ends = threading.Event(), threading.Event()

    def load() -> None:
        with forks.none_meanwhile():
            loads.set()
            ends.wait(30)

    loading = threading.Thread(target=load)
    making = threading.Thread(target=MonitoringClient, args=("postgresql://u@h/d",))
    loading.start()
    try:
        assert loads.wait(10)
        making.start()
        making.join(10)
        assert not making.is_alive()
    finally:
        ends.set()
        loading.join()
        making.join()
