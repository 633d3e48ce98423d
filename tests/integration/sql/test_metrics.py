"""What get_metrics says, and what the views for dashboards show."""

from __future__ import annotations

from typing import Any

import pytest

from automon.metrics import database_series, render
from tests.support.calls import HOUR, JOURNAL, MINUTE, NOON, SECOND, Calls, Row, channel
from tests.support.prometheus import read_exposition

DASHBOARD_VIEWS = (
    "v_task_minutes", "v_task_hours", "v_error_minutes", "v_error_hours", "v_queue_history", "v_host_history", "v_host_summary", "v_alert_history", "v_job_runs", "v_services",
    "v_blind_periods",
)  # fmt: skip


def by(rows: list[Row], *keys: str) -> dict[Any, Row]:
    return {tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row for row in rows}


def disk(mount: str, percent: float) -> Row:
    return {"mount": mount, "percent": percent, "free_bytes": 1000}


def test_an_empty_database_can_be_told(calls: Calls) -> None:
    told = calls("get_metrics", NOON)

    assert (
        told["tasks"] == told["errors"] == told["queues"] == told["components"] == told["hosts"] == told["disks"] == []
    )
    assert told["left_out"] == {"task_type": 0, "component": 0, "queue": 0, "host": 0, "mount": 0}
    assert told["automon"]["jobs"] == []
    assert "automon_services" in read_exposition(render(database_series(told)).decode())


def test_tasks_are_counted_by_type_and_end_and_measured(calls: Calls) -> None:
    calls.run_tasks(8, "ocr", seconds=10, ended=NOON - MINUTE, prefix="a")
    calls.run_tasks(2, "ocr", seconds=30, ended=NOON - 50 * MINUTE, status="failed", prefix="b")
    calls.run_tasks(1, "ocr", seconds=900, ended=NOON - MINUTE, status="cancelled", prefix="c")
    calls.run_tasks(5, "ocr", seconds=900, ended=NOON - 61 * MINUTE, prefix="d")
    calls("start_task_tracking", "runs", "mail", p_at=NOON - 40 * SECOND)
    calls("start_task_tracking", "runs too", "mail", p_at=NOON - 20 * SECOND)

    tasks = by(calls("get_metrics", NOON)["tasks"], "task_type")

    assert tasks.keys() == {"ocr", "mail"}
    ocr, mail = tasks["ocr"], tasks["mail"]
    assert (ocr["completed"], ocr["failed"], ocr["cancelled"], ocr["running"]) == (8, 2, 1, 0)
    assert (ocr["p50_seconds"], ocr["p99_seconds"]) == (pytest.approx(10, rel=0.03), pytest.approx(30, rel=0.03))
    assert ocr["oldest_running_seconds"] is None
    assert (mail["running"], mail["oldest_running_seconds"], mail["completed"], mail["p50_seconds"]) == (2, 40, 0, None)


def test_a_moment_that_has_passed_is_told_as_it_was(calls: Calls) -> None:
    calls("start_task_tracking", "ran", "ocr", p_at=NOON - MINUTE)
    calls("complete_task_tracking", "ran", "completed", p_at=NOON + MINUTE)

    [then], [later] = (calls("get_metrics", at)["tasks"] for at in (NOON, NOON + 2 * MINUTE))

    assert (then["running"], then["completed"]) == (1, 0)
    assert (later["running"], later["completed"]) == (0, 1)


def test_a_type_whose_tasks_were_all_cancelled_has_no_duration(calls: Calls) -> None:
    calls.run_tasks(2, "ocr", status="cancelled")

    [ocr] = calls("get_metrics", NOON)["tasks"]

    assert (ocr["cancelled"], ocr["p50_seconds"]) == (2, None)


def test_types_beyond_the_busiest_are_one(calls: Calls) -> None:
    for number, task_type in ((3, "busy"), (2, "less"), (1, "quiet"), (1, "also quiet")):
        calls.run_tasks(number, task_type, prefix=task_type)
    calls("start_task_tracking", "runs", "quiet", p_at=NOON - MINUTE)
    calls("start_task_tracking", "runs too", "quiet", p_at=NOON - MINUTE)

    told = calls("get_metrics", NOON, 2)
    tasks = by(told["tasks"], "task_type")

    assert {name: row["completed"] for name, row in tasks.items()} == {"busy": 3, "quiet": 1, "other": 3}
    assert tasks["other"]["p50_seconds"] == pytest.approx(10, rel=0.03)
    assert told["left_out"]["task_type"] == 2


def test_errors_are_counted_by_component_and_severity(calls: Calls) -> None:
    calls.record_errors(3, "billing", until=NOON - SECOND)
    calls.record_errors(2, "billing", until=NOON - SECOND, severity="high")
    calls.record_errors(1, "mail", until=NOON - SECOND)
    calls.record_errors(1, "sync", until=NOON - SECOND)
    calls.record_errors(1, "old", until=NOON - 61 * MINUTE)

    told = calls("get_metrics", NOON, 1)

    assert {(row["component"], row["severity"]): row["errors"] for row in told["errors"]} == {
        ("billing", "medium"): 3,
        ("billing", "high"): 2,
        ("other", "medium"): 2,
    }
    assert told["left_out"]["component"] == 2


