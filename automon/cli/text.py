"""How the command line writes times, spans and texts of others, within the cells of a terminal."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from itertools import accumulate

WIDTH = 80
# Characters that stand for a colour while a screen is laid out: the first of each state, and the end of any.
PAINT_FIRST, PAINT_END = 0xE000, 0xE00F
DASH = "–"  # noqa: RUF001  as between numbers: nothing to say
LONG_AGO = 3 * 86400
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


def span(seconds: float | None) -> str:
    """Write a duration in at most six cells: "340ms", "4.2s", "41s", "12m", "1h 02m", "27h", "3d"; a dash for none."""
    if seconds is None:
        return DASH
    minutes = round(seconds / 60)
    forms = (
        (0.995, f"{seconds * 1000:.0f}ms"),
        (9.95, f"{seconds:.1f}s"),
        (119.5, f"{seconds:.0f}s"),
        (3_570, f"{minutes}m"),
        (35_970, f"{minutes // 60}h {minutes % 60:02}m"),
        (172_800, f"{minutes // 60}h"),
    )
    return next((text for below, text in forms if seconds < below), f"{minutes // 1440}d")


def ago(iso: str | None, now: datetime) -> str:
    """Write how long ago a moment was, as "2m ago", or its day: "12 Nov"; a dash for none."""
    if iso is None:
        return DASH
    moment = local(iso)
    since = (now - moment).total_seconds()
    return f"{age(max(since, 0))} ago" if since < LONG_AGO else f"{moment.day} {moment:%b}"


def time_with_zone(now: datetime) -> str:
    """Write the time of day with the reader's zone: "14:20 CET (UTC+1)"."""
    here = now.astimezone()
    offset = here.strftime("%z")
    minutes = "" if offset[3:5] == "00" else f":{offset[3:5]}"
    away = "" if here.tzname() == "UTC" else f" (UTC{offset[0]}{int(offset[1:3])}{minutes})"
    return f"{here:%H:%M} {here.tzname()}{away}"


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


def percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.0f} %"


def rate(value: float | None) -> str:
    """Write how much happens in a minute: "42", "0.3"; a dash when nobody knows."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def cut(text: str, width: int) -> str:
    """Make one line of at most `width` cells of a text that somebody else wrote."""
    return clip(" ".join(printable(text).split()), width)


def clip(line: str, width: int) -> str:
    """Keep a line within `width` cells; what is cut off shows as an ellipsis."""
    if cells(line) <= width:
        return line
    ends = enumerate(accumulate(map(cells, line)))
    kept = line[: next(index for index, end in ends if end > width - 1)] + "…"
    paints = [character for character in kept if is_paint(character)]
    return kept + chr(PAINT_END) if paints and ord(paints[-1]) != PAINT_END else kept


def padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    return " " * (width - cells(text)) + text


def spread(left: str, right_text: str, width: int = WIDTH) -> str:
    """Put one text to the left and one to the right of a line; where both have no room, the left one is cut."""
    kept = clip(left, width - cells(right_text) - 2) if right_text else clip(left, width)
    return kept + right(right_text, width - cells(kept)) if right_text else kept


def wrapped(text: str, width: int) -> list[str]:
    """Break a text that somebody else wrote into lines of at most `width` cells; a longer word is cut off."""
    lines: list[str] = []
    for word in printable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        lines[max(0, len(lines) - 1) :] = [longer] if not lines or cells(longer) <= width else [lines[-1], word]
    return [clip(line, width) for line in lines]


def folded(line: str, width: int, indent: int = 13) -> list[str]:
    """Break a line into lines of at most `width` cells, at a space where there is one; the others are indented."""
    lines = [""]
    for word in re.split(r"(?<=\S)(?= )", line):
        if cells(lines[-1]) + cells(word) > width and lines[-1].strip():
            lines.append(" " * indent + word.lstrip())
        else:
            lines[-1] += word
    return [clip(part, width) for part in lines]


def printable(line: str) -> str:
    """Take out what a terminal would obey instead of showing: a task's error message may hold anything."""
    return "".join(character if character.isprintable() else " " if character.isspace() else "" for character in line)


def cells(text: str) -> int:
    """Count the columns that a terminal gives to a text: two to a Chinese character, none to a combining accent."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if is_paint(character) or unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def is_paint(character: str) -> bool:
    return PAINT_FIRST <= ord(character) <= PAINT_END
