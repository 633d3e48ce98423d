"""What can be seen of a file without reading it: whether it is another one now, whose it is, and since when."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """The identity, size and times of a file, in nanoseconds, and the number of its owner.

    `status_ns` moves with every change, also of a file whose older time was restored, and when it becomes readable.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    status_ns: int
    owner: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Look at what the path leads to, behind all links; None when that cannot be seen."""
        try:
            return cls.from_stat(path.stat())
        except (OSError, ValueError):
            return None

    @classmethod
    def from_stat(cls, found: os.stat_result) -> Self:
        return cls(
            device=found.st_dev,
            inode=found.st_ino,
            size=found.st_size,
            modified_ns=found.st_mtime_ns,
            status_ns=found.st_ctime_ns,
            owner=found.st_uid,
        )

    @property
    def modified_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.modified_ns // 1000)
