"""From a notification to what is said about it, in an order that can be cut off anywhere, for any medium.

The order is the same everywhere: the whole story in one line, then impact, what was seen, trend, likely cause, next
step, what else is open, how to make it stop, and who says so.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from automon.models import Guidance, Notification, OpenAlert, Severity, TransitionKind
from notifiers import words
from notifiers.evidence import Cause, causes_of, text_of, trend_of
from notifiers.text import Code, Fragment, Link, Moment, Text, clean, joined, linked
from notifiers.words import Label, Mark

HEADLINE_LIMIT = 110
SOURCE_LIMIT = 48
SUMMARY_LIMIT = 300
GUIDANCE_LIMIT = 400
RUNBOOK_LIMIT = 1000
NOTE_LIMIT = 160
MOST_CAUSES = 3
MOST_ALSO = 3
SILENCE_FOR = "2h"


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageContext:
    """Who speaks, and for which clock: the host that automon runs on, the readers' zone, how often it reminds."""

    instance: str
    timezone: ZoneInfo
    remind_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    label: Label
    text: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What is to be said, before a medium gives it a form. `alert_id` is 0 in a test message.

    `headline` is the whole story in one line, without its mark; `identity` stays the same over an alert's life.
    """

    alert_id: int
    delivery_id: int
    kind: TransitionKind
    severity: Severity
    state: str
    mark: Mark
    headline: str
    identity: str
    lines: tuple[Line, ...]
    footer: Text
    at: datetime
    instance: str
    timezone: ZoneInfo

    @property
    def today(self) -> date:
        """The readers' date when it happened: times of that day are shown without a date."""
        return self.at.astimezone(self.timezone).date()


def compose(notification: Notification, guidance: Guidance, context: MessageContext) -> Message:
    """Say what a notification means. Impact, next step and runbook come from `guidance` alone."""
    source = clean(notification.source, SOURCE_LIMIT)
    about = words.alert_type_words(clean(notification.alert_type, SOURCE_LIMIT))
    state = words.state_words(notification.kind, notification.severity)
    summary = clean(notification.summary, SUMMARY_LIMIT)
    headline = _headline(f"{state} {source}", summary)
    unsaid = "" if headline.endswith(summary) else summary
    lines = [*_body(notification, guidance, unsaid), *_repeat(notification)]
    return Message(
        alert_id=notification.alert_id,
        delivery_id=notification.delivery_id,
        kind=notification.kind,
        severity=notification.severity,
        state=state,
        mark=words.mark(notification.kind, notification.severity),
        headline=headline,
        identity=f"{source}: {about} (#{notification.alert_id})",
        lines=tuple(line for line in lines if line.text),
        footer=_footer(notification, context),
        at=notification.at,
        instance=clean(context.instance, SOURCE_LIMIT),
        timezone=context.timezone,
    )


def compose_test(context: MessageContext, at: datetime) -> Message:
    """Say that a channel works, in the form that alerts have."""
    instance = clean(context.instance, SOURCE_LIMIT)
    return Message(
        alert_id=0,
        delivery_id=0,
        kind=TransitionKind.OPENED,
        severity=Severity.LOW,
        state=words.TEST_STATE,
        mark=Mark.GOOD,
        headline=f"{words.TEST_STATE} {words.APP}: {words.TEST_SUMMARY}",
        identity=f"{words.APP} on {instance}: test message",
        lines=(_line(Label.SEEN, words.TEST_RECEIVED), _line(Label.LOOK, Code(f"{words.APP} status"))),
        footer=(f"{words.APP} on {instance}{words.SEPARATOR}", Moment(at, zoned=True)),
        at=at,
        instance=instance,
        timezone=context.timezone,
    )


def _headline(start: str, summary: str) -> str:
    return clean(f"{start}: {summary}" if summary else start, HEADLINE_LIMIT)


def _line(label: Label, *fragments: Fragment) -> Line:
    return Line(label=label, text=tuple(fragment for fragment in fragments if fragment != ""))


def _body(notification: Notification, guidance: Guidance, unsaid: str) -> list[Line]:
    """Order the lines for what has happened; `unsaid` is the summary where the headline had no room for it."""
    match notification.kind:
        case TransitionKind.OPENED | TransitionKind.ESCALATED | TransitionKind.REMINDED:
            return [
                _impact(guidance),
                *_seen(notification, unsaid),
                _trend(notification),
                *_causes(notification),
                _next(guidance),
                _open(notification),
                _who(notification),
                *_also(notification),
                _stop(notification),
            ]
        case TransitionKind.EASED:
            return [
                *_seen(notification, unsaid),
                _trend(notification),
                _open(notification),
                _who(notification),
                *_also(notification),
                _stop(notification),
            ]
        case TransitionKind.ACKNOWLEDGED:
            return [
                _who(notification),
                _impact(guidance),
                _open(notification),
                *_also(notification),
                _stop(notification),
            ]
        case TransitionKind.RESOLVED:
            return [
                _open(notification),
                _worst(notification),
                _trend(notification),
                _line(Label.LEFT, text_of(notification.evidence, "left", SUMMARY_LIMIT)),
                _who(notification),
                *_also(notification),
                _line(Label.LOOK, Code(f"{words.APP} explain {notification.alert_id}")),
            ]
        case _:
            assert_never(notification.kind)


def _impact(guidance: Guidance) -> Line:
    return Line(label=Label.IMPACT, text=linked(clean(guidance.impact, GUIDANCE_LIMIT)))


