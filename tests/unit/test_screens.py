"""The screens of the command line: what they say, and that they fit a terminal of 80 by 24 whatever is in the database."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import tzset
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.canary import Answer, Patience, answer_of
from automon.cli.delivery_screens import (
    Filter,
    channel_lines,
    channels_code,
    delivery_lines,
    delivery_mark,
    nothing_found,
    resumed,
    state_in_words,
)
from automon.cli.screens import (
    Verdict,
    alert_lines,
    explain_screen,
    status_screen,
    status_verdict,
    worst_code,
)
from automon.cli.text import age, cells, clip, clock, clock_or_day, cut, number, printable, took, wrapped
from automon.models import Replica

NOW = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the reader into UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        tzset()
        yield
    tzset()


def ago(span: timedelta) -> str:
    return (NOW - span).isoformat()


def alert(severity: str = "low", **values: Any) -> dict[str, Any]:
    return {
        "id": 41,
        "source": "mail",
        "severity": severity,
        "status": "open",
        "summary": "60 waiting (limit 50)",
        "age_seconds": 90.0,
        "acknowledged_by": None,
    } | values


def channel(name: str = "slack", **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "working",
        "since": None,
        "last_error": None,
        "next_attempt_at": None,
        "waiting": 0,
        "failed_24h": 0,
        "expired_24h": 0,
        "last_sent_at": ago(MINUTE),
        "fallback": "journal",
        "fallback_after_seconds": 600.0,
    } | values


def stopped(name: str = "slack", **values: Any) -> dict[str, Any]:
    given = {"state": "stopped", "since": ago(2 * HOUR), "last_error": "gone: Slack answered 404 no_service"}
    return channel(name, **given | values)


def failing(name: str = "slack", **values: Any) -> dict[str, Any]:
    given = {"since": ago(5 * MINUTE), "next_attempt_at": ago(-2 * MINUTE), "last_error": "unreachable: no route"}
    return channel(name, **{"state": "failing"} | given | values)


def service(instance: str = "ops-1:3f9a1c:4711") -> dict[str, Any]:
    return {"instance": instance, "version": "0.1.0", "since": ago(HOUR), "beat_seconds_ago": 2.0}


def delivery(number: int = 908, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "created_at": ago(MINUTE),
        "channel": "slack",
        "recipient": "webhook",
        "subject": "transition",
        "alert_id": 41,
        "alert_type": "error_rate",
        "source": "invoice-sync",
        "kind": "opened",
        "summary": "112 errors",
        "status": "sent",
        "digest_id": None,
        "instead_of": None,
        "attempts": 1,
        "latency_seconds": 0.21,
        "may_be_repeat": False,
        "handed_on_at": None,
        "why": None,
    } | values


def waiting(number: int = 908, **values: Any) -> dict[str, Any]:
    return delivery(number, **{"status": "pending", "attempts": 0, "latency_seconds": None} | values)


def canary(status: str = "sent", **values: Any) -> dict[str, Any]:
    about = {"subject": "canary", "alert_id": None, "source": None, "kind": None, "summary": "canary for ana"}
    return (delivery if status == "sent" else waiting)(**about | {"status": status} | values)


def summary(**automon: Any) -> dict[str, Any]:
    last_check = {"at": NOW.isoformat(), "age_seconds": 18.4, "outcome": "succeeded", "error": None}
    return {
        "tasks": {"running": 3, "completed_last_hour": 40, "failed_last_hour": 2},
        "errors": {"last_hour": 5, "last_24h": 11},
        "components": {"healthy": 4, "degraded": 1, "unhealthy": 0},
        "queues": [{"name": "mail", "pending": 1204}],
        "hosts": [{"name": "ops-1", "cpu_percent": 12.4, "memory_percent": None, "disk_percent": 81.0}],
        "automon": {
            "check_every_seconds": 300.0,
            "last_check": last_check,
            "services": [service()],
            "blind": None,
            "channels": [channel()],
            "partitions_ahead_days": 8,
        }
        | automon,
    }


def screen(alerts: list[dict[str, Any]], **automon: Any) -> str:
    facts = summary(**automon)
    return status_screen(facts, alerts, status_verdict(facts, alerts), NOW)


@pytest.mark.parametrize(
    ("behind", "verdict", "line"),
    [
        pytest.param(timedelta(0), Verdict("stale", 3), "REPLICA    0s behind", id="up to date"),
        pytest.param(timedelta(seconds=59), Verdict("stale", 3), "REPLICA    59s behind", id="a little"),
        pytest.param(timedelta(hours=3), Verdict("behind", 4), "REPLICA    is behind by 3h; what it shows may be old: add --primary", id="far"),
        pytest.param(None, Verdict("behind", 4), "REPLICA    is behind by an unknown time; what it shows may be old: add --primary", id="unknown"),
    ],
)  # fmt: skip
def test_of_a_replica_that_is_behind_it_is_not_said_that_the_checks_have_stopped(
    behind: timedelta | None, verdict: Verdict, line: str
) -> None:
    facts, replica = summary(last_check=None), Replica(behind=behind)

    found = status_verdict(facts, [], replica)
    shown = status_screen(facts, [], found, NOW, replica)

    assert found == verdict
    assert line in shown.splitlines()
    assert ("automon status --primary" in shown) is (verdict.name == "behind")
    assert ("THE REPLICA IS BEHIND" in shown) is (verdict.name == "behind")
    assert max(map(len, shown.splitlines())) <= 80


def test_an_alert_that_a_late_replica_shows_keeps_its_exit_code() -> None:
    check = {"age_seconds": 90.0, "outcome": "succeeded", "error": None}

    assert status_verdict(summary(last_check=check), [alert("critical")], Replica(behind=timedelta(minutes=5))) == Verdict("critical", 2)  # fmt: skip


@pytest.mark.parametrize(
    ("severities", "code"),
    [([], 0), (["low"], 1), (["high", "medium"], 1), (["low", "critical"], 2)],
    ids=["none", "low", "high", "critical"],
)
def test_the_exit_code_is_that_of_the_worst_alert(severities: list[str], code: int) -> None:
    assert worst_code([alert(severity) for severity in severities]) == code


@pytest.mark.parametrize(
    ("seconds", "every", "name", "code"),
    [
        pytest.param(18, 300, "ok", 0, id="fresh"),
        pytest.param(899, 300, "ok", 0, id="three rounds ago"),
        pytest.param(901, 300, "stale", 3, id="more than three rounds ago"),
        pytest.param(5, 1, "stale", 3, id="seconds, of a service that checks each"),
        pytest.param(7200, 3600, "ok", 0, id="hours, of a service that checks hourly"),
    ],
)
def test_checks_that_stopped_are_told_before_anything_else(seconds: float, every: float, name: str, code: int) -> None:
    check = {"at": NOW.isoformat(), "age_seconds": seconds, "outcome": "succeeded", "error": None}

    verdict = status_verdict(summary(last_check=check, check_every_seconds=every), [])

    assert verdict == Verdict(name, code)
    assert status_verdict(summary(last_check=None), [alert("critical")]) == Verdict("stale", 3)


def test_a_quiet_day_is_one_screen() -> None:
    shown = screen([]).splitlines()

    assert shown[0].startswith("✓ ALL OK   3 tasks running, 1 queues, 4 of 5 components healthy   ")
    assert shown[2:] == [
        "TASKS      3 running; last hour 40 completed, 2 failed",
        "ERRORS     5 in the last hour, 11 in 24 h",
        "HEALTH     4 of 5 components healthy",
        "QUEUES     mail 1,204 waiting",
        "HOSTS      ops-1 CPU 12 % mem - % disk 81 %",
        "",
        "DELIVERY   ✓ slack: last sent 11:59, 0 waiting, 0 failed",
        "AUTOMON    1 service: ops-1; last check 18s ago; partitions 8 days ahead",
    ]


def test_problems_come_first_with_the_way_on() -> None:
    shown = screen([alert("critical", id=41), alert("low", id=42, status="acknowledged", acknowledged_by="ana")])

    assert shown.startswith("✗ PROBLEMS   1 critical, 1 low   ")
    assert "ALERTS (worst first)\n✗ #41 mail 60 waiting (limit 50)" in shown
    assert "acked by ana" in shown
    assert shown.endswith("Next:  automon explain 41")


def test_a_channel_in_trouble_says_what_and_comes_first() -> None:
    lost = channel("ops", last_sent_at=None, failed_24h=2, expired_24h=1)
    ill = failing("pager", waiting=3)
    dead = stopped("email", waiting=1, failed_24h=2, last_error="bad_credentials: refused the login: 535")

    shown = screen([], channels=[channel(), lost, dead]).splitlines()

    assert shown[8:13] == [
        "DELIVERY   ✗ email: STOPPED since 10:00, 1 waiting, 2 failed",
        "             bad_credentials: refused the login: 535",
        "DELIVERY   ▲ ops: nothing sent yet, 0 waiting, 2 failed (1 expired)",
        "DELIVERY   ✓ slack: last sent 11:59, 0 waiting, 0 failed",
        "AUTOMON    1 service: ops-1; last check 18s ago; partitions 8 days ahead",
    ]
    assert shown[-1] == "Next:  automon channels resume email"
    assert "DELIVERY   ▲ pager: failing since 11:55, next try 12:02, 3 waiting, 0 failed" in screen([], channels=[ill])


def test_several_stopped_channels_are_left_to_their_own_screen() -> None:
    shown = screen([alert()], channels=[stopped("email"), stopped("slack")])

    assert shown.endswith("Next:  automon explain 41\n       automon channels")


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        pytest.param([], "no service runs", id="none"),
        pytest.param(["ops-1:3f:7", "ops-2:9a:7"], "2 services: ops-1, ops-2", id="two hosts"),
        pytest.param(["ops-1:3f:7", "ops-1:9a:7"], "2 services: ops-1 (2)", id="one host"),
        pytest.param([f"ops-{n}:1:1" for n in range(9)], "9 services: ops-0, ops-1, ops-2, +6", id="many"),
    ],
)
def test_the_services_are_named_by_their_hosts(instances: list[str], words: str) -> None:
    assert f"AUTOMON    {words}; last check 18s ago" in screen([], services=[service(name) for name in instances])


def test_without_a_service_what_counts_is_whether_checks_run() -> None:
    fresh = summary(services=[])
    assert status_verdict(fresh, []) == Verdict("ok", 0)

    old = {"at": ago(HOUR), "age_seconds": 3600, "outcome": "succeeded", "error": None}
    gone, stuck = screen([], services=[], last_check=old), screen([], last_check=old)

    assert gone.startswith("◌ AUTOMON IS NOT CHECKING   no service runs; last check 60m ago   12:00 UTC")
    assert gone.endswith("Next:  start the service: systemctl start automon, or make run")
    assert stuck.startswith("◌ AUTOMON IS NOT CHECKING   1 service: ops-1; last check 60m ago")
    assert stuck.endswith("Next:  see why the service does not check: journalctl -u automon -p warning")


@pytest.mark.parametrize(
    ("began", "ended", "words"),
    [
        (9 * HOUR, 330 * MINUTE, "was blind 03:00–06:30 UTC (3 h 30 min): no service ran"),
        (20 * HOUR, HOUR, "was blind 13 May 16:00–14 May 11:00 UTC (19 h): no service ran"),
    ],
    ids=["today", "over midnight"],
)
def test_a_time_without_sight_is_told_for_a_day(began: timedelta, ended: timedelta, words: str) -> None:
    blind = {"from": ago(began), "to": ago(ended), "why": "no service ran"}

    assert f"\nAUTOMON    {words}" in screen([], blind=blind)


def test_a_check_that_failed_says_why() -> None:
    check = {"at": NOW.isoformat(), "age_seconds": 18, "outcome": "failed", "error": "UndefinedTable: no such table"}

    shown = screen([], last_check=check)

    assert "last check 18s ago, FAILED; partitions 8 days ahead\n             UndefinedTable: no such table" in shown


def test_without_a_channel_the_question_is_asked() -> None:
    assert "DELIVERY   no channel is known: has the service run?" in screen([], channels=[])


@pytest.mark.parametrize("alerts", [0, 1, 8, 50])
@pytest.mark.parametrize("channels", [0, 1, 3, 12])
@pytest.mark.parametrize("make_channel", [channel, failing, stopped], ids=["working", "failing", "stopped"])
def test_the_screen_is_never_larger_than_a_terminal(alerts: int, channels: int, make_channel: Any) -> None:
    open_alerts = [
        alert("critical", id=number, source=f"a source with a long name {number}" * 3) for number in range(alerts)
    ]
    blind = {"from": ago(5 * DAY), "to": ago(HOUR), "why": "the database did not answer " * 9}
    made = [make_channel(f"channel-{n}" * 5, last_error="x" * 90, failed_24h=1) for n in range(channels)]

    shown = screen(open_alerts, channels=made, blind=blind, services=[service("host" * 30)] * 3)

    lines = shown.splitlines()
    assert len(lines) <= 24
    assert max(map(cells, lines)) <= 80
    listed = sum(line.startswith("✗ #") for line in lines)
    assert min(alerts, 3) <= listed
    assert (f"  +{alerts - listed} more: automon alerts" in lines) is (alerts > listed)
    assert ("more: automon channels" in shown) is (channels > 3)


@given(st.text(max_size=300), st.text(max_size=300))
def test_an_alert_is_one_line_of_the_terminal_whatever_a_task_has_called_itself(source: str, text: str) -> None:
    [line] = alert_lines([alert(source=source, summary=text)])

    assert cells(line) <= 80
    assert line.isprintable()


@given(st.text(), st.integers(min_value=1, max_value=100))
def test_a_line_is_cut_at_its_width_and_only_when_it_must_be(text: str, width: int) -> None:
    shown = clip(text, width)

    assert cells(shown) <= width
    if cells(text) <= width:
        assert shown == text
    else:
        assert shown.endswith("…")
        assert text.startswith(shown[:-1])


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert cells("請求書") == 6
    assert cells(unicodedata.normalize("NFD", "é")) == 1
    assert cut("請求書 同期", 7) == "請求書…"


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    assert printable("a\x1b]0;title\x07b\r\nc\u202ed") == "a]0;titleb  cd"
    assert cut("  two\n\tlines ", 20) == "two lines"


def told(channel: str, recipient: str = "webhook", status: str = "sent", **values: Any) -> dict[str, Any]:
    return {
        "channel": channel,
        "recipient": recipient,
        "status": status,
        "attempts": 1,
        "digest_id": None,
        "instead_of": None,
        "last_error": None,
    } | values


def test_a_story_is_told_in_order_and_nothing_in_it_reaches_the_terminal_raw() -> None:
    story = {
        "id": 41,
        "severity": "critical",
        "source": "it's\x1b[2J me",
        "summary": "112 errors",
        "alert_type": "error_rate",
        "opened_at": NOW.isoformat(),
        "resolved_at": None,
        "acknowledged_at": None,
        "is_silenced": True,
        "peak_summary": "112 errors",
        "peak_at": NOW.isoformat(),
        "evidence": {
            "measured": "112 errors",
            "top": [{"count": 3, "what": "timeout", "message": "\x1b[31mred\nsecond line", "where": "ops-2"}],
        },
        "transitions": [
            {
                "at": NOW.isoformat(),
                "kind": "opened",
                "severity": "critical",
                "summary": "112 errors",
                "actor": None,
                "note": None,
                "deliveries": [
                    told("slack", attempts=2),
                    told("email", "ana@acme.example", digest_id=907),
                    told("email", "ben@acme.example", "failed", attempts=3, last_error="refused: 550 unknown"),
                    told("ops", status="pending", attempts=0, instead_of="slack"),
                    told("sms", status="silenced", attempts=0),
                ],
            }
        ],
    }

    shown = explain_screen(story).splitlines()

    assert all(line.isprintable() for line in shown)
    assert shown[0] == "✗ #41 CRITICAL  it's[2J me: 112 errors"
    assert shown[1].endswith("; silenced")
    assert "      3x  timeout  [31mred second line  on ops-2" in shown
    begin = shown.index("      ✓ slack: sent after 2 attempts")
    assert shown[begin + 1 : begin + 5] == [
        "      – email (ana@acme.example): sent in digest 907 after 1 attempt",
        "      ✗ email (ben@acme.example): failed after 3 attempts: refused: 550 unknown",
        "      ◌ ops: waiting after 0 attempts instead of slack",
        "      – sms: silenced",
    ]
    assert shown[-2] == "Next:  automon ack 41"
    assert explain_screen(story | {"resolved_at": NOW.isoformat()}).splitlines()[1].startswith("  resolved, error_rate")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172799, "47h"), (172800, "2d")],
)
def test_an_age_is_short(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_a_number_that_is_not_known_is_a_dash() -> None:
    assert (number(None), number(12.6)) == ("-", "13")


# Deliveries ---------------------------------------------------------------------------------------------------


def test_each_message_is_a_line_and_why_it_has_not_arrived_a_second_one() -> None:
    found = [
        canary(number=911),
        delivery(910, channel="email", recipient="ana@acme.example", instead_of="slack", latency_seconds=75),
        delivery(909, channel="email", recipient="ben@acme.example", status="failed", latency_seconds=None,
                 attempts=2, handed_on_at=ago(MINUTE), why="refused: 550 no such user"),
        waiting(908, kind="escalated", attempts=1, why="unreachable: no route to host"),
        waiting(9, status="silenced", source="backup"),
    ]  # fmt: skip

    assert delivery_lines(found, Filter(), NOW) == [
        "   ID  UTC       CHANNEL                   MESSAGE                  TRIES   TOOK",
        "✓ 911  11:59:00  slack                     canary for ana               1  0.2 s",
        "✓ 910  11:59:00  email (ana@acme.example)  #41 opened invoice-sync      1   75 s",
        "       instead of slack",
        "✗ 909  11:59:00  email (ben@acme.example)  #41 opened invoice-sync      2",
        "       fallback told; refused: 550 no such user",
        "◌ 908  11:59:00  slack                     #41 escalated invoice-…      1",
        "       unreachable: no route to host",
        "–   9  11:59:00  slack                     #41 opened backup",
    ]


def test_a_reason_that_is_that_of_the_line_above_is_not_repeated() -> None:
    stuck = [waiting(number, why="the channel is stopped: gone") for number in (912, 911, 910)]

    assert [line[:5] for line in delivery_lines([*stuck, waiting(909, why="gone")], Filter(), NOW)] == [
        "   ID", "◌ 912", "     ", "◌ 911", "◌ 910", "◌ 909", "     ",
    ]  # fmt: skip


def test_what_was_told_in_a_digest_is_counted_and_listed_on_request() -> None:
    members = [delivery(number, digest_id=907, attempts=2, alert_id=number) for number in (906, 905, 904)]
    summary = "812 messages as one: connection refused"
    digest = delivery(907, subject="digest", alert_id=None, source=None, kind=None, summary=summary, attempts=2)

    assert delivery_lines([digest, *members], Filter(), NOW)[1:] == [
        "✓ 907  11:59:00  slack    digest of 812: connection refused             2  0.2 s",
        "–      11:59:00  slack    3 in digest 907",
        "       automon deliveries --digest 907",
    ]
    assert delivery_lines(members, Filter(digest_id=907), NOW)[1:3] == [
        "– 906  11:59:00  slack    #906 opened invoice-sync",
        "– 905  11:59:00  slack    #905 opened invoice-sync",
    ]
    assert delivery_lines(members[:1], Filter(alert_id=906), NOW)[1:] == [
        "– 906  11:59:00  slack    #906 opened invoice-sync",
        "       in digest 907",
    ]


def test_the_days_stand_beside_the_times_where_they_differ() -> None:
    lines = delivery_lines([delivery(2), delivery(1, created_at=ago(3 * DAY))], Filter(), NOW)

    assert [line[6:18] for line in lines] == ["UTC         ", "14 May 11:59", "11 May 12:00"]


def test_an_alert_about_automon_itself_says_so() -> None:
    [_, line] = delivery_lines([delivery(alert_type="automon_channel", source="email")], Filter(), NOW)

    assert "#41 opened email (automon channel)" in line


def test_a_message_that_may_have_arrived_twice_says_so() -> None:
    assert delivery_lines([delivery(may_be_repeat=True)], Filter(), NOW)[2].strip() == "may have arrived twice"


@pytest.mark.parametrize(
    ("status", "digest_id", "mark"),
    [
        ("sent", None, "✓"), ("sent", 907, "–"), ("pending", None, "◌"), ("pending", 907, "◌"), ("sending", None, "◌"),
        ("failed", None, "✗"), ("failed", 907, "✗"), ("expired", None, "✗"), ("silenced", None, "–"), ("grouped", None, "–"),
    ],
)  # fmt: skip
def test_a_delivery_is_known_by_its_shape(status: str, digest_id: int | None, mark: str) -> None:
    assert delivery_mark({"status": status, "digest_id": digest_id}) == mark


@given(st.text(max_size=90), st.text(max_size=90), st.text(max_size=90), st.integers(1, 10**15))
def test_a_list_of_deliveries_fits_a_terminal_whatever_they_say(
    source: str, recipient: str, why: str, number: int
) -> None:
    found = [waiting(number, source=source, recipient=recipient, why=why), delivery(1, latency_seconds=10**7)]

    lines = delivery_lines(found, Filter(), NOW)

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Filter(), "No message yet. Try the channels: automon canary"),
        (Filter(channel="slack"), "No message through slack. All messages: automon deliveries"),
        (Filter(in_trouble=True), "No message in trouble. All messages: automon deliveries"),
        (Filter(alert_id=41, digest_id=7), "No message of alert 41 in digest 7. Its story: automon explain 41"),
    ],
)
def test_an_empty_list_names_the_filter_and_the_next_command(wanted: Filter, sentence: str) -> None:
    assert nothing_found(wanted) == sentence


# Channels -----------------------------------------------------------------------------------------------------


def test_channels_in_trouble_come_first_with_their_reason_and_the_way_back() -> None:
    sent = {"last_sent_at": ago(3 * DAY), "waiting": 84, "failed_24h": 3, "expired_24h": 2, "fallback": "slack"}

    shown = channel_lines([channel(), failing("ops-team"), stopped("email", **sent)], NOW)

    assert shown == [
        "  CHANNEL   STATE                  SENT  WAITING  FAILED  EXPIRED  FALLBACK",
        "✗ email     STOPPED since 10:00  11 May       84       1        2  slack",
        "            gone: Slack answered 404 no_service",
        "            slack is told instead",
        "            repair it, then: automon channels resume email",
        "▲ ops-team  failing since 11:55   11:59        0       0        0  journal",
        "            unreachable: no route",
        "            next try 12:02; the journal is told instead from 12:05",
        "✓ slack     working               11:59        0       0        0  journal",
    ]


def test_a_reason_is_shown_to_its_end() -> None:
    lines = channel_lines([stopped(last_error="bad_credentials: " + "word " * 30 + "end")], NOW)

    assert max(map(cells, lines)) <= 80
    assert " ".join(lines).count("word") == 30
    assert lines[-3].endswith("end")


@pytest.mark.parametrize(
    ("channels", "code"),
    [([], 1), ([channel()], 0), ([channel(failed_24h=3)], 0), ([channel(), failing()], 1), ([stopped()], 1)],
    ids=["none known", "working", "working now", "failing", "stopped"],
)
def test_the_exit_code_says_whether_all_channels_work(channels: list[dict[str, Any]], code: int) -> None:
    assert channels_code(channels) == code


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (channel(), "working"),
        (failing(), "failing since 11:55, next try 12:02"),
        (failing(next_attempt_at=ago(-MINUTE)), "failing since 11:55, next try in 60s"),
        (failing(next_attempt_at=ago(MINUTE)), "failing since 11:55, next try now"),
        (stopped(since=ago(3 * DAY)), "STOPPED since 11 May 12:00"),
    ],
    ids=["working", "failing", "soon tried", "about to try", "stopped for days"],
)
def test_the_state_of_a_channel_in_words(state: dict[str, Any], words: str) -> None:
    assert state_in_words(state, NOW) == words


@given(st.text(max_size=90), st.text(max_size=90), st.text(max_size=90))
def test_the_list_of_channels_fits_a_terminal(name: str, error: str, fallback: str) -> None:
    lines = channel_lines([stopped(name, last_error=error, fallback=fallback), failing(name, last_error=error)], NOW)

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("waiting", "was_in_trouble", "sentence"),
    [
        (0, True, "slack is taken up again; nothing waits"),
        (1, True, "slack is taken up again; 1 message waits and is tried now"),
        (1200, True, "slack is taken up again; 1,200 messages wait and are tried now"),
        (2, False, "slack was working; 2 messages wait and are tried now"),
    ],
)
def test_taking_up_a_channel_says_what_waits(waiting: int, was_in_trouble: bool, sentence: str) -> None:
    assert resumed("slack", waiting, was_in_trouble=was_in_trouble) == sentence


# Canaries -----------------------------------------------------------------------------------------------------

ONE_MINUTE = Patience(span=MINUTE, until=NOW + MINUTE)
IT_IS_OVER = Patience(span=MINUTE, until=NOW)


@pytest.mark.parametrize(
    ("delivery", "channel", "patience", "lines"),
    [
        pytest.param(canary(latency_seconds=0.3124), channel(), ONE_MINUTE,
                     ["✓ slack: arrived in 312 ms (delivery 908)"], id="arrived"),
        pytest.param(canary(latency_seconds=4.2), channel(), IT_IS_OVER,
                     ["✓ slack: arrived in 4.2 s (delivery 908)"], id="arrived late"),
        pytest.param(canary("failed", why="refused: 550 no such user"), channel(), ONE_MINUTE,
                     ["✗ slack: refused: 550 no such user (delivery 908)"], id="refused"),
        pytest.param(canary("pending", why="gone: 404"), stopped(), ONE_MINUTE,
                     ["✗ slack: STOPPED since 10:00: gone: Slack answered 404 no_service (delivery 908)",
                      "  repair it, then: automon channels resume slack"], id="stopped"),
        pytest.param(canary("pending", why="unreachable: no route"), failing(), ONE_MINUTE,
                     ["◌ slack: failing since 11:55, next try 12:02: unreachable: no route (delivery",
                      "  908)", "  try it now: automon channels resume slack"], id="rests for too long"),
        pytest.param(canary("pending", why="unreachable: no route", attempts=2), channel(), IT_IS_OVER,
                     ["◌ slack: not arrived within 60 s, 2 attempts: unreachable: no route (delivery", "  908)"],
                     id="tried again and again"),
        pytest.param(canary("sending"), {}, IT_IS_OVER,
                     ["◌ slack: no answer yet after 60 s (delivery 908)"], id="no answer"),
        pytest.param(canary("pending"), channel(), Patience(span=timedelta(0), until=NOW),
                     ["◌ slack: waits to be sent (delivery 908)"], id="nobody sends"),
    ],
)  # fmt: skip
def test_a_canary_says_what_became_of_it(
    delivery: dict[str, Any], channel: dict[str, Any], patience: Patience, lines: list[str]
) -> None:
    answer = answer_of(delivery, channel, "slack", now=NOW, patience=patience)

    assert answer is not None
    assert answer.lines == lines


def test_a_canary_that_may_still_arrive_is_waited_for() -> None:
    soon = failing(next_attempt_at=ago(-30 * MINUTE / 60))

    for state in (channel(), soon, {}):
        assert answer_of(canary("pending", why="timed_out"), state, "slack", now=NOW, patience=ONE_MINUTE) is None


@given(st.text(max_size=300))
def test_an_answer_fits_a_terminal_whatever_the_other_side_has_said(text: str) -> None:
    lines = Answer(mark="✗", text=text, next_step="automon canary").lines

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


# Words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "moment", "short"),
    [(HOUR, "11:00", "11:00"), (-HOUR, "13:00", "13:00"), (15 * HOUR, "21:00", "21:00"), (3 * DAY, "11 May 12:00", "11 May")],
)  # fmt: skip
def test_a_moment_has_its_day_beside_it_when_it_is_not_near(span: timedelta, moment: str, short: str) -> None:
    assert (clock(ago(span), NOW), clock_or_day(ago(span), NOW)) == (moment, short)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.034, "34 ms"), (0.21, "0.2 s"), (2, "2 s"), (9.96, "10 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")],
)  # fmt: skip
def test_how_long_it_took_is_short(seconds: float, words: str) -> None:
    assert took(seconds) == words


@given(st.text(max_size=200), st.integers(min_value=2, max_value=60))
def test_a_text_is_broken_between_words_and_none_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)

    assert max(map(cells, lines), default=0) <= width
    words, shown = printable(text).split(), " ".join(lines).split()
    assert len(words) == len(shown)
    assert all(word == part or part.endswith("…") for word, part in zip(words, shown, strict=True))
