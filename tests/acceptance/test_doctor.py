"""`automon doctor` on installations that are well, and on those that are hurt in one way after the other."""

from __future__ import annotations

import json
import secrets
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.clock import ShiftedClock
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Look, ServiceProcess, channels_of, make_config, run_automon, write_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

Document = dict[str, Any]
StartService = Callable[..., ServiceProcess]
# The promise of its help; the start of the program comes on top.
LONGEST = 15.0


class Doctor:
    """Runs the command in a folder and knows what it found, by name."""

    def __init__(self, folder: Path, config: Document | None = None, /, **environment: str) -> None:
        write_config(folder, config or make_config())
        self.folder = folder
        began = time.monotonic()
        self.done = run_automon(folder, "doctor", "--json", environment=environment)
        self.seconds = time.monotonic() - began
        assert self.done.stdout, self.done.stderr
        found = json.loads(self.done.stdout)["findings"]
        self.findings: dict[str, Document] = {finding["name"]: finding for finding in found}
        assert len(self.findings) == len(found), "two findings of one name"
        print(json.dumps(found, indent=1))  # shown with a test that fails

    def state(self, name: str) -> str:
        return str(self.findings[name]["state"])

    def states(self) -> dict[str, str]:
        return {name: finding["state"] for name, finding in self.findings.items()}

    def assert_failed(self, name: str, *, says: str, fix: str) -> None:
        """One check has failed and says so, with what mends it."""
        assert self.done.returncode == 1
        self.assert_found(name, "failed", says=says, fix=fix)

    def assert_found(self, name: str, state: str, *, says: str, fix: str) -> None:
        assert self.state(name) == state
        assert says in self.findings[name]["detail"]
        assert fix in self.findings[name]["fix"]


def of_role(url: str, role: str) -> str:
    """The same database, as a role without a login of its own."""
    return make_conninfo(url, options=f"-c role={role}")


@pytest.fixture
def role(postgres_server: PostgresUnderTest) -> Iterator[str]:
    """A role that may do nothing yet."""
    name = f"doctor_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def proxy(postgres_server: PostgresUnderTest) -> Iterator[TcpProxy]:
    with TcpProxy(postgres_server.address.port) as proxy:
        yield proxy


