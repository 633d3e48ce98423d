"""The command line as people and monitoring plugins use it: what it prints, where, and its exit code."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.calls import JOURNAL, channel
from tests.support.markdown import ROOT
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, ServiceProcess, channels_of, make_config, run_automon, write_config
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

Automon = Callable[..., subprocess.CompletedProcess[str]]
StartService = Callable[..., ServiceProcess]


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


def know(look: Look, *channels: str) -> None:
    """Bring channels from a config, as a service does."""
    look.configure(channels=[channel(name, recipients=["webhook"]) for name in channels] + [JOURNAL])


def attempt(look: Look, channel: str, outcome: str = "sent", **how: object) -> int:
    """Claim the next message of a channel and say how the attempt went, as a service does; answer its number."""
    number: int = look("claim_delivery", channel, "test:1:1")["delivery_id"]
    look("finish_delivery_attempt", number, "test:1:1", outcome, 0.2, **how)
    return number


def stop(look: Look, channel: str) -> int:
    return attempt(
        look, channel, "failed", p_detail="Slack answered 404 no_service", p_reason="gone", p_stops_channel=True
    )


def assert_is_within_a_terminals_width(screen: str) -> None:
    assert max(map(len, screen.splitlines())) <= 80, screen
    assert "\x1b" not in screen


def assert_fits_a_terminal(screen: str) -> None:
    assert len(screen.splitlines()) <= 24, screen
    assert_is_within_a_terminals_width(screen)


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
    assert ("+45 more: automon alerts" in done.stdout) is (len(pending) == 50)
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
    assert document["queues"]["shown"][0]["pending"] == 640
    [alert] = document["alerts"]
    assert (alert["source"], alert["severity"], alert["summary"]) == ("queue-00", "critical", "640 waiting (limit 500)")


def test_status_shows_a_stopped_channel_with_its_reason_and_the_way_back(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")
    check_ran(look)
    open_alerts(look, 640)
    attempt(look, "email")
    stop(look, "slack")

    done = automon("status")

    assert done.returncode == 2
    lines = done.stdout.splitlines()
    where = lines.index("             gone: Slack answered 404 no_service")
    assert lines[where - 1].startswith("DELIVERY   ✗ slack: STOPPED since ")
    assert lines[where - 1].endswith(", 1 waiting, 0 failed")
    assert lines[where + 1].startswith("DELIVERY   ✓ email ")
    assert lines[-1] == "       automon channels resume slack"
    assert_fits_a_terminal(done.stdout)


def test_status_names_the_services_and_without_one_trusts_checks_that_run(look: Look, automon: Automon) -> None:
    check_ran(look)

    alone = automon("status")
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")
    look("beat", "ops-2:77aa10:4711", "0.1.0")
    accompanied = automon("status")

    assert (alone.returncode, accompanied.returncode) == (0, 0)
    assert "AUTOMON    ✓ no service runs; checks every 5m, last " in alone.stdout
    assert "AUTOMON    ✓ 2 services: ops-1, ops-2; checks every 5m, last " in accompanied.stdout


def test_status_without_a_service_and_without_checks_says_that_nothing_checks(look: Look, automon: Automon) -> None:
    check_ran(look)
    look.ask("UPDATE public.job_runs SET started_at = started_at - interval '2 hours'")

    done = automon("status")

    assert done.returncode == 3
    assert done.stdout.startswith("◌ AUTOMON IS NOT CHECKING   no service runs; last check 2h ago")
    assert "Next:  start the service" in done.stdout


def test_status_tells_for_a_day_that_automon_was_blind(look: Look, automon: Automon) -> None:
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")
    look.ask(
        "UPDATE public.watch_state SET seen_at = now() - interval '3 hours', seen_until = now() - interval '3 hours'"
    )
    look("beat", "ops-1:3f9a1c:4712", "0.1.0")
    look("tell_of_blindness", look.one("SELECT now() + interval '1 minute'"))
    check_ran(look)

    done = automon("status")

    [line] = [line for line in done.stdout.splitlines() if "was blind" in line]
    assert line.startswith("AUTOMON    was blind ")
    assert line.endswith(" UTC (3 h): no service ran")


def test_status_without_a_database_is_neither_well_nor_ill(tmp_path: Path) -> None:
    write_config(tmp_path, make_config())
    nowhere = {"DATABASE_URL": "postgresql://automon:s3cret-word@127.0.0.1:9/work"}

    for command in ("status", "alerts", "channels", "canary"):
        done = run_automon(tmp_path, command, environment=nowhere)
        assert done.returncode == 4
        assert done.stdout == ""
        assert "the database does not answer (work at 127.0.0.1:9 as automon)" in done.stderr
        assert "s3cret-word" not in done.stderr
        assert "Traceback" not in done.stderr


# alerts, explain, ack, resolve, silence -----------------------------------------------------------------------


def test_alerts_lists_what_is_open_and_says_so_when_there_is_none(look: Look, automon: Automon) -> None:
    none = automon("alerts")
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "No open alerts. History: automon alerts --all\n"
    assert json.loads(automon("alerts", "--json").stdout) == {"schema_version": 1, "alerts": []}

    open_alerts(look, 60, 640)

    some = automon("alerts")
    first, second = some.stdout.splitlines()
    assert some.returncode == 2
    assert first.startswith("✗ #")
    assert "queue-01  640 waiting (limit 500)" in first
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
        "; acknowledged by ana ",
        "  limits     low 25, medium 50, high 75, critical 100",
        "112x  timeout: no answer after",
        "no reminder: somebody has it in hand",
        "resolves after 5 min below 25",
        "opened       critical: 112 errors",
        "◌ ops: waiting after 0 attempts",
        'acknowledged critical: 112 errors in the last hour (limit 100) by ana "relay restarted"',
        f"Next:  automon unack {number}",
    ):
        assert words in done.stdout, words
    story = json.loads(automon("explain", number, "--json").stdout)
    assert story["schema_version"] == 1
    assert [transition["kind"] for transition in story["alert"]["transitions"]] == ["opened", "acknowledged"]


def test_people_take_alerts_in_hand(look: Look, automon: Automon) -> None:
    open_alerts(look, 640)
    number = str(look.one("SELECT id FROM public.alerts"))

    acked = automon("ack", number, "--by", "ana", "--note", "on it")
    again = automon("ack", number, "--by", "ben")
    back = automon(*acked.stdout.partition("Undo: automon ")[2].split(), "--by", "ben")
    retaken = automon(*back.stdout.partition("Undo: automon ")[2].split(), "--by", "ana", "--note", "on it")
    resolved = automon("resolve", number, "--by", "ana", "--note", "ticket 7")
    after = automon("resolve", number)

    assert acked.stdout.startswith(f"acked #{number} queue-00 as ana (was open ")
    assert acked.stdout.endswith(f"; reminders stop\nUndo: automon unack {number}\n")
    assert again.stdout.startswith(f"#{number} is in hand already: acked by ana ")
    assert back.stdout.startswith(f"gave back #{number} (was acked by ana); ")
    assert retaken.stdout.startswith(f"acked #{number} ")
    assert resolved.stdout.startswith(f"resolved #{number} queue-00 as ana (was open ")
    assert after.stdout.startswith(f"#{number} was resolved ")
    assert {back.returncode, retaken.returncode} == {0}
    assert {done.returncode for done in (acked, again, resolved, after)} == {0}
    assert look.ask("SELECT acknowledged_by, acknowledged_note, resolved_by FROM public.alerts") == [
        {"acknowledged_by": "ana", "acknowledged_note": "on it", "resolved_by": "ana"}
    ]
    assert look.one("SELECT note FROM public.alert_transitions WHERE kind = 'resolved'") == "ticket 7"


def test_a_source_is_silenced_and_the_way_back_is_shown_and_works(look: Look, automon: Automon) -> None:
    done = automon("silence", "invoice-sync", "2h", "--reason", "deploying", "--by", "ana")

    assert done.returncode == 0
    first, second, undo = done.stdout.splitlines()
    assert first == "In the last 7 days there was nothing to hide about invoice-sync."
    assert second.startswith("silenced invoice-sync until ")
    assert undo == "Undo: automon unsilence 1"
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
    assert automon("silences", "--plain").stdout.split("\t")[:3] == ["1", "invoice-sync", "*"]
    undone = automon(*undo.partition("Undo: automon ")[2].split(), "--by", "ben")
    assert undone.stdout == "ended silence 1 as ben\n"
    assert look.one("SELECT ended_by FROM public.alert_silences") == "ben"
    assert look.one("SELECT ends_at < now() + interval '1 minute' FROM public.alert_silences")
    assert automon("unsilence", "1").stdout == "silence 1 has ended before, or never was\n"


@pytest.mark.parametrize("command", [("explain", "4711"), ("ack", "4711"), ("resolve", "4711")])
def test_an_alert_that_there_is_not_is_a_sentence_with_a_hint(command: tuple[str, ...], automon: Automon) -> None:
    done = automon(*command)

    assert done.returncode == 1
    assert "there is no alert 4711" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr


# deliveries ---------------------------------------------------------------------------------------------------


def test_deliveries_are_listed_newest_first_with_what_became_of_them(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")
    look("silence_alerts", "queue-01", timedelta(hours=1))
    open_alerts(look, 640, 60)
    sent = attempt(look, "slack")
    refused = attempt(look, "email", "failed", p_detail="550 no such user", p_reason="refused", p_final_status="failed")

    done = automon("deliveries")

    assert (done.returncode, done.stderr) == (0, "")
    assert_is_within_a_terminals_width(done.stdout)
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["ID", "UTC", "CHANNEL", "MESSAGE", "TRIES", "TOOK"]
    # The journal speaks for email, which has no fallback of its own; the other alert is silenced for both.
    told = [(line[0], line.split()[1], line.split(maxsplit=3)[3]) for line in lines if line[0] != " "]
    assert [mark for mark, _, _ in told] == ["◌", "–", "–", "✓", "✗"]
    assert told[0][2] == "journal  #1 opened queue-00"
    assert lines[1].strip() == "instead of email"
    assert [number for _, number, _ in told[3:]] == [str(max(sent, refused)), str(min(sent, refused))]
    assert lines[-1].strip() == "fallback told; refused: 550 no such user"


def test_deliveries_are_filtered_and_given_raw(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")
    open_alerts(look, 640, 700)
    sent = attempt(look, "slack")
    stop(look, "slack")

    def listed(*filters: str) -> list[dict[str, object]]:
        document = json.loads(automon("deliveries", "--json", *filters).stdout)
        assert document["schema_version"] == 1
        return list(document["deliveries"])

    [of_slack] = [found for found in listed("--channel", "slack", "--alert", "1") if found["channel"] == "slack"]
    assert (of_slack["id"], of_slack["status"], of_slack["source"]) == (sent, "sent", "queue-00")
    assert {found["channel"] for found in listed("--channel", "email")} == {"email"}
    assert {found["status"] for found in listed("--channel", "slack", "--trouble")} == {"pending"}
    assert len(listed("--limit", "1")) == 1


def test_a_digest_is_one_line_and_its_members_are_listed_on_request(look: Look, automon: Automon) -> None:
    look.configure(
        channels=[channel("slack", recipients=["webhook"]), JOURNAL], settings={"delivery.messages_per_cause": 2}
    )
    open_alerts(look, *(640,) * 12)
    digest = attempt(look, "slack")

    folded, members = automon("deliveries"), automon("deliveries", "--digest", str(digest))

    assert_is_within_a_terminals_width(folded.stdout)
    first, second, third = folded.stdout.splitlines()[1:]
    assert f"✓ {digest} " in first
    assert "digest of 12" in first
    assert f"12 in digest {digest}" in second
    assert third.strip() == f"automon deliveries --digest {digest}"
    assert [line.split("#")[1] for line in members.stdout.splitlines()[1:]] == [
        f"{number} opened queue-{number - 1:02}" for number in range(12, 0, -1)
    ]


def test_without_deliveries_the_filter_and_the_next_command_are_named(look: Look, automon: Automon) -> None:
    know(look, "slack")
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")

    none, of_slack = automon("deliveries"), automon("deliveries", "--channel", "slack", "--trouble")

    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "No message yet. Try the channels: automon canary\n"
    assert (of_slack.returncode, of_slack.stdout) == (0, "")
    assert of_slack.stderr == "No message through slack in trouble. All messages: automon deliveries\n"
    assert json.loads(automon("deliveries", "--json").stdout) == {"schema_version": 1, "deliveries": []}


def test_what_waits_because_no_service_runs_is_listed_with_that_reason(look: Look, automon: Automon) -> None:
    know(look, "slack")
    open_alerts(look, 640)

    for command in (("deliveries",), ("deliveries", "--trouble")):
        done = automon(*command)
        assert done.returncode == 0
        assert done.stderr.endswith(
            "No service runs, so nobody sends. Start it: systemctl start automon, or make run\n"
        )


def test_a_channel_that_there_is_not_is_refused_with_those_that_are(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")

    for command in (("deliveries", "--channel", "pager"), ("channels", "resume", "pager"), ("canary", "pager")):
        done = automon(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no channel" in done.stderr
        assert "The service knows email, slack." in done.stderr
        assert len(done.stderr.splitlines()) == 2
        assert "Traceback" not in done.stderr


def test_what_a_channel_was_told_that_is_gone_can_still_be_listed(look: Look, automon: Automon) -> None:
    know(look, "slack")
    open_alerts(look, 640)
    know(look, "email")

    done = automon("deliveries", "--channel", "slack")

    assert done.returncode == 0
    assert "the channel or the recipient is no longer in the config" in done.stdout


# channels -----------------------------------------------------------------------------------------------------


def test_channels_that_work_are_all_well(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")
    open_alerts(look, 640)
    attempt(look, "slack")
    sent_at = look.one("SELECT to_char(max(finished_at) AT TIME ZONE 'UTC', 'HH24:MI') FROM public.alert_deliveries")

    done = automon("channels")

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["CHANNEL", "STATE", "SENT", "WAITING", "FAILED", "EXPIRED", "FALLBACK"],
        ["✓", "email", "working", "never", "1", "0", "0", "journal"],
        [
            "✓",
            "slack",
            "working",
            sent_at,
            "0",
            "0",
            "0",
            "journal",
        ],
    ]


def test_a_stopped_channel_is_taken_up_again_and_told_so(look: Look, automon: Automon) -> None:
    know(look, "email", "slack")
    look("beat", "ops-1:3f9a1c:4711", "0.1.0")
    open_alerts(look, 640, 700)
    stop(look, "slack")

    ill = automon("channels")
    resumed, again = automon("channels", "resume", "slack"), automon("channels", "resume", "slack")
    well = automon("channels")

    assert (ill.returncode, well.returncode) == (1, 0)
    assert_is_within_a_terminals_width(ill.stdout)
    assert ill.stdout.splitlines()[1].startswith("✗ slack    STOPPED since ")
    assert ill.stdout.splitlines()[2].strip() == "gone: Slack answered 404 no_service"
    assert "repair it, then: automon channels resume slack" in ill.stdout
    assert resumed.stdout == "slack is taken up again; 2 messages wait and are tried now\n"
    assert again.stdout == "slack was working; 2 messages wait and are tried now\n"
    assert "STOPPED" not in well.stdout
    assert not look.one("SELECT count(*) FROM public.notification_channels WHERE stopped_at IS NOT NULL")


def test_a_failing_channel_says_when_it_is_tried_again_and_who_is_told_instead(look: Look, automon: Automon) -> None:
    know(look, "slack")
    open_alerts(look, 640)
    pause = timedelta(minutes=2)
    attempt(
        look, "slack", "failed", p_detail="no route to host", p_reason="unreachable", p_retry_after=pause,
        p_channel_pause=pause,
    )  # fmt: skip

    done = automon("channels")

    assert done.returncode == 1
    line, reason, outlook = done.stdout.splitlines()[1:]
    assert line.startswith("▲ slack    failing since ")
    assert reason.strip() == "unreachable: no route to host"
    assert outlook.strip().startswith("next try ")
    assert "the journal is told instead from " in outlook
    [state] = json.loads(automon("channels", "--json").stdout)["channels"]
    assert (state["state"], state["waiting"], state["last_error"]) == ("failing", 1, reason.strip())


def test_options_before_a_subcommand_are_not_lost(tmp_path: Path, look: Look, database_url: str) -> None:
    know(look, "slack")
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "channels", "--database-url", database_url, "resume", "slack")

    assert (done.returncode, done.stdout) == (0, "slack was working; nothing waits\n")
    assert done.stderr == "No service runs, so nobody sends. Start it: systemctl start automon, or make run\n"


def test_without_a_channel_nobody_can_be_told_and_that_is_not_well(automon: Automon) -> None:
    for command in ("channels", "canary"):
        done = automon(command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("No channel is known: no service has brought one from its config yet.")


# canary -------------------------------------------------------------------------------------------------------


def test_a_canary_takes_the_way_of_alerts_to_every_recipient(
    slack: FakeSlack, smtp: FakeSmtp, automon: Automon, start_service: StartService
) -> None:
    environment = channels_of(slack, smtp, to="ana@acme.example,ben@acme.example")
    start_service(environment=environment).wait_until_ready()

    done = automon("canary", "--by", "ana")

    assert done.returncode == 0, done
    assert_is_within_a_terminals_width(done.stdout)
    lines = {line.split(": arrived in ")[0] for line in done.stdout.splitlines()}
    assert lines == {"✓ slack", "✓ email (ana@acme.example)", "✓ email (ben@acme.example)"}
    [post] = slack.posts
    assert "canary, nothing is wrong" in post.preview
    assert "ana" in post.text
    assert len(smtp.mails) == 2

    one = json.loads(automon("canary", "slack", "--json").stdout)
    assert (one["schema_version"], one["arrived"], len(one["services"])) == (1, True, 1)
    [receipt] = one["canaries"]
    assert (receipt["channel"], receipt["status"], receipt["attempts"]) == ("slack", "sent", 1)


def test_a_canary_says_which_channel_does_not_work_and_how_to_go_on(
    smtp: FakeSmtp, automon: Automon, start_service: StartService
) -> None:
    with FakeSlack(Answer.no_service()) as slack:
        start_service(environment=channels_of(slack, smtp)).wait_until_ready()

        first, second = automon("canary"), automon("canary", "slack")
        slack_works = automon("channels", "resume", "slack"), automon("canary", "slack")

    assert (first.returncode, second.returncode) == (1, 1)
    for done in (first, second):
        assert_is_within_a_terminals_width(done.stdout)
        assert "✗ slack: STOPPED since " in done.stdout
        assert "gone: Slack answered 404" in done.stdout
        assert "  what mends it: automon send-test slack\n" in done.stdout
        assert "  repair it, then: automon channels resume slack\n" in done.stdout
    assert "✓ email: arrived in " in first.stdout
    assert [done.returncode for done in slack_works] == [0, 0]


def test_a_canary_is_waited_for_no_longer_than_asked_and_says_what_failed(
    automon: Automon, start_service: StartService
) -> None:
    with FakeSlack(*[Answer.broken()] * 20) as slack:
        start_service(environment=channels_of(slack)).wait_until_ready()

        done = automon("canary", "--timeout", "3s")

    assert done.returncode == 1
    assert_is_within_a_terminals_width(done.stdout)
    assert done.stdout.startswith("◌ slack: ")
    assert "500" in done.stdout


def test_without_a_service_a_canary_is_not_waited_for(look: Look, automon: Automon) -> None:
    know(look, "slack")

    done = automon("canary")

    assert done.returncode == 1
    assert done.stdout == "◌ slack: waits to be sent (delivery 1)\n"
    assert done.stderr == (
        "No service runs, so nobody sends; canaries expire in 5 minutes. Start it:\n  systemctl start automon, or make run\n"
    )
    assert look.ask("SELECT subject, status, channel FROM public.alert_deliveries") == [
        {"subject": "canary", "status": "pending", "channel": "slack"}
    ]


# check-config, send-test, migrate -----------------------------------------------------------------------------


def test_a_right_config_is_confirmed_with_its_channels(automon: Automon) -> None:
    done = automon("check-config")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "monitoring_config.json is right",
        "  slack: off (SLACK_WEBHOOK_URL is not set)",
        "  email: off (AUTOMON_EMAIL_URL is not set)",
        "  ping: off (AUTOMON_PING_URL is not set)",
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
    failed, fix, sent = done.stdout.splitlines()
    assert re.fullmatch(r"✗ slack \(webhook\): gone: Slack answered 404 no_service \(after \d+ ms\)", failed)
    assert fix.startswith("  Its address is not valid any more")
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
    files = [path for path in ROOT.glob("sql/0*.sql") if path.name != "000_main_migration.sql"]
    assert f"applied {len(files)} files" in first.stdout
    assert "nothing to do, the schema is up to date" in second.stdout


def test_rollups_are_made_anew_on_request(tmp_path: Path, database_url: str) -> None:
    write_config(tmp_path, make_config())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT record_error(NULL, 'timeout', 'low', 'no answer', 'api')")

    done = run_automon(tmp_path, "rebuild-rollups", environment={"DATABASE_URL": database_url})

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("rolled up 0 tasks, 1 errors and 0 metrics\n")


def test_rollups_of_a_database_without_any_or_that_is_away_are_said_with_the_remedy(
    tmp_path: Path, empty_database_url: str
) -> None:
    write_config(tmp_path, make_config())

    bare = run_automon(tmp_path, "rebuild-rollups", environment={"DATABASE_URL": empty_database_url})
    away = run_automon(tmp_path, "rebuild-rollups", environment={"DATABASE_URL": "postgresql://127.0.0.1:1/work"})

    assert (bare.returncode, away.returncode) == (1, 1)
    assert "Run `automon migrate`." in bare.stderr
    assert "Nothing was changed; run it again." in away.stderr
    assert "Traceback" not in bare.stderr + away.stderr


def test_a_database_that_is_not_migrated_is_said_with_the_remedy(tmp_path: Path, empty_database_url: str) -> None:
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "alerts", environment={"DATABASE_URL": empty_database_url})

    assert done.returncode == 4
    assert "automon migrate" in done.stderr
    assert "Traceback" not in done.stderr


# Errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("status", "--frobnicate"),
        ("status", "--json", "--plain"),
        ("alerts", "--severity", "urgent"),
        ("ack",),
        ("ack", "first"),
        ("silence", "mail", "tomorrow"),
        ("channels", "slack"),
        ("deliveries", "--limit", "0"),
        ("canary", "--timeout", "soon"),
    ],
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


def test_no_command_breaks_where_shapes_cannot_be_shown(look: Look, automon: Automon) -> None:
    know(look, "slack")
    open_alerts(look, 640)
    stop(look, "slack")

    for command, words in (("channels", "x slack"), ("deliveries", "? "), ("alerts", "x  #1 queue-00  640 waiting")):
        done = automon(command, PYTHONIOENCODING="iso-8859-1")
        assert words in done.stdout, done
        assert done.stdout.isascii()
        assert "Traceback" not in done.stderr


def test_help_explains_every_command(tmp_path: Path) -> None:
    commands = (
        "run", "migrate", "check-config", "send-test", "deliveries", "channels", "canary", "status", "top", "alerts", "explain", "ack", "unack", "resolve",
        "silence", "silences", "unsilence", "tasks", "errors", "queues", "hosts",
    )  # fmt: skip

    told = run_automon(tmp_path, "--help").stdout

    for command in commands:
        assert f"\n  {command}" in told
