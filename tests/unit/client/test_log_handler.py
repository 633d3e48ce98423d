"""Errors from logging: what a record becomes, what is left out of a storm, and that logging never breaks the application."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.log_handler import MonitoringHandler
from monitoring_client.testing import RecordingClient

monitor_of_the_configuration = RecordingClient()


@pytest.fixture
def monitor() -> RecordingClient:
    return RecordingClient()


@pytest.fixture
def handler(monitor: RecordingClient) -> MonitoringHandler:
    return MonitoringHandler(monitor)


@pytest.fixture
def log(handler: MonitoringHandler) -> Iterator[logging.Logger]:
    """A logger of the application, whose records reach the handler at the root."""
    root, logger = logging.getLogger(), logging.getLogger("shop.checkout")
    root.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger
    root.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def a_record(created: float, message: str = "boom", **fields: Any) -> logging.LogRecord:
    usual = {"name": "shop", "levelno": logging.ERROR, "levelname": "ERROR", "msg": message, "created": created}
    return logging.makeLogRecord({**usual, **fields})


def test_an_error_that_is_logged_is_recorded(log: logging.Logger, monitor: RecordingClient) -> None:
    log.error("%d items cannot be delivered", 3, extra={"customer": "c-7"})

    (error,) = monitor.errors
    assert (error.error_type, error.severity, error.component) == ("shop.checkout", "medium", "shop.checkout")
    assert error.message == "3 items cannot be delivered"
    assert (error.task_id, error.stack_trace) == (None, None)
    assert error.context is not None
    assert error.context["extra"] == {"customer": "c-7"}
    assert error.context["module"] == "test_log_handler"
    assert error.context["function"] == "test_an_error_that_is_logged_is_recorded"
    assert error.context["thread"] == "MainThread"
    assert isinstance(error.context["line"], int)


def test_an_exception_gives_its_type_and_its_traceback(log: logging.Logger, monitor: RecordingClient) -> None:
    try:
        dict[str, int]()["price"]
    except KeyError:
        log.exception("checkout failed")

    monitor.assert_error("KeyError", "medium", "checkout failed", component="shop.checkout")
    assert "test_log_handler.py" in str(monitor.errors[0].stack_trace)
    assert str(monitor.errors[0].stack_trace).rstrip().endswith("KeyError: 'price'")


def test_an_exception_that_is_logged_outside_of_one_has_no_type(log: logging.Logger, monitor: RecordingClient) -> None:
    log.error("nothing was raised", exc_info=True)  # noqa: LOG014 - that is the mistake

    monitor.assert_error("shop.checkout", message_contains="nothing was raised")


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.CRITICAL, "critical"),
        (logging.ERROR + 5, "high"),
        (logging.ERROR, "medium"),
        (logging.WARNING, "low"),
        (logging.DEBUG, "low"),
    ],
)
def test_the_severity_goes_by_the_level(
    handler: MonitoringHandler, log: logging.Logger, monitor: RecordingClient, level: int, severity: str
) -> None:
    handler.setLevel(logging.NOTSET)
    log.log(level, "hm")

    monitor.assert_error(severity=severity, times=1)


def test_what_is_below_the_level_is_left_alone(log: logging.Logger, monitor: RecordingClient) -> None:
    log.warning("hm")

    monitor.assert_no_errors()


def test_a_component_may_be_given(monitor: RecordingClient) -> None:
    MonitoringHandler(monitor, "billing").handle(a_record(time.time()))

    monitor.assert_error("shop", component="billing")


def test_the_task_is_the_one_that_it_was_logged_in(log: logging.Logger, monitor: RecordingClient) -> None:
    with monitor.task("import") as task:
        log.error("boom")
    log.error("boom")

    assert [error.task_id for error in monitor.errors] == [task.task_id, None]


def test_a_task_may_be_named(log: logging.Logger, monitor: RecordingClient) -> None:
    log.error("boom", extra={"task_id": "t-1"})
    log.error("boom", extra={"task_id": 7})

    assert [error.task_id for error in monitor.errors] == ["t-1", None]


def test_arguments_that_do_not_fit_do_not_cost_the_fact(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    handler.handle(a_record(time.time(), "%d items", args=("three",)))

    monitor.assert_error(message_contains="%d items ('three',)")


def test_a_record_that_waited_keeps_its_moment(monitor: RecordingClient) -> None:
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.handlers.QueueHandler(waiting).handle(a_record(1_790_000_000.5))
    MonitoringHandler(monitor).handle(waiting.get())

    assert monitor.errors[0].at.timestamp() == 1_790_000_000.5


def test_a_traceback_that_was_formatted_before_is_kept(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    handler.handle(a_record(time.time(), exc_text="Traceback …"))

    assert monitor.errors[0].stack_trace == "Traceback …"


# Storms ---------------------------------------------------------------------------------------------------------------


def test_of_a_storm_of_one_message_a_few_are_recorded_and_the_next_tells_of_the_others(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    for number in range(1000):
        handler.handle(a_record(100.0 + number / 1000, "cannot reach %s", args=(f"host-{number}",)))
    handler.handle(a_record(160.0, "cannot reach %s", args=("host-z",)))

    assert [error.message for error in monitor.errors[:5]] == [f"cannot reach host-{number}" for number in range(5)]
    assert [error.message for error in monitor.errors[5:]] == [
        "cannot reach host-z (995 more were left out before this one)"
    ]
    assert (monitor.errors[5].context or {})["left_out"] == 995


def test_other_messages_and_exceptions_are_no_part_of_the_storm(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    for _ in range(6):
        handler.handle(a_record(100.0))
    handler.handle(a_record(100.0, "another"))
    handler.handle(a_record(100.0, name="shop.other"))
    handler.handle(a_record(100.0, exc_info=(KeyError, KeyError("x"), None)))

    assert len(monitor.errors) == 5 + 3


def test_a_storm_that_does_not_come_again_is_told_of_with_the_next_record(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    for _ in range(8):
        handler.handle(a_record(100.0, "cannot reach %s", args=("a",)))
    handler.handle(a_record(160.0, "another"))

    assert [error.message for error in monitor.errors[5:]] == ["cannot reach %s (3 more were left out)", "another"]


def test_a_storm_is_told_of_at_the_end(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    for _ in range(8):
        handler.handle(a_record(100.0))
    handler.close()
    handler.close()

    assert [error.message for error in monitor.errors[5:]] == ["boom (3 more were left out)"]


def test_a_storm_of_different_messages_is_limited_as_well_and_kept_out_of_memory(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    for number in range(1000):
        handler.handle(a_record(100.0, f"row {number} is broken"))
    held = len(handler._storms._kinds)
    handler.handle(a_record(161.0, "later"))

    assert (held, len(handler._storms._kinds)) == (60, 1)
    assert [error.message for error in monitor.errors[60:]] == [
        "log records of many kinds (940 more were left out)",
        "later",
    ]


def test_a_storm_of_errors_does_not_hide_what_is_critical(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    for number in range(100):
        handler.handle(a_record(100.0, f"row {number} is broken"))
    handler.handle(a_record(100.0, "disk full", levelno=logging.CRITICAL))

    monitor.assert_error(severity="critical", message_contains="disk full", times=1)


def test_a_clock_that_is_set_back_silences_nothing(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    for created in (*[5000.0] * 6, 100.0):
        handler.handle(a_record(created))

    assert len(monitor.errors) == 6
    assert (monitor.errors[5].context or {})["left_out"] == 1


def test_threads_share_the_limit(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    def storm() -> None:
        for _ in range(200):
            handler.handle(a_record(100.0))

    threads = [threading.Thread(target=storm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    handler.close()

    assert len(monitor.errors) == 6
    assert (monitor.errors[5].context or {})["left_out"] == 795


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_tell_what_its_parent_left_out(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    for _ in range(8):
        handler.handle(a_record(100.0))
    child = os.fork()
    if child == 0:
        handler.close()
        os._exit(len(monitor.errors))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


# Never harm -----------------------------------------------------------------------------------------------------------


def test_the_clients_own_words_are_not_recorded(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    for name in ("automon_client", "automon_client.spool"):
        handler.handle(a_record(time.time(), name=name))
    handler.handle(a_record(time.time(), name="psycopg", threadName="automon-client"))
    handler.handle(a_record(time.time(), name="automon_clients"))

    assert [error.component for error in monitor.errors] == ["automon_clients"]


def test_a_client_without_a_database_does_not_speak_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    monitor = MonitoringClient("")
    root = logging.getLogger()
    handler = MonitoringHandler(monitor, level=logging.DEBUG)
    root.addHandler(handler)
    try:
        logging.getLogger("shop").error("boom")
    finally:
        root.removeHandler(handler)

    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == ["shop"]


def test_a_record_that_is_logged_while_one_is_recorded_is_left_out(
    handler: MonitoringHandler, monitor: RecordingClient
) -> None:
    log = logging.Logger("shop")  # noqa: LOG001 - of its own, because other handlers show the argument as well
    log.addHandler(handler)

    class Talkative:
        def __str__(self) -> str:
            log.error("I am being shown")
            return "talkative"

    log.error("%s", Talkative())

    assert [error.message for error in monitor.errors] == ["talkative"]


def broken_exception_class() -> type[BaseException]:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ArithmeticError

    return BrokenError


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"msg": object()}, id="message is an object"),
        pytest.param({"msg": broken_exception_class()()}, id="message cannot be shown"),
        pytest.param({"msg": "%s", "args": (broken_exception_class()(),)}, id="argument cannot be shown"),
        pytest.param({"exc_info": (broken_exception_class(), broken_exception_class()(), None)}, id="exception"),
        pytest.param({"extra_field": broken_exception_class()()}, id="extra field"),
        pytest.param({"name": ""}, id="no name"),
        pytest.param({"name": "n" * 1000}, id="long name"),
        pytest.param({"name": "n\x00\ud800"}, id="name that PostgreSQL cannot hold"),
        pytest.param({"task_id": "t" * 1000}, id="long task id"),
        pytest.param({"threadName": None, "funcName": None}, id="no thread and no function"),
    ],
)
def test_a_strange_record_is_recorded_all_the_same(
    handler: MonitoringHandler, monitor: RecordingClient, fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    handler.handle(a_record(time.time(), **fields))

    assert len(monitor.errors) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("speaks", [True, False])
def test_a_record_that_is_none_is_told_as_logging_tells_its_own_mistakes(
    handler: MonitoringHandler,
    monitor: RecordingClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    speaks: bool,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", speaks)
    handler.handle(a_record(time.time(), exc_info=7))

    monitor.assert_no_errors()
    assert ("Logging error" in capsys.readouterr().err) is speaks


def test_a_client_that_raises_does_not_break_logging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = MonitoringHandler(RecordingClient(), component="")
    handler.handle(a_record(time.time()))

    assert "component must not be empty" in capsys.readouterr().err


def test_no_thread_waits_for_another_ones_record(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    assert handler.lock is not None
    handler.acquire()
    thread = threading.Thread(target=handler.handle, args=(a_record(time.time()),))
    thread.start()
    thread.join(10)
    handler.release()

    assert len(monitor.errors) == 1


def test_a_filter_may_refuse_or_replace_a_record(handler: MonitoringHandler, monitor: RecordingClient) -> None:
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    handler.handle(a_record(time.time(), "a secret"))
    handler.handle(a_record(time.time(), "no such thing"))

    assert [error.message for error in monitor.errors] == ["no such thing"]


# Configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["()", "class"])
@pytest.mark.parametrize(
    "given", [{"monitor": "ext://{here}.monitor_of_the_configuration"}, {}], ids=["given", "environment"]
)
def test_it_is_configured_by_a_dictionary(how: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    here = "shop_of_the_tests"
    monkeypatch.setitem(sys.modules, here, sys.modules[__name__])
    monkeypatch.setenv("AUTOMON_DSN", "")
    monitor_of_the_configuration.clear()
    settings = {name: value.format(here=here) for name, value in given.items()}
    automon = {
        how: "monitoring_client.log_handler.MonitoringHandler",
        "level": "WARNING",
        "component": "shop",
        **settings,
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"automon": automon},
            "loggers": {"shop.configured": {"handlers": ["automon"], "propagate": False}},
        }
    )
    logger = logging.getLogger("shop.configured")
    logger.warning("low stock")
    handler = logger.handlers.pop()

    assert (handler.level, type(handler)) == (logging.WARNING, MonitoringHandler)
    monitor_of_the_configuration.assert_error("shop.configured", "low", "low stock", component="shop", times=len(given))


def test_a_storm_at_the_end_of_a_program_is_told_of_before_the_client_ends() -> None:
    program = (
        "import logging\n"
        "from monitoring_client.log_handler import MonitoringHandler\n"
        "from monitoring_client.testing import RecordingClient\n"
        "class Printing(RecordingClient):\n"
        "    def record_error(self, *args, **kwargs):\n"
        "        print(kwargs['error_message'], flush=True)\n"
        "logging.getLogger().addHandler(MonitoringHandler(Printing()))\n"
        "for _ in range(9):\n"
        "    logging.error('boom')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout.split("\n") == [*["boom"] * 5, "boom (4 more were left out)", ""]
