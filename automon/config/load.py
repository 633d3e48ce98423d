"""Load `monitoring_config.json` and answer what the rest of the program asks about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time, timedelta
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from zoneinfo import ZoneInfo

from automon.config import jsonc
from automon.config.channels import ChannelConfig
from automon.config.entries import Change, Entry, differences, entries_of, lines_of, references_of
from automon.config.file_state import FileState
from automon.config.http import ListenAddress
from automon.config.ping import PingConfig
from automon.config.problems import find_mistakes, problem_of, repeated_keys
from automon.config.settings import (
    ALERT_TYPES,
    IN_DATABASE,
    DatabaseSettings,
    FileSettings,
    SourceGuidance,
    TypeGuidance,
)
from automon.errors import ConfigError, Problem
from automon.models import Guidance, Severity

EVERY_SOURCE = "*"

MOST_BYTES = 1 << 20  # thousands of overrides; the shipped file has 7 kB


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdRow:
    """The levels of one alert type for one source (`*`: every other source). None: the level is not used."""

    alert_type: str
    source: str
    low: float | None
    medium: float | None
    high: float | None
    critical: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What runs when; `cleanup_at` is in `timezone`."""

    alert_checks: timedelta
    fast_checks: timedelta
    host_sampling: timedelta
    self_check: timedelta
    cleanup_at: time
    timezone: ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Config:
    """A config file that was read and found right."""

    path: Path
    settings: FileSettings
    lines: Mapping[str, int]
    """Of each key that the file has, its line."""
    references: Mapping[str, str]
    """Of each secret of the file, where it comes from."""
    file: FileState
    """The file that was read, as it was then."""

    @property
    def database(self) -> DatabaseSettings:
        return self.settings.database

    @property
    def schedule(self) -> Schedule:
        section = self.settings.schedule
        return Schedule(
            alert_checks=timedelta(seconds=section.alert_checks_seconds),
            fast_checks=timedelta(seconds=section.fast_checks_seconds),
            host_sampling=timedelta(seconds=section.host_sampling_seconds),
            self_check=timedelta(seconds=section.self_check_seconds),
            cleanup_at=section.cleanup_at,
            timezone=section.timezone,
        )

    @cached_property
    def channels(self) -> tuple[ChannelConfig, ...]:
        """Every channel in the order of the file, the inactive ones too. The journal stands in for an inactive fallback."""
        channels = [section.channel(name) for name, section in self.settings.channels.items()]
        active = {channel.name for channel in channels if channel.active}
        return tuple(channel if channel.fallback in active else replace(channel, fallback=None) for channel in channels)

    @property
    def active_channels(self) -> tuple[ChannelConfig, ...]:
        return tuple(channel for channel in self.channels if channel.active)

    @cached_property
    def ping(self) -> PingConfig:
        return self.settings.ping.ping()

    @property
    def listen_address(self) -> ListenAddress | None:
        """Where metrics and health are answered; None: nowhere."""
        return self.settings.http.address()

    def describe_channels(self) -> list[str]:
        """Say for each channel in one line whether it is on, or why not."""
        return [channel.describe() for channel in self.channels]

    def threshold_rows(self) -> list[ThresholdRow]:
        """Return the levels of every alert type and of every source that has its own, inherited ones filled in."""
        rows = []
        for key, alert_type in ALERT_TYPES.items():
            defaults = getattr(self.settings.alert_thresholds, key)
            rows.append(ThresholdRow(alert_type=alert_type, source=EVERY_SOURCE, **defaults.values()))
            for source, levels in getattr(self.settings.overrides, key).items():
                rows.append(ThresholdRow(alert_type=alert_type, source=source, **levels.over(defaults)))
        return [*rows, self._component_health_row()]

    def _component_health_row(self) -> ThresholdRow:
        """Return the severities of reported states as thresholds, as the database has it: 1 degraded, 2 unhealthy."""
        states = self.settings.component_health
        levels: dict[str, float | None] = dict.fromkeys(Severity, None)
        if states.unhealthy:
            levels[states.unhealthy] = 2
        if states.degraded:
            levels[states.degraded] = 1
        return ThresholdRow(alert_type="component_health", source=EVERY_SOURCE, **levels)

    def settings_rows(self) -> dict[str, float]:
        """Return the numbers that the database works with."""
        values = ((name, attrgetter(key)(self.settings) * factor) for name, (key, factor) in IN_DATABASE.items())
        return dict(values)

    def guidance_for(self, alert_type: str, source: str) -> Guidance:
        """Return what messages say beside the numbers; what the source leaves out is taken from the type."""
        keys = {alert_type: key for key, alert_type in ALERT_TYPES.items()} | {"component_health": "component_health"}
        general = getattr(self.settings.guidance, keys.get(alert_type, ""), TypeGuidance())
        special = general.sources.get(source, SourceGuidance())
        return Guidance(
            impact=_first(special.impact, general.impact),
            next_step=_first(special.next, general.next),
            runbook=_first(special.runbook, general.runbook),
        )

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """What is in force, by key, and the line that sets it."""
        return entries_of(self)

    def diff(self, other: Config) -> list[Change]:
        """Say which keys `other` changes, as `alert_thresholds.error_rates.low: 25 -> 20 (line 7)`; never shows a secret."""
        return differences(self, other)


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check the file; secrets are fetched from `environ`, files and credentials.

    Raises ConfigError with every mistake in the file.
    """
    name = str(path)
    text, file = _read(path)
    document = _parse(text, name)
    settings, mistakes = find_mistakes(document.value, environ)
    problems = [*repeated_keys(document, name), *(problem_of(mistake, document, name) for mistake in mistakes)]
    if problems or settings is None:
        raise ConfigError(problems)
    return Config(path=path, settings=settings, lines=lines_of(document), references=references_of(document), file=file)


def load_database_part(path: Path, environ: Mapping[str, str], *, without_text: bool = False) -> Config:
    """Read what a file with mistakes says of its database, with the defaults for all else.

    `without_text`: take the defaults for the database, too, when the file is no JSON. Raises ConfigError for mistakes
    that leave the database open.
    """
    text, file = _read(path)
    try:
        raw = _parse(text, str(path)).value
    except ConfigError:
        if not without_text:
            raise
        raw = {}
    part = {"database": raw["database"]} if isinstance(raw, dict) and "database" in raw else {}
    settings, mistakes = find_mistakes(part, environ)
    if mistakes or settings is None:
        return load_config(path, environ)  # which says them with their places
    return Config(path=path, settings=settings, lines={}, references={}, file=file)


def _read(path: Path) -> tuple[str, FileState]:
    try:
        with path.open("rb") as opened:
            # Before it is read: whoever writes to it meanwhile makes another file of it.
            file = FileState.from_stat(os.fstat(opened.fileno()))
            content = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _file_error(path, "there is no such file") from None
    except OSError as error:
        raise _file_error(path, f"the file cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise _file_error(path, f"the file is larger than {MOST_BYTES} bytes")
    try:
        return content.decode("utf-8-sig"), file
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _file_error(path, "this line is not UTF-8 text", line=line) from None


def _file_error(path: Path, message: str, *, line: int = 1) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, column=1, key="", message=message)])


def _parse(text: str, file: str) -> jsonc.Document:
    try:
        return jsonc.parse(text)
    except jsonc.JsoncError as error:
        problem = Problem(file=file, line=error.line, column=error.column, key="", message=error.message)
        raise ConfigError([problem]) from None


def _first(*texts: str | None) -> str:
    return next((text for text in texts if text is not None), "")
