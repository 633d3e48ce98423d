"""The clock that the fault tests set for other processes does what it says, and leaves alone what it must."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest

from tests.support.clock import ShiftedClock
from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.service import clean_environment

AHEAD = timedelta(days=3, hours=1, microseconds=7)
BACK = timedelta(days=-400, microseconds=-7)
RIGHT = timedelta()
# What a busy machine may take between two looks at the clock.
TOLERANCE = timedelta(seconds=5)

# Each line of its input is an expression; the answer to each is a line of JSON.
CHILD = """\
import ctypes, json, sys, threading, time

def took(action):
    print('"begun"', flush=True)
    began = time.monotonic()
    action()
    return time.monotonic() - began

libc = ctypes.CDLL(None)
for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"""


class Child:
    """A Python of its own that says what its clocks show."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env=clean_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, expression: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self.answer()

    def now(self, expression: str = "time.time()") -> datetime:
        return datetime.fromtimestamp(self.ask(expression), UTC)


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path / "clock")


@pytest.fixture
def child(clock: ShiftedClock) -> Iterator[Child]:
    with Child(clock.environment()) as child:
        yield child


@pytest.fixture
def shifted_postgres(clock: ShiftedClock, memory_path: Path, pristine_postgres: Path) -> Iterator[PostgresUnderTest]:
    directory = copy_server(pristine_postgres, memory_path / "server")
    with PostgresUnderTest(directory, environment=clock.environment()) as server:
        yield server


def assert_shows(shown: datetime, offset: timedelta) -> None:
    assert abs(shown - datetime.now(UTC) - offset) < TOLERANCE


@pytest.mark.parametrize(
    "look",
    [
        pytest.param("time.time()", id="clock_gettime"),
        pytest.param("time.clock_gettime(5)", id="the coarse clock"),
        pytest.param("libc.time(None)", id="time"),
        pytest.param(
            "(lambda now: (libc.gettimeofday(now, None), now[0] + now[1] / 1e6)[1])((ctypes.c_int64 * 2)())",
            id="gettimeofday",
        ),
    ],
)
def test_a_running_process_sees_the_clock_move_both_ways(look: str, clock: ShiftedClock, child: Child) -> None:
    assert_shows(child.now(look), RIGHT)
    for offset in (AHEAD, BACK, RIGHT):
        clock.shift(offset)
        assert_shows(child.now(look), offset)


def test_the_fractions_of_a_second_stay_below_one_whatever_the_shift(clock: ShiftedClock, child: Child) -> None:
    for microseconds in (1, 999_999, -1, -999_999):
        clock.shift(timedelta(microseconds=microseconds))
        assert_shows(child.now("time.clock_gettime_ns(0) / 1e9"), RIGHT)
        nanoseconds = "all(0 <= (libc.clock_gettime(0, now), now[1])[1] < 10**9 for _ in range(2000))"
        assert child.ask(f"(lambda now: {nanoseconds})((ctypes.c_int64 * 2)())")


def test_the_monotonic_clock_stays_true(clock: ShiftedClock, child: Child) -> None:
    before = child.ask("time.monotonic()")

    clock.shift(AHEAD)
    between = child.ask("time.monotonic()")
    clock.shift(BACK)
    after = child.ask("time.monotonic()")

    assert before <= between <= after < before + TOLERANCE.total_seconds()


@pytest.mark.parametrize("offset", [AHEAD, BACK], ids=["ahead", "back"])
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param("time.sleep(0.5)", id="sleep"),
        pytest.param("threading.Event().wait(0.5)", id="an event"),
        pytest.param("(lock := threading.Lock()).acquire() and lock.acquire(timeout=0.5)", id="a lock"),
    ],
)
def test_a_wait_takes_its_time_while_the_clock_is_set(
    wait: str, offset: timedelta, clock: ShiftedClock, child: Child
) -> None:
    assert child.ask(f"took(lambda: {wait})") == "begun"

    clock.shift(offset)

    assert 0.5 <= child.answer() < 0.5 + TOLERANCE.total_seconds()


def test_a_process_without_the_clock_stays_true_and_one_that_cannot_read_it_does_not_run(
    clock: ShiftedClock, tmp_path: Path
) -> None:
    clock.shift(AHEAD)
    with Child({}) as other:
        assert_shows(other.now(), RIGHT)

    blind = clean_environment(clock.environment() | {"AUTOMON_TEST_CLOCK": str(tmp_path / "nowhere")})
    ended = subprocess.run([sys.executable, "-c", "pass"], env=blind, capture_output=True, text=True, check=False)

    assert ended.returncode == 127
    assert "nowhere: No such file or directory" in ended.stderr


def test_a_server_sees_the_clock_move_both_ways_under_a_session(
    clock: ShiftedClock, shifted_postgres: PostgresUnderTest
) -> None:
    with psycopg.connect(shifted_postgres.url, autocommit=True) as link:
        for offset in (RIGHT, AHEAD, BACK, RIGHT):
            clock.shift(offset)
            [shown] = link.execute("SELECT clock_timestamp()").fetchone() or [None]
            assert isinstance(shown, datetime)
            assert_shows(shown, offset)


def test_a_server_starts_stops_and_recovers_under_a_clock_that_was_set_back(
    clock: ShiftedClock, shifted_postgres: PostgresUnderTest
) -> None:
    with psycopg.connect(shifted_postgres.url) as link:
        link.execute("CREATE TABLE public.kept AS SELECT clock_timestamp() AS made_at")
    clock.shift(BACK)

    shifted_postgres.kill()
    shifted_postgres.start()

    with psycopg.connect(shifted_postgres.url) as link:
        assert link.execute("SELECT made_at > now() + interval '399 days' FROM public.kept").fetchone() == (True,)


def test_a_client_under_the_clock_talks_to_a_true_server(
    clock: ShiftedClock, child: Child, postgres_server: PostgresUnderTest
) -> None:
    clock.shift(AHEAD)
    ask = "__import__('psycopg').connect({!r}, connect_timeout=5).execute('SELECT extract(epoch FROM now())::float8').fetchone()[0]"

    assert_shows(child.now(ask.format(postgres_server.url)), RIGHT)
    assert_shows(child.now(), AHEAD)
