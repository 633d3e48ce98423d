"""What the catalogue of a migrated database must say of the tables, views and functions."""

from __future__ import annotations

import re
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

import pytest

from automon.migrate import manifest
from automon.models import Severity, TransitionKind
from notifiers.channel import DeliveryReason
from tests.support.calls import Calls
from tests.support.psql import SQL_FOLDER

CORE_TABLES = {
    "processing_metrics",
    "error_tracking",
    "performance_monitoring",
    "system_health",
    "queue_monitoring",
    "alerts",
}
VIEWS = {
    "v_realtime_processing_status", "v_error_summary", "v_system_health_summary", "v_queue_performance", "v_performance_trends", "v_active_alerts",
    "v_deliveries",
    "v_task_minutes", "v_task_hours", "v_error_minutes", "v_error_hours", "v_queue_history", "v_host_history", "v_host_summary", "v_alert_history", "v_job_runs", "v_services",
    "v_blind_periods",
}  # fmt: skip
# What rollups read, for the owner alone.
INNER_VIEWS = {"task_facts", "error_facts", "metric_facts"}
RECORDING = {
    "start_task_tracking", "complete_task_tracking", "record_task_heartbeat", "record_error", "record_performance_metric", "update_system_health",
    "update_queue_metrics", "record_host_sample",
}  # fmt: skip
# They work in whatever schema is current, at migration time only, and name every catalogue that they read.
OF_THE_CURRENT_SCHEMA = {"bind_functions_to_schema", "grant_to_roles"}

FUNCTIONS = """
SELECT p.oid::regprocedure::text AS signature, p.proname AS name, obj_description(p.oid, 'pg_proc') AS comment, p.provolatile AS volatility,
    COALESCE(p.proconfig, '{}') AS settings, p.prosqlbody IS NOT NULL AS is_standard_body, p.prosecdef AS runs_as_owner, l.lanname AS language,
    p.proargtypes::regtype[]::text[] AS arguments
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'public'::regnamespace
"""
RELATIONS = "SELECT c.relname AS name, c.relrowsecurity AS is_secured, c.relkind AS kind, obj_description(c.oid, 'pg_class') AS comment FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"


def test_the_core_tables_and_the_views_have_the_names_that_users_know(calls: Calls) -> None:
    relations = calls.ask(RELATIONS)

    assert {row["name"] for row in relations if row["kind"] in {"r", "p"}} >= CORE_TABLES
    assert {row["name"] for row in relations if row["kind"] == "v"} == VIEWS | INNER_VIEWS


def test_every_table_and_view_has_a_comment(calls: Calls) -> None:
    of_today = re.compile(r"_\d{8}$")

    assert [
        row["name"]
        for row in calls.ask(RELATIONS)
        if row["kind"] in {"r", "p", "v"} and not row["comment"] and not of_today.search(row["name"])
    ] == []


def test_there_are_at_least_twenty_five_functions(calls: Calls) -> None:
    assert len({row["name"] for row in calls.ask(FUNCTIONS)}) >= 25


def test_every_function_has_a_comment(calls: Calls) -> None:
    assert [row["signature"] for row in calls.ask(FUNCTIONS) if not row["comment"]] == []


def test_every_function_pins_its_search_path_or_has_a_body_that_was_bound_when_it_was_made(calls: Calls) -> None:
    free = [
        row["name"]
        for row in calls.ask(FUNCTIONS)
        if row["settings"][:1] != ["search_path=pg_catalog, pg_temp"] and not row["is_standard_body"]
    ]

    assert set(free) == OF_THE_CURRENT_SCHEMA


def test_every_function_that_runs_as_its_owner_is_pinned(calls: Calls) -> None:
    assert [
        row["name"]
        for row in calls.ask(FUNCTIONS)
        if row["runs_as_owner"] and "search_path=pg_catalog, pg_temp" not in row["settings"]
    ] == []


def test_every_check_only_reads(calls: Calls) -> None:
    checks = {row["name"]: row["volatility"] for row in calls.ask(FUNCTIONS) if row["name"].startswith("evaluate_")}

    assert len(checks) == 10
    assert set(checks.values()) == {"s"}


def test_no_function_is_volatile_that_answers_questions(calls: Calls) -> None:
    volatility = {row["name"]: row["volatility"] for row in calls.ask(FUNCTIONS)}

    assert {name for name, kind in volatility.items() if name.startswith("get_") and kind != "s"} == set()


def test_only_recording_functions_are_overloaded_and_only_to_refuse_a_naive_time(calls: Calls) -> None:
    arguments: dict[str, list[list[str]]] = {}
    for row in calls.ask(FUNCTIONS):
        arguments.setdefault(row["name"], []).append(row["arguments"])
    overloaded = {name: sorted(forms, key=lambda form: form[-1]) for name, forms in arguments.items() if len(forms) > 1}

    assert set(overloaded) == RECORDING
    for aware, naive in overloaded.values():
        assert (aware[-1], naive[-1]) == ("timestamp with time zone", "timestamp without time zone")
        assert aware[:-1] == naive[:-1]


