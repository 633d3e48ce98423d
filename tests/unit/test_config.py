from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automon.config import (
    AppriseChannel,
    Config,
    EmailChannel,
    InactiveChannel,
    PingConfig,
    SlackChannel,
    TerminalChannel,
    ThresholdRow,
    jsonc,
    load_config,
)
from automon.errors import ConfigError, Problem
from automon.models import Guidance, Severity, TransitionKind
from automon.secrets import Secret
from docs.generate.config import PAGE_FILE, SCHEMA_FILE, config_schema, reference_page, schema_text

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "monitoring_config.json"
WEBHOOK = "https://hooks.slack.com/services/T0SECRET/B0SECRET/secretsecret"
EMAIL_URL = "smtp://user%40example.org:p%2Fss%25@mail.example.org:2525?from=a@example.org&to=b@example.org,ops+c@x"
ENVIRON = {"HOOK": WEBHOOK, "MAIL": EMAIL_URL, "OPS": "ntfy://example.org/topic", "PASSWORD": "p/ss%word"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "monitoring_config.json"


def load(file: Path, content: str | Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> Config:
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return load_config(file, environ)


def problems(file: Path, content: str | Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(file, content, environ)
    assert caught.value.__cause__ is None
    return caught.value.problems


# The shipped file.


def test_the_shipped_file_loads_with_an_empty_environment() -> None:
    config = load_config(SHIPPED, {})

    assert SHIPPED == config.path
    assert config.database.url is None
    assert config.database.reader_url is None
    assert "public" == config.database.schema_
    assert config.database.pooled is None
    assert "ping: off (AUTOMON_PING_URL is not set)" == config.ping.describe()
    assert [
        "slack: off (SLACK_WEBHOOK_URL is not set)",
        "email: off (AUTOMON_EMAIL_URL is not set)",
    ] == config.describe_channels()


def test_the_shipped_file_holds_the_defaults(file: Path) -> None:
    shipped, empty = load_config(SHIPPED, {}), load(file, "{}")

    assert empty.threshold_rows() == shipped.threshold_rows()
    assert empty.settings_rows() == shipped.settings_rows()
    assert empty.schedule == shipped.schedule
    assert empty.ping == shipped.ping
    assert [] == [line for line in told(empty, shipped) if not line.startswith("channels.")]


def test_the_shipped_channels_are_on_once_their_variables_are_set() -> None:
    config = load_config(SHIPPED, {"SLACK_WEBHOOK_URL": WEBHOOK, "AUTOMON_EMAIL_URL": EMAIL_URL})

    assert ["slack: on, from severity low", "email: on, from severity low"] == config.describe_channels()
    assert config.channels == config.active_channels


def test_the_shipped_file_names_every_section_and_every_threshold() -> None:
    document = jsonc.loads(SHIPPED.read_text(encoding="utf-8"))
    schema = config_schema()

    assert set(schema["properties"]) == set(document)
    for section, definition in (("alert_thresholds", "AlertThresholds"), ("retention", "Retention")):
        assert set(schema["$defs"][definition]["properties"]) == set(document[section])


def test_the_examples_in_the_comments_of_the_shipped_file_are_right(file: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    overrides = text.replace('//   "error_rates": {"invoice-sync"', '"overrides": {"error_rates": {"invoice-sync"')
    overrides = overrides.replace('//   "queue_backlog": {"mail"', '"queue_backlog": {"mail"')
    overrides = overrides.replace('"overrides": {},', "},", 1)
    config = load(file, overrides, {})

    assert (5.0, 10.0, 75.0, 100.0) == levels(config, "error_rate", "invoice-sync")
    assert (500.0, 1000.0, 2000.0, 5000.0) == levels(config, "queue_backlog", "mail")


# The files that are generated.


def test_the_json_schema_in_the_repository_is_that_of_the_models() -> None:
    assert schema_text() == (ROOT / SCHEMA_FILE).read_text(encoding="utf-8")


def test_the_reference_page_in_the_repository_is_that_of_the_models() -> None:
    assert reference_page() == (ROOT / PAGE_FILE).read_text(encoding="utf-8")


def test_the_generated_files_do_not_differ_from_process_to_process(tmp_path: Path) -> None:
    (tmp_path / PAGE_FILE).parent.mkdir(parents=True)
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "docs.generate.config", str(tmp_path)]
        subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed})

        assert schema_text() == (tmp_path / SCHEMA_FILE).read_text(encoding="utf-8")
        assert reference_page() == (tmp_path / PAGE_FILE).read_text(encoding="utf-8")


def test_the_json_schema_describes_every_key_to_editors() -> None:
    schema = config_schema()
    objects = [schema, *(node for node in schema["$defs"].values() if "properties" in node)]
    missing = [key for node in objects for key, value in node["properties"].items() if not value.get("description")]

    assert [] == missing
    assert all(node["additionalProperties"] is False for node in objects)
    assert "$schema" in schema["properties"]


def test_importing_the_config_imports_no_library_for_input_and_output() -> None:
    code = "import automon.config, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)

    assert not {"psycopg", "psycopg_pool", "apprise", "psutil", "apscheduler", "yaml"} & set(done.stdout.split())
    assert "pydantic" in done.stdout.split()


# What the rest of the program asks.


def levels(config: Config, alert_type: str, source: str) -> tuple[float | None, ...]:
    (row,) = (row for row in config.threshold_rows() if (row.alert_type, row.source) == (alert_type, source))
    return row.low, row.medium, row.high, row.critical


def test_the_default_thresholds_are_the_published_ones(file: Path) -> None:
    rows = load(file, "{}").threshold_rows()

    assert [
        ThresholdRow(alert_type="error_rate", source="*", low=25, medium=50, high=75, critical=100),
        ThresholdRow(alert_type="critical_errors", source="*", low=None, medium=None, high=None, critical=1),
        ThresholdRow(alert_type="failure_rate", source="*", low=10, medium=25, high=50, critical=75),
        ThresholdRow(alert_type="processing_time", source="*", low=180, medium=300, high=600, critical=900),
        ThresholdRow(alert_type="running_time", source="*", low=180, medium=300, high=600, critical=900),
        ThresholdRow(alert_type="response_time", source="*", low=1000, medium=2000, high=5000, critical=10000),
        ThresholdRow(alert_type="component_silence", source="*", low=None, medium=600, high=1800, critical=3600),
        ThresholdRow(alert_type="queue_backlog", source="*", low=50, medium=100, high=200, critical=500),
        ThresholdRow(alert_type="queue_silence", source="*", low=None, medium=900, high=3600, critical=None),
        ThresholdRow(alert_type="host_cpu", source="*", low=80, medium=90, high=95, critical=None),
        ThresholdRow(alert_type="host_memory", source="*", low=80, medium=90, high=95, critical=98),
        ThresholdRow(alert_type="host_disk", source="*", low=80, medium=90, high=95, critical=98),
        ThresholdRow(alert_type="host_silence", source="*", low=None, medium=None, high=300, critical=900),
        ThresholdRow(alert_type="component_health", source="*", low=None, medium=1, high=None, critical=2),
    ] == rows


def test_a_level_that_is_left_out_or_null_is_not_used(file: Path) -> None:
    config = load(file, {"alert_thresholds": {"error_rates": {"medium": 5, "high": None}, "queue_backlog": {}}})

    assert (None, 5.0, None, None) == levels(config, "error_rate", "*")
    assert (None, None, None, None) == levels(config, "queue_backlog", "*")
    assert (180.0, 300.0, 600.0, 900.0) == levels(config, "running_time", "*")


def test_an_override_inherits_the_levels_that_it_does_not_name(file: Path) -> None:
    overrides = {
        "error_rates": {"invoice-sync": {"low": 5, "critical": None}},
        "host_disk": {"ops-1 /var": {"low": 85}},
    }
    config = load(file, {"alert_thresholds": {"error_rates": {"low": 20, "high": 40}}, "overrides": overrides})

    assert (20.0, None, 40.0, None) == levels(config, "error_rate", "*")
    assert (5.0, None, 40.0, None) == levels(config, "error_rate", "invoice-sync")
    assert (85.0, 90.0, 95.0, 98.0) == levels(config, "host_disk", "ops-1 /var")


def test_an_override_can_switch_an_inherited_level_off(file: Path) -> None:
    config = load(file, {"overrides": {"queue_backlog": {"mail": {"low": None, "medium": None}}}})

    assert (None, None, 200.0, 500.0) == levels(config, "queue_backlog", "mail")


def test_the_settings_for_the_database_are_plain_numbers(file: Path) -> None:
    assert {
        "failure_rate.min_tasks": 5,
        "alerts.resolve_after_seconds": 300,
        "alerts.remind_after_seconds": 3600,
        "alerts.blind_after_seconds": 120,
        "delivery.messages_per_cause": 3,
        "delivery.messages_at_once": 5,
        "retention.processing_days": 30,
        "retention.errors_low_days": 30,
        "retention.errors_medium_days": 30,
        "retention.errors_high_days": 60,
        "retention.errors_critical_days": 90,
        "retention.performance_days": 7,
        "retention.queue_days": 7,
        "retention.host_days": 7,
        "retention.health_days": 90,
        "retention.resolved_alerts_days": 7,
        "retention.job_runs_days": 30,
        "retention.rollups_days": 400,
        "schedule.alert_checks_seconds": 300,
        "schedule.fast_checks_seconds": 1,
        "schedule.self_check_seconds": 60,
    } == load(file, "{}").settings_rows()


@pytest.mark.parametrize(
    ("degraded", "unhealthy", "expected"),
    [
        ("low", "high", (1.0, None, 2.0, None)),
        ("high", "high", (None, None, 1.0, None)),
        (None, "low", (2.0, None, None, None)),
        (None, None, (None, None, None, None)),
    ],
)
def test_the_severity_of_a_reported_state_is_a_threshold_of_one_for_degraded_and_two_for_unhealthy(
    file: Path, degraded: str | None, unhealthy: str | None, expected: tuple[float | None, ...]
) -> None:
    config = load(file, {"component_health": {"degraded": degraded, "unhealthy": unhealthy}})

    assert expected == levels(config, "component_health", "*")


def test_the_schedule_is_made_of_durations_and_a_time_of_day(file: Path) -> None:
    section = {
        "alert_checks_seconds": 1.5,
        "host_sampling_seconds": 30,
        "self_check_seconds": 20,
        "cleanup_at": "23:59",
    }
    schedule = load(file, {"schedule": section | {"timezone": "Europe/Berlin"}}).schedule

    assert timedelta(seconds=1.5) == schedule.alert_checks
    assert timedelta(seconds=30) == schedule.host_sampling
    assert timedelta(seconds=20) == schedule.self_check
    assert time(23, 59) == schedule.cleanup_at
    assert ZoneInfo("Europe/Berlin") == schedule.timezone


def test_utc_is_known_without_any_time_zone_data(file: Path) -> None:
    file.write_text("{}")
    code = (
        "import sys, zoneinfo; zoneinfo.reset_tzpath(to=[]); from pathlib import Path; "
        "from datetime import datetime; from automon.config import load_config; "
        "zone = load_config(Path(sys.argv[1]), {}).schedule.timezone; "
        "print(zone, datetime(2026, 7, 1, tzinfo=zone).isoformat(), datetime(2026, 7, 1, tzinfo=zone).tzname())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=True, cwd=ROOT, capture_output=True, text=True)

    assert "UTC 2026-07-01T00:00:00+00:00 UTC\n" == done.stdout


def test_guidance_of_a_source_falls_back_to_that_of_its_type(file: Path) -> None:
    special = {"invoice-sync": {"impact": "no invoices", "next": ""}}
    section = {"next": "look", "runbook": "https://wiki.example.org/errors?a=b", "sources": special}
    config = load(file, {"guidance": {"error_rates": section, "component_health": {"impact": "down"}}})

    runbook = "https://wiki.example.org/errors?a=b"
    assert Guidance(impact="no invoices", next_step="", runbook=runbook) == config.guidance_for(
        "error_rate", "invoice-sync"
    )
    assert Guidance(next_step="look", runbook=runbook) == config.guidance_for("error_rate", "other")
    assert Guidance(impact="down") == config.guidance_for("component_health", "api")
    assert Guidance() == config.guidance_for("queue_backlog", "mail")
    assert Guidance() == config.guidance_for("job_failure", "cleanup")


def test_the_database_url_comes_from_database_url_unless_told_otherwise(file: Path) -> None:
    url = "postgresql://user:geheim@db.example.org/x"

    assert Secret(url) == load(file, "{}", {"DATABASE_URL": url}).database.url
    assert Secret(url) == load(file, {"database": {"url": "$env:PG"}}, {"PG": url}).database.url
    assert load(file, {"database": {"url": None}}, {"DATABASE_URL": url}).database.url is None
    assert load(file, {"database": {"url": "$env:PG"}}, {"DATABASE_URL": url}).database.url is None


def test_the_replica_to_read_from_comes_from_its_own_variable_and_is_checked_as_the_database_is(file: Path) -> None:
    url = "postgresql://reader:geheim@replica.example.org/x"

    assert Secret(url) == load(file, "{}", {"AUTOMON_READER_URL": url}).database.reader_url
    assert load(file, "{}", {"DATABASE_URL": url}).database.reader_url is None
    assert load(file, "{}", {"AUTOMON_READER_URL": " "}).database.reader_url is None
    assert Secret(url) == load(file, {"database": {"reader_url": "$env:PG"}}, {"PG": url}).database.reader_url
    [problem] = problems(file, '{"database": {"reader_url": "postgresql://reader:geheim@replica/x"}}')
    assert "database.reader_url" == problem.key
    assert "geheim" not in str(problem)


@pytest.mark.parametrize("url", ["host=db password='a b%' dbname=x", "postgres://u:a%25b@h1:1,h2:2/x?sslmode=require"])
def test_every_form_of_address_that_postgresql_knows_is_taken(file: Path, url: str) -> None:
    assert Secret(url) == load(file, "{}", {"DATABASE_URL": url}).database.url


# Channels.


def test_a_slack_channel_knows_its_webhook_and_what_it_wants_to_hear(file: Path) -> None:
    section = {"type": "slack", "webhook_url": "$env:HOOK", "min_severity": "high", "notify_on": ["opened", "eased"]}
    (channel,) = load(file, {"channels": {"night": section | {"timezone": "Europe/Berlin"}}}).channels

    assert (
        SlackChannel(
            name="night",
            type="slack",
            min_severity=Severity.HIGH,
            notify_on=frozenset({TransitionKind.OPENED, TransitionKind.EASED}),
            timezone=ZoneInfo("Europe/Berlin"),
            webhook_url=Secret(WEBHOOK),
        )
        == channel
    )
    assert channel.active
    assert "night: on, from severity high" == channel.describe()


def test_a_channel_hears_of_every_severity_and_of_four_transitions_by_default(file: Path) -> None:
    (channel,) = load(file, {"channels": {"screen": {"type": "terminal"}}}).channels

    assert channel == TerminalChannel(name="screen", type="terminal")
    assert Severity.LOW == channel.min_severity
    assert {"opened", "escalated", "reminded", "resolved"} == set(channel.notify_on)


def test_an_apprise_channel_holds_its_url(file: Path) -> None:
    (channel,) = load(file, {"channels": {"ops": {"type": "apprise", "url": "$env:OPS"}}}).channels

    assert AppriseChannel(name="ops", type="apprise", url=Secret("ntfy://example.org/topic")) == channel


def email(file: Path, section: Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> EmailChannel:
    (channel,) = load(file, {"channels": {"mail": {"type": "email", **section}}}, environ).channels
    assert isinstance(channel, EmailChannel)
    return channel


def test_an_email_url_is_taken_apart_and_unescaped(file: Path) -> None:
    channel = email(file, {"url": "$env:MAIL"})

    assert ("mail.example.org", 2525, "starttls") == (channel.host, channel.port, channel.security)
    assert ("user@example.org", Secret("p/ss%")) == (channel.username, channel.password)
    assert "a@example.org" == channel.from_address
    assert ("b@example.org", "ops+c@x") == channel.to
    assert channel.ca_file is None


@pytest.mark.parametrize(
    ("url", "security", "port"),
    [
        ("smtp://h?from=a@x&to=b@x", "starttls", 587),
        ("smtp://h?from=a@x&to=b@x&security=starttls", "starttls", 587),
        ("smtp://h?security=none&from=a@x&to=b@x", "none", 25),
        ("smtps://h/?from=a@x&to=b@x", "tls", 465),
        ("smtps://[::1]:26?from=a@x&to=b@x,b@x", "tls", 26),
    ],
)
def test_the_scheme_of_an_email_url_says_how_the_connection_is_encrypted(
    file: Path, url: str, security: str, port: int
) -> None:
    channel = email(file, {"url": "$env:MAIL"}, {"MAIL": url})

    assert (security, port) == (channel.security, channel.port)
    assert (None, None) == (channel.username, channel.password)
    assert ("b@x",) == channel.to


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_an_email_channel_can_be_given_by_fields(file: Path, security: str, port: int) -> None:
    login = {"username": "u", "password": "$env:PASSWORD"}
    address = {"host": "mail.example.org", "from": "a@example.org", "to": ["b@example.org", "b@example.org"]}
    ca_file = file.parent / "ca.pem"
    ca_file.touch()
    channel = email(file, {**login, **address, "security": security, "ca_file": str(ca_file)})

    assert ("mail.example.org", port, security) == (channel.host, channel.port, channel.security)
    assert ("u", Secret("p/ss%word")) == (channel.username, channel.password)
    assert ("a@example.org", ("b@example.org",)) == (channel.from_address, channel.to)
    assert ca_file == channel.ca_file


def test_an_optional_channel_without_its_secret_is_off_and_says_why(file: Path) -> None:
    section = {"type": "slack", "optional": True, "webhook_url": f"$file:{file.parent}/webhook"}
    (channel,) = load(file, {"channels": {"team": section}}).channels

    assert isinstance(channel, InactiveChannel)
    assert not channel.active
    assert f"team: off ({file.parent}/webhook is not there)" == channel.describe()


def test_a_channel_that_is_switched_off_needs_no_secret(file: Path) -> None:
    section = {"type": "email", "enabled": False, "url": "$env:NOT_SET"}
    config = load(file, {"channels": {"mail": section, "screen": {"type": "terminal"}}})

    assert ["mail: off (enabled is false)", "screen: on, from severity low"] == config.describe_channels()
    assert ("screen",) == tuple(channel.name for channel in config.active_channels)


def test_a_channel_knows_who_is_told_in_its_place_and_when(file: Path) -> None:
    section = {"type": "slack", "webhook_url": "$env:HOOK", "fallback": "mail", "fallback_after_minutes": 1.5}
    slack, mail = load(file, {"channels": {"team": section, "mail": {"type": "email", "url": "$env:MAIL"}}}).channels

    assert ("mail", timedelta(seconds=90)) == (slack.fallback, slack.fallback_after)
    assert (None, timedelta(minutes=10)) == (mail.fallback, mail.fallback_after)


@pytest.mark.parametrize(
    "fallback",
    [
        pytest.param({"type": "email", "optional": True, "url": "$env:NOT_SET"}, id="without its secret"),
        pytest.param({"type": "terminal", "enabled": False}, id="switched off"),
    ],
)
def test_the_journal_stands_in_for_a_fallback_that_is_off(file: Path, fallback: Mapping[str, Any]) -> None:
    screen = {"type": "terminal", "fallback": "other"}
    channel, other = load(file, {"channels": {"screen": screen, "other": fallback}}).channels

    assert not other.active
    assert channel.fallback is None


def test_fallbacks_may_form_a_chain_that_ends(file: Path) -> None:
    chain = {"a": "b", "b": "c", "x": "b"}
    sections = {name: {"type": "terminal", "fallback": chain.get(name)} for name in "xabc"}
    config = load(file, {"channels": sections})

    assert {"x": "b", "a": "b", "b": "c", "c": None} == {channel.name: channel.fallback for channel in config.channels}


# The ping.


def test_the_ping_takes_its_url_from_the_environment_unless_told_otherwise(file: Path) -> None:
    url = "https://hc-ping.com/5f1c7e0a-token"
    section = {"url": "$env:OTHER", "every_seconds": 90}
    ping = load(file, {"ping": section}, {"OTHER": url}).ping

    assert PingConfig(url=Secret(url), every=timedelta(seconds=90)) == ping
    assert "ping: on, every 90 s" == ping.describe()
    assert Secret(url) == load(file, "{}", {"AUTOMON_PING_URL": url}).ping.url
    assert Secret(url) == load(file, {"ping": {"optional": False}}, {"AUTOMON_PING_URL": url}).ping.url


def test_without_its_secret_the_ping_is_off_and_says_why(file: Path) -> None:
    ping = load(file, {"ping": {"url": f"$file:{file.parent}/ping"}}).ping

    assert ping.url is None
    assert f"{file.parent}/ping is not there" == ping.inactive_reason
    assert f"ping: off ({file.parent}/ping is not there)" == ping.describe()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "HTTPS://[::1]/ping/x/", "https://hc-ping.com/key/slug?create=1&rid=%C3%BC"]
)
def test_every_web_address_can_be_called(file: Path, url: str) -> None:
    assert Secret(url) == load(file, "{}", {"AUTOMON_PING_URL": url}).ping.url


def test_no_secret_is_in_the_text_of_a_config(file: Path) -> None:
    channels = {
        "a": {"type": "slack", "webhook_url": "$env:HOOK"},
        "b": {"type": "email", "url": "$env:MAIL"},
        "c": {"type": "apprise", "url": "$literal:ntfy://secret@example.org"},
    }
    urls = {
        "DATABASE_URL": "postgresql://u:secret@db/x",
        "AUTOMON_PING_URL": "https://example.org/secret",
        "AUTOMON_READER_URL": "postgresql://u:secret@replica/x",
    }
    config = load(file, {"channels": channels}, ENVIRON | urls)

    text = f"{config.channels} {config.ping} {config.ping.describe()} {config.settings} {config.database} {config.settings.model_dump()}"
    text += repr(config).replace(str(file), "")
    assert "secret" not in text.replace("<secret>", "").lower()
    assert "p/ss%" not in text


# What changed.


def told(old: Config, new: Config) -> list[str]:
    """Say what changed, but not where."""
    return [f"{change.key}: {change.old} -> {change.new}" for change in old.diff(new)]


def test_a_diff_names_each_changed_key_with_both_values(file: Path) -> None:
    old = load(file, "{}")
    new = load(
        file,
        {
            "$schema": "./elsewhere.json",
            "alert_thresholds": {"error_rates": {"low": 20, "medium": 50, "high": 75.5, "critical": None}},
            "overrides": {"error_rates": {"a.b": {"low": 5}}},
            "schedule": {"cleanup_at": "04:00", "timezone": "Europe/Berlin"},
            "component_health": {"degraded": None},
            "channels": {"screen": {"type": "terminal", "notify_on": ["resolved", "opened"]}},
            "database": {"pooled": True},
        },
    )

    assert [
        "alert_thresholds.error_rates.low: 25 -> 20",
        "alert_thresholds.error_rates.high: 75 -> 75.5",
        "alert_thresholds.error_rates.critical: 100 -> null",
        "component_health.degraded: medium -> null",
        "schedule.cleanup_at: 03:17 -> 04:00",
        "schedule.timezone: UTC -> Europe/Berlin",
        "database.pooled: null -> true",
        'overrides.error_rates."a.b".low: not there -> 5',
        "channels.screen: not there -> terminal",
    ] == told(old, new)
    assert "channels.screen: terminal -> not there" in told(new, old)
    assert 'overrides.error_rates."a.b".low: 5 -> not there' in told(new, old)


def test_a_diff_names_the_keys_of_a_channel_that_stays(file: Path) -> None:
    old = load(file, {"channels": {"screen": {"type": "terminal", "notify_on": ["resolved", "opened"]}}})
    new = load(file, {"channels": {"screen": {"type": "terminal", "enabled": False}}})

    assert [
        "channels.screen.enabled: true -> false",
        'channels.screen.notify_on: ["opened", "resolved"] -> ["escalated", "opened", "reminded", "resolved"]',
    ] == told(old, new)


def test_a_diff_shows_no_secret(file: Path) -> None:
    content = {"channels": {"team": {"type": "slack", "optional": True, "webhook_url": "$env:HOOK"}}}
    off, one, another = (load(file, content, environ) for environ in ({}, ENVIRON, {"HOOK": f"{WEBHOOK}2"}))

    assert ["channels.team.webhook_url: <secret> -> another <secret>"] == told(one, another)
    assert ["channels.team.webhook_url: HOOK is not set -> <secret>"] == told(off, one)
    assert [] == told(one, one)


def test_a_diff_names_a_ping_that_is_switched_on_without_its_url(file: Path) -> None:
    off, on = (load(file, "{}", environ) for environ in ({}, {"AUTOMON_PING_URL": "https://example.org/ping"}))

    assert ["ping.url: AUTOMON_PING_URL is not set -> <secret>"] == told(off, on)


# Mistakes. The place that must be reported is marked with § in the text of the file.

LEVELS = "the levels must rise from low to critical"
OPEN_HELP = 'one of "$env:NAME", "$file:/path", "$cred:NAME", "$literal:…"; the last one if it must be in this file'
EMAIL_HELP = "smtp://user:password@host:587?from=a@example.org&to=b@example.org,c@example.org"
ESCAPES = "in the user name and password write %40 for @, %2F for /, %3F for ?, %23 for #, %25 for %"
EITHER = "either 'url' or the fields"
COMMON_KEYS = "type, enabled, optional, min_severity, notify_on, timezone, fallback, fallback_after_minutes"
PING_HELP = "https://hc-ping.com/…, without a user name and without #"
NO_PING = "this is not a URL that can be called"
OPTIONAL = 'provide it, or say "optional": true to run without this channel'


def channel(text: str) -> str:
    return '{"channels": {\n  "c": {' + text + "}}}"


def mail(url: str) -> str:
    return channel(f'"type": "email", "url": §"$literal:{url}"')


def screens(text: str) -> str:
    """Write a file with a terminal channel for each `name>fallback` in the text."""
    pairs = [pair.partition(">") for pair in text.split()]
    return (
        '{"channels": {'
        + ",\n".join(f'"{name}": {{"type": "terminal", "fallback": {fallback}}}' for name, _, fallback in pairs)
        + "}}"
    )


MISTAKES = {
    "unknown section": (
        '{"alerts": {},\n  §"chanels": {}}', "chanels", "unknown key, did you mean 'channels'?",
        f"known here: {', '.join(config_schema()['properties'])}",
    ),
    "misspelt threshold": (
        '{"alert_thresholds": {\n  §"error_rate": {"low": 1}}}', "alert_thresholds.error_rate",
        "unknown key, did you mean 'error_rates'?",
        f"known here: {', '.join(config_schema()['$defs']['AlertThresholds']['properties'])}",
    ),
    "unlike any key": (
        '{"component_health": {§"zzz": "low"}}',
        "component_health.zzz", "unknown key", "known here: degraded, unhealthy",
    ),
    "misspelt level of an override": (
        '{"overrides": {"error_rates": {"a b": {§"critcal": 500}}}}', 'overrides.error_rates."a b".critcal',
        "unknown key, did you mean 'critical'?", "known here: low, medium, high, critical",
    ),
    "misspelt key of guidance": (
        '{"guidance": {"host_cpu": {"sources": {"a": {§"runbok": "x"}}}}}', "guidance.host_cpu.sources.a.runbok",
        "unknown key, did you mean 'runbook'?", "known here: impact, next, runbook",
    ),
    "misspelt key of a channel": (
        channel('"type": "slack", §"webhok_url": "$env:HOOK"'), "channels.c.webhok_url",
        "unknown key, did you mean 'webhook_url'?",
        f"known here: {COMMON_KEYS}, webhook_url",
    ),
    "key twice": (
        '{"alerts": {},\n\n§"alerts": {}}', "alerts", 'the key "alerts" stands here a second time, first in line 1', "",
    ),
    "not an object": ("§[]", "", "must be an object", "{ … }"),
    "section is no object": ('{"alerts": §5}', "alerts", "must be an object", "{ … }"),
    "overrides are no object": ('{"overrides": {"host_cpu": §[]}}', "overrides.host_cpu", "must be an object", "{ … }"),
    "text for a number": (
        '{"alert_thresholds": {"error_rates": {"low": §"25"}}}', "alert_thresholds.error_rates.low",
        "must be a number", "without quotes",
    ),
    "true for a number": (
        '{"alert_thresholds": {"error_rates": {"low": §true}}}', "alert_thresholds.error_rates.low",
        "must be a number", "without quotes",
    ),
    "text for a whole number": (
        '{"retention": {"queue_days": §"7"}}', "retention.queue_days", "must be a whole number", "without quotes",
    ),
    "part of a day": (
        '{"retention": {"queue_days": §1.5}}', "retention.queue_days", "must be a whole number", "without quotes",
    ),
    "number for a text": (
        '{"guidance": {"host_cpu": {"next": §5}}}', "guidance.host_cpu.next", "must be a text", "in double quotes",
    ),
    "number for a flag": (
        channel('"type": "terminal", "enabled": §1'), "channels.c.enabled", "must be true or false", "without quotes",
    ),
    "text for a list": (
        channel('"type": "terminal", "notify_on": §"opened"'), "channels.c.notify_on", "must be a list", "[ … ]",
    ),
    "text for a list of addresses": (
        channel('"type": "email", "host": "h", "from": "a@x", "to": §"b@x"'),
        "channels.c.to", "must be a list", "[ … ]",
    ),
    "zero threshold": (
        '{"alert_thresholds": {"error_rates": {"low": §0}}}',
        "alert_thresholds.error_rates.low", "is too small", "above 0",
    ),
    "percent above 100": (
        '{"alert_thresholds": {"host_cpu": {"low": §100.5}}}', "alert_thresholds.host_cpu.low",
        "is too large", "at most 100",
    ),
    "percent of an override above 100": (
        '{"overrides": {"failure_rates": {"a": {"critical": §101}}}}', "overrides.failure_rates.a.critical",
        "is too large", "at most 100",
    ),
    "too few seconds": (
        '{"schedule": {"alert_checks_seconds": §0.5}}', "schedule.alert_checks_seconds", "is too small", "at least 1",
    ),
    "too many days": (
        '{"retention": {"errors_days": {"low": §9999}}}', "retention.errors_days.low", "is too large", "at most 3650",
    ),
    "level below the one before": (
        '{"alert_thresholds": {"error_rates": {"low": 50, "medium": §40}}}', "alert_thresholds.error_rates.medium",
        "is not above low (50)", LEVELS,
    ),
    "level equal to the one before, one unused between": (
        '{"alert_thresholds": {"error_rates": {"low": 50.5, "medium": null, "high": §50.5}}}',
        "alert_thresholds.error_rates.high", "is not above low (50.5)", LEVELS,
    ),
    "override above what it inherits": (
        '{"overrides": {"error_rates": {"a": {"low": §60}}}}', "overrides.error_rates.a.low",
        "is not below medium (50, inherited from alert_thresholds)", LEVELS,
    ),
    "override below what it inherits from the file": (
        '{"alert_thresholds": {"error_rates": {"low": 7}}, "overrides": {"error_rates": {"a": {"high": §6}}}}',
        "overrides.error_rates.a.high", "is not above low (7, inherited from alert_thresholds)", LEVELS,
    ),
    "override that falls in itself": (
        '{"overrides": {"error_rates": {"a": {"low": 3, "medium": §2}}}}', "overrides.error_rates.a.medium",
        "is not above low (3)", LEVELS,
    ),
    "override for every source": (
        '{"overrides": {"error_rates": {§"*": {}}}}', "overrides.error_rates.*", "must name one source",
        "the exact name of a component, task type, queue or host",
    ),
    "source that the database cannot keep": (
        '{"overrides": {"error_rates": {§"a\\u0000b": {}}}}', 'overrides.error_rates."a\\u0000b"',
        "cannot be the name of a source", "at most 512 bytes, without the character U+0000",
    ),
    "source with too long a name": (
        '{"overrides": {"error_rates": {§"' + "é" * 257 + '": {}}}}', 'overrides.error_rates."' + "é" * 79 + '…"',
        "cannot be the name of a source", "at most 512 bytes, without the character U+0000",
    ),
    "secret where a key stands": (
        channel('"type": "email", §"$literal:secret": 5'), 'channels.c."$literal:…"', "unknown key",
        f"known here: {COMMON_KEYS}, url, host, port, security, username, password, from, to, ca_file",
    ),
    "secret too long for one": (
        channel('"type": "apprise", "url": §"$literal:' + "x" * 8193 + '"'), "channels.c.url",
        "what stands behind $literal: is too long", "at most 8192 characters",
    ),
    "CA file with too long a name": (
        channel('"type": "email", "url": "$env:MAIL", "ca_file": §"/' + "x" * 5000 + '"'), "channels.c.ca_file",
        "there is no such file", "",
    ),
    "more channels than threads are worth": (
        '{"channels": §{' + ", ".join(f'"c{number}": {{"type": "terminal"}}' for number in range(51)) + "}}", "channels",
        "has too many entries", "at most 50",
    ),
    "unhealthy milder than degraded": (
        '{"component_health": {"degraded": "high", "unhealthy": §"medium"}}', "component_health.unhealthy",
        "must not be milder than degraded (high)", "the same severity or a higher one",
    ),
    "unhealthy without alert, but degraded with one": (
        '{"component_health": {"unhealthy": §null}}', "component_health.unhealthy",
        "must not be milder than degraded (medium)", "the same severity or a higher one",
    ),
    "unknown severity": (
        '{"component_health": {"degraded": §"hihg"}}', "component_health.degraded",
        "is not a known word, did you mean 'high'?", "one of low, medium, high, critical",
    ),
    "unknown transition": (
        channel('"type": "terminal", "notify_on": ["opened", §"solved"]'), "channels.c.notify_on[1]",
        "is not a known word, did you mean 'resolved'?",
        "one of opened, escalated, eased, acknowledged, reminded, resolved",
    ),
    "no transition": (
        channel('"type": "terminal", "notify_on": §[]'),
        "channels.c.notify_on", "must not be empty", "at least 1 entry",
    ),
    "runbook that is no page": (
        '{"guidance": {"host_cpu": {"runbook": §"wiki/cpu"}}}', "guidance.host_cpu.runbook",
        "must be the URL of a page", "https://…",
    ),
    "long guidance": (
        '{"guidance": {"host_cpu": {"next": §"' + "x" * 501 + '"}}}', "guidance.host_cpu.next",
        "is too long", "at most 500 characters",
    ),
    "time of day": (
        '{"schedule": {"cleanup_at": §"24:00"}}', "schedule.cleanup_at", "must be a time of day",
        '"HH:MM" from "00:00" to "23:59"',
    ),
    "time of day as a number": (
        '{"schedule": {"cleanup_at": §3}}', "schedule.cleanup_at", "must be a time of day",
        '"HH:MM" from "00:00" to "23:59"',
    ),
    "misspelt zone": (
        '{"schedule": {"timezone": §"Europe/Berln"}}', "schedule.timezone",
        "is not a known time zone, did you mean 'Europe/Berlin'?", 'as in "Europe/Berlin" or "UTC"',
    ),
    "zone outside of the zones": (
        '{"schedule": {"timezone": §"../../etc/passwd"}}', "schedule.timezone",
        "is not a known time zone", 'as in "Europe/Berlin" or "UTC"',
    ),
    "zone as a number": (
        '{"schedule": {"timezone": §2}}', "schedule.timezone",
        "must be the name of a time zone", 'as in "Europe/Berlin" or "UTC"',
    ),
    "schema name": (
        '{"database": {"schema": §"My Schema"}}', "database.schema", "must be the name of a schema",
        "small letters, digits and _, at most 63, no digit in front",
    ),
    "schema of PostgreSQL": (
        '{"database": {"schema": §"pg_catalog"}}', "database.schema", "belongs to PostgreSQL itself", "another name",
    ),
    "database in the open": (
        '{"database": {"url": §"postgresql://u:secret@db/x"}}', "database.url",
        "a secret must not stand here in the open; say where it comes from", OPEN_HELP,
    ),
    "database of another kind": (
        '{"database": {"url": §"$literal:mysql://u:secret@db/x"}}', "database.url",
        "this is not the address of a PostgreSQL database", "postgresql://user:password@host:5432/database",
    ),
    "database for another library": (
        '{"database": {"url": §"$literal:postgresql+psycopg://u:secret@db/x"}}', "database.url",
        "the URL names a driver of another library", "begin it with postgresql://",
    ),
    "database password with a bare %": (
        '{"database": {"url": §"$literal:postgresql://u:secret%zz@db/x"}}', "database.url",
        "the URL holds a % that is no escape", "write %25 for a % in the password",
    ),
    "database in a missing file": (
        '{"database": {"url": §"$file:/not/there"}}', "database.url", "/not/there is not there", "",
    ),
    "channel name": (
        '{"channels": {§"my channel": {"type": "terminal"}}}', 'channels."my channel"',
        "cannot be the name of a channel", "letters, digits, - _ and ., at most 63",
    ),
    "channel type missing": (
        '{"channels": {§"c": {}}}', "channels.c.type", "is missing", "one of slack, email, apprise, terminal",
    ),
    "channel type unknown": (
        channel('"type": §"mail"'), "channels.c.type", "is not a known word, did you mean 'email'?",
        "one of slack, email, apprise, terminal",
    ),
    "key of another channel type": (
        channel('"type": "terminal", §"url": "$env:OPS"'), "channels.c.url", "unknown key",
        f"known here: {COMMON_KEYS}",
    ),
    "webhook missing": (
        '{"channels": {§"c": {"type": "slack"}}}', "channels.c.webhook_url", "is missing", "this key is required",
    ),
    "webhook in the open": (
        channel(f'"type": "slack", "webhook_url": §"{WEBHOOK}"'), "channels.c.webhook_url",
        "a secret must not stand here in the open; say where it comes from", OPEN_HELP,
    ),
    "webhook is no text": (
        channel('"type": "slack", "webhook_url": §5'), "channels.c.webhook_url",
        "must be a text in double quotes", 'as in "$env:NAME"',
    ),
    "variable not set": (
        channel('"type": "slack", "webhook_url": §"$env:NOT_SET"'),
        "channels.c.webhook_url", "NOT_SET is not set", OPTIONAL,
    ),
    "optional secret that cannot be read": (
        channel('"type": "slack", "optional": true, "webhook_url": §"$file:/"'), "channels.c.webhook_url",
        "/ is not a plain file", "",
    ),
    "webhook of something else": (
        channel('"type": "slack", "webhook_url": §"$literal:https://secret.example.org/services/T/B/x"'),
        "channels.c.webhook_url", "this is not the URL of a Slack incoming webhook",
        "https://hooks.slack.com/services/T…/B…/…",
    ),
    "apprise URL": (
        channel('"type": "apprise", "url": §"$literal:secret"'), "channels.c.url",
        "this is not an apprise URL", "service://…, in one line",
    ),
    "email without anything": (
        '{"channels": {§"c": {"type": "email"}}}', "channels.c.url", "is missing, or host, from and to", EMAIL_HELP,
    ),
    "email without sender": (
        '{"channels": {§"c": {"type": "email", "host": "h", "to": ["b@x"]}}}', "channels.c.from", "is missing",
        "an email channel needs host, from and to",
    ),
    "email without password": (
        '{"channels": {§"c": {"type": "email", "host": "h", "from": "a@x", "to": ["b@x"], "username": "u"}}}',
        "channels.c.password", "is missing beside 'username'", "both, or neither",
    ),
    "email without user": (
        '{"channels": {§"c": {"type": "email", "host": "h", "from": "a@x", "to": ["b@x"], "password": "$env:OPS"}}}',
        "channels.c.username", "is missing beside 'password'", "both, or neither",
    ),
    "email by URL and by field": (
        channel('"type": "email", "url": "$env:MAIL", "port": §25'), "channels.c.port",
        "cannot stand beside 'url'", EITHER,
    ),
    "email address": (
        channel('"type": "email", "host": "h", "from": "a@x", "to": ["b@x", §"b@@x"]'), "channels.c.to[1]",
        "is not an email address", "name@example.org",
    ),
    "no email address": (
        channel('"type": "email", "host": "h", "from": "a@x", "to": §[]'), "channels.c.to",
        "must not be empty", "at least 1 entry",
    ),
    "email host": (
        channel('"type": "email", "host": §"smtp://h:25", "from": "a@x", "to": ["b@x"]'), "channels.c.host",
        "is not the name of a host", "smtp.example.org, without smtp:// and without a port",
    ),
    "email port": (
        channel('"type": "email", "host": "h", "from": "a@x", "to": ["b@x"], "port": §70000'), "channels.c.port",
        "is too large", "at most 65535",
    ),
    "email security": (
        channel('"type": "email", "host": "h", "from": "a@x", "to": ["b@x"], "security": §"ssl"'),
        "channels.c.security",
        "is not a known word", "one of starttls, tls, none",
    ),
    "relative CA file": (
        channel('"type": "email", "url": "$env:MAIL", "ca_file": §"ca.pem"'), "channels.c.ca_file",
        "must be an absolute path", "/etc/ssl/certs/mail-ca.pem",
    ),
    "missing CA file": (
        channel('"type": "email", "url": "$env:MAIL", "ca_file": §"/not/there.pem"'), "channels.c.ca_file",
        "there is no such file", "",
    ),
    "CA file as a number": (
        channel('"type": "email", "url": "$env:MAIL", "ca_file": §5'), "channels.c.ca_file",
        "must be a path", "in double quotes",
    ),
    "email URL of another kind": (
        mail("mailto://h?from=a@x&to=b@x"),
        "channels.c.url", "an email URL begins with smtp:// or smtps://", EMAIL_HELP,
    ),
    "email URL that is none": (mail("smtp://[secret"), "channels.c.url", "this is not a URL", EMAIL_HELP),
    "email URL with a bare %": (
        mail("smtp://u:secret%@h?from=a@x&to=b@x"), "channels.c.url",
        "the URL holds a character that must be escaped", ESCAPES,
    ),
    "email URL with a bare #": (
        mail("smtp://u:secret#@h?from=a@x&to=b@x"), "channels.c.url",
        "the URL holds a character that must be escaped", ESCAPES,
    ),
    "email URL with a bare /": (
        mail("smtp://u:secret/@h?from=a@x&to=b@x"), "channels.c.url",
        "nothing may stand between the host and the question mark", ESCAPES,
    ),
    "email URL without host": (
        mail("smtp://?from=a@x&to=b@x"), "channels.c.url", "the URL names no valid host", EMAIL_HELP,
    ),
    "email URL with a wrong port": (
        mail("smtp://h:99999?from=a@x&to=b@x"), "channels.c.url", "the port must be a number from 1 to 65535", "",
    ),
    "email URL without password": (
        mail("smtp://secret@h?from=a@x&to=b@x"), "channels.c.url", "a user name and a password go together", EMAIL_HELP,
    ),
    "email URL without recipient": (
        mail("smtp://h?from=a@x&to="), "channels.c.url", "'to' is missing in the URL", EMAIL_HELP,
    ),
    "email URL without sender": (mail("smtp://h?to=b@x"), "channels.c.url", "'from' is missing in the URL", EMAIL_HELP),
    "email URL with two senders": (
        mail("smtp://h?from=a@x,b@x&to=b@x"), "channels.c.url", "'from' in the URL must be one address", EMAIL_HELP,
    ),
    "email URL with a wrong address": (
        mail("smtp://h?from=a@x&to=b@x,secret"), "channels.c.url",
        "address 2 of 'to' in the URL is not an email address", EMAIL_HELP,
    ),
    "email URL with an unknown parameter": (
        mail("smtp://h?form=a@x&to=b@x"), "channels.c.url",
        "unknown parameter behind the question mark, did you mean 'from'?", "known: from, to, security",
    ),
    "email URL with a parameter twice": (
        mail("smtp://h?from=a@x&to=b@x&to=c@x"), "channels.c.url",
        "'to' stands twice in the URL", "several addresses are separated by commas",
    ),
    "email URL that contradicts itself": (
        mail("smtps://h?from=a@x&to=b@x&security=none"), "channels.c.url",
        "'security' in the URL does not fit", "smtp:// is starttls or ?security=none; smtps:// is tls",
    ),
    "fallback that is misspelt": (
        screens('slack>§"emial" email>null'), "channels.slack.fallback",
        "names no channel of this file, did you mean 'email'?", "null for the journal, or one of email",
    ),
    "fallback that is no name": (
        screens('a>§"https://secret" b>null c>null'), "channels.a.fallback",
        "names no channel of this file", "null for the journal, or one of b, c",
    ),
    "fallback of the only channel": (
        screens('a>§"b"'), "channels.a.fallback", "names no channel of this file", "null for the journal",
    ),
    "fallback to itself": (
        screens('a>§"a" b>"a"'), "channels.a.fallback",
        "names the channel itself", "null for the journal, or one of b",
    ),
    "fallback to the journal by name": (
        screens('a>§"journal"'), "channels.a.fallback",
        "names the journal, which is told where no fallback stands", "null for the journal",
    ),
    "fallbacks in a circle, with a way into it": (
        screens('x>"b" a>§"b" b>"c" c>"a"'), "channels.a.fallback",
        "leads in a circle: a -> b -> c -> a", "null for the journal at one of them",
    ),
    "fallback in a channel that is switched off": (
        channel('"type": "terminal", "enabled": false, "fallback": §"d"'), "channels.c.fallback",
        "names no channel of this file", "null for the journal",
    ),
    "fallback that is no text": (
        channel('"type": "terminal", "fallback": §5'), "channels.c.fallback", "must be a text", "in double quotes",
    ),
    "time before a fallback": (
        channel('"type": "terminal", "fallback_after_minutes": §-1'), "channels.c.fallback_after_minutes",
        "is too small", "at least 0",
    ),
    "channel with the name of the journal": (
        '{"channels": {§"journal": {"type": "terminal"}}}', "channels.journal",
        "is reserved for the journal of the service", "another name",
    ),
    "no message at once": (
        '{"alerts": {"messages_at_once": §0}}', "alerts.messages_at_once", "is too small", "at least 1",
    ),
    "ping in the open": (
        '{"ping": {"url": §"https://hc-ping.com/secret"}}', "ping.url",
        "a secret must not stand here in the open; say where it comes from", OPEN_HELP,
    ),
    "ping that must be there": (
        '{"ping": {"url": §"$env:NOT_SET", "optional": false}}', "ping.url", "NOT_SET is not set",
        'provide it, or say "optional": true to run without the ping',
    ),
    "ping that must be there and is not named": (
        '{§"ping": {"optional": false}}', "ping.url", "AUTOMON_PING_URL is not set",
        'provide it, or say "optional": true to run without the ping',
    ),
    "ping that cannot be read": ('{"ping": {"url": §"$file:/"}}', "ping.url", "/ is not a plain file", ""),
    "ping too often": ('{"ping": {"every_seconds": §0.1}}', "ping.every_seconds", "is too small", "at least 1"),
    "misspelt key of the ping": (
        '{"ping": {§"every_second": 5}}', "ping.every_second",
        "unknown key, did you mean 'every_seconds'?", "known here: url, optional, every_seconds",
    ),
    "no JSON": ('{"alerts": {§,}}', "", "a key in double quotes must stand here, but here is ,", ""),
}  # fmt: skip


MISTAKES |= {
    f"ping to {url}": (f'{{"ping": {{"url": §"$literal:{url}"}}}}', "ping.url", NO_PING, PING_HELP)
    for url in (
        "ftp://h/secret", "h/secret", "https:///secret", "https://u:secret@h/", "https://h/secret#x", "https://h/se cret",
        "https://h:0/secret", "https://h:99999/secret", "https://[secret", "https://ünlaut/secret",
    )
}  # fmt: skip


@pytest.mark.parametrize(("text", "key", "message", "allowed"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_with_place_key_and_what_is_allowed(
    file: Path, text: str, key: str, message: str, allowed: str
) -> None:
    before, _, behind = text.partition("§")
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    found = problems(file, before + behind)

    expected = Problem(file=str(file), line=line, column=column, key=key, message=message, allowed=allowed)
    assert [expected] == found
    assert "secret" not in str(found).replace("a secret must not", "").lower()


def test_a_secret_with_several_lines_is_reported_at_its_reference(file: Path) -> None:
    secret = file.parent / "webhook"
    secret.write_text(f"{WEBHOOK}\n{WEBHOOK}\n")

    (problem,) = problems(file, channel(f'"type": "slack", "optional": true, "webhook_url": "$file:{secret}"'))

    assert f"{secret} holds more than one line" == problem.message


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file(file: Path) -> None:
    found = problems(
        file,
        """{
  // thirteen mistakes
  "alert_thresholds": {"error_rate": {"low": 25},
                       "queue_backlog": {"low": 50, "medium": 40, "high": "x"}},
  "overrides": {"host_cpu": {"ops-1": {"critical": 101, "low": 97}}},
  "schedule": {"cleanup_at": "noon", "timezone": "Mars/Base"},
  "channels": {
    "slack": {"type": "slack", "min_severty": "low", "webhook_url": "$env:NOT_SET"},
    "email": {"type": "email", "host": "mail", "from": "me", "to": ["you"], "ca_file": "/not/there"}
  },
  "alerts": {}, "alerts": {}
}""",
    )

    assert [
        (3, "alert_thresholds.error_rate"),
        (4, "alert_thresholds.queue_backlog.medium"),
        (4, "alert_thresholds.queue_backlog.high"),
        (5, "overrides.host_cpu.ops-1.critical"),
        (5, "overrides.host_cpu.ops-1.low"),
        (6, "schedule.cleanup_at"),
        (6, "schedule.timezone"),
        (8, "channels.slack.min_severty"),
        (8, "channels.slack.webhook_url"),
        (9, "channels.email.from"),
        (9, "channels.email.to[0]"),
        (9, "channels.email.ca_file"),
        (11, "alerts"),
    ] == [(problem.line, problem.key) for problem in found]


def test_a_flag_that_is_wrong_does_not_make_its_channel_look_wrong(file: Path) -> None:
    found = problems(file, channel('"type": "slack", "optional": "yes", "webhook_url": "$env:NOT_SET"'))

    assert ["channels.c.optional"] == [problem.key for problem in found]


def test_an_error_reads_as_one_line_with_file_line_and_column(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, '{\n  "retention": {"queue_days": 0},\n  "alerts": 5}')

    assert (
        f"{file}:2:31: retention.queue_days: is too small (at least 1)\n"
        f"{file}:3:13: alerts: must be an object ({{ … }})"
    ) == str(caught.value)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})

    assert f"{file}:1:1: there is no such file" == str(caught.value)


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, {})

    assert f"{tmp_path}:1:1: the file cannot be read: Is a directory" == str(caught.value)


