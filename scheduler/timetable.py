"""What runs when."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.triggers.interval import IntervalTrigger

from automon.config import Schedule
from jobs.alert_checks import AlertChecks
from jobs.cleanup import Cleanup
from jobs.fast_checks import FastChecks
from jobs.host_sampling import HostSampling
from jobs.job import Context
from jobs.ping import Ping
from jobs.self_check import SelfCheck
from scheduler.runner import JobRunner
from scheduler.safe_scheduler import SafeScheduler

AT_ONCE = timedelta(0)
# After a pause of the service its own host would seem silent, had the first sample not been stored before the first check.
TIME_FOR_FIRST_SAMPLE = timedelta(seconds=2)
# How often a service asks whether a job that all share is due: so soon another takes over from one that has died.
LONGEST_LOOK = timedelta(seconds=5)
# In a storm of notices: four looks a second, not one for each notice.
PAUSE_BETWEEN_NOTICES = timedelta(milliseconds=250)
CLEANUP_LOOK = timedelta(minutes=1)
CLEANUP_AGAIN_AFTER = timedelta(hours=1)  # when it failed, or days stayed that others held open


class Timetable:
    """The jobs and their rhythm. A job never overlaps itself; what was missed while the machine slept runs once.

    Sampling, the fast checks and the ping have a thread of their own each, so that a slow check leaves no gap in them. Nothing is judged
    while others take this service for dead (`lives`): its beat has to say first for how long nobody has watched.
    """

    def __init__(
        self,
        context: Context,
        host_sampling: HostSampling,
        alert_checks: AlertChecks,
        fast_checks: FastChecks,
        self_check: SelfCheck,
        *,
        lives: Callable[[], bool],
    ) -> None:
        self._context = context
        self._runner = JobRunner(context)
        self._host_sampling = host_sampling
        self._alert_checks = alert_checks
        self._fast_checks = fast_checks
        self._self_check = self_check
        self._lives = lives
        self._cleanup = Cleanup()
        self._is_new_config = False
        self._noticed_at = -math.inf  # the monotonic second of the last look that a notice has led to
        self._looking_since: float | None = None
        self._looks_fail_since: float | None = None
        self._scheduler = SafeScheduler(
            timezone=UTC,
            executors={
                "default": ThreadPoolExecutor(3),
                "collect": ThreadPoolExecutor(1),
                "watch": ThreadPoolExecutor(1),
                "ping": ThreadPoolExecutor(1),
            },
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    @property
    def beat(self) -> float:
        """The monotonic second of the scheduler's last round."""
        return self._scheduler.beat

    @property
    def looking_for(self) -> timedelta:
        """For how long the fast checks have been at a look that has not ended; 0 between two looks."""
        return self._since(self._looking_since)

    @property
    def looks_fail_for(self) -> timedelta:
        """For how long every look of the fast checks has failed; 0 when the last one did not."""
        return self._since(self._looks_fail_since)

    def _since(self, moment: float | None) -> timedelta:
        return timedelta(0) if moment is None else timedelta(seconds=self._context.clock.monotonic() - moment)

    def start(self) -> None:
        self._scheduler.start()

    def pause(self) -> None:
        self._scheduler.pause()

    def end(self) -> None:
        self._scheduler.shutdown(wait=False)

    def sample_host(self, schedule: Schedule) -> None:
        """Look at the host in this rhythm, from now on; needs no database."""
        self._put(HostSampling.name, self._sample, every(schedule.host_sampling), executor="collect", first_in=AT_ONCE)

    def ping(self, ping: Ping, pause: timedelta) -> None:
        """Tell somebody outside in this rhythm how this service is; needs no database."""
        self._put(Ping.name, self._runner.run_unrecorded, every(pause), ping, executor="ping", first_in=AT_ONCE)

    def run_shared_jobs(self, schedule: Schedule) -> None:
        """Run what all services on the database share, whichever of them comes first; a new config is judged by at once."""
        self._is_new_config = True
        looks = (
            (AlertChecks.name, self._check, min(schedule.alert_checks, LONGEST_LOOK), TIME_FOR_FIRST_SAMPLE),
            (SelfCheck.name, self._check_self, min(schedule.self_check, LONGEST_LOOK), TIME_FOR_FIRST_SAMPLE),
            (Cleanup.name, self._clean_up, CLEANUP_LOOK, AT_ONCE),
        )
        for name, look, pause, first_in in looks:
            self._put(name, look, every(pause), schedule, first_in=first_in)
        # Of two looks one waits for the other, since their thread is one: what is noticed during a look needs another.
        self._put(
            FastChecks.name,
            self._look,
            every(schedule.fast_checks),
            executor="watch",
            first_in=TIME_FOR_FIRST_SAMPLE,
            max_instances=2,
        )

    def watch_now(self) -> None:
        """Look at the newest facts at once: something was recorded that should be judged. Only the listener calls it."""
        now = self._context.clock.monotonic()
        if now < self._noticed_at:
            return  # a look is about to come for the notice before
        self._noticed_at = max(now, self._noticed_at + PAUSE_BETWEEN_NOTICES.total_seconds())
        at = self._context.clock.now() + timedelta(seconds=self._noticed_at - now)
        with suppress(JobLookupError):  # there are no shared jobs yet, and the first look comes with them
            self._scheduler.modify_job(FastChecks.name, next_run_time=at)

    def _look(self) -> None:
        if not self._lives():
            return
        began = self._looking_since = self._context.clock.monotonic()
        if self._runner.run_unrecorded(self._fast_checks):
            self._looks_fail_since = None
        elif self._looks_fail_since is None:
            self._looks_fail_since = began
        self._looking_since = None

    def _sample(self) -> None:
        self._runner.run(self._host_sampling)

    def _check(self, schedule: Schedule) -> None:
        is_new, self._is_new_config = self._is_new_config, False
        pause = AT_ONCE if is_new else schedule.alert_checks
        has_run = self._lives() and self._runner.run_if_due(self._alert_checks, pause)
        if is_new and not has_run:
            self._is_new_config = True

    def _check_self(self, schedule: Schedule) -> None:
        if self._lives():
            self._runner.run_if_due(self._self_check, schedule.self_check)

    def _clean_up(self, schedule: Schedule) -> None:
        due_since = last_moment(schedule.cleanup_at, schedule.timezone, self._context.clock.now())
        # What others held open, a nightly backup say, is not left for the next night.
        self._runner.run_if_due(self._cleanup, CLEANUP_AGAIN_AFTER, None if self._cleanup.is_unfinished else due_since)

    def _put(
        self,
        name: str,
        run: object,
        trigger: IntervalTrigger,
        *arguments: object,
        executor: str = "default",
        first_in: timedelta,
        max_instances: int = 1,
    ) -> None:
        """Put something on the timetable, or change its rhythm."""
        first = self._context.clock.now() + first_in
        self._scheduler.add_job(
            run,
            trigger,
            args=arguments,
            id=name,
            executor=executor,
            max_instances=max_instances,
            replace_existing=True,
            next_run_time=first,
        )


def every(pause: timedelta) -> IntervalTrigger:
    return IntervalTrigger(seconds=int(pause.total_seconds()), timezone=UTC)


def last_moment(at: time, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the last moment, up to now, at which the clocks of that zone showed that time of day.

    A time that a zone skips in spring counts as the moment at which it would have come.
    """
    today = now.astimezone(zone).date()
    days = (today - timedelta(days=back) for back in (0, 1, 2))
    moments = (datetime.combine(day, at, tzinfo=zone).astimezone(UTC) for day in days)
    return next(moment for moment in moments if moment <= now)
