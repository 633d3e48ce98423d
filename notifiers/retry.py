"""When a failed delivery is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from notifiers.channel import Failure

PAUSES = (
    timedelta(seconds=1),
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
)
JITTER = 0.2
# A message that may have arrived is repeated slowly: each repeat may be one more of the same on somebody's phone.
UNCERTAIN_PAUSE = timedelta(minutes=2)
DEADLINE = timedelta(hours=24)


class GiveUpReason(StrEnum):
    PERMANENT = "permanent"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: GiveUpReason


def decide(
    *, attempt: int, failure: Failure, first_attempt_at: datetime, now: datetime, jitter: float
) -> Retry | GiveUp:
    """Decide after failed attempt number `attempt` (from 1). `jitter`, -1 to 1, spreads the pauses by a fifth."""
    if failure.permanent:
        return GiveUp(GiveUpReason.PERMANENT)
    at = now + _pause(attempt, failure, jitter)
    return Retry(at) if at <= first_attempt_at + DEADLINE else GiveUp(GiveUpReason.EXPIRED)


def _pause(attempt: int, failure: Failure, jitter: float) -> timedelta:
    if not -1 <= jitter <= 1:
        raise ValueError(f"jitter must lie between -1 and 1, not {jitter}")
    planned = PAUSES[min(max(attempt, 1), len(PAUSES)) - 1]
    if failure.uncertain:
        planned = max(planned, UNCERTAIN_PAUSE)
    spread = planned * (1 + JITTER * jitter)
    return max(spread, failure.retry_after or timedelta(0))