def test_a_file_in_another_encoding_is_named_with_the_line(file: Path) -> None:
    file.write_bytes(b"{\n  // gr\xfc\xdfe\n}")

    with pytest.raises(ConfigError) as caught:
        load_config(file, {})

    assert f"{file}:2:1: this line is not UTF-8 text" == str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(file: Path) -> None:
    file.write_bytes('\ufeff{\r\n  "alerts": {"remind_after_minutes": 0}\r\n}\r\n'.encode())

    assert 0 == load_config(file, {}).settings_rows()["alerts.remind_after_seconds"]


# Any change of the shipped file.

FULL = jsonc.loads(SHIPPED.read_text(encoding="utf-8")) | {
    "overrides": {"error_rates": {"a": {"low": 5}}, "host_disk": {"b c": {"high": 96}}},
    "guidance": {"error_rates": {"impact": "x", "sources": {"a": {"runbook": "https://example.org"}}}},
    "channels": {
        "slack": {"type": "slack", "webhook_url": "$env:HOOK", "notify_on": ["opened"], "fallback": "ops"},
        "email": {"type": "email", "host": "h", "from": "a@x", "to": ["b@x"], "security": "none"},
        "ops": {"type": "apprise", "url": "$env:OPS", "optional": True, "timezone": "UTC", "fallback": "email"},
        "screen": {"type": "terminal", "enabled": False},
    },
}
PATHS = [path for path in jsonc.parse(json.dumps(FULL)).value_offsets if path]
SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 200) | st.floats(-1, 1e6) | st.text(max_size=5)
    | st.sampled_from(["$env:HOOK", "$env:NO", "$file:/no", "low", "opened", "slack", "ops", "journal", "UTC", "03:00", "a@x"])
)  # fmt: skip
LISTS = st.lists(SCALARS, max_size=2)
NOISE = SCALARS | LISTS | st.dictionaries(st.sampled_from(["low", "type", "*", "x"]), SCALARS | LISTS, max_size=3)
CHANGES = st.lists(
    st.tuples(st.sampled_from(PATHS), st.sampled_from(["replace", "drop", "rename"]), NOISE), min_size=1, max_size=4
)


