"""The health of a component as a context: what it reports, and when it says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from monitoring_client import MonitoringClient, lenient
from monitoring_client.health import MOST_REPORTS_A_SECOND, Health, Reports, judge
from monitoring_client.testing import RecordingClient


@pytest.fixture
def monitor() -> RecordingClient:
    return RecordingClient()


def told(monitor: RecordingClient) -> list[str]:
    return [report.status for report in monitor.health_reports]


def test_what_works_is_healthy_with_its_response_time(monitor: RecordingClient) -> None:
    with Health(monitor, "api", "main"):
        pass

    (report,) = monitor.health_reports
    assert (report.component_type, report.component_name, report.status) == ("api", "main", "healthy")
    assert report.response_time is not None
    assert 0 <= report.response_time < 1000
    assert report.failure_reason is None


def test_what_is_slower_than_it_may_be_is_degraded(monitor: RecordingClient) -> None:
    with Health(monitor, "api", "main", slow_ms=0):
        pass

    monitor.assert_health("api", "main", "degraded", reason_contains="more than 0 ms")


def test_what_fails_is_unhealthy_and_the_exception_goes_on(monitor: RecordingClient) -> None:
    with pytest.raises(ConnectionError, match="refused"), Health(monitor, "api", "main", slow_ms=0):
        raise ConnectionError("refused")

    monitor.assert_health("api", "main", "unhealthy", reason_contains="ConnectionError: refused")
    assert monitor.health_reports[0].response_time is not None


@pytest.mark.parametrize(
    ("milliseconds", "error", "answer"),
    [
        pytest.param(500.0, None, ("healthy", None), id="just fast enough"),
        pytest.param(812.4, None, ("degraded", "took 812 ms, which is more than 500 ms"), id="slow"),
        pytest.param(None, None, ("healthy", None), id="time unknown"),
        pytest.param(900.0, ValueError("x"), ("unhealthy", "ValueError: x"), id="slow and wrong"),
    ],
)
def test_the_state_goes_by_the_exception_then_by_the_time(
    milliseconds: float | None, error: Exception | None, answer: tuple[str, str | None]
) -> None:
    assert judge(milliseconds, 500.0, error) == answer


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, SystemExit])
def test_an_interruption_says_nothing(monitor: RecordingClient, error: type[BaseException]) -> None:
    with pytest.raises(error), Health(monitor, "api", "main"):
        raise error

    assert told(monitor) == []


def test_a_closed_generator_says_nothing(monitor: RecordingClient) -> None:
    def rows() -> Generator[int, None, None]:
        with Health(monitor, "database", "main"):
            yield 1

    generator = rows()
    next(generator)
    generator.close()

    assert told(monitor) == []


def test_coroutines_report(monitor: RecordingClient) -> None:
    async def ask() -> None:
        async with Health(monitor, "api", "main"):
            await asyncio.sleep(0)

    asyncio.run(ask())

    monitor.assert_health("api", "main")


def test_a_client_that_waits_does_so_beside_the_event_loop() -> None:
    threads: list[str] = []

    class Waiting(RecordingClient):
        waits = True

        def update_system_health(self, *args: Any, **kwargs: Any) -> bool:
            threads.append(threading.current_thread().name)
            return super().update_system_health(*args, **kwargs)

    monitor = Waiting()

    @Health(monitor, "api", "decorated")
    async def ask() -> None:
        async with Health(monitor, "api", "main"):
            pass

    asyncio.run(ask())

    assert len(monitor.health_reports) == 2
    assert "MainThread" not in threads


def test_a_steady_state_is_reported_once_in_a_while_whoever_reports(monitor: RecordingClient) -> None:
    shared = Health(monitor, "api", "main")
    for _ in range(50):
        with shared:
            pass
        with Health(monitor, "api", "main"):
            pass

    assert told(monitor) == ["healthy"]


def test_a_change_is_reported_at_once(monitor: RecordingClient) -> None:
    health = Health(monitor, "api", "main")
    for count in (1, 0, 0, 1):
        with contextlib.suppress(ZeroDivisionError), health:
            assert 1 / count

    assert told(monitor) == ["healthy", "unhealthy", "healthy"]


def test_components_do_not_silence_each_other(monitor: RecordingClient) -> None:
    for name in ("a", "b"):
        with Health(monitor, "api", name):
            pass

    assert [report.component_name for report in monitor.health_reports] == ["a", "b"]


def test_clients_do_not_silence_each_other() -> None:
    monitors = RecordingClient(), RecordingClient()
    for monitor in monitors:
        with Health(monitor, "api", "main"):
            pass

    assert [told(monitor) for monitor in monitors] == [["healthy"], ["healthy"]]


MAIN = ("api", "main")


@pytest.mark.parametrize(
    ("statuses", "moments", "due"),
    [
        pytest.param("hh", [0.0, 0.99], [True, False], id="the same within a second"),
        pytest.param("hh", [0.0, 1.0], [True, True], id="the same a second later"),
        pytest.param("hhh", [0.0, 0.6, 1.2], [True, False, True], id="counted from the latest report"),
        pytest.param("hud", [0.0, 0.01, 0.02], [True, True, True], id="changes"),
        pytest.param("huh", [0.0, 0.5, 0.6], [True, True, True], id="a change back"),
    ],
)
def test_reports_are_due_by_time_or_change(statuses: str, moments: list[float], due: list[bool]) -> None:
    reports = Reports()

    assert due == [reports.is_due(MAIN, status, moment) for status, moment in zip(statuses, moments, strict=True)]


def test_a_state_that_changes_all_the_time_does_not_flood() -> None:
    reports = Reports()
    flapping = [(("healthy", "unhealthy")[number % 2], number / 1000) for number in range(1000)]

    reported = sum(reports.is_due(MAIN, status, moment) for status, moment in flapping)

    assert reported == MOST_REPORTS_A_SECOND
    assert reports.is_due(MAIN, "healthy", 1.0)


def test_components_that_are_named_by_ids_do_not_fill_the_memory() -> None:
    reports = Reports()
    for number in range(5000):
        reports.is_due(("user", str(number)), "healthy", 0.0)

    assert len(reports._latest) == 1000
    assert not reports.is_due(("user", "4999"), "healthy", 0.0)


def test_one_context_serves_threads_at_once_each_with_its_own_time(monitor: RecordingClient) -> None:
    health = Health(monitor, "api", "main", slow_ms=5000)
    both_inside = threading.Barrier(2, timeout=10)

    def visit() -> None:
        with health:
            both_inside.wait()

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert told(monitor) == ["healthy"]


def test_a_context_within_itself_ends_twice(monitor: RecordingClient) -> None:
    health = Health(monitor, "api", "main")
    with health:
        with pytest.raises(ValueError, match="inner"), health:
            raise ValueError("inner")
        monitor.assert_health("api", "main", "unhealthy")

    assert told(monitor) == ["unhealthy", "healthy"]


def test_a_context_that_was_entered_elsewhere_is_reported_without_a_time(monitor: RecordingClient) -> None:
    health = Health(monitor, "api", "main", slow_ms=0)
    thread = threading.Thread(target=health.__enter__)
    thread.start()
    thread.join(10)
    health.__exit__(None, None, None)

    assert [(report.status, report.response_time) for report in monitor.health_reports] == [("healthy", None)]


def test_a_decorated_function_answers_and_raises_as_before(monitor: RecordingClient) -> None:
    @Health(monitor, "math", "division")
    def divide(dividend: float, divisor: float) -> float:
        return dividend / divisor

    assert divide(6, divisor=3) == 2.0
    with pytest.raises(ZeroDivisionError):
        divide(6, 0)
    assert divide.__name__ == "divide"
    assert told(monitor) == ["healthy", "unhealthy"]


def test_a_decorated_coroutine_function_reports_when_it_is_done(monitor: RecordingClient) -> None:
    @Health(monitor, "api", "main")
    async def ask() -> str:
        await asyncio.sleep(0)
        assert told(monitor) == []
        return "answer"

    assert asyncio.run(ask()) == "answer"
    monitor.assert_health("api", "main")


def test_a_generator_function_cannot_be_decorated(monitor: RecordingClient) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="numbers"):
        Health(monitor, "api", "main")(numbers)


def test_a_wrong_limit_is_told_and_breaks_nothing(monitor: RecordingClient, caplog: pytest.LogCaptureFixture) -> None:
    lenient._warn.cache_clear()
    with Health(monitor, "api", "main", slow_ms="fast"):  # type: ignore[arg-type]
        pass

    monitor.assert_health("api", "main")
    assert "slow_ms must be a finite number of at least 0, not 'fast'" in caplog.text


def test_a_wrong_name_breaks_nothing_and_never_takes_the_place_of_an_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "automon_client"), MonitoringClient("") as lenient, Health(lenient, "", ""):
        pass
    strict = RecordingClient()
    with pytest.raises(KeyError, match="mine"), Health(strict, "", "main"):
        raise KeyError("mine")
    with pytest.raises(ValueError, match="component_type"), Health(strict, "", "other"):
        pass

    assert lenient.dropped == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12: there are threads, on purpose
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reports_though_a_thread_of_its_parent_was_reporting(monitor: RecordingClient) -> None:
    reports = Reports()
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with reports._lock:
            taken.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if reports.is_due(MAIN, "healthy", 0.0) else 1)
    release.set()
    thread.join(10)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
