"""Who changed the configuration and when, what was rejected, and what is in force past the file."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from tests.integration.sql.alerting import kinds
from tests.integration.sql.conftest import NewSession
from tests.support.calls import DAY, MINUTE, NOON, Calls, Row, channel

PROBLEM = {"line": 12, "column": 8, "key": "alerts", "message": "must be an object", "allowed": "{ … }"}
RIGHT = {"alerts.x": {"value": "5", "line": 3}}
OVERRIDE = {"alert_type": "queue_backlog", "source": "mail", "low": 5, "medium": 10, "high": 20, "critical": 30}


def judgement(noticed_by: str = "watch", **what: object) -> Row:
    return {
        "at": NOON.isoformat(),
        "noticed_by": noticed_by,
        "actor": "root",
        "file_changed_at": NOON.isoformat(),
        **what,
    }


def rejected(**more: object) -> Row:
    return judgement(problems=[PROBLEM | more])


def accepted(entries: Row | None = None, **more: Any) -> Row:
    return judgement(entries=entries or RIGHT, **more)


def record(calls: Calls, *judgements: Row, instance: str = "a", host: str = "ops-1") -> int:
    calls("beat", instance, p_why=None)
    found: int = calls("record_config_judgements", instance, host, "/etc/c.json", Jsonb(list(judgements)))
    return found


def history(calls: Calls, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in reversed(calls.rows("get_config_changes"))]


def config_alerts(calls: Calls) -> list[tuple[str, str, str]]:
    rows = calls.ask(
        "SELECT source, severity, CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END AS state FROM public.alerts WHERE alert_type = 'automon_config' ORDER BY id"
    )
    return [(row["source"], row["severity"], row["state"]) for row in rows]


# What a service says of its file ------------------------------------------------------------------------------------


def test_the_first_start_is_kept_and_the_next_one_only_with_what_it_changes(calls: Calls) -> None:
    assert record(calls, accepted(noticed_by="start")) == 1
    assert record(calls, accepted(noticed_by="start"), instance="b") == 0
    more = {"alerts.x": {"value": "6", "line": 4}, "alerts.y": {"value": "1", "line": None}}

    assert record(calls, accepted(more, noticed_by="start"), instance="c") == 1

    assert history(calls, "noticed_by", "actor", "changes") == [
        ("start", "root", []),
        (
            "start",
            "root",
            [
                {"key": "alerts.x", "old": "5", "new": "6", "line": 4},
                {"key": "alerts.y", "old": None, "new": "1", "line": None},
            ],
        ),
    ]


def test_a_file_that_has_only_moved_its_lines_has_not_changed(calls: Calls) -> None:
    record(calls, accepted())

    assert record(calls, accepted({"alerts.x": {"value": "5", "line": 30}}, noticed_by="start"), instance="b") == 0


def test_a_rejected_edit_is_told_at_once_and_once(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    record(calls, accepted())

    assert record(calls, rejected()) == 1
    assert record(calls, rejected()) == 0
    assert record(calls, rejected(line=13)) == 1
    calls("check_automon_alerts", calls.one("SELECT clock_timestamp()"))

    assert config_alerts(calls) == [("ops-1", "high", "open")]
    assert kinds(calls) == ["opened"]
    [alert] = calls.ask("SELECT summary, evidence FROM public.alerts")
    assert alert["summary"] == "config rejected, line 13: alerts: must be an object"
    assert alert["evidence"]["next"] == "automon check-config --config /etc/c.json"
    assert "1 mistake in /etc/c.json" in alert["evidence"]["measured"]


def test_a_right_file_resolves_the_alert_at_once(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    record(calls, accepted())
    record(calls, rejected())

    assert record(calls, accepted(changes=[])) == 1

    assert config_alerts(calls) == [("ops-1", "high", "resolved")]
    assert kinds(calls) == ["opened", "resolved"]
    assert history(calls, "outcome") == [("accepted",), ("rejected",), ("accepted",)]


def test_what_was_mended_while_the_database_was_away_is_kept_and_nobody_is_told(calls: Calls) -> None:
    record(calls, accepted())

    assert record(calls, rejected(), accepted(changes=[])) == 2

    assert config_alerts(calls) == []


def test_each_host_has_an_alert_of_its_own(calls: Calls) -> None:
    record(calls, rejected(), instance="a", host="ops-1")
    record(calls, rejected(), instance="b", host="ops-2")
    record(calls, accepted(), instance="a", host="ops-1")

    assert config_alerts(calls) == [("ops-1", "high", "resolved"), ("ops-2", "high", "open")]


def test_of_two_services_of_a_host_both_must_have_a_right_file(calls: Calls) -> None:
    record(calls, rejected(), instance="a")
    record(calls, rejected(line=5), instance="b")
    record(calls, accepted(), instance="a")

    assert config_alerts(calls) == [("ops-1", "high", "open")]


def test_what_a_service_that_is_gone_has_said_fires_nothing(calls: Calls) -> None:
    record(calls, rejected())
    calls("leave", "a")

    assert calls.rows("config_findings", calls.one("SELECT clock_timestamp()")) == []


def test_a_path_that_a_shell_would_read_otherwise_is_quoted_in_the_next_step(calls: Calls) -> None:
    calls("beat", "a")
    calls("record_config_judgements", "a", "ops-1", "/home/o'neil/my config.json", Jsonb([rejected()]))

    [alert] = calls.ask("SELECT evidence->>'next' AS next FROM public.alerts")
    assert alert["next"] == r"automon check-config --config '/home/o'\''neil/my config.json'"


# What SQL has changed -----------------------------------------------------------------------------------------------


def drift(calls: Calls) -> list[tuple[Any, ...]]:
    columns = ("kind", "name", "source", "level", "file_value", "database_value", "origin")
    return [tuple(row[column] for column in columns) for row in calls.rows("get_config_drift")]


def test_there_is_no_drift_before_a_service_has_brought_a_config_and_none_after_it_did(calls: Calls) -> None:
    calls("set_threshold", "queue_backlog", "mail", 1, 2, 3, 4)
    assert drift(calls) == []

    calls.configure(overrides=[OVERRIDE])

    assert drift(calls) == []


def test_a_threshold_that_was_set_by_sql_is_drift_with_who_and_when(calls: Calls) -> None:
    calls.configure(overrides=[OVERRIDE])

    calls("set_threshold", "queue_backlog", "mail", 5, 11, 20, None)

    assert drift(calls) == [
        ("threshold", "queue_backlog", "mail", "medium", 10, 11, "sql"),
        ("threshold", "queue_backlog", "mail", "critical", 30, None, "sql"),
    ]
    [one, other] = calls.rows("get_config_drift")
    assert {one["changed_by"], other["changed_by"]} == {calls.one("SELECT session_user::text")}
    assert calls.one("SELECT clock_timestamp() - %s < interval '1 minute'", one["changed_at"])


def test_a_plain_update_is_drift_as_well_and_marks_its_row(calls: Calls) -> None:
    calls.configure(settings={"retention.queue_days": 7})

    calls.ask("UPDATE public.monitoring_thresholds SET low = 1 WHERE alert_type = 'host_cpu' AND source = '*'")
    calls.ask("UPDATE public.monitoring_settings SET value = 9 WHERE name = 'retention.queue_days'")

    assert drift(calls) == [
        ("threshold", "host_cpu", "*", "low", 80, 1, "sql"),
        ("setting", "retention.queue_days", None, None, 7, 9, "sql"),
    ]
    assert history(calls, "noticed_by", "changes") == [
        ("sql", [{"key": "thresholds.host_cpu.*.low", "old": 80, "new": 1}]),
        ("sql", [{"key": "settings.retention.queue_days", "old": 7, "new": 9}]),
    ]


def test_a_source_that_gets_or_loses_its_own_levels_is_drift_from_what_holds_for_it(calls: Calls) -> None:
    calls.configure(overrides=[OVERRIDE])

    calls("set_threshold", "queue_backlog", "new", 50, 100, 7, 500)
    calls.ask("DELETE FROM public.monitoring_thresholds WHERE source = 'mail'")

    assert drift(calls) == [
        ("threshold", "queue_backlog", "mail", "low", 5, 50, "sql"),
        ("threshold", "queue_backlog", "mail", "medium", 10, 100, "sql"),
        ("threshold", "queue_backlog", "mail", "high", 20, 200, "sql"),
        ("threshold", "queue_backlog", "mail", "critical", 30, 500, "sql"),
        ("threshold", "queue_backlog", "new", "high", 200, 7, "sql"),
    ]
    assert {row["changed_by"] for row in calls.rows("get_config_drift")} == {calls.one("SELECT session_user::text")}


def test_what_sql_has_set_back_to_what_the_file_says_is_no_drift(calls: Calls) -> None:
    calls.configure()
    calls("set_setting", "retention.queue_days", 9)
    calls("set_setting", "retention.queue_days", 7)

    assert drift(calls) == []


def test_the_next_config_puts_it_back_and_that_is_kept(calls: Calls) -> None:
    calls.configure(settings={"retention.queue_days": 7}, overrides=[OVERRIDE])
    calls("set_threshold", "queue_backlog", "mail", 6, 10, 20, 30)
    calls("set_setting", "retention.queue_days", 9)

    calls.configure(settings={"retention.queue_days": 9}, overrides=[OVERRIDE])

    assert drift(calls) == []
    [*_, last] = history(calls, "noticed_by", "changes")
    assert last == ("sync", [{"key": "thresholds.queue_backlog.mail.low", "old": 6, "new": 5}])


def test_a_config_that_is_put_in_force_again_keeps_nothing(calls: Calls) -> None:
    for _ in range(2):
        calls.configure(overrides=[OVERRIDE])

    assert history(calls, "noticed_by") == []


def test_what_is_in_force_is_told_with_what_of_it_is_drift(calls: Calls) -> None:
    assert calls("get_config_in_force")["synced_at"] is None
    calls.configure(overrides=[OVERRIDE])
    calls("set_threshold", "queue_backlog", "mail", 6, 10, 20, 30)

    state = calls("get_config_in_force")

    assert state["synced_at"]
    assert OVERRIDE | {"low": 6} in state["thresholds"]
    assert state["settings"]["retention.queue_days"] == 7
    assert [row["level"] for row in state["drift"]] == ["low"]


# What a name stands for ---------------------------------------------------------------------------------------------


def test_a_name_stands_for_what_has_reported_by_it(calls: Calls) -> None:
    calls("update_queue_metrics", "mail", 1)
    calls("start_task_tracking", "t", "mail")
    calls("record_host_sample", "ops-1", {"cpu_percent": 1})
    calls("update_system_health", "api", "main", "healthy")

    assert calls("get_source_kinds", "mail") == ["task type", "queue"]
    assert calls("get_source_kinds", "ops-1") == ["host"]
    assert calls("get_source_kinds", "ops-1 /var") == ["host"]
    assert calls("get_source_kinds", "api/main") == ["component"]
    assert calls("get_source_kinds", "nobody") == []


def test_a_component_that_has_only_had_errors_is_known(calls: Calls) -> None:
    calls("record_error", None, "timeout", "low", "no answer", "billing")
    calls("roll_up")

    assert calls("get_source_kinds", "billing") == ["component"]


# Rights and terms ---------------------------------------------------------------------------------------------------


def test_readers_may_ask_and_nobody_but_the_owner_may_record(new_session: NewSession) -> None:
    session = new_session()
    session.ask("SET ROLE automon_reader")

    assert session.rows("get_config_changes", 5) == []
    assert session.rows("get_config_drift") == []
    assert session("get_config_in_force")["drift"] == []
    recording = "public.record_config_judgements(text, text, text, jsonb)"
    assert not session.one("SELECT has_function_privilege(%s, 'EXECUTE')", recording)


def test_changes_go_after_ninety_days_but_not_what_stands_of_a_service_that_runs(calls: Calls) -> None:
    old = {"at": (NOON - 91 * DAY).isoformat()}
    record(calls, accepted() | old, rejected() | old, instance="gone")
    record(calls, rejected(line=1) | old, rejected(line=2) | old, instance="a")
    record(calls, rejected() | {"at": (NOON - 89 * DAY).isoformat()}, instance="b")
    calls.ask("DELETE FROM public.service_instances WHERE instance = 'gone'")

    assert calls("delete_expired_records", NOON)["config_changes_deleted"] == 3

    rows = calls.ask("SELECT instance, problems->0->>'line' AS line FROM public.config_changes ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [("a", "2"), ("b", "12")]


def test_the_alert_clears_by_and_by_when_its_service_is_gone(calls: Calls) -> None:
    calls("set_setting", "alerts.resolve_after_seconds", 0)
    record(calls, rejected())
    calls("leave", "a")

    calls("check_automon_alerts", calls.one("SELECT clock_timestamp()") + timedelta(0))
    calls("check_automon_alerts", calls.one("SELECT clock_timestamp() + %s", MINUTE))

    assert config_alerts(calls) == [("ops-1", "high", "resolved")]
    assert calls.one("SELECT summary FROM public.alerts") == "its service runs no more"
