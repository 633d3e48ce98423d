"""Looks after automon itself: messages that are too old or cannot be said, channels that fail, jobs that do not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jobs.job import Context, Result


class SelfCheck:
    """`on_change` is called when there may be something new to tell."""

    name: ClassVar[str] = "self_check"

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def run_once(self, context: Context) -> Result:
        now = context.clock.now()
        tended = context.store.tend_deliveries(now)
        changed = context.store.check_automon_alerts(now)
        if changed or tended["handed_on"]:
            self._on_change()
        return Result({"alerts_changed": changed, **tended})
