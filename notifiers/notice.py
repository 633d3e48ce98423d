"""What automon says of itself without an alert: a canary, a test, and that its database is away."""

from __future__ import annotations

from datetime import datetime

from automon.models import Canary, Outage, Severity, TransitionKind
from notifiers import words
from notifiers.message import (
    SOURCE_LIMIT,
    SUMMARY_LIMIT,
    Line,
    Message,
    MessageContext,
    commands,
    delivery_words,
    did,
    first_line,
    footer,
    line,
    repeat_line,
    runbook,
    said,
)
from notifiers.text import Moment, clean, joined
from notifiers.words import Label, Mark


def compose_canary(canary: Canary, context: MessageContext) -> Message:
    """Say that a channel works all the way from the database, in the form that alerts have."""
    instance = clean(context.instance, SOURCE_LIMIT)
    return Message(
        event="canary",
        severity=Severity.LOW,
        state=words.TEST_STATE,
        mark=Mark.GOOD,
        headline=first_line(f"{words.TEST_STATE} {words.APP}", words.CANARY_SUMMARY),
        identity=f"{words.APP} on {instance}: canary",
        lines=said(
            line(Label.SEEN, words.CANARY_RECEIVED),
            Line(label=Label.WHO, text=did("asked for", canary.asked_by, canary.at, None)),
            commands(Label.LOOK, "status"),
            repeat_line(canary),
        ),
        footer=footer(context, (Moment(canary.at, zoned=True),), delivery_words(canary)),
        at=canary.at,
        instance=instance,
        timezone=context.timezone,
        delivery_id=canary.delivery_id,
    )


def compose_outage(outage: Outage, context: MessageContext) -> Message:
    """Say that the database is away, which no delivery can tell."""
    instance = clean(context.instance, SOURCE_LIMIT)
    reason = clean(outage.reason, SUMMARY_LIMIT)
    # What a driver says ends with what matters: "connection to server at … failed: Connection refused".
    gist = reason.rpartition(": ")[2]
    state = words.state_words(TransitionKind.OPENED, Severity.CRITICAL)
    headline = first_line(f"{state} {words.APP}: {words.unanswered(outage.at - outage.since)}", gist)
    since = outage.since.astimezone(context.timezone)
    return Message(
        event="outage",
        severity=Severity.CRITICAL,
        state=state,
        mark=Mark.ALARM,
        headline=headline,
        identity=f"{words.APP} on {instance}: no database since {since:%Y-%m-%d %H:%M}",
        lines=said(
            line(Label.IMPACT, words.OUTAGE_IMPACT),
            line(Label.SEEN, "" if headline.endswith(reason) else reason),
            Line(label=Label.NEXT, text=joined([(words.OUTAGE_NEXT,), runbook(words.BLIND, context)], words.SEPARATOR)),
        ),
        footer=footer(context, ("since ", Moment(outage.since, zoned=True))),
        at=outage.at,
        instance=instance,
        timezone=context.timezone,
        thread=f"outage-{int(outage.since.timestamp())}",
    )


def compose_test(context: MessageContext, at: datetime) -> Message:
    """Say that a channel works, in the form that alerts have."""
    instance = clean(context.instance, SOURCE_LIMIT)
    return Message(
        event="test",
        severity=Severity.LOW,
        state=words.TEST_STATE,
        mark=Mark.GOOD,
        headline=first_line(f"{words.TEST_STATE} {words.APP}", words.TEST_SUMMARY),
        identity=f"{words.APP} on {instance}: test message",
        lines=said(line(Label.SEEN, words.TEST_RECEIVED), commands(Label.LOOK, "status")),
        footer=footer(context, (Moment(at, zoned=True),)),
        at=at,
        instance=instance,
        timezone=context.timezone,
    )
