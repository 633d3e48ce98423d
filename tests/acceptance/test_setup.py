"""`automon setup` from nothing to an alert that arrives, again and again, and where one answer is wrong."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Self

import psycopg
import pytest

from automon.config import jsonc
from automon.env_file import read_variables
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.service import (
    CONFIG_NAME,
    Look,
    ServiceProcess,
    channels_of,
    clean_environment,
    make_config,
    run_automon,
    write_config,
)
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp
from tests.support.waiting import wait_until

StartService = Callable[..., ServiceProcess]
SHIPPED = (Path(__file__).parents[2] / CONFIG_NAME).read_text(encoding="utf-8")
# It must survive an environment file, and would not survive a URL.
PASSWORD = "pa'ss \"w%0rd\\"
ENVIRONMENT_NAME = "automon.env"


class Setup:
    """Runs the command in a folder, with servers that it may find."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = environment

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = run_automon(self.folder, "setup", *arguments, environment=self.environment)
        print(done.stdout, done.stderr)  # shown with a test that fails
        return done

    @property
    def config_path(self) -> Path:
        return self.folder / CONFIG_NAME

    @property
    def environment_path(self) -> Path:
        return self.folder / ENVIRONMENT_NAME

    def variables(self) -> dict[str, str]:
        return read_variables(self.environment_path.read_text(encoding="utf-8"))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}


@pytest.fixture
def mail() -> Iterator[FakeSmtp]:
    with FakeSmtp(security="starttls", username="automon", password=PASSWORD) as smtp:
        yield smtp


@pytest.fixture
def setup(memory_path: Path, slack: FakeSlack, mail: FakeSmtp) -> Setup:
    folder = memory_path / "setup"
    folder.mkdir()
    (folder / "webhook").write_text(slack.webhook_url + "\n")
    (folder / "password").write_text(PASSWORD + "\n")
    return Setup(folder, **slack.environment(), SSL_CERT_FILE=mail.ca_file)


def mail_flags(mail: FakeSmtp) -> list[str]:
    return [
        "--smtp-host", mail.host, "--smtp-port", str(mail.port), "--smtp-user", "automon", "--smtp-password-file", "password",
        "--email-from", "automon@acme.example", "--email-to", "ops@acme.example",
    ]  # fmt: skip


def all_flags(database_url: str, mail: FakeSmtp) -> list[str]:
    return ["--yes", "--database-url", database_url, "--slack-webhook-file", "webhook", *mail_flags(mail)]


# From nothing -------------------------------------------------------------------------------------------------


def test_it_goes_from_an_empty_database_to_an_alert_that_arrives(
    setup: Setup, empty_database_url: str, slack: FakeSlack, mail: FakeSmtp
) -> None:
    done = setup(*all_flags(empty_database_url, mail))

    assert (done.returncode, done.stderr) == (0, "")
    steps = re.findall(r"^(\d)/5 (\w+)", done.stdout, re.MULTILINE)
    assert steps == [("1", "database"), ("2", "slack"), ("3", "email"), ("4", "files"), ("5", "first")]
    assert re.search(r"fact recorded +\d+ ms\n +alert 1 opened +[\d.]+ m?s\n", done.stdout)
    assert re.search(r"✓ slack: claimed after [\d.]+ m?s, sent after [\d.]+ m?s\n", done.stdout)
    assert re.search(r"✓ email: claimed after [\d.]+ m?s, sent after [\d.]+ m?s\n", done.stdout)
    assert re.search(r"\nDone: \d+ s from the first question to the end\.\nStart it:  automon run\n", done.stdout)
    assert [post.preview.split(":")[0] for post in slack.taken] == [
        "✅ TEST automon", "🛑 CRITICAL test/automon-setup-test", "✅ RESOLVED test/automon-setup-test",
    ]  # fmt: skip
    assert [post.problems for post in slack.posts] == [()] * 3
    assert [str(one.message["Subject"]) for one in mail.mails] == [
        "[CRITICAL] test/automon-setup-test: component health (#1)",
        "[RESOLVED] test/automon-setup-test: component health (#1)",
    ]


