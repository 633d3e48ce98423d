"""Facts as text: what is sent to the database, and kept on disk when it is away."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from monitoring_client.facts import Fact

MOMENTS = ("at", "started_at", "ended_at")


class Row(NamedTuple):
    """One fact as JSON. `number` is its place in the spool, 0 outside of it. `run` names the run of a task that this belongs to."""

    number: int
    kind: str
    run: str
    at_is_ours: bool
    body: str


def encode(facts: Iterable[Fact]) -> list[Row]:
    """Write facts as rows, in their order, without the starts of runs that end here as well: the end says when and how they began."""
    facts = list(facts)
    ended = {(fact.body["task_id"], fact.body["started_at"]) for fact in facts if fact.kind == "task"}
    return [
        _row(fact) for fact in facts if fact.kind != "start" or (fact.body["task_id"], fact.body["at"]) not in ended
    ]


def condense(rows: list[Row]) -> list[Row]:
    """Leave out the starts of runs that end here as well, as `encode` does."""
    ended = {row.run for row in rows if row.kind == "task"}
    return [row for row in rows if row.kind != "start" or row.run not in ended]


def moved(row: Row, by: timedelta) -> Row:
    """Give the row with its moments moved by that."""
    body = json.loads(row.body)
    for name in MOMENTS:
        if name in body:
            body[name] = (datetime.fromisoformat(body[name]) + by).isoformat()
    return row._replace(body=_json(body))


def latest_moment(row: Row) -> datetime:
    body = json.loads(row.body)
    return max(datetime.fromisoformat(body[name]) for name in MOMENTS if name in body)


def _row(fact: Fact) -> Row:
    kind, body, at_is_ours, _ = fact
    said = {key: value for key, value in body.items() if value is not None}
    run = ""
    if kind == "task":
        said["started_at"] = started_at = said["started_at"].isoformat()
        said["ended_at"] = said["ended_at"].isoformat()
        run = f"{started_at} {said['task_id']!a}"
    else:
        said["at"] = at = said["at"].isoformat()
        if kind == "start":
            run = f"{at} {said['task_id']!a}"
        if kind not in ("error", "metric"):
            said["fact"] = kind
    return Row(0, kind, run, at_is_ours, _json(said))


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _json(body: object) -> str:
    text = _encoder.encode(body)
    # What PostgreSQL cannot hold in a text is replaced: NUL, and halves of surrogate pairs.
    if "\\u0000" in text:
        text = _encoder.encode(_without_nul(body))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return [_without_nul(item) for item in value] if isinstance(value, list) else value