def _seen(notification: Notification, unsaid: str) -> list[Line]:
    measured = text_of(notification.evidence, "measured", SUMMARY_LIMIT)
    told_already = measured in clean(notification.summary, SUMMARY_LIMIT)
    return [_line(Label.SEEN, unsaid), _line(Label.SEEN, "" if told_already else measured)]


def _trend(notification: Notification) -> Line:
    trend = trend_of(notification.evidence)
    if trend is None:
        return _line(Label.TREND)
    of = f"{trend.of} " if trend.of else ""
    return _line(Label.TREND, of, Code(trend.bars), f" {words.change(trend.first, trend.last, trend.span)}")


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


def _next(guidance: Guidance) -> Line:
    step = linked(clean(guidance.next_step, GUIDANCE_LIMIT))
    page = linked(clean(guidance.runbook, RUNBOOK_LIMIT))
    # A runbook need not be an address ("page 3 of the binder"): then it is shown as the words it is.
    match page:
        case (Link(url),):
            page = (Link(url, words.RUNBOOK),)
    return Line(label=Label.NEXT, text=joined([step, page], words.SEPARATOR))


def _open(notification: Notification) -> Line:
    if notification.kind is TransitionKind.OPENED:
        return _line(Label.OPEN)
    lasted = words.duration(notification.open_for)
    if notification.kind is TransitionKind.RESOLVED:
        return _line(Label.OPEN, f"{lasted}, ", Moment(notification.opened_at), " → ", Moment(notification.at))
    previous = notification.previous_severity
    before = f", {previous.value.upper()} before" if previous and _has_changed(notification) else ""
    nobody = ", nobody has acknowledged it" if notification.acknowledged_at is None else ""
    return _line(Label.OPEN, f"for {lasted}{before}{nobody}")


def _has_changed(notification: Notification) -> bool:
    return notification.kind in (TransitionKind.ESCALATED, TransitionKind.EASED)


def _worst(notification: Notification) -> Line:
    summary = clean(notification.peak_summary, SUMMARY_LIMIT)
    if not summary:
        return _line(Label.WORST)
    level = notification.peak_severity.value.upper()
    return _line(Label.WORST, f"{level} at ", Moment(notification.peak_at), f": {summary}")


def _who(notification: Notification) -> Line:
    acknowledged = _did(
        "acknowledged", notification.acknowledged_by, notification.acknowledged_at, notification.acknowledged_note
    )
    by_hand = notification.kind is TransitionKind.RESOLVED and notification.actor
    resolved = _did("resolved", notification.actor, notification.at, notification.note) if by_hand else ()
    return Line(label=Label.WHO, text=joined([acknowledged, resolved], words.SEPARATOR))


def _did(what: str, who: str | None, at: datetime | None, note: str | None) -> Text:
    if at is None:
        return ()
    by = f" by {clean(who, SOURCE_LIMIT)}" if who else ""
    said = f', "{clean(note, NOTE_LIMIT)}"' if note and clean(note, NOTE_LIMIT) else ""
    return tuple(fragment for fragment in (f"{what}{by} ", Moment(at), said) if fragment != "")


def _also(notification: Notification) -> list[Line]:
    alerts = notification.also_open
    texts = [_other(alert, notification.at) for alert in alerts[:MOST_ALSO]]
    if len(alerts) > MOST_ALSO:
        texts[-1] = f"{texts[-1]} ({words.more(len(alerts) - MOST_ALSO)})"
    return [_line(Label.ALSO, text) for text in texts]


def _other(alert: OpenAlert, now: datetime) -> str:
    taken = f", acknowledged by {clean(alert.acknowledged_by, SOURCE_LIMIT)}" if alert.acknowledged_by else ""
    what = f"{clean(alert.source, SOURCE_LIMIT)}: {clean(alert.summary, 100)}"
    return f"#{alert.alert_id} {alert.severity.value.upper()} {what}, {words.duration(now - alert.opened_at)}{taken}"


def _stop(notification: Notification) -> Line:
    commands = [f"{words.APP} explain {notification.alert_id}"]
    # A name that had to be cleaned would silence nothing when it is copied from here.
    if notification.source == clean(notification.source, SOURCE_LIMIT):
        commands.insert(0, f"{words.APP} silence {shlex.quote(notification.source)} {SILENCE_FOR}")
    if notification.acknowledged_at is None:
        commands.insert(0, f"{words.APP} ack {notification.alert_id}")
    return Line(label=Label.STOP, text=joined([(Code(command),) for command in commands], words.SEPARATOR))


def _repeat(notification: Notification) -> list[Line]:
    return [_line(Label.REPEAT, words.may_be_repeat(notification.delivery_id))] if notification.uncertain else []


def _footer(notification: Notification, context: MessageContext) -> Text:
    is_opening = notification.kind is TransitionKind.OPENED
    parts: list[Text] = [
        (f"{words.APP} on {clean(context.instance, SOURCE_LIMIT)}",),
        (f"{words.HAPPENED[TransitionKind.OPENED]} ", Moment(notification.opened_at, zoned=is_opening)),
    ]
    if not is_opening:
        parts.append((f"{words.HAPPENED[notification.kind]} ", Moment(notification.at, zoned=True)))
    if context.remind_after and _will_remind(notification):
        parts.append((words.reminds(context.remind_after),))
    return joined(parts, words.SEPARATOR)


def _will_remind(notification: Notification) -> bool:
    return (
        notification.severity is Severity.CRITICAL
        and notification.acknowledged_at is None
        and notification.kind not in (TransitionKind.ACKNOWLEDGED, TransitionKind.RESOLVED)
    )