def test_secrets_go_to_a_file_of_their_own_and_nowhere_else(
    setup: Setup, database_url: str, slack: FakeSlack, mail: FakeSmtp
) -> None:
    done = setup(*all_flags(database_url, mail), "--skip-alert")

    assert done.returncode == 0
    assert setup.variables() == {
        "DATABASE_URL": database_url, "SLACK_WEBHOOK_URL": slack.webhook_url, "AUTOMON_SMTP_PASSWORD": PASSWORD,
    }  # fmt: skip
    assert setup.environment_path.stat().st_mode & 0o777 == 0o600
    config = setup.config_path.read_text(encoding="utf-8")
    for told in (config, done.stdout, done.stderr):
        assert slack.webhook_url not in told
        assert PASSWORD not in told
    channel = jsonc.loads(config)["channels"]["email"]
    assert channel["password"] == "$env:AUTOMON_SMTP_PASSWORD"
    # What was written is what the other commands find, without another word.
    status = run_automon(setup.folder, "channels", environment=setup.environment)
    assert "No channel is known" in status.stderr
    assert run_automon(setup.folder, "check-config", environment=setup.environment).returncode == 0


def test_a_file_for_secrets_elsewhere_is_sourced_before_the_start(setup: Setup, database_url: str) -> None:
    done = setup("--yes", "--database-url", database_url, "--env-file", "secrets.env", "--skip-alert")

    path = setup.folder / "secrets.env"
    assert done.returncode == 0
    assert f"First:     set -a; . {path}; set +a" in done.stdout
    assert not setup.environment_path.exists()
    sourced = subprocess.run(
        ["sh", "-c", f'. {path}; printf %s "$DATABASE_URL"'], capture_output=True, text=True, check=True
    )
    assert sourced.stdout == database_url


def test_the_config_is_the_shipped_one_with_its_comments(setup: Setup, database_url: str, mail: FakeSmtp) -> None:
    assert setup("--yes", "--database-url", database_url, *mail_flags(mail), "--skip-alert").returncode == 0

    written = setup.config_path.read_text(encoding="utf-8")
    before, after = SHIPPED.splitlines(), written.splitlines()
    assert [line for line in before if line not in after] == [
        '    "email": {"type": "email", "optional": true, "url": "$env:AUTOMON_EMAIL_URL"}'
    ]
    assert (setup.folder / "monitoring_config.schema.json").exists()


# Again --------------------------------------------------------------------------------------------------------


def test_again_it_keeps_everything_and_plays_the_alert_once_more(
    setup: Setup, database_url: str, slack: FakeSlack, mail: FakeSmtp
) -> None:
    # Two alerts within seconds would be told as one.
    write_config(setup.folder, make_config())
    assert setup(*all_flags(database_url, mail)).returncode == 0
    files = setup.files()

    done = setup("--yes")

    assert done.returncode == 0
    assert "2/5 slack        kept\n3/5 email        kept\n4/5 files        nothing to change\n" in done.stdout
    assert setup.files() == files
    # No other test message, and the alert's two messages.
    assert len(slack.taken) == 3 + 2
    assert len(mail.mails) == 2 + 2


