"""The report of a command, made in a thread beside it: nothing that happens here reaches the command."""

from __future__ import annotations

import argparse
import logging
import threading
import time

from monitoring_client import settings
from monitoring_client.client import MonitoringClient
from monitoring_client.run_command import NOT_STARTED, Ending
from monitoring_client.run_options import say

LONGEST_LINE = 500  # characters
MARGIN = 0.1  # seconds that are kept for the way out
SECONDS_BETWEEN_LOOKS = 0.2
NO_ANSWER = "the database has not answered yet; what there is to record waits on disk"
NOT_DONE = "could not be done in time"


class Report:
    """Records the task's start now and its end when it is told; says at the end, in one line, what did not go well.

    Each fact is on disk before it is sent: automon-run may be killed, and does not wait for long when it ends.
    """

    def __init__(self, options: argparse.Namespace, task_id: str, program: str) -> None:
        self._options = options
        self._task_id = task_id
        self._program = program
        self._complaint = ""
        self._ended = threading.Event()
        self._ending = Ending(0, "completed")
        self._size: int | None = None
        self._evidence = ""
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="automon-run", daemon=True)

    def begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # the limit of processes is reached
            self._complaint = str(error)

    def end(self, ending: Ending, size: int | None, evidence: bytes, deadline: float) -> None:
        """Record the end, and wait for that until the deadline at most."""
        self._ending, self._size, self._deadline = ending, size, deadline
        self._evidence = evidence.decode("utf-8", "replace")
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        complaint = self._complaint or (NOT_DONE if self._thread.is_alive() else "")
        if complaint:
            say(f"reporting: {complaint.removeprefix('automon: ')[:LONGEST_LINE]}", quiet=self._options.quiet)

    def hear(self, record: logging.LogRecord) -> None:
        """Keep the last warning of the client, until it says that the database answers again."""
        self._complaint = record.getMessage() if record.levelno >= logging.WARNING else ""

    def _work(self) -> None:
        try:
            if _is_nowhere_to_report():
                self._complaint = "no database is named: set AUTOMON_DSN"
                return
            self._listen()
            monitor = MonitoringClient(worker_id=self._options.worker, durable=True)
            monitor.start_task(self._options.task, task_id=self._task_id)
            self._ended.wait()
            self._record_end(monitor)
            self._deliver(monitor)
        except Exception as error:  # noqa: BLE001 - whatever it is, the command's exit code is not to change over it
            self._complaint = f"{type(error).__name__}: {error}"

    def _listen(self) -> None:
        """Keep what the client would log; it is said once, when the command is done with the terminal."""
        logger = logging.getLogger("automon_client")
        logger.addHandler(_Ear(self))
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def _deliver(self, monitor: MonitoringClient) -> None:
        """Wait for the database as long as there is time, and no longer than it takes to see that it is away."""
        while not monitor.flush(min(SECONDS_BETWEEN_LOOKS, self._time_left())):
            if self._complaint or self._time_left() == 0:
                self._complaint = self._complaint or NO_ANSWER
                return

    def _time_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic() - MARGIN)

    def _record_end(self, monitor: MonitoringClient) -> None:
        ending, options = self._ending, self._options
        message = self._message(ending)
        if ending.failure is not None:
            monitor.record_error(
                self._task_id,
                ending.failure,
                options.severity,
                message or "",
                options.component or options.task,
                self._evidence or None,
                self._context(ending),
            )
        timings = None if ending.seconds is None else {"command": round(ending.seconds, 6)}
        monitor.complete_task(self._task_id, ending.status, self._size, timings, message)

    def _message(self, ending: Ending) -> str | None:
        """Give what the ending says, and the last line of stderr, where most commands say what is wrong."""
        lines = [line.strip() for line in self._evidence.splitlines() if line.strip()]
        if ending.failure in (None, NOT_STARTED) or not lines:
            return ending.message
        return f"{ending.message}: {lines[-1]}"

    def _context(self, ending: Ending) -> dict[str, object]:
        # Not the arguments: passwords stand in them often enough.
        context = {"program": self._program, "exit_code": ending.exit_code, "seconds": ending.seconds}
        return context if ending.signal is None else {**context, "signal": ending.signal}


def _is_nowhere_to_report() -> bool:
    told = settings.read(dsn=None, schema=None, worker_id=None, durable=None, enabled=None, spool=None)
    return told.enabled and not told.dsn


class _Ear(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report.hear(record)
