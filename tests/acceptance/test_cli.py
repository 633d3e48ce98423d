"""The command line as people and monitoring plugins use it: what it prints, where, and its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, channels_of, make_config, run_automon, write_config
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

Automon = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def automon(tmp_path: Path, database_url: str) -> Automon:
    """Run a command in a folder with a config, on this test's database."""
    write_config(tmp_path, make_config())

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_automon(tmp_path, *arguments, environment={"DATABASE_URL": database_url, **environment})

    return run


def check_ran(look: Look) -> None:
    look("finish_job_run", look("begin_job_run", "alert_checks", "test:1"), "succeeded")


def open_alerts(look: Look, *pending: int) -> None:
    for number, waiting in enumerate(pending):
        look("update_queue_metrics", f"queue-{number:02}", waiting)
    look("check_queue_backlog_alerts")


def assert_fits_a_terminal(screen: str) -> None:
    lines = screen.splitlines()
    assert len(lines) <= 24, screen
    assert max(map(len, lines)) <= 80, screen
    assert "\x1b" not in screen


# status -------------------------------------------------------------------------------------------------------


def test_status_of_a_fresh_database_says_that_nothing_checks(automon: Automon) -> None:
    done = automon("status")

    assert done.returncode == 3
    assert "AUTOMON HAS NOT CHECKED YET" in done.stdout
    assert "Next:  start the service" in done.stdout
    assert_fits_a_terminal(done.stdout)


@pytest.mark.parametrize(
    ("pending", "code", "first_words"),
    [
        pytest.param((), 0, "✓ ALL OK", id="no alert"),
        pytest.param((60,), 1, "▲ PROBLEMS   1 low", id="one"),
        pytest.param((640,), 2, "✗ PROBLEMS   1 critical", id="a critical one"),
        pytest.param((60,) * 49 + (640,), 2, "✗ PROBLEMS   1 critical, 49 low", id="fifty"),
    ],
)
def test_status_shows_the_worst_first_on_one_screen(
    pending: tuple[int, ...], code: int, first_words: str, look: Look, automon: Automon
) -> None:
    check_ran(look)
    open_alerts(look, *pending)

    done = automon("status")

    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(first_words)
    assert_fits_a_terminal(done.stdout)
    assert ("+43 more: automon alerts" in done.stdout) is (len(pending) == 50)
    if pending:
        worst = look.one("SELECT id FROM public.v_active_alerts LIMIT 1")
        assert f"Next:  automon explain {worst}" in done.stdout


def test_status_as_json_has_the_same_facts(look: Look, automon: Automon) -> None:
    check_ran(look)
    open_alerts(look, 640)

    done = automon("status", "--json")

    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert (document["schema_version"], document["verdict"]) == (1, "critical")
    assert document["summary"]["queues"][0]["pending"] == 640
    [alert] = document["alerts"]
    assert (alert["source"], alert["severity"], alert["summary"]) == ("queue-00", "critical", "640 waiting (limit 500)")


def test_status_without_a_database_is_neither_well_nor_ill(tmp_path: Path) -> None:
    write_config(tmp_path, make_config())
    nowhere = {"DATABASE_URL": "postgresql://automon:s3cret-word@127.0.0.1:9/work"}

    for command in ("status", "alerts"):
        done = run_automon(tmp_path, command, environment=nowhere)
        assert done.returncode == 4
        assert done.stdout == ""
        assert "the database does not answer (work at 127.0.0.1:9 as automon)" in done.stderr
        assert "s3cret-word" not in done.stderr
        assert "Traceback" not in done.stderr


# alerts, explain, ack, resolve, silence -----------------------------------------------------------------------


def test_alerts_lists_what_is_open_and_says_so_when_there_is_none(look: Look, automon: Automon) -> None:
    none = automon("alerts")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "No open alerts.\n")
    assert json.loads(automon("alerts", "--json").stdout) == {"schema_version": 1, "alerts": []}

    open_alerts(look, 60, 640)

    some = automon("alerts")
    first, second = some.stdout.splitlines()
    assert some.returncode == 2
    assert first.startswith("✗ #")
    assert "queue-01 640 waiting (limit 500)" in first
    assert second.startswith("▲ #")


