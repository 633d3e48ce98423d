"""Read strict JSON with // and /* */ comments, and remember where each key and each value stands.

The positions are why this is a parser of its own: a mistake in what a value means ("200 is above 100") is found long
after parsing, and must still be reported with its line and column.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, NoReturn

from automon.errors import AutomonError

MAX_DEPTH = 20  # a config needs six; each level is kept once for each value below it
MOST_SHOWN = 80

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]+")
_LINE_COMMENT = re.compile(r"//[^\n]*")
_BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![\w.+-])")
_NUMBER_START = re.compile(r"[-+.0-9]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class JsoncError(AutomonError):
    """Text that is not JSON with comments. `line` and `column` count from 1, in characters."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Repeat:
    """A key that stands a second time in its object."""

    path: Path
    offset: int
    first_offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A parsed text: its value, and the offset of every key and value by path (`()` is the whole)."""

    text: str
    value: Any
    key_offsets: dict[Path, int]
    value_offsets: dict[Path, int]
    repeats: tuple[Repeat, ...]
    line_starts: list[int]

    def position(self, offset: int) -> tuple[int, int]:
        """Turn an offset into line and column, both from 1."""
        return _position(self.line_starts, offset)


def parse(text: str) -> Document:
    """Parse `text`; repeated keys are kept in `repeats`, so that the caller can report them with all else.

    Raises JsoncError where the text stops being JSON with comments.
    """
    return _Parser(text).document()


def loads(text: str) -> Any:
    """Parse `text` and return its value; raises JsoncError, also for a repeated key."""
    document = parse(text)
    for repeat in document.repeats:
        line, column = document.position(repeat.offset)
        raise JsoncError(repeat_message(document, repeat), line=line, column=column)
    return document.value


def repeat_message(document: Document, repeat: Repeat) -> str:
    first_line, _ = document.position(repeat.first_offset)
    return f'the key "{shown(str(repeat.path[-1]))}" stands here a second time, first in line {first_line}'


def shown(key: str) -> str:
    """Write a key as an error message may show it: in one line, not too long, and not where a secret was meant to stand."""
    if key.startswith("$literal:"):
        return "$literal:…"
    cut = key if len(key) <= MOST_SHOWN else f"{key[: MOST_SHOWN - 1]}…"
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _position(starts: list[int], offset: int) -> tuple[int, int]:
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.key_offsets: dict[Path, int] = {}
        self.value_offsets: dict[Path, int] = {}
        self.repeats: list[Repeat] = []

    def document(self) -> Document:
        self.skip()
        if self.at == len(self.text):
            self.fail("the file is empty; it must hold an object, { … }")
        value = self.value(())
        self.skip()
        if self.at < len(self.text):
            self.fail(f"nothing may follow the end of the document, but here is {self.here()}")
        return Document(
            text=self.text,
            value=value,
            key_offsets=self.key_offsets,
            value_offsets=self.value_offsets,
            repeats=tuple(self.repeats),
            line_starts=_line_starts(self.text),
        )

    def fail(self, message: str, *, at: int | None = None) -> NoReturn:
        line, column = _position(_line_starts(self.text), self.at if at is None else at)
        raise JsoncError(message, line=line, column=column)

    def here(self) -> str:
        """Name what stands at the current place, as an error message can say it."""
        if self.at >= len(self.text):
            return "the end of the file"
        char = self.text[self.at]
        return f"{char}" if "!" <= char <= "~" else f"the character U+{ord(char):04X}"

    def skip(self) -> None:
        """Go past blanks and comments."""
        while match := self.match(_BLANK) or self.match(_LINE_COMMENT) or self.match(_BLOCK_COMMENT):
            self.at = match.end()
        if self.text.startswith("/*", self.at):
            self.fail("this comment has no end; write */ behind it")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.text, self.at)

    def value(self, path: Path) -> Any:
        self.value_offsets[path] = self.at
        if len(path) > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        match self.text[self.at : self.at + 1]:
            case "{":
                return self.object(path)
            case "[":
                return self.array(path)
            case '"':
                return self.string()
        if self.match(_NUMBER_START):
            return self.number()
        return self.word()

    def object(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.open()
        while not self.closed("}", first=not found):
            self.entry(path, found)
        return found

    def entry(self, path: Path, found: dict[str, Any]) -> None:
        offset = self.at
        key = self.key()
        key_path = (*path, key)
        repeated = key in found
        if repeated:
            self.repeats.append(Repeat(key_path, offset, self.key_offsets[key_path]))
        else:
            self.key_offsets[key_path] = offset
        self.skip()
        if not self.text.startswith(":", self.at):
            # Without the key: where a colon is missing it may be the value, a secret.
            self.fail(f"a colon must follow the key, but here is {self.here()}")
        self.open()
        if repeated:
            self.ignored_value(key_path)
        else:
            found[key] = self.value(key_path)

    def ignored_value(self, path: Path) -> None:
        """Read the value of a repeated key; the first one stays in force, and so do the positions below it."""
        kept = self.key_offsets, self.value_offsets
        self.key_offsets, self.value_offsets = {}, {}
        self.value(path)
        self.key_offsets, self.value_offsets = kept

    def key(self) -> str:
        if not self.text.startswith('"', self.at):
            self.fail(f"a key in double quotes must stand here, but here is {self.here()}")
        return self.string()

    def array(self, path: Path) -> list[Any]:
        found: list[Any] = []
        self.open()
        while not self.closed("]", first=not found):
            found.append(self.value((*path, len(found))))
        return found

    def open(self) -> None:
        """Go past one bracket, comma or colon, and what is blank behind it."""
        self.at += 1
        self.skip()

    def closed(self, bracket: str, *, first: bool) -> bool:
        """Go past the closing bracket and say so, or past the comma in front of the next item."""
        self.skip()
        if self.text.startswith(bracket, self.at):
            self.at += 1
            return True
        if first:
            return False
        if not self.text.startswith(",", self.at):
            self.fail(f"a comma or {bracket} must stand here, but here is {self.here()}")
        comma = self.at
        self.open()
        if self.text[self.at : self.at + 1] in ("}", "]"):
            self.fail(f"no comma may stand in front of {self.text[self.at]}", at=comma)
        return False

    def string(self) -> str:
        match = self.match(_STRING)
        if match is None:
            self.fail_in_string()
        text: str = json.loads(match.group())
        if _SURROGATE.search(text):
            self.fail("this text holds half of a surrogate pair (\\ud800 to \\udfff)")
        self.at = match.end()
        return text

    def fail_in_string(self) -> NoReturn:
        opened = self.at
        part = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+').match(self.text, opened)
        self.at = part.end() if part else opened
        if self.text.startswith("\\", self.at):
            self.fail('a backslash must be followed by one of " \\ / b f n r t or by u and four hex digits')
        if self.at >= len(self.text) or self.text[self.at] in "\r\n":
            self.fail("this text has no closing double quote", at=opened)
        self.fail(f"{self.here()} must be written as \\u{ord(self.text[self.at]):04x} in a text")

    def number(self) -> int | float:
        match = self.match(_NUMBER)
        if match is None:
            self.fail("this is not a number of JSON; examples of one: 5, -0.5, 1e3")
        try:
            value = float(match.group()) if match.group(1) or match.group(2) else int(match.group())
            float(value)
        # A whole number beyond any float; of more than 4300 digits Python refuses to read one.
        except (OverflowError, ValueError):
            value = math.inf
        if not math.isfinite(value):
            self.fail("this number is too large")
        self.at = match.end()
        return value

    def word(self) -> bool | None:
        match = self.match(_WORD)
        if match is None:
            self.fail(f"a value must stand here, but here is {self.here()}")
        if match.group() not in _WORDS:
            self.fail("a bare word is only true, false or null; a text stands in double quotes")
        self.at = match.end()
        return _WORDS[match.group()]


def end_of_value(text: str, offset: int) -> int:
    """Return the offset behind the value that begins there. Raises JsoncError where none does."""
    parser = _Parser(text)
    parser.at = offset
    parser.value(())
    return parser.at


def skip_blank(text: str, offset: int) -> int:
    """Return the offset of what follows there behind blanks and comments."""
    parser = _Parser(text)
    parser.at = offset
    parser.skip()
    return parser.at
