"""Reports each job of an RQ worker: a class to put before the one of the worker. Tested with RQ 2.6 and 3.0.

    class ShopWorker(ReportsJobs, rq.Worker):
        monitor = MonitoringClient()

It runs by `ShopWorker([...]).work()`, or by `rq worker --worker-class shop.ShopWorker`. A job is a task of automon with
RQ's id, the function's name as its type and the worker's name as its `worker_id`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DeserializationError
from rq.job import Job, JobStatus
from rq.worker import BaseWorker, SpawnWorker

from monitoring_client import MonitoringClient, Task

logger = logging.getLogger("automon_client")
CLOSE_SECONDS = 2.0


# What sends facts is loaded here, once: else the process of each job would do it anew, for a tenth of a second.
with contextlib.suppress(ImportError):  # of the driver; the client says so itself when it is used
    for module in ("psycopg", "monitoring_client.bell", "monitoring_client.delivery", "monitoring_client.exchange"):
        importlib.import_module(module)


class JobLostError(Exception):
    """A job ended without an exception of its own: its process was killed, or its last attempt asked for one more."""


class ReportsJobs(BaseWorker):
    """Reports each run of a job to `monitor`, and how many wait in its queue when it has ended.

    A run that is retried ends as cancelled, for the work goes on; each attempt is a run, all with the same id. The last
    one ends as failed with one error, as does a run whose process was killed. A job that was stopped ends as cancelled.
    """

    monitor: ClassVar[MonitoringClient]
    _run: Task | None = None
    _error: BaseException | None = None
    _is_performing = False

    def execute_job(self, job: Job, queue: Queue) -> None:
        if not isinstance(self, SpawnWorker):
            # Begun here and inherited by the process of the job, so that both can tell its end, whoever lives to do it.
            self._run = self._new_run(job).start()
        try:
            super().execute_job(job, queue)
        finally:
            self._run = None

    def perform_job(self, job: Job, queue: Queue, *args: Any, **kwargs: Any) -> bool:
        run = self._run or self._new_run(job).start()
        self._error, self._is_performing = None, True
        run.enter()
        try:
            return super().perform_job(job, queue, *args, **kwargs)
        finally:
            run.leave()
            self._is_performing = False
            self._end_run(run, job)
            report_queues([queue], self.monitor)
            if self.is_horse:  # which ends by os._exit, a moment from now
                self.monitor.close(CLOSE_SECONDS)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        self._error = exc_info[1]
        super().handle_exception(job, *exc_info)

    def handle_job_failure(self, job: Job, queue: Queue, *args: Any, **kwargs: Any) -> None:
        super().handle_job_failure(job, queue, *args, **kwargs)
        if not self._is_performing:
            self._end_elsewhere(job, kwargs.get("exc_string") or "the process of the job is gone")

    def _new_run(self, job: Job) -> Task:
        return self.monitor.task(_name_of(job), task_id=job.id, worker_id=self.name)

    def _end_run(self, run: Task, job: Job) -> None:
        status = job.get_status(refresh=False)
        if status == JobStatus.FINISHED:
            run.end()
        elif status == JobStatus.FAILED:
            run.end(self._error or JobLostError("no attempt is left"))
        else:  # it waits for its next attempt
            run.end(self._error, status="cancelled")

    def _end_elsewhere(self, job: Job, reason: str) -> None:
        """End a run whose process is gone."""
        has_failed = job.get_status(refresh=False) == JobStatus.FAILED  # and was neither stopped nor is to be retried
        status = "failed" if has_failed else "cancelled"
        if self._run is not None:
            self._run.end(JobLostError(reason), status=status)
            return
        if has_failed:
            self.monitor.record_error(job.id, JobLostError.__name__, "medium", reason, _name_of(job))
        self.monitor.complete_task(job.id, status, error_message=reason)


def report_queues(queues: Iterable[Queue], monitor: MonitoringClient) -> None:
    """Report how much waits in each queue: one question to Redis for each. What Redis refuses to tell is logged."""
    for queue in queues:
        _report_queue(queue, monitor)


def _report_queue(queue: Queue, monitor: MonitoringClient) -> None:
    try:
        pending = queue.count
    except RedisError as error:
        logger.warning("automon: the length of the queue %s is unknown: %s", queue.name, error)
    else:
        monitor.queue(queue.name).report(pending)


def _name_of(job: Job) -> str:
    try:
        return job.func_name or "unnamed job"
    except DeserializationError:  # RQ will fail it for that
        return "unreadable job"
