"""Reports each run of a job of APScheduler 3: `watch(scheduler, monitor)`, once. Tested with 3.10 and 3.11.

A run is a task of automon whose type is the job's name, which is that of its function unless it was given another.
"""

from __future__ import annotations

import traceback
from datetime import datetime, timezone
from threading import Lock
from typing import Any

from apscheduler.events import (
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.schedulers.base import BaseScheduler

from monitoring_client import MonitoringClient

MOST_NAMES = 10_000  # of jobs: a scheduler may be given new ones for ever


def watch(scheduler: BaseScheduler, monitor: MonitoringClient) -> None:
    """Report each run of this scheduler's jobs, from the moment at which its executor is given the run.

    A run that was missed ends as cancelled, with an error; one that did not begin because the job's instances were all
    at work is an error without a task. Errors are of medium severity, and their component is the job's name.
    """
    runs = _Runs(scheduler, monitor)
    for event, listener in (
        (EVENT_SCHEDULER_STARTED, runs.on_scheduler_start),
        (EVENT_JOB_ADDED | EVENT_JOB_MODIFIED, runs.on_job),
        (EVENT_JOB_SUBMITTED, runs.on_submission),
        (EVENT_JOB_MAX_INSTANCES, runs.on_refusal),
        (EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED, runs.on_end),
    ):
        scheduler.add_listener(listener, event)
    runs.learn_names()


class _Runs:
    """Follows the events. A run is known by its job and by the moment for which it was scheduled."""

    def __init__(self, scheduler: BaseScheduler, monitor: MonitoringClient) -> None:
        self._scheduler = scheduler
        self._monitor = monitor
        self._names: dict[str, str] = {}
        self._running: dict[tuple[str, datetime], str] = {}
        self._ended_early: set[tuple[str, datetime]] = set()
        self._lock = Lock()

    def learn_names(self) -> None:
        # Beforehand, because a job that has run for the last time is gone when the event tells of that run.
        for job in self._scheduler.get_jobs():
            self._learn(job)

    def on_scheduler_start(self, _event: Any) -> None:
        self.learn_names()

    def on_job(self, event: Any) -> None:
        job = self._scheduler.get_job(event.job_id)
        if job is not None:
            self._learn(job)

    def on_submission(self, event: Any) -> None:
        name = self._name(event.job_id)
        for moment in event.scheduled_run_times:
            key = event.job_id, moment
            with self._lock:
                if key in self._ended_early:
                    self._ended_early.discard(key)
                else:
                    self._running[key] = self._monitor.start_task(name)

    def on_end(self, event: Any) -> None:
        name, error = self._name(event.job_id), event.exception
        task_id = self._take(name, event.job_id, event.scheduled_run_time)
        if event.code == EVENT_JOB_MISSED:
            message = f"the run of {event.scheduled_run_time} was missed"
            self._monitor.record_error(task_id, "MissedRun", "medium", message, name)
            self._monitor.complete_task(task_id, "cancelled", error_message=message)
        elif error is None:
            self._monitor.complete_task(task_id)
        elif isinstance(error, Exception):
            # The event has the traceback even of a run in another process, where the exception has lost it.
            trace = (event.traceback or "") + "".join(traceback.format_exception_only(type(error), error))
            self._monitor.record_error(task_id, type(error).__name__, "medium", error, name, stack_trace=trace)
            self._monitor.complete_task(task_id, "failed", error_message=error)
        else:  # told to end from outside, as by Ctrl-C
            self._monitor.complete_task(task_id, "cancelled", error_message=error)

    def on_refusal(self, event: Any) -> None:
        for moment in event.scheduled_run_times:
            message = f"the run of {moment} was skipped, because as many runs of this job as may be are at work"
            self._monitor.record_error(None, "TooManyInstances", "medium", message, self._name(event.job_id))

    def _take(self, name: str, job_id: str, moment: datetime) -> str:
        """Answer the task of a run. The end of a short one may be told before its submission: then it starts here."""
        with self._lock:
            task_id = self._running.pop((job_id, moment), None)
            if task_id is None:
                self._ended_early.add((job_id, moment))
                task_id = self._monitor.start_task(name, at=min(moment, datetime.now(timezone.utc)))
            return task_id

    def _name(self, job_id: str) -> str:
        # Never under our lock: the scheduler's own one is taken here, and it may call us while it holds that.
        name = self._names.get(job_id)
        if name is None:
            job = self._scheduler.get_job(job_id)
            name = "unknown job" if job is None else self._learn(job)
        return name

    def _learn(self, job: Any) -> str:
        with self._lock:
            name = self._names[job.id] = str(job.name)
            if len(self._names) > MOST_NAMES:
                del self._names[next(iter(self._names))]
        return name