def test_an_alert_is_explained_with_its_story(look: Look, automon: Automon) -> None:
    look(
        "sync_configuration",
        {
            "thresholds": look.ask(
                "SELECT alert_type, source, low, medium, high, critical FROM public.monitoring_thresholds"
            ),
            "settings": {},
            "channels": [
                {
                    "name": "ops",
                    "recipients": ["webhook"],
                    "min_severity": "low",
                    "notify_on": ["opened", "acknowledged"],
                }
            ],
        },
    )
    look.record_errors(112, "invoice-sync", until=look.one("SELECT now()"))
    look("check_error_rate_alerts")
    number = str(look.one("SELECT id FROM public.alerts"))
    automon("ack", number, "--by", "ana", "--note", "relay restarted")

    done = automon("explain", number)

    assert done.returncode == 0
    for words in (
        f"✗ #{number} CRITICAL  invoice-sync: 112 errors in the last hour (limit 100)",
        "acknowledged, error_rate, since ",
        "112x  timeout  no answer after",
        "opened       critical: 112 errors",
        "ops: pending after 0 attempts",
        'acknowledged critical: 112 errors in the last hour (limit 100) by ana "relay restarted"',
        f"automon ack {number}",
    ):
        assert words in done.stdout
    story = json.loads(automon("explain", number, "--json").stdout)
    assert story["schema_version"] == 1
    assert [transition["kind"] for transition in story["alert"]["transitions"]] == ["opened", "acknowledged"]


def test_people_take_alerts_in_hand(look: Look, automon: Automon) -> None:
    open_alerts(look, 640)
    number = str(look.one("SELECT id FROM public.alerts"))

    acked = automon("ack", number, "--by", "ana", "--note", "on it")
    again = automon("ack", number, "--by", "ben")
    resolved = automon("resolve", number, "--by", "ana", "--note", "ticket 7")
    after = automon("resolve", number)

    assert acked.stdout == f"acknowledged #{number} as ana; reminders stop\n"
    assert again.stdout == f"#{number} was in hand or resolved before\n"
    assert resolved.stdout == f"resolved #{number} as ana\n"
    assert after.stdout == f"#{number} was resolved before\n"
    assert {done.returncode for done in (acked, again, resolved, after)} == {0}
    assert look.ask("SELECT acknowledged_by, acknowledged_note, resolved_by FROM public.alerts") == [
        {"acknowledged_by": "ana", "acknowledged_note": "on it", "resolved_by": "ana"}
    ]
    assert look.one("SELECT note FROM public.alert_transitions WHERE kind = 'resolved'") == "ticket 7"


def test_a_source_is_silenced_and_the_way_back_is_shown_and_works(look: Look, automon: Automon) -> None:
    done = automon("silence", "invoice-sync", "2h", "--reason", "deploying", "--by", "ana")

    assert done.returncode == 0
    assert done.stdout.startswith("silenced invoice-sync for 2:00:00 as ana")
    assert look.ask(
        "SELECT source, alert_type, reason, created_by, ends_at - starts_at AS duration FROM public.alert_silences"
    ) == [
        {
            "source": "invoice-sync",
            "alert_type": "*",
            "reason": "deploying",
            "created_by": "ana",
            "duration": look.one("SELECT interval '2 hours'"),
        }
    ]
    undone = automon(*done.stdout.partition("undo: automon ")[2].split())
    assert undone.stdout == "ended silence 1\n"
    assert look.one("SELECT ends_at < now() + interval '1 minute' FROM public.alert_silences")
    assert automon("unsilence", "1").stdout == "silence 1 has ended before, or never was\n"


@pytest.mark.parametrize("command", [("explain", "4711"), ("ack", "4711"), ("resolve", "4711")])
def test_an_alert_that_there_is_not_is_a_sentence_with_a_hint(command: tuple[str, ...], automon: Automon) -> None:
    done = automon(*command)

    assert done.returncode == 1
    assert "there is no alert 4711" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr


# check-config, send-test, migrate -----------------------------------------------------------------------------


def test_a_right_config_is_confirmed_with_its_channels(automon: Automon) -> None:
    done = automon("check-config")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "monitoring_config.json is right",
        "  slack: off (SLACK_WEBHOOK_URL is not set)",
        "  email: off (AUTOMON_EMAIL_URL is not set)",
    ]


def test_all_mistakes_of_a_config_are_told_at_once(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        '{\n  "alert_threshold": {},\n  "schedule": {"alert_checks_seconds": 0},\n'
        '  "channels": {"slack": {"type": "slack", "webhook_url": "https://hooks.slack.com/services/T1/B2/in-the-open"}}\n}\n',
    )

    done = run_automon(tmp_path, "check-config")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "3 mistakes; nothing was changed"
    assert [line.split(":")[:2] for line in done.stderr.splitlines()[:3]] == [
        ["monitoring_config.json", "2"],
        ["monitoring_config.json", "3"],
        ["monitoring_config.json", "4"],
    ]
    assert "did you mean 'alert_thresholds'" in done.stderr
    assert "in-the-open" not in done.stderr


def test_a_config_that_is_not_there_is_said_with_its_name(tmp_path: Path) -> None:
    done = run_automon(tmp_path, "check-config", "--config", "nowhere.json")

    assert done.returncode == 1
    assert "nowhere.json" in done.stderr
    assert "there is no such file" in done.stderr


