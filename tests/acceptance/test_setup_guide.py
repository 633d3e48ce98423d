"""The setup guide, followed: its SQL on a migrated database, its commands in a shell, its configs by the service's own loader."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from automon.config import load_config
from automon.migrate import manifest, migrate
from tests.support.checkout import make_checkout, newcomers_environment, running, shell
from tests.support.markdown import Block, page
from tests.support.postgres import PostgresUnderTest
from tests.support.psql import psql_program
from tests.support.service import ServiceProcess, channels_of, make_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

GUIDE = page("docs/monitoring_setup.md")
DATABASE_IN_GUIDE = "db.example.org:5432"

# Blocks that cannot run in a test, by their beginning, and why.
NOT_RUN = {
    "export DATABASE_URL='postgresql://postgres.PROJECT": "it needs a project at Supabase; the README's test runs `make run`",
    "SELECT cron.schedule(": "pg_cron is an extension that no PostgreSQL of the tests has; the statements in it are run by themselves",
    "sudo systemctl reload automon": "it needs root and a systemd; the systemd tests reload the installed service",
    "sudo make install\nsudoedit": "it needs root and a systemd; the systemd tests install",
    "git pull": "it needs a remote repository; the migration tests upgrade",
    "export AUTOMON_PING_URL": "it names a service outside; the tests of the ping have one of their own",
}
# Blocks that have a test of their own below.
RUN_BY_THEMSELVES = (
    "CREATE ROLE automon_service",
    "CREATE ROLE automon_writer",
    'psql "$ADMIN_URL"',
    "export DATABASE_URL='postgresql://automon_service",
    'psql "$DATABASE_URL" -f sql/000',
    'psql "$DATABASE_URL" -v schema=monitoring',
    "export SLACK_WEBHOOK_URL",
    "export AUTOMON_EMAIL_URL",
    "export OPS_URL",
    ".venv/bin/automon migrate --dry-run",
    ".venv/bin/automon rebuild-rollups",
    ".venv/bin/automon check-config",
    "kill -HUP",
    'id="backup-',
    'psql "$DATABASE_URL" -qAtc "SELECT update_system_health',
    ".venv/bin/automon status",
    ".venv/bin/automon canary",
    ".venv/bin/automon channels resume",
)


def block(beginning: str) -> Block:
    [found] = (block for block in GUIDE.blocks if block.text.startswith(beginning))
    return found


def is_elsewhere(block: Block) -> bool:
    return block.text.startswith((*NOT_RUN, *RUN_BY_THEMSELVES))


PLAIN_SQL = [block for block in GUIDE.written_in("sql") if not is_elsewhere(block)]
VIEW_SQL = [block for block in PLAIN_SQL if re.search(r"\bFROM v_(?!active_alerts)", block.text)]
CONFIGS = GUIDE.written_in("json")


# SQL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lively_database(database_url: str) -> str:
    """A database with two open alerts, 41 and 42, a silence, and something in every view."""
    with psycopg.connect(database_url, autocommit=True) as link:
        for statement in (
            "SELECT setval('alerts_id_seq', 40)",
            "SELECT update_system_health('api', 'main_api', 'unhealthy', 80, 'timeout')",
            "SELECT update_queue_metrics('mail', 700, 1, 10, 0, 60)",
            "SELECT start_task_tracking('task-1', 'ocr')",
            "SELECT record_error('task-1', 'timeout', 'high', 'no answer', 'processor')",
            "SELECT record_performance_metric('latency', 'gauge', 3)",
            "SELECT silence_alerts('elsewhere', interval '1 hour')",
            "SELECT run_monitoring_checks()",
        ):
            link.execute(statement)
        opened = link.execute("SELECT array_agg(id ORDER BY id) FROM alerts").fetchone()
        assert ([41, 42],) == opened
    return database_url


def run_sql(url: str, text: str) -> None:
    with psycopg.connect(url, autocommit=True) as link:
        for statement in filter(str.strip, text.split(";\n")):
            link.execute(statement.encode())


@pytest.mark.parametrize("block", PLAIN_SQL, ids=str)
def test_the_guides_sql_runs_on_a_migrated_database(block: Block, lively_database: str) -> None:
    run_sql(lively_database, block.text)


@pytest.mark.parametrize("block", VIEW_SQL, ids=str)
def test_the_guides_dashboard_queries_run_with_the_rights_of_a_reader(block: Block, lively_database: str) -> None:
    run_sql(lively_database, "SET ROLE automon_reader;\n" + block.text)


VIEWS = [name.removeprefix("### ") for name in re.findall(r"^### v_\w+$", GUIDE.text, re.MULTILINE)]


@pytest.mark.parametrize("view", VIEWS)
def test_the_guide_says_what_each_column_of_a_view_is_for(view: str, database_url: str) -> None:
    with psycopg.connect(database_url) as link:
        columns = {column.name for column in link.execute(f"SELECT * FROM {view}".encode()).description or ()}
    table = re.findall(r"^\| (`.+?`) \|", GUIDE.section(view), re.MULTILINE)

    assert columns == {name for cell in table for name in re.findall(r"`(\w+)`", cell)}


def test_the_guide_has_all_seven_views() -> None:
    assert 7 == len(set(VIEWS))


def test_what_the_guide_has_pg_cron_run_is_a_statement_that_runs(lively_database: str) -> None:
    statements = re.findall(r"'(SELECT [^']+)'", block("SELECT cron.schedule(").text)

    assert 2 == len(statements)
    for statement in statements:
        run_sql(lively_database, statement)


# The database section, from an empty server -------------------------------------------------------------------------


@pytest.fixture
def checkout(memory_path: Path) -> Path:
    folder = memory_path / "checkout"
    folder.mkdir()
    return make_checkout(folder)


def in_guides_place(text: str, server: PostgresUnderTest) -> str:
    return text.replace(DATABASE_IN_GUIDE, f"127.0.0.1:{server.address.port}")


def with_psql(extra: dict[str, str] | None = None) -> dict[str, str]:
    environment = newcomers_environment(extra)
    return environment | {"PATH": f"{Path(psql_program()).parent}:{environment['PATH']}"}


@pytest.fixture
def prepared_server(own_postgres: PostgresUnderTest) -> PostgresUnderTest:
    """A server where the administrator did what the guide says."""
    with psycopg.connect(own_postgres.url, autocommit=True) as admin:
        for role in ("automon_writer", "automon_reader", "automon_operator"):
            admin.execute(f"DROP OWNED BY {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())
    for beginning in ("CREATE ROLE automon_service", "CREATE ROLE automon_writer"):
        run_sql(own_postgres.url, block(beginning).text)
    return own_postgres


def test_the_guides_migration_by_automon_and_then_by_psql_installs_once(
    prepared_server: PostgresUnderTest, checkout: Path
) -> None:
    by_automon = in_guides_place(block("export DATABASE_URL='postgresql://automon_service").text, prepared_server)
    by_psql = block('psql "$DATABASE_URL" -f sql/000').text

    dry_run = block(".venv/bin/automon migrate --dry-run").text
    rebuild = block(".venv/bin/automon rebuild-rollups").text

    done = shell(by_automon + by_psql + dry_run + rebuild, checkout, with_psql())

    assert (0, "") == (done.returncode, done.stderr)
    assert "nothing to do, the schema is up to date" in done.stdout
    assert "rolled up 0 tasks, 0 errors and 0 metrics" in done.stdout
    assert f"applied {len(manifest())} files" in done.stdout
    assert "the schema is up to date" in done.stdout


def test_the_guides_roles_may_do_what_the_guide_says_and_no_more(
    prepared_server: PostgresUnderTest, checkout: Path
) -> None:
    shell(
        in_guides_place(block("export DATABASE_URL='postgresql://automon_service").text, prepared_server),
        checkout,
        with_psql(),
    )
    address = f"127.0.0.1:{prepared_server.address.port}/monitoring"

    with psycopg.connect(f"postgresql://billing:choose-another@{address}", autocommit=True) as billing:
        assert (True,) == billing.execute("SELECT start_task_tracking('task-1', 'invoices')").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            billing.execute("SELECT * FROM processing_metrics")
    with psycopg.connect(f"postgresql://dashboards:choose-a-third@{address}", autocommit=True) as dashboards:
        assert (1,) == dashboards.execute("SELECT sum(running) FROM v_realtime_processing_status").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            dashboards.execute("SELECT acknowledge_alert(1)")


def test_the_guides_script_makes_an_owner_who_can_install(prepared_server: PostgresUnderTest, checkout: Path) -> None:
    admin_url = prepared_server.address.socket_url("postgres")

    done = shell(block('psql "$ADMIN_URL"').text, checkout, with_psql({"ADMIN_URL": admin_url}))

    assert (0, "") == (done.returncode, done.stderr)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE automon_owner PASSWORD 'choose-one'")
    url = f"postgresql://automon_owner:choose-one@127.0.0.1:{prepared_server.address.port}/monitoring"
    assert len(manifest()) == len(migrate(url, schema="automon"))


def test_the_guides_schema_of_its_own_can_be_used_beside_public(
    prepared_server: PostgresUnderTest, checkout: Path
) -> None:
    url = in_guides_place(f"postgresql://automon_service:choose-one@{DATABASE_IN_GUIDE}/monitoring", prepared_server)

    done = shell(block('psql "$DATABASE_URL" -v schema=monitoring').text, checkout, with_psql({"DATABASE_URL": url}))

    assert (0, "") == (done.returncode, done.stderr)
    run_sql(url, "SELECT monitoring.run_monitoring_checks()")


# Channels -----------------------------------------------------------------------------------------------------------


def test_the_guides_slack_test_message_reaches_slack(checkout: Path) -> None:
    with FakeSlack() as slack:
        done = shell(block("export SLACK_WEBHOOK_URL").text, checkout, newcomers_environment(slack.environment()))

        assert (0, "") == (done.returncode, done.stderr)
        [post] = slack.wait_for(1)
        assert "test" in post.preview.lower()


def test_the_guides_test_mail_reaches_both_recipients(checkout: Path) -> None:
    with FakeSmtp(username="automon", password="choose-one") as smtp:
        script = block("export AUTOMON_EMAIL_URL").text.replace("mail.example.org:587", f"127.0.0.1:{smtp.port}")

        done = shell(script, checkout, newcomers_environment({"SSL_CERT_FILE": smtp.ca_file}))

        assert (0, "") == (done.returncode, done.stderr)
        assert [("ops@example.org",), ("ana@example.org",)] == [mail.recipients for mail in smtp.wait_for(2)]


@pytest.fixture
def ntfy() -> Iterator[tuple[int, list[str]]]:
    """A service that takes what ntfy takes: its port, and the bodies that came."""
    bodies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1], bodies
        server.shutdown()
        thread.join()


def test_the_guides_apprise_channel_is_one_line_and_delivers(checkout: Path, ntfy: tuple[int, list[str]]) -> None:
    port, bodies = ntfy
    [config] = (block for block in CONFIGS if '"ops": {"type": "apprise"' in block.text)
    (checkout / "monitoring_config.json").unlink()
    (checkout / "monitoring_config.json").write_text(config.text, encoding="utf-8")
    script = block("export OPS_URL").text.replace("ntfy.example.org", f"127.0.0.1:{port}")

    done = shell(script, checkout, newcomers_environment({"no_proxy": "127.0.0.1"}))

    assert (0, "") == (done.returncode, done.stderr)
    [body] = bodies
    assert "automon-alerts" == json.loads(body)["topic"]


# Config -------------------------------------------------------------------------------------------------------------

MISTAKEN = '{"low": 100, "medium": 50}'


@pytest.mark.parametrize("block", [block for block in CONFIGS if MISTAKEN not in block.text], ids=str)
def test_the_guides_configs_load(block: Block, tmp_path: Path) -> None:
    secret = tmp_path / "oncall-webhook"
    secret.write_text("https://hooks.slack.com/services/T0/B0/x\n", encoding="utf-8")
    file = tmp_path / "monitoring_config.json"
    file.write_text(block.text.replace("/etc/automon/oncall-webhook", str(secret)), encoding="utf-8")
    environment = {
        "DATABASE_URL": "postgresql://user@host/db",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x",
        "AUTOMON_EMAIL_URL": "smtp://automon:choose-one@mail.example.org?from=automon@example.org&to=ops@example.org",
        "MAIL_PASSWORD": "choose-one",
        "OPS_URL": "ntfy://ntfy.example.org/automon",
    }

    config = load_config(file, environment)

    assert len(config.channels) == len(config.active_channels)


def test_the_guides_mistaken_config_is_refused_in_the_words_of_the_guide(checkout: Path) -> None:
    [mistaken] = (block for block in CONFIGS if MISTAKEN in block.text)
    (checkout / "wrong.json").write_text(mistaken.text, encoding="utf-8")
    check = block(".venv/bin/automon check-config").text.strip()

    done = shell(f"{check} --config wrong.json", checkout, newcomers_environment())

    assert (1, block("wrong.json:3:5").text) == (done.returncode, done.stderr)


def test_the_shipped_config_passes_the_guides_check(checkout: Path) -> None:
    done = shell(block(".venv/bin/automon check-config").text, checkout, newcomers_environment())

    assert (0, "") == (done.returncode, done.stderr)


def test_the_guides_hang_up_signal_reloads_the_service(checkout: Path) -> None:
    (checkout / "monitoring_config.json").unlink()
    config = checkout / "monitoring_config.json"
    config.write_text('{"schedule": {"alert_checks_seconds": 300}}', encoding="utf-8")
    with running("make run", checkout, newcomers_environment()) as service:
        service.wait_for("is running")
        config.write_text('{"schedule": {"alert_checks_seconds": 200}}', encoding="utf-8")

        shell(block("kill -HUP").text, checkout, newcomers_environment())

        service.wait_for("config_accepted", seconds=10)


# Reporting and alerts in hand ---------------------------------------------------------------------------------------


def test_the_guides_backup_is_recorded_with_its_size(lively_database: str, checkout: Path) -> None:
    script = block('id="backup-').text

    done = shell(script, checkout, with_psql({"DATABASE_URL": lively_database}))

    assert (0, "t\nt\n") == (done.returncode, done.stdout), done.stderr
    with psycopg.connect(lively_database) as link:
        row = link.execute(
            "SELECT task_id, status, output_size FROM processing_metrics WHERE task_type = 'backup'"
        ).fetchone()
    assert row is not None
    assert f"backup-{datetime.now(UTC):%Y}" in row[0]
    assert ("completed", (checkout / "backup.tgz").stat().st_size) == row[1:]


def test_the_guides_failed_job_is_a_critical_alert(lively_database: str, checkout: Path) -> None:
    script = block('psql "$DATABASE_URL" -qAtc "SELECT update_system_health').text

    done = shell(script, checkout, with_psql({"DATABASE_URL": lively_database}))

    assert (0, "t\n") == (done.returncode, done.stdout), done.stderr
    with psycopg.connect(lively_database) as link:
        link.execute("SELECT run_monitoring_checks()")
        row = link.execute("SELECT severity FROM alerts WHERE source = 'job/backup'").fetchone()
    assert ("critical",) == row


EXPECTED_OF_THE_CLI = {
    "status": "AUTOMON HAS NOT CHECKED YET",
    "alerts": "#41",
    "explain": "What happened",
    "ack": "acked #41",
    "silence": "silenced invoice-sync",
    "resolve": "resolved #41",
}


def test_the_guides_commands_take_an_alert_in_hand(lively_database: str, checkout: Path) -> None:
    lines = block(".venv/bin/automon status").text.splitlines()
    environment = newcomers_environment({"DATABASE_URL": lively_database})

    said = {line.split()[1]: shell(line, checkout, environment) for line in lines}

    assert list(EXPECTED_OF_THE_CLI) == list(said)
    for command, expected in EXPECTED_OF_THE_CLI.items():
        assert expected in said[command].stdout, said[command]


def test_the_guides_commands_take_messages_in_hand(
    lively_database: str, checkout: Path, tmp_path: Path, slack: FakeSlack
) -> None:
    environment = {"DATABASE_URL": lively_database, **channels_of(slack)}
    with ServiceProcess(tmp_path, make_config(), environment) as service:
        service.wait_until_ready()
        lines = [
            *block(".venv/bin/automon canary").text.splitlines(),
            *block(".venv/bin/automon channels resume").text.splitlines(),
        ]

        said = [shell(line, checkout, newcomers_environment(environment)) for line in lines]

    canary, channels, trouble, of_alert, resumed = said
    assert "✓ slack: arrived in" in canary.stdout
    assert "slack" in channels.stdout
    assert ("", 0) == (trouble.stdout, trouble.returncode)
    assert "#41 opened" in of_alert.stdout
    assert "slack was working" in resumed.stdout


def test_the_guides_python_reports_a_task_and_its_steps(lively_database: str, checkout: Path) -> None:
    [program] = GUIDE.written_in("python")
    (checkout / "program.py").write_text(program.text, encoding="utf-8")

    done: subprocess.CompletedProcess[str] = shell(
        ".venv/bin/python program.py", checkout, newcomers_environment({"AUTOMON_DSN": lively_database})
    )

    assert (0, "") == (done.returncode, done.stderr)
    with psycopg.connect(lively_database) as link:
        row = link.execute(
            "SELECT status, output_size, step_timings ? 'parse' FROM processing_metrics"
            " WHERE task_type = 'document_processing'"
        ).fetchone()
    assert ("completed", 2048, True) == row


# Completeness -------------------------------------------------------------------------------------------------------


def test_every_shell_block_of_the_guide_is_run_or_says_why_not() -> None:
    forgotten = [str(block) for block in GUIDE.written_in("sh") if not is_elsewhere(block)]

    assert [] == forgotten


@pytest.mark.parametrize("beginning", [*NOT_RUN, *RUN_BY_THEMSELVES])
def test_every_block_that_is_treated_apart_is_in_the_guide(beginning: str) -> None:
    assert 1 == sum(block.text.startswith(beginning) for block in GUIDE.blocks)
