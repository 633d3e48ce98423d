"""What was judged of a config file, kept until the database knows of it."""

from __future__ import annotations

import pwd
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from automon.config import Change, Config, FileState
from automon.errors import AutomonError, ConfigError, Problem
from automon.secrets import scrub

MOST_KEPT = 100  # edits while the database is away; beyond that the oldest are forgotten

Document = dict[str, Any]


class Noticed(StrEnum):
    """By what the service came to read its config file."""

    START = "start"
    WATCH = "watch"
    RELOAD = "reload"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judgement:
    """What was judged of a file. Accepted: `config`, and what it changes (None: nobody knows here). Rejected: `problems`."""

    at: datetime
    noticed: Noticed
    file: FileState | None
    config: Config | None = None
    changes: Sequence[Change] | None = None
    problems: Sequence[Problem] = ()

    def to_document(self) -> Document:
        """Write it as `record_config_judgements` takes it, without any secret."""
        return {
            "at": self.at.isoformat(),
            "noticed_by": self.noticed,
            "actor": owner_of(self.file),
            "file_changed_at": self.file.modified_at.isoformat() if self.file else None,
            **(self._rejection() if self.config is None else self._acceptance(self.config)),
        }

    def _rejection(self) -> Document:
        return {"problems": [_problem_document(problem) for problem in self.problems]}

    def _acceptance(self, config: Config) -> Document:
        entries = {
            storable(key): _scrubbed({"value": entry.value, "line": entry.line})
            for key, entry in config.entries.items()
        }
        if self.changes is None:
            return {"entries": entries}
        keys = ("key", "old", "new", "line")
        changes = [_scrubbed({key: getattr(change, key) for key in keys}) for change in self.changes]
        return {"entries": entries, "changes": changes}


def _problem_document(problem: Problem) -> Document:
    keys = ("line", "column", "key", "message", "allowed")
    document = _scrubbed({key: getattr(problem, key) for key in keys})
    # What is wrong with the file as a whole has no place in it.
    is_whole = (problem.line, problem.column, problem.key) == (1, 1, "")
    return document | {"line": None, "column": None} if is_whole else document


def _scrubbed(values: Mapping[str, object]) -> Document:
    return {key: storable(value) if isinstance(value, str) else value for key, value in values.items()}


def storable(text: str) -> str:
    """Take out what the database cannot keep, and what nobody shall read."""
    return scrub(text).replace("\0", "")


def owner_of(file: FileState | None) -> str:
    """Name the owner of a file as the system does, or by number; empty for a file that is not there."""
    if file is None:
        return ""
    try:
        return pwd.getpwuid(file.owner).pw_name
    except KeyError:
        return str(file.owner)


def problems_of(error: AutomonError, path: Path) -> list[Problem]:
    """Say what is wrong with a file; what has no place in it stands in front of it."""
    if isinstance(error, ConfigError):
        return error.problems
    return [Problem(file=str(path), line=1, column=1, key="", message=error.message, allowed=error.hint)]


class Judgements:
    """What the database has not been told yet, oldest first. Any thread may add; one tells."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Judgement] = []

    def add(self, judgement: Judgement) -> None:
        with self._lock:
            self._kept = [*self._kept, judgement][-MOST_KEPT:]

    def drop(self, config: Config) -> None:
        """Forget that a config was accepted."""
        with self._lock:
            self._kept = [judgement for judgement in self._kept if judgement.config is not config]

    def clear(self) -> None:
        with self._lock:
            self._kept = []

    def tell(self, record: Callable[[list[Document]], object]) -> None:
        """Have all of it recorded, and forget it then; what `record` raises leaves everything as it is."""
        with self._lock:
            told = self._kept
        if told:
            record([judgement.to_document() for judgement in told])
        with self._lock:
            self._kept = [judgement for judgement in self._kept if judgement not in told]
