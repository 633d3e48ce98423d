"""Removes what has passed its term, step by step, so that writers never wait long."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from jobs.job import Context, Result


class Cleanup:
    name: ClassVar[str] = "cleanup"

    def run_once(self, context: Context) -> Result:
        totals: Counter[str] = Counter()
        more = True
        while more and not context.stop.is_set():
            removed = context.store.cleanup_old_monitoring_data(context.clock.now())
            more = removed.pop("more")
            totals.update(removed)
        return Result(dict(totals))
