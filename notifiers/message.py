"""A message before a medium gives it a form: its parts, and what all messages have in common.

The order is the same everywhere: the whole story in one line, then impact, what was seen, trend, likely cause, next
step, what else is open, how to make it stop, and who says so. So it can be cut off anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from automon.models import Canary, Digest, Notification, Severity
from notifiers import words
from notifiers.text import Code, Fragment, Link, Moment, Text, clean, joined
from notifiers.words import Label, Mark

HEADLINE_LIMIT = 110
SOURCE_LIMIT = 48
SUMMARY_LIMIT = 300
NOTE_LIMIT = 160
BRIEF_LIMIT = 100  # one of several in a list
MOST_CAUSES = 3
SILENCE_FOR = "2h"


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageContext:
    """Who speaks, and for which clock: the host that automon runs on, the readers' zone, how often it reminds.

    `runbooks` is the address below which the runbooks stand, one for each alert type; without it messages name the
    command that prints them.
    """

    instance: str
    timezone: ZoneInfo
    remind_after: timedelta | None = None
    runbooks: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    label: Label
    text: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What is to be said, before a medium gives it a form.

    `event` says what it is about in one word, for filters and logs: the kind of a transition, or "digest", "canary",
    "outage", "test". `headline` is the whole story in one line, without its mark. `identity` and `thread` are the same
    in all messages that belong together; the thread is empty where nothing does. An id is 0 where there is none.
    """

    event: str
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
    thread: str = ""
    alert_id: int = 0
    delivery_id: int = 0

    @property
    def today(self) -> date:
        """The readers' date when it happened: times of that day are shown without a date."""
        return self.at.astimezone(self.timezone).date()


def first_line(start: str, summary: str) -> str:
    return clean(f"{start}: {summary}" if summary else start, HEADLINE_LIMIT)


def line(label: Label, *fragments: Fragment) -> Line:
    return Line(label=label, text=tuple(fragment for fragment in fragments if fragment != ""))


def said(*lines: Line) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.text)


def commands(label: Label, *commands: str) -> Line:
    return Line(label=label, text=joined([(Code(f"{words.APP} {command}"),) for command in commands], words.SEPARATOR))


def runbook(alert_type: str, context: MessageContext) -> Text:
    """Say where it is written what to do about a type of alert; nothing for a type that has no page."""
    command = words.runbook_command(alert_type)
    if command and context.runbooks:
        return (Link(f"{context.runbooks.rstrip('/')}/{alert_type}", words.RUNBOOK),)
    return (Code(command),) if command else ()


def did(what: str, who: str | None, at: datetime | None, note: str | None) -> Text:
    if at is None:
        return ()
    by = f" by {clean(who, SOURCE_LIMIT)}" if who else ""
    said = f', "{clean(note, NOTE_LIMIT)}"' if note and clean(note, NOTE_LIMIT) else ""
    return tuple(fragment for fragment in (f"{what}{by} ", Moment(at), said) if fragment != "")


def instead_line(channel: str) -> Line:
    name = clean(channel, SOURCE_LIMIT)
    return line(Label.INSTEAD, words.instead_of(name) if name else "")


def repeat_line(told: Notification | Digest | Canary) -> Line:
    return line(Label.REPEAT, words.may_be_repeat(told.delivery_id) if told.uncertain else "")


def delivery_words(told: Notification | Digest | Canary) -> Text:
    return (words.delivery(told.delivery_id),)


def footer(context: MessageContext, *parts: Text) -> Text:
    return joined([(f"{words.APP} on {clean(context.instance, SOURCE_LIMIT)}",), *parts], words.SEPARATOR)
