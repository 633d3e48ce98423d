"""A config as keys and values: where each is set, what two configs differ in, and what may be shown of a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from automon.config.ping import PingSection
from automon.config.problems import spell
from automon.config.settings import DatabaseSettings
from automon.config.types import SECRET_PATTERN, plain
from automon.secrets import MASK, Secret, Unavailable

if TYPE_CHECKING:
    from automon.config.jsonc import Document, Path
    from automon.config.load import Config

_ABSENT = Unavailable("not there")
_REFERENCE = re.compile(SECRET_PATTERN)
_DEFAULT_REFERENCES = {
    "ping.url": PingSection.model_fields["url"].default,
    "database.url": DatabaseSettings.model_fields["url"].default,
    "database.reader_url": DatabaseSettings.model_fields["reader_url"].default,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A key that another config has otherwise. `line`: where the new one has it; None when it has it no more."""

    key: str
    old: str
    new: str
    line: int | None

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"{self.key}: {self.old} -> {self.new}{where}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What is in force for a key, as the file would have it; of a secret only where it comes from. `line` None: the default."""

    value: str
    line: int | None


def lines_of(document: Document) -> dict[str, int]:
    """Give the line of each key of a file."""
    return {spell(path): document.position(offset)[0] for path, offset in document.key_offsets.items()}


def references_of(document: Document) -> dict[str, str]:
    """Give what a file says of where its secrets come from, by key."""
    found = ((path, _value_at(document, path)) for path in document.key_offsets)
    return {
        spell(path): value if not value.startswith("$literal:") else f"$literal:{MASK}"
        for path, value in found
        if isinstance(value, str) and _REFERENCE.match(value)
    }


def _value_at(document: Document, path: Path) -> Any:
    value = document.value
    for part in path:
        value = value[part]
    return value


def entries_of(config: Config) -> dict[str, Entry]:
    """List what is in force, by key; what is left out and means nothing (null by default) is not there."""
    entries = {}
    for key, value in _leaves(config.settings):
        line = config.lines.get(key)
        reference = config.references.get(key) or (None if line else _DEFAULT_REFERENCES.get(key))
        if reference is not None:
            entries[key] = Entry(value=reference if isinstance(value, Secret) else f"{reference} (not set)", line=line)
        elif line or value is not None:
            entries[key] = Entry(value=_show(value), line=line)
    return entries


def differences(old: Config, new: Config) -> list[Change]:
    """Say which keys `new` changes; never shows a secret."""
    before, after = _values(old, new), _values(new, old)
    keys = [key for key in before | after if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    return [_change(key, before.get(key, _ABSENT), after.get(key, _ABSENT), new.lines) for key in keys]


def _values(config: Config, other: Config) -> dict[str, Any]:
    """Return what is in force, by key; a channel that `other` does not have is shown by its type alone."""
    values = dict(_leaves(config.settings))
    for name in config.settings.channels.keys() - other.settings.channels.keys():
        path = ("channels", name)
        for key, _ in list(_leaves(config.settings.channels[name], path)):
            del values[key]
        values[spell(path)] = config.settings.channels[name].type
    return values


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Walk through sections and by-name objects down to the single values."""
    if isinstance(value, BaseModel):
        # A level that an override does not name is inherited, not null.
        names = value.model_fields_set if path[:1] == ("overrides",) else type(value).model_fields
        fields = {
            field.alias or name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if name in names
        }
        yield from _leaves(fields, path)
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif path != ("$schema",):
        yield spell(path), value


def _change(key: str, old: Any, new: Any, lines: Mapping[str, int]) -> Change:
    another = "another " if isinstance(old, Secret) and isinstance(new, Secret) else ""
    line = None if new is _ABSENT else lines.get(key)
    return Change(key=key, old=_show(old), new=f"{another}{_show(new)}", line=line)


def _show(value: Any) -> str:
    """Write a value as the config file has it."""
    match value:
        case Unavailable(reason=reason):
            return reason
        case float():
            return plain(value)
        case frozenset():
            return json.dumps(sorted(value))
        case None | bool() | tuple():
            return json.dumps(value)
        case time():
            return value.strftime("%H:%M")
        case _:
            return str(value)
