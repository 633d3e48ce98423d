"""What a channel is, and the one error that each of them raises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from automon.errors import AutomonError
from notifiers.message import Message


class DeliveryReason(StrEnum):
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    BAD_CREDENTIALS = "bad_credentials"
    REJECTED_CONTENT = "rejected_content"
    GONE = "gone"
    MISCONFIGURED = "misconfigured"
    UNKNOWN = "unknown"


_FAULTS_OF_CHANNEL = (DeliveryReason.BAD_CREDENTIALS, DeliveryReason.GONE, DeliveryReason.MISCONFIGURED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How a delivery failed, as far as the decision to try again cares."""

    reason: DeliveryReason
    permanent: bool = False
    uncertain: bool = False
    retry_after: timedelta | None = None

    @property
    def stops_channel(self) -> bool:
        """Whether nothing gets through this channel until somebody has repaired it: its address, its login, its CA."""
        return self.permanent and self.reason in _FAULTS_OF_CHANNEL

    @property
    def is_about_channel(self) -> bool:
        """Whether another message would fail as well: not when this one's content or one recipient is refused."""
        if self.reason is DeliveryReason.REJECTED_CONTENT:
            return False
        return not (self.permanent and self.reason is DeliveryReason.REFUSED)


class DeliveryError(AutomonError):
    """A message that was not delivered, or perhaps was (`uncertain`).

    `permanent` says that the same message will never get through this way; `retry_after` is the service's own wish.
    `detail` is one line that holds no secret.
    """

    def __init__(
        self,
        reason: DeliveryReason,
        *,
        permanent: bool = False,
        uncertain: bool = False,
        detail: str,
        retry_after: timedelta | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(detail, hint=hint)
        self.reason = reason
        self.permanent = permanent
        self.uncertain = uncertain
        self.detail = detail
        self.retry_after = retry_after

    @property
    def failure(self) -> Failure:
        return Failure(
            reason=self.reason, permanent=self.permanent, uncertain=self.uncertain, retry_after=self.retry_after
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What the service answered when it took the message, and how long that took."""

    answer: str
    duration: timedelta


class Channel(Protocol):
    """A place that messages go to. One delivery is one message to one of `recipients`.

    A channel is used by one thread at a time.
    """

    @property
    def name(self) -> str: ...

    @property
    def recipients(self) -> tuple[str, ...]: ...

    @property
    def pace(self) -> timedelta:
        """Say how long the sender leaves between two messages; `send` itself never waits."""

    def send(self, message: Message, recipient: str) -> Receipt:
        """Deliver a message to one recipient; raises DeliveryError."""
