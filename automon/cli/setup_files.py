"""The two files that `automon setup` writes: the config, of which single values change, and the secrets beside it."""

from __future__ import annotations

import difflib
import grp
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from automon.config import Config, jsonc, load_config
from automon.config.edit import with_value, without_value
from automon.env_file import read_variables, with_variables
from automon.errors import AutomonError, ConfigError
from automon.places import SCHEMA_NAME, SYSTEM_CONFIG, service_environment, shipped_config, shipped_schema
from automon.secrets import Secret, resolve, scrub

GROUP = "automon"
CONFIG_MODE = 0o644
NEW_SECRETS = """\
# The secrets of automon, one NAME=value on a line. monitoring_config.json refers to them as "$env:NAME".
# Keep this file to yourself. A change takes effect when the service is started again.
"""

Keys = tuple[str, ...]


@dataclass(kw_only=True)
class Draft:
    """What the files are to hold. `text` is the config's; `variables` are those that the secrets file gets."""

    config_path: Path
    environment_path: Path
    text: str
    variables: dict[str, str] = field(default_factory=dict)
    old_text: str | None = None
    old_variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_what_is_there(cls, config_path: Path, environment_path: Path) -> Draft:
        """Begin with the files as they are, with the config as shipped where there is none. Raises ConfigError."""
        old = config_path.read_text(encoding="utf-8-sig") if config_path.exists() else None
        found = environment_path.read_text(encoding="utf-8") if environment_path.exists() else ""
        draft = cls(
            config_path=config_path,
            environment_path=environment_path,
            text=shipped_config() if old is None else old,
            old_text=old,
            old_variables=read_variables(found),
        )
        if old is not None:
            load_config(config_path, draft.environment(os.environ))
        return draft

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what the service will find in its environment."""
        return service_environment(environ, self.environment_path) | self.variables

    # What is there -----------------------------------------------------------------------------------------------

    def value(self, path: Keys) -> Any:
        """Return the value at a path of the config; None when there is none."""
        value: Any = jsonc.loads(self.text)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def secret(self, path: Keys, default: str) -> str:
        """Return the secret that the config names there, by default in that variable; empty when it is not to be had."""
        reference = self.value(path) or f"$env:{default}"
        found = resolve(reference, self.environment(os.environ))
        return found.reveal() if isinstance(found, Secret) else ""

    def channel_of_type(self, kind: str) -> str:
        """Return the name of the first channel of that type; the type itself when there is none."""
        channels = self.value(("channels",)) or {}
        names = [
            name for name, section in channels.items() if isinstance(section, dict) and section.get("type") == kind
        ]
        return kind if kind in names or not names else names[0]

    # What changes ------------------------------------------------------------------------------------------------

    def put(self, path: Keys, value: Any) -> None:
        if self.value(path) != value:
            self.text = with_value(self.text, path, value)

    def put_secret(self, path: Keys, default: str, secret: str) -> None:
        """Put a secret into the variable that the config names there; one that it takes from elsewhere moves into one."""
        reference = self.value(path)
        named = str(reference).removeprefix("$env:") if str(reference).startswith("$env:") else default
        self.put(path, f"$env:{named}")
        self.keep_secret(named, secret)

    def keep_secret(self, name: str, secret: str) -> None:
        """Put a secret into the file of secrets, unless it is there."""
        if self.old_variables.get(name) != secret:
            self.variables[name] = secret

    def put_section(self, path: Keys, section: dict[str, Any]) -> None:
        """Make an object hold these entries and no others; comments within it stay."""
        old = self.value(path)
        if old == section:
            return
        if old is None or not _has_comments(self.text, path):
            self.text = with_value(self.text, path, section)
            return
        for key in old.keys() - section.keys():
            self.text = without_value(self.text, (*path, key))
        for key, value in section.items():
            self.put((*path, key), value)

    @property
    def changes(self) -> list[str]:
        """Say line by line what will be written, without any secret."""
        return [*self._changes_of_config(), *self._changes_of_secrets()]

    def _changes_of_config(self) -> Iterator[str]:
        before = self.old_text
        if before is None:
            yield f"{self.config_path}: new, as shipped"
            before = shipped_config()
        elif before != self.text:
            yield f"{self.config_path}:"
        for line in difflib.unified_diff(before.splitlines(), self.text.splitlines(), n=0, lineterm=""):
            if line[:1] in "+-" and line[:3] not in ("+++", "---"):
                yield f"  {scrub(line)}"

    def _changes_of_secrets(self) -> Iterator[str]:
        if self.variables:
            yield f"{self.environment_path}:"
        for name in self.variables:
            yield f"  + {name}=<secret>{' (was another)' if name in self.old_variables else ''}"

    # Writing -----------------------------------------------------------------------------------------------------

    def check(self) -> Config:
        """Load what would be written, and raise ConfigError when it is not right."""
        path = self._beside(self.config_path, "check")
        try:
            _write_new(path, self.text, 0o600, None)
            return load_config(path, self.environment(os.environ))
        except ConfigError as error:
            raise AutomonError(
                f"what was asked for makes no right config:\n{error.message}", hint="Nothing was changed."
            ) from None
        finally:
            path.unlink(missing_ok=True)

    def write(self) -> None:
        """Write both files, each all of it or nothing. Raises AutomonError where this user may not."""
        self.check()
        drafts: list[tuple[Path, Path]] = []
        try:
            if self.variables:
                is_there = self.environment_path.exists()
                old = self.environment_path.read_text(encoding="utf-8") if is_there else NEW_SECRETS
                drafts.append(
                    self._prepare(self.environment_path, with_variables(old, self.variables), self._secret_mode())
                )
            if self.text != self.old_text:
                drafts.append(self._prepare(self.config_path, self.text, CONFIG_MODE))
            schema = self.config_path.with_name(SCHEMA_NAME)
            if self.old_text is None and not schema.exists():
                drafts.append(self._prepare(schema, shipped_schema(), CONFIG_MODE))
            # The secrets first: a config that refers to them is never there without them.
            for new, path in drafts:
                new.replace(path)
        except OSError as error:
            raise AutomonError(f"{error.filename}: {error.strerror}", hint=writing_hint(self.config_path)) from None
        finally:
            for new, _ in drafts:
                new.unlink(missing_ok=True)
        self.old_text = self.text
        self.old_variables |= self.variables

    def _prepare(self, path: Path, text: str, mode: int) -> tuple[Path, Path]:
        target = path.resolve()
        new = self._beside(target, "new")
        found = target.stat() if target.exists() else None
        # A file that is there keeps its owner; what others may do with it is never more than before.
        mode = mode if found is None else found.st_mode & 0o777 & (mode if mode != CONFIG_MODE else 0o777)
        owner = (found.st_uid, found.st_gid) if found else (-1, _group_of_secrets(path) if mode == 0o640 else -1)
        _write_new(new, text, mode, owner)
        return new, target

    def _secret_mode(self) -> int:
        """Say who may read the secrets: this user, and where the service has a user of its own, its group."""
        return 0o640 if _group_of_secrets(self.environment_path) != -1 or self.environment_path.exists() else 0o600

    @staticmethod
    def _beside(path: Path, what: str) -> Path:
        return path.with_name(f".{path.name}.{what}-{os.getpid()}")


def _group_of_secrets(path: Path) -> int:
    """Return the number of the service's group, for a file that lies where the service looks; else -1, which leaves it."""
    if path.parent != SYSTEM_CONFIG.parent or os.geteuid() != 0:
        return -1
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return -1


def _write_new(path: Path, text: str, mode: int, owner: tuple[int, int] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if owner is not None and os.geteuid() == 0:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _has_comments(text: str, path: Keys) -> bool:
    document = jsonc.parse(text)
    start = document.value_offsets[path]
    try:
        json.loads(text[start : jsonc.end_of_value(text, start)])
    except ValueError:
        return True
    return False


def require_writable(paths: Sequence[Path]) -> None:
    """Raise AutomonError now, and not after all questions, where this user may not write."""
    for path in paths:
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise AutomonError(f"{path} may not be written by this user", hint=writing_hint(path))


def writing_hint(path: Path) -> str:
    if path.parent == SYSTEM_CONFIG.parent:
        return "The service of this machine is set up by root: sudo automon setup"
    return "Choose a place of your own: automon setup --config PATH"
