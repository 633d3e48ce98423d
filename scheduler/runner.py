"""Runs a job: bound to a log context, recorded in the database, and never felt by the scheduler when it fails."""

from __future__ import annotations

from uuid import uuid4

import structlog

from automon.errors import DatabaseUnavailableError
from jobs.job import Context, Job, Result

log = structlog.get_logger("automon.jobs")


class JobRunner:
    """Runs are recorded as started before they begin, so that one that was killed can be seen.

    A job that fails the same way at each of its runs is told of once, with its traceback, and once when it works again.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failing: dict[str, str] = {}

    def run(self, job: Job) -> None:
        with structlog.contextvars.bound_contextvars(job=job.name, run=uuid4().hex[:8]):
            run_id = self._begin(job)
            try:
                result = job.run_once(self._context)
            except DatabaseUnavailableError:
                log.debug("job_skipped_without_database")
            except Exception as error:
                if self._is_news(job, error):
                    log.exception("job_failed")
                self._finish(run_id, "failed", Result(), f"{type(error).__name__}: {error}")
            else:
                self._tell_of_success(job)
                log.debug("job_succeeded", **result.counts)
                self._finish(run_id, "succeeded", result, None)

    def _is_news(self, job: Job, error: Exception) -> bool:
        """Answer whether the job failed in another way at its last run, or not at all; remembers this way."""
        before, self._failing[job.name] = self._failing.get(job.name), type(error).__name__
        return before != self._failing[job.name]

    def _tell_of_success(self, job: Job) -> None:
        if self._failing.pop(job.name, None):
            log.info("job_recovered")

    def _begin(self, job: Job) -> int | None:
        if not self._context.store.database.available:
            return None  # in an outage a job that can do without the database must not wait for it
        try:
            return self._context.store.begin_job_run(job.name, self._context.instance, self._context.clock.now())
        except DatabaseUnavailableError:
            return None

    def _finish(self, run_id: int | None, outcome: str, result: Result, error: str | None) -> None:
        if run_id is None:
            return
        try:
            self._context.store.finish_job_run(run_id, outcome, result.counts, error, self._context.clock.now())
        except DatabaseUnavailableError:
            log.debug("job_run_not_recorded", outcome=outcome)
