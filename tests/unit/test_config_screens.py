"""What `automon config` shows: what is in force and what set it, what drifted, what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import tzset
from typing import Any

import pytest

from automon.cli.config_screens import (
    drift_lines,
    history_lines,
    levels_in_force,
    setting_lines,
    settings_in_force,
)
from automon.config import Config, load_config

NOW = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)
AT = (NOW - timedelta(hours=1)).isoformat()
FILE = {
    "alert_thresholds": {"queue_backlog": {"low": 60, "medium": 100}, "host_cpu": {}},
    "overrides": {"queue_backlog": {"mail": {"low": 10}}},
    "alerts": {"resolve_after_minutes": 2},
    "channels": {
        "ops": {"type": "slack", "optional": True, "webhook_url": "$env:HOOK"},
        "mail": {"type": "apprise", "url": "$literal:json://u:hunter2@h/x"},
    },
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the reader into UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        tzset()
        yield
    tzset()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "monitoring_config.json"
    file.write_text(json.dumps(FILE, indent=1), encoding="utf-8")
    return load_config(file, {})


def state_of(config: Config, **more: Any) -> dict[str, Any]:
    """Give what the database says when it has what the file says, but for what is given."""
    rows = [
        {"alert_type": row.alert_type, "source": row.source, "low": row.low, "medium": row.medium, "high": row.high, "critical": row.critical}
        for row in config.threshold_rows()
    ]  # fmt: skip
    return {"synced_at": AT, "thresholds": rows, "settings": config.settings_rows(), "drift": []} | more


def drifted(
    name: str, level: str | None, was: float | None, now: float | None, source: str | None = "*"
) -> dict[str, Any]:
    kind = "setting" if level is None else "threshold"
    return {
        "kind": kind, "name": name, "source": None if level is None else source, "level": level, "file_value": was, "database_value": now,
        "origin": "sql", "changed_at": AT, "changed_by": "ana",
    }  # fmt: skip


def set_row(state: dict[str, Any], alert_type: str, source: str, **levels: float | None) -> None:
    [row] = [row for row in state["thresholds"] if (row["alert_type"], row["source"]) == (alert_type, source)]
    row.update(levels)


def lines(config: Config, settings: Any) -> dict[str, str]:
    written = (line.split(maxsplit=1) for line in setting_lines(settings, config, NOW))
    return {key: " ".join(rest.split()) for key, rest in written}


def test_each_value_is_shown_with_the_line_that_sets_it_or_as_a_default(config: Config) -> None:
    shown = lines(config, settings_in_force(config, None))

    assert shown["alert_thresholds.queue_backlog.low"] == "60 monitoring_config.json:4"
    assert shown["overrides.queue_backlog.mail.low"] == "10 monitoring_config.json:12"
    assert shown["alert_thresholds.error_rates.low"] == "25 default"
    assert shown["alerts.resolve_after_minutes"] == "2 monitoring_config.json:17"
    assert shown["schedule.timezone"] == "UTC default"


def test_a_secret_is_shown_by_where_it_comes_from(config: Config) -> None:
    shown = lines(config, settings_in_force(config, None))

    assert shown["channels.ops.webhook_url"].startswith("$env:HOOK (not set) ")
    assert shown["channels.mail.url"].startswith("$literal:<secret> ")
    assert shown["database.url"] == "$env:DATABASE_URL (not set) default"
    assert "hunter2" not in str(shown)


def test_a_source_is_shown_with_its_override_and_what_it_inherits(config: Config) -> None:
    assert lines(config, levels_in_force(config, state_of(config), "mail", ["queue"])) == {
        "overrides.queue_backlog.mail.low": "10 monitoring_config.json:12",
        "alert_thresholds.queue_backlog.medium": "100 monitoring_config.json:5",
        "alert_thresholds.queue_silence.medium": "900 default",
        "alert_thresholds.queue_silence.high": "3600 default",
    }


def test_a_check_that_is_switched_off_says_so(config: Config) -> None:
    shown = lines(config, levels_in_force(config, None, "ops-1", ["host"]))

    assert shown["alert_thresholds.host_cpu"] == "off monitoring_config.json:7"


def test_a_source_that_nobody_knows_is_shown_with_all_that_could_concern_it(config: Config) -> None:
    shown = lines(config, levels_in_force(config, None, "new", []))

    assert {"component_health.degraded", "alert_thresholds.running_times.low", "alert_thresholds.host_disk.low"} <= set(
        shown
    )


def test_what_sql_has_changed_is_shown_as_it_is_in_force_with_who_did_it(config: Config) -> None:
    state = state_of(
        config, drift=[drifted("queue_backlog", "low", 60, 5), drifted("alerts.resolve_after_seconds", None, 120, 600)]
    )
    set_row(state, "queue_backlog", "*", low=5)
    state["settings"]["alerts.resolve_after_seconds"] = 600

    shown = lines(config, settings_in_force(config, state))

    by_ana = "database (set by ana 11:00); monitoring_config.json"
    assert shown["alert_thresholds.queue_backlog.low"] == f"5 {by_ana}:4 says 60"
    assert shown["alerts.resolve_after_minutes"] == f"10 {by_ana}:17 says 2"
    assert lines(config, levels_in_force(config, state, "other", ["queue"]))[
        "alert_thresholds.queue_backlog.low"
    ].startswith("5 database")
    assert lines(config, levels_in_force(config, state, "mail", ["queue"]))[
        "overrides.queue_backlog.mail.low"
    ].startswith("10 monitoring")


def test_levels_that_sql_has_given_a_source_are_shown_for_it_alone(config: Config) -> None:
    state = state_of(config, drift=[drifted("queue_backlog", "low", 60, 7, "web")])
    state["thresholds"].append(
        {"alert_type": "queue_backlog", "source": "web", "low": 7, "medium": 100, "high": None, "critical": None}
    )

    assert lines(config, levels_in_force(config, state, "web", ["queue"]))[
        "overrides.queue_backlog.web.low"
    ].startswith("7 database (set by ana")
    assert (
        lines(config, levels_in_force(config, state, "other", ["queue"]))["alert_thresholds.queue_backlog.low"]
        == "60 monitoring_config.json:4"
    )


def test_an_edit_that_no_service_has_loaded_is_told_from_a_change_by_sql(config: Config) -> None:
    state = state_of(config)
    set_row(state, "queue_backlog", "*", low=50)

    shown = lines(config, settings_in_force(config, state))

    assert shown["alert_thresholds.queue_backlog.low"] == "50 not loaded yet: monitoring_config.json:4 says 60"


def test_before_any_service_has_run_the_file_is_all_there_is(config: Config) -> None:
    state = state_of(config, synced_at=None)
    set_row(state, "queue_backlog", "*", low=50)

    assert settings_in_force(config, state) == settings_in_force(config, None)


def test_drift_is_listed_with_both_values_in_the_units_of_the_file() -> None:
    drift = [drifted("queue_backlog", "low", 60, None, "web"), drifted("alerts.resolve_after_seconds", None, 120, 600)]
    drift[1]["changed_by"] = None

    assert [" ".join(line.split()) for line in drift_lines(drift, NOW)] == [
        "overrides.queue_backlog.web.low file 60 in force null set by ana 11:00",
        "alerts.resolve_after_minutes file 2 in force 10 set by SQL 11:00",
    ]


def change(noticed_by: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 1, "at": NOW - timedelta(minutes=5), "noticed_by": noticed_by, "outcome": "accepted", "actor": "root", "host": "ops-1", "path": "/etc/automon/c.json",
        "file_changed_at": NOW - timedelta(minutes=6), "changes": [], "problems": [],
    } | more  # fmt: skip


def test_the_history_says_what_changed_who_is_known_and_what_was_wrong() -> None:
    one = {"key": "alert_thresholds.queue_backlog.low", "old": "50", "new": "5", "line": 4}
    problem = {"line": 12, "column": 8, "key": "alerts", "message": "must be an object", "allowed": "{ … }"}
    history = [
        change("watch", changes=[one]),
        change("reload", outcome="rejected", problems=[problem]),
        change("reload", outcome="rejected", file_changed_at=None, actor="", problems=[problem | {"line": None, "column": None, "key": "", "allowed": ""}]),
        change("sql", actor="ana", changes=[{"key": "thresholds.queue_backlog.*.low", "old": 50, "new": None}]),
        change("sync", actor="automon_service"),
    ]  # fmt: skip

    assert history_lines(history, NOW) == [
        "11:55  accepted  ops-1 by the watch: /etc/automon/c.json, owner root, written 11:54",
        "  alert_thresholds.queue_backlog.low: 50 -> 5 (line 4)",
        "11:55  rejected  ops-1 at a reload: /etc/automon/c.json, owner root, written 11:54",
        "  line 12:8: alerts: must be an object ({ … })",
        "11:55  rejected  ops-1 at a reload: /etc/automon/c.json",
        "  must be an object",
        "11:55  by SQL    ana",
        "  thresholds.queue_backlog.*.low: 50 -> null",
        "11:55  put back  automon_service: what SQL had changed is again as the file says",
    ]
