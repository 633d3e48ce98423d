"""Removes what has passed its term, step by step, so that writers never wait long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import structlog

from jobs.job import Context, Result

log = structlog.get_logger("automon.retention")

# Between two steps those who waited behind the first get through.
BREATH_SECONDS = 0.2


class Cleanup:
    """Steps until nothing more can be removed now. `is_unfinished` says whether others held days open at the end."""

    name: ClassVar[str] = "cleanup"

    def __init__(self) -> None:
        self.is_unfinished = False

    def run_once(self, context: Context) -> Result:
        removed = Removed()
        more = True
        while more and not context.stop.is_set():
            answer = context.store.cleanup_old_monitoring_data()
            removed.add(answer)
            more = answer["more"] and not context.stop.wait(BREATH_SECONDS)
        self.is_unfinished = removed.days_are_left
        removed.tell()
        return Result(removed.counts())


class Removed:
    """What the steps of a clean-up removed together, and what the last of them left."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._by_table: Counter[str] = Counter()
        self._left: dict[str, Any] = {}

    @property
    def days_are_left(self) -> bool:
        return bool(self._left.get("partitions_in_use") or self._left.get("another_runs"))

    def add(self, answer: Mapping[str, Any]) -> None:
        self._left = {
            key: answer[key] for key in ("partitions_in_use", "another_runs", "more", "oldest_day", "past_term_days")
        }
        self._by_table.update(answer["dropped_by_table"])
        self._totals.update(
            {key: value for key, value in answer.items() if key not in self._left and key != "dropped_by_table"}
        )

    def counts(self) -> dict[str, Any]:
        return {**self._totals, "dropped_by_table": dict(self._by_table), **self._left}

    def tell(self) -> None:
        """Log once what was removed; nothing when there was nothing."""
        removed = {key: count for key, count in self._totals.items() if count}
        if removed:
            log.info("retention_freed", **removed, partitions_in_use=self._left["partitions_in_use"])
