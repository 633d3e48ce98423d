"""Runs a job: bound to a log context, recorded in the database, and never felt by the scheduler when it fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import structlog

from automon.errors import DatabaseUnavailableError
from jobs.job import Context, Job, Result

T = TypeVar("T")

log = structlog.get_logger("automon.jobs")


class JobRunner:
    """Runs are recorded as started before they begin, so that one that was killed can be seen.

    A job that fails the same way at each of its runs is told of once, with its traceback, and once when it works again.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failing: dict[str, str] = {}

    def run(self, job: Job) -> None:
        """Run a job of this service's own, with or without a database."""
        self._run(job, self._begin(job))

    def run_unrecorded(self, job: Job) -> bool:
        """Run a job that leaves its traces elsewhere; answer whether it succeeded."""
        return self._run(job, None)

    def run_if_due(self, job: Job, pause: timedelta, due_since: datetime | None = None) -> bool:
        """Run a job that all services share, if it is due and no other service runs it; answer whether it has run."""
        store, instance = self._context.store, self._context.instance
        run_id = self._book(job, "claim", lambda: store.claim_job_run(job.name, instance, pause, due_since))
        if run_id is not None:
            self._run(job, run_id)
        return run_id is not None

    def _run(self, job: Job, run_id: int | None) -> bool:
        with structlog.contextvars.bound_contextvars(job=job.name, run=uuid4().hex[:8]):
            try:
                result = job.run_once(self._context)
            except DatabaseUnavailableError:
                log.debug("job_skipped_without_database")
                self._finish(job, run_id, "failed", Result(), "the database went away")
            except Exception as error:
                if self._is_news(job.name, error):
                    log.exception("job_failed")
                self._finish(job, run_id, "failed", Result(), f"{type(error).__name__}: {error}")
            else:
                self._tell_of_success(job)
                log.debug("job_succeeded", **result.counts)
                self._finish(job, run_id, "succeeded", result, None)
                return True
        return False

    def _is_news(self, what: str, error: Exception) -> bool:
        """Answer whether that failed in another way at its last time, or not at all; remembers this way."""
        before, self._failing[what] = self._failing.get(what), type(error).__name__
        return before != self._failing[what]

    def _tell_of_success(self, job: Job) -> None:
        if self._failing.pop(job.name, None):
            log.info("job_recovered")

    def _begin(self, job: Job) -> int | None:
        if not self._context.store.database.available:
            return None  # in an outage a job that can do without the database must not wait for it
        return self._book(job, "begin", lambda: self._context.store.begin_job_run(job.name, self._context.instance))

    def _finish(self, job: Job, run_id: int | None, outcome: str, result: Result, error: str | None) -> None:
        if run_id is not None:
            self._book(job, "finish", lambda: self._context.store.finish_job_run(run_id, outcome, result.counts, error))

    def _book(self, job: Job, step: str, write: Callable[[], T]) -> T | None:
        """Write about a run; None when the database is away, or cannot write because its disk is full."""
        booking = f"{step} {job.name}"
        try:
            written = write()
        except DatabaseUnavailableError:
            log.debug("job_run_not_recorded", job=job.name, step=step)
        except Exception as error:
            if self._is_news(booking, error):
                log.exception("job_run_not_recorded", job=job.name, step=step)
        else:
            self._failing.pop(booking, None)
            return written
        return None
