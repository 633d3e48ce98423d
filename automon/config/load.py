"""Load `monitoring_config.json` and answer what the rest of the program asks about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from automon.config import jsonc
from automon.config.channels import ChannelConfig
from automon.config.http import ListenAddress
from automon.config.ping import PingConfig
from automon.config.problems import find_mistakes, problem_of, repeated_keys, spell
from automon.config.settings import ALERT_TYPES, DatabaseSettings, FileSettings, SourceGuidance, TypeGuidance
from automon.config.types import plain
from automon.errors import ConfigError, Problem
from automon.models import Guidance, Severity
from automon.secrets import Secret, Unavailable

EVERY_SOURCE = "*"

_ABSENT = Unavailable("not there")


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
        settings = self.settings
        retention = settings.retention
        return {
            "failure_rate.min_tasks": settings.alerts.failure_rate_min_tasks,
            "alerts.resolve_after_seconds": settings.alerts.resolve_after_minutes * 60,
            "alerts.remind_after_seconds": settings.alerts.remind_after_minutes * 60,
            "alerts.blind_after_seconds": settings.alerts.blind_after_minutes * 60,
            "delivery.messages_per_cause": settings.alerts.messages_per_cause,
            "delivery.messages_at_once": settings.alerts.messages_at_once,
            "retention.processing_days": retention.processing_days,
            "retention.errors_low_days": retention.errors_days.low,
            "retention.errors_medium_days": retention.errors_days.medium,
            "retention.errors_high_days": retention.errors_days.high,
            "retention.errors_critical_days": retention.errors_days.critical,
            "retention.performance_days": retention.performance_days,
            "retention.queue_days": retention.queue_days,
            "retention.host_days": retention.host_days,
            "retention.health_days": retention.health_days,
            "retention.resolved_alerts_days": retention.resolved_alerts_days,
            "retention.job_runs_days": retention.job_runs_days,
            "retention.rollups_days": retention.rollups_days,
            "schedule.alert_checks_seconds": settings.schedule.alert_checks_seconds,
            "schedule.fast_checks_seconds": settings.schedule.fast_checks_seconds,
            "schedule.self_check_seconds": settings.schedule.self_check_seconds,
        }

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

    def diff(self, other: Config) -> list[str]:
        """Say which keys `other` changes, as `alert_thresholds.error_rates.low: 25 -> 20`; never shows a secret."""
        old, new = self._values(other), other._values(self)
        keys = [key for key in old | new if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
        return [_change(key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in keys]

    def _values(self, other: Config) -> dict[str, Any]:
        """Return what is in force, by key; a channel that `other` does not have is shown by its type alone."""
        values = dict(_leaves(self.settings))
        for name in self.settings.channels.keys() - other.settings.channels.keys():
            path = ("channels", name)
            for key, _ in list(_leaves(self.settings.channels[name], path)):
                del values[key]
            values[spell(path)] = self.settings.channels[name].type
        return values


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and check the file; secrets are fetched from `environ`, files and credentials.

    Raises ConfigError with every mistake in the file.
    """
    file = str(path)
    document = _parse(_read(path), file)
    settings, mistakes = find_mistakes(document.value, environ)
    problems = [*repeated_keys(document, file), *(problem_of(mistake, document, file) for mistake in mistakes)]
    if problems or settings is None:
        raise ConfigError(problems)
    return Config(path=path, settings=settings)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _file_error(path, "there is no such file") from None
    except OSError as error:
        raise _file_error(path, f"the file cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
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


def _change(key: str, old: Any, new: Any) -> str:
    if isinstance(old, Secret) and isinstance(new, Secret):
        return f"{key}: {old} -> another {new}"
    return f"{key}: {_show(old)} -> {_show(new)}"


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
