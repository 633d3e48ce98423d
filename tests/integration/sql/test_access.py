"""Who may do what: tables are closed, functions and views are opened to three roles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from automon.migrate import manifest, migrate
from tests.integration.sql.outbox import stop
from tests.integration.sql.test_catalogue import CORE_TABLES, RECORDING, VIEWS
from tests.support.calls import Calls, channel
from tests.support.sessions import THROUGH_POOLER

READING = {
    "get_dashboard_summary", "get_task_statistics", "get_component_uptime", "get_alert_story", "severity_rank", "evaluate_error_rate", "evaluate_failure_rate",
    "evaluate_processing_time", "evaluate_running_time", "evaluate_component_health", "evaluate_queue_backlog", "evaluate_hosts", "evaluate_all",
    "evaluate_automon", "get_automon_health", "get_deliveries",
}  # fmt: skip
ACTING = {"acknowledge_alert", "resolve_alert", "silence_alerts", "end_silence", "forget_source", "resume_channel", "send_canary"}  # fmt: skip
CALLED_BY_VIEWS = {"severity_rank", "get_component_uptime"}
ROLES = ["automon_writer", "automon_reader", "automon_operator"]


@contextmanager
def role_for(calls: Calls, name: str, attributes: str = "") -> Iterator[str]:
    """A role of the whole server, for a while."""
    role = f"{name}_{calls.connection.info.backend_pid}"
    calls.connection.execute(sql.SQL("CREATE ROLE {} " + attributes).format(sql.Identifier(role)))
    try:
        yield role
    finally:
        calls.connection.execute("RESET ROLE")
        calls.connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
        calls.connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def stranger(calls: Calls) -> Iterator[str]:
    with role_for(calls, "stranger") as role:
        yield role


def become(calls: Calls, role: str) -> None:
    if THROUGH_POOLER:
        pytest.skip("a pooler in transaction mode does not keep SET ROLE")
    calls.connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))


def callable_by(calls: Calls, role: str) -> set[str]:
    rows = calls.ask(
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(%s, oid, 'EXECUTE')",
        role,
    )
    return {row["proname"] for row in rows}


def open_relations(calls: Calls, role: str, privileges: str) -> set[str]:
    rows = calls.ask(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND has_table_privilege(%s, oid, %s)",
        role,
        privileges,
    )
    return {row["relname"] for row in rows}


ANY_PRIVILEGE = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"


def test_a_stranger_can_call_nothing_and_read_nothing(calls: Calls, stranger: str) -> None:
    assert callable_by(calls, stranger) == set()
    assert open_relations(calls, stranger, ANY_PRIVILEGE) == set()


def test_a_stranger_is_told_so(calls: Calls, stranger: str) -> None:
    become(calls, stranger)

    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for function record_error"):
        calls("record_error", None, "timeout", "low", "no answer")
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for table error_tracking"):
        calls.ask("SELECT * FROM public.error_tracking")


@pytest.mark.parametrize(
    ("role", "functions"), list(zip(ROLES, [RECORDING, READING, ACTING | CALLED_BY_VIEWS], strict=True)), ids=ROLES
)
def test_a_role_can_call_what_it_is_for_and_nothing_else(calls: Calls, role: str, functions: set[str]) -> None:
    assert callable_by(calls, role) == functions


@pytest.mark.parametrize(
    ("role", "views"), [("automon_writer", set()), ("automon_reader", VIEWS), ("automon_operator", VIEWS)], ids=ROLES
)
def test_a_role_reads_views_at_the_most(calls: Calls, role: str, views: set[str]) -> None:
    assert open_relations(calls, role, "SELECT") == views
    assert open_relations(calls, role, "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER") == set()


def raise_an_alert(calls: Calls) -> int:
    calls("update_queue_metrics", "mail", 1000)
    calls("update_system_health", "api", "main", "healthy", 5.0)
    calls("check_queue_backlog_alerts")
    return int(calls.one("SELECT id FROM public.alerts"))


def test_a_writer_records_every_kind_of_fact(calls: Calls) -> None:
    become(calls, "automon_writer")

    assert calls("start_task_tracking", "t", "ocr") is True
    assert calls("record_task_heartbeat", "t", 50.0, "reading") is True
    assert calls("complete_task_tracking", "t", "completed", p_step_timings={"reading": 1.5}) is True
    assert calls("record_error", "t", "timeout", "low", "no answer", "api") is True
    assert calls("record_performance_metric", "seconds", "gauge", 1.5, "s", "api") is True
    assert calls("update_system_health", "api", "main", "healthy") is True
    assert calls("update_queue_metrics", "mail", 3) is True
    assert calls("record_host_sample", "host-1", {"cpu_percent": 3}) is True


def test_a_writer_records_into_a_day_that_has_no_partition_yet(calls: Calls) -> None:
    become(calls, "automon_writer")

    assert calls.ask(
        "SELECT public.record_error('t', 'timeout', 'low', 'no answer', p_at => '2021-03-04 05:06:07+00') AS stored"
    ) == [{"stored": True}]


@pytest.mark.parametrize("role", ["automon_reader", "automon_operator"])
@pytest.mark.parametrize("view", sorted(VIEWS))
def test_a_reader_and_an_operator_read_every_view(calls: Calls, role: str, view: str) -> None:
    calls("start_task_tracking", "t", "ocr")
    calls("record_error", "t", "timeout", "low", "no answer", "api")
    calls("record_performance_metric", "seconds", "gauge", 1.5)
    calls.configure(channels=[channel()])
    raise_an_alert(calls)
    become(calls, role)

    assert len(calls.ask(f"SELECT * FROM public.{view}")) == 1


def test_a_reader_asks_and_evaluates(calls: Calls) -> None:
    alert = raise_an_alert(calls)
    become(calls, "automon_reader")

    assert calls("get_dashboard_summary")["alerts"]["open"] == 1
    assert calls("get_alert_story", alert)["source"] == "mail"
    assert [row["severity"] for row in calls.rows("evaluate_all") if row["severity"]] == ["critical"]
    assert calls.rows("evaluate_automon") == []
    assert calls("get_automon_health")["channels"] == 0
    assert calls.rows("get_deliveries") == []


def test_an_operator_takes_in_hand_silences_and_resolves(calls: Calls) -> None:
    alert = raise_an_alert(calls)
    become(calls, "automon_operator")

    assert calls("acknowledge_alert", alert, "kim", "looking") is True
    silence = calls.one("SELECT public.silence_alerts('mail', interval '1 hour', 'known', 'kim')")
    assert calls("end_silence", silence) is True
    assert calls("resolve_alert", alert, "kim", "emptied") is True


def test_an_operator_takes_a_channel_up_again_and_sends_a_canary_through_it(calls: Calls) -> None:
    calls.configure(channels=[channel()])
    raise_an_alert(calls)
    stop(calls)
    become(calls, "automon_operator")

    assert calls("resume_channel", "ops") is True
    assert len(calls.rows("send_canary", "kim", "ops")) == 1


@pytest.mark.parametrize("table", sorted(CORE_TABLES))
def test_row_level_security_hides_rows_from_whoever_is_given_a_table_by_mistake(
    calls: Calls, stranger: str, table: str
) -> None:
    calls("start_task_tracking", "t", "ocr")
    calls("record_error", "t", "timeout", "low", "no answer", "api")
    calls("record_performance_metric", "seconds", "gauge", 1.5)
    raise_an_alert(calls)
    calls.connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(stranger)))
    calls.connection.execute(
        sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier("public", table), sql.Identifier(stranger))
    )
    become(calls, stranger)

    assert calls.ask(f"SELECT * FROM public.{table}") == []


@pytest.fixture
def web_roles(empty_database_url: str) -> Iterator[Calls]:
    """A database like those of managed services: two web roles may do everything with whatever is made in "public"."""
    with psycopg.connect(empty_database_url, autocommit=True, options="-c search_path=") as connection:
        connection.execute("CREATE ROLE anon")
        connection.execute("CREATE ROLE authenticated")
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            connection.execute(
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO anon, authenticated".encode()
            )
        try:
            yield Calls(connection)
        finally:
            for role in ("anon", "authenticated"):
                connection.execute(f"DROP OWNED BY {role}".encode())
                connection.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_everything_is_closed_to_the_web_roles_of_managed_services(
    web_roles: Calls, empty_database_url: str, role: str
) -> None:
    migrate(empty_database_url)

    assert callable_by(web_roles, role) == set()
    assert open_relations(web_roles, role, ANY_PRIVILEGE) == set()


def test_a_day_that_is_made_later_is_closed_to_the_web_roles_too(web_roles: Calls, empty_database_url: str) -> None:
    migrate(empty_database_url)

    web_roles.ask("SELECT public.ensure_partitions(40)")

    assert open_relations(web_roles, "anon", ANY_PRIVILEGE) == set()


def test_what_the_application_keeps_in_the_same_schema_stays_open(web_roles: Calls, empty_database_url: str) -> None:
    web_roles.ask("CREATE TABLE public.orders (id bigint)")
    web_roles.ask(
        "CREATE FUNCTION public.order_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.orders'"
    )
    web_roles.ask("COMMENT ON FUNCTION public.order_count() IS 'How many orders there are.'")

    migrate(empty_database_url)

    assert open_relations(web_roles, "anon", "SELECT") == {"orders"}
    assert callable_by(web_roles, "anon") == {"order_count"}


def test_an_owner_without_superuser_rights_installs_and_runs_everything(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        admin = Calls(connection)
        with role_for(admin, "owner", "LOGIN PASSWORD 'of a test'") as owner:
            connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(owner)))
            as_owner = make_conninfo(empty_database_url, options=f"-c role={owner}")

            assert migrate(as_owner) == [file for file, _ in manifest()]

            with psycopg.connect(as_owner, autocommit=True) as link:
                calls = Calls(link)
                assert calls.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
                assert raise_an_alert(calls) == 1
                assert calls("run_monitoring_checks") == 0
                assert calls("cleanup_old_monitoring_data")["partitions_in_use"] == 0


def test_a_function_is_not_led_astray_by_the_search_path_of_its_caller(calls: Calls, stranger: str) -> None:
    calls.connection.execute(sql.SQL("CREATE SCHEMA trap AUTHORIZATION {}").format(sql.Identifier(stranger)))
    calls.ask(
        "CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '1999-01-01'::timestamptz $$"
    )
    calls.ask("CREATE TEMP TABLE processing_metrics_running (task_id text)")
    calls.ask("SET search_path = trap, pg_temp, pg_catalog, public")

    assert calls("start_task_tracking", "t", "ocr") is True
    assert (
        calls.one("SELECT start_time > now() - interval '1 hour' FROM public.processing_metrics WHERE task_id = 't'")
        is True
    )
