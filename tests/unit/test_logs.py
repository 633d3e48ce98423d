from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from automon.errors import AutomonError
from automon.logs import configure_logging, log_uncaught_exceptions
from automon.secrets import Secret

VALUE = 'log-hunter2 "quoted" ünlaut'


def without_pytest() -> None:
    """Take pytest's own handlers away: they format each record first, and leave marks in it or fail."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with(value: str) -> None:
    password = f"local-{value}"
    if password:
        raise ValueError(value)


def log_a_failure(log: Any, value: str) -> None:
    try:
        fail_with(value)
    except ValueError:
        log.exception("job_failed", job="cleanup")


def test_a_line_elsewhere_than_on_a_terminal_is_json() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, environ={})

    structlog.stdlib.get_logger("automon.jobs").warning("job_failed", job="cleanup", seconds=1.5)

    (line,) = lines(stream)
    assert ["timestamp", "level", "event", "logger", "job", "seconds"] == list(line)
    assert ("warning", "job_failed", "automon.jobs", "cleanup", 1.5) == tuple(line.values())[1:]
    assert datetime.now(UTC).date() == datetime.fromisoformat(line["timestamp"]).date()
    assert line["timestamp"].endswith("Z")


def test_a_line_on_a_terminal_is_readable_and_coloured() -> None:
    stream = Terminal()
    configure_logging(stream=stream, environ={})

    structlog.stdlib.get_logger("automon").info("started", channels=2)

    assert "started" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(stream)


def test_no_color_is_respected_and_the_time_zone_is_named() -> None:
    stream = Terminal()
    configure_logging(stream=stream, environ={"NO_COLOR": "1"})

    structlog.stdlib.get_logger("automon").info("started", channels=2)

    text = stream.getvalue()
    assert "\x1b[" not in text
    assert datetime.now().astimezone().strftime("%Y-%m-%d ") in text
    assert datetime.now().astimezone().strftime(" %Z ") in text
    assert text.rstrip().endswith("channels=2")


def test_automon_log_format_overrides_what_the_stream_is() -> None:
    terminal, file = Terminal(), io.StringIO()

    configure_logging(stream=terminal, environ={"AUTOMON_LOG_FORMAT": "json"})
    structlog.stdlib.get_logger("automon").info("started")
    configure_logging(stream=file, environ={"AUTOMON_LOG_FORMAT": "Console"})
    structlog.stdlib.get_logger("automon").info("started")

    assert ["started"] == [line["event"] for line in lines(terminal)]
    assert "[info     ] started" in file.getvalue()
    assert "\x1b[" not in file.getvalue()


def test_the_argument_overrides_automon_log_format() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, json=True, environ={"AUTOMON_LOG_FORMAT": "console"})

    structlog.stdlib.get_logger("automon").info("started")

    assert 1 == len(lines(stream))


def test_an_unknown_format_or_level_is_named() -> None:
    with pytest.raises(AutomonError) as caught:
        configure_logging(stream=io.StringIO(), environ={"AUTOMON_LOG_FORMAT": "xml"})
    assert 'AUTOMON_LOG_FORMAT is "xml"\n  json, console, or not set' == str(caught.value)

    with pytest.raises(AutomonError) as caught:
        configure_logging(stream=io.StringIO(), level="loud", environ={})
    assert '"loud" is not a log level\n  one of DEBUG, INFO, WARNING, ERROR, CRITICAL' == str(caught.value)


def test_the_lines_of_a_library_have_the_same_format_and_context() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, environ={})

    without_pytest()
    with structlog.contextvars.bound_contextvars(job="cleanup", run_id=7):
        structlog.stdlib.get_logger("automon").info("own", rows=1)
        logging.getLogger("some.library").info("took %d ms", 5, extra={"rows": 2})

    own, foreign = lines(stream)
    assert own.keys() == foreign.keys()
    assert ("took 5 ms", "some.library", "cleanup", 7, 2) == tuple(
        foreign[key] for key in ("event", "logger", "job", "run_id", "rows")
    )


def test_context_ends_with_its_block() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, environ={})

    with structlog.contextvars.bound_contextvars(job="cleanup"):
        pass
    structlog.stdlib.get_logger("automon").info("later")

    assert "job" not in lines(stream)[0]


def test_calling_it_again_replaces_the_stream_and_leaves_other_handlers_alone() -> None:
    first, second = io.StringIO(), io.StringIO()
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)

    configure_logging(stream=first, environ={})
    log = structlog.stdlib.get_logger("automon")
    log.info("one")
    configure_logging(stream=second, environ={})
    log.info("two")

    assert ["one"] == [line["event"] for line in lines(first)]
    assert ["two"] == [line["event"] for line in lines(second)]
    assert other in logging.getLogger().handlers


def test_the_level_holds_for_automon_and_for_libraries() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level="warning", environ={})

    for log in (structlog.stdlib.get_logger("automon"), logging.getLogger("some.library")):
        log.info("no")
        log.warning("yes")

    assert ["yes", "yes"] == [line["event"] for line in lines(stream)]


@pytest.mark.parametrize("name", ["apscheduler.executors.default", "psycopg.pool", "apprise", "urllib3.connectionpool"])
def test_what_libraries_say_all_the_time_is_left_out(name: str) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level="DEBUG", environ={})

    logging.getLogger(name).debug("noise")
    if name.startswith(("apscheduler", "psycopg")):
        logging.getLogger(name).info("noise")
        logging.getLogger(name).error("told")

    expected = ["told"] if name.startswith(("apscheduler", "psycopg")) else []
    assert expected == [line["event"] for line in lines(stream)]


def test_apprise_collects_its_debug_lines_but_prints_none_of_any_level(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("apprise")
    configure_logging(stream=stream, environ={})
    handlers = list(logger.handlers)
    configure_logging(stream=stream, environ={})

    assert logger.isEnabledFor(logging.DEBUG)
    logger.critical("Slack POST URL: https://hooks.slack.com/services/T0/B0/x")

    assert "" == stream.getvalue()
    assert ("", "") == capfd.readouterr()
    assert handlers == logger.handlers
    assert handlers


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
def test_no_secret_reaches_the_log_in_any_way(*, as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, json=as_json, environ={})
    secret = Secret(VALUE)
    log, library = structlog.stdlib.get_logger("automon"), logging.getLogger("some.library")

    event = f"event {VALUE}"
    log.info(event, as_type=secret, as_text=VALUE, inside={"a": [VALUE, secret]}, error=ValueError(VALUE))
    log.info("connecting", to="postgresql://user:never-registered@db/x")
    library.warning("to %s", VALUE, extra={"password": VALUE})
    log_a_failure(log, VALUE)
    log_a_failure(library_as_logger(library), VALUE)

    text = stream.getvalue()
    assert 5 <= text.count("<secret>")
    for written in (VALUE, "log-hunter2", "never-registered", "ünlaut", "\\u00fcnlaut"):
        assert written not in text


def library_as_logger(library: logging.Logger) -> Any:
    class Adapter:
        def exception(self, event: str, **extra: object) -> None:
            library.exception(event, extra=extra)

    return Adapter()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
def test_a_traceback_names_lines_but_no_local_variable(*, as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, json=as_json, environ={})

    log_a_failure(structlog.stdlib.get_logger("automon"), "harmless")

    assert "fail_with" in stream.getvalue()
    assert "harmless" in stream.getvalue()
    assert "local-harmless" not in stream.getvalue()


def test_a_traceback_is_data_in_json() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, environ={})

    log_a_failure(structlog.stdlib.get_logger("automon"), "harmless")

    (line,) = lines(stream)
    (error,) = line["exception"]
    assert ("ValueError", "harmless") == (error["exc_type"], error["exc_value"])
    assert "fail_with" == error["frames"][-1]["name"]
    assert all("locals" not in frame for frame in error["frames"])


# The systemd journal -----------------------------------------------------------------------------------------------


def journal_stream(path: Path) -> dict[str, str]:
    status = path.stat()
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


class Journald:
    """Receives entries as journald does: as a datagram, or as a sealed file when they are big."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def entry(self) -> dict[str, str]:
        data, handles, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for handle in handles:
            seals = fcntl.fcntl(handle, fcntl.F_GET_SEALS)
            assert seals == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            with os.fdopen(handle, "rb") as file:
                file.seek(0)
                data = file.read()
        return decode(data)

    def stop_waiting(self) -> None:
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()