def changed(document: Any, path: tuple[str | int, ...], how: str, value: Any) -> Any:
    """Return a copy of the document in which the value at `path` is replaced, or its key dropped or misspelt."""
    head, *rest = path
    if isinstance(document, list) and isinstance(head, int) and head < len(document):
        items = list(document)
        items[head] = changed(items[head], tuple(rest), how, value) if rest else value
        return items
    if not isinstance(document, dict) or head not in document:
        return document
    if rest:
        return document | {head: changed(document[head], tuple(rest), how, value)}
    kept = {key: item for key, item in document.items() if how == "replace" or key != head}
    return kept if how == "drop" else kept | {head if how == "replace" else f"{head}x": value}


@given(CHANGES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_in_a_file_it_loads_or_each_error_names_its_line_and_key(file: Path, changes: Any) -> None:
    document: Any = FULL
    for path, how, value in changes:
        document = changed(document, path, how, value)
    text = json.dumps(document, indent=1, ensure_ascii=False)

    found = load_or_problems(file, text)

    if isinstance(found, Config):
        assert 14 <= len(found.threshold_rows())
        assert 21 == len(found.settings_rows())
        assert len(document.get("channels", {})) == len(found.describe_channels())
    else:
        assert found
        for problem in found:
            assert_points_into(text, problem)


def load_or_problems(file: Path, text: str) -> Config | list[Problem]:
    try:
        return load(file, text)
    except ConfigError as error:
        return error.problems


def assert_points_into(text: str, problem: Problem) -> None:
    """Check that the place of a problem is that of its key, or of the nearest thing around it that is there."""
    assert problem.message not in ("", "is not valid")
    line = text.split("\n")[problem.line - 1]
    rest = line[problem.column - 1 :]
    assert rest.strip() == rest
    assert rest
    document = jsonc.parse(text)
    keys = {document.position(offset) for offset in document.key_offsets.values()}
    values = {document.position(offset) for offset in document.value_offsets.values()}
    assert (problem.line, problem.column) in keys | values


@given(st.sampled_from([path for path in PATHS if isinstance(path[-1], str)]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_misspelt_key_anywhere_is_reported_at_that_key(file: Path, path: tuple[str, ...]) -> None:
    document = changed(FULL, path, "rename", FULL)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    written = f"{path[-1]}x"
    is_name = path[0] in ("overrides", "guidance") and path[-1] in ("a", "b c")
    if is_name or path in (("channels", path[-1]), ("$schema",)):
        return

    found = problems(file, text)

    at = [problem for problem in found if problem.key.endswith(written)]
    line = next(number for number, content in enumerate(text.split("\n"), start=1) if f'"{written}":' in content)
    if path[-1] != "type":
        assert [line] == [problem.line for problem in at]
        assert f"unknown key, did you mean '{path[-1]}'?" == at[0].message
