"""Whatever happens in whatever order, the story of an alert makes sense."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.sql.alerting import SEVERITIES, apply, silence
from tests.support.calls import MINUTE, NOON, SECOND, Calls, channel

SOURCES = ["a", "b"]
CHANNELS = [
    channel("all"),
    channel("worst", min_severity="critical", recipients=["x", "y"]),
    channel("ends", notify_on=["resolved"]),
]
findings = st.fixed_dictionaries({}, optional={source: st.sampled_from([None, *SEVERITIES]) for source in SOURCES})
pauses = st.sampled_from([SECOND, MINUTE, 5 * MINUTE, 61 * MINUTE])
BY_ALERT = """
SELECT t.alert_id, array_agg(t.kind ORDER BY t.id) AS kinds, array_agg(t.severity ORDER BY t.id) AS severities, array_agg(t.previous_severity ORDER BY t.id) AS previous,
    array_agg(t.at ORDER BY t.id) AS moments
FROM public.alert_transitions t GROUP BY t.alert_id
"""


class AlertMachine(RuleBasedStateMachine):
    """Two sources that come and go, people who act, and time that mostly passes."""

    calls: Calls  # of the test that runs the machine

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.calls.ask("TRUNCATE public.alerts, public.alert_silences CASCADE")
        self.calls.configure(channels=[])

    def open_alerts(self) -> list[dict[str, Any]]:
        return self.calls.ask("SELECT * FROM public.alerts WHERE resolved_at IS NULL ORDER BY id")

    @rule(found=findings, pause=pauses)
    def check(self, found: dict[str, str | None], pause: timedelta) -> None:
        self.now += pause
        before = self.calls.one("SELECT count(*) FROM public.alert_transitions")
        changes = apply(
            self.calls,
            self.now,
            *((source, severity, float(len(severity or ""))) for source, severity in found.items()),
        )
        assert self.calls.one("SELECT count(*) FROM public.alert_transitions") == before + changes
        for alert in self.open_alerts():
            severity = found.get(alert["source"])
            assert severity is None or alert["severity"] == severity
        assert {source for source, severity in found.items() if severity} <= {
            alert["source"] for alert in self.open_alerts()
        }

    @rule(found=findings)
    def check_that_comes_late(self, found: dict[str, str | None]) -> None:
        state = "SELECT to_jsonb(a) AS row FROM public.alerts a WHERE last_seen_at = %s OR resolved_at = %s ORDER BY id"
        before = self.calls.ask(state, self.now, self.now)
        known = {row["row"]["source"] for row in before}
        apply(
            self.calls,
            self.now - SECOND / 2,
            *((source, severity, 1.0) for source, severity in found.items() if source in known),
        )
        assert self.calls.ask(state, self.now, self.now) == before

    @rule(found=findings)
    def resolve_only(self, found: dict[str, str | None]) -> None:
        before = {alert["id"] for alert in self.open_alerts()}
        apply(self.calls, self.now, *((source, severity, 1.0) for source, severity in found.items()), resolve_only=True)
        assert {alert["id"] for alert in self.open_alerts()} <= before

    @precondition(lambda self: self.open_alerts())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(self.open_alerts()))
        assert self.calls("acknowledge_alert", alert["id"], "kim", None, self.now) is (alert["acknowledged_at"] is None)

    @precondition(lambda self: self.open_alerts())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(self.open_alerts()))
        had = alert["acknowledged_at"] is not None
        assert self.calls("unacknowledge_alert", alert["id"], "kim", None, self.now) is had

    @precondition(lambda self: self.open_alerts())
    @rule(data=st.data())
    def resolve_by_hand(self, data: st.DataObject) -> None:
        alert = data.draw(st.sampled_from(self.open_alerts()))
        assert self.calls("resolve_alert", alert["id"], "kim", None, self.now) is True
        assert self.calls("resolve_alert", alert["id"], "kim", None, self.now) is False

    @rule(source=st.sampled_from([*SOURCES, "*"]), minutes=st.sampled_from([1, 30]))
    def silence(self, source: str, minutes: int) -> None:
        silence(self.calls, minutes, at=self.now, source=source)

    @rule(channels=st.lists(st.sampled_from(CHANNELS), unique_by=lambda one: str(one["name"])))
    def configure(self, channels: list[dict[str, Any]]) -> None:
        self.calls.configure(channels=channels)

    @invariant()
    def at_most_one_alert_is_open_for_each_source(self) -> None:
        sources = [alert["source"] for alert in self.open_alerts()]
        assert len(sources) == len(set(sources))

    @invariant()
    def a_story_begins_with_opened_and_ends_with_resolved(self) -> None:
        resolved = {row["id"] for row in self.calls.ask("SELECT id FROM public.alerts WHERE resolved_at IS NOT NULL")}
        for story in self.calls.ask(BY_ALERT):
            assert story["kinds"][0] == "opened"
            assert story["kinds"].count("resolved") == (story["alert_id"] in resolved)
            assert "resolved" not in story["kinds"][:-1]
            # Taken in hand and given back, in turns.
            hands = [kind for kind in story["kinds"] if kind.endswith("acknowledged")]
            assert hands == ["acknowledged", "unacknowledged"] * (len(hands) // 2) + ["acknowledged"] * (len(hands) % 2)
            assert story["moments"] == sorted(story["moments"])

    @invariant()
    def each_severity_follows_from_the_one_before(self) -> None:
        rank = {severity: number for number, severity in enumerate(SEVERITIES)}
        for story in self.calls.ask(BY_ALERT):
            current = story["severities"][0]
            for kind, severity, previous in zip(story["kinds"], story["severities"], story["previous"], strict=True):
                if kind in {"escalated", "eased"}:
                    assert previous == current
                    assert (rank[severity] > rank[previous]) is (kind == "escalated")
                else:
                    assert severity == current
                current = severity

    @invariant()
    def a_peak_is_never_below_what_was_seen(self) -> None:
        query = "SELECT bool_and(public.severity_rank(t.severity) <= public.severity_rank(a.peak_severity)) FROM public.alerts a JOIN public.alert_transitions t ON t.alert_id = a.id"
        assert self.calls.one(query) is not False

    @invariant()
    def messages_go_to_configured_channels_for_what_they_want(self) -> None:
        query = "SELECT name, recipients, notify_on FROM public.notification_channels"
        configured = {row["name"]: row for row in self.calls.ask(query)}
        waiting = self.calls.ask(
            "SELECT d.channel, d.recipient, d.status, t.kind FROM public.alert_deliveries d JOIN public.alert_transitions t ON t.id = d.transition_id WHERE d.status = 'pending'"
        )
        for row in waiting:
            assert row["recipient"] in configured[row["channel"]]["recipients"]
            assert row["kind"] in configured[row["channel"]]["notify_on"]


def test_the_story_of_every_alert_makes_sense_whatever_happens(calls: Calls) -> None:
    machine = type("Machine", (AlertMachine,), {"calls": calls})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
