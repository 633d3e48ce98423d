"""Where rows go, and how an export that was broken off goes on: a small file beside the output says how far it came.

What that file says is never ahead of what the output holds; what the output holds beyond it is cut off and written
again. So nothing is lost and nothing is there twice, however the export ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from automon.cli.export_formats import RowsAsText, join_parquet, parquet_table, write_parquet
from automon.cli.export_kinds import Kind, Row
from automon.errors import AutomonError

SAVE_SECONDS = 1.0
ROWS_OF_A_PART = 100_000

Query = dict[str, Any]


class Output(Protocol):
    """Takes pages of rows. `after` is where to go on; `rows` counts what it holds."""

    after: list[Any] | None
    rows: int

    def write(self, rows: Sequence[Row], after: list[Any]) -> None:
        """Take a page of rows and the position of its last."""

    def finish(self) -> None:
        """Make the output whole; nothing follows."""

    def close(self) -> None:
        """Leave the output as it is, to be gone on with."""


class Progress:
    """The file beside an output. It belongs to one query: another one must not go on where that stopped."""

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f"{output.name}.progress")

    def read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise AutomonError(f"{self.path} cannot be read", hint="Remove it, or begin anew with --force.") from None
        return state

    def save(self, state: dict[str, Any]) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class StreamOutput:
    """Writes text to stdout, for another program; it cannot be gone on with."""

    def __init__(self, head: str, as_text: RowsAsText) -> None:
        self.after: list[Any] | None = None
        self.rows = 0
        self._as_text = as_text
        sys.stdout.write(head)

    def write(self, rows: Sequence[Row], after: list[Any]) -> None:
        sys.stdout.write(self._as_text(rows))
        self.after = after
        self.rows += len(rows)

    def finish(self) -> None:
        sys.stdout.flush()

    def close(self) -> None:
        """Have nothing to keep."""


class TextOutput:
    """Writes text to a file, and goes on with one that was broken off."""

    def __init__(self, path: Path, query: Query, head: str, as_text: RowsAsText) -> None:
        self.after: list[Any] | None = None
        self.rows = 0
        self._query = query
        self._as_text = as_text
        self._progress = Progress(path)
        state = self._progress.read()
        self._file: BinaryIO
        if state is None:
            self._file = path.open("wb")
            self._file.write(head.encode())
            self._save()
        else:
            self._file = _begun(path, state["bytes"])
            self._file.truncate(state["bytes"])
            self._file.seek(state["bytes"])
            self.after, self.rows = state["after"], state["rows"]
        self._saved_at = time.monotonic()

    def write(self, rows: Sequence[Row], after: list[Any]) -> None:
        self._file.write(self._as_text(rows).encode())
        self.after = after
        self.rows += len(rows)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()

    def finish(self) -> None:
        self.close()
        self._progress.remove()

    def close(self) -> None:
        if not self._file.closed:
            self._save()
            self._file.close()

    def _save(self) -> None:
        """Have the rows on the disk first, then the note that they are there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._progress.save({"query": self._query, "after": self.after, "rows": self.rows, "bytes": self._file.tell()})
        self._saved_at = time.monotonic()


def _begun(path: Path, size: int) -> BinaryIO:
    """Open an output that was begun. Raises AutomonError when it does not hold what was noted."""
    if not path.is_file() or path.stat().st_size < size:
        raise AutomonError(f"{path} is gone, or shorter than it was", hint="Begin anew with --force.")
    return path.open("r+b")


class ParquetOutput:
    """Gathers rows to parts, each a whole Parquet file in a folder beside the output, and joins them in the end."""

    def __init__(self, path: Path, query: Query, kind: Kind) -> None:
        self._path = path
        self._kind = kind
        self._query = query
        self._folder = path.with_name(f"{path.name}.parts")
        self._progress = Progress(path)
        self._gathered: list[Any] = []
        self._waiting = 0
        state = self._progress.read() or {"after": None, "rows": 0, "parts": 0}
        self.after: list[Any] | None = state["after"]
        self.rows: int = state["rows"]
        self._parts: int = state["parts"]
        self._folder.mkdir(exist_ok=True)
        self._save()

    def write(self, rows: Sequence[Row], after: list[Any]) -> None:
        self._gathered.append(parquet_table(self._kind, rows))
        self._waiting += len(rows)
        self.after = after
        self.rows += len(rows)
        if self._waiting >= ROWS_OF_A_PART:
            self._write_part()

    def finish(self) -> None:
        self._write_part()
        whole = self._folder / "whole"
        join_parquet(self._kind, map(self._part, range(self._parts)), whole)
        whole.replace(self._path)
        self._progress.remove()
        shutil.rmtree(self._folder)

    def close(self) -> None:
        """Keep the parts that are whole; what is gathered beyond them is asked for again."""

    def _write_part(self) -> None:
        if self._gathered:
            # Under its final name at once: before the note names it, it does not count, and is written anew.
            write_parquet(self._gathered, self._part(self._parts))
            self._parts += 1
            self._gathered, self._waiting = [], 0
            self._save()

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:05}.parquet"

    def _save(self) -> None:
        self._progress.save({"query": self._query, "after": self.after, "rows": self.rows, "parts": self._parts})
