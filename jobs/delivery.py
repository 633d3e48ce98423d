"""Delivers one message of one channel: claim, render, send, record."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

import structlog

from automon.models import Canary, Digest, Guidance, Notification
from automon.store import ClaimedDelivery
from jobs.job import Context
from notifiers.channel import Channel, DeliveryError, DeliveryReason, Receipt
from notifiers.digest import compose_digest
from notifiers.message import Message, MessageContext
from notifiers.notice import compose_canary
from notifiers.retry import GiveUp, GiveUpReason, Retry, Stop, decide
from notifiers.transition import compose

# Longer than any attempt may take, so that a lease ends only with its holder.
LEASE = timedelta(minutes=2)
# Well below the time after which others take a silent service for dead: who wakes up later must not send.
STALE_AFTER = timedelta(seconds=5)
FINAL_STATUS = {GiveUpReason.PERMANENT: "failed", GiveUpReason.EXPIRED: "expired"}

# Writes down how an attempt went; answers whether it was sent, None when there was no attempt.
Record = Callable[[], bool | None]

log = structlog.get_logger("automon.delivery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a channel's deliveries need: the channel, how its messages are written, and what the config says of an alert."""

    channel: Channel
    message_context: MessageContext
    guidance_for: Callable[[str, str], Guidance]


def deliver_next(context: Context, desk: Desk) -> Record | None:
    """Claim and send the next message that is due on the channel; None when there is none.

    Answers with what is left to do: to write down how it went, as often as it takes until the database has it.
    """
    asked_at = context.clock.monotonic()
    channel = desk.channel
    delivery = context.store.claim_delivery(channel.name, context.instance, lease=LEASE, pace=channel.pace)
    if delivery is None:
        return None
    if context.clock.monotonic() - asked_at > STALE_AFTER.total_seconds():
        return lambda: _put_back(context, delivery)
    return _attempt(context, desk, delivery)


def _put_back(context: Context, delivery: ClaimedDelivery) -> None:
    """Free a claim that this process slept through: another service may have taken it over in the meantime."""
    _words(delivery).warning("claim_grew_stale")
    context.store.finish_failed(
        delivery.content.delivery_id,
        context.instance,
        duration=timedelta(0),
        detail="the service was stopped before it could send",
        reason=str(DeliveryReason.UNKNOWN),
        uncertain=False,
        retry_after=timedelta(0),
    )


def _attempt(context: Context, desk: Desk, delivery: ClaimedDelivery) -> Record:
    started = context.clock.monotonic()
    try:
        receipt = desk.channel.send(message_of(desk, delivery.content), delivery.recipient)
    except DeliveryError as error:
        failed = error
    except Exception as error:
        log.exception("delivery_broke")
        failed = DeliveryError(
            DeliveryReason.UNKNOWN, uncertain=True, detail=f"{type(error).__name__} in automon itself; its log has more"
        )
    else:
        return lambda: _record_sent(context, delivery, receipt)
    duration = timedelta(seconds=context.clock.monotonic() - started)
    return lambda: _record_failure(context, delivery, failed, duration)


def message_of(desk: Desk, content: Notification | Digest | Canary) -> Message:
    match content:
        case Notification():
            guidance = desk.guidance_for(content.alert_type, content.source)
            return compose(content, guidance, desk.message_context)
        case Digest():
            return compose_digest(content, desk.message_context)
        case Canary():
            return compose_canary(content, desk.message_context)
        case _:
            assert_never(content)


def _words(delivery: ClaimedDelivery) -> structlog.typing.FilteringBoundLogger:
    content = delivery.content
    about: dict[str, object] = {
        "channel": delivery.channel,
        "delivery": content.delivery_id,
        "attempt": content.attempt,
    }
    match content:
        case Notification():
            about |= {"alert": content.alert_id, "kind": str(content.kind), "source": content.source}
        case Digest():
            about |= {"alerts": content.alerts}
        case Canary():
            about |= {"asked_by": content.asked_by}
    words: structlog.typing.FilteringBoundLogger = log.bind(**about)
    return words


def _record_sent(context: Context, delivery: ClaimedDelivery, receipt: Receipt) -> bool:
    context.store.finish_sent(
        delivery.content.delivery_id, context.instance, duration=receipt.duration, answer=receipt.answer
    )
    _words(delivery).info("delivery_sent", seconds=round(receipt.duration.total_seconds(), 3))
    return True


def _record_failure(context: Context, delivery: ClaimedDelivery, error: DeliveryError, duration: timedelta) -> bool:
    decision = decide(
        failure=error.failure,
        attempt=delivery.content.attempt,
        channel_failures=delivery.channel_failures,
        first_attempt_at=delivery.first_attempt_at,
        now=context.clock.now(),
        jitter=random.uniform(-1, 1),  # noqa: S311  spreads retries, guards nothing
    )
    context.store.finish_failed(
        delivery.content.delivery_id,
        context.instance,
        duration=duration,
        detail=error.detail,
        reason=str(error.reason),
        uncertain=error.uncertain,
        retry_after=decision.pause if isinstance(decision, Retry) else None,
        final_status=FINAL_STATUS[decision.reason] if isinstance(decision, GiveUp) else None,
        channel_pause=decision.channel_pause if isinstance(decision, Retry) else None,
        stops_channel=isinstance(decision, Stop),
    )
    _tell_of_failure(_words(delivery).bind(reason=str(error.reason), detail=error.detail), decision)
    return False


def _tell_of_failure(words: structlog.typing.FilteringBoundLogger, decision: Retry | GiveUp | Stop) -> None:
    match decision:
        case Retry():
            words.warning("delivery_failed", retry_in_seconds=round(decision.pause.total_seconds(), 1))
        case GiveUp():
            words.error("delivery_given_up", why=str(decision.reason))
        case Stop():
            words.error(
                "channel_stopped", consequence="its fallback is told; automon channels resume takes it up again"
            )
        case _:
            assert_never(decision)
