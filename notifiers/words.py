"""Every word that a message says, so that they can be read, judged and changed in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum

from automon.models import Severity, TransitionKind

APP = "automon"
SEPARATOR = " · "
RUNBOOK = "runbook"
TEST_STATE = "TEST"
TEST_SUMMARY = "this is a test, nothing is wrong"
TEST_RECEIVED = "this channel works: alerts will arrive here"
CANARY_SUMMARY = "canary, nothing is wrong"
CANARY_RECEIVED = "the whole way works, from the database to you: alerts will arrive here"
OUTAGE_IMPACT = "nothing is checked, and no alert can be raised or delivered until it is back"
OUTAGE_NEXT = "automon goes on by itself when the database answers, and tells how long it was blind"
UNKNOWN_CAUSE = "cause unknown"


class Label(StrEnum):
    """What stands before a line; at most eight characters, so that the lines form two columns."""

    IMPACT = "Impact"
    SEEN = "Seen"
    TREND = "Trend"
    CAUSE = "Cause?"  # the question mark stays: the most frequent error is a hint, not a proof
    NEXT = "Next"
    OPEN = "Open"
    ALERTS = "Alerts"
    WORST = "Worst"
    LEFT = "Left"
    WHO = "Who"
    ALSO = "Also"
    INSTEAD = "Instead"
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
    "critical_errors": "critical errors",
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
    "automon_job": "automon job",
    "automon_channel": "automon channel",
    "automon_blind": "automon blind",
    "automon_config": "automon config",
    "automon_storage": "automon storage",
}
BLIND = "automon_blind"
# What automon says of itself.
OWN_TYPES = frozenset({"automon_job", "automon_channel", "automon_config", "automon_storage", BLIND})

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
# What became of the alerts of a digest: "12 still open, 200 resolved".
BECAME = {**HAPPENED, TransitionKind.REMINDED: "still open"}
MOST_KINDS = 2  # as many as a headline has room for


def runbook_command(alert_type: str) -> str:
    """Name the command that prints what to do about a type of alert; nothing for a type that has no page."""
    return f"{APP} {RUNBOOK} {alert_type}" if alert_type in ALERT_TYPES else ""


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


def digest_kind(kinds: Iterable[TransitionKind]) -> TransitionKind:
    """Say what a digest as a whole is: over, in somebody's hands, or, for all else, open."""
    left = set(kinds) - {TransitionKind.RESOLVED}
    if not left:
        return TransitionKind.RESOLVED
    return TransitionKind.ACKNOWLEDGED if left == {TransitionKind.ACKNOWLEDGED} else TransitionKind.OPENED


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


def counted(count: int, thing: str) -> str:
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def more(count: int, thing: str = "") -> str:
    return f"+{counted(count, f'more {thing}')}" if thing else f"+{number(count)} more"


def became(alerts: int, kinds: Mapping[TransitionKind, int], state: str) -> str:
    """Count the alerts of a digest for its headline: "500 alerts opened, 200 resolved", less what the state says."""
    if not 0 < len(kinds) <= MOST_KINDS:
        return f"{counted(alerts, 'alert')} changed"
    (kind, count), *others = kinds.items()
    word = "" if state == BECAME[kind].upper() else f" {BECAME[kind]}"
    return ", ".join([f"{counted(count, 'alert')}{word}", *kinds_words(others)])


def levels(counts: Mapping[Severity, int]) -> str:
    """Count by severity, the worst first: "12 CRITICAL, 800 HIGH"."""
    worst_first = sorted(counts, key=lambda severity: severity.rank, reverse=True)
    return ", ".join(f"{number(counts[one])} {one.value.upper()}" for one in worst_first if counts[one])


def kinds_words(kinds: Iterable[tuple[TransitionKind, int]]) -> list[str]:
    return [f"{number(count)} {BECAME[kind]}" for kind, count in kinds]


def change(first: float, last: float, span: timedelta) -> str:
    return f"{number(first)} → {number(last)} in {duration(span)}"


def may_be_repeat(delivery_id: int) -> str:
    return f"an earlier try may have arrived already ({delivery(delivery_id)})"


def delivery(delivery_id: int) -> str:
    return f"delivery {delivery_id}"


def instead_of(channel: str) -> str:
    return f"of {channel}, which could not deliver this"


def unanswered(span: timedelta) -> str:
    return f"the database has not answered for {duration(span)}"
