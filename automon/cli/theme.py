"""Glyphs and colours: what a terminal can show, and what its reader wants to see. Every screen draws with a `Theme`.

Colour says again what a glyph and a word say already. While a screen is laid out it stands in the text as characters of
the private use area, which take no room; `finish` makes escape sequences of them, or nothing, and lets nothing else
through that a terminal would obey.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TextIO

import click

from automon.cli.text import PAINT_END, PAINT_FIRST, cells, is_paint, printable


class State(IntEnum):
    """How something is."""

    CRITICAL = 0
    WARNING = 1
    OK = 2
    UNKNOWN = 3
    # Left out on purpose: silenced, told elsewhere.
    ASIDE = 4


OF_SEVERITY = MappingProxyType(
    {
        "critical": State.CRITICAL,
        "high": State.CRITICAL,
        "medium": State.WARNING,
        "low": State.WARNING,
        None: State.OK,
    }
)
UNICODE_MARKS = ("✗", "▲", "✓", "◌", "–")  # noqa: RUF001  a dash, not a hyphen: it stands among shapes
ASCII_MARKS = ("x", "!", "ok", "?", "-")
UNICODE_BARS = "▁▂▃▅▆▇"
ASCII_BARS = ".:-=+*"
# One character for one, so that columns stay where they are.
ASCII_FOR = str.maketrans("…–—→·×≥≤▁▂▃▅▆▇✗▲✓◌", "~-->-x><.:-=+*x!v?")  # noqa: RUF001
_RED, _YELLOW, _BLUE, _GREEN, _GREY = "31", "33", "34", "32", "90"
PALETTE = MappingProxyType(
    {State.CRITICAL: _RED, State.WARNING: _YELLOW, State.OK: _BLUE, State.UNKNOWN: _GREY, State.ASIDE: _GREY}
)
CLASSIC_PALETTE = MappingProxyType({**PALETTE, State.OK: _GREEN})


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """How screens are drawn. Without anything said: UTF-8 and no colour."""

    is_unicode: bool = True
    palette: Mapping[State, str] | None = None
    encoding: str = "utf-8"

    @property
    def mark_width(self) -> int:
        return max(map(len, UNICODE_MARKS if self.is_unicode else ASCII_MARKS))

    def mark(self, state: State) -> str:
        """Give the glyph of a state, as wide as the widest."""
        glyph = (UNICODE_MARKS if self.is_unicode else ASCII_MARKS)[state]
        return self.paint(state, glyph) + " " * (self.mark_width - len(glyph))

    def of_severity(self, severity: str | None) -> str:
        """Give the glyph of a severity; that of well without one."""
        return self.mark(OF_SEVERITY[severity])

    def paint(self, state: State, text: str) -> str:
        return f"{chr(PAINT_FIRST + state)}{text}{chr(PAINT_END)}"

    def bars(self, values: Sequence[float | None]) -> str:
        """Draw numbers from zero to the largest of them, one cell each; what was not measured is a gap."""
        levels = UNICODE_BARS if self.is_unicode else ASCII_BARS
        largest = max((value for value in values if value is not None), default=0.0)
        return "".join(" " if value is None else levels[_level(value, largest, len(levels))] for value in values)

    def finish(self, lines: Iterable[str]) -> str:
        """Make what is written to the terminal of the lines of a screen."""
        return "\n".join(self._finished(line).rstrip() for line in lines)

    def _finished(self, line: str) -> str:
        text = "".join(character for character in line if is_paint(character) or character.isprintable())
        plain = text if self.is_unicode else self._in_encoding(text.translate(ASCII_FOR))
        return "".join(self._code(character) if is_paint(character) else character for character in plain)

    def _in_encoding(self, text: str) -> str:
        return "".join(
            character if is_paint(character) or _has(self.encoding, character) else "?" * cells(character)
            for character in text
        )

    def _code(self, paint: str) -> str:
        if self.palette is None:
            return ""
        number = ord(paint)
        return "\x1b[0m" if number == PAINT_END else f"\x1b[{self.palette[State(number - PAINT_FIRST)]}m"


PLAIN = Theme()


def _level(value: float, largest: float, levels: int) -> int:
    return 0 if largest <= 0 else max(0, min(levels - 1, round(value / largest * (levels - 1))))


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def show_letters_instead(*streams: TextIO) -> None:
    """Have streams that cannot show a shape write its letters, so that no command breaks on a terminal without UTF-8.

    Of one that says ASCII click thinks that it is set wrongly, and writes UTF-8 there.
    """
    codecs.register_error("letters", _letters)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and not is_utf8(stream.encoding):
            stream.reconfigure(errors="letters")


def _letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    marks = dict(zip(UNICODE_MARKS, ASCII_MARKS, strict=True))
    unshown = error.object[error.start : error.end]
    letters = (marks.get(character) or character.translate(ASCII_FOR) for character in unshown)
    return "".join(letter if letter.isascii() else "?" for letter in letters), error.end


def is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") in {"utf8", "utf8sig"}


def wants_colour(choice: str, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Decide by --color, then NO_COLOR, CLICOLOR_FORCE, TERM=dumb, and whether a terminal reads it, in this order."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return is_terminal and environ.get("TERM") != "dumb"


def make_theme(choice: str, environ: Mapping[str, str], *, is_terminal: bool, encoding: str) -> Theme:
    """Give the theme for a reader: AUTOMON_THEME=classic shows well in green, for those who can tell it from red."""
    palette = CLASSIC_PALETTE if environ.get("AUTOMON_THEME") == "classic" else PALETTE
    return Theme(
        is_unicode=is_utf8(encoding),
        palette=palette if wants_colour(choice, environ, is_terminal=is_terminal) else None,
        encoding=encoding,
    )


def theme_of(stream: TextIO, choice: str = "auto") -> Theme:
    return make_theme(choice, os.environ, is_terminal=stream.isatty(), encoding=stream.encoding or "ascii")


def show(lines: Iterable[str], theme: Theme) -> None:
    """Write a screen to stdout."""
    # click would take colours out again where it sees no terminal; whether they are wanted is decided here.
    click.echo(theme.finish(lines), color=True)


def note(sentence: str) -> None:
    """Say on stderr what is not the answer itself, in characters that it can show."""
    theme = theme_of(sys.stderr, "never")
    click.echo(theme.finish(map(printable, sentence.splitlines())), err=True)
