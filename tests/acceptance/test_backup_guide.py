"""The guide to backups, followed from one real server to another, with the programs of PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from automon.migrate import migrate
from tests.support.calls import Calls
from tests.support.checkout import make_checkout, newcomers_environment, shell
from tests.support.markdown import page
from tests.support.postgres import PostgresUnderTest, copy_server
from tests.support.programs import folder_with

GUIDE = page("docs/backup_and_upgrade.md")
NEW_DATABASE = "new-db.example.org:5432"
PROGRAMS = ("pg_dump", "pg_dumpall", "pg_restore", "createdb", "dropdb", "psql")
# Blocks that cannot run here, by their beginning, and why.
NOT_RUN = {
    "sudo sh -c": "it needs root and an installed automon; the tests of systemd have both",
    "sudo tar": "it needs root and an installed automon; the tests of systemd have both",
    "git pull && sudo": "it needs a remote repository and root; the tests of systemd upgrade",
    "git pull && make deb": "it needs a remote repository and root; the tests of systemd build and install the package",
    "sudo make rollback": "it needs root and an installed automon; the tests of systemd turn back",
    "SELECT file, applied_at": "run below with the other queries",
}
ROLES = ("automon_writer", "automon_reader", "automon_operator")


def block(beginning: str) -> str:
    [found] = (block.text for block in GUIDE.blocks if block.text.startswith(beginning))
    return found


@pytest.fixture
def checkout(memory_path: Path) -> Path:
    folder = memory_path / "checkout"
    folder.mkdir()
    return make_checkout(folder)


@pytest.fixture
def old_server(memory_path: Path, pristine_postgres: Path) -> Iterator[tuple[PostgresUnderTest, str]]:
    """A server with a database that a role of automon's owns, in which there is a history, an open alert and a silence."""
    with PostgresUnderTest(copy_server(pristine_postgres, memory_path / "old")) as server:
        with psycopg.connect(server.address.socket_url("postgres"), autocommit=True) as admin:
            for role in ROLES:
                admin.execute(f"CREATE ROLE {role} NOLOGIN".encode())
            admin.execute("CREATE ROLE automon_service LOGIN PASSWORD 'old'")
            admin.execute("CREATE DATABASE monitoring OWNER automon_service")
        url = f"postgresql://automon_service:old@127.0.0.1:{server.address.port}/monitoring"
        migrate(url)
        with psycopg.connect(url, autocommit=True) as link:
            calls = Calls(link)
            calls.record_errors(80, "billing", until=calls.one("SELECT now()"))
            calls("start_task_tracking", "task-1", "ocr")
            calls("silence_alerts", "mail", calls.one("SELECT interval '2 hours'"), "deploying", "ana")
            calls("run_monitoring_checks")
        yield server, url


@pytest.fixture
def new_server(memory_path: Path) -> Iterator[PostgresUnderTest]:
    """A server made anew: a copy would bear the identity of the old one, by which the rollups know a move."""
    with PostgresUnderTest(memory_path / "new") as server:
        yield server


def environment(old_url: str, old: PostgresUnderTest, new: PostgresUnderTest) -> dict[str, str]:
    address = f"127.0.0.1:{new.address.port}"
    found = newcomers_environment(
        {
            "DATABASE_URL": old_url,
            "ADMIN_URL": old.address.socket_url("postgres"),
            "NEW_ADMIN_URL": new.address.socket_url("postgres"),
            "TRIAL_URL": f"postgresql://automon_service:choose-one@{address}/trial",
        }
    )
    return found | {"PATH": f"{folder_with(*PROGRAMS)}:{Path('.venv/bin').resolve()}:{found['PATH']}"}


def in_place(script: str, new: PostgresUnderTest) -> str:
    return script.replace(NEW_DATABASE, f"127.0.0.1:{new.address.port}")


def contents(url: str) -> dict[str, object]:
    """Say what of a database counts: facts, alerts, silences, thresholds, and what each role may."""
    with psycopg.connect(url, autocommit=True) as link:
        calls = Calls(link)
        return {
            "errors": calls.one("SELECT count(*) FROM public.error_tracking"),
            "tasks": calls.one("SELECT count(*) FROM public.processing_metrics"),
            "alerts": calls.ask("SELECT id, alert_type, source, opened_at FROM public.alerts"),
            "silences": calls.ask("SELECT source, reason, created_by FROM public.alert_silences"),
            "transitions": calls.one("SELECT count(*) FROM public.alert_transitions"),
            "thresholds": calls.one("SELECT count(*) FROM public.monitoring_thresholds"),
            "rights": calls.ask(
                "SELECT DISTINCT g.grantee, g.routine_name FROM information_schema.role_routine_grants g"
                " WHERE g.specific_schema = 'public' AND g.grantee = ANY (%s) ORDER BY 1, 2",
                [*ROLES, "PUBLIC"],
            ),
        }


