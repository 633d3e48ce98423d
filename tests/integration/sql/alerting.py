"""Findings made up for a test, and the story that they write."""

from __future__ import annotations

from datetime import datetime

from tests.support.calls import MINUTE, NOON, Calls, Row

SEVERITIES = ["low", "medium", "high", "critical"]
TYPE = "error_rate"
CHECK = 5 * MINUTE  # from one check to the next


def apply(calls: Calls, at: datetime, *findings: tuple[str, str | None, float], resolve_only: bool = False) -> int:
    """Apply findings of one alert type, each (source, severity, value), as an evaluation of that moment would."""
    rows = [
        [TYPE, source, severity, value, 1.0, "errors/h", f"{value:g} errors (limit 1)", '{"measured": "made up"}']
        for source, severity, value in findings
    ]
    values = ", ".join(
        ["(%s, %s, %s, %s::double precision, %s::double precision, %s, %s, %s::jsonb)::public.monitoring_finding"]
        * len(rows)
    )
    query = f"SELECT public.apply_findings(ARRAY[%s], ARRAY[{values}]::public.monitoring_finding[], %s, %s)"
    changes = calls.one(query, TYPE, *(value for row in rows for value in row), at, resolve_only)
    assert isinstance(changes, int)
    return changes


def alerts(calls: Calls) -> list[Row]:
    return calls.ask("SELECT * FROM public.alerts ORDER BY id")


def the_alert(calls: Calls) -> Row:
    [row] = alerts(calls)
    return row


def kinds(calls: Calls) -> list[str]:
    return [row["kind"] for row in calls.ask("SELECT kind FROM public.alert_transitions ORDER BY id")]


def deliveries(calls: Calls) -> list[tuple[str, str, str]]:
    """Each delivery as (kind, channel, status)."""
    query = "SELECT t.kind, d.channel, d.status FROM public.alert_deliveries d JOIN public.alert_transitions t ON t.id = d.transition_id ORDER BY d.id"
    return [(row["kind"], row["channel"], row["status"]) for row in calls.ask(query)]


def silence(calls: Calls, minutes: float, *, at: datetime = NOON, source: str = "it", alert_type: str = "*") -> int:
    number = calls.one(
        "SELECT public.silence_alerts(%s, %s * interval '1 minute', 'known', 'kim', %s, %s)",
        source,
        minutes,
        alert_type,
        at,
    )
    assert isinstance(number, int)
    return number


def ended_transition(calls: Calls) -> Row:
    [row] = calls.ask("SELECT * FROM public.alert_transitions WHERE kind = 'resolved'")
    return row
