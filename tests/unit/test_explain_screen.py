"""`automon explain`: the whole story of an alert, or why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from automon.cli.explain_screen import Explanation, explain_lines, levels, outlook, rule_place, source_lines
from automon.cli.theme import PLAIN, Theme
from automon.models import Guidance
from tests.support.golden import assert_screen
from tests.support.screens import HOUR, MINUTE, NOW, ago

pytestmark = pytest.mark.usefixtures("utc")
ASCII = Theme(is_unicode=False, encoding="ascii")
VERBS = frozenset({"explain", "ack"})


def rule(**values: Any) -> dict[str, Any]:
    return {
        "source": "*",
        "low": 10.0,
        "medium": 25.0,
        "high": 50.0,
        "critical": 75.0,
        "origin": "config",
        "updated_at": ago(HOUR),
    } | values


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


def transition(kind: str = "opened", **values: Any) -> dict[str, Any]:
    return {
        "at": ago(18 * MINUTE),
        "kind": kind,
        "severity": "high",
        "summary": "60 % of tasks fail (limit 50 %)",
        "actor": None,
        "note": None,
        "deliveries": [told("slack"), told("email", "ana@acme.example", "failed", last_error="refused: 550 unknown")],
    } | values


def story(**values: Any) -> dict[str, Any]:
    return {
        "id": 41,
        "alert_type": "failure_rate",
        "source": "invoice-sync",
        "severity": "high",
        "summary": "60 % of tasks fail (limit 50 %)",
        "unit": "%",
        "opened_at": ago(18 * MINUTE),
        "resolved_at": None,
        "resolved_by": None,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "acknowledged_note": None,
        "clear_since": None,
        "last_told_at": ago(18 * MINUTE),
        "is_silenced": False,
        "peak_summary": "66 % of tasks fail (limit 50 %)",
        "peak_at": ago(9 * MINUTE),
        "evidence": {
            "measured": "24 of 40 tasks failed",
            "window_from": ago(78 * MINUTE),
            "window_to": ago(18 * MINUTE),
            "top": [
                {"count": 22, "what": "ConnectionError", "message": "smtp.acme.example:587 refused", "where": "ops-2", "first_at": ago(22 * MINUTE)},
                {"count": 2, "what": "Timeout", "message": "after 30 s", "where": "ops-1", "first_at": ago(9 * MINUTE)},
            ],
        },
        "transitions": [transition()],
    } | values  # fmt: skip


def context(**values: Any) -> dict[str, Any]:
    return {
        "rule": rule(),
        "resolve_after_seconds": 300.0,
        "remind_after_seconds": 3600.0,
        "min_tasks": 5.0,
        "trend": {"of": "failed, %", "step_seconds": 3600.0, "values": [None, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 60]},
        "silences": [],
        "has_audience": True,
        "changes": [
            {"at": ago(23 * MINUTE), "kind": "component", "what": "worker/mail-relay was healthy, is unhealthy: gone", "alert_id": None},
            {"at": ago(21 * MINUTE), "kind": "alert", "what": "mail: 1,204 waiting (limit 500)", "alert_id": 40},
        ],
    } | values  # fmt: skip


def explanation(of: dict[str, Any] | None = None, beside: dict[str, Any] | None = None, **said: Any) -> Explanation:
    given: dict[str, Any] = {"guidance": Guidance(), "verbs": VERBS} | said
    return Explanation(story=of or story(), context=beside or context(), now=NOW, **given)


SILENCE = {"id": 3, "source": "*", "alert_type": "*", "until": ago(-HOUR), "by": "ben", "reason": "moving"}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        pytest.param("explain_open", explanation(), id="open"),
        pytest.param(
            "explain_guided",
            explanation(
                story(acknowledged_at=ago(MINUTE), acknowledged_by="ana", acknowledged_note="on it", is_silenced=True),
                context(silences=[SILENCE], trend=None, changes=[]),
                guidance=Guidance(
                    impact="customers get no invoice", next_step="restart the relay", runbook="https://wiki.example/rb"
                ),
                verbs=VERBS | {"runbook", "config"},
            ),
            id="in hand, silenced, with guidance",
        ),
        pytest.param(
            "explain_resolved",
            explanation(
                story(
                    resolved_at=ago(MINUTE), resolved_by="automon", transitions=[transition(), transition("resolved")]
                )
            ),
            id="resolved",
        ),
    ],
)
def test_an_alert_is_explained_from_its_rule_to_what_stops_it(name: str, what: Explanation) -> None:
    assert_screen(name, PLAIN.finish(explain_lines(what, PLAIN)))
    assert ASCII.finish(explain_lines(what, ASCII)).isascii()


@pytest.mark.parametrize(
    ("of", "beside", "words"),
    [
        pytest.param(story(severity="critical"), context(), "12:42  a reminder, and every 1 h until it is acknowledged", id="reminded"),
        pytest.param(story(severity="critical", last_told_at=ago(2 * HOUR)), context(), "12:00  a reminder", id="reminded at the next check"),
        pytest.param(story(), context(), "no reminder: only critical alerts are told again", id="not critical"),
        pytest.param(story(severity="critical"), context(remind_after_seconds=0.0), "no reminder: alerts.remind_after_minutes is 0", id="off"),
        pytest.param(story(severity="critical"), context(has_audience=False), "no reminder: no channel is to be told", id="nobody"),
        pytest.param(story(acknowledged_at=ago(HOUR), acknowledged_by="ana"), context(), "no reminder: somebody has it in hand", id="in hand"),
        pytest.param(story(), context(), "becomes critical from 75 %; that is told", id="a level above"),
        pytest.param(story(severity="low"), context(rule=rule(medium=None)), "becomes high from 50 %, critical from 75 %", id="levels above"),
        pytest.param(story(), context(), "resolves after 5 min below 10 %", id="end"),
        pytest.param(story(), context(resolve_after_seconds=0.0), "resolves at the first check below 10 %", id="end at once"),
        pytest.param(story(clear_since=ago(2 * MINUTE)), context(), "12:03  resolves, if it stays within its limits (since 11:58)", id="ending"),
        pytest.param(story(), context(), "no silence covers it", id="not silenced"),
        pytest.param(story(), context(silences=[SILENCE]), "13:00  silence 3 ends (by ben: moving)", id="silenced"),
    ],
)  # fmt: skip
def test_what_happens_next_is_said_with_its_time(of: dict[str, Any], beside: dict[str, Any], words: str) -> None:
    assert any(words in line for line in outlook(explanation(of, beside)))


def test_nothing_follows_the_end() -> None:
    assert outlook(explanation(story(resolved_at=ago(MINUTE), resolved_by="ana"))) == []


def test_nothing_in_a_story_reaches_the_terminal_raw() -> None:
    hostile = story(source="it's\x1b[2J me", evidence={"measured": "\x1b[31mred\n2", "top": [{"count": 3, "what": "t", "message": "\x1b[31mred\nsecond", "where": None, "first_at": ago(HOUR)}]})  # fmt: skip

    shown = PLAIN.finish(explain_lines(explanation(hostile), PLAIN)).splitlines()

    assert all(line.isprintable() for line in shown)
    assert shown[0] == "✗ #41 HIGH  it's[2J me: 60 % of tasks fail (limit 50 %)"
    assert any("3x  t: [31mred second" in line for line in shown)
    assert shown[-1] == """       automon silence 'it'"'"'s[2J me' 2h --reason "...\""""