def test_a_file_that_was_edited_by_hand_keeps_what_it_is_not_asked_to_change(
    setup: Setup, database_url: str, slack: FakeSlack, mail: FakeSmtp
) -> None:
    edited = """\
{
  // ours
  "retention": {"processing_days": 90}, // the auditors want it
  "channels": {
    "team": {
      "type": "slack",
      "webhook_url": "$file:/nowhere/webhook", // moved
      "optional": true,
      "min_severity": "high" /* not at night */
    },
    "mail": {"type": "email", "enabled": false, "url": "$env:OLD", "optional": true, "notify_on": ["opened", "resolved"]}
  }
}
"""
    setup.config_path.write_text(edited)

    done = setup(*all_flags(database_url, mail), "--skip-alert")

    assert done.returncode == 0
    config = setup.config_path.read_text(encoding="utf-8")
    for comment in ("// ours", "// the auditors want it", "// moved", "/* not at night */"):
        assert comment in config
    document = jsonc.loads(config)
    assert document["retention"] == {"processing_days": 90}
    assert document["channels"]["team"] == {
        "type": "slack", "webhook_url": "$env:SLACK_WEBHOOK_URL", "optional": True, "min_severity": "high",
    }  # fmt: skip
    assert document["channels"]["mail"] == {
        "type": "email", "optional": True, "notify_on": ["opened", "resolved"], "host": mail.host, "port": mail.port,
        "security": "starttls", "username": "automon", "password": "$env:AUTOMON_SMTP_PASSWORD",
        "from": "automon@acme.example", "to": ["ops@acme.example"],
    }  # fmt: skip
    # It has said line by line what it does.
    assert '-      "webhook_url": "$file:/nowhere/webhook", // moved' in done.stdout
    assert '+      "webhook_url": "$env:SLACK_WEBHOOK_URL", // moved' in done.stdout


def test_a_config_that_is_wrong_is_not_touched(setup: Setup, database_url: str) -> None:
    setup.config_path.write_text('{"retention": {"processing_days": 0}}')
    files = setup.files()

    done = setup("--yes", "--database-url", database_url)

    assert done.returncode == 1
    assert "retention.processing_days: is too small" in done.stderr
    assert setup.files() == files


def test_nothing_of_the_alert_goes_on_alarming(setup: Setup, database_url: str, mail: FakeSmtp, look: Look) -> None:
    assert setup(*all_flags(database_url, mail)).returncode == 0

    for later in (
        timedelta(seconds=30),
        timedelta(minutes=6),
        timedelta(minutes=40),
        timedelta(hours=3),
        timedelta(days=1),
    ):
        moment = look.one("SELECT clock_timestamp() + %s", later)
        look("run_monitoring_checks", moment)
        look("watch_facts", moment)

    kinds = look.ask("SELECT kind FROM public.alert_transitions ORDER BY id")
    assert [transition["kind"] for transition in kinds] == ["opened", "resolved"]
    assert look.one("SELECT count(*) FROM public.v_system_health_summary") == 0
    # No service has run, and none is believed to have: the next one finds no time that it was blind in.
    assert look.one("SELECT count(*) FROM public.watch_state") == 0


# With a service -----------------------------------------------------------------------------------------------


def test_where_a_service_runs_that_one_finds_the_alert_and_tells(
    setup: Setup, database_url: str, slack: FakeSlack, start_service: StartService
) -> None:
    config = make_config()
    service = start_service(config, channels_of(slack), folder=setup.folder / "service")
    service.wait_until_ready()
    write_config(setup.folder, config)
    setup.environment |= channels_of(slack)

    done = setup("--yes", "--database-url", database_url)

    assert done.returncode == 0
    assert "checked and told by the running service" in done.stdout
    assert "the running service still has what it started with" in done.stdout
    assert "✓ slack: claimed after" in done.stdout
    assert len(service.events_named("delivery_sent")) == 2
    assert len(slack.taken) == 2


def test_behind_a_pooler_the_config_says_so(setup: Setup, own_postgres: PostgresUnderTest, memory_path: Path) -> None:
    with PgBouncer(own_postgres, memory_path / "pooler") as pooler:
        done = setup("--yes", "--database-url", pooler.url("automon"))

    assert done.returncode == 0
    assert jsonc.loads(setup.config_path.read_text(encoding="utf-8"))["database"]["pooled"] is True


def test_without_a_database_it_takes_the_embedded_one(setup: Setup) -> None:
    done = setup("--yes", "--slack-webhook-file", "webhook")

    assert done.returncode == 0
    assert "Start it:  automon run --embedded .automon" in done.stdout
    assert setup.variables().keys() == {"SLACK_WEBHOOK_URL"}
    assert not (setup.folder / ".automon" / "data" / "postmaster.pid").exists()


