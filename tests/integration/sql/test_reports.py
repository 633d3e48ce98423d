"""What people read, as SQL functions: alerts with their history, tasks, causes of errors, queues, hosts, silences."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.sql.alerting import apply, deliveries, kinds, silence, the_alert
from tests.support.calls import DAY, HOUR, MINUTE, NOON, SECOND, Calls, channel

# The end of an hour of the rollups is NOON itself.
LATER = NOON + 20 * MINUTE


def sample(calls: Calls, host: str, at: datetime, **values: Any) -> None:
    calls("record_host_sample", host, {"cpu_percent": 12.0, "memory_percent": 41.0} | values, at)


# Alerts ---------------------------------------------------------------------------------------------------------


def open_three(calls: Calls) -> None:
    apply(calls, NOON, ("a", "low", 1), ("b", "critical", 9), ("c", "high", 5))


def listed(calls: Calls, **wanted: object) -> list[str]:
    return [row["source"] for row in calls.rows("get_alerts", **{f"p_{name}": value for name, value in wanted.items()})]


def test_open_alerts_come_worst_first_and_history_newest_first(calls: Calls) -> None:
    open_three(calls)
    calls("resolve_alert", calls.one("SELECT id FROM public.alerts WHERE source = 'b'"), "ana", None, NOON + MINUTE)
    apply(calls, NOON + 2 * MINUTE, ("a", "low", 1), ("c", "high", 5), ("d", "medium", 3))

    assert listed(calls) == ["c", "d", "a"]
    assert listed(calls, open=False)[0] == "d"
    assert set(listed(calls, open=False)) == {"a", "b", "c", "d"}


def test_alerts_are_filtered(calls: Calls) -> None:
    open_three(calls)
    number = calls.one("SELECT id FROM public.alerts WHERE source = 'b'")
    calls("acknowledge_alert", number, "ana", None, NOON + MINUTE)

    assert listed(calls, severity="high") == ["b", "c"]
    assert listed(calls, source="a") == ["a"]
    assert listed(calls, alert_type="queue_backlog") == []
    assert listed(calls, unacknowledged=True) == ["c", "a"]
    assert listed(calls, since=NOON + MINUTE) == []
    assert listed(calls, since=NOON, limit=1) == ["b"]


def test_the_state_of_an_alert_is_a_word(calls: Calls) -> None:
    open_three(calls)
    by_source = {row["source"]: row["id"] for row in calls.ask("SELECT source, id FROM public.alerts")}
    calls("acknowledge_alert", by_source["b"], "ana", None, NOON + MINUTE)
    calls("resolve_alert", by_source["a"], "ana", None, NOON + 3 * MINUTE)
    silence(calls, 60, at=NOON, source="c")

    found = {row["source"]: row for row in calls.rows("get_alerts", p_open=False, p_now=NOON + 5 * MINUTE)}

    assert {source: row["status"] for source, row in found.items()} == {
        "a": "resolved",
        "b": "acknowledged",
        "c": "silenced",
    }
    assert (found["a"]["age_seconds"], found["b"]["age_seconds"]) == (180, 300)
    assert found["c"]["silenced_until"] == NOON + HOUR


@pytest.mark.parametrize("rolled", [False, True], ids=["facts", "rollups"])
def test_a_trend_is_twelve_hours_of_the_value_whether_rolled_up_or_not(calls: Calls, rolled: bool) -> None:
    calls.record_errors(3, "mail", until=NOON - 3 * HOUR - MINUTE)
    calls.record_errors(5, "mail", until=LATER)
    calls.record_errors(2, "mail", until=LATER, severity="critical")
    calls.run_tasks(2, ended=NOON - HOUR - MINUTE, seconds=10)
    calls.run_tasks(1, status="failed", ended=LATER, seconds=40, prefix="bad")
    calls.run_tasks(3, ended=LATER, seconds=40, prefix="good")
    if rolled:
        calls("roll_up", 1000, LATER)

    def values(alert_type: str, source: str = "mail") -> list[float | None]:
        found: list[float | None] = calls("get_alert_trend", alert_type, source, LATER)["values"]
        return found

    assert values("error_rate") == [0, 0, 0, 0, 0, 0, 0, 3 if rolled else 0, 0, 0, 0, 7]
    assert values("critical_errors")[-1] == 2
    assert values("failure_rate", "ocr")[-1] == 25
    assert values("processing_time", "ocr")[-1] == pytest.approx(40)
    if rolled:
        assert values("failure_rate", "ocr")[-3:] == [0, None, 25]


def test_trends_of_queues_hosts_and_components_are_read_at_the_end_of_each_hour(calls: Calls) -> None:
    for at, pending in ((NOON - 2 * HOUR, 7), (NOON - MINUTE, 60), (NOON, 90)):
        calls("update_queue_metrics", "mail", pending, p_at=at)
    sample(calls, "ops-1", NOON - MINUTE, disks=[{"mount": "/my data", "percent": 91.0}])
    calls("update_system_health", "api", "main", "unhealthy", p_at=NOON - 5 * HOUR + MINUTE)
    calls("update_system_health", "api", "main", "healthy", p_at=NOON - 4 * HOUR - MINUTE)

    def last(alert_type: str, source: str) -> Any:
        return calls("get_alert_trend", alert_type, source, NOON)["values"][-3:]

    assert last("queue_backlog", "mail") == [7, None, 90]
    assert last("host_cpu", "ops-1") == [None, None, 12]
    assert last("host_memory", "ops-1") == [None, None, 41]
    assert last("host_disk", "ops-1 /my data") == [None, None, 91]
    health = calls("get_alert_trend", "component_health", "api/main", NOON)["values"]
    assert health[5:9] == [None, None, 2, 0]
    assert calls("get_alert_trend", "running_time", "ocr", NOON) is None


def test_an_alert_is_explained_by_its_rule_its_silences_and_what_changed_near_it(calls: Calls) -> None:
    calls.configure(channels=[channel()], overrides=[{"alert_type": "error_rate", "source": "it", "critical": 9}])
    calls("update_system_health", "api", "main", "healthy", p_at=NOON - HOUR)
    calls("update_system_health", "api", "main", "unhealthy", None, "gone", p_at=NOON - 5 * MINUTE)
    apply(calls, NOON - 20 * MINUTE, ("other", "high", 5))
    silence(calls, 60, at=NOON - MINUTE, source="*")
    apply(calls, NOON, ("it", "critical", 9))
    number = calls.one("SELECT id FROM public.alerts WHERE source = 'it'")

    context = calls("get_alert_context", number, NOON + MINUTE)

    rule = {name: context["rule"][name] for name in ("source", "low", "critical", "origin")}
    assert rule == {"source": "it", "low": None, "critical": 9, "origin": "config"}
    assert (context["resolve_after_seconds"], context["remind_after_seconds"]) == (300, 3600)
    assert [one["by"] for one in context["silences"]] == ["kim"]
    assert [change["what"] for change in context["changes"]] == [
        "other: 5 errors (limit 1)",
        "api/main was healthy, is unhealthy: gone",
    ]
    assert context["has_audience"] is True
    assert calls("get_alert_context", number + 1) is None


def test_an_edit_of_the_configuration_stands_among_what_changed(calls: Calls) -> None:
    calls.ask(
        """INSERT INTO public.config_changes (at, noticed_by, actor, changes) VALUES (%s, 'sql', 'ana', '[{"key": "a.b", "old": 25, "new": 20}, {"key": "c", "old": null, "new": 1}]')""",
        NOON - MINUTE,
    )  # fmt: skip
    apply(calls, NOON, ("it", "critical", 9))

    [change] = calls("get_alert_context", the_alert(calls)["id"])["changes"]

    assert (change["kind"], change["what"]) == ("config", "a.b: 25 -> 20, c: nothing -> 1, by ana")


# Sources --------------------------------------------------------------------------------------------------------


def test_why_a_source_has_no_alert_is_each_check_with_its_value_and_limits(calls: Calls) -> None:
    calls.run_tasks(4, ended=NOON - MINUTE)

    found = {row["alert_type"]: row for row in calls.rows("get_source_report", "ocr", NOON)}

    assert set(found) == {"processing_time", "failure_rate", "running_time"}
    assert (found["processing_time"]["value"], found["processing_time"]["severity"]) == (pytest.approx(10), None)
    assert found["processing_time"]["rule"]["low"] == 180
    assert (found["failure_rate"]["value"], found["failure_rate"]["summary"]) == (
        None,
        "too few tasks in the last hour to judge",
    )


def test_a_host_is_reported_with_each_of_its_disks(calls: Calls) -> None:
    for minute in range(5):
        sample(calls, "ops-1", NOON - minute * MINUTE, disks=[{"mount": "/var", "percent": 96.0}, {"mount": "/", "percent": 5.0}])  # fmt: skip
    calls("check_host_alerts", NOON)

    found = [(row["alert_type"], row["source"], row["severity"]) for row in calls.rows("get_source_report", "ops-1", NOON)]  # fmt: skip

    assert found[0] == ("host_disk", "ops-1 /var", "high")
    assert set(found[1:]) == {
        ("host_cpu", "ops-1", None),
        ("host_memory", "ops-1", None),
        ("host_silence", "ops-1", None),
        ("host_disk", "ops-1 /", None),
    }
    assert calls.rows("get_source_report", "ops-1", NOON)[0]["alert_id"] == the_alert(calls)["id"]


def test_a_name_that_nothing_has_has_no_report_and_the_others_are_listed(calls: Calls) -> None:
    calls.run_tasks(1, ended=NOON - MINUTE)
    calls.record_errors(1, "billing", until=NOON)
    calls("update_queue_metrics", "mail", 1, p_at=NOON)
    sample(calls, "ops-1", NOON)
    calls("update_system_health", "api", "main", "healthy", p_at=NOON)

    assert calls.rows("get_source_report", "nobody", NOON) == []
    assert [(row["kind"], row["name"]) for row in calls.rows("get_sources", NOON)] == [
        ("component", "api/main"),
        ("component with errors", "billing"),
        ("queue", "mail"),
        ("task type", "ocr"),
        ("host", "ops-1"),
    ]


# Tasks ----------------------------------------------------------------------------------------------------------


def test_task_types_in_trouble_come_first(calls: Calls) -> None:
    calls.run_tasks(10, "fine", ended=NOON - MINUTE, prefix="fine")
    calls.run_tasks(8, "mended", ended=NOON - MINUTE, prefix="mended")
    calls.run_tasks(2, "mended", status="failed", ended=NOON - HOUR, prefix="was-bad")
    calls.run_tasks(1, "fails", ended=NOON - HOUR, prefix="was-good")
    calls.run_tasks(1, "fails", status="failed", ended=NOON - MINUTE, prefix="bad")
    calls("start_task_tracking", "stuck-1", "stuck", p_at=NOON - HOUR)
    calls("run_monitoring_checks", NOON)

    found = calls.rows("get_task_report", p_now=NOON)

    assert [row["task_type"] for row in found] == ["stuck", "fails", "mended", "fine"]
    stuck, fails, mended, fine = found
    assert (stuck["severity"], stuck["running"], stuck["runs"], stuck["last_status"]) == ("critical", 1, 0, None)
    assert (fails["failed"], fails["failure_rate_percent"], fails["last_status"]) == (1, 50, "failed")
    assert fails["last_error"] == "disk full"
    assert (mended["last_status"], mended["runs"], mended["p95_seconds"]) == ("completed", 10, 10)
    assert {(row["task_types"], row["ok_task_types"]) for row in found} == {(4, 2)}
    assert [row["task_type"] for row in calls.rows("get_task_report", p_limit=1, p_now=NOON)] == ["stuck"]
    assert [row["task_type"] for row in calls.rows("get_task_report", "fine", p_now=NOON)] == ["fine"]
    assert fine["severity"] is None


@pytest.mark.parametrize("rolled", [False, True], ids=["facts", "rollups"])
def test_one_task_type_is_told_with_what_runs_and_what_failed(calls: Calls, rolled: bool) -> None:
    calls.run_tasks(3, ended=NOON - MINUTE)
    for number, ago in enumerate((MINUTE, 2 * MINUTE, 5 * HOUR)):
        calls.run_tasks(1, status="failed", ended=NOON - ago, prefix=f"bad-{number}")
    calls("start_task_tracking", "now-1", "ocr", None, "worker-9", p_at=NOON - 3 * MINUTE)
    if rolled:
        calls("roll_up", 1000, NOON)

    told = calls("get_task_details", "ocr", DAY, NOON)

    assert (told["runs"], told["failed"], told["running"]) == (6, 3, 1)
    assert [one["task_id"] for one in told["running_now"]] == ["now-1"]
    recent = [one["task_id"] for one in told["failures"]]
    assert recent[:2] == ["bad-0-0", "bad-1-0"]
    assert ("bad-2-0" in recent) is rolled
    assert len(told["hours"]) == 12
    assert told["failures"][0]["error_message"] == "disk full"
    assert calls("get_task_details", "nothing", DAY, NOON) is None


# Errors ---------------------------------------------------------------------------------------------------------


def record_storm(calls: Calls, count: int, *, component: str = "ledger", until: datetime = NOON) -> None:
    """Record that many errors of three causes, none of which says the same twice."""
    calls.ask(
        """SELECT public.record_error('task-' || n, CASE n %% 3 WHEN 2 THEN 'ValidationError' ELSE 'HTTPError' END, CASE n %% 3 WHEN 0 THEN 'high' ELSE 'low' END,
               CASE n %% 3 WHEN 0 THEN 'HTTP 503 for invoice ' || n WHEN 1 THEN 'timed out after ' || n || ' s' ELSE 'invoice ' || n || ' has no tax id' END, %s,
               p_at => %s - n * interval '1 second') FROM generate_series(0, %s) AS n""",
        component, until, count - 1,
    )  # fmt: skip


def test_two_thousand_failures_are_three_causes(calls: Calls) -> None:
    record_storm(calls, 2000)

    found = calls.rows("get_error_causes", p_now=NOON)

    assert [(row["error_type"], row["signature"], row["errors"]) for row in found] == [
        ("HTTPError", "HTTP # for invoice #", 667),
        ("HTTPError", "timed out after # s", 667),
        ("ValidationError", "invoice # has no tax id", 666),
    ]
    assert {row["is_estimate"] for row in found} == {False}
    first = found[0]
    assert (first["severity"], first["tasks"], first["sample_message"]) == ("high", 667, "HTTP 503 for invoice 0")
    assert (first["sample_task_id"], first["last_at"], first["causes"]) == ("task-0", NOON, 3)
    assert first["first_at"] == NOON - 1998 * SECOND


def test_of_more_errors_than_are_looked_at_the_rest_is_taken_to_be_alike_and_said_to_be(calls: Calls) -> None:
    record_storm(calls, 6000)
    calls("record_error", "task-x", "Rare", "critical", "once", "other", p_at=NOON - 20 * HOUR)
    calls("record_error", None, "Old", "medium", "long ago 7", "ledger", p_at=NOON - 3 * HOUR)

    found = calls.rows("get_error_causes", p_now=NOON)

    by_signature = {row["signature"]: row for row in found}
    assert sum(row["errors"] for row in found) == pytest.approx(6002, abs=5)
    assert by_signature["HTTP # for invoice #"]["errors"] == pytest.approx(2000, rel=0.01)
    assert by_signature["HTTP # for invoice #"]["is_estimate"] is True
    # One message of a type: what the rollups say of the type is right for it.
    alone = by_signature["invoice # has no tax id"]
    assert (alone["errors"], alone["is_estimate"], alone["first_at"]) == (2000, False, NOON - 5999 * SECOND)
    # Not among the newest of its component, and found all the same.
    assert (by_signature["long ago #"]["errors"], by_signature["long ago #"]["sample_message"]) == (1, "long ago 7")
    assert by_signature["once"]["component"] == "other"


def test_causes_are_those_of_a_window_and_a_component(calls: Calls) -> None:
    record_storm(calls, 3, until=NOON - 2 * HOUR)
    record_storm(calls, 6, component="mail")

    assert {row["component"] for row in calls.rows("get_error_causes", p_window=HOUR, p_now=NOON)} == {"mail"}
    assert {row["component"] for row in calls.rows("get_error_causes", "ledger", p_now=NOON)} == {"ledger"}
    limited = calls.rows("get_error_causes", p_limit=2, p_now=NOON)
    assert (len(limited), limited[0]["causes"]) == (2, 6)
    assert calls.rows("get_error_causes", "nobody", p_now=NOON) == []


# Queues, hosts, components ----------------------------------------------------------------------------------------


def test_a_queue_says_what_comes_in_what_goes_out_and_when_it_is_empty(calls: Calls) -> None:
    for minute, (pending, completed) in enumerate([(100, 50), (90, 40), (80, 40)]):
        calls("update_queue_metrics", "drains", pending, 5, completed, 2, p_at=NOON - (2 - minute) * MINUTE)
        calls("update_queue_metrics", "grows", 10 + minute, p_at=NOON - (2 - minute) * MINUTE)
    calls("update_queue_metrics", "empty", 0, p_at=NOON)

    found = {row["queue_name"]: row for row in calls.rows("get_queue_report", p_now=NOON)}

    drains, grows, empty = found["drains"], found["grows"], found["empty"]
    assert (drains["out_per_minute"], drains["in_per_minute"], drains["change_per_minute"]) == (42, 32, -10)
    assert drains["seconds_to_empty"] == pytest.approx(480)
    assert (grows["in_per_minute"], grows["change_per_minute"], grows["seconds_to_empty"]) == (None, 1, None)
    assert (empty["seconds_to_empty"], empty["change_per_minute"]) == (0, None)
    assert {(row["queues"], row["ok_queues"]) for row in found.values()} == {(3, 3)}
    assert len(calls.rows("get_queue_report", 1, NOON)) == 1


def test_queues_in_trouble_come_first_and_a_silent_one_is_marked(calls: Calls) -> None:
    for minute in range(5):
        calls("update_queue_metrics", "silent", 1, p_at=NOON - 2 * HOUR - minute * MINUTE)
    calls("update_queue_metrics", "long", 640, p_at=NOON)
    calls("update_queue_metrics", "fine", 20, p_at=NOON)
    calls("check_queue_backlog_alerts", NOON)

    found = calls.rows("get_queue_report", p_now=NOON)

    assert [(row["queue_name"], row["severity"], row["is_silent"]) for row in found] == [
        ("long", "critical", False),
        ("silent", "high", True),
        ("fine", None, False),
    ]


def test_a_host_shows_the_limits_of_its_container_beside_the_machine_and_a_silent_one_is_marked(calls: Calls) -> None:
    limits = {"memory_limit_bytes": 2**31, "memory_percent": 88.0}
    sample(calls, "ops-2", NOON, memory_percent=88.0, container=limits, cpu={"percent": 12.0}, memory={"percent": 41.0}, disks=[{"mount": "/var", "percent": 5.0}])  # fmt: skip
    for minute in range(5):
        sample(calls, "ops-9", NOON - HOUR - minute * MINUTE)
    sample(calls, "fine", NOON, container={})
    calls("check_host_alerts", NOON)

    found = {row["host"]: row for row in calls.rows("get_host_report", p_now=NOON)}

    assert list(found) == ["ops-9", "ops-2", "fine"]
    assert (found["ops-9"]["is_silent"], found["ops-9"]["severity"]) == (True, "critical")
    assert (found["ops-2"]["container"], found["ops-2"]["host_memory_percent"]) == (limits, 41)
    assert (found["ops-2"]["severity"], found["ops-2"]["is_silent"]) == ("low", False)
    assert found["ops-2"]["disks"][0]["mount"] == "/var"
    assert (found["fine"]["container"], found["fine"]["disks"]) == (None, [])
    assert {(row["hosts"], row["ok_hosts"]) for row in found.values()} == {(3, 1)}


def test_components_in_trouble_come_first(calls: Calls) -> None:
    calls("update_system_health", "api", "fine", "healthy", 80, p_at=NOON)
    calls("update_system_health", "api", "ill", "unhealthy", None, "gone", p_at=NOON)
    for minute in range(5):
        calls("update_system_health", "api", "silent", "healthy", p_at=NOON - HOUR + minute * MINUTE)
    calls("check_system_health_alerts", NOON)

    found = calls.rows("get_component_report", p_now=NOON)

    assert [(row["source"], row["is_silent"], row["status"]) for row in found[:2]] == [
        ("api/ill", False, "unhealthy"),
        ("api/silent", True, "healthy"),
    ]
    assert found[2]["source"] == "api/fine"
    assert {(row["components"], row["ok_components"]) for row in found} == {(3, 1)}


def test_the_status_is_one_document_with_trends_for_the_first_alerts(calls: Calls) -> None:
    open_three(calls)
    calls("resolve_alert", calls.one("SELECT id FROM public.alerts WHERE source = 'b'"), "ana", None, NOON + MINUTE)

    status = calls("get_status", 1, NOON + 2 * MINUTE)

    assert sorted(status) == ["alerts", "components", "hosts", "last_resolved", "queues", "summary", "tasks"]
    assert [alert["source"] for alert in status["alerts"]] == ["c", "a"]
    assert [alert["trend"] is not None for alert in status["alerts"]] == [True, False]
    assert status["last_resolved"]["source"] == "b"
    assert status["alerts"][0]["opened_at"].endswith("+00:00")


# What people do ---------------------------------------------------------------------------------------------------


def test_an_alert_that_is_given_back_is_nobodys_and_is_reminded_of(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    apply(calls, NOON, ("it", "critical", 9))
    number = the_alert(calls)["id"]
    calls("acknowledge_alert", number, "ana", "on it", NOON + MINUTE)
    assert apply(calls, NOON + 2 * HOUR, ("it", "critical", 9)) == 0

    assert calls("unacknowledge_alert", number, "ben", "wrong one", NOON + 2 * HOUR + MINUTE) is True
    assert calls("unacknowledge_alert", number, "ben", None, NOON + 2 * HOUR + MINUTE) is False

    alert = the_alert(calls)
    assert (alert["acknowledged_at"], alert["acknowledged_by"], alert["acknowledged_note"]) == (None, None, None)
    assert kinds(calls) == ["opened", "acknowledged", "unacknowledged"]
    [told] = calls.ask("SELECT actor, note FROM public.alert_transitions WHERE kind = 'unacknowledged'")
    assert told == {"actor": "ben", "note": "wrong one"}
    assert [kind for kind, _, _ in deliveries(calls)] == ["opened", "acknowledged"]
    assert apply(calls, NOON + 4 * HOUR, ("it", "critical", 9)) == 1
    assert kinds(calls)[-1] == "reminded"
    assert calls("acknowledge_alert", number, "ana", None, NOON + 4 * HOUR) is True


def test_a_resolved_alert_is_not_given_back_and_an_unknown_one_is_refused(calls: Calls) -> None:
    apply(calls, NOON, ("it", "high", 9))
    number = the_alert(calls)["id"]
    calls("acknowledge_alert", number, "ana", None, NOON + MINUTE)
    calls("resolve_alert", number, "ana", None, NOON + MINUTE)

    assert calls("unacknowledge_alert", number) is False
    with pytest.raises(psycopg.Error) as raised:
        calls("unacknowledge_alert", number + 1)
    assert raised.value.sqlstate == "AM009"


def test_what_a_silence_would_have_hidden_is_counted_over_a_week(calls: Calls) -> None:
    calls.configure(channels=[channel("ops", recipients=["a", "b"])])
    apply(calls, NOON, ("mail", "critical", 9), ("web", "low", 1))
    now = calls.one("SELECT clock_timestamp()")

    of_mail = calls.rows("preview_silence", "mail", p_window=5000 * DAY, p_now=now)[0]
    of_all = calls.rows("preview_silence", "*", p_window=5000 * DAY, p_now=now)[0]
    of_none = calls.rows("preview_silence", "mail", "queue_backlog", p_now=now)[0]

    assert (of_mail["messages"], of_mail["alerts"], of_mail["critical"], of_mail["low"]) == (2, 1, 1, 0)
    assert (of_mail["worst_source"], of_mail["worst_severity"], of_mail["worst_opened_at"]) == (
        "mail",
        "critical",
        NOON,
    )
    assert (of_all["messages"], of_all["alerts"], of_all["worst_source"]) == (4, 2, "mail")
    assert (of_none["messages"], of_none["alerts"], of_none["worst_alert_id"]) == (0, 0, None)


def test_silences_are_listed_with_who_why_and_what_they_have_hidden(calls: Calls) -> None:
    now = calls.one("SELECT clock_timestamp()")
    calls.configure(channels=[channel()])
    long, short = (silence(calls, minutes, at=now, source="it") for minutes in (600, 60))
    apply(calls, now, ("it", "high", 9))
    ended = silence(calls, 60, at=now, source="other")
    assert calls("end_silence", ended, p_by="ben") is True

    open_ones = calls.rows("get_silences")
    every = {row["id"]: row for row in calls.rows("get_silences", True)}

    assert [row["id"] for row in open_ones] == [short, long]
    assert (open_ones[0]["created_by"], open_ones[0]["reason"], open_ones[0]["hidden_messages"]) == ("kim", "known", 1)
    assert set(every) == {long, short, ended}
    assert (every[ended]["ended_by"], every[ended]["is_active"]) == ("ben", False)
    assert every[short]["ended_by"] is None


def test_callers_of_before_end_a_silence_as_they_did(calls: Calls) -> None:
    first, second, third = (silence(calls, 60, at=NOON) for _ in range(3))

    assert calls.one("SELECT public.end_silence(%s::smallint, %s)", first, NOON + MINUTE) is True
    assert calls("end_silence", second, p_at=NOON + MINUTE) is True
    assert calls("end_silence", third, NOON + timedelta(hours=2)) is False
    assert calls.one("SELECT ended_by FROM public.alert_silences WHERE id = %s", first) == calls.one(
        "SELECT session_user::text"
    )