def test_queues_are_told_by_their_newest_report(calls: Calls) -> None:
    calls("update_queue_metrics", "mail", 9, p_at=NOON - MINUTE)
    calls("update_queue_metrics", "mail", 5, 2, None, None, 30.5, p_at=NOON)
    calls("update_queue_metrics", "sync", 3, 1, p_at=NOON)
    calls("update_queue_metrics", "jobs", 2, p_at=NOON - HOUR)
    calls("update_queue_metrics", "gone", 100, p_at=NOON - 25 * HOUR)

    queues = by(calls("get_metrics", NOON)["queues"], "queue")
    fewer = calls("get_metrics", NOON, 1)

    assert queues.keys() == {"mail", "sync", "jobs"}
    assert queues["mail"] == {
        "queue": "mail",
        "pending": 5,
        "processing": 2,
        "oldest_pending_seconds": 30.5,
        "reported_at": NOON.timestamp(),
    }
    other = by(fewer["queues"], "queue")["other"]
    assert (other["pending"], other["processing"], other["reported_at"]) == (5, 1, (NOON - HOUR).timestamp())
    assert fewer["left_out"]["queue"] == 2


def test_components_in_trouble_keep_their_names(calls: Calls) -> None:
    for name, status in (("a", "healthy"), ("b", "healthy"), ("c", "unhealthy")):
        calls("update_system_health", "api", name, status, 12.5, p_at=NOON)

    told = by(calls("get_metrics", NOON)["components"], "component")
    fewer = by(calls("get_metrics", NOON, 1)["components"], "component")

    assert (told["api/a"]["healthy"], told["api/a"]["unhealthy"], told["api/a"]["response_time_ms"]) == (1, 0, 12.5)
    assert fewer.keys() == {"api/c", "other"}
    assert (fewer["other"]["healthy"], fewer["other"]["response_time_ms"]) == (2, None)


def test_the_busiest_hosts_and_the_fullest_disks_are_told(calls: Calls) -> None:
    calls(
        "record_host_sample",
        "ops-1",
        {"cpu_percent": 90, "memory_percent": 50, "disks": [disk("/", 40), disk("/var", 91)], "network": {}},
        p_at=NOON,
    )
    calls(
        "record_host_sample",
        "ops-2",
        {"cpu_percent": 10, "container": {"cpu_limit_cores": 2}, "disks": [disk("/", 95)]},
        p_at=NOON,
    )
    calls("record_host_sample", "gone", {"cpu_percent": 99}, p_at=NOON - 25 * HOUR)

    told = calls("get_metrics", NOON)
    fewer = calls("get_metrics", NOON, 1)

    hosts = by(told["hosts"], "host")
    assert hosts.keys() == {"ops-1", "ops-2"}
    assert hosts["ops-1"]["sample"] == {"cpu_percent": 90, "memory_percent": 50}
    assert hosts["ops-2"]["sample"]["container"] == {"cpu_limit_cores": 2}
    assert by(told["disks"], "host", "mount").keys() == {("ops-1", "/"), ("ops-1", "/var"), ("ops-2", "/")}
    assert [row["host"] for row in fewer["hosts"]] == ["ops-1"]
    assert [(row["host"], row["mount"]) for row in fewer["disks"]] == [("ops-2", "/")]
    assert (fewer["left_out"]["host"], fewer["left_out"]["mount"]) == (1, 2)


def test_alerts_are_counted_by_type_severity_and_status(calls: Calls) -> None:
    for queue in ("mail", "sync"):
        calls("update_queue_metrics", queue, 250)
    calls("update_queue_metrics", "jobs", 60)
    calls("check_queue_backlog_alerts")
    calls("acknowledge_alert", calls.one("SELECT id FROM public.alerts WHERE source = 'mail'"), "ana")

    alerts = by(calls("get_metrics")["alerts"], "severity", "status")

    assert {key: row["alerts"] for key, row in alerts.items()} == {
        ("high", "open"): 1,
        ("high", "acknowledged"): 1,
        ("low", "open"): 1,
    }
    assert {row["alert_type"] for row in alerts.values()} == {"queue_backlog"}


