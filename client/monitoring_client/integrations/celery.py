"""Reports each run of a Celery task: `watch(app, monitor)`, once, where the app is made. Tested with Celery 5.4 and 5.7.

A run is a task of automon with Celery's id, the task's name as its type and the worker's name as its `worker_id`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from billiard import current_process
from celery import Celery, signals
from celery.exceptions import Reject, Retry, TaskRevokedError, TimeLimitExceeded

from monitoring_client import MonitoringClient, Task

logger = logging.getLogger("automon_client")
CLOSE_SECONDS = 2.0


def watch(app: Celery | None, monitor: MonitoringClient) -> None:
    """Report each run of this app's tasks; of all apps in this process when app is None. A second call changes nothing.

    A run that is retried ends as cancelled, for the work goes on; each attempt is a run, all with the same id. The last
    one ends as failed with one error, as does a run that its time limit or the end of its process cut off. A run that
    was revoked, or had expired when its turn came, ends as cancelled.
    """
    runs = _Runs(app, monitor)
    for signal, receiver in (
        (signals.worker_init, runs.on_worker_init),
        (signals.task_prerun, runs.on_prerun),
        (signals.task_postrun, runs.on_postrun),
        (signals.task_failure, runs.on_failure),
        (signals.task_retry, runs.on_retry),
        (signals.task_revoked, runs.on_revoked),
        (signals.worker_process_shutdown, runs.on_process_shutdown),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"automon_client.{id(app)}")


def report_queues(app: Celery, monitor: MonitoringClient) -> None:
    """Report how much waits in each queue that this app consumes: one question to the broker for each.

    Call it from a periodic task, or wherever time is to spare. What the broker refuses to tell is logged and left out.
    """
    with app.connection_for_read() as connection:
        for name in app.amqp.queues.consume_from:
            _report_queue(name, connection, monitor)


def _report_queue(name: str, connection: Any, monitor: MonitoringClient) -> None:
    try:
        # A channel for each, because a broker closes the one that asks for a queue which it does not know.
        with connection.channel() as channel:
            pending = channel.queue_declare(name, passive=True).message_count
    except (*connection.connection_errors, *connection.channel_errors) as error:
        logger.warning("automon: the length of the queue %s is unknown: %s", name, error)
    else:
        monitor.queue(name).report(pending)


class _Runs:
    """Follows the signals. Those of one run come from the process that runs it, unless that process is gone."""

    def __init__(self, app: Celery | None, monitor: MonitoringClient) -> None:
        self._app = app
        self._monitor = monitor
        self._running: dict[str, Task] = {}
        self._worker_name: str | None = None
        self._latest_over_time: str | None = None

    def on_worker_init(self, sender: Any, **_signal: Any) -> None:
        self._worker_name = sender.hostname

    def on_prerun(self, task_id: str, task: Any, **_signal: Any) -> None:
        if self._is_watched(task):
            run = self._running[task_id] = self._new_run(task, task_id)
            run.start().enter()

    def on_postrun(self, task_id: str, retval: Any, state: str | None, **_signal: Any) -> None:
        run = self._running.pop(task_id, None)
        if run is None:
            return
        run.leave()
        if state == "SUCCESS":
            run.end()
        elif state == "FAILURE" or (state == "REJECTED" and not retval.requeue):
            run.end(retval)
        elif state is None:
            # The process is told to end, by an exception that is on its way through here. Of a prefork child the
            # worker itself will tell why: a time limit, a revocation, a loss.
            if _is_the_worker_itself():
                run.end(sys.exc_info()[1])
        else:
            run.end(retval if isinstance(retval, Retry) else None, status="cancelled")

    def on_failure(self, sender: Any, task_id: str, exception: BaseException, **_signal: Any) -> None:
        # Where it ran, the end of the run tells more; and of a message that was rejected there, all is said.
        if task_id in self._running or isinstance(exception, Reject) or self._is_told_again(task_id, exception):
            return
        self._end_elsewhere(sender, task_id, exception, "failed")

    def on_retry(self, sender: Any, request: Any, **_signal: Any) -> None:
        if request.id not in self._running and not request.is_eager:
            self._end_elsewhere(sender, request.id, None, "cancelled")

    def on_revoked(self, sender: Any, request: Any, terminated: bool, expired: bool, **_signal: Any) -> None:
        if terminated:
            self._end_elsewhere(sender, request.id, TaskRevokedError("terminated"), "cancelled")
        elif self._is_watched(sender):  # it never began
            reason = TaskRevokedError("expired" if expired else "revoked")
            self._new_run(sender, request.id).start().end(reason, status="cancelled")

    def on_process_shutdown(self, **_signal: Any) -> None:
        # A process of the prefork pool ends by os._exit, which runs no other goodbye.
        self._monitor.close(CLOSE_SECONDS)

    def _is_watched(self, task: Any) -> bool:
        return self._app is None or bool(self._app == task.app)

    def _is_told_again(self, task_id: str, exception: BaseException) -> bool:
        """Recognise the second of two signals about one hard time limit; Celery 5.7 sends them one after the other."""
        if not isinstance(exception, TimeLimitExceeded):
            return False
        again = task_id == self._latest_over_time
        self._latest_over_time = None if again else task_id
        return again

    def _new_run(self, task: Any, task_id: str) -> Task:
        run = self._monitor.task(task.name, task_id=task_id, worker_id=task.request.hostname or self._worker_name)
        if task.request.parent_id != task_id:  # as that of a retry may be
            run.parent_id = task.request.parent_id or run.parent_id
        return run

    def _end_elsewhere(self, task: Any, task_id: str, error: BaseException | None, status: str) -> None:
        """End a run whose process is gone. Its start is that process's to tell, who alone knows when it was."""
        if not self._is_watched(task):
            return
        if error is not None and status == "failed":
            self._monitor.record_error(task_id, type(error).__name__, "medium", error, task.name)
        self._monitor.complete_task(task_id, status, error_message=error)


def _is_the_worker_itself() -> bool:
    return bool(current_process().name == "MainProcess")
