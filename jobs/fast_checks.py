"""Looks at the newest facts: rolls them up, and raises at once what cannot wait for the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jobs.job import Context, Result


class FastChecks:
    """`on_change` is called when alerts changed, so that their messages leave at once."""

    name: ClassVar[str] = "fast_checks"

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def run_once(self, context: Context) -> Result:
        changed = context.store.watch_facts(context.clock.now())
        if changed:
            self._on_change()
        return Result({"alerts_changed": changed})
