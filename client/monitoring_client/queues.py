"""A named queue, for the code that reports on one again and again."""

from __future__ import annotations

from datetime import datetime

from monitoring_client import facts
from monitoring_client.recorder import Recorder


class Queue:
    """Reports on one queue; `MonitoringClient.queue` makes it."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder = recorder
        self.name = name

    def report(
        self,
        pending: int,
        processing: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        oldest_pending_seconds: float | None = None,
        *,
        at: datetime | None = None,
    ) -> bool:
        """Record how much waits, is being worked on, and is done. False when the fact was dropped."""
        return self._recorder.record(
            facts.update_queue_metrics, self.name, pending, processing, completed, failed, oldest_pending_seconds, at
        )
