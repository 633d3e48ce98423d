"""What a monitoring plugin is told: the exit code of `automon status` and `automon alerts`. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from automon.cli.options import EXIT_CANNOT_READ
from automon.cli.text import age
from automon.models import Replica

Document = dict[str, Any]
# Three rounds may be missed before the checks count as stopped: a slow one, a restart, a clock that was set.
ROUNDS_UNTIL_STALE = 3
# What is so old may hide an alert that a service has raised and told long ago.
BEHIND = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    exit_code: int

    @property
    def severity(self) -> str | None:
        """The severity that stands for it when no alert is shown."""
        return {"critical": "critical", "warning": "low"}.get(self.name)


def worst_code(alerts: Sequence[Document]) -> int:
    """0 without alerts, 1 with some, 2 with critical ones: as monitoring plugins have it."""
    if not alerts:
        return 0
    return 2 if any(alert["severity"] == "critical" for alert in alerts) else 1


def unacknowledged(alerts: Sequence[Document]) -> list[Document]:
    """Leave out the alerts that somebody has taken in hand."""
    return [alert for alert in alerts if alert["acknowledged_at"] is None]


def status_verdict(summary: Document, alerts: Sequence[Document], replica: Replica | None = None) -> Verdict:
    check = summary["automon"]["last_check"]
    stale_after = ROUNDS_UNTIL_STALE * summary["automon"]["check_every_seconds"]
    if check is None or check["age_seconds"] > stale_after:
        # Of checks that have not arrived here it cannot be said that they do not run.
        return Verdict("behind", EXIT_CANNOT_READ) if replica and replica_is_behind(replica) else Verdict("stale", 3)
    return Verdict(("ok", "warning", "critical")[worst_code(alerts)], worst_code(alerts))


def replica_is_behind(replica: Replica) -> bool:
    return replica.behind is None or replica.behind > BEHIND


def replica_line(replica: Replica) -> str:
    """Say that a replica was read, and how old what it says may be."""
    if not replica_is_behind(replica):
        return f"REPLICA    {age(replica.behind.total_seconds()) if replica.behind else '0s'} behind"
    how_far = "by an unknown time" if replica.behind is None else f"by {age(replica.behind.total_seconds())}"
    return f"REPLICA    is behind {how_far}; what it shows may be old: add --primary"


def replica_document(replica: Replica | None) -> Document | None:
    """Give what --json says of a replica; null where the service works."""
    if replica is None:
        return None
    return {"behind_seconds": None if replica.behind is None else replica.behind.total_seconds()}