def test_the_guide_takes_a_database_to_another_server(
    checkout: Path, old_server: tuple[PostgresUnderTest, str], new_server: PostgresUnderTest
) -> None:
    old, old_url = old_server
    around = environment(old_url, old, new_server)
    before = contents(old_url)

    backup = shell("set -e\n" + block("pg_dump --format=custom --file"), checkout, around)
    roles = shell("set -e\n" + block("pg_dumpall"), checkout, around)
    prepared = shell("set -e\n" + block('psql "$NEW_ADMIN_URL"'), checkout, around)
    restored = shell("set -e\n" + in_place(block("export DATABASE_URL"), new_server), checkout, around)

    for done in (backup, roles, prepared, restored):
        assert 0 == done.returncode, done.stderr
    assert int(backup.stdout) > 20
    assert "CREATE ROLE automon_service" in (checkout / "automon-roles.sql").read_text(encoding="utf-8")
    assert "old" not in (checkout / "automon-roles.sql").read_text(encoding="utf-8")
    assert "nothing to do, the schema is up to date" in restored.stdout
    assert "80 errors" in restored.stdout
    url = f"postgresql://automon_service:choose-one@127.0.0.1:{new_server.address.port}/monitoring"
    assert before == contents(url)
    assert 80 == before["errors"]
    with psycopg.connect(url, autocommit=True) as link:
        calls = Calls(link)
        assert calls("record_error", "task-2", "timeout", "high", "no answer", "billing")
        assert calls.one("SELECT errors_last_hour FROM public.v_error_summary") == 81
        for beginning in ("SELECT severity, source", "UPDATE alert_deliveries", "SELECT file, applied_at"):
            for statement in filter(str.strip, block(beginning).split(";\n")):
                link.execute(statement.encode())
        assert 0 == calls("run_monitoring_checks")  # the alert is the one that was open


def test_what_was_not_to_be_sent_after_a_restore_is_sent_by_nobody(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as link:
        calls = Calls(link)
        told = [
            {"name": name, "recipients": ["x"], "min_severity": "low", "notify_on": ["opened"]}
            for name in ("a", "journal")
        ]
        calls.configure(channels=told)
        calls("update_queue_metrics", "mail", 700)
        calls("run_monitoring_checks")
        assert 2 == calls.one("SELECT count(*) FROM public.v_deliveries WHERE status = 'pending'")

        link.execute(block("UPDATE alert_deliveries").encode())

        calls("tend_deliveries")
        calls("run_monitoring_checks")
        assert [("expired", 2)] == link.execute(
            "SELECT status, count(*) FROM public.alert_deliveries GROUP BY 1"
        ).fetchall()


def test_a_backup_without_the_days_keeps_alerts_silences_and_thresholds(
    checkout: Path, old_server: tuple[PostgresUnderTest, str], new_server: PostgresUnderTest
) -> None:
    old, old_url = old_server
    around = environment(old_url, old, new_server)
    before = contents(old_url)

    small = block("pg_dump --format=custom --exclude-table-data") + block('psql "$NEW_ADMIN_URL"')
    done = shell(f"set -e\n{small}\n{restoring('automon-small.dump', new_server)}", checkout, around)

    assert 0 == done.returncode, done.stderr
    after = contents(f"postgresql://automon_service:choose-one@127.0.0.1:{new_server.address.port}/monitoring")
    assert 0 == after["errors"]
    for kept in ("alerts", "silences", "transitions", "thresholds", "rights"):
        assert before[kept] == after[kept]


def restoring(file: str, new: PostgresUnderTest) -> str:
    lines = in_place(block("export DATABASE_URL"), new).splitlines()[:2]
    return "\n".join(lines).replace("automon.dump", file)


def test_a_backup_is_tried_beside_and_leaves_nothing(
    checkout: Path, old_server: tuple[PostgresUnderTest, str], new_server: PostgresUnderTest
) -> None:
    old, old_url = old_server
    around = environment(old_url, old, new_server)
    script = block("pg_dump --format=custom --file") + block('psql "$NEW_ADMIN_URL"') + block("createdb")

    done = shell("set -e\n" + script, checkout, around)

    assert 0 == done.returncode, done.stderr
    assert "AUTOMON HAS NOT CHECKED YET" in done.stdout, done.stderr
    assert "1" == done.stdout.splitlines()[-1]


def test_a_role_that_reads_everything_is_refused_as_the_guide_says(
    checkout: Path, old_server: tuple[PostgresUnderTest, str]
) -> None:
    old, old_url = old_server
    with psycopg.connect(old.address.socket_url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE backups LOGIN PASSWORD 'old' IN ROLE pg_read_all_data")
    around = environment(old_url.replace("automon_service", "backups"), old, old)

    done = shell(block("pg_dump --format=custom --file").splitlines()[0], checkout, around)

    assert 1 == done.returncode
    assert "row-level security" in done.stderr


def test_before_an_upgrade_the_guide_looks_without_changing_anything(
    checkout: Path, old_server: tuple[PostgresUnderTest, str]
) -> None:
    old, old_url = old_server
    around = environment(old_url, old, old)

    done = shell(
        "set -e\n" + block("automon migrate --dry-run") + block('psql "$DATABASE_URL" -f sql'), checkout, around
    )

    assert 0 == done.returncode, done.stderr
    assert "nothing to do" in done.stdout
    assert "is right" in done.stdout


RUN = (
    "pg_dump --format=custom --file", "pg_dump --format=custom --exclude", "pg_dumpall", 'psql "$NEW_ADMIN_URL"', "export DATABASE_URL",
    "SELECT severity, source", "UPDATE alert_deliveries", "createdb", "automon migrate --dry-run", 'psql "$DATABASE_URL" -f sql',
)  # fmt: skip


def test_every_block_of_the_guide_is_run_or_says_why_not() -> None:
    assert [] == [str(block) for block in GUIDE.blocks if not block.text.startswith((*RUN, *NOT_RUN))]
    for beginning in (*RUN, *NOT_RUN):
        assert 1 == sum(block.text.startswith(beginning) for block in GUIDE.blocks), beginning
