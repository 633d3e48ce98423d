"""Notices that somebody has edited the config file."""

from __future__ import annotations

from pathlib import Path

from automon.config import FileState

# An editor that is still writing writes on within this time; how often it is looked at, it says by itself.
REST_SECONDS = 1.0
# A file that is gone or empty is mostly about to be written: some editors remove it first, some scripts truncate it.
LONG_REST_SECONDS = 5.0


class ConfigWatch:
    """Compares a file with the one that was judged last. Looking costs one system call, and reads nothing."""

    def __init__(self, path: Path, judged: FileState | None) -> None:
        self._path = path
        self._judged = self._seen = judged
        self._seen_since = 0.0

    def look(self) -> FileState | None:
        return FileState.of(self._path)

    def note_judged(self, file: FileState | None) -> None:
        """Remember that the file was judged as it was then."""
        self._judged = file

    def has_come_to_rest(self, now: float) -> bool:
        """Say whether the file is another than the one judged and has been left alone; `now` in monotonic seconds."""
        file = self.look()
        if file != self._seen:
            self._seen, self._seen_since = file, now
        rest = REST_SECONDS if file and file.size else LONG_REST_SECONDS
        return file != self._judged and now - self._seen_since >= rest
