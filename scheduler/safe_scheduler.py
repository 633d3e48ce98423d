"""APScheduler, made fit for a process that runs for months."""

from __future__ import annotations

import time
from datetime import datetime

import structlog
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
    """

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.beat = time.monotonic()
        self._offset = time.time() - self.beat

    def _process_jobs(self) -> float:
        self.beat = time.monotonic()
        try:
            self._follow_clock()
            wait = super()._process_jobs()
        except Exception:
            # APScheduler's thread would end here and nothing would ever run again, while `running` stays true.
            log.exception("scheduler_round_failed")
            return LONGEST_WAIT
        return LONGEST_WAIT if wait is None else min(wait, LONGEST_WAIT)

    def _follow_clock(self) -> None:
        offset = time.time() - time.monotonic()
        jump, self._offset = offset - self._offset, offset
        if abs(jump) < CLOCK_JUMP:
            return
        log.warning("clock_jumped", seconds=round(jump, 1))
        for job in self.get_jobs():
            if isinstance(job.trigger, IntervalTrigger):
                self.modify_job(job.id, next_run_time=datetime.now(self.timezone))