def test_what_waits_and_was_given_up_is_told_of_each_channel(calls: Calls) -> None:
    calls.configure(channels=[channel("slack", recipients=("",)), channel("mail", recipients=("a", "b")), JOURNAL])
    calls("update_queue_metrics", "mail", 250)
    calls("check_queue_backlog_alerts")
    calls.ask(
        "UPDATE public.alert_deliveries SET status = 'failed', finished_at = clock_timestamp() WHERE channel = 'slack'"
    )
    calls.ask(
        "UPDATE public.notification_channels SET stopped_at = clock_timestamp(), last_error = 'no such hook' WHERE name = 'slack'"
    )

    channels = by(calls("get_metrics")["automon"]["channels"], "channel")

    assert channels.keys() == {"slack", "mail", "journal"}
    assert (channels["slack"]["state"], channels["slack"]["waiting"], channels["slack"]["failed_last_day"]) == (
        "stopped",
        0,
        1,
    )
    assert channels["slack"]["oldest_waiting_seconds"] is None
    assert (channels["mail"]["state"], channels["mail"]["waiting"]) == ("working", 2)
    assert channels["mail"]["oldest_waiting_seconds"] >= 0


def test_jobs_blindness_and_partitions_are_told(calls: Calls) -> None:
    for job, minutes, outcome in (
        ("alert_checks", 10, "succeeded"),
        ("alert_checks", 5, "failed"),
        ("cleanup", 5 * 24 * 60, "succeeded"),
    ):
        run = calls("begin_job_run", job, "ops-1:a", NOON - minutes * MINUTE)
        calls("finish_job_run", run, outcome, {}, None, NOON - minutes * MINUTE + 2 * SECOND)
    calls("begin_job_run", "alert_checks", "ops-1:a", NOON)
    calls.ask(
        "INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s, %s, 'asleep')",
        NOON - 25 * HOUR,
        NOON - 23 * HOUR,
    )
    calls("ensure_partitions", 2, NOON)

    automon = calls("get_metrics", NOON)["automon"]

    [checks] = automon["jobs"]
    assert checks == {
        "job": "alert_checks", "succeeded": False, "seconds": 2,
        "ran_at": (NOON - 5 * MINUTE).timestamp(), "succeeded_at": (NOON - 10 * MINUTE).timestamp(),
    }  # fmt: skip
    assert automon["blind_seconds_last_day"] == 3600
    assert {row["ahead"] for row in automon["partitions"]} == {2}
    assert len(automon["partitions"]) == calls.one("SELECT count(*) FROM public.day_partitioned_tables()")


def test_only_services_that_live_are_counted(calls: Calls) -> None:
    calls("beat", "ops-1:a")
    calls("beat", "ops-2:b")
    calls("leave", "ops-2:b")

    assert calls("get_metrics")["automon"]["services"] == 1


# Views for dashboards ---------------------------------------------------------------------------------------------


@pytest.fixture
def lived_in(calls: Calls) -> Calls:
    """A database in which everything has happened once, just now."""
    now = calls.one("SELECT clock_timestamp()")
    calls("beat", "ops-1:a")
    calls.run_tasks(3, "ocr", ended=now - MINUTE)
    calls.record_errors(2, until=now - MINUTE)
    calls("update_queue_metrics", "mail", 250)
    calls(
        "record_host_sample",
        "ops-1",
        {"cpu_percent": 9, "disks": [disk("/var", 50)], "container": {"memory_limit_bytes": 1000}},
    )
    calls("check_queue_backlog_alerts")
    calls("finish_job_run", calls("begin_job_run", "alert_checks", "ops-1:a"), "succeeded")
    calls.ask(
        "INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s, %s, 'asleep')", now - HOUR, now - MINUTE
    )
    calls("roll_up")
    return calls


def test_the_views_show_what_has_happened(lived_in: Calls) -> None:
    rows = {view: lived_in.ask(f"SELECT * FROM public.{view}") for view in DASHBOARD_VIEWS}

    assert [view for view, found in rows.items() if not found] == []
    for view in ("v_task_minutes", "v_task_hours"):
        [task] = rows[view]
        assert (task["task_type"], task["status"], task["tasks"], task["avg_seconds"], task["max_seconds"]) == (
            "ocr",
            "completed",
            3,
            10,
            10,
        )
    assert (
        sum(row["errors"] for row in rows["v_error_minutes"])
        == sum(row["errors"] for row in rows["v_error_hours"])
        == 2
    )
    [host] = rows["v_host_summary"]
    assert (host["host"], host["fullest_disk"], host["disk_percent"], host["container_memory_limit_bytes"]) == (
        "ops-1",
        "/var",
        50,
        1000,
    )
    [service] = rows["v_services"]
    assert service["is_alive"]


@pytest.mark.parametrize("view", ["v_task_minutes", "v_error_minutes", "v_queue_history", "v_host_history"])
def test_a_dashboard_reads_only_the_days_that_it_asks_for(calls: Calls, view: str) -> None:
    calls("ensure_partitions", 8)
    plan = calls.one(
        f"EXPLAIN (FORMAT JSON) SELECT * FROM public.{view} WHERE at BETWEEN now() - interval '1 hour' AND now()"
    )
    [(timing,)] = [(step,) for step in plan]

    assert pruned(timing["Plan"]) > 0


def pruned(plan: Row) -> int:
    """Count the partitions that were left out: at once, or because the moment is not known before it runs."""
    return int(plan.get("Subplans Removed", 0)) + sum(pruned(below) for below in plan.get("Plans", ()))
