"""Notifications to send in tests: one alert's life, and what a hostile task would write into it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from automon.models import Guidance, Notification, OpenAlert, Severity, TransitionKind
from notifiers.message import Message, MessageContext, compose

BERLIN = ZoneInfo("Europe/Berlin")
OPENED_AT = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)

CONTEXT = MessageContext(instance="ops-1", timezone=BERLIN, remind_after=timedelta(hours=1))
GUIDANCE = Guidance(
    impact="Customers get no invoice.",
    next_step="Restart mail-relay on ops-2.",
    runbook="https://wiki.acme.example/rb/invoice-sync?view=short&lang=en",
)

TOP: list[dict[str, Any]] = [
    {
        "count": 101,
        "what": "ConnectionError",
        "message": "smtp.acme.example:587 refused",
        "where": "ops-2",
        "first_at": "2026-11-23T12:58:00+00:00",
        "last_at": "2026-11-23T13:01:58+00:00",
        "sample": "task-8812",
    },
    {
        "count": 8,
        "what": "Timeout",
        "message": "no answer in 30 s",
        "where": "ops-2",
        "first_at": "2026-11-23T12:41:00+00:00",
        "last_at": "2026-11-23T12:59:00+00:00",
        "sample": "task-8790",
    },
    {"count": 2, "what": "ValueError", "message": "amount < 0", "where": "ops-1", "first_at": None, "sample": None},
    {"count": 1, "what": "KeyError", "message": "'customer'", "where": "ops-1", "first_at": None, "sample": None},
]
EVIDENCE: dict[str, Any] = {
    "measured": "112 errors in 3 task types, 101 of them on ops-2",
    "window_from": "2026-11-23T12:02:00+00:00",
    "window_to": "2026-11-23T13:02:00+00:00",
    "trend": {"values": [1, 0, 2, 1, 0, 1, 3, 2, 8, 21, 34, 40], "step_seconds": 300, "of": "errors"},
    "top": TOP,
    "totals": {"errors": 112},
}
ALSO_OPEN = (
    OpenAlert(
        alert_id=40,
        alert_type="queue_backlog",
        source="mail",
        severity=Severity.HIGH,
        summary="1,204 pending (limit 200)",
        opened_at=OPENED_AT - timedelta(minutes=25),
        acknowledged_by="ana",
    ),
    OpenAlert(
        alert_id=38,
        alert_type="host_disk",
        source="ops-2",
        severity=Severity.MEDIUM,
        summary="91 % of /var is used (limit 90 %)",
        opened_at=OPENED_AT - timedelta(hours=3),
    ),
)

OPENED = Notification(
    delivery_id=907,
    attempt=1,
    uncertain=False,
    alert_id=41,
    alert_type="error_rate",
    source="invoice-sync",
    kind=TransitionKind.OPENED,
    at=OPENED_AT,
    severity=Severity.CRITICAL,
    previous_severity=None,
    summary="112 errors in the last hour (limit 100)",
    value=112,
    threshold=100,
    unit="errors/h",
    evidence=EVIDENCE,
    opened_at=OPENED_AT,
    peak_severity=Severity.CRITICAL,
    peak_summary="112 errors in the last hour (limit 100)",
    peak_at=OPENED_AT,
    also_open=ALSO_OPEN,
)
OPENED_HIGH = replace(OPENED, severity=Severity.HIGH, summary="81 errors in the last hour (limit 75)")
ESCALATED = replace(
    OPENED, kind=TransitionKind.ESCALATED, at=OPENED_AT + timedelta(minutes=10), previous_severity=Severity.HIGH
)
REMINDED = replace(
    OPENED,
    kind=TransitionKind.REMINDED,
    at=OPENED_AT + timedelta(minutes=60),
    summary="348 errors in the last hour (limit 100)",
)
ACKNOWLEDGED = replace(
    OPENED,
    kind=TransitionKind.ACKNOWLEDGED,
    at=OPENED_AT + timedelta(minutes=33),
    acknowledged_at=OPENED_AT + timedelta(minutes=33),
    acknowledged_by="ana",
    acknowledged_note="relay restarted",
    actor="ana",
    note="relay restarted",
)
EASED = replace(
    ACKNOWLEDGED,
    kind=TransitionKind.EASED,
    at=OPENED_AT + timedelta(minutes=40),
    severity=Severity.MEDIUM,
    previous_severity=Severity.CRITICAL,
    summary="52 errors in the last hour (limit 50)",
    evidence={
        "measured": "52 errors in 2 task types",
        "trend": {"values": [34, 40, 12, 3, 2, 1], "step_seconds": 300, "of": "errors"},
    },
    actor=None,
    note=None,
)
RESOLVED = replace(
    EASED,
    kind=TransitionKind.RESOLVED,
    at=OPENED_AT + timedelta(minutes=51),
    previous_severity=Severity.MEDIUM,
    summary="3 errors in the last hour (limit 25)",
    peak_summary="348 errors in the last hour (limit 100)",
    peak_at=OPENED_AT + timedelta(minutes=29),
    evidence={
        "trend": {"values": [40, 38, 21, 4, 1, 0], "step_seconds": 300, "of": "errors"},
        "left": "61 failed tasks were not repeated",
    },
    also_open=ALSO_OPEN[1:],
)

LIFE = {
    "opened": OPENED,
    "escalated": ESCALATED,
    "reminded": REMINDED,
    "acknowledged": ACKNOWLEDGED,
    "eased": EASED,
    "resolved": RESOLVED,
}

HOSTILE_TEXT = (
    "<!channel> <@U123> @here @channel </pre><script>alert(1)</script> https://evil.example/x "
    "*bold* _it_ ~no~ `code` :fire: &amp; <https://evil.example|click>\r\nBcc: all@acme.example\x1b[31m\u202e 💥"
    " {{foot}} "
) + "x" * 100_000
HOSTILE = replace(
    OPENED,
    source=HOSTILE_TEXT,
    summary=HOSTILE_TEXT,
    alert_type=HOSTILE_TEXT,
    evidence={
        "measured": HOSTILE_TEXT,
        "trend": {"values": [float("nan"), "x", 1, 2], "step_seconds": 300, "of": HOSTILE_TEXT},
        "top": [{"count": 3, "what": HOSTILE_TEXT, "message": HOSTILE_TEXT, "where": HOSTILE_TEXT, "sample": 1}] * 20,
    },
    also_open=tuple(replace(ALSO_OPEN[0], source=HOSTILE_TEXT, summary=HOSTILE_TEXT) for _ in range(20)),
)


def message(notification: Notification = OPENED, guidance: Guidance = GUIDANCE) -> Message:
    return compose(notification, guidance, CONTEXT)
