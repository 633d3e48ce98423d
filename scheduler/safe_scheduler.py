"""APScheduler, made fit for a process that runs for months."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

# The scheduler sleeps until the next job by the monotonic clock but computes that moment by the wall clock. Waking once
# a second bounds what a change of the wall clock can do, and costs 0.1 % of a core.
LONGEST_WAIT = 1.0
CLOCK_JUMP = 5.0

log = structlog.get_logger("automon.scheduler")


class SafeScheduler(BackgroundScheduler):
    """Survives its own exceptions and changes of the wall clock. `beat` is the monotonic second of its last round.

    After a jump of the clock, or a sleep of the machine, every interval job runs once and then keeps its rhythm.
    `wall` and `monotonic` answer seconds.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self._wall = wall
        self._monotonic = monotonic
        self.beat = monotonic()
        self._offset = wall() - self.beat
        self._overlapped: set[str] = set()
        self._told: set[str] = set()
        self.add_listener(self._note_overlap, EVENT_JOB_MAX_INSTANCES)
        self.add_listener(self._note_end, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def _note_overlap(self, event: JobSubmissionEvent) -> None:
        """Tell of a job that is still at it when it should begin anew: once, not at every beginning that it misses."""
        self._overlapped.add(event.job_id)
        if event.job_id not in self._told:
            self._told.add(event.job_id)
            log.warning("job_still_running", job=event.job_id)

    def _note_end(self, event: JobExecutionEvent) -> None:
        if event.job_id in self._overlapped:
            self._overlapped.discard(event.job_id)
        else:
            self._told.discard(event.job_id)

    def _process_jobs(self) -> float:
        self.beat = self._monotonic()
        try:
            self._follow_clock()
            wait = super()._process_jobs()
        except Exception:
            # APScheduler's thread would end here and nothing would ever run again, while `running` stays true.
            log.exception("scheduler_round_failed")
            return LONGEST_WAIT
        return LONGEST_WAIT if wait is None else min(wait, LONGEST_WAIT)

    def _follow_clock(self) -> None:
        offset = self._wall() - self._monotonic()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) < CLOCK_JUMP:
            return
        log.warning("clock_jumped", seconds=round(jump, 1))
        for job in self.get_jobs():
            if isinstance(job.trigger, IntervalTrigger):
                self.modify_job(job.id, next_run_time=datetime.now(self.timezone))
