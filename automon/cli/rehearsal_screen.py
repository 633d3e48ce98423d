"""What `automon migrate --dry-run` shows. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from notifiers.words import counted

if TYPE_CHECKING:
    from automon.table_locks import Rehearsal, TableLock


def rehearsal_screen(rehearsal: Rehearsal) -> str:
    """Say what a migration would do, after it was done and taken back."""
    if not rehearsal.files:
        return "nothing to do, the schema is up to date"
    locks = [_lock_line(lock) for lock in rehearsal.locks] or ["none that anybody waits for"]
    lines = [
        "dry run, nothing was changed",
        f"from   {rehearsal.from_file or 'nothing'}",
        f"to     {rehearsal.to_file}",
        *_under("files", rehearsal.files),
        f"took   {rehearsal.seconds:.2f} s",
        *_under("locks", locks),
        "The locks, on tables with data, were held for a moment of that time; a migration holds them as long.",
    ]
    return "\n".join(lines)


def _under(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{'' if index else head:<6} {line}" for index, line in enumerate(lines)]


def _lock_line(lock: TableLock) -> str:
    partitions = f" and {counted(lock.relations - 1, 'partition')}" if lock.relations > 1 else ""
    return f"{lock.mode} on {lock.table}{partitions}: {lock.means}"
