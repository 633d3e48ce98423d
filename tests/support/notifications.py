"""Notifications to send in tests: one alert's life, and what a hostile task would write into it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from automon.models import (
    Canary,
    Digest,
    DigestCause,
    DigestEntry,
    Guidance,
    Notification,
    OpenAlert,
    Outage,
    Severity,
    TransitionKind,
)
from notifiers.digest import compose_digest
from notifiers.message import Message, MessageContext
from notifiers.notice import compose_canary, compose_outage
from notifiers.transition import compose

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

BLIND = replace(
    OPENED,
    delivery_id=911,
    alert_id=44,
    alert_type="automon_blind",
    source="automon",
    kind=TransitionKind.RESOLVED,
    at=OPENED_AT + timedelta(hours=3, minutes=30),
    previous_severity=Severity.CRITICAL,
    summary="was blind for 3 h 30 min: no service ran",
    value=12600,
    threshold=120,
    unit="s",
    evidence={
        "measured": "about 420 reports of 7 sources are unknown",
        "left": "what is recorded late is judged late",
    },
    peak_summary="was blind for 3 h 30 min: no service ran",
    also_open=ALSO_OPEN[1:],
)
CHANNEL_FAILS = replace(
    OPENED,
    delivery_id=912,
    alert_id=45,
    alert_type="automon_channel",
    source="slack",
    summary="nothing has arrived for 12 min: 404 no_service",
    evidence={
        "measured": "9 messages wait, 14 were told by email instead",
        "next": "automon channels resume slack",
    },
    also_open=(),
)
CONFIG_REJECTED = replace(
    OPENED,
    delivery_id=913,
    alert_id=46,
    alert_type="automon_config",
    source="ops-1",
    severity=Severity.HIGH,
    summary="config rejected, line 11: error_rates.medium: is not above low (100)",
    evidence={
        "measured": "the config before stays in force, a restart would fail; 2 mistakes in /etc/automon/monitoring_config.json",
        "next": "automon check-config --config /etc/automon/monitoring_config.json",
    },
    also_open=(),
)

_RESOLVED_ENTRY = DigestEntry(
    alert_id=41,
    alert_type="failure_rate",
    source="invoice-sync",
    kind=TransitionKind.RESOLVED,
    severity=Severity.CRITICAL,
    summary="2 % of tasks fail (limit 5 %)",
    opened_at=OPENED_AT - timedelta(minutes=32),
)
_ENTRY = replace(
    _RESOLVED_ENTRY,
    kind=TransitionKind.OPENED,
    summary="46 % of tasks fail (limit 5 %)",
    opened_at=OPENED_AT - timedelta(minutes=4),
)
_ENTRIES = (
    _ENTRY,
    replace(
        _ENTRY,
        alert_id=40,
        alert_type="queue_backlog",
        source="mail",
        kind=TransitionKind.ESCALATED,
        summary="2,610 waiting (limit 1,000)",
        opened_at=OPENED_AT - timedelta(minutes=39),
    ),
    replace(
        _ENTRY,
        alert_id=43,
        alert_type="error_rate",
        source="receipts",
        severity=Severity.HIGH,
        summary="81 errors in the last hour (limit 75)",
        opened_at=OPENED_AT,
    ),
    replace(
        _ENTRY,
        alert_id=38,
        alert_type="host_disk",
        source="ops-2 /var",
        kind=TransitionKind.REMINDED,
        severity=Severity.MEDIUM,
        summary="disk is 91 % full (limit 90 %)",
        opened_at=OPENED_AT - timedelta(hours=3),
    ),
)
DIGEST = Digest(
    delivery_id=907,
    attempt=1,
    uncertain=False,
    at=OPENED_AT,
    first_at=OPENED_AT - timedelta(minutes=4),
    alerts=812,
    transitions=812,
    kinds={TransitionKind.OPENED: 812},
    severities={Severity.CRITICAL: 12, Severity.HIGH: 200, Severity.MEDIUM: 600},
    entries=(
        _ENTRY,
        replace(_ENTRY, alert_id=52, source="dunning", summary="31 % of tasks fail (limit 5 %)", opened_at=OPENED_AT),
        replace(_ENTRIES[2], alert_id=57),
    ),
    causes=(DigestCause(words="ConnectionError smtp.acme.example:587 refused", count=812),),
)
DIGEST_OF_CAUSES = replace(
    DIGEST,
    alerts=10_000,
    transitions=10_400,
    kinds={TransitionKind.OPENED: 9_500, TransitionKind.ESCALATED: 400, TransitionKind.REMINDED: 100},
    severities={Severity.CRITICAL: 1_200, Severity.HIGH: 300, Severity.LOW: 8_500},
    entries=_ENTRIES,
    causes=(
        DigestCause(words="ConnectionError smtp.acme.example:587 refused", count=6_402),
        DigestCause(words="host ops-2", count=2_811),
        DigestCause(words="queue silence", count=640),
        DigestCause(words="Timeout: no answer in 30 s", count=71),
    ),
    more_causes=10,
)
DIGEST_RESOLVED = replace(
    DIGEST,
    delivery_id=915,
    at=OPENED_AT + timedelta(minutes=51),
    first_at=OPENED_AT + timedelta(minutes=49),
    kinds={TransitionKind.RESOLVED: 812},
    severities={},
    entries=(
        _RESOLVED_ENTRY,
        replace(
            _RESOLVED_ENTRY,
            alert_id=57,
            alert_type="error_rate",
            source="receipts",
            severity=Severity.HIGH,
            summary="3 errors in the last hour (limit 25)",
            opened_at=OPENED_AT,
        ),
    ),
)
DIGEST_REPEATED = replace(
    DIGEST,
    attempt=3,
    uncertain=True,
    alerts=700,
    transitions=1_450,
    kinds={TransitionKind.OPENED: 500, TransitionKind.RESOLVED: 200},
    severities={Severity.CRITICAL: 2, Severity.HIGH: 498},
    entries=(*DIGEST.entries, replace(_RESOLVED_ENTRY, alert_id=39, source="exports")),
    causes=(
        DigestCause(words="ConnectionError smtp.acme.example:587 refused", count=690),
        DigestCause(words="host ops-2", count=10),
    ),
    instead_of="slack",
)
DIGESTS = {
    "digest": DIGEST,
    "digest-causes": DIGEST_OF_CAUSES,
    "digest-resolved": DIGEST_RESOLVED,
    "digest-repeated": DIGEST_REPEATED,
}
CANARY = Canary(delivery_id=908, attempt=1, uncertain=False, asked_by="ana", at=OPENED_AT)
OUTAGE = Outage(
    since=OPENED_AT - timedelta(minutes=2),
    at=OPENED_AT,
    reason='connection failed: connection to server at "10.0.0.5", port 5432 failed: Connection refused',
)

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
HOSTILE_DIGEST = replace(
    DIGEST_OF_CAUSES,
    uncertain=True,
    entries=tuple(
        replace(entry, source=HOSTILE_TEXT, summary=HOSTILE_TEXT, alert_type=HOSTILE_TEXT) for entry in _ENTRIES * 25
    ),
    causes=(DigestCause(words=HOSTILE_TEXT, count=9_000), *(DigestCause(words="", count=2),) * 20),
    instead_of=HOSTILE_TEXT,
)


def message(notification: Notification = OPENED, guidance: Guidance = GUIDANCE) -> Message:
    return compose(notification, guidance, CONTEXT)


# Every message that the service sends, by the name of its golden file.
MESSAGES = {
    **{kind: message(notification) for kind, notification in LIFE.items()},
    "unguided": message(OPENED, Guidance()),
    "blind": message(BLIND, Guidance()),
    "channel": message(CHANNEL_FAILS, Guidance()),
    "config": message(CONFIG_REJECTED, Guidance()),
    **{name: compose_digest(digest, CONTEXT) for name, digest in DIGESTS.items()},
    "canary": compose_canary(CANARY, CONTEXT),
    "outage": compose_outage(OUTAGE, CONTEXT),
}
HOSTILES = {"alert": message(HOSTILE), "digest": compose_digest(HOSTILE_DIGEST, CONTEXT)}
