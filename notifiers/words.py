"""Every word that a message says, so that they can be read, judged and changed in one place."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from automon.models import Severity, TransitionKind

APP = "automon"
SEPARATOR = " · "
RUNBOOK = "runbook"
TEST_STATE = "TEST"
TEST_SUMMARY = "this is a test, nothing is wrong"
TEST_RECEIVED = "this channel works: alerts will arrive here"


class Label(StrEnum):
    """What stands before a line; at most eight characters, so that the lines form two columns."""

    IMPACT = "Impact"
    SEEN = "Seen"
    TREND = "Trend"
    CAUSE = "Cause?"  # the question mark stays: the most frequent error is a hint, not a proof
    NEXT = "Next"
    OPEN = "Open"
    WORST = "Worst"
    LEFT = "Left"
    WHO = "Who"
    ALSO = "Also"
    STOP = "Stop"
    LOOK = "Look"
    REPEAT = "Repeat?"


class Mark(StrEnum):
    """The shape of a state. It stands beside the word, because colour alone says nothing to one reader in twelve."""

    ALARM = "alarm"
    WARNING = "warning"
    TAKEN = "taken"
    GOOD = "good"

    @property
    def glyph(self) -> str:
        return {"alarm": "✗", "warning": "▲", "taken": "◐", "good": "✓"}[self]

    @property
    def emoji(self) -> str:
        return {"alarm": "🛑", "warning": "⚠️", "taken": "👀", "good": "✅"}[self]


ALERT_TYPES = {
    "error_rate": "error rate",
    "failure_rate": "failure rate",
    "processing_time": "processing time",
    "running_time": "running time",
    "component_health": "component health",
    "component_silence": "component silent",
    "response_time": "response time",
    "queue_backlog": "queue backlog",
    "queue_silence": "queue silent",
    "host_cpu": "host CPU",
    "host_memory": "host memory",
    "host_disk": "host disk",
    "host_silence": "host silent",
    "job_failure": "automon job",
}

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Past tense, for the footer: "opened 14:02 · escalated 14:32 CET".
HAPPENED = {
    TransitionKind.OPENED: "opened",
    TransitionKind.ESCALATED: "escalated",
    TransitionKind.EASED: "eased",
    TransitionKind.ACKNOWLEDGED: "acknowledged",
    TransitionKind.REMINDED: "reminded",
    TransitionKind.RESOLVED: "resolved",
}


def alert_type_words(alert_type: str) -> str:
    return ALERT_TYPES.get(alert_type, alert_type.replace("_", " "))


def state_words(kind: TransitionKind, severity: Severity) -> str:
    """Say the state as the first words of a headline and the bracket of a mail's subject."""
    level = severity.value.upper()
    return {
        TransitionKind.OPENED: level,
        TransitionKind.ESCALATED: f"ESCALATED to {level}",
        TransitionKind.EASED: f"EASED to {level}",
        TransitionKind.REMINDED: f"STILL OPEN, {level}",
        TransitionKind.ACKNOWLEDGED: "ACKNOWLEDGED",
        TransitionKind.RESOLVED: "RESOLVED",
    }[kind]


def mark(kind: TransitionKind, severity: Severity) -> Mark:
    if kind is TransitionKind.RESOLVED:
        return Mark.GOOD
    if kind is TransitionKind.ACKNOWLEDGED:
        return Mark.TAKEN
    return Mark.ALARM if severity.rank >= Severity.HIGH.rank else Mark.WARNING


def number(value: float) -> str:
    """Write a number for a reader: thousands separated, at most two decimals, two significant digits when tiny."""
    if value != 0 and abs(value) < 0.01:
        return f"{value:.2g}"
    decimals = 0 if abs(value) >= 100 else 2
    digits = f"{value:,.{decimals}f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def duration(span: timedelta) -> str:
    """Write a duration in its two largest units: "45 s", "51 min", "3 h 5 min", "2 d 4 h"."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return _two(f"{hours} h", minutes % 60, "min")
    return _two(f"{hours // 24} d", hours % 24, "h")


def _two(first: str, rest: int, unit: str) -> str:
    return f"{first} {rest} {unit}" if rest else first


def reminds(every: timedelta) -> str:
    often = {timedelta(hours=1): "hourly", timedelta(days=1): "daily"}.get(every, f"every {duration(every)}")
    return f"reminds {often} until acknowledged"


def more(count: int) -> str:
    return f"+{count} more"


def change(first: float, last: float, span: timedelta) -> str:
    return f"{number(first)} → {number(last)} in {duration(span)}"


def may_be_repeat(delivery_id: int) -> str:
    return f"an earlier try may have arrived already (delivery {delivery_id})"