# Wrong answers ------------------------------------------------------------------------------------------------


def test_nobody_to_answer_and_no_yes_is_a_usage_error(setup: Setup) -> None:
    done = setup()

    assert done.returncode == 64
    assert "Give the flags and --yes" in done.stderr


@pytest.mark.parametrize(
    ("flags", "says", "fix"),
    [
        pytest.param({"--database-url": "postgresql://automon:x@127.0.0.1:9/work"}, "onnection refused", "systemctl start postgresql", id="no database"),
        pytest.param({"--slack-webhook": "https://hooks.slack.com/nonsense"}, "not the URL of a Slack incoming webhook", "Incoming Webhooks", id="no webhook"),
        pytest.param({"--smtp-host": "smtp://mail"}, "not the name of a host", "without smtp://", id="no host"),
        pytest.param({"--smtp-host": "no.such.host.invalid"}, "its name was not found", "spelling of the host", id="an unknown host"),
        pytest.param({"--smtp-port": "9"}, "nobody listens there", "587", id="no mail server"),
        pytest.param({"--smtp-security": "tls"}, "wrong version number", "begins without TLS", id="the wrong encryption"),
        pytest.param({"--smtp-user": "somebody"}, "refused the login: 535", "app password", id="the wrong user"),
        pytest.param({"--email-from": "nobody"}, "'nobody' is not an email address", "--email-from", id="no sender"),
        pytest.param({"--email-to": ""}, "an address is missing", "--email-to", id="no recipient"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_told_with_what_mends_it_and_nothing_is_written(
    flags: Mapping[str, str], says: str, fix: str, setup: Setup, database_url: str, mail: FakeSmtp
) -> None:
    given = all_flags(database_url, mail)
    for flag, value in flags.items():
        where = given.index(flag) if flag in given else given.index("--slack-webhook-file")
        given[where : where + 2] = [flag, value]
    files = setup.files()

    done = setup(*given)

    assert done.returncode == 1
    assert says in done.stderr
    assert fix in done.stderr
    assert setup.files() == files


@pytest.mark.parametrize(
    ("smtp", "says", "fix"),
    [
        pytest.param({"refuse": {"ops@acme.example": "554 5.7.1 Relay access denied"}}, "Relay access denied", "username and password", id="relay denied"),
        pytest.param({"refuse": {"ops@acme.example": "550 5.1.1 no such user"}}, "no such user", "recipient's address", id="no such user"),
    ],
)  # fmt: skip
def test_a_mail_server_that_refuses_the_recipient_is_found_out_before_any_mail(
    smtp: dict[str, dict[str, str]], says: str, fix: str, setup: Setup, database_url: str
) -> None:
    with FakeSmtp(security="none", refuse=smtp["refuse"]) as server:
        addresses = ["--email-from", "automon@acme.example", "--email-to", "ops@acme.example"]
        done = setup(
            "--yes", "--database-url", database_url, "--smtp-host", server.host, "--smtp-port", str(server.port), *addresses
        )  # fmt: skip

    assert done.returncode == 1
    assert says in done.stderr
    assert fix in done.stderr
    assert server.mails == []


def test_a_certificate_of_its_own_needs_its_ca(setup: Setup, database_url: str, mail: FakeSmtp) -> None:
    del setup.environment["SSL_CERT_FILE"]
    flags = [*all_flags(database_url, mail), "--skip-alert"]

    refused, taken = setup(*flags), setup(*flags, "--smtp-ca-file", mail.ca_file)

    assert refused.returncode == 1
    assert '"ca_file"' in refused.stderr
    assert taken.returncode == 0
    assert jsonc.loads(setup.config_path.read_text(encoding="utf-8"))["channels"]["email"]["ca_file"] == mail.ca_file


def test_a_slack_that_refuses_is_told_in_its_words(setup: Setup, database_url: str, slack: FakeSlack) -> None:
    slack.always(Answer.no_service())

    done = setup("--yes", "--database-url", database_url, "--slack-webhook-file", "webhook")

    assert done.returncode == 1
    assert "Slack answered 404 no_service" in done.stderr
    assert not setup.config_path.exists()


# With a person ------------------------------------------------------------------------------------------------


class Terminal:
    """The command with a person before it, who types what a test says."""

    def __init__(self, setup: Setup, *arguments: str) -> None:
        self._setup = setup
        self._arguments = arguments
        self.shown = ""

    def __enter__(self) -> Self:
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.chdir(self._setup.folder)
            command = [sys.executable, "-m", "automon", "setup", *self._arguments]
            os.execve(sys.executable, command, clean_environment(self._setup.environment))
        os.set_blocking(self._handle, False)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._handle)
        print(self.shown)

    def answer(self, question: str, typed: str) -> None:
        """Wait for a question and type an answer and Enter."""
        self.wait_for(question)
        self.shown = self.shown.replace(question, "(asked)", 1)
        os.write(self._handle, f"{typed}\n".encode())

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self._read(), seconds=20, what=f"{text!r} in:\n{self.shown}")

    def interrupt(self) -> None:
        os.write(self._handle, b"\x03")

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        ended = False
        status = 0

        def has_ended() -> bool:
            nonlocal ended, status
            self._read()
            if not ended:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                ended = pid != 0
            return ended

        wait_until(has_ended, seconds=30, what=f"the end of:\n{self.shown}")
        self._read()
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> str:
        with suppress(BlockingIOError, OSError):
            while data := os.read(self._handle, 65536):
                self.shown += data.decode(errors="replace")
        return self.shown


def test_a_person_is_asked_little_and_may_correct_an_answer(
    setup: Setup, database_url: str, slack: FakeSlack, mail: FakeSmtp
) -> None:
    with Terminal(setup) as person:
        person.answer("PostgreSQL URL", "postgresql://automon:x@127.0.0.1:9/work")
        person.answer("PostgreSQL URL", database_url)
        person.answer("Slack webhook URL", slack.webhook_url)
        person.answer("Did it arrive?", "")
        person.answer("Mail server (host)", mail.host)
        person.answer("User", "")
        person.answer("From (address)", "automon@acme.example")
        person.answer("To (addresses, with commas)", "ops@acme.example")
        # Nobody listens at the usual ports of this machine; the person gives up on mail.
        person.answer("Mail server (host)", "")
        person.answer("Write them?", "y")
        assert person.wait() == 0

    assert "Start (systemctl" not in person.shown
    assert "nobody listens there" in person.shown
    # What was typed without being shown is not shown.
    assert slack.webhook_url not in person.shown
    assert database_url not in person.shown.replace(f"{setup.folder}", "")
    assert len(slack.taken) == 3
    assert setup.variables()["SLACK_WEBHOOK_URL"] == slack.webhook_url


@pytest.mark.parametrize("last", ["Slack webhook URL", "Write them?"])
def test_who_breaks_off_leaves_nothing_half_written(last: str, setup: Setup, database_url: str) -> None:
    files = setup.files()
    with Terminal(setup, "--database-url", database_url) as person:
        for question in ("Slack webhook URL", "Mail server (host)", "Write them?"):
            if question == last:
                person.wait_for(question)
                break
            person.answer(question, "")
        person.interrupt()
        assert person.wait() == 1

    assert setup.files() == files


def test_a_no_before_the_schema_changes_nothing(setup: Setup, empty_database_url: str) -> None:
    with Terminal(setup, "--database-url", empty_database_url) as person:
        person.answer("Shall I make automon's tables there?", "n")
        assert person.wait() == 1

    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('public.monitoring_migrations')").fetchone() == (None,)
    assert not setup.config_path.exists()