def test_row_level_security_is_on_for_every_table(calls: Calls) -> None:
    assert [row["name"] for row in calls.ask(RELATIONS) if row["kind"] in {"r", "p"} and not row["is_secured"]] == []


def words_of(calls: Calls, table: str, constraint: str) -> set[str]:
    definition = calls.one(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = ('public.' || %s)::regclass AND conname = %s",
        table,
        constraint,
    )
    return set(re.findall(r"'(\w+)'", definition))


@pytest.mark.parametrize(
    ("table", "constraint", "enum"),
    [
        ("error_tracking", "severity_is_known", Severity),
        ("alerts", "severity_is_known", Severity),
        ("notification_channels", "severity_is_known", Severity),
    ],
)
def test_python_and_sql_know_the_same_words(calls: Calls, table: str, constraint: str, enum: type[StrEnum]) -> None:
    assert words_of(calls, table, constraint) == {str(word) for word in enum}


def test_channels_are_told_of_every_kind_of_transition_but_that_an_alert_was_given_back(calls: Calls) -> None:
    assert words_of(calls, "alert_transitions", "kind_is_known") == {*map(str, TransitionKind), "unacknowledged"}


def test_an_attempt_ends_for_a_reason_that_channels_know_or_because_its_sender_did(calls: Calls) -> None:
    assert words_of(calls, "delivery_attempts", "reason_is_known") == {*map(str, DeliveryReason), "abandoned"}


@pytest.mark.parametrize(
    ("table", "constraint", "words"),
    [
        ("alert_deliveries", "subject_is_known", {"transition", "digest", "canary"}),
        ("alert_deliveries", "status_is_known", {"pending", "sending", "sent", "grouped", "failed", "expired", "silenced"}),
        ("delivery_attempts", "outcome_is_known", {"sent", "failed", "unknown"}),
        ("job_runs", "outcome_is_known", {"running", "succeeded", "failed", "abandoned"}),
    ],
)  # fmt: skip
def test_a_message_and_a_run_stand_in_one_of_these_ways(
    calls: Calls, table: str, constraint: str, words: set[str]
) -> None:
    assert words_of(calls, table, constraint) == words


@pytest.mark.parametrize("severity", list(Severity))
def test_python_and_sql_rank_severities_alike(calls: Calls, severity: Severity) -> None:
    assert calls("severity_rank", severity) == severity.rank


def test_a_word_that_is_no_severity_has_no_rank(calls: Calls) -> None:
    assert calls("severity_rank", "urgent") is None


def test_every_alert_type_has_thresholds_and_every_threshold_an_alert_type(calls: Calls) -> None:
    assert {row["alert_type"] for row in calls.ask("SELECT alert_type FROM public.monitoring_thresholds")} == set(
        calls("judged_alert_types")
    )


def test_every_error_code_stands_for_one_mistake(calls: Calls) -> None:
    source = calls.one("SELECT string_agg(prosrc, '') FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    refused = set(re.findall(r"(AM\d{3})', (?:format\()?'(\w+):", source))
    raised = {(code, name) for name, code in re.findall(r"RAISE EXCEPTION '(\w+):[^;]*?ERRCODE = '(AM\d{3})'", source)}

    assert sorted(refused | raised) == [
        ("AM001", "invalid_name"), ("AM002", "invalid_status"), ("AM003", "invalid_severity"), ("AM004", "invalid_number"), ("AM005", "invalid_time"),
        ("AM006", "naive_time"), ("AM007", "unknown_task"), ("AM008", "ends_before_start"), ("AM009", "unknown_alert"), ("AM010", "changed_migration"),
        ("AM011", "newer_schema"), ("AM012", "invalid_setting"), ("AM013", "unknown_channel"), ("AM014", "invalid_document"),
    ]  # fmt: skip


def test_plpgsql_check_finds_no_mistake_in_any_function(calls: Calls) -> None:
    if not calls.one("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check')"):
        pytest.skip("this server does not have the extension plpgsql_check")
    calls.ask("CREATE EXTENSION plpgsql_check WITH SCHEMA pg_catalog")
    calls.ask("SET search_path = public")

    found = calls.ask("""
        SELECT p.oid::regprocedure::text AS function, c.lineno, c.level, c.message
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        -- What a trigger calls is checked with the table that it is on.
        LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
        CROSS JOIN LATERAL plpgsql_check_function_tb(p.oid, COALESCE(t.tgrelid, 0), fatal_errors => false, extra_warnings => false) AS c
        WHERE p.pronamespace = 'public'::regnamespace AND l.lanname = 'plpgsql'
    """)

    assert found == []


def test_squawk_finds_nothing_that_would_hurt_a_database_in_use() -> None:
    files = [SQL_FOLDER / file for file, _ in manifest()]
    squawk = Path(sys.executable).with_name("squawk")

    done = subprocess.run(
        [squawk, "--config", SQL_FOLDER.with_name(".squawk.toml"), *files], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_no_value_of_the_schema_depends_on_an_extension(calls: Calls) -> None:
    assert [row["extname"] for row in calls.ask("SELECT extname FROM pg_extension")] == ["plpgsql"]
