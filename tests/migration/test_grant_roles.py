"""`sql/grant_roles.sql`: an administrator without superuser rights lets automon in, once, and gives away nothing more."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from automon.migrate import manifest, migrate
from tests.support.calls import Calls
from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.psql import SQL_FOLDER, migrate_with_psql, run_psql

SCRIPT = SQL_FOLDER / "grant_roles.sql"
PASSWORD = "of-a-test"
ROLES = ("automon_writer", "automon_reader", "automon_operator")


@pytest.fixture
def server(memory_path: Path, pristine_postgres: Path) -> Iterator[PostgresUnderTest]:
    """A server as a managed service gives it away: `admin` may create roles and owns the database `work`, and is no superuser."""
    with PostgresUnderTest(copy_server(pristine_postgres, memory_path / "managed")) as server:
        with psycopg.connect(server.url, autocommit=True) as superuser:
            superuser.execute(f"CREATE ROLE admin LOGIN CREATEROLE PASSWORD '{PASSWORD}'".encode())
            superuser.execute("CREATE DATABASE work OWNER admin")
            superuser.execute("CREATE DATABASE of_others")
            superuser.execute("REVOKE CONNECT ON DATABASE work FROM PUBLIC")
        with psycopg.connect(server.address.socket_url("of_others"), autocommit=True) as superuser:
            superuser.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # PostgreSQL 14 opens it to everybody
        yield server


def url_of(server: PostgresUnderTest, user: str, database: str = "work") -> str:
    return make_conninfo(server.address.tcp_url(database), user=user, password=PASSWORD)


def run_script(
    server: PostgresUnderTest, *variables: str, user: str = "admin", database: str = "work"
) -> subprocess.CompletedProcess[str]:
    settings = [part for variable in variables for part in ("-v", variable)]
    return run_psql(url_of(server, user, database), *settings, "-f", str(SCRIPT))


def give_password(server: PostgresUnderTest, role: str, *, in_role: str | None = None) -> None:
    """What the administrator does next; for a login of an application too."""
    with psycopg.connect(url_of(server, "admin"), autocommit=True) as admin:
        if in_role:
            admin.execute(f"CREATE ROLE {role} LOGIN IN ROLE {in_role}".encode())
        admin.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'".encode())


def logged_in(server: PostgresUnderTest, user: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url_of(server, user), autocommit=True, options="-c search_path=")


def roles(server: PostgresUnderTest) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url) as superuser:
        return superuser.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
        ).fetchall()


@pytest.mark.parametrize("schema", ["public", "monitoring"])
@pytest.mark.parametrize("with_psql", [True, False], ids=["psql", "automon migrate"])
def test_an_owner_made_by_the_script_installs_checks_and_cleans_up(
    server: PostgresUnderTest, schema: str, *, with_psql: bool
) -> None:
    done = run_script(server, "owner=automon_service", f"schema={schema}")
    assert (done.returncode, done.stderr) == (0, "")
    give_password(server, "automon_service")
    as_owner = url_of(server, "automon_service")

    if with_psql:
        migrate_with_psql(as_owner, schema=schema)
    else:
        assert migrate(as_owner, schema=schema) == [file for file, _ in manifest()]

    assert ("automon_service", False, False, False, False, True) in roles(server)
    with logged_in(server, "automon_service") as link:
        calls = Calls(link, schema)
        assert calls("update_queue_metrics", "mail", 1000) is True
        assert calls("run_monitoring_checks") == 1
        assert calls("ensure_partitions", 20) > 0
        assert calls("cleanup_old_monitoring_data")["partitions_in_use"] == 0
        assert calls("get_dashboard_summary")["alerts"]["open"] == 1
    assert_each_login_does_its_part(server, schema)


def assert_each_login_does_its_part(server: PostgresUnderTest, schema: str) -> None:
    for login, role in zip(("app", "grafana", "oncall"), ROLES, strict=True):
        give_password(server, login, in_role=role)
    with logged_in(server, "app") as link:
        app = Calls(link, schema)
        assert app("start_task_tracking", "t", "ocr") is True
        assert app("complete_task_tracking", "t", "completed") is True
        assert app("record_error", "t", "timeout", "low", "no answer") is True
        with pytest.raises(errors.InsufficientPrivilege):
            app("get_dashboard_summary")
        with pytest.raises(errors.InsufficientPrivilege):
            app.ask(f"SELECT * FROM {schema}.v_error_summary")
    with logged_in(server, "grafana") as link:
        grafana = Calls(link, schema)
        assert grafana("get_dashboard_summary")["tasks"]["completed_last_hour"] == 1
        assert len(grafana.ask(f"SELECT * FROM {schema}.v_active_alerts")) == 1
        with pytest.raises(errors.InsufficientPrivilege):
            grafana("acknowledge_alert", 1)
        with pytest.raises(errors.InsufficientPrivilege):
            grafana.ask(f"SELECT * FROM {schema}.alerts")
    with logged_in(server, "oncall") as link:
        oncall = Calls(link, schema)
        assert oncall("acknowledge_alert", 1) is True
        assert oncall("resolve_alert", 1) is True
        with pytest.raises(errors.InsufficientPrivilege):
            oncall("record_error", "t", "timeout", "low", "no answer")


def test_it_says_what_it_does_and_the_second_time_does_nothing(server: PostgresUnderTest) -> None:
    variables = ("owner=automon_service", "schema=monitoring", "database=work")

    first = run_script(server, *variables)
    before = roles(server)
    second = run_script(server, *variables)

    assert first.stdout.splitlines() == [
        "CREATE ROLE automon_writer NOLOGIN",
        "CREATE ROLE automon_reader NOLOGIN",
        "CREATE ROLE automon_operator NOLOGIN",
        "CREATE ROLE automon_service LOGIN",
        "CREATE SCHEMA monitoring",
        "GRANT USAGE, CREATE ON SCHEMA monitoring TO automon_service",
        *(f"GRANT USAGE ON SCHEMA monitoring TO {role}" for role in ROLES),
        *(f"GRANT CONNECT ON DATABASE work TO {role}" for role in (*ROLES, "automon_service")),
        "next: give the role a password, with \\password automon_service",
    ]
    assert second.stdout.splitlines()[0] == "automon: nothing to do, all of it is there"
    assert (second.returncode, second.stderr) == (0, "")
    assert roles(server) == before


def test_it_opens_the_database_that_is_named_and_not_the_one_it_came_by(server: PostgresUnderTest) -> None:
    done = run_script(server, "owner=automon_service", "database=work", database="postgres")

    assert "GRANT CONNECT ON DATABASE work TO automon_service" in done.stdout
    with psycopg.connect(url_of(server, "admin")) as admin:
        assert admin.execute("SELECT has_schema_privilege('automon_service', 'public', 'CREATE')").fetchone() == (True,)


def test_roles_that_come_after_the_installation_are_opened_by_its_owner(server: PostgresUnderTest) -> None:
    with psycopg.connect(url_of(server, "admin"), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE automon_service LOGIN PASSWORD '{PASSWORD}'".encode())
        admin.execute("GRANT CONNECT ON DATABASE work TO automon_service")
        admin.execute("GRANT USAGE, CREATE ON SCHEMA public TO automon_service")
    migrate(url_of(server, "automon_service"))
    assert not {row[0] for row in roles(server)} & set(ROLES)

    done = run_script(server, "owner=automon_service")

    assert "let its owner run SELECT grant_to_roles() with search_path = public" in done.stdout
    with psycopg.connect(url_of(server, "automon_service"), autocommit=True) as owner:
        owner.execute("SELECT grant_to_roles()")
        assert Calls(owner)("run_monitoring_checks") == 0
        owner.execute("SELECT update_queue_metrics('mail', 1000)")
        owner.execute("SELECT run_monitoring_checks()")
    assert_each_login_does_its_part(server, "public")


def test_names_that_need_quotes_are_names(server: PostgresUnderTest) -> None:
    owner = """o'wn"er; DROP TABLE %s \\"""

    done = run_script(server, f"owner={owner}", "schema=Größe 1")

    assert (done.returncode, done.stderr) == (0, "")
    assert owner in {row[0] for row in roles(server)}
    with psycopg.connect(url_of(server, "admin")) as admin:
        assert admin.execute("SELECT has_schema_privilege(%s, 'Größe 1', 'CREATE')", [owner]).fetchone() == (True,)


