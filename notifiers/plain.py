"""A message as plain text: for a terminal, for services that know no markup, and for the inside of a mail."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from notifiers.message import Line, Message
from notifiers.text import Code, Link, Moment, Text, render, time_words

COLUMN = 9


class Plain:
    """Writes fragments as a reader without any markup sees them; addresses in full."""

    def __init__(self, zone: ZoneInfo, today: date) -> None:
        self.zone = zone
        self.today = today

    def words(self, text: str) -> str:
        return text

    def moment(self, moment: Moment) -> str:
        return time_words(moment, self.zone, self.today)

    def code(self, code: Code) -> str:
        return code.text

    def link(self, link: Link) -> str:
        return link.url


def headline(message: Message) -> str:
    return f"{message.mark.glyph} {message.headline}"


def plain_text(text: Text, message: Message) -> str:
    return render(text, Plain(message.timezone, message.today))


def plain_lines(message: Message) -> list[str]:
    """Write each line with its label in a column; a label that repeats is left blank."""
    labels = columns(message.lines)
    return [f"{label}{plain_text(line.text, message)}" for label, line in zip(labels, message.lines, strict=True)]


def columns(lines: tuple[Line, ...]) -> list[str]:
    before = [None, *(line.label for line in lines[:-1])]
    return [
        ("" if line.label == last else line.label.value).ljust(COLUMN) for line, last in zip(lines, before, strict=True)
    ]


def plain_body(message: Message) -> str:
    """Write everything below the headline."""
    return "\n".join([*plain_lines(message), "", plain_text(message.footer, message)])
