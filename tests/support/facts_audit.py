"""Compares what applications were told is safe with what is in the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]
Line = dict[str, Any]

# A moment lies between the two looks at the clock around the call, but for what numbers of seconds cannot hold.
ROUNDING = 0.000_002
_SHOWN = 5

# How often each key of a kind is there.
COUNTS = {
    "start": "SELECT task_id, count(*) FROM processing_metrics GROUP BY task_id",
    "error": "SELECT error_message, count(*) FROM error_tracking GROUP BY error_message",
    "metric": (
        "SELECT component || '-' || value::bigint, count(*) FROM performance_monitoring WHERE metric_name = 'torture'"
        " GROUP BY component, value"
    ),
    "queue": "SELECT queue_name || '-' || pending, count(*) FROM queue_monitoring GROUP BY queue_name, pending",
}
TASKS = (
    "SELECT task_id, status, extract(epoch FROM start_time)::float8, extract(epoch FROM end_time)::float8, output_size = input_size"
    " FROM processing_metrics"
)
HEALTH = (
    "SELECT component_name, status, extract(epoch FROM started_at)::float8, extract(epoch FROM last_reported_at)::float8, (details->>'number')::bigint,"
    " report_count FROM system_health ORDER BY component_name, started_at, id"
)


@dataclass(frozen=True, kw_only=True)
class FactsAudit:
    """What an audit has found; a list names what it is about, a number only counts.

    `lost` was acknowledged and is not there, `doubled` is there more often than it was said, `invented` was never said.
    `mangled` are tasks whose calls were acknowledged and which are not as these said. `refused` are calls that answered False.
    """

    acknowledged: int
    refused: int
    lost: Sequence[str]
    doubled: Sequence[str]
    invented: Sequence[str]
    mangled: Sequence[str]
    out_of_order: Sequence[str]
    campaign: str = ""
    restarts: int = 0
    seconds: float = 0

    HEADINGS: ClassVar[tuple[str, ...]] = (
        "campaign", "seconds", "restarts", "acknowledged", "refused", "lost", "doubled", "mangled", "out of order",
    )  # fmt: skip

    def table_row(self) -> tuple[str, ...]:
        numbers = (self.restarts, self.acknowledged, self.refused)
        lists = (self.lost, self.doubled, self.mangled, self.out_of_order)
        return (
            self.campaign,
            f"{self.seconds:.1f}",
            *(f"{number:,}" for number in numbers),
            *(f"{len(one):,}" for one in lists),
        )

    def faults(self) -> dict[str, Sequence[str]]:
        """Give the first few of each kind of fault that there is; empty when everything is there once."""
        names = ("lost", "doubled", "invented", "mangled", "out_of_order")
        found = {name: getattr(self, name) for name in names}
        return {f"{name} ({len(these)})": these[:_SHOWN] for name, these in found.items() if these}


def read_journals(folder: Path) -> list[Line]:
    """Read what all processes wrote down, each in its order."""
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def audit_facts(
    connection: Connection, lines: Sequence[Line], *, campaign: str = "", restarts: int = 0, seconds: float = 0
) -> FactsAudit:
    acknowledged = [line for line in lines if line["said"] == "acknowledged"]
    lost, doubled, invented = _once(connection, lines)
    health_lost, health_doubled, out_of_order = _health(connection, lines)
    return FactsAudit(
        acknowledged=len(acknowledged),
        refused=sum(line["said"] == "refused" for line in lines),
        lost=[*lost, *health_lost],
        doubled=[*doubled, *health_doubled],
        invented=invented,
        mangled=list(_mangled(connection, acknowledged)),
        out_of_order=out_of_order,
        campaign=campaign,
        restarts=restarts,
        seconds=seconds,
    )


def _once(connection: Connection, lines: Sequence[Line]) -> tuple[list[str], list[str], list[str]]:
    lost, doubled, invented = [], [], []
    for kind, query in COUNTS.items():
        kinds = ("start", "end") if kind == "start" else (kind,)
        said = {state: {line["key"] for line in lines if line["kind"] in kinds and line["said"] == state} for state in ("tried", "acknowledged")}  # fmt: skip
        there: dict[str, int] = dict(connection.execute(query.encode()).fetchall())
        lost += [f"{kind} {key}" for key in sorted(said["acknowledged"] - there.keys())]
        doubled += [f"{kind} {key}" for key, count in there.items() if count > 1]
        invented += [f"{kind} {key}" for key in there.keys() - said["tried"]]
    return lost, doubled, invented


def _mangled(connection: Connection, acknowledged: Iterable[Line]) -> Iterable[str]:
    calls = {(line["kind"], line["key"]): line for line in acknowledged if line["kind"] in ("start", "end")}
    for task_id, status, started_at, ended_at, has_its_sizes in connection.execute(TASKS.encode()).fetchall():
        start, end = calls.get(("start", task_id)), calls.get(("end", task_id))
        if start and not _within(started_at, start):
            yield f"{task_id} did not start at {started_at}"
        if end and not (status == "completed" and has_its_sizes and _within(ended_at, end)):
            yield f"{task_id} is {status} since {ended_at}"


def _within(moment: float | None, call: Line) -> bool:
    return moment is not None and call["began"] - ROUNDING <= moment <= call["ended"] + ROUNDING


def _health(connection: Connection, lines: Sequence[Line]) -> tuple[list[str], list[str], list[str]]:
    """Compare the history of states: it must cover each report, count none twice, and go forward."""
    intervals = connection.execute(HEALTH.encode()).fetchall()
    lost = [
        f"health {line['key']}"
        for line in lines
        if line["kind"] == "health"
        and line["said"] == "acknowledged"
        and not any(_covers(row, line) for row in intervals)
    ]
    tries = Counter(
        line["key"].rpartition("-")[0] for line in lines if line["kind"] == "health" and line["said"] == "tried"
    )
    counted: Counter[str] = Counter()
    for component, *_, reports in intervals:
        counted[component] += reports
    doubled = [f"health of {component}" for component, reports in counted.items() if reports > tries[component]]
    out_of_order = [
        f"health {after[0]}-{after[4]} after {before[4]}"
        for before, after in pairwise(intervals)
        if before[0] == after[0] and before[4] >= after[4]
    ]
    return lost, doubled, out_of_order


def _covers(interval: tuple[Any, ...], line: Line) -> bool:
    component, state, started_at, last_reported_at, *_ = interval
    return bool(
        component == line["component"]
        and state == line["state"]
        and started_at <= line["ended"] + ROUNDING
        and last_reported_at >= line["began"] - ROUNDING
    )
