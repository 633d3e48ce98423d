"""What is said about one transition of one alert."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import assert_never

from automon.models import Guidance, Notification, OpenAlert, Severity, TransitionKind
from notifiers import words
from notifiers.evidence import Cause, causes_of, command_of, text_of, trend_of
from notifiers.message import (
    BRIEF_LIMIT,
    MOST_CAUSES,
    SILENCE_FOR,
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
    instead_line,
    line,
    repeat_line,
    runbook,
    said,
)
from notifiers.text import Code, Link, Moment, Text, clean, joined, linked
from notifiers.words import Label

GUIDANCE_LIMIT = 400
RUNBOOK_LIMIT = 1000
COMMAND_LIMIT = 120
MOST_ALSO = 3


def compose(notification: Notification, guidance: Guidance, context: MessageContext) -> Message:
    """Say what a notification means. What to do comes from `guidance`; only about itself does automon know more."""
    source = clean(notification.source, SOURCE_LIMIT)
    about = words.alert_type_words(clean(notification.alert_type, SOURCE_LIMIT))
    state = words.state_words(notification.kind, notification.severity)
    summary = clean(notification.summary, SUMMARY_LIMIT)
    headline = first_line(f"{state} {source}", summary)
    unsaid = "" if headline.endswith(summary) else summary
    return Message(
        event=notification.kind.value,
        severity=notification.severity,
        state=state,
        mark=words.mark(notification.kind, notification.severity),
        headline=headline,
        identity=f"{source}: {about} (#{notification.alert_id})",
        lines=said(
            *_body(notification, guidance, context, unsaid),
            instead_line(notification.instead_of),
            _end(notification, context),
            repeat_line(notification),
        ),
        footer=footer(context, *_times(notification), _reminders(notification, context), delivery_words(notification)),
        at=notification.at,
        instance=clean(context.instance, SOURCE_LIMIT),
        timezone=context.timezone,
        thread=f"alert-{notification.alert_id}",
        alert_id=notification.alert_id,
        delivery_id=notification.delivery_id,
    )


def _body(notification: Notification, guidance: Guidance, context: MessageContext, unsaid: str) -> list[Line]:
    """Order the lines for what has happened; `unsaid` is the summary where the headline had no room for it."""
    match notification.kind:
        case TransitionKind.OPENED | TransitionKind.ESCALATED | TransitionKind.REMINDED:
            return [
                _impact(guidance),
                *_seen(notification, unsaid),
                _trend(notification),
                *_causes(notification),
                _next(notification, guidance, context),
                _open(notification),
                _who(notification),
                *_also(notification),
            ]
        case TransitionKind.EASED:
            return [
                *_seen(notification, unsaid),
                _trend(notification),
                _open(notification),
                _who(notification),
                *_also(notification),
            ]
        case TransitionKind.ACKNOWLEDGED:
            return [
                _who(notification),
                _impact(guidance),
                _open(notification),
                *_also(notification),
            ]
        case TransitionKind.RESOLVED if notification.alert_type == words.BLIND:
            return [_open(notification), *_seen(notification, unsaid), _left(notification), *_also(notification)]
        case TransitionKind.RESOLVED:
            return [
                _open(notification),
                _worst(notification),
                _trend(notification),
                _left(notification),
                _who(notification),
                *_also(notification),
            ]
        case _:
            assert_never(notification.kind)


def _impact(guidance: Guidance) -> Line:
    return Line(label=Label.IMPACT, text=linked(clean(guidance.impact, GUIDANCE_LIMIT)))


def _seen(notification: Notification, unsaid: str) -> list[Line]:
    measured = text_of(notification.evidence, "measured", SUMMARY_LIMIT)
    told_already = measured in clean(notification.summary, SUMMARY_LIMIT)
    return [line(Label.SEEN, unsaid), line(Label.SEEN, "" if told_already else measured)]


def _trend(notification: Notification) -> Line:
    trend = trend_of(notification.evidence)
    if trend is None:
        return line(Label.TREND)
    of = f"{trend.of} " if trend.of else ""
    return line(Label.TREND, of, Code(trend.bars), f" {words.change(trend.first, trend.last, trend.span)}")


def _causes(notification: Notification) -> list[Line]:
    causes = causes_of(notification.evidence)
    texts = [_cause(cause) for cause in causes[:MOST_CAUSES]]
    if len(causes) > MOST_CAUSES:
        texts[-1] = (*texts[-1], f" ({words.more(len(causes) - MOST_CAUSES)})")
    return [Line(label=Label.CAUSE, text=text) for text in texts]


def _cause(cause: Cause) -> Text:
    said = ": ".join(part for part in (cause.what, cause.message) if part)
    since: Text = ("since ", Moment(cause.first_at)) if cause.first_at else ()
    where: Text = (f"on {cause.where}",) if cause.where else ()
    sample: Text = (f"e.g. {cause.sample}",) if cause.sample else ()
    return joined([(f"{words.number(cause.count)}x {said}".strip(),), where, since, sample], ", ")


def _next(notification: Notification, guidance: Guidance, context: MessageContext) -> Line:
    """Say what to do first and where more is written: in the runbook of the guidance, else in the one that automon brings."""
    step = linked(clean(guidance.next_step, GUIDANCE_LIMIT)) or _own_advice(notification)
    page = linked(clean(guidance.runbook, RUNBOOK_LIMIT)) or runbook(notification.alert_type, context)
    # A runbook need not be an address ("page 3 of the binder"): then it is shown as the words it is.
    match page:
        case (Link(url),):
            page = (Link(url, words.RUNBOOK),)
    return Line(label=Label.NEXT, text=joined([step, page], words.SEPARATOR))


def _own_advice(notification: Notification) -> Text:
    if notification.alert_type not in words.OWN_TYPES:
        return ()
    command = command_of(notification.evidence, "next", COMMAND_LIMIT)
    return (Code(command),) if command else ()


def _left(notification: Notification) -> Line:
    return line(Label.LEFT, text_of(notification.evidence, "left", SUMMARY_LIMIT))


def _open(notification: Notification) -> Line:
    if notification.kind is TransitionKind.OPENED:
        return line(Label.OPEN)
    lasted = words.duration(notification.open_for)
    if notification.kind is TransitionKind.RESOLVED:
        return line(Label.OPEN, f"{lasted}, ", Moment(notification.opened_at), " → ", Moment(notification.at))
    previous = notification.previous_severity
    before = f", {previous.value.upper()} before" if previous and _has_changed(notification) else ""
    nobody = ", nobody has acknowledged it" if notification.acknowledged_at is None else ""
    return line(Label.OPEN, f"for {lasted}{before}{nobody}")


def _has_changed(notification: Notification) -> bool:
    return notification.kind in (TransitionKind.ESCALATED, TransitionKind.EASED)


def _worst(notification: Notification) -> Line:
    summary = clean(notification.peak_summary, SUMMARY_LIMIT)
    if not summary:
        return line(Label.WORST)
    level = notification.peak_severity.value.upper()
    return line(Label.WORST, f"{level} at ", Moment(notification.peak_at), f": {summary}")


def _who(notification: Notification) -> Line:
    acknowledged = did(
        "acknowledged", notification.acknowledged_by, notification.acknowledged_at, notification.acknowledged_note
    )
    by_hand = notification.kind is TransitionKind.RESOLVED and notification.actor
    resolved = did("resolved", notification.actor, notification.at, notification.note) if by_hand else ()
    return Line(label=Label.WHO, text=joined([acknowledged, resolved], words.SEPARATOR))


def _also(notification: Notification) -> list[Line]:
    alerts = notification.also_open
    texts = [_other(alert, notification.at) for alert in alerts[:MOST_ALSO]]
    if len(alerts) > MOST_ALSO:
        texts[-1] = f"{texts[-1]} ({words.more(len(alerts) - MOST_ALSO)})"
    return [line(Label.ALSO, text) for text in texts]


def _other(alert: OpenAlert, now: datetime) -> str:
    taken = f", acknowledged by {clean(alert.acknowledged_by, SOURCE_LIMIT)}" if alert.acknowledged_by else ""
    what = f"{clean(alert.source, SOURCE_LIMIT)}: {clean(alert.summary, BRIEF_LIMIT)}"
    return f"#{alert.alert_id} {alert.severity.value.upper()} {what}, {words.duration(now - alert.opened_at)}{taken}"


def _end(notification: Notification, context: MessageContext) -> Line:
    """Say how to make it stop, or, when it has, where to read more."""
    explain = f"explain {notification.alert_id}"
    if notification.kind is TransitionKind.RESOLVED:
        look = commands(Label.LOOK, explain)
        # Of blindness only the end is told, so this is where its runbook has a place.
        page = runbook(words.BLIND, context) if notification.alert_type == words.BLIND else ()
        return Line(label=Label.LOOK, text=joined([look.text, page], words.SEPARATOR))
    ways = [explain]
    # A name that had to be cleaned would silence nothing when it is copied from here.
    if notification.source == clean(notification.source, SOURCE_LIMIT):
        ways.insert(0, f"silence {shlex.quote(notification.source)} {SILENCE_FOR}")
    if notification.acknowledged_at is None:
        ways.insert(0, f"ack {notification.alert_id}")
    return commands(Label.STOP, *ways)


def _times(notification: Notification) -> list[Text]:
    is_opening = notification.kind is TransitionKind.OPENED
    opened: Text = (f"{words.HAPPENED[TransitionKind.OPENED]} ", Moment(notification.opened_at, zoned=is_opening))
    if is_opening:
        return [opened]
    return [opened, (f"{words.HAPPENED[notification.kind]} ", Moment(notification.at, zoned=True))]


def _reminders(notification: Notification, context: MessageContext) -> Text:
    will_remind = (
        notification.severity is Severity.CRITICAL
        and notification.acknowledged_at is None
        and notification.kind not in (TransitionKind.ACKNOWLEDGED, TransitionKind.RESOLVED)
    )
    return (words.reminds(context.remind_after),) if context.remind_after and will_remind else ()
