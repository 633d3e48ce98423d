"""What a config becomes in the database: thresholds, settings and channels, and never an address or a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from automon.clock import SystemClock
from automon.config import Config, load_config
from automon.database import Database
from automon.store import Store
from scheduler.configuration import database_document, make_desks
from tests.support.calls import Calls, Row
from tests.support.service import write_config

SHIPPED = Path("monitoring_config.json").resolve()
SECRETS = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0FAKE000/B0FAKE000/fakeWebhookToken00000000",
    "AUTOMON_EMAIL_URL": "smtp://automon:s3cret-word@mail.acme.example:587?from=a@acme.example&to=b@acme.example,c@acme.example",
    "OPS_URL": "json://user:s3cret-too@hooks.acme.example/path",
}


@pytest.fixture
def calls(connection: psycopg.Connection[tuple[object, ...]]) -> Calls:
    return Calls(connection)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    database = Database(database_url, SystemClock(), size=1)
    database.open()
    yield Store(database)
    database.close()


def put_in_force(store: Store, config: Config) -> None:
    store.sync_configuration(database_document(config, make_desks(config, "ops-1")))


def load(folder: Path, document: Mapping[str, object]) -> Config:
    return load_config(write_config(folder, json.dumps(document)), SECRETS)


def thresholds(calls: Calls) -> list[Row]:
    return calls.ask(
        "SELECT alert_type, source, low, medium, high, critical FROM public.monitoring_thresholds ORDER BY alert_type, source"
    )


def settings(calls: Calls) -> list[Row]:
    return calls.ask("SELECT name, value FROM public.monitoring_settings ORDER BY name")


def test_the_shipped_config_is_what_the_migration_ships(store: Store, calls: Calls) -> None:
    before = thresholds(calls), settings(calls)

    config = load_config(SHIPPED, {})
    put_in_force(store, config)

    assert (thresholds(calls), settings(calls)) == before
    assert len(before[0]) == 14
    assert calls.one("SELECT array_agg(DISTINCT origin) FROM public.monitoring_thresholds") == ["config"]
    configured = calls.ask("SELECT name FROM public.monitoring_settings WHERE origin = 'config'")
    assert {row["name"] for row in configured} == set(config.settings_rows())


def test_an_empty_config_is_what_the_migration_ships_too(tmp_path: Path, store: Store, calls: Calls) -> None:
    before = thresholds(calls), settings(calls)

    put_in_force(store, load(tmp_path, {}))

    assert (thresholds(calls), settings(calls)) == before


def test_an_override_is_a_row_of_its_own_and_goes_with_its_line(tmp_path: Path, store: Store, calls: Calls) -> None:
    put_in_force(
        store, load(tmp_path, {"overrides": {"queue_backlog": {"mail": {"low": 400, "medium": 450, "high": None}}}})
    )

    rows = [row for row in thresholds(calls) if row["source"] == "mail"]
    assert rows == [
        {"alert_type": "queue_backlog", "source": "mail", "low": 400, "medium": 450, "high": None, "critical": 500}
    ]

    put_in_force(store, load(tmp_path, {}))
    assert [row for row in thresholds(calls) if row["source"] != "*"] == []


def test_reported_states_get_the_severities_of_the_config(tmp_path: Path, store: Store, calls: Calls) -> None:
    put_in_force(store, load(tmp_path, {"component_health": {"degraded": None, "unhealthy": "high"}}))
    for name, status in (("one", "degraded"), ("two", "unhealthy")):
        calls("update_system_health", "api", name, status)

    store.run_monitoring_checks(calls.one("SELECT clock_timestamp()"))

    query = "SELECT source, severity FROM public.alerts WHERE alert_type = 'component_health'"
    assert calls.ask(query) == [{"source": "api/two", "severity": "high"}]


def test_channels_are_known_by_name_and_recipients_and_no_secret_is_stored(
    tmp_path: Path, store: Store, calls: Calls
) -> None:
    channels = {
        "slack": {"type": "slack", "webhook_url": "$env:SLACK_WEBHOOK_URL", "min_severity": "high"},
        "email": {"type": "email", "url": "$env:AUTOMON_EMAIL_URL", "notify_on": ["opened"]},
        "ops": {"type": "apprise", "url": "$env:OPS_URL"},
        "screen": {"type": "terminal"},
        "off": {"type": "terminal", "enabled": False},
    }
    put_in_force(store, load(tmp_path, {"channels": channels}))

    rows = calls.ask("SELECT name, recipients, min_severity, notify_on FROM public.notification_channels ORDER BY name")
    assert [(row["name"], row["recipients"]) for row in rows] == [
        ("email", ["b@acme.example", "c@acme.example"]),
        ("journal", ["terminal"]),
        ("ops", ["json"]),
        ("screen", ["terminal"]),
        ("slack", ["webhook"]),
    ]
    assert rows[0]["notify_on"] == ["opened"]
    assert rows[1]["notify_on"] == []
    assert rows[4]["min_severity"] == "high"
    stored = str(calls.ask("SELECT * FROM public.notification_channels"))
    assert "s3cret" not in stored
    assert "fakeWebhookToken" not in stored


def test_a_channel_with_another_secret_or_address_is_told_from_what_it_was(
    tmp_path: Path, store: Store, calls: Calls
) -> None:
    def fingerprints(**channels: Row) -> dict[str, str]:
        put_in_force(store, load(tmp_path, {"channels": channels}))
        rows = calls.ask("SELECT name, fingerprint FROM public.notification_channels WHERE name <> 'journal'")
        return {row["name"]: row["fingerprint"] for row in rows}

    slack = {"type": "slack", "webhook_url": "$env:SLACK_WEBHOOK_URL"}
    before = fingerprints(slack=slack, other=slack)

    assert len(set(before.values())) == 2
    assert fingerprints(slack={**slack, "min_severity": "high"}, other=slack) == before
    another = {**slack, "webhook_url": "$literal:https://hooks.slack.com/services/T0FAKE000/B0FAKE000/another000000"}
    after = fingerprints(slack=another, other=slack)
    assert after["slack"] != before["slack"]
    assert after["other"] == before["other"]


def test_without_an_active_channel_the_terminal_is_told(store: Store, calls: Calls) -> None:
    put_in_force(store, load_config(SHIPPED, {}))

    assert calls.ask("SELECT name, recipients FROM public.notification_channels ORDER BY name") == [
        {"name": "journal", "recipients": ["terminal"]},
        {"name": "terminal", "recipients": ["terminal"]},
    ]


def test_putting_the_same_config_in_force_again_touches_no_row(tmp_path: Path, store: Store, calls: Calls) -> None:
    config = load(tmp_path, {"channels": {"screen": {"type": "terminal"}}})
    put_in_force(store, config)
    moments = "SELECT array_agg(updated_at ORDER BY updated_at) FROM public.{}"
    tables = ("monitoring_thresholds", "monitoring_settings", "notification_channels")
    before = [calls.one(moments.format(table)) for table in tables]

    put_in_force(store, config)

    assert [calls.one(moments.format(table)) for table in tables] == before
