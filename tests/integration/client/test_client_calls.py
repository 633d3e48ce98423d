"""Every call of the client, against the real functions."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from monitoring_client import MonitoringClient, RejectedError

Rows = Callable[..., list[tuple[Any, ...]]]
AN_HOUR_AGO = datetime.now(timezone.utc) - timedelta(hours=1)


def test_the_documented_calls_store_what_they_say(database_url: str, rows: Rows) -> None:
    monitor = MonitoringClient(database_url)
    task_id = monitor.start_task("document_processing", 1024)
    monitor.complete_task(task_id, "completed", output_size=2048)
    other_id = monitor.start_task("my_task", input_size=1024)
    monitor.complete_task(other_id, "failed")
    error = ValueError("Invalid input")
    monitor.record_error(task_id, "processing_error", "medium", str(error), "processor")
    monitor.record_performance_metric("processing_duration", "response_time", 1.25, "seconds", "processor")
    monitor.update_system_health("api", "main_api", "healthy", response_time=12.5)
    monitor.update_system_health("api", "main_api", "unhealthy", failure_reason="timeout")
    assert monitor.flush()
    dropped = monitor.dropped
    monitor.close()

    assert dropped == 0
    assert rows(
        "SELECT task_id, task_type, status, input_size, output_size FROM processing_metrics ORDER BY start_time"
    ) == [
        (task_id, "document_processing", "completed", 1024, 2048),
        (other_id, "my_task", "failed", 1024, None),
    ]
    assert rows("SELECT task_id, error_type, severity, error_message, component FROM error_tracking") == [
        (task_id, "processing_error", "medium", "Invalid input", "processor")
    ]
    assert rows("SELECT metric_name, metric_type, value, unit, component FROM performance_monitoring") == [
        ("processing_duration", "response_time", 1.25, "seconds", "processor")
    ]
    assert rows("SELECT status, failure_reason FROM system_health ORDER BY started_at") == [
        ("healthy", None),
        ("unhealthy", "timeout"),
    ]


def test_a_queue_report_is_stored(monitor: MonitoringClient, rows: Rows) -> None:
    assert monitor.queue("mail").report(pending=12, processing=3, completed=40, failed=1, oldest_pending_seconds=7.5)
    assert rows("SELECT queue_name, pending, processing, completed, failed FROM queue_monitoring") == [
        ("mail", 12, 3, 40, 1)
    ]


def test_a_heartbeat_shows_on_the_running_task(monitor: MonitoringClient, rows: Rows) -> None:
    task_id = monitor.start_task("import", worker_id="w-9")
    monitor.heartbeat(task_id, 40, "parse")

    assert rows("SELECT worker_id, status, progress, current_step FROM processing_metrics") == [
        ("w-9", "running", 40, "parse")
    ]


def test_a_given_moment_is_the_moment_of_the_fact(monitor: MonitoringClient, rows: Rows) -> None:
    task_id = monitor.start_task("export", at=AN_HOUR_AGO)
    monitor.complete_task(task_id, at=AN_HOUR_AGO + timedelta(minutes=10))

    assert rows("SELECT start_time, duration_seconds FROM processing_metrics") == [(AN_HOUR_AGO, 600)]


def test_a_replay_changes_nothing_and_is_no_loss(monitor: MonitoringClient, rows: Rows) -> None:
    for _ in range(2):
        assert monitor.record_error(None, "E", "low", "boom", "c", at=AN_HOUR_AGO)

    assert rows("SELECT count(*) FROM error_tracking") == [(1,)]
    assert monitor.dropped == 0


def test_text_is_stored_as_it_is(monitor: MonitoringClient, rows: Rows) -> None:
    text = "'; DROP TABLE alerts; -- %s {} \\ \" ü 漢 🙂 $$ \n E'\\n'"
    monitor.record_error(None, text, "low", text, text, stack_trace=text, context={text: text})

    assert rows("SELECT error_type, error_message, component, stack_trace, context FROM error_tracking") == [
        (text, text, text, text, {text: text})
    ]


def test_a_rejection_carries_the_code_and_the_hint(monitor: MonitoringClient) -> None:
    with pytest.raises(RejectedError, match="start_task_tracking") as caught:
        monitor.complete_task("never-started")

    assert (caught.value.sqlstate, bool(caught.value.hint)) == ("AM007", True)


def test_a_rejection_does_not_disturb_the_next_call(database_url: str, rows: Rows) -> None:
    with MonitoringClient(database_url) as monitor:
        monitor.complete_task("never-started")
        assert monitor.record_error(None, "E", "low", "boom", "c")
        assert monitor.flush()
        assert monitor.dropped == 1


def test_the_clock_of_the_database_decides_when_clocks_differ(monitor: MonitoringClient, rows: Rows) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(seconds=40)
    task_id = monitor.start_task("import", at=ahead)  # as a machine whose clock is ahead would

    assert monitor.complete_task(task_id)
    assert rows("SELECT status, duration_seconds FROM processing_metrics") == [("completed", 0)]


def test_a_moment_of_the_callers_own_is_not_changed(monitor: MonitoringClient) -> None:
    with pytest.raises(RejectedError, match="future"):
        monitor.start_task("import", at=datetime.now(timezone.utc) + timedelta(days=1))


def test_a_database_without_the_schema_is_told(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with MonitoringClient(database_url, schema='no "such" schema') as monitor:
        monitor.start_task("work")
        assert not monitor.flush(0.5)

    assert "has this database been migrated" in caplog.text


def test_a_task_tells_its_whole_story(monitor: MonitoringClient, rows: Rows) -> None:
    with monitor.task("import", input_size=10) as task:
        with task.step("parse"):
            assert task.progress(40)
            assert not task.progress(41)
        with task.step("store"):
            pass
        task.output_size = 7

    ((status, worker, input_size, output_size, progress, step, timings),) = rows(
        "SELECT status, worker_id, input_size, output_size, progress, current_step, step_timings FROM processing_metrics"
    )
    assert (status, worker, input_size, output_size) == ("completed", "tester", 10, 7)
    assert (progress, step, sorted(timings)) == (40, "parse", ["parse", "store"])


def test_a_failure_is_recorded_and_goes_on(monitor: MonitoringClient, rows: Rows) -> None:
    with pytest.raises(KeyError) as caught, monitor.task("import", component="importer", severity="high") as task:
        raise KeyError("total")

    assert rows("SELECT status, error_message FROM processing_metrics") == [("failed", "'total'")]
    ((task_id, kind, severity, message, component, trace),) = rows(
        "SELECT task_id, error_type, severity, error_message, component, stack_trace FROM error_tracking"
    )
    assert (task_id, kind, severity, message, component) == (task.task_id, "KeyError", "high", "'total'", "importer")
    assert trace.endswith(traceback.format_exception_only(caught.value)[-1])
    assert 'raise KeyError("total")' in trace


def test_an_interrupted_task_is_cancelled_without_an_error(monitor: MonitoringClient, rows: Rows) -> None:
    with pytest.raises(KeyboardInterrupt), monitor.task("import"):
        raise KeyboardInterrupt

    assert rows("SELECT status, error_message FROM processing_metrics") == [("cancelled", None)]
    assert rows("SELECT count(*) FROM error_tracking") == [(0,)]


def test_from_environment_reads_the_dsn_and_the_schema(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTOMON_DSN", database_url)
    with MonitoringClient.from_environment(worker_id="env") as monitor:
        monitor.start_task("work")
        assert monitor.flush()
    monkeypatch.setenv("AUTOMON_SCHEMA", "elsewhere")
    with MonitoringClient.from_environment() as monitor:
        monitor.start_task("work")
        assert not monitor.flush(0.5)

    assert rows("SELECT worker_id FROM processing_metrics") == [("env",)]
    assert "elsewhere" in caplog.text


def test_an_end_that_is_told_to_be_a_cancellation_keeps_the_exception_as_its_reason(
    monitor: MonitoringClient, rows: Rows
) -> None:
    monitor.task("attempt").start().end(ConnectionError("the line is down"), status="cancelled")

    assert rows("SELECT status, error_message FROM processing_metrics") == [("cancelled", "the line is down")]
    assert rows("SELECT count(*) FROM error_tracking") == [(0,)]