def test_a_test_message_goes_through_every_channel(slack: FakeSlack, smtp: FakeSmtp, automon: Automon) -> None:
    done = automon("send-test", **channels_of(slack, smtp, to="ana@acme.example,ben@acme.example"))

    assert done.returncode == 0, done.stderr
    to_slack, to_ana, to_ben = done.stdout.splitlines()
    assert to_slack.startswith("✓ slack (webhook): sent in ")
    assert to_ana.startswith("✓ email (ana@acme.example): sent in ")
    assert to_ben.startswith("✓ email (ben@acme.example): sent in ")
    assert "this is a test, nothing is wrong" in slack.posts[0].preview
    assert len(smtp.mails) == 2


def test_a_test_message_that_fails_says_why_and_the_others_are_sent(
    slack: FakeSlack, smtp: FakeSmtp, automon: Automon
) -> None:
    slack.script(Answer.no_service())

    done = automon("send-test", **channels_of(slack, smtp))

    assert done.returncode == 1
    failed, sent = done.stdout.splitlines()
    assert failed == "✗ slack (webhook): gone: Slack answered 404 no_service"
    assert sent.startswith("✓ email (oncall@acme.example): sent in ")
    assert slack.webhook_url.rpartition("/")[2] not in done.stdout + done.stderr


def test_a_test_message_needs_a_channel_that_is_there_and_on(automon: Automon) -> None:
    unknown = automon("send-test", "pager")
    off = automon("send-test", "slack")

    assert (unknown.returncode, off.returncode) == (1, 1)
    assert "there is no channel pager" in unknown.stderr
    assert "The config has: slack, email." in unknown.stderr
    assert "channel slack is off: SLACK_WEBHOOK_URL is not set" in off.stderr


def test_migrating_twice_changes_nothing_the_second_time(tmp_path: Path, empty_database_url: str) -> None:
    write_config(tmp_path, make_config())
    environment = {"DATABASE_URL": empty_database_url}

    first = run_automon(tmp_path, "migrate", environment=environment)
    second = run_automon(tmp_path, "migrate", environment=environment)

    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 10 files" in first.stdout
    assert "nothing to do, the schema is up to date" in second.stdout


def test_a_database_that_is_not_migrated_is_said_with_the_remedy(tmp_path: Path, empty_database_url: str) -> None:
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "alerts", environment={"DATABASE_URL": empty_database_url})

    assert done.returncode == 4
    assert "automon migrate" in done.stderr
    assert "Traceback" not in done.stderr


# Errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("status", "--color"), ("ack",), ("ack", "first"), ("silence", "mail", "tomorrow")],
    ids=" ".join,
)
def test_a_usage_error_has_its_own_exit_code(arguments: tuple[str, ...], automon: Automon) -> None:
    done = automon(*arguments)

    assert done.returncode == 64
    assert "Usage: " in done.stderr
    assert "Error: " in done.stderr


def test_without_any_database_the_next_step_is_named(tmp_path: Path) -> None:
    write_config(tmp_path, make_config())

    cases = (("run", 78, "automon run --embedded"), ("status", 4, "make run"), ("migrate", 1, "make run"))
    for command, code, step in cases:
        done = run_automon(tmp_path, command)
        assert done.returncode == code
        assert "no database" in done.stderr
        assert step in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "code"), [("status", 4), ("migrate", 1), ("run", 78)])
def test_a_wrong_database_url_is_refused_without_its_password(command: str, code: int, tmp_path: Path) -> None:
    write_config(tmp_path, make_config())
    wrong = "postgresql://automon:s3cret%zzword@127.0.0.1:5432/work"

    for arguments, environment in (((command,), {"DATABASE_URL": wrong}), ((command, "--database-url", wrong), {})):
        done = run_automon(tmp_path, *arguments, environment=environment)
        assert done.returncode == code
        assert "URL" in done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_password_is_refused_without_repeating_it(tmp_path: Path, postgres_server: PostgresUnderTest) -> None:
    write_config(tmp_path, make_config())
    url = f"postgresql://automon:wr0ng-word@127.0.0.1:{postgres_server.address.port}/automon"

    for command in ("status", "migrate"):
        done = run_automon(tmp_path, command, environment={"DATABASE_URL": url})
        assert done.returncode == {"status": 4, "migrate": 1}[command]
        assert "password authentication failed" in done.stderr
        assert "wr0ng-word" not in done.stderr


def test_help_explains_every_command(tmp_path: Path) -> None:
    commands = (
        "run",
        "migrate",
        "check-config",
        "send-test",
        "status",
        "alerts",
        "explain",
        "ack",
        "resolve",
        "silence",
        "unsilence",
    )

    told = run_automon(tmp_path, "--help").stdout

    for command in commands:
        assert f"\n  {command}" in told
