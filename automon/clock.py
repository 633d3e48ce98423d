"""The only place that asks what time it is, so that a test can say."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Say what time it is: aware, in UTC."""

    def monotonic(self) -> float:
        """Say how many seconds have passed since some fixed moment; never goes back."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
