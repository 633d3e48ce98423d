"""What a client is told, in this order: by an argument, by the environment, by default."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"0", "false", "no", "off"})


class Settings(NamedTuple):
    """`spool` is the file; None: facts are never kept on disk."""

    dsn: str | Callable[[], str]
    schema: str
    worker_id: str | None
    durable: bool
    enabled: bool
    spool: Path | None


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


def _spool(dsn: str | Callable[[], str], schema: str, *, spool: str | os.PathLike[str] | bool | None) -> Path | None:
    told = os.environ.get("AUTOMON_SPOOL", "").strip()
    if spool is None:
        spool = told.lower() not in NO
    if isinstance(spool, bool):
        if not spool:
            return None
        folder = told if told.lower() not in YES | NO else ""
        state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
        return Path(folder or Path(state, "automon")) / _file_name(dsn, schema)
    return Path(spool)


def _file_name(dsn: str | Callable[[], str], schema: str) -> str:
    """Name a file for a database. The password plays no part in it: it changes, and facts wait for the same database still."""
    import hashlib
    import re

    target = re.sub(r"(?<=:)[^:@/]*(?=@)|(?<=password=)('[^']*'|[^\s&]*)", "", str(dsn() if callable(dsn) else dsn))
    return hashlib.sha256(f"{target}\n{schema}".encode("utf-8", "replace")).hexdigest()[:12] + ".sqlite3"


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in YES
