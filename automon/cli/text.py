"""How the command line writes times, spans and texts of others, within the cells of a terminal."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from itertools import accumulate

WIDTH = 80
# A time of day alone is clear for so long; beyond that its date stands beside it.
NEAR = timedelta(hours=20)


def age(seconds: float) -> str:
    """Write a span as 18s, 5m, 3h or 2d."""
    for unit, length in (("d", 172800), ("h", 7200), ("m", 120)):
        if seconds >= length:
            return f"{int(seconds // {'d': 86400, 'h': 3600, 'm': 60}[unit])}{unit}"
    return f"{int(seconds)}s"


def took(seconds: float) -> str:
    """Write how long something took, in its largest unit: "34 ms", "0.2 s", "45 s", "51 min", "3 h", "2 d"."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{round(seconds, 1):g} s"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def when(iso: str) -> str:
    moment = local(iso)
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"


def clock(iso: str, now: datetime) -> str:
    """Write a moment as "14:02", or with its date when that is not clear: "3 May 14:02"."""
    moment = local(iso)
    return f"{moment:%H:%M}" if abs(now - moment) < NEAR else f"{moment.day} {moment:%b %H:%M}"


def clock_or_day(iso: str, now: datetime) -> str:
    """Write a moment in at most six cells: "14:02", or "3 May" for one that is not near."""
    moment = local(iso)
    return f"{moment:%H:%M}" if abs(now - moment) < NEAR else f"{moment.day} {moment:%b}"


def local(iso: str) -> datetime:
    return datetime.fromisoformat(iso).astimezone()


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def cut(text: str, width: int) -> str:
    """Make one line of at most `width` cells of a text that somebody else wrote."""
    return clip(" ".join(printable(text).split()), width)


def clip(line: str, width: int) -> str:
    """Keep a line within `width` cells; what is cut off shows as an ellipsis."""
    if cells(line) <= width:
        return line
    ends = enumerate(accumulate(map(cells, line)))
    return line[: next(index for index, end in ends if end > width - 1)] + "…"


def padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def wrapped(text: str, width: int) -> list[str]:
    """Break a text that somebody else wrote into lines of at most `width` cells; a longer word is cut off."""
    lines: list[str] = []
    for word in printable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        lines[max(0, len(lines) - 1) :] = [longer] if not lines or cells(longer) <= width else [lines[-1], word]
    return [clip(line, width) for line in lines]


def printable(line: str) -> str:
    """Take out what a terminal would obey instead of showing: a task's error message may hold anything."""
    return "".join(character if character.isprintable() else " " if character.isspace() else "" for character in line)


def cells(text: str) -> int:
    """Count the columns that a terminal gives to a text: two to a Chinese character, none to a combining accent."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