def through(proxy: TcpProxy, server: PostgresUnderTest, url: str) -> str:
    """The way to the database of a URL through a proxy."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    return make_conninfo(server.address.tcp_url(str(name)), port=proxy.port)


# Well ---------------------------------------------------------------------------------------------------------


def test_an_installation_that_is_well_gets_no_finding_that_is_not_ok(
    tmp_path: Path, database_url: str, slack: FakeSlack, smtp: FakeSmtp, start_service: StartService, look: Look
) -> None:
    config = make_config(schedule={"timezone": "Europe/Berlin", "cleanup_at": "09:00"})
    places = channels_of(slack, smtp)
    start_service(config, places).wait_until_ready()
    look.wait_for("SELECT EXISTS (SELECT FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded')")

    doctor = Doctor(tmp_path, config, DATABASE_URL=database_url, **places)

    assert doctor.done.returncode == 0
    assert set(doctor.states().values()) == {"ok"}
    expected = {"database", "version", "clock", "pooler", "schema", "rights", "partitions", "retention", "rollups"}
    assert expected | {"service", "checks", "channels", "slack", "email", "time zones"} <= doctor.findings.keys()
    assert "took the login automon" in doctor.findings["email"]["detail"]
    assert "hooks.slack.com answers" in doctor.findings["slack"]["detail"]
    assert "config Europe/Berlin, this host UTC, database " in doctor.findings["time zones"]["detail"]
    assert ", 09:00 CE" in doctor.findings["time zones"]["detail"]
    # It has only looked.
    assert (slack.posts, smtp.mails) == ([], [])


def test_findings_are_words_beside_shapes_in_the_width_of_a_terminal(tmp_path: Path, database_url: str) -> None:
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "doctor", environment={"DATABASE_URL": database_url})

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "✓ version        PostgreSQL" in done.stdout
    assert "✗ service        failed: none runs on this database" in done.stdout
    assert "-> sudo systemctl enable --now automon" in done.stdout
    assert "▲ config         warning: monitoring_config.json is right, but no channel" in done.stdout
    assert lines[-1].startswith("2 failed, ")
    assert max(len(line) for line in lines if "->" not in line) <= 80


# The config and its secrets -----------------------------------------------------------------------------------


def test_a_wrong_config_does_not_hide_how_the_database_is(tmp_path: Path, database_url: str) -> None:
    config = make_config(retention={"processing_days": 0, "queue_days": "7"})

    doctor = Doctor(tmp_path, config, DATABASE_URL=database_url)

    doctor.assert_failed("config", says="retention.processing_days: is too small", fix="automon check-config")
    assert doctor.state("database") == "ok"
    assert doctor.state("time zones") == "not checked"


def test_without_a_config_it_names_the_command_that_writes_one(tmp_path: Path) -> None:
    done = run_automon(tmp_path, "doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}

    assert done.returncode == 1
    assert found["config"]["fix"].startswith("automon setup --config ")
    assert found["database"]["state"] == "failed"


def test_secrets_that_others_may_read_are_found(tmp_path: Path, database_url: str, slack: FakeSlack) -> None:
    open_file, closed_file = tmp_path / "webhook", tmp_path / "automon.env"
    open_file.write_text(slack.webhook_url)
    open_file.chmod(0o644)
    closed_file.write_text(f"DATABASE_URL='{database_url}'\n")
    closed_file.chmod(0o640)
    config = make_config(channels={"slack": {"type": "slack", "webhook_url": f"$file:{open_file}"}})

    # The file beside the config is where the database is named.
    doctor = Doctor(tmp_path, config, **slack.environment())

    doctor.assert_failed("secrets", says=str(open_file), fix=f"chmod o-rwx {open_file}")
    assert str(closed_file) not in doctor.findings["secrets"]["detail"]
    assert doctor.state("database") == "ok"


# The way to the database --------------------------------------------------------------------------------------


def test_a_deaf_database_and_a_deaf_mail_server_do_not_hold_it_up(
    tmp_path: Path, database_url: str, postgres_server: PostgresUnderTest, proxy: TcpProxy
) -> None:
    proxy.go_deaf()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        email = f"smtp://127.0.0.1:{port}?security=none&from=a@acme.example&to=b@acme.example"

        doctor = Doctor(tmp_path, DATABASE_URL=through(proxy, postgres_server, database_url), AUTOMON_EMAIL_URL=email)

    assert doctor.seconds < LONGEST
    doctor.assert_failed("database", says="timeout expired", fix="firewall")
    doctor.assert_failed("email", says="did not answer in time", fix="Check host and port")
    assert doctor.state("schema") == "not checked"
    assert doctor.findings["schema"]["detail"] == "the database cannot be reached"


@pytest.mark.parametrize(
    ("change", "says", "fix"),
    [
        pytest.param({"port": "9"}, "onnection refused", "systemctl start postgresql", id="nobody listens"),
        pytest.param({"dbname": "of-nobody"}, '"of-nobody" does not exist', "createdb", id="no such database"),
        pytest.param({"user": "nobody", "password": "x"}, "authentication failed", "user and password", id="no login"),
        pytest.param({"host": "no.such.host.invalid"}, "no.such.host.invalid", "Correct the host", id="no such host"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_with_what_mends_it(
    change: Mapping[str, str], says: str, fix: str, tmp_path: Path, postgres_server: PostgresUnderTest
) -> None:
    url = make_conninfo(postgres_server.address.tcp_url(), **change)

    doctor = Doctor(tmp_path, DATABASE_URL=url)

    doctor.assert_failed("database", says=says, fix=fix)
    assert doctor.state("version") == "not checked"


def test_a_refused_connection_is_told_as_one(
    tmp_path: Path, database_url: str, postgres_server: PostgresUnderTest, proxy: TcpProxy
) -> None:
    proxy.refuse()

    doctor = Doctor(tmp_path, DATABASE_URL=through(proxy, postgres_server, database_url))

    doctor.assert_failed("database", says="onnection refused", fix="systemctl start postgresql")


@pytest.mark.parametrize("configured", [False, True])
def test_a_pooler_in_transaction_mode_is_found(
    configured: bool, tmp_path: Path, memory_path: Path, own_postgres: PostgresUnderTest
) -> None:
    with PgBouncer(own_postgres, memory_path / "pooler") as pooler:
        config = make_config(database={"url": "$env:DATABASE_URL", "pooled": configured})

        doctor = Doctor(tmp_path, config, DATABASE_URL=pooler.url("automon"))

    assert doctor.state("database") == "ok"
    if configured:
        assert doctor.state("pooler") == "ok"
    else:
        doctor.assert_failed("pooler", says="for a transaction", fix='"pooled": true')


def test_a_config_that_believes_in_a_pooler_where_none_is_gets_a_warning(tmp_path: Path, database_url: str) -> None:
    config = make_config(database={"url": "$env:DATABASE_URL", "pooled": True})

    doctor = Doctor(tmp_path, config, DATABASE_URL=database_url)

    doctor.assert_found("pooler", "warning", says="none in transaction mode", fix='"pooled": false')


@pytest.mark.parametrize(
    ("shift", "state", "says"),
    [
        pytest.param(timedelta(seconds=-10), "warning", "10.0 s ahead of this host", id="ten seconds"),
        pytest.param(timedelta(hours=1), "failed", "behind this host", id="an hour"),
    ],
)
def test_a_clock_that_is_wrong_is_found(
    shift: timedelta, state: str, says: str, tmp_path: Path, database_url: str
) -> None:
    clock = ShiftedClock(tmp_path / "clock")
    clock.shift(shift)

    doctor = Doctor(tmp_path, DATABASE_URL=database_url, **clock.environment())

    doctor.assert_found("clock", state, says=says, fix="timedatectl set-ntp true")


# What is in the database --------------------------------------------------------------------------------------


def test_an_empty_database_needs_the_schema(tmp_path: Path, empty_database_url: str) -> None:
    doctor = Doctor(tmp_path, DATABASE_URL=empty_database_url)

    doctor.assert_failed("schema", says="are not there", fix="automon migrate")
    assert {doctor.state(name) for name in ("rights", "partitions", "service", "channels")} == {"not checked"}


@pytest.mark.parametrize(
    ("statement", "says", "fix"),
    [
        pytest.param(
            "DELETE FROM public.monitoring_migrations WHERE file > '017'", "files are not applied yet", "automon migrate", id="old"
        ),
        pytest.param(
            "INSERT INTO public.monitoring_migrations VALUES ('999_of_tomorrow.sql', 'x')", "at 999_of_tomorrow.sql", "Upgrade automon", id="new"
        ),
    ],
)  # fmt: skip
def test_a_schema_of_another_version_is_found(
    statement: str, says: str, fix: str, tmp_path: Path, database_url: str, look: Look
) -> None:
    look.ask(statement)

    doctor = Doctor(tmp_path, DATABASE_URL=database_url)

    doctor.assert_failed("schema", says=says, fix=fix)
    assert doctor.state("retention") == "not checked"


def test_a_role_that_may_not_run_the_service_is_found(tmp_path: Path, database_url: str, role: str) -> None:
    doctor = Doctor(tmp_path, DATABASE_URL=of_role(database_url, role))

    doctor.assert_failed("rights", says="may not call what is needed by the service", fix="the tables belong to")
    doctor.assert_found("schema", "not checked", says="may not read the ledger", fix="")
    # Nothing that could not be looked at passes for well.
    assert doctor.state("retention") == doctor.state("service") == "not checked"


def test_days_that_were_not_removed_and_not_made_are_found(tmp_path: Path, database_url: str, look: Look) -> None:
    look("ensure_day_partition", "queue_monitoring", look.one("SELECT now() - interval '20 days'"))
    tomorrow = look.one("SELECT public.day_partition_name('host_metrics', now() + interval '1 day')")
    look.ask(f"DROP TABLE public.{tomorrow}")

    doctor = Doctor(tmp_path, DATABASE_URL=database_url)

    doctor.assert_failed("retention", says="queue_monitoring by 12 days", fix="cleanup_old_monitoring_data()")
    doctor.assert_failed("partitions", says="none for tomorrow in host_metrics", fix="ensure_partitions()")
    assert run_of(doctor.findings["partitions"]["fix"], database_url).returncode == 0
    assert Doctor(tmp_path, DATABASE_URL=database_url).state("partitions") == "ok"


def run_of(fix: str, database_url: str) -> subprocess.CompletedProcess[str]:
    """Do what a fix says, as somebody who copies it."""
    from tests.support.psql import psql_program

    command = fix.replace("psql ", f"{shlex.quote(str(psql_program()))} ", 1)
    return subprocess.run(
        ["sh", "-c", command], env={"DATABASE_URL": database_url}, capture_output=True, text=True, check=False
    )


# The places that messages go to -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("security", "change", "says", "fix"),
    [
        pytest.param("starttls", {"password": "wrong"}, "refused the login: 535", "app password", id="a wrong password"),
        pytest.param("starttls", {"scheme": "smtps"}, "wrong version number", "begins without TLS", id="TLS on a port that begins without"),
        pytest.param("none", {}, "offers no STARTTLS", '"security": "tls"', id="no STARTTLS"),
        pytest.param("starttls", {"ca": ""}, "certificate is not trusted", '"ca_file"', id="a certificate of its own"),
    ],
)  # fmt: skip
def test_a_mail_server_that_takes_no_mail_is_told_with_what_mends_it(
    security: str, change: Mapping[str, str], says: str, fix: str, tmp_path: Path, database_url: str
) -> None:
    with FakeSmtp(security=security, username="automon", password="s3cret-word") as smtp:
        login = f"automon:{change.get('password', 's3cret-word')}@"
        url = f"{change.get('scheme', 'smtp')}://{login}{smtp.host}:{smtp.port}?from=a@acme.example&to=b@acme.example"
        trust = {"SSL_CERT_FILE": smtp.ca_file} if change.get("ca") is None else {}

        doctor = Doctor(tmp_path, DATABASE_URL=database_url, AUTOMON_EMAIL_URL=url, **trust)

    doctor.assert_failed("email", says=says, fix=fix)
    assert "s3cret-word" not in doctor.done.stdout


def test_a_proxy_that_is_away_is_told_as_the_way_to_slack(tmp_path: Path, database_url: str, slack: FakeSlack) -> None:
    way = channels_of(slack) | {"HTTPS_PROXY": "http://user:s3cret-word@127.0.0.1:9"}

    doctor = Doctor(tmp_path, DATABASE_URL=database_url, **{**way, "https_proxy": way["HTTPS_PROXY"]})

    doctor.assert_failed("slack", says="through the proxy 127.0.0.1:9", fix="curl -sSI https://hooks.slack.com/")
    assert "s3cret-word" not in doctor.done.stdout
    assert slack.webhook_url not in doctor.done.stdout
