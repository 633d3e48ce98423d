"""What the functions refuse: each mistake with its code, its message and what to do next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.integration.sql.test_catalogue import RECORDING
from tests.support.calls import NOON, Calls

LONG = "x" * 513
NAIVE = datetime(2024, 5, 14, 12, 0)  # noqa: DTZ001 - what is to be refused
AWARE_TIME = "Give a timestamp with time zone: an aware datetime in Python, '2026-01-31 14:02:00+01' in SQL."
NTP = "Record what has happened; if the clocks differ, set the clock of the reporting machine (NTP)."
UNIT = "Check the unit: seconds, not milliseconds, since 1970?"
ALERT_TYPES = (
    "error_rate, critical_errors, failure_rate, processing_time, running_time, component_health, component_silence, response_time, queue_backlog, queue_silence, host_cpu, host_memory, "
    "host_disk, host_silence"
)


class Refusal(NamedTuple):
    name: str
    call: str
    code: str
    message: str
    hint: str


def name_hint(what: str) -> str:
    return f"Give {what} as a text of 1 to 512 bytes."


def number_hint(what: str) -> str:
    return f"Give {what} as a number that is not negative, or leave it out."


REFUSALS = [
    Refusal("forgetting what is no source", "forget_source('disk', '/')", "AM001", "invalid_name: 'disk' is no kind of source", "Use queue, host or component."),
    Refusal("a task without a name", "start_task_tracking(NULL, 'ocr')", "AM001", "invalid_name: task_id is missing", name_hint("task_id")),
    Refusal("a task with an empty name", "start_task_tracking('', 'ocr')", "AM001", "invalid_name: task_id is empty", name_hint("task_id")),
    Refusal("a task with a long name", f"start_task_tracking('{LONG}', 'ocr')", "AM001", "invalid_name: task_id is 513 bytes long", name_hint("task_id")),
    Refusal("a long name in bytes", f"start_task_tracking('{'ä' * 257}', 'ocr')", "AM001", "invalid_name: task_id is 514 bytes long", name_hint("task_id")),
    Refusal("a task without a type", "start_task_tracking('t', NULL)", "AM001", "invalid_name: task_type is missing", name_hint("task_type")),
    Refusal("an error without a type", "record_error('t', '', 'low', 'm')", "AM001", "invalid_name: error_type is empty", name_hint("error_type")),
    Refusal("an error of an empty task", "record_error('', 'timeout', 'low', 'm')", "AM001", "invalid_name: task_id is empty", name_hint("task_id")),
    Refusal("an error of a long component", f"record_error('t', 'e', 'low', 'm', '{LONG}')", "AM001", "invalid_name: component is 513 bytes long", name_hint("component")),
    Refusal("a metric without a name", "record_performance_metric('', 'gauge', 1)", "AM001", "invalid_name: metric_name is empty", name_hint("metric_name")),
    Refusal("a metric of a long component", f"record_performance_metric('m', 'gauge', 1, 's', '{LONG}')", "AM001", "invalid_name: component is 513 bytes long", name_hint("component")),
    Refusal("a component without a type", "update_system_health('', 'main', 'healthy')", "AM001", "invalid_name: component_type is empty", name_hint("component_type")),
    Refusal("a component without a name", "update_system_health('api', NULL, 'healthy')", "AM001", "invalid_name: component_name is missing", name_hint("component_name")),
    Refusal("a queue without a name", "update_queue_metrics('', 1)", "AM001", "invalid_name: queue_name is empty", name_hint("queue_name")),
    Refusal("a host without a name", "record_host_sample('', '{}')", "AM001", "invalid_name: host is empty", name_hint("host")),
    Refusal("a silence of nothing", "silence_alerts('', '1 hour')", "AM001", "invalid_name: source is empty", name_hint("source")),
    Refusal("a silence of no alert type", "silence_alerts('mail', '1 hour', p_alert_type => '')", "AM001", "invalid_name: alert_type is empty", name_hint("alert_type")),
    Refusal("an end that is none", "complete_task_tracking('running', 'running')", "AM002", "invalid_status: 'running' is not how a task ends", "Use completed, failed or cancelled."),
    Refusal("an end without a status", "complete_task_tracking('running', NULL)", "AM002", "invalid_status: NULL is not how a task ends", "Use completed, failed or cancelled."),
    Refusal("a state of no health", "update_system_health('api', 'main', 'Healthy')", "AM002", "invalid_status: 'Healthy' is not a state of health", "Use healthy, degraded or unhealthy."),
    Refusal("a component without a state", "update_system_health('api', 'main', NULL)", "AM002", "invalid_status: NULL is not a state of health", "Use healthy, degraded or unhealthy."),
    Refusal("a severity that is none", "record_error('t', 'e', 'urgent', 'm')", "AM003", "invalid_severity: 'urgent' is not a severity", "Use low, medium, high or critical."),
    Refusal("no severity", "record_error('t', 'e', NULL, 'm')", "AM003", "invalid_severity: NULL is not a severity", "Use low, medium, high or critical."),
    Refusal("a negative input", "start_task_tracking('t', 'ocr', -1)", "AM004", "invalid_number: input_size is -1", number_hint("input_size")),
    Refusal("a negative output", "complete_task_tracking('running', 'completed', -1)", "AM004", "invalid_number: output_size is -1", number_hint("output_size")),
    Refusal("progress above all", "record_task_heartbeat('running', 100.5)", "AM004", "invalid_number: progress is 100.5", "Give progress in percent, 0 to 100."),
    Refusal("negative progress", "record_task_heartbeat('running', -0.1)", "AM004", "invalid_number: progress is -0.1", "Give progress in percent, 0 to 100."),
    Refusal("progress that is no number", "record_task_heartbeat('running', 'NaN')", "AM004", "invalid_number: progress is NaN", "Give progress in percent, 0 to 100."),
    Refusal("a measurement that is missing", "record_performance_metric('m', 'gauge', NULL)", "AM004", "invalid_number: the value of 'm' is missing", "Give a finite number."),
    Refusal("a measurement that is no number", "record_performance_metric('m', 'gauge', 'NaN')", "AM004", "invalid_number: the value of 'm' is NaN", "Give a finite number."),
    Refusal("an infinite measurement", "record_performance_metric('m', 'gauge', '-Infinity')", "AM004", "invalid_number: the value of 'm' is -Infinity", "Give a finite number."),
    Refusal("a negative response time", "update_system_health('api', 'main', 'healthy', -1)", "AM004", "invalid_number: response_time_ms is -1", number_hint("response_time_ms")),
    Refusal("a response time that is no number", "update_system_health('api', 'main', 'healthy', 'NaN')", "AM004", "invalid_number: response_time_ms is NaN", number_hint("response_time_ms")),
    Refusal("an infinite response time", "update_system_health('api', 'main', 'healthy', 'Infinity')", "AM004", "invalid_number: response_time_ms is Infinity", number_hint("response_time_ms")),
    Refusal("a queue of unknown length", "update_queue_metrics('mail', NULL)", "AM004", "invalid_number: pending is missing", "Give the number of tasks that wait in the queue."),
    Refusal("a negative queue", "update_queue_metrics('mail', -1)", "AM004", "invalid_number: the lowest of the counts is -1", number_hint("the lowest of the counts")),
    Refusal("a negative count", "update_queue_metrics('mail', 1, p_failed => -2)", "AM004", "invalid_number: the lowest of the counts is -2", number_hint("the lowest of the counts")),
    Refusal("an oldest task from the future", "update_queue_metrics('mail', 1, p_oldest_pending_seconds => -1)", "AM004", "invalid_number: oldest_pending_seconds is -1", number_hint("oldest_pending_seconds")),
    Refusal("an oldest task of no age", "update_queue_metrics('mail', 1, p_oldest_pending_seconds => 'NaN')", "AM004", "invalid_number: oldest_pending_seconds is NaN", number_hint("oldest_pending_seconds")),
    Refusal("a negative setting", "set_setting('retention.queue_days', -1)", "AM004", "invalid_number: retention.queue_days is -1", number_hint("retention.queue_days")),
    Refusal("a setting without a value", "set_setting('retention.queue_days', NULL)", "AM004", "invalid_number: retention.queue_days is missing", number_hint("retention.queue_days")),
    Refusal("a time before there were tasks", "record_error('t', 'e', 'low', 'm', p_at => '1999-12-31 23:59:59+00')", "AM005", "invalid_time: 1999-12-31 23:59:59+00 is before the year 2000", UNIT),
    Refusal("a time without a beginning", "start_task_tracking('t', 'ocr', p_at => '-infinity'::timestamptz)", "AM005", "invalid_time: -infinity is before the year 2000", UNIT),
    Refusal("a silence without an end", "silence_alerts('mail', NULL)", "AM005", "invalid_time: a silence of no duration", "Give a duration from above zero to 90 days, such as interval '2 hours'."),
    Refusal("a silence of no time", "silence_alerts('mail', '0')", "AM005", "invalid_time: a silence of 00:00:00", "Give a duration from above zero to 90 days, such as interval '2 hours'."),
    Refusal("a silence for ever", "silence_alerts('mail', '91 days')", "AM005", "invalid_time: a silence of 91 days", "Give a duration from above zero to 90 days, such as interval '2 hours'."),
    Refusal("the end of an unknown task", "complete_task_tracking('nobody')", "AM007", "unknown_task: no task 'nobody' is running or has ended", "Call start_task_tracking first, with the same id."),
    Refusal("a sign of life of an unknown task", "record_task_heartbeat('nobody')", "AM007", "unknown_task: no task 'nobody' is running or has ended", "Call start_task_tracking first, with the same id."),
    Refusal("an end before the start", "complete_task_tracking('running', p_at => '2024-05-14 11:59:59+00'::timestamptz)", "AM008",
            "ends_before_start: task 'running' started 2024-05-14 12:00:00+00 and cannot end 2024-05-14 11:59:59+00", "Give the moment of the end, with its time zone."),
    Refusal("taking nothing in hand", "acknowledge_alert(99)", "AM009", "unknown_alert: there is no alert 99", "See v_active_alerts for those that are open."),
    Refusal("resolving nothing", "resolve_alert(NULL)", "AM009", "unknown_alert: there is no alert ", "See v_active_alerts for those that are open."),
    Refusal("a threshold of nothing", "set_threshold('errors', '*', 1, 2, 3, 4)", "AM012", "invalid_setting: there is no alert type 'errors'", f"Use one of {ALERT_TYPES}."),
    Refusal("a setting of nothing", "set_setting('retention.tasks', 1)", "AM012", "invalid_setting: there is no setting 'retention.tasks'", "See the names in monitoring_settings."),
]  # fmt: skip


def facts(calls: Calls) -> list[Any]:
    """Everything that was recorded."""
    tables = (
        "processing_metrics",
        "error_tracking",
        "performance_monitoring",
        "system_health",
        "queue_monitoring",
        "host_metrics",
        "monitored_sources",
        "alert_silences",
    )
    return [
        row
        for table in tables
        for row in calls.ask(f"SELECT '{table}' AS of, to_jsonb(t) AS row FROM public.{table} AS t ORDER BY 2")
    ]


def refused(calls: Calls, call: str, *values: object) -> psycopg.errors.Diagnostic:
    with pytest.raises(psycopg.Error) as raised:
        calls.ask(f"SELECT public.{call}", *values)
    return raised.value.diag


@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal.name for refusal in REFUSALS])
def test_it_refuses(calls: Calls, refusal: Refusal) -> None:
    calls("start_task_tracking", "running", "ocr", p_at=NOON)
    calls.use_usual_forms()
    before = facts(calls)

    said = refused(calls, refusal.call)

    assert (said.sqlstate, said.message_primary, said.message_hint) == (refusal.code, refusal.message, refusal.hint)
    assert facts(calls) == before


TIMED_CALLS = [
    "start_task_tracking('t', 'ocr', p_at => %s)",
    "complete_task_tracking('running', p_at => %s)",
    "record_task_heartbeat('running', p_at => %s)",
    "record_error('t', 'e', 'low', 'm', p_at => %s)",
    "record_performance_metric('m', 'gauge', 1, p_at => %s)",
    "update_system_health('api', 'main', 'healthy', p_at => %s)",
    "update_queue_metrics('mail', 1, p_at => %s)",
    "record_host_sample('host-1', '{}', p_at => %s)",
]
TIMED_IDS = [call.split("(")[0] for call in TIMED_CALLS]


@pytest.mark.parametrize("call", TIMED_CALLS, ids=TIMED_IDS)
@pytest.mark.parametrize("moment", ["two minutes ahead", "infinity"])
def test_a_time_that_lies_ahead_is_refused_everywhere(calls: Calls, call: str, moment: str) -> None:
    calls("start_task_tracking", "running", "ocr", p_at=NOON)
    before = facts(calls)
    ahead = calls.one("SELECT clock_timestamp() + interval '2 minutes'") if moment != "infinity" else "infinity"

    said = refused(calls, call.replace("%s", "%s::timestamptz"), ahead)

    assert (said.sqlstate, said.message_hint) == ("AM005", NTP)
    assert "lies in the future of the database, where it is " in (said.message_primary or "")
    assert facts(calls) == before


def full_call(calls: Calls, function: str, *, named: bool) -> str:
    """A call that gives every argument: the moment as it is passed, NULL for the others."""
    [form] = calls.ask(
        "SELECT proargnames AS names, proargtypes::regtype[]::text[] AS types FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND proname = %s AND 'timestamptz'::regtype = ANY (proargtypes)", function
    )  # fmt: skip
    values = [*(f"NULL::{kind}" for kind in form["types"][:-1]), "%s"]
    prefixes = [f"{name} => " if named else "" for name in form["names"]]
    return f"{function}({', '.join(map(str.__add__, prefixes, values))})"


@pytest.mark.parametrize("function", sorted(RECORDING))
@pytest.mark.parametrize("named", [False, True], ids=["by position", "by name"])
def test_a_time_without_a_zone_is_refused_everywhere(calls: Calls, function: str, *, named: bool) -> None:
    said = refused(calls, full_call(calls, function, named=named), NAIVE)

    assert (said.sqlstate, said.message_primary, said.message_hint) == (
        "AM006",
        "naive_time: the moment was given without a time zone",
        AWARE_TIME,
    )
    assert facts(calls) == []


@pytest.mark.parametrize("call", TIMED_CALLS, ids=TIMED_IDS)
def test_a_time_before_the_year_2000_is_refused_everywhere(calls: Calls, call: str) -> None:
    said = refused(calls, call, NOON - timedelta(days=36500))

    assert (said.sqlstate, said.message_hint) == ("AM005", UNIT)


@pytest.mark.parametrize("call", TIMED_CALLS, ids=TIMED_IDS)
def test_a_clock_that_is_half_a_minute_ahead_is_borne_with(calls: Calls, call: str) -> None:
    calls("start_task_tracking", "running", "ocr")
    ahead = calls.one("SELECT clock_timestamp() + interval '30 seconds'")

    assert [set(row.values()) for row in calls.ask(f"SELECT public.{call}", ahead)] == [{True}]
