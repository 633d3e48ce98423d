"""What the parts hand to each other: frozen, and named as the database names it.

Evidence, as the SQL functions write it and the notifiers show it, is one shape for every check:

    measured     text: what was counted, in words, without times ("12 of 40 runs failed")
    window_from  ISO time: where the measurement began       window_to  ISO time: where it ended
    trend        {"values": [number, …] oldest first, "step_seconds": number, "of": "errors"}
    top          [{"count", "what", "message", "where", "first_at", "last_at", "sample"}, …] most frequent first:
                 what = error type, task type or step; where = worker or component; sample = a task id
    totals       {"name": number, …}
    left         text, on a resolved transition only: what was not repaired ("61 failed tasks were not repeated")
    next         text, on alerts about automon itself only: the command that helps ("automon channels resume slack")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 (low) to 4 (critical), as `severity_rank` in the schema."""
        return list(Severity).index(self) + 1


class TransitionKind(StrEnum):
    OPENED = "opened"
    ESCALATED = "escalated"
    EASED = "eased"
    ACKNOWLEDGED = "acknowledged"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAlert:
    """An alert that is open now, in the few words that a list has room for."""

    alert_id: int
    alert_type: str
    source: str
    severity: Severity
    summary: str
    opened_at: datetime
    acknowledged_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One transition of one alert, with all that a message about it may say. Times are aware.

    `summary` is what the check says in words, limit included ("112 errors in the last hour (limit 100)");
    on a resolved transition it says what is measured now. `attempt` counts from 1.
    `uncertain` is true when an earlier attempt may have arrived, so that the message can say it may be a repeat.
    `instead_of` names the channel that could not say this; empty when the message was meant for this one.
    """

    delivery_id: int
    attempt: int
    uncertain: bool
    alert_id: int
    alert_type: str
    source: str
    kind: TransitionKind
    at: datetime
    severity: Severity
    previous_severity: Severity | None
    summary: str
    value: float | None
    threshold: float | None
    unit: str
    evidence: Mapping[str, Any]
    opened_at: datetime
    peak_severity: Severity
    peak_summary: str
    peak_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_note: str | None = None
    actor: str | None = None
    note: str | None = None
    also_open: tuple[OpenAlert, ...] = ()
    instead_of: str = ""

    @property
    def open_for(self) -> timedelta:
        return self.at - self.opened_at


@dataclass(frozen=True, kw_only=True, slots=True)
class DigestEntry:
    """One alert of a digest, as the newest of its transitions there left it."""

    alert_id: int
    alert_type: str
    source: str
    kind: TransitionKind
    severity: Severity
    summary: str
    opened_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DigestCause:
    """What alerts of a digest have in common, in words, and how many alerts that are (1 or more)."""

    words: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """Many transitions in one message. Times are aware; `at` is the newest transition's, `first_at` the oldest's.

    `alerts` counts alerts, `transitions` their changes. `kinds` counts alerts by the newest of their changes here, and
    `severities` those of them that are not resolved. `entries` are the worst, worst first; `causes` the most frequent,
    most frequent first, `more_causes` those that are not named. All causes together cover all alerts.
    """

    delivery_id: int
    attempt: int
    uncertain: bool
    at: datetime
    first_at: datetime
    alerts: int
    transitions: int
    kinds: Mapping[TransitionKind, int]
    severities: Mapping[Severity, int]
    entries: tuple[DigestEntry, ...]
    causes: tuple[DigestCause, ...]
    more_causes: int = 0
    instead_of: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A message that somebody asked for, to see that a channel works all the way."""

    delivery_id: int
    attempt: int
    uncertain: bool
    asked_by: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """The database does not answer: told by the service itself, for no delivery can be written."""

    since: datetime
    at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """A server that repeats what another has committed; `behind` is None when it cannot say how far."""

    behind: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """What the config says about a kind of alert; an empty text leaves its line out of the message."""

    impact: str = ""
    next_step: str = ""
    runbook: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSample:
    """What one look at the host found. `values` is what `record_host_sample` stores as it is."""

    host: str
    sampled_at: datetime
    values: Mapping[str, Any] = field(default_factory=dict)
