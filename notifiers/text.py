"""Text before it meets a medium: pieces that each renderer escapes in its own way.

A plain `str` is always data, whoever wrote it. What may become a link, a command or a time in the reader's zone
is a type of its own, so nothing in a task's error message can turn into one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, assert_never
from zoneinfo import ZoneInfo

from notifiers.words import MONTHS

ELLIPSIS = "…"
_ZERO_WIDTH_JOINER = "\u200d"  # holds emoji families together
_URL = re.compile(r"https?://[^\s<>\"'`]+")
_AFTER_URL = ".,;:!?)]}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, aware; shown in the reader's zone, and with the zone's name where `zoned`."""

    at: datetime
    zoned: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """Text that keeps its exact characters and width: a command to copy, or a sparkline."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """An address from the config. A medium without labels shows the address itself."""

    url: str
    label: str = ""


Fragment = str | Moment | Code | Link
Text = tuple[Fragment, ...]


class Medium(Protocol):
    """How one medium writes each kind of fragment."""

    def words(self, text: str) -> str: ...
    def moment(self, moment: Moment) -> str: ...
    def code(self, code: Code) -> str: ...
    def link(self, link: Link) -> str: ...


def render(text: Text, medium: Medium) -> str:
    return "".join(_render(fragment, medium) for fragment in text)


def _render(fragment: Fragment, medium: Medium) -> str:
    match fragment:
        case str():
            return medium.words(fragment)
        case Moment():
            return medium.moment(fragment)
        case Code():
            return medium.code(fragment)
        case Link():
            return medium.link(fragment)
        case _:
            assert_never(fragment)


def clean(text: object, limit: int) -> str:
    """Make one line of at most `limit` characters of anything, without control, direction or invisible characters."""
    raw = str(text)
    # Cut before the costly part: an error message may hold a whole page of HTML.
    line = " ".join("".join(_kept(character) for character in raw[: limit * 4]).split())
    is_whole = len(line) <= limit and len(raw) <= limit * 4
    return line if is_whole else line[: limit - 1].rstrip() + ELLIPSIS


def _kept(character: str) -> str:
    if character.isspace():
        return " "
    if character == _ZERO_WIDTH_JOINER:
        return character
    # Cc control (terminal escapes), Cf format (right-to-left override), Cs lone surrogate, Co private, Cn unassigned.
    return "" if unicodedata.category(character).startswith("C") else character


def linked(text: str) -> Text:
    """Turn the addresses in a text from the config into links; never call it with text from a task."""
    fragments: list[Fragment] = []
    position = 0
    for match in _URL.finditer(text):
        url = match.group().rstrip(_AFTER_URL)
        fragments += [text[position : match.start()], Link(url)]
        position = match.start() + len(url)
    fragments.append(text[position:])
    return tuple(fragment for fragment in fragments if fragment != "")


def joined(texts: Iterable[Text], separator: str) -> Text:
    fragments: list[Fragment] = []
    for text in texts:
        if not text:
            continue
        if fragments:
            fragments.append(separator)
        fragments += text
    return tuple(fragments)


def visible_length(text: Text) -> int:
    return sum(_visible(fragment) for fragment in text)


def _visible(fragment: Fragment) -> int:
    match fragment:
        case str():
            return len(fragment)
        case Moment():
            return len("23 Nov 14:02 CET")
        case Code():
            return len(fragment.text)
        case Link():
            return len(fragment.label or fragment.url)
        case _:
            assert_never(fragment)


def shortened(text: Text, limit: int) -> Text:
    """Take what is over `limit` from the longest words, then the next; links, commands and times stay whole."""
    while (excess := visible_length(text) - limit) > 0:
        longest = max(range(len(text)), key=lambda index: _spare(text[index]))
        if not _spare(text[longest]):
            break
        keep = max(0, _visible(text[longest]) - excess - len(ELLIPSIS))
        text = (*text[:longest], f"{str(text[longest])[:keep].rstrip()}{ELLIPSIS}", *text[longest + 1 :])
    return text


def _spare(fragment: Fragment) -> int:
    return max(0, len(fragment) - len(ELLIPSIS)) if isinstance(fragment, str) else 0


def time_words(moment: Moment, zone: ZoneInfo, today: date) -> str:
    """Write a time as the zone's clock shows it: "14:02", "22 Nov 14:02", "14:02 CET"."""
    local = moment.at.astimezone(zone)
    words = f"{local:%H:%M}"
    if local.date() != today:
        year = f" {local.year}" if local.year != today.year else ""
        words = f"{local.day} {MONTHS[local.month - 1]}{year} {words}"
    return f"{words} {zone_name(local)}" if moment.zoned else words


def zone_name(local: datetime) -> str:
    """Name the zone of a local time: "CET", or "UTC+03" where the zone has only an offset for a name."""
    name = local.tzname() or ""
    return f"UTC{name}" if name[:1] in "+-" else name
