"""The report of a command, made in a thread beside it: nothing that happens here reaches the command."""

from __future__ import annotations

import argparse
import logging
import threading
import time

from monitoring_client.client import MonitoringClient
from monitoring_client.run_command import NOT_STARTED, Ending
from monitoring_client.run_options import say

LONGEST_LINE = 500  # characters


class Report:
    """Records the task's start now and its end when it is told; says at the end, in one line, what could not be recorded."""

    def __init__(self, options: argparse.Namespace, task_id: str, program: str) -> None:
        self._options = options
        self._task_id = task_id
        self._program = program
        self._complaint = ""
        self._ended = threading.Event()
        self._ending = Ending(0, "completed")
        self._size: int | None = None
        self._evidence = ""
        self._thread = threading.Thread(target=self._work, name="automon-run", daemon=True)

    def begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:  # the limit of processes is reached
            self._complaint = str(error)

    def end(self, ending: Ending, size: int | None, evidence: bytes, deadline: float) -> None:
        """Record the end, and wait for that until the deadline at most."""
        self._ending, self._size = ending, size
        self._evidence = evidence.decode("utf-8", "replace")
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._complaint = self._complaint or "the database does not answer"
        if self._complaint:
            say(f"not recorded: {self._complaint[:LONGEST_LINE]}", quiet=self._options.quiet)

    def _work(self) -> None:
        try:
            self._listen()
            with MonitoringClient.from_environment(worker_id=self._options.worker) as monitor:
                monitor.start_task(self._options.task, task_id=self._task_id)
                self._ended.wait()
                self._record_end(monitor)
        except Exception as error:  # noqa: BLE001 - whatever it is, the command's exit code is not to change over it
            self._complaint = f"{type(error).__name__}: {error}"

    def _listen(self) -> None:
        """Keep what the client would log; it is said once, when the command is done with the terminal."""
        logger = logging.getLogger("automon_client")
        logger.addHandler(_Ear(self))
        logger.propagate = False

    def hear(self, message: str) -> None:
        self._complaint = message

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


class _Ear(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report.hear(record.getMessage())
