"""Who may do what: tables are closed, functions and views are opened to three roles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from automon.migrate import manifest, migrate
from tests.integration.sql.outbox import stop
from tests.integration.sql.test_catalogue import CORE_TABLES, RECORDING, VIEWS
from tests.support.calls import Calls, channel
from tests.support.sessions import THROUGH_POOLER

RECORDING_MANY = {"record_tasks", "record_errors", "record_performance_metrics", "record_facts"}
READING = {
    "tasks_between", "errors_between", "rollup_lag", "storage_report",
    "get_dashboard_summary", "get_task_statistics", "get_component_uptime", "get_alert_story", "evaluate_error_rate", "evaluate_critical_errors", "evaluate_failure_rate",
    "evaluate_processing_time", "evaluate_running_time", "evaluate_component_health", "evaluate_queue_backlog", "evaluate_hosts", "evaluate_all",
    "evaluate_automon", "get_automon_health", "get_deliveries", "get_config_changes", "get_config_drift", "get_config_in_force", "get_source_kinds", "get_metrics",
    "get_status", "get_alerts", "get_alert_trend", "get_alert_context", "get_source_report", "get_sources", "get_task_report", "get_task_details",
    "get_error_causes", "get_queue_report", "get_host_report", "get_component_report", "get_silences", "preview_silence", "export_facts", "export_estimate",
}  # fmt: skip
ACTING = {
    "acknowledge_alert", "resolve_alert", "silence_alerts", "end_silence", "forget_source", "resume_channel", "send_canary",
    "unacknowledge_alert", "preview_silence", "get_silences",
}  # fmt: skip
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


FUNCTIONS = """
SELECT p.oid::regprocedure::text AS signature, p.proname AS name,
    'SELECT * FROM public.' || p.proname || '(' || COALESCE((SELECT string_agg(CASE WHEN p.provariadic <> 0 AND a.place = p.pronargs THEN 'VARIADIC ' ELSE '' END
        || 'NULL::' || format_type(a.type, NULL), ', ' ORDER BY a.place)
        FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)), '') || ')' AS call
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype <> 'trigger'::regtype ORDER BY 1
"""
TRIGGERS = (
    "SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype = 'trigger'::regtype"
)
# What a view calls, it calls with the rights of whoever reads it.
CALLED_BY_VIEWS = """
SELECT DISTINCT p.proname AS name FROM pg_class c JOIN pg_rewrite w ON w.ev_class = c.oid JOIN pg_depend d ON d.objid = w.oid JOIN pg_proc p ON p.oid = d.refobjid
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s) AND p.pronamespace = c.relnamespace AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_proc'::regclass
"""
RELATIONS = """
SELECT c.relname AS name, c.relkind::text AS kind, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 1) AS first_column
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c', 't') ORDER BY 1
"""
# What one may do with a relation, by its kind.
ON_TABLES = (
    "SELECT * FROM public.{name}",
    "INSERT INTO public.{name} DEFAULT VALUES",
    "UPDATE public.{name} SET {first_column} = NULL",
    "DELETE FROM public.{name}",
    "TRUNCATE public.{name}",
    "LOCK TABLE public.{name} IN ACCESS SHARE MODE",
)
ON_SEQUENCES = (
    "SELECT * FROM public.{name}",
    "SELECT nextval('public.{name}')",
    "SELECT setval('public.{name}', 1)",
)
ON_VIEWS = ON_TABLES[:4]
STATEMENTS = {"r": ON_TABLES, "p": ON_TABLES, "v": ON_VIEWS, "S": ON_SEQUENCES}


def refused(calls: Calls, statement: str) -> str | None:
    """Try a statement, take it back, and answer why it was refused; None when the rights were there, whatever came of it."""
    try:
        with calls.connection.transaction(force_rollback=True):
            calls.ask(statement)
    except errors.InsufficientPrivilege as error:
        return str(error)
    except psycopg.Error as error:
        assert error.sqlstate != "42883" or error.diag.context, f"no such call: {statement}"
        # A view that nobody can write through says so before it looks at rights.
        return str(error) if re.match(r"cannot (insert into|update|delete from) view", str(error)) else None
    return None


def callable_by(calls: Calls, role: str) -> set[str]:
    """Call every function, with nothing but NULL, and name those that the role got into; one that fails halfway is named too."""
    functions = calls.ask(FUNCTIONS)
    become(calls, role)
    why_not = {row["signature"]: refused(calls, row["call"]) for row in functions}
    calls.ask("RESET ROLE")
    closed = {
        row["signature"] for row in functions
        if why_not[row["signature"]] == f"permission denied for function {row['name']}"
    }  # fmt: skip
    # The server lets nobody call these, before it looks at rights.
    assert (
        calls.ask(f"{TRIGGERS} AND has_function_privilege(%s, p.oid, 'EXECUTE') AND %s <> current_user", role, role)
        == []
    )
    # Whatever a function that is open lacks inside is a fault of its own.
    assert {signature: why for signature, why in why_not.items() if why and signature not in closed} == {}
    return {row["name"] for row in functions if row["signature"] not in closed}


def done_with_relations(calls: Calls, role: str) -> set[tuple[str, str]]:
    """Try everything with every table, partition, view and sequence; answer the relation and the verb of what was allowed."""
    relations = calls.ask(RELATIONS)
    assert {row["kind"] for row in relations} == STATEMENTS.keys()
    tried = [
        (row["name"], statement.split()[0], statement.format(**row))
        for row in relations
        for statement in STATEMENTS[row["kind"]]
    ]
    become(calls, role)
    done = {(name, verb) for name, verb, statement in tried if refused(calls, statement) is None}
    calls.ask("RESET ROLE")
    return done


def may_call(calls: Calls, role: str) -> set[str]:
    called_by_views = {row["name"] for row in calls.ask(CALLED_BY_VIEWS, sorted(MAY_READ[role]))}
    return (MAY_CALL[role] | called_by_views) & {row["name"] for row in calls.ask(FUNCTIONS)}


MAY_CALL = {"automon_writer": RECORDING | RECORDING_MANY, "automon_reader": READING, "automon_operator": ACTING}
MAY_READ = {"automon_writer": set(), "automon_reader": VIEWS, "automon_operator": VIEWS}


def test_a_stranger_can_call_nothing_and_read_nothing(calls: Calls, stranger: str) -> None:
    calls("ensure_partitions", 10)

    assert callable_by(calls, stranger) == set()
    assert done_with_relations(calls, stranger) == set()


def test_a_stranger_is_told_so(calls: Calls, stranger: str) -> None:
    become(calls, stranger)

    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for function record_error"):
        calls("record_error", None, "timeout", "low", "no answer")
    with pytest.raises(errors.InsufficientPrivilege, match="permission denied for table error_tracking"):
        calls.ask("SELECT * FROM public.error_tracking")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_call_what_it_is_for_and_nothing_else(calls: Calls, role: str) -> None:
    assert callable_by(calls, role) == may_call(calls, role)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_views_at_the_most(calls: Calls, role: str) -> None:
    calls("ensure_partitions", 10)

    assert done_with_relations(calls, role) == {(view, "SELECT") for view in MAY_READ[role]}


def test_the_owner_can_call_and_do_everything(calls: Calls) -> None:
    every = {row["name"] for row in calls.ask(FUNCTIONS)}
    relations = {(row["name"], "SELECT") for row in calls.ask(RELATIONS)}
    owner = calls.one("SELECT current_user")

    assert callable_by(calls, owner) == every
    assert done_with_relations(calls, owner) >= relations


@pytest.mark.session("a search_path")
def test_a_function_that_a_later_file_opens_is_open_to_that_role_alone(calls: Calls) -> None:
    calls.ask("SET search_path = public")
    with calls.connection.transaction():
        calls.ask("CREATE FUNCTION public.of_tomorrow() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        calls.ask("CREATE FUNCTION public.of_tomorrow(p_more text) RETURNS integer LANGUAGE sql AS 'SELECT 2'")
        calls.ask("CREATE FUNCTION public.inside_tomorrow() RETURNS integer LANGUAGE sql AS 'SELECT 3'")
        calls.ask("CREATE VIEW public.v_tomorrow AS SELECT 1 AS one")
        calls.ask("SELECT open_to('automon_reader', 'of_tomorrow', 'v_tomorrow')")
        calls.ask("SELECT grant_to_roles()")
    calls.ask("SET search_path = ''")

    for role in ROLES:
        new = callable_by(calls, role) & {"of_tomorrow", "inside_tomorrow"}
        assert new == ({"of_tomorrow"} if role == "automon_reader" else set())
        assert (("v_tomorrow", "SELECT") in done_with_relations(calls, role)) == (role == "automon_reader")


def test_only_known_roles_can_be_opened_to(calls: Calls) -> None:
    with pytest.raises(errors.CheckViolation, match="role_is_known"):
        calls.ask("SELECT public.open_to('postgres', 'record_error')")


def test_what_is_opened_exists(calls: Calls) -> None:
    opened = {row["name"] for row in calls.ask("SELECT DISTINCT name FROM public.role_openings")}
    there = {row["name"] for row in (*calls.ask(FUNCTIONS), *calls.ask(RELATIONS))}

    assert opened <= there


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
    queue = {"fact": "queue", "queue_name": "mail", "pending": 3, "at": "2021-03-04T05:06:07Z"}
    assert calls("record_facts", Jsonb([queue]))["stored"] == 1


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
    calls("complete_task_tracking", "t")
    calls("record_host_sample", "ops-1", {"cpu_percent": 9})
    calls("beat", "ops-1:a")
    calls("begin_job_run", "alert_checks", "ops-1:a")
    calls.ask(
        "INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (now() - interval '1 minute', now(), '')"
    )
    calls("roll_up")
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
    assert [row for row in calls.rows("evaluate_automon") if row["severity"]] == []
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
    assert done_with_relations(web_roles, role) == set()


def test_a_day_that_is_made_later_is_closed_to_the_web_roles_too(web_roles: Calls, empty_database_url: str) -> None:
    migrate(empty_database_url)

    web_roles.ask("SELECT public.ensure_partitions(40)")

    assert done_with_relations(web_roles, "anon") == set()


def test_what_the_application_keeps_in_the_same_schema_stays_open(web_roles: Calls, empty_database_url: str) -> None:
    web_roles.ask("CREATE TABLE public.orders (id bigint)")
    web_roles.ask(
        "CREATE FUNCTION public.order_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.orders'"
    )
    web_roles.ask("COMMENT ON FUNCTION public.order_count() IS 'How many orders there are.'")

    migrate(empty_database_url)

    assert done_with_relations(web_roles, "anon") == {
        ("orders", verb) for verb in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "LOCK")
    }
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
