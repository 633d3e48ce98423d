"""What the command line shows of the configuration: what is in force and what set it, what changed, what drifted. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from automon.cli.text import cells, clock, cut, padded, printable
from automon.config import Config
from automon.config.load import EVERY_SOURCE
from automon.config.problems import spell
from automon.config.settings import ALERT_TYPES, IN_DATABASE
from automon.config.types import plain
from automon.models import Severity

Document = dict[str, Any]
# An alert type, a source, a level.
Place = tuple[str, str, str]

LEVELS = tuple(str(severity) for severity in Severity)
KEYS = {alert_type: key for key, alert_type in ALERT_TYPES.items()}
LONGEST_VALUE = 32
OFF = "off"
# What can be said of a source of a kind.
OF_KIND = {
    "component": ("error_rate", "critical_errors", "response_time", "component_silence", "component_health"),
    "task type": ("failure_rate", "processing_time", "running_time"),
    "queue": ("queue_backlog", "queue_silence"),
    "host": ("host_cpu", "host_memory", "host_disk", "host_silence"),
}
EVERY_TYPE = tuple(alert_type for types in OF_KIND.values() for alert_type in types)
FIELDS = ("key", "value", "origin", "line", "file_value", "changed_by", "changed_at")
NOTICED = {"start": "at a start", "watch": "by the watch", "reload": "at a reload"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is in force for a key. `origin`: the file (`line`), default, database (by SQL), or older: the file as it was loaded."""

    key: str
    value: str
    origin: str
    line: int | None = None
    file_value: str | None = None
    changed_by: str | None = None
    changed_at: str | None = None


# What is in force --------------------------------------------------------------------------------------------------


def settings_in_force(config: Config, state: Document | None) -> list[Setting]:
    """List everything that the file or its defaults say, with what the database has otherwise. `state` None: it was not asked."""
    found = _otherwise(config, state)
    settings = [
        found.pop(key) if key in found else _of_file(config, key, entry.value) for key, entry in config.entries.items()
    ]
    return [*settings, *found.values()]


def levels_in_force(config: Config, state: Document | None, source: str, kinds: Sequence[str]) -> list[Setting]:
    """List the levels that the values of a source are judged by, and what set each: its override, what all have, a default."""
    found = _otherwise(config, state)
    types = [alert_type for kind in kinds for alert_type in OF_KIND[kind]] or EVERY_TYPE
    with_own = {(row["alert_type"], row["source"]) for row in (state["thresholds"] if state else ())}
    with_own |= {(row.alert_type, row.source) for row in config.threshold_rows()}
    return [
        setting
        for alert_type in types
        for setting in _levels_of(config, found, alert_type, source, has_own=(alert_type, source) in with_own)
    ]


def _levels_of(
    config: Config, found: Mapping[str, Setting], alert_type: str, source: str, *, has_own: bool
) -> Iterator[Setting]:
    if alert_type not in KEYS:
        states = [setting for key, setting in found.items() if key.startswith("component_health.")]
        keys = (key for key in config.entries if key.startswith("component_health."))
        yield from [*(_of_file(config, key, config.entries[key].value) for key in keys), *states]
        return
    rows = {row.source: row for row in config.threshold_rows() if row.alert_type == alert_type}
    row = rows.get(source, rows[EVERY_SOURCE])
    levels = [
        _level(config, found, (alert_type, source, level), getattr(row, level), has_own=has_own) for level in LEVELS
    ]
    used = [level for level in levels if level.value != "null"]
    yield from used or [_of_file(config, spell(("alert_thresholds", KEYS[alert_type])), OFF)]


def _level(
    config: Config, found: Mapping[str, Setting], place: Place, value: float | None, *, has_own: bool
) -> Setting:
    alert_type, _, level = place
    own, everyones = file_key(place), file_key((alert_type, EVERY_SOURCE, level))
    otherwise = found.get(own) if has_own else found.get(everyones)
    return otherwise or _of_file(config, own if own in config.lines else everyones, _number(value))


def _of_file(config: Config, key: str, value: str) -> Setting:
    line = config.lines.get(key)
    return Setting(key=key, value=value, origin="file" if line else "default", line=line)


def file_key(place: Place) -> str:
    """Write the key of the file that a threshold of the database comes from."""
    alert_type, source, level = place
    if alert_type not in KEYS:
        return f"component_health.{level}"
    if source == EVERY_SOURCE:
        return spell(("alert_thresholds", KEYS[alert_type], level))
    return spell(("overrides", KEYS[alert_type], source, level))


def _otherwise(config: Config, state: Document | None) -> dict[str, Setting]:
    """Find what the database has otherwise than the file: changed by SQL, or an edit that no service has loaded yet."""
    if state is None or state["synced_at"] is None:
        return {}
    drift = {_drift_key(row): row for row in state["drift"]}
    return {
        key: _drifted(key, in_force, drift[key], config) if key in drift else _older(key, in_force, config)
        for key, in_file, in_force in [*_thresholds(config, state), *_numbers(config, state)]
        if in_file != in_force
    }


def _drift_key(row: Document) -> str:
    if row["kind"] == "setting":
        return IN_DATABASE[row["name"]][0] if row["name"] in IN_DATABASE else row["name"]
    return file_key((row["name"], row["source"], row["level"]))


def _drifted(key: str, value: str, row: Document, config: Config) -> Setting:
    return Setting(
        key=key, value=value, origin="database", line=config.lines.get(key), file_value=_in_file(config, key),
        changed_by=row["changed_by"], changed_at=row["changed_at"],
    )  # fmt: skip


