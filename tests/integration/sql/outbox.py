"""Senders made up for a test: they claim, say how it went, and let time pass."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.integration.sql.alerting import TYPE
from tests.support.calls import MINUTE, NOON, SECOND, Calls, Row

LEASE = 2 * MINUTE
WINDOW = 20 * SECOND  # delivery.window_seconds, as shipped
OVERDUE = timedelta(0)

_MOMENTS = {
    "alert_deliveries": ("created_at", "next_attempt_at", "first_attempt_at", "claimed_at", "lease_until", "handed_on_at", "finished_at"),
    "delivery_attempts": ("finished_at",),
    "notification_channels": ("updated_at", "next_send_at", "failing_since", "stopped_at"),
    "service_instances": ("started_at", "beat_at", "lease_until"),
    "watch_state": ("seen_at", "seen_until"),
    "blind_periods": ("began_at", "ended_at"),
    "job_runs": ("started_at", "finished_at"),
}  # fmt: skip


def let_pass(calls: Calls, span: timedelta) -> None:
    """Move all that automon remembers of itself into the past, as if that span had gone by. Negative: the clock is put back."""
    for table, columns in _MOMENTS.items():
        moved = ", ".join(f"{column} = {column} - %(span)s" for column in columns)
        calls.connection.execute(f"UPDATE public.{table} SET {moved}".encode(), {"span": span})


def claim(
    calls: Calls,
    holder: str = "me",
    *,
    name: str = "ops",
    lease: timedelta = LEASE,
    pace: timedelta = OVERDUE,
) -> Row | None:
    """Claim the next message of a channel; None when there is none."""
    message = calls("claim_delivery", name, holder, lease, pace)
    assert message is None or isinstance(message, dict)
    return message


def claimed(calls: Calls, holder: str = "me", **named: Any) -> Row:
    """Claim the next message, which must be there."""
    message = claim(calls, holder, **named)
    assert message is not None
    return message


def claims(calls: Calls, holder: str = "me", **named: Any) -> list[Row]:
    """Claim one message after another until there is none, and finish none of them."""
    return list(iter(lambda: claim(calls, holder, **named), None))


def finish_sent(calls: Calls, delivery_id: int, holder: str = "me") -> bool:
    return bool(calls("finish_delivery_attempt", delivery_id, holder, "sent", 0.2, "ok"))


def finish_failed(
    calls: Calls,
    delivery_id: int,
    holder: str = "me",
    *,
    outcome: str = "failed",
    reason: str = "unreachable",
    **named: object,
) -> bool:
    """Say that an attempt failed; `named` says what follows: p_retry_after, p_final_status, p_channel_pause, p_stops_channel."""
    return bool(
        calls("finish_delivery_attempt", delivery_id, holder, outcome, 0.2, "HTTP 503", p_reason=reason, **named)
    )


def send_all(calls: Calls, holder: str = "me", **named: Any) -> list[Row]:
    """Send one message after another until there is none."""
    sent = []
    while (message := claim(calls, holder, **named)) is not None:
        assert finish_sent(calls, message["delivery_id"], holder)
        sent.append(message)
    return sent


def fail_next(calls: Calls, holder: str = "me", *, name: str = "ops", **named: Any) -> Row:
    """Claim the next message, which must be there, and say that its attempt failed."""
    message = claimed(calls, holder, name=name)
    assert finish_failed(calls, message["delivery_id"], holder, **named)
    return message


def stop(calls: Calls, name: str = "ops") -> Row:
    """Claim the next message of a channel, which must be there, and stop the channel over it."""
    return fail_next(calls, name=name, reason="bad_credentials", p_stops_channel=True)


def open_alerts(calls: Calls, *causes: str, severity: str = "high", prefix: str = "s") -> None:
    """Open one alert for each cause given, in one check."""
    rows = [[f"{prefix}{number}", severity, cause] for number, cause in enumerate(causes)]
    finding = f"('{TYPE}', %s, %s, 1.0, 1.0, 'errors/h', 'bad', jsonb_build_object('top', jsonb_build_array(jsonb_build_object('what', 'E', 'message', %s::text))))::public.monitoring_finding"
    calls.ask(
        f"SELECT public.apply_findings(ARRAY['{TYPE}'], ARRAY[{', '.join([finding] * len(rows))}], %s)",
        *(value for row in rows for value in row),
        NOON,
    )


def delivery(calls: Calls) -> Row:
    """The only delivery that there is."""
    [row] = calls.ask("SELECT * FROM public.alert_deliveries")
    return row


def outbox(calls: Calls, source: str | None = None) -> list[tuple[str, str, str | None, str]]:
    """Each delivery, of all or of one source, as (subject or kind, channel, instead of, status)."""
    query = """
        SELECT COALESCE(t.kind, d.subject) AS what, d.channel, d.instead_of, d.status
        FROM public.alert_deliveries d LEFT JOIN public.alert_transitions t ON t.id = d.transition_id LEFT JOIN public.alerts a ON a.id = d.alert_id
        WHERE %(source)s::text IS NULL OR a.source = %(source)s ORDER BY d.id
    """
    rows = calls.connection.execute(query, {"source": source}).fetchall()
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def attempts(calls: Calls) -> list[tuple[Any, ...]]:
    """Each attempt as (number, outcome, reason, detail)."""
    rows = calls.ask("SELECT attempt, outcome, reason, detail FROM public.delivery_attempts ORDER BY id")
    return [tuple(row.values()) for row in rows]


def channel_row(calls: Calls, name: str = "ops") -> Row:
    """How a channel fares, as the database remembers it."""
    row = calls.one("SELECT to_jsonb(c) FROM public.notification_channels c WHERE c.name = %s", name)
    assert isinstance(row, dict)
    return row


def end_service(calls: Calls, instance: str) -> None:
    """Have a service that was here be gone: killed, its lease over."""
    calls("beat", instance)
    calls.ask("UPDATE public.service_instances SET beat_at = beat_at - interval '1 hour', lease_until = lease_until - interval '1 hour' WHERE instance = %s", instance)  # fmt: skip
