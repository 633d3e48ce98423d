"""Delivers one message of one channel: claim, render, send, record."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import structlog

from automon.errors import DatabaseUnavailableError
from automon.models import Guidance
from automon.store import ClaimedDelivery
from jobs.job import Context
from notifiers.channel import Channel, DeliveryError, DeliveryReason
from notifiers.message import Message, MessageContext, compose
from notifiers.retry import GiveUp, GiveUpReason, Retry, decide

# Longer than any attempt may take, so that a lease ends only with its holder.
LEASE = timedelta(minutes=2)
PAUSE_BEFORE_RECORDING_AGAIN = timedelta(seconds=1)
FINAL_STATUS = {GiveUpReason.PERMANENT: "failed", GiveUpReason.EXPIRED: "expired"}

log = structlog.get_logger("automon.delivery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a channel's deliveries need: the channel, how its messages are written, and what the config says of an alert."""

    channel: Channel
    message_context: MessageContext
    guidance_for: Callable[[str, str], Guidance]


def deliver_next(context: Context, desk: Desk) -> bool:
    """Deliver the next message that is due on the channel; answer whether there was one."""
    claimed = context.store.claim_deliveries(desk.channel.name, context.instance, LEASE)
    for delivery in claimed:
        record = _attempt(context, desk, delivery)
        _until_recorded(context, record)
    return bool(claimed)


def _attempt(context: Context, desk: Desk, delivery: ClaimedDelivery) -> Callable[[], None]:
    """Send, and answer with what is left to do: to write down how it went."""
    started = context.clock.monotonic()
    try:
        receipt = desk.channel.send(_message(desk, delivery), delivery.recipient)
    except DeliveryError as error:
        failed = error
    except Exception as error:
        log.exception("delivery_broke")
        failed = DeliveryError(
            DeliveryReason.UNKNOWN, uncertain=True, detail=f"{type(error).__name__} in automon itself; its log has more"
        )
    else:
        return lambda: _record_sent(context, delivery, receipt.duration, receipt.answer)
    duration = timedelta(seconds=context.clock.monotonic() - started)
    return lambda: _record_failure(context, delivery, failed, duration)


def _until_recorded(context: Context, record: Callable[[], None]) -> None:
    """Write down what was done, however long the database is away: it would be done again otherwise."""
    while True:
        try:
            return record()
        except (DatabaseUnavailableError, psycopg.OperationalError):
            if context.stop.wait(PAUSE_BEFORE_RECORDING_AGAIN.total_seconds()):
                raise


def _message(desk: Desk, delivery: ClaimedDelivery) -> Message:
    guidance = desk.guidance_for(delivery.notification.alert_type, delivery.notification.source)
    return compose(delivery.notification, guidance, desk.message_context)


def _words(delivery: ClaimedDelivery) -> structlog.typing.FilteringBoundLogger:
    told = delivery.notification
    words: structlog.typing.FilteringBoundLogger = log.bind(
        channel=delivery.channel,
        alert=told.alert_id,
        delivery=told.delivery_id,
        attempt=told.attempt,
        kind=str(told.kind),
        source=told.source,
    )
    return words


def _record_sent(context: Context, delivery: ClaimedDelivery, duration: timedelta, answer: str) -> None:
    context.store.finish_sent(delivery.notification.delivery_id, context.instance, duration=duration, answer=answer)
    _words(delivery).info("delivery_sent", seconds=round(duration.total_seconds(), 3))


def _record_failure(context: Context, delivery: ClaimedDelivery, error: DeliveryError, duration: timedelta) -> None:
    now = context.clock.now()
    decision = decide(
        attempt=delivery.notification.attempt,
        failure=error.failure,
        first_attempt_at=delivery.first_attempt_at,
        now=now,
        jitter=random.uniform(-1, 1),  # noqa: S311  spreads retries, guards nothing
    )
    retry_after = decision.at - now if isinstance(decision, Retry) else None
    context.store.finish_failed(
        delivery.notification.delivery_id,
        context.instance,
        duration=duration,
        detail=error.detail,
        reason=str(error.reason),
        uncertain=error.uncertain,
        retry_after=retry_after,
        final_status=FINAL_STATUS[decision.reason] if isinstance(decision, GiveUp) else None,
    )
    words = _words(delivery).bind(reason=str(error.reason), detail=error.detail)
    if retry_after is not None:
        words.warning("delivery_failed", retry_in_seconds=round(retry_after.total_seconds(), 1))
    else:
        # The journal is the last resort: whoever reads nothing else finds here what could not be said elsewhere.
        told = delivery.notification
        words.error("delivery_given_up", summary=told.summary, severity=str(told.severity))
