"""Reading the evidence of an alert. It comes from the database as JSON, so nothing in it is taken for granted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from notifiers.text import clean

BARS = "▁▂▃▅▆▇"  # full and half blocks (█ ▄) are drawn from another font on many phones, so they are left out
MOST_BARS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    bars: str
    first: float
    last: float
    span: timedelta
    of: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """One row of what was seen most often: how often, what, said how, where, since when, and one task to look at."""

    count: int
    what: str
    message: str
    where: str
    first_at: datetime | None
    sample: str


def text_of(evidence: Mapping[str, Any], key: str, limit: int) -> str:
    value = evidence.get(key)
    return clean(value, limit) if value is not None else ""


def command_of(evidence: Mapping[str, Any], key: str, limit: int) -> str:
    """Read a command; empty when it cannot be shown as it is, for a copy of it would do something else."""
    value = evidence.get(key)
    return value if isinstance(value, str) and value == clean(value, limit) else ""


def trend_of(evidence: Mapping[str, Any]) -> Trend | None:
    """Read the trend, oldest first; None when there are fewer than two numbers."""
    raw = evidence.get("trend")
    if not isinstance(raw, Mapping):
        return None
    values = [float(value) for value in _items(raw.get("values")) if _is_number(value)]
    step = raw.get("step_seconds")
    if len(values) < 2 or not _is_number(step):
        return None
    span = timedelta(seconds=float(step) * len(values))
    return Trend(bars=sparkline(values), first=values[0], last=values[-1], span=span, of=text_of(raw, "of", 24))


def causes_of(evidence: Mapping[str, Any]) -> list[Cause]:
    return [_cause(row) for row in _items(evidence.get("top")) if isinstance(row, Mapping)]


def sparkline(values: Sequence[float]) -> str:
    """Draw numbers as bars that start at zero; numbers beyond the most bars are grouped, each by its highest."""
    peaks = _grouped(values, MOST_BARS)
    low, high = min(0.0, *peaks), max(peaks)
    if high == low:
        return BARS[0] * len(peaks)
    return "".join(BARS[round((peak - low) / (high - low) * (len(BARS) - 1))] for peak in peaks)


def _grouped(values: Sequence[float], groups: int) -> list[float]:
    size = math.ceil(len(values) / groups)
    return [max(values[start : start + size]) for start in range(0, len(values), size)]


def _cause(row: Mapping[str, Any]) -> Cause:
    count = row.get("count")
    return Cause(
        count=int(count) if _is_number(count) else 0,
        what=text_of(row, "what", 48),
        message=text_of(row, "message", 160),
        where=text_of(row, "where", 48),
        first_at=_moment(row.get("first_at")),
        sample=text_of(row, "sample", 64),
    )


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
