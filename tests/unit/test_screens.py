"""The screens of the command line: what they say, and that they fit a terminal of 80 by 24 whatever is in the database."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.screens import (
    Verdict,
    age,
    alert_lines,
    cells,
    clip,
    cut,
    explain_screen,
    number,
    printable,
    status_screen,
    status_verdict,
    worst_code,
)

NOW = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)


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
    return {"name": name, "waiting": 0, "failed_24h": 0, "last_error": None, "last_sent_at": NOW.isoformat()} | values


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
            "channels": [channel()],
            "partitions_ahead_days": 8,
        }
        | automon,
    }


def screen(alerts: list[dict[str, Any]], **automon: Any) -> str:
    facts = summary(**automon)
    return status_screen(facts, alerts, status_verdict(facts, alerts), NOW)


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
        f"DELIVERY   ✓ slack: last sent {NOW.astimezone():%d %b %H:%M}, 0 waiting, 0 failed",
        "AUTOMON    last check 18s ago; partitions 8 days ahead",
    ]


def test_problems_come_first_with_the_way_on() -> None:
    shown = screen([alert("critical", id=41), alert("low", id=42, status="acknowledged", acknowledged_by="ana")])

    assert shown.startswith("✗ PROBLEMS   1 critical, 1 low   ")
    assert "ALERTS (worst first)\n✗ #41 mail 60 waiting (limit 50)" in shown
    assert "acked by ana" in shown
    assert shown.endswith("Next:  automon explain 41")


def test_a_channel_in_trouble_says_what_and_comes_first() -> None:
    failing = channel("email", failed_24h=2, waiting=1, last_error="bad_credentials: refused the login: 535")
    waiting = channel("ops", last_sent_at=None, waiting=3, last_error="refused: 500")

    lines = [line for line in screen([], channels=[channel(), failing, waiting]).splitlines() if "DELIVERY" in line]

    assert lines[0].startswith("DELIVERY   ✗ email: last sent ")
    assert "1 waiting, 2 failed; bad_cred" in lines[0]
    assert lines[1] == "DELIVERY   ✗ ops: nothing sent yet, 3 waiting, 0 failed; refused: 500"
    assert lines[2].startswith("DELIVERY   ✓ slack")


def test_a_check_that_failed_says_why() -> None:
    check = {"at": NOW.isoformat(), "age_seconds": 18, "outcome": "failed", "error": "UndefinedTable: no such table"}

    assert "AUTOMON    last check 18s ago, FAILED: UndefinedTable: no such table" in screen([], last_check=check)


def test_without_a_channel_the_question_is_asked() -> None:
    assert "DELIVERY   no channel is known: has the service run?" in screen([], channels=[])


@pytest.mark.parametrize("alerts", [0, 1, 8, 50])
@pytest.mark.parametrize("channels", [0, 1, 3, 12])
def test_the_screen_is_never_larger_than_a_terminal(alerts: int, channels: int) -> None:
    open_alerts = [
        alert("critical", id=number, source=f"a source with a long name {number}" * 3) for number in range(alerts)
    ]

    shown = screen(
        open_alerts, channels=[channel(f"channel-{n}" * 5, last_error="x" * 90, failed_24h=1) for n in range(channels)]
    )

    assert len(shown.splitlines()) <= 24
    assert max(map(cells, shown.splitlines())) <= 80
    assert ("more: automon alerts" in shown) is (alerts > 8)
    assert ("more: automon status --json" in shown) is (channels > 3)


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
                "deliveries": [{"channel": "slack", "status": "sent", "attempts": 2, "last_error": None}],
            }
        ],
    }

    shown = explain_screen(story).splitlines()

    assert all(line.isprintable() for line in shown)
    assert shown[0] == "✗ #41 CRITICAL  it's[2J me: 112 errors"
    assert shown[1].endswith("; silenced")
    assert "      3x  timeout  [31mred second line  on ops-2" in shown
    assert "      slack: sent after 2 attempts" in shown
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
