"""The calls that users know, exactly as they write them, from psql, on a database that has never seen the service."""

from __future__ import annotations

import json

import pytest

from tests.support.psql import migrate_with_psql, psql

VIEWS = (
    "v_realtime_processing_status", "v_error_summary", "v_system_health_summary", "v_queue_performance", "v_performance_trends", "v_deliveries",
)  # fmt: skip
CALLS = [
    ("SELECT start_task_tracking('task-123', 'document_processing', 1024, 'worker-01');", "t"),
    ("SELECT complete_task_tracking('task-123', 'completed', 2048, '{\"step1\": 1.2}');", "t"),
    ("SELECT record_error('task-123', 'validation_error', 'medium', 'Invalid input', 'processor');", "t"),
    ("SELECT update_system_health('api', 'main_api', 'healthy', 50);", "t"),
    ("SELECT get_dashboard_summary();", None),
    ("SELECT check_error_rate_alerts();", "0"),
    ("SELECT check_processing_performance_alerts();", "0"),
    ("SELECT check_system_health_alerts();", "0"),
    ("SELECT check_queue_backlog_alerts();", "0"),
    ("SELECT resolve_resolved_alerts();", "0"),
    ("SELECT cleanup_old_monitoring_data();", None),
]


def answer(url: str, call: str, search_path: str = "") -> str:
    return psql(url, "-At", "-c", call, search_path=search_path).rstrip("\n")


@pytest.mark.parametrize("schema", ["public", "monitoring"])
def test_every_documented_call_works_as_written_and_then_every_view(empty_database_url: str, schema: str) -> None:
    migrate_with_psql(empty_database_url, schema=schema)

    answers = {call: answer(empty_database_url, call, schema) for call, _ in CALLS}

    assert {call: answers[call] for call, expected in CALLS if expected is not None} == {
        call: expected for call, expected in CALLS if expected is not None
    }
    summary = json.loads(answers["SELECT get_dashboard_summary();"])
    assert summary["tasks"]["completed_last_hour"] == 1
    assert summary["errors"]["last_hour"] == 1
    assert summary["components"] == {"healthy": 1, "degraded": 0, "unhealthy": 0}
    cleaned = json.loads(answers["SELECT cleanup_old_monitoring_data();"])
    assert {
        "alerts_deleted": 0, "errors_deleted": 0, "health_intervals_deleted": 0, "job_runs_deleted": 0, "more": False, "partitions_dropped": 0,
        "partitions_in_use": 0, "silences_deleted": 0,
    }.items() <= cleaned.items()  # fmt: skip
    assert set(cleaned["past_term_days"].values()) == {0}
    counts = {view: answer(empty_database_url, f"SELECT count(*) FROM {view}", schema) for view in VIEWS}
    shown = {"v_realtime_processing_status", "v_error_summary", "v_system_health_summary"}
    assert counts == {view: "1" if view in shown else "0" for view in VIEWS}


def test_the_shipped_thresholds_are_in_force_without_any_configuration(empty_database_url: str) -> None:
    migrate_with_psql(empty_database_url)

    rows = answer(
        empty_database_url,
        "SELECT alert_type, low, medium, high, critical FROM monitoring_thresholds WHERE alert_type IN ('error_rate', 'processing_time', 'queue_backlog') ORDER BY 1",
        "public",
    )

    assert rows.splitlines() == [
        "error_rate|25|50|75|100",
        "processing_time|180|300|600|900",
        "queue_backlog|50|100|200|500",
    ]


def test_the_shipped_retention_is_in_force_without_any_configuration(empty_database_url: str) -> None:
    migrate_with_psql(empty_database_url)

    rows = answer(
        empty_database_url, "SELECT name, value FROM monitoring_settings WHERE name LIKE 'retention.%'"
    ).splitlines()

    assert dict(row.removeprefix("retention.").split("|") for row in rows) == {
        "processing_days": "30", "errors_low_days": "30", "errors_medium_days": "30", "errors_high_days": "60", "errors_critical_days": "90",
        "performance_days": "7", "queue_days": "7", "host_days": "7", "health_days": "90", "resolved_alerts_days": "7", "job_runs_days": "30",
        "minutes_days": "8", "rollups_days": "400",
    }  # fmt: skip


def test_trouble_reported_through_psql_alone_raises_an_alert_and_shows_in_the_views(empty_database_url: str) -> None:
    migrate_with_psql(empty_database_url)
    answer(
        empty_database_url,
        "SELECT record_error('task-' || n, 'timeout', 'high', 'no answer', 'processor') FROM generate_series(1, 60) n",
    )
    answer(empty_database_url, "SELECT update_system_health('api', 'main_api', 'unhealthy', 50, 'timeout')")
    answer(empty_database_url, "SELECT update_queue_metrics('mail', 100)")
    answer(empty_database_url, "SELECT start_task_tracking('task-1', 'ocr')")
    answer(
        empty_database_url,
        "SELECT record_performance_metric('processing_duration', 'response_time', 1.25, 'seconds', 'processor')",
    )

    assert answer(empty_database_url, "SELECT check_error_rate_alerts()") == "1"
    assert answer(empty_database_url, "SELECT check_system_health_alerts()") == "1"
    assert answer(empty_database_url, "SELECT check_queue_backlog_alerts()") == "1"
    assert answer(empty_database_url, "SELECT alert_type, source, severity FROM v_active_alerts").splitlines() == [
        "component_health|api/main_api|critical", "error_rate|processor|medium", "queue_backlog|mail|medium",
    ]  # fmt: skip
    answer(
        empty_database_url,
        """SELECT sync_configuration('{"thresholds": [], "settings": {}, "channels": [{"name": "ops", "recipients": [""], "min_severity": "low", "notify_on": []}]}')""",
    )
    answer(empty_database_url, "SELECT send_canary()")
    for view in VIEWS:
        assert answer(empty_database_url, f"SELECT count(*) FROM {view}") == "1", view