def decode(data: bytes) -> dict[str, str]:
    """Read the native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            [length] = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    journald = Journald(tmp_path / "socket")
    yield journald
    journald.close()


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[TextIO]:
    """A stream of which JOURNAL_STREAM says that the journal reads it."""
    with (tmp_path / "stderr").open("w+") as stream:
        yield stream


def log_to(journald: Journald, stderr: TextIO, **environ: str) -> Any:
    configure_logging(
        stream=stderr,
        level="DEBUG",
        environ=journal_stream(Path(stderr.name)) | environ,
        journal_socket=journald.path,
    )
    return structlog.stdlib.get_logger("automon.jobs")


def test_an_entry_of_the_journal_has_a_sentence_and_fields(journald: Journald, stderr: TextIO) -> None:
    log = log_to(journald, stderr)
    with structlog.contextvars.bound_contextvars(channel="slack"):
        log.warning("job_failed", job="clean up", seconds=1.5, found={"rows": [1, None]}, told=False)

    entry = journald.entry()
    assert entry == {
        "MESSAGE": 'job_failed job="clean up" seconds=1.5 found="{\\"rows\\": [1, null]}" told=false channel=slack',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "automon",
        "CODE_FILE": __file__,
        "CODE_LINE": entry["CODE_LINE"],
        "CODE_FUNC": "test_an_entry_of_the_journal_has_a_sentence_and_fields",
        "AUTOMON_LOGGER": "automon.jobs",
        "AUTOMON_EVENT": "job_failed",
        "AUTOMON_CHANNEL": "slack",
        "AUTOMON_JOB": "clean up",
        "AUTOMON_SECONDS": "1.5",
        "AUTOMON_FOUND": '{"rows": [1, null]}',
        "AUTOMON_TOLD": "false",
    }
    assert "" == Path(stderr.name).read_text()


def test_each_level_has_its_priority(journald: Journald, stderr: TextIO) -> None:
    log = log_to(journald, stderr)
    for level in ("critical", "error", "warning", "info", "debug"):
        getattr(log, level)("said")

    assert ["2", "3", "4", "6", "7"] == [journald.entry()["PRIORITY"] for _ in range(5)]


def test_what_a_library_says_is_an_entry_of_its_words(journald: Journald, stderr: TextIO) -> None:
    log_to(journald, stderr)
    without_pytest()
    logging.getLogger("some.library").error("no %s", "answer", extra={"host": "db"})

    entry = journald.entry()
    assert "no answer host=db" == entry["MESSAGE"]
    assert ("3", "some.library") == (entry["PRIORITY"], entry["AUTOMON_LOGGER"])
    assert "AUTOMON_EVENT" not in entry


@pytest.mark.parametrize("own", [True, False], ids=["own", "library"])
def test_a_traceback_is_one_entry(journald: Journald, stderr: TextIO, *, own: bool) -> None:
    log = log_to(journald, stderr)
    without_pytest()
    log_a_failure(log if own else library_as_logger(logging.getLogger("some.library")), "harmless")

    entry = journald.entry()
    assert entry["MESSAGE"].startswith("job_failed job=cleanup\nTraceback (most recent call last):\n")
    assert entry["MESSAGE"].endswith("ValueError: harmless")
    assert "local-harmless" not in entry["MESSAGE"]
    assert ("3", "ValueError") == (entry["PRIORITY"], entry["AUTOMON_EXCEPTION"])


def test_lines_of_a_value_stand_below_the_sentence(journald: Journald, stderr: TextIO) -> None:
    log_to(journald, stderr).error("alert_message", text="first\nsecond", alert=7)

    assert "alert_message alert=7\nfirst\nsecond" == journald.entry()["MESSAGE"]


def test_no_secret_reaches_a_field_of_the_journal(journald: Journald, stderr: TextIO) -> None:
    log = log_to(journald, stderr)
    without_pytest()
    secret = Secret(VALUE)
    event = f"event {VALUE}"
    log.info(event, as_type=secret, as_text=VALUE, inside={"a": [VALUE, secret]}, error=ValueError(VALUE))
    log.info("connecting", to="postgresql://user:never-registered@db/x")
    logging.getLogger("some.library").warning("to %s", VALUE, extra={"password": VALUE})
    log_a_failure(log, VALUE)

    entries = [journald.entry() for _ in range(4)]
    text = repr(entries)
    assert "<secret>" == entries[0]["AUTOMON_AS_TEXT"] == entries[0]["AUTOMON_ERROR"]
    for written in (VALUE, "log-hunter2", "never-registered", "ünlaut", "\\u00fcnlaut"):
        assert written not in text


def test_fields_are_bounded_and_their_names_are_such_as_the_journal_takes(journald: Journald, stderr: TextIO) -> None:
    many = {f"key{number}": number for number in range(100)}
    log_to(journald, stderr).info("said", **{"naïve key.1": 1, "_hidden": 2, "k" * 100: 3}, long="x" * 100_000, **many)

    entry = journald.entry()
    assert 40 == len(entry) - 1
    assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) for name in entry)
    assert ("1", "2") == (entry["AUTOMON_NA_VE_KEY_1"], entry["AUTOMON__HIDDEN"])
    assert 4096 == len(entry["AUTOMON_LONG"])
    assert 65536 == len(entry["MESSAGE"])


def test_a_big_entry_comes_as_a_sealed_file(journald: Journald, stderr: TextIO) -> None:
    log_to(journald, stderr).info("said", **{f"key{number}": "ü" * 4096 for number in range(40)})

    assert "ü" * 4096 == journald.entry()["AUTOMON_KEY7"]


def test_the_text_of_an_entry_is_json_if_that_is_asked_for(journald: Journald, stderr: TextIO) -> None:
    log_to(journald, stderr, AUTOMON_LOG_FORMAT="json").info("said", times=2)

    entry = journald.entry()
    assert ("said", 2) == (json.loads(entry["MESSAGE"])["event"], json.loads(entry["MESSAGE"])["times"])
    assert "2" == entry["AUTOMON_TIMES"]


def test_without_the_journals_socket_lines_have_a_priority(journald: Journald, stderr: TextIO) -> None:
    log = log_to(journald, stderr)
    journald.path.unlink()
    for level in ("critical", "error", "warning", "info", "debug"):
        getattr(log, level)("said")

    written = Path(stderr.name).read_text().splitlines()
    assert ["<2>{", "<3>{", "<4>{", "<6>{", "<7>{"] == [line[:4] for line in written]


def test_a_journal_that_refuses_is_replaced_by_lines(tmp_path: Path, stderr: TextIO) -> None:
    journald = Journald(tmp_path / "socket")
    journald.close()
    log_to(journald, stderr, AUTOMON_LOG_FORMAT="console").error("said")

    assert Path(stderr.name).read_text().startswith("<3>")


def test_each_line_of_a_traceback_has_its_priority_without_the_journals_socket(
    journald: Journald, stderr: TextIO
) -> None:
    log = log_to(journald, stderr, AUTOMON_LOG_FORMAT="console")
    journald.path.unlink()
    log_a_failure(log, "harmless")

    written = Path(stderr.name).read_text().splitlines()
    assert 5 < len(written)
    assert {"<3>"} == {line[:3] for line in written}


def test_a_journal_that_hangs_stops_nobody_and_what_it_did_not_take_is_counted(
    journald: Journald, stderr: TextIO
) -> None:
    log = log_to(journald, stderr)
    before = time.monotonic()
    for _ in range(2000):  # many times of what waits for a reader
        log.info("said")
    assert time.monotonic() - before < 10

    taken = 0
    with suppress(BlockingIOError):
        journald.stop_waiting()
        while True:
            assert "said" == journald.entry()["AUTOMON_EVENT"]
            taken += 1
    log.info("said again")
    lost = journald.entry()
    assert ("log_lines_lost", 2000) == (lost["AUTOMON_EVENT"], int(lost["AUTOMON_COUNT"]) + taken)
    assert "said again" == journald.entry()["MESSAGE"]
    assert "" == Path(stderr.name).read_text()


def test_another_stream_than_that_of_the_journal_gets_lines(journald: Journald, tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "journal"
    other.touch()
    with path.open("w") as stream:
        configure_logging(stream=stream, environ=journal_stream(other), journal_socket=journald.path)
        structlog.stdlib.get_logger("automon").error("said")

    assert path.read_text().startswith("{")


def test_an_entry_that_cannot_be_written_is_reported_without_its_secrets(
    journald: Journald, stderr: TextIO, capfd: pytest.CaptureFixture[str]
) -> None:
    Secret(VALUE)

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(VALUE)

    log_to(journald, stderr).info("said", value=Broken())

    written = capfd.readouterr().err
    assert "RuntimeError: <secret>" in written
    assert VALUE not in written


# Where nothing goes well --------------------------------------------------------------------------------------------


def test_a_reader_that_went_away_stops_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", buffering=1)
    configure_logging(stream=stream, environ={})
    os.close(reader)

    structlog.stdlib.get_logger("automon").info("said", to=VALUE)

    assert ("", "") == capfd.readouterr()
    # What could not be written is still in the buffer; closing the file below keeps it from failing a second time.
    os.close(writer)
    with pytest.raises(OSError, match=r"Bad file descriptor|Broken pipe"):
        stream.close()


def test_a_line_that_cannot_be_formatted_is_reported_without_its_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    Secret(VALUE)
    configure_logging(stream=io.StringIO(), environ={})

    without_pytest()

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(VALUE)

    logging.getLogger("some.library").info("value %s", Broken())

    written = capfd.readouterr().err
    assert "RuntimeError: <secret>" in written
    assert VALUE not in written


CRASH = """
import sys, threading
from automon.logs import configure_logging, log_uncaught_exceptions
from automon.secrets import Secret
configure_logging()
log_uncaught_exceptions()
value = Secret(sys.argv[1]).reveal()
def fail():
    raise ValueError(value)
thread = threading.Thread(target=fail, name="sender")
thread.start()
thread.join()
threading.Thread(target=sys.exit).start()
fail()
"""


def test_what_nobody_catches_is_logged_and_scrubbed_in_every_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, "uncaught-hunter2"], capture_output=True, text=True, check=False
    )

    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert 1 == done.returncode
    assert ("critical", "uncaught_exception", "sender") == (first["level"], first["event"], first["thread"])
    assert "<secret>" == second["exception"][0]["exc_value"]
    assert "uncaught-hunter2" not in done.stderr


def test_an_interrupt_is_no_crash(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(environ={})
    log_uncaught_exceptions()

    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert "" == capfd.readouterr().err


def test_a_real_terminal_gets_the_readable_format() -> None:
    code = (
        "import structlog; from automon.logs import configure_logging; configure_logging(); "
        "structlog.stdlib.get_logger('automon').info('started')"
    )
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AUTOMON", "JOURNAL"))}
    subprocess.run([sys.executable, "-c", code], check=True, stderr=theirs, env=environment)
    os.close(theirs)

    written = os.read(ours, 4096).decode()
    os.close(ours)
    assert "started" in written
    assert not written.startswith("{")
