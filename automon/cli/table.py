"""Tables of a terminal: columns as wide as what stands in them, in lines of 80 cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automon.cli.text import WIDTH, cells, clip, padded, right

GAP = "  "


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column. `most` is the widest it may be; one that `fills` takes what the others leave."""

    head: str = ""
    is_right: bool = False
    most: int = 30
    fills: bool = False


def text_column(head: str = "", *, most: int = 30) -> Column:
    return Column(head=head, most=most)


def number_column(head: str) -> Column:
    return Column(head=head, is_right=True)


def rest_column(head: str = "") -> Column:
    return Column(head=head, fills=True)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Write a head, if any column has one, and the rows. What stands in a row is clean text of one line."""
    has_head = any(column.head for column in columns)
    all_rows = [[column.head for column in columns], *rows] if has_head else list(rows)
    widths = _widths(columns, all_rows, width)
    return [_line(columns, widths, row, width) for row in all_rows]


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    wanted = [
        0 if column.fills else min(column.most, max((cells(row[index]) for row in rows), default=0))
        for index, column in enumerate(columns)
    ]
    left = max(0, width - sum(wanted) - len(GAP) * (len(columns) - 1))
    return [left if column.fills else want for column, want in zip(columns, wanted, strict=True)]


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str], width: int) -> str:
    shown = [clip(text, wide) if wide else "" for text, wide in zip(row, widths, strict=True)]
    placed = [
        right(text, wide) if column.is_right else padded(text, wide)
        for column, text, wide in zip(columns, shown, widths, strict=True)
    ]
    return clip(GAP.join(placed).rstrip(), width)
