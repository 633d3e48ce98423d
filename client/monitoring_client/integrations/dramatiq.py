"""Reports each run of a Dramatiq actor: `watch(broker, monitor)`, once, where the broker is made. Tested with 1.17 and 2.2.

A run is a task of automon with the message's id, and the actor's name as its type.
"""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, Middleware, Worker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from monitoring_client import MonitoringClient, Task

FLUSH_SECONDS = 2.0


def watch(broker: Broker, monitor: MonitoringClient) -> None:
    """Report each run of this broker's actors to the monitor.

    A run that is retried ends as cancelled, for the work goes on; each attempt is a run, all with the same id. The last
    one ends as failed with one error. A message that is skipped, for its age perhaps, is a run that ends as cancelled.
    """
    broker.add_middleware(_Runs(monitor))


class _Run:
    """An attempt: its task, how often the message had been retried before, and what it raised."""

    def __init__(self, task: Task, message: MessageProxy) -> None:
        self.task = task
        self.error: BaseException | None = None
        self._retries = _retries_of(message)

    def end(self, message: MessageProxy) -> None:
        will_be_retried = not message.failed and _retries_of(message) > self._retries
        self.task.end(self.error, status="cancelled" if self.error is not None and will_be_retried else None)


class _Runs(Middleware):
    """Ends a run when its message is acknowledged or rejected.

    By then, whatever the order of all middleware, it is decided whether there will be another attempt.
    """

    def __init__(self, monitor: MonitoringClient) -> None:
        self._monitor = monitor
        self._running: dict[str, _Run] = {}

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._begin(message)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        run = self._running.get(message.message_id)
        if run is not None:
            run.task.leave()
            run.error = exception

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        run = self._running.get(message.message_id) or self._begin(message)
        del self._running[message.message_id]
        run.task.leave()
        run.task.end(SkipMessage("the message was skipped"), status="cancelled")

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        self._end(message)

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        self._end(message)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        # The processes of its command line end without the interpreter's own goodbyes.
        self._monitor.flush(FLUSH_SECONDS)

    def _begin(self, message: MessageProxy) -> _Run:
        task = self._monitor.task(message.actor_name, task_id=message.message_id)
        run = self._running[message.message_id] = _Run(task, message)
        task.start().enter()
        return run

    def _end(self, message: MessageProxy) -> None:
        run = self._running.pop(message.message_id, None)
        if run is not None:
            run.end(message)


def _retries_of(message: MessageProxy) -> int:
    return int(message.options.get("retries", 0))
