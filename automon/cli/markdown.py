"""A page of Markdown as lines of a terminal: headings, paragraphs, lists and fenced blocks, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from automon.cli.text import WIDTH

INDENT = "  "
_FENCE = "```"
_BULLET = "- "
_LINK = re.compile(r"\[([^\]]*)\]\([^)\s]*\)")
_STRONG = re.compile(r"\*\*(.+?)\*\*")


def terminal_page(text: str, width: int = WIDTH) -> list[str]:
    """Write headings in capitals and what is below them indented; links lose their targets, blocks are never wrapped."""
    lines: list[str] = []
    for is_block, part in _parts(text):
        lines += [f"{INDENT}{INDENT}{line}" for line in part] if is_block else _prose(part, width)
    return lines


def _parts(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Take a text apart into the lines of fenced blocks and those between them."""
    is_block = False
    for is_fence, run in groupby(text.splitlines(), key=lambda line: line.startswith(_FENCE)):
        lines = list(run)
        if is_fence:
            is_block = is_block != (len(lines) % 2 == 1)
        else:
            yield is_block, lines


def _prose(lines: list[str], width: int) -> Iterator[str]:
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not line or line.startswith((_BULLET, "#"))):
            yield from _wrapped(paragraph, width)
            paragraph = []
        if line.startswith("#"):
            yield _plain(line.lstrip("# ")).upper() if line.startswith("##") else _plain(line.lstrip("# "))
        elif line:
            paragraph.append(line)
        else:
            yield ""
    yield from _wrapped(paragraph, width)


def _wrapped(paragraph: list[str], width: int) -> list[str]:
    if not paragraph:
        return []
    hanging = f"{INDENT}  " if paragraph[0].startswith(_BULLET) else INDENT
    text = _plain(" ".join(line.strip() for line in paragraph))
    # A command that is cut at a hyphen cannot be copied.
    return wrap(
        text, width, initial_indent=INDENT, subsequent_indent=hanging, break_on_hyphens=False, break_long_words=False
    )


def _plain(text: str) -> str:
    return _STRONG.sub(r"\1", _LINK.sub(r"\1", text))
