"""Configuration: what the service puts in force, and job runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.integration.sql.alerting import apply, kinds
from tests.support.calls import MINUTE, NOON, Calls, channel

OVERRIDE = {"alert_type": "error_rate", "source": "invoice-sync", "low": 5, "medium": 10, "high": 75, "critical": 100}


def in_force(calls: Calls) -> list[Any]:
    return [
        calls.ask(f"SELECT to_jsonb(t) FROM public.{table} AS t ORDER BY 1")  # psycopg cannot read -infinity
        for table in ("monitoring_thresholds", "monitoring_settings", "notification_channels")
    ]


def test_a_config_is_put_in_force(calls: Calls) -> None:
    calls.configure(
        settings={"retention.queue_days": 3},
        channels=[channel(recipients=["a", "b"], min_severity="high", notify_on=["opened"])],
        overrides=[OVERRIDE],
    )

    assert calls("setting", "retention.queue_days") == 3
    assert calls.ask("SELECT name, recipients, min_severity, notify_on FROM public.notification_channels") == [
        {"name": "ops", "recipients": ["a", "b"], "min_severity": "high", "notify_on": ["opened"]}
    ]
    [row] = calls.ask(
        "SELECT low, medium, high, critical, origin FROM public.monitoring_thresholds WHERE source = 'invoice-sync'"
    )
    assert tuple(row.values()) == (5, 10, 75, 100, "config")


def test_putting_a_config_in_force_again_changes_nothing(calls: Calls) -> None:
    config: dict[str, Any] = {
        "settings": {"retention.queue_days": 3},
        "channels": [channel("ops", min_severity="critical"), channel("mail")],
        "overrides": [OVERRIDE],
    }
    apply(calls, NOON, ("it", "low", 30))
    calls.configure(**config)
    before = in_force(calls), kinds(calls), calls.ask("SELECT * FROM public.alert_deliveries")

    calls.configure(**config)

    assert (in_force(calls), kinds(calls), calls.ask("SELECT * FROM public.alert_deliveries")) == before


def test_limits_of_a_source_that_are_gone_from_the_config_are_gone(calls: Calls) -> None:
    calls.configure(overrides=[OVERRIDE])
    calls.configure()

    assert calls.ask("SELECT source FROM public.monitoring_thresholds WHERE source <> '*'") == []
    assert calls.one("SELECT count(*) FROM public.monitoring_thresholds") == 14


def test_what_was_set_by_sql_goes_back_to_what_the_config_says(calls: Calls) -> None:
    calls("set_threshold", "error_rate", "by-hand", 1, 2, 3, 4)
    calls("set_setting", "retention.queue_days", 99)

    calls.configure(settings={"retention.queue_days": 7})

    assert calls.ask("SELECT * FROM public.monitoring_thresholds WHERE source = 'by-hand'") == []
    assert calls("setting", "retention.queue_days") == 7


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"settings": {"no.such": 1}}, "AM012"),
        ({"settings": {"retention.queue_days": -1}}, "AM004"),
        ({"overrides": [OVERRIDE | {"alert_type": "no_such"}]}, "AM012"),
        ({"channels": [channel(min_severity="urgent")]}, "23514"),
    ],
    ids=["unknown setting", "negative setting", "unknown alert type", "unknown severity"],
)
def test_a_config_with_a_mistake_changes_nothing(calls: Calls, config: dict[str, Any], code: str) -> None:
    before = in_force(calls)

    with pytest.raises(psycopg.Error) as refused:
        calls.configure(**({"settings": {"retention.host_days": 1}, "channels": [channel("other")]} | config))

    assert refused.value.sqlstate == code
    assert in_force(calls) == before


@pytest.mark.parametrize("part", ["thresholds", "settings", "channels"])
def test_a_config_without_one_of_its_parts_is_refused_and_removes_nothing(calls: Calls, part: str) -> None:
    before = in_force(calls)
    whole: dict[str, Any] = {"thresholds": [], "settings": {}, "channels": []}

    with pytest.raises(psycopg.Error) as refusal:
        calls("sync_configuration", Jsonb({name: value for name, value in whole.items() if name != part}))

    assert refusal.value.sqlstate == "AM012"
    assert "lacks one of its parts" in str(refusal.value)
    assert in_force(calls) == before


def test_setting_a_threshold_says_whether_that_changed_anything(calls: Calls) -> None:
    assert calls("set_threshold", "error_rate", "it", 1, 2, 3, None) is True
    assert calls("set_threshold", "error_rate", "it", 1, 2, 3, None) is False
    assert calls("set_threshold", "error_rate", "it", 1, 2, 3, 4) is True


def test_setting_a_number_says_whether_that_changed_anything(calls: Calls) -> None:
    assert calls("set_setting", "retention.queue_days", 3) is True
    assert calls("set_setting", "retention.queue_days", 3) is False


def test_a_threshold_without_a_source_is_for_every_source(calls: Calls) -> None:
    calls("set_threshold", "error_rate", "", 1, None, None, None)

    assert (
        calls.one("SELECT low FROM public.monitoring_thresholds WHERE alert_type = 'error_rate' AND source = '*'") == 1
    )


def test_an_unknown_setting_has_no_value(calls: Calls) -> None:
    assert calls("setting", "no.such") is None


def test_a_job_run_is_remembered_from_beginning_to_end(calls: Calls) -> None:
    run = calls("begin_job_run", "cleanup", "host-1", NOON)
    assert calls.one("SELECT outcome FROM public.job_runs") == "running"

    assert calls("finish_job_run", run, "succeeded", {"errors_deleted": 3}, None, NOON + MINUTE) is True
    assert calls("finish_job_run", run, "failed", {}, "too late") is False

    [row] = calls.ask("SELECT job, instance, started_at, finished_at, outcome, counts, error FROM public.job_runs")
    assert tuple(row.values()) == ("cleanup", "host-1", NOON, NOON + MINUTE, "succeeded", {"errors_deleted": 3}, None)


def test_the_summary_shows_the_last_check_and_its_age(calls: Calls) -> None:
    run = calls("begin_job_run", "alert_checks", "host-1", NOON)
    calls("finish_job_run", run, "failed", {}, "no connection", NOON)

    last = calls("get_dashboard_summary", NOON + 10 * MINUTE)["automon"]["last_check"]
    assert (last["age_seconds"], last["outcome"], last["instance"], last["error"]) == (
        600,
        "failed",
        "host-1",
        "no connection",
    )


def test_statistics_tell_how_the_tasks_of_each_type_went(calls: Calls) -> None:
    calls.run_tasks(8, "ocr", seconds=10, prefix="a")
    calls.run_tasks(2, "ocr", seconds=60, status="failed", prefix="b")
    calls.run_tasks(1, "ocr", status="cancelled", prefix="c")
    calls.run_tasks(1, "mail", prefix="d")
    calls.run_tasks(1, "ocr", ended=NOON - timedelta(hours=2), prefix="earlier")

    rows = calls.ask("SELECT * FROM public.get_task_statistics(NULL, interval '1 hour', %s)", NOON)
    assert [(row["task_type"], row["tasks"], row["completed"], row["failed"], row["cancelled"], row["failure_rate_percent"]) for row in rows] == [
        ("ocr", 11, 8, 2, 1, 20), ("mail", 1, 1, 0, 0, 0),
    ]  # fmt: skip
    assert (rows[0]["p50_seconds"], rows[0]["max_seconds"], rows[0]["workers"], rows[0]["last_ended_at"]) == (
        10,
        60,
        1,
        NOON,
    )
    assert [
        row["task_type"]
        for row in calls.ask("SELECT task_type FROM public.get_task_statistics('mail', interval '1 hour', %s)", NOON)
    ] == ["mail"]