def _older(key: str, value: str, config: Config) -> Setting:
    return Setting(key=key, value=value, origin="older", line=config.lines.get(key), file_value=_in_file(config, key))


def _in_file(config: Config, key: str) -> str | None:
    return config.entries[key].value if key in config.entries else None


def _thresholds(config: Config, state: Document) -> Iterator[tuple[str, str, str]]:
    """Pair each level of the file with that of the database. A source without a row of its own has the levels of all."""
    in_file = {(row.alert_type, row.source): asdict(row) for row in config.threshold_rows()}
    in_force = {(row["alert_type"], row["source"]): row for row in state["thresholds"]}
    for alert_type, source in dict.fromkeys([*in_file, *in_force]):
        ours = in_file.get((alert_type, source)) or in_file.get((alert_type, EVERY_SOURCE), {})
        theirs = in_force.get((alert_type, source)) or in_force.get((alert_type, EVERY_SOURCE), {})
        for level in LEVELS:
            yield file_key((alert_type, source, level)), _number(ours.get(level)), _number(theirs.get(level))


def _numbers(config: Config, state: Document) -> Iterator[tuple[str, str, str]]:
    in_file = config.settings_rows()
    for name, (key, factor) in IN_DATABASE.items():
        yield key, _number(in_file[name] / factor), _number(state["settings"][name] / factor)


def _number(value: float | None) -> str:
    return "null" if value is None else plain(value)


def setting_lines(settings: Sequence[Setting], config: Config, now: datetime) -> list[str]:
    """Write one line a setting: key, value, what set it."""
    rows = [
        (printable(setting.key), cut(setting.value, LONGEST_VALUE), _set_by(setting, config, now))
        for setting in settings
    ]
    return _columns(rows)


def _set_by(setting: Setting, config: Config, now: datetime) -> str:
    place = f"{config.path.name}:{setting.line}" if setting.line else config.path.name
    match setting.origin:
        case "default":
            return "default"
        case "file":
            return place
        case "older":
            return f"not loaded yet: {place} says {setting.file_value or 'nothing'}"
        case _:
            return f"database ({_set_in_words(setting.changed_by, setting.changed_at, now)}); {place} says {setting.file_value or 'nothing'}"


def _set_in_words(by: str | None, at: str | None, now: datetime) -> str:
    who = f"set by {cut(by, 24)}" if by else "set by SQL"
    return f"{who} {clock(at, now)}" if at else who


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(cells, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return ["  ".join([*map(padded, row, widths), row[-1]]) for row in rows]


def settings_document(settings: Iterable[Setting]) -> list[Document]:
    return [asdict(setting) for setting in settings]


# Drift -------------------------------------------------------------------------------------------------------------


def drift_lines(drift: Sequence[Document], now: datetime) -> list[str]:
    """Write one line for each value that SQL has changed past the file."""
    return _columns([
        (
            printable(_drift_key(row)),
            f"file {_number(row['file_value'])}",
            f"in force {_number(row['database_value'])}",
            _set_in_words(row["changed_by"], _iso(row["changed_at"]), now),
        )
        for row in _in_units_of_the_file(drift)
    ])  # fmt: skip


def _in_units_of_the_file(drift: Sequence[Document]) -> Iterator[Document]:
    for row in drift:
        _, factor = IN_DATABASE.get(row["name"], ("", 1)) if row["kind"] == "setting" else ("", 1)
        yield row | {
            name: None if row[name] is None else row[name] / factor for name in ("file_value", "database_value")
        }


def _iso(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


# History -----------------------------------------------------------------------------------------------------------


def history_lines(changes: Sequence[Document], now: datetime) -> list[str]:
    return [line for change in changes for line in (_heading(change, now), *_details(change))]


def history_records(changes: Sequence[Document]) -> Iterator[Sequence[object]]:
    """Give a record for each value that changed and each mistake, with what they belong to in front."""
    for change in changes:
        heading = (
            change["at"].isoformat(),
            change["noticed_by"],
            change["outcome"],
            change["actor"],
            change["host"],
            change["path"],
        )
        for one in change["changes"]:
            yield *heading, one["key"], one["old"], one["new"], one.get("line")
        for problem in change["problems"]:
            yield *heading, problem["key"], problem["message"], problem["allowed"], problem["line"]
        if not change["changes"] and not change["problems"]:
            yield heading


def _heading(change: Document, now: datetime) -> str:
    at = clock(change["at"].isoformat(), now)
    actor = cut(change["actor"], 24)
    match change["noticed_by"]:
        case "sql":
            return f"{at}  by SQL    {actor}"
        case "sync":
            return f"{at}  put back  {actor}: what SQL had changed is again as the file says"
    written = change["file_changed_at"]
    of = f", owner {actor}, written {clock(written.isoformat(), now)}" if written else ""
    how = NOTICED[change["noticed_by"]]
    return f"{at}  {change['outcome']}  {cut(change['host'], 24)} {how}: {printable(change['path'])}{of}"


def _details(change: Document) -> Iterator[str]:
    for one in change["changes"]:
        where = f" (line {one['line']})" if one.get("line") else ""
        yield f"  {printable(one['key'])}: {_told(one['old'])} -> {_told(one['new'])}{where}"
    for problem in change["problems"]:
        where = f"line {problem['line']}:{problem['column']}: " if problem.get("line") else ""
        key = f"{problem['key']}: " if problem["key"] else ""
        allowed = f" ({problem['allowed']})" if problem["allowed"] else ""
        yield printable(f"  {where}{key}{problem['message']}{allowed}")


def _told(value: object) -> str:
    match value:
        case None:
            return "null"
        case int() | float():
            return plain(value)
        case _:
            return cut(str(value), LONGEST_VALUE)
