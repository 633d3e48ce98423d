"""The scheduler survives its own faults and changes of the clock, and tells once of a job that overlaps itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from structlog.testing import capture_logs

from scheduler.safe_scheduler import SafeScheduler
from tests.support.waiting import wait_until


class Clocks:
    """A wall clock and a monotonic one, set by hand."""

    def __init__(self) -> None:
        self.wall_seconds = 1_700_000_000.0
        self.monotonic_seconds = 50.0

    def wall(self) -> float:
        return self.wall_seconds

    def monotonic(self) -> float:
        return self.monotonic_seconds

    def pass_by(self, seconds: float) -> None:
        self.wall_seconds += seconds
        self.monotonic_seconds += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def scheduler(clocks: Clocks) -> Iterator[SafeScheduler]:
    scheduler = SafeScheduler(
        wall=clocks.wall,
        monotonic=clocks.monotonic,
        timezone=UTC,
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    scheduler.start()
    yield scheduler
    scheduler.shutdown(wait=True)


def hourly() -> IntervalTrigger:
    return IntervalTrigger(hours=1, timezone=UTC)


class TriggerThatFailsOnce(BaseTrigger):  # type: ignore[misc]
    def __init__(self) -> None:
        self.asked = 0

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        self.asked += 1
        if self.asked == 2:
            raise ValueError("no such day")
        return now if previous_fire_time is None else previous_fire_time + timedelta(seconds=0.2)


def test_a_fault_in_its_own_round_does_not_end_it(scheduler: SafeScheduler) -> None:
    runs = threading.Semaphore(0)
    with capture_logs() as told:
        scheduler.add_job(runs.release, TriggerThatFailsOnce(), id="bad")
        for _ in range(3):
            assert runs.acquire(timeout=10)
        wait_until(lambda: told)

    assert told[0]["event"] == "scheduler_round_failed"
    assert told[0]["exc_info"]


@pytest.mark.parametrize(
    ("seconds", "runs"),
    [(-30.0, True), (3600.0, True), (30 * 86400.0, True), (2.0, False), (-4.0, False)],
    ids=["back", "an hour ahead", "a month ahead", "a little ahead", "a little back"],
)
def test_an_interval_job_runs_once_after_the_clock_has_jumped(
    seconds: float, runs: bool, clocks: Clocks, scheduler: SafeScheduler
) -> None:
    ran: list[str] = []
    scheduler.add_job(ran.append, hourly(), args=["interval"], id="interval")
    scheduler.add_job(ran.append, CronTrigger(month=1, day=1, timezone=UTC), args=["daily"], id="daily")

    with capture_logs() as told:
        clocks.wall_seconds += seconds
        clocks.pass_by(0.001)
        beat = clocks.monotonic()
        wait_until(lambda: scheduler.beat == beat)
        if runs:
            wait_until(lambda: ran)
        clocks.pass_by(1)
        wait_until(lambda: scheduler.beat == beat + 1)

    assert ran == (["interval"] if runs else [])
    assert [(event["event"], event["seconds"]) for event in told] == ([("clock_jumped", seconds)] if runs else [])
    assert scheduler.get_job("interval").next_run_time > datetime.now(UTC) + timedelta(minutes=59)


def test_time_that_passes_is_no_jump_and_moves_the_beat(clocks: Clocks, scheduler: SafeScheduler) -> None:
    ran: list[str] = []
    scheduler.add_job(ran.append, hourly(), args=["interval"], id="interval")

    with capture_logs() as told:
        for _ in range(2):
            clocks.pass_by(86400)
            wait_until(lambda: scheduler.beat == clocks.monotonic())

    assert (ran, told) == ([], [])


def test_a_job_that_overlaps_itself_is_told_of_once_and_again_after_it_has_kept_its_time(
    scheduler: SafeScheduler,
) -> None:
    gate = threading.Event()
    began = threading.Semaphore(0)

    def work() -> None:
        began.release()
        gate.wait(20)

    def overlaps() -> int:
        return sum(event["event"] == "job_still_running" and event["job"] == "slow" for event in told)

    with capture_logs() as told:
        scheduler.add_job(work, IntervalTrigger(seconds=1, timezone=UTC), id="slow", next_run_time=datetime.now(UTC))
        assert began.acquire(timeout=10)
        wait_until(lambda: overlaps() == 1)
        next_time = scheduler.get_job("slow").next_run_time
        wait_until(lambda: scheduler.get_job("slow").next_run_time > next_time)
        assert overlaps() == 1
        gate.set()
        for _ in range(2):
            assert began.acquire(timeout=10)
        gate.clear()
        wait_until(lambda: overlaps() == 2)
        gate.set()