@pytest.mark.parametrize(
    ("variables", "user", "database", "said"),
    [
        ((), "admin", "work", "name the role that is to own the tables: -v owner=automon_service"),
        (("owner=automon_service",), "admin", "of_others", "admin may not let automon_service into the schema public of of_others"),
        (("owner=automon_service", "schema=own"), "admin", "of_others", "permission denied for database of_others"),
        (("owner=automon",), "admin", "work", "the role automon is a superuser"),
        (("owner=automon_service", "database=missing"), "admin", "work", 'database "missing" does not exist'),
    ],
    ids=["no owner", "a schema of others", "a database of others", "superuser", "no database"],
)  # fmt: skip
def test_what_it_may_not_do_it_says_and_then_has_done_nothing(
    server: PostgresUnderTest, variables: tuple[str, ...], user: str, database: str, said: str
) -> None:
    before = roles(server)

    done = run_script(server, *variables, user=user, database=database)

    assert done.returncode != 0
    assert said in done.stderr
    assert roles(server) == before


def test_whoever_may_not_create_roles_is_told(server: PostgresUnderTest) -> None:
    run_script(server, "owner=automon_service")
    give_password(server, "automon_service")

    done = run_script(server, "owner=somebody_else", user="automon_service")

    assert done.returncode != 0
    assert "permission denied to create role" in done.stderr