@pytest.mark.parametrize(
    ("found", "alert_type", "words"),
    [
        (rule(), "failure_rate", "alert_thresholds.failure_rates of the config"),
        (rule(source="mail"), "queue_backlog", 'overrides.queue_backlog."mail" of the config'),
        (rule(origin="shipped"), "host_cpu", "alert_thresholds.host_cpu, as shipped"),
        (rule(), "component_health", "component_health of the config"),
        (rule(origin="sql"), "error_rate", "set in the database 2026-05-14 11:00:00 UTC, not by the config"),
    ],
    ids=["type", "source", "shipped", "health", "drift"],
)
def test_the_place_of_a_limit_is_named(found: dict[str, Any], alert_type: str, words: str) -> None:
    assert rule_place(found, alert_type, "mail", VERBS) == words


@pytest.mark.parametrize(
    ("alert_type", "unit", "words"),
    [
        ("failure_rate", "%", "low 10 %, medium 25 %, high 50 %, critical 75 %"),
        ("running_time", "s", "low 10s, medium 25s, high 50s, critical 75s"),
        ("response_time", "ms", "low 10 ms, medium 25 ms, high 50 ms, critical 75 ms"),
        ("queue_backlog", "tasks", "low 10, medium 25, high 50, critical 75"),
    ],
)
def test_limits_are_written_in_their_unit(alert_type: str, unit: str, words: str) -> None:
    assert levels(rule(), alert_type, unit) == words


def test_states_of_health_are_words_and_a_check_without_limits_is_off() -> None:
    none = dict.fromkeys(("low", "medium", "high", "critical"))

    assert (
        levels(none | {"medium": 1.0, "critical": 2.0}, "component_health", "") == "medium degraded, critical unhealthy"
    )
    assert levels(none, "error_rate", "") == "none: the check is switched off"


def check(alert_type: str = "failure_rate", **values: Any) -> dict[str, Any]:
    return {
        "alert_type": alert_type, "source": "invoice-sync", "severity": None, "value": 3.0, "unit": "%", "summary": "3 % of tasks fail (limit 10 %)",
        "rule": rule(), "alert_id": None, "silences": [],
    } | values  # fmt: skip


def test_a_source_without_an_alert_shows_each_check_with_its_value_and_its_limits() -> None:
    checks = [
        check("processing_time", severity="medium", value=420.0, unit="s", alert_id=7, rule=rule(source="invoice-sync", low=None)),
        check(silences=[SILENCE]),
        check("queue_silence", value=0.0, unit="s"),
        check("component_health", value=0.0, unit=""),
        check("running_time", value=None, unit=None, summary="no task is running"),
        check("host_disk", source="invoice-sync /var", value=81.25),
    ]  # fmt: skip

    shown = PLAIN.finish(source_lines("invoice-sync", checks, NOW, VERBS, PLAIN))

    assert_screen("explain_source", shown)
    assert PLAIN.finish(source_lines("mail", [check()], NOW, VERBS, PLAIN)).startswith(
        "mail   every check is within its limits"
    )


def test_a_reminder_is_not_promised_while_it_is_silenced() -> None:
    silenced = outlook(explanation(story(severity="critical"), context(silences=[SILENCE])))

    assert not any("a reminder" in line for line in silenced)
