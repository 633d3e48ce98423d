"""Judges the moment: all checks in one pass, in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jobs.job import Context, Result


class AlertChecks:
    """`on_change` is called when alerts changed, so that their messages leave at once and not at the next poll."""

    name: ClassVar[str] = "alert_checks"

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def run_once(self, context: Context) -> Result:
        changed = context.store.run_monitoring_checks(context.clock.now())
        if changed:
            self._on_change()
        return Result({"alerts_changed": changed})
