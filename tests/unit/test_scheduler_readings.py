"""The database is asked for metrics ahead of those who want them, and not while nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from automon.errors import DatabaseUnavailableError
from scheduler.readings import Reading, Readings
from tests.support.waiting import wait_until


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


class Source:
    """Answers how often it was read, unless there is something to raise; `closed` holds it up."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> bytes:
        self.count += 1
        self.open.wait(10)
        if self.error is not None:
            raise self.error
        return str(self.count).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def readings(clock: Clock, source: Source) -> Iterator[Readings]:
    readings = Readings(clock, source)
    yield readings
    source.open.set()
    readings.end()


def wake(readings: Readings) -> None:
    """Have the thread look at the clock, which has been put ahead."""
    with readings._changed:
        readings._changed.notify_all()


def wait_for(readings: Readings, count: int) -> None:
    """Return when so many readings have come to an end, however they ended."""
    wait_until(
        lambda: sum(readings.counts.values()) == count and readings._due_at > readings._clock.monotonic(),
        what=f"{count} readings",
    )


def seconds_waited(readings: Readings, patience: float = 60.0) -> float:
    readings.patience = patience
    began = time.monotonic()
    readings.wait()
    return time.monotonic() - began


def text_of(readings: Readings) -> bytes | None:
    newest = readings.newest()
    return newest.text if newest else None


def test_nothing_is_read_before_somebody_asks(readings: Readings, source: Source) -> None:
    assert readings.newest() is None
    assert readings._thread is None
    assert source.count == 0


def test_the_first_who_asks_waits_for_it(readings: Readings, source: Source) -> None:
    def answer() -> None:
        wait_until(lambda: source.count, what="a question")
        source.open.set()

    source.open.clear()
    readings.ask()
    assert readings.newest() is None

    threading.Thread(target=answer).start()
    assert seconds_waited(readings) < 60

    assert text_of(readings) == b"1"
    assert readings.counts == {"succeeded": 1, "failed": 0}


def test_who_waits_is_not_kept_for_long(readings: Readings, source: Source) -> None:
    source.open.clear()
    readings.ask()

    assert 0.05 <= seconds_waited(readings, 0.05) < 5
    assert readings.newest() is None


def test_a_reading_that_fails_keeps_nobody(readings: Readings, source: Source) -> None:
    source.error = DatabaseUnavailableError("away")
    readings.ask()

    assert seconds_waited(readings) < 60
    assert readings.counts == {"succeeded": 0, "failed": 1}


def test_at_the_end_nobody_waits(readings: Readings, source: Source) -> None:
    source.open.clear()
    readings.ask()
    readings.end()

    assert seconds_waited(readings) < 60


def test_it_is_read_again_after_a_pause_while_somebody_asks(readings: Readings, clock: Clock) -> None:
    readings.ask()
    wait_for(readings, 1)
    readings.ask()
    clock.ahead = 16
    wake(readings)

    wait_for(readings, 2)
    assert text_of(readings) == b"2"


def test_it_is_not_read_again_when_nobody_has_asked_for_long(readings: Readings, source: Source, clock: Clock) -> None:
    readings.ask()
    wait_for(readings, 1)
    clock.ahead = 200
    wake(readings)
    assert text_of(readings) is None

    readings.ask()
    wait_for(readings, 2)

    assert source.count == 2
    assert text_of(readings) == b"2"


def test_what_should_have_been_replaced_is_not_told(readings: Readings, source: Source, clock: Clock) -> None:
    readings.ask()
    wait_for(readings, 1)
    source.open.clear()
    readings.ask()
    clock.ahead = 16
    wake(readings)
    wait_until(lambda: source.count == 2, what="a second reading")
    assert text_of(readings) == b"1"

    clock.ahead = 21
    assert text_of(readings) is None


def test_after_a_failure_nobody_waits_and_nothing_old_is_told(readings: Readings, source: Source, clock: Clock) -> None:
    readings.ask()
    wait_for(readings, 1)
    source.error = ZeroDivisionError()
    readings.ask()
    clock.ahead = 16
    with capture_logs() as lines:
        wake(readings)
        wait_for(readings, 2)
        clock.ahead = 22
        wake(readings)
        wait_for(readings, 3)

    assert text_of(readings) is None
    assert seconds_waited(readings) < 60
    assert readings.counts == {"succeeded": 1, "failed": 2}
    assert [line["event"] for line in lines] == ["metrics_not_read"]


def test_an_outage_is_for_others_to_tell(readings: Readings, source: Source) -> None:
    source.error = DatabaseUnavailableError("away")
    with capture_logs() as lines:
        readings.ask()
        wait_for(readings, 1)

    assert lines == []
    assert readings.counts == {"succeeded": 0, "failed": 1}


@pytest.mark.parametrize(("seconds", "pause"), [(0.01, 15.0), (0.3, 15.0), (0.5, 25.0), (2.0, 100.0)])
def test_a_database_that_takes_long_is_asked_less_often(seconds: float, pause: float) -> None:
    assert Reading(text=b"", at=1000.0, seconds=seconds).due_at == pytest.approx(1000.0 + pause)
