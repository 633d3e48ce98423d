"""What runs when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from automon.config import Schedule
from jobs.alert_checks import AlertChecks
from jobs.cleanup import Cleanup
from jobs.host_sampling import HostSampling
from jobs.job import Context, Job
from scheduler.runner import JobRunner
from scheduler.safe_scheduler import SafeScheduler

AT_ONCE = timedelta(0)
# After a pause of the service its own host would seem silent, had the first sample not been stored before the first check.
TIME_FOR_FIRST_SAMPLE = timedelta(seconds=2)
DAY = timedelta(days=1)


class Timetable:
    """The jobs and their rhythm. A job never overlaps itself; what was missed while the machine slept runs once.

    Sampling has a thread of its own, so that a slow check leaves no gap in it.
    """

    def __init__(self, context: Context, host_sampling: HostSampling, alert_checks: AlertChecks) -> None:
        self._context = context
        self._runner = JobRunner(context)
        self._host_sampling = host_sampling
        self._alert_checks = alert_checks
        self._cleanup = Cleanup()
        self._scheduler = SafeScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2), "collect": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    @property
    def beat(self) -> float:
        """The monotonic second of the scheduler's last round."""
        return self._scheduler.beat

    @property
    def next_check_at(self) -> datetime | None:
        job = self._scheduler.get_job(AlertChecks.name)
        return job.next_run_time if job else None

    def start(self) -> None:
        self._scheduler.start()

    def pause(self) -> None:
        self._scheduler.pause()

    def end(self) -> None:
        self._scheduler.shutdown(wait=False)

    def sample_host(self, schedule: Schedule) -> None:
        """Look at the host in this rhythm, from now on; needs no database."""
        self._put(self._host_sampling, every(schedule.host_sampling), executor="collect", first_in=AT_ONCE)

    def check_and_clean(self, schedule: Schedule) -> None:
        """Run what needs the database in this rhythm. A clean-up that fell into a time without the service is made up for."""
        last = self._context.store.last_success_of(Cleanup.name)
        overdue = last is not None and self._context.clock.now() - last > DAY
        at = schedule.cleanup_at
        daily = CronTrigger(hour=at.hour, minute=at.minute, timezone=schedule.timezone)
        self._put(self._alert_checks, every(schedule.alert_checks), first_in=TIME_FOR_FIRST_SAMPLE)
        self._put(self._cleanup, daily, first_in=AT_ONCE if overdue else None)

    def _put(
        self, job: Job, trigger: IntervalTrigger | CronTrigger, *, executor: str = "default", first_in: timedelta | None
    ) -> None:
        """Put a job on the timetable, or change its rhythm; `first_in` None: it runs first when its trigger says."""
        first = {} if first_in is None else {"next_run_time": self._context.clock.now() + first_in}
        self._scheduler.add_job(
            self._runner.run, trigger, args=[job], id=job.name, executor=executor, replace_existing=True, **first
        )


def every(pause: timedelta) -> IntervalTrigger:
    return IntervalTrigger(seconds=int(pause.total_seconds()), timezone=UTC)
