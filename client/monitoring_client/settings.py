"""What a client is told, in this order: by an argument, by the environment, by default."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})


class Settings(NamedTuple):
    """`spool` is the file, or finds it out; None: facts are never kept on disk."""

    dsn: str | Callable[[], str]
    schema: str
    worker_id: str | None
    durable: bool
    enabled: bool
    spool: Path | Callable[[], Path] | None


def read(
    *,
    dsn: str | Callable[[], str] | None,
    schema: str | None,
    worker_id: str | None,
    durable: bool | None,
    enabled: bool | None,
    spool: str | os.PathLike[str] | bool | None,
) -> Settings:
    """Settle what holds. `spool` is a file, True for the usual one, False for none."""
    dsn = dsn or os.environ.get("AUTOMON_DSN", "")
    schema = schema or os.environ.get("AUTOMON_SCHEMA") or "public"
    return Settings(
        dsn=dsn,
        schema=schema,
        worker_id=worker_id or os.environ.get("AUTOMON_WORKER_ID") or None,
        durable=_is_on("AUTOMON_DURABLE") if durable is None else durable,
        enabled=not _is_on("AUTOMON_DISABLED") if enabled is None else enabled,
        spool=_spool(dsn, schema, spool=spool),
    )


def _spool(
    dsn: str | Callable[[], str], schema: str, *, spool: str | os.PathLike[str] | bool | None
) -> Path | Callable[[], Path] | None:
    told = os.environ.get("AUTOMON_SPOOL", "").strip()
    if spool is None:
        spool = told.lower() not in NO
    if isinstance(spool, bool):
        if not spool:
            return None
        folder = told if told and told.lower() not in YES | NO else _usual_folder()
        if not folder:
            return None
        if callable(dsn):
            # It may take its time or fail, which is for the sender to find out, not for who makes a client.
            return lambda: _absolute(Path(folder) / _file_name(dsn(), schema))
        return _absolute(Path(folder) / _file_name(dsn, schema))
    return _absolute(Path(spool))


def _usual_folder() -> str:
    """Answer the folder for spools of this user; none for a user without a home, as containers have."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - Path's raises without a home
    return "" if state.startswith("~") else f"{state}/automon"


def _absolute(path: Path) -> Path:
    """Fix a path to where it is now: a service may go to another folder later."""
    with suppress(OSError):  # the folder that the process is in was deleted
        return path.absolute()
    return path


def _file_name(dsn: str, schema: str) -> str:
    """Name a file for a database. The password plays no part in it: it changes, and facts wait for the same database still."""
    import hashlib
    import re

    target = re.sub(r"(?<=:)[^:@/]*(?=@)|(?<=password=)('[^']*'|[^\s&]*)", "", str(dsn))
    return hashlib.sha256(f"{target}\n{schema}".encode("utf-8", "replace")).hexdigest()[:12] + ".sqlite3"


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in YES
