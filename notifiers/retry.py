"""What follows a failed delivery: another attempt later, the end of the message, or the stop of its channel."""

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
    """Try the message again after `pause`. The channel rests for `channel_pause`; None: it is not to blame."""

    pause: timedelta
    channel_pause: timedelta | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Never try the message again on this channel."""

    reason: GiveUpReason


@dataclass(frozen=True, slots=True)
class Stop:
    """Send nothing on the channel, this message included, until a person has repaired it."""


def decide(
    *,
    failure: Failure,
    attempt: int,
    channel_failures: int,
    first_attempt_at: datetime,
    now: datetime,
    jitter: float,
) -> Retry | GiveUp | Stop:
    """Decide after failed attempt number `attempt` (from 1), before which the channel failed `channel_failures` times in a row.

    `jitter`, -1 to 1, spreads the pauses by a fifth. What the service asked for is never cut short.
    """
    if failure.stops_channel:
        return Stop()
    if failure.permanent:
        return GiveUp(GiveUpReason.PERMANENT)
    pause = _pause(attempt, failure, jitter)
    if now + pause > first_attempt_at + DEADLINE:
        return GiveUp(GiveUpReason.EXPIRED)
    return Retry(pause, _channel_pause(channel_failures, failure, jitter))


def _pause(attempt: int, failure: Failure, jitter: float) -> timedelta:
    planned = _grown(attempt)
    if failure.uncertain:
        planned = max(planned, UNCERTAIN_PAUSE)
    return max(_spread(planned, jitter), failure.retry_after or timedelta(0))


def _channel_pause(channel_failures: int, failure: Failure, jitter: float) -> timedelta | None:
    if not failure.is_about_channel:
        return None
    return max(_spread(_grown(channel_failures + 1), jitter), failure.retry_after or timedelta(0))


def _grown(failures: int) -> timedelta:
    return PAUSES[min(max(failures, 1), len(PAUSES)) - 1]


def _spread(pause: timedelta, jitter: float) -> timedelta:
    if not -1 <= jitter <= 1:
        raise ValueError(f"jitter must lie between -1 and 1, not {jitter}")
    return pause * (1 + JITTER * jitter)
