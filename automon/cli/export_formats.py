"""How rows are written: as CSV for spreadsheets, as JSON lines, as Parquet for data frames. Times are ISO in UTC."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from automon.cli.export_kinds import Kind, Row
from automon.errors import AutomonError

# What a spreadsheet takes for the beginning of a formula; a task's error message may hold anything.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

# JSON lets them stand in a text; many readers end a line there.
_OTHER_LINE_ENDS = ("\u2028", "\u2029", "\x85")

RowsAsText = Callable[[Sequence[Row]], str]


def csv_text(kind: Kind, *, is_exact: bool) -> RowsAsText:
    """Write rows as CSV; unless exact, an apostrophe keeps a spreadsheet from running a text as a formula."""
    types = list(kind.columns.values())

    def cell(value: Any, type_: str) -> Any:
        if type_ == "json" and value is not None:
            value = json.dumps(value, ensure_ascii=False)
        if isinstance(value, str) and type_ in ("text", "json") and not is_exact and value.startswith(_FORMULA):
            return f"'{value}"
        return value

    def write(rows: Sequence[Row]) -> str:
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\n")
        writer.writerows(
            [cell(value, type_) for value, type_ in zip(kind.values(row), types, strict=True)] for row in rows
        )
        return target.getvalue()

    return write


def csv_head(kind: Kind) -> str:
    return ",".join(kind.columns) + "\n"


def jsonl_text(rows: Sequence[Row]) -> str:
    """Write each row as one line with one JSON object, whatever a reader takes for the end of a line."""
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    for character in _OTHER_LINE_ENDS:
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# Parquet --------------------------------------------------------------------------------------------------------


def require_parquet() -> Any:
    """Return the library that writes Parquet. Raises AutomonError with the command that installs it."""
    try:
        import pyarrow as pa
    except ImportError:
        raise AutomonError(
            "Parquet needs pyarrow, which is not installed here",
            hint=f"Install it: {sys.executable} -m pip install 'automon[parquet]'   (or take --format jsonl)",
        ) from None
    return pa


def parquet_table(kind: Kind, rows: Sequence[Row]) -> Any:
    """Hold rows by their columns, in a tenth of the memory."""
    pa = require_parquet()
    schema = _parquet_schema(kind)
    columns = [
        pa.array(_converted(type_, [row[name] for row in rows]), type=schema.field(name).type)
        for name, type_ in kind.columns.items()
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_parquet(tables: Sequence[Any], path: Path) -> None:
    """Write tables of one kind as one whole Parquet file."""
    pa = require_parquet()
    from pyarrow import parquet

    parquet.write_table(pa.concat_tables(tables).combine_chunks(), path, compression="zstd")


def join_parquet(kind: Kind, parts: Iterable[Path], target: Path) -> None:
    """Make one file of several, a part at a time."""
    require_parquet()
    from pyarrow import parquet

    with parquet.ParquetWriter(target, _parquet_schema(kind), compression="zstd") as writer:
        for part in parts:
            with parquet.ParquetFile(part) as source:
                for number in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(number))


def _parquet_schema(kind: Kind) -> Any:
    pa = require_parquet()
    types = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "text": pa.string(),
        "json": pa.string(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([(name, types[type_]) for name, type_ in kind.columns.items()])


def _converted(type_: str, values: list[Any]) -> list[Any]:
    convert: Callable[[Any], Any]
    match type_:
        case "time":
            convert = datetime.fromisoformat
        case "json":
            convert = _json_text
        case "number":
            convert = float
        case _:
            return values
    return [None if value is None else convert(value) for value in values]


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
