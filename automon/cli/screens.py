"""What the command line shows: from plain values to lines of at most 80 cells. Pure functions."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

Document = dict[str, Any]
MARKS = {"critical": "✗", "high": "✗", "medium": "▲", "low": "▲"}
WIDTH = 80
MOST_ALERTS = 8
MOST_CHANNELS = 3
# Three rounds may be missed before the checks count as stopped: a slow one, a restart, a clock that was set.
ROUNDS_UNTIL_STALE = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    exit_code: int


def worst_code(alerts: Sequence[Document]) -> int:
    """0 without alerts, 1 with some, 2 with critical ones: as monitoring plugins have it."""
    if not alerts:
        return 0
    return 2 if any(alert["severity"] == "critical" for alert in alerts) else 1


def status_verdict(summary: Document, alerts: Sequence[Document]) -> Verdict:
    check = summary["automon"]["last_check"]
    stale_after = ROUNDS_UNTIL_STALE * summary["automon"]["check_every_seconds"]
    if check is None or check["age_seconds"] > stale_after:
        return Verdict("stale", 3)
    return Verdict(("ok", "warning", "critical")[worst_code(alerts)], worst_code(alerts))


def status_screen(summary: Document, alerts: Sequence[Document], verdict: Verdict, now: datetime) -> str:
    sections = [
        [_headline(summary, alerts, verdict, now)],
        _alert_section(alerts),
        _counts(summary),
        _own_lines(summary),
        _next_step(alerts, verdict),
    ]
    return "\n\n".join("\n".join(clip(printable(line), WIDTH) for line in section) for section in sections if section)


def _headline(summary: Document, alerts: Sequence[Document], verdict: Verdict, now: datetime) -> str:
    local = now.astimezone()
    clock = f"{local:%H:%M} {local.tzname()}"
    if verdict.name == "stale" and summary["automon"]["last_check"] is None:
        return f"◌ AUTOMON HAS NOT CHECKED YET   {clock}"
    if verdict.name == "stale":
        return f"◌ AUTOMON IS NOT CHECKING   last check {_age_of_check(summary)}   {clock}"
    if not alerts:
        return f"✓ ALL OK   {summary['tasks']['running']} tasks running, {len(summary['queues'])} queues, {_components(summary)}   {clock}"
    counts = [
        f"{number} {severity}"
        for severity in ("critical", "high", "medium", "low")
        if (number := sum(a["severity"] == severity for a in alerts))
    ]
    return f"{MARKS[alerts[0]['severity']]} PROBLEMS   {', '.join(counts)}   {clock}"


def _age_of_check(summary: Document) -> str:
    check = summary["automon"]["last_check"]
    return f"{age(check['age_seconds'])} ago" if check else "never"


def _components(summary: Document) -> str:
    states = summary["components"]
    return f"{states['healthy']} of {sum(states.values())} components healthy"


def _alert_section(alerts: Sequence[Document]) -> list[str]:
    if not alerts:
        return []
    shown = alerts if len(alerts) <= MOST_ALERTS else alerts[: MOST_ALERTS - 1]
    more = [f"  +{len(alerts) - len(shown)} more: automon alerts"] if len(shown) < len(alerts) else []
    return ["ALERTS (worst first)", *alert_lines(shown), *more]


def alert_lines(alerts: Sequence[Document]) -> list[str]:
    return [_alert_line(alert) for alert in alerts]


def _alert_line(alert: Document) -> str:
    state = alert["status"] if alert["status"] != "acknowledged" else f"acked by {alert['acknowledged_by']}"
    left = f"{MARKS[alert['severity']]} #{alert['id']} {cut(alert['source'], 22)}  {alert['summary']}"
    right = f"{age(alert['age_seconds']):>4}  {cut(state, 14)}"
    room = WIDTH - 2 - cells(right)
    shown = cut(left, room)
    return f"{shown}{' ' * (room - cells(shown))}  {right}"


def _counts(summary: Document) -> list[str]:
    tasks, errors = summary["tasks"], summary["errors"]
    lines = [
        f"TASKS      {tasks['running']} running; last hour {tasks['completed_last_hour']} completed, {tasks['failed_last_hour']} failed",
        f"ERRORS     {errors['last_hour']} in the last hour, {errors['last_24h']} in 24 h",
        f"HEALTH     {_components(summary)}",
    ]
    queues = ", ".join(f"{queue['name']} {queue['pending']:,}" for queue in summary["queues"][:4])
    hosts = ", ".join(
        f"{host['name']} CPU {number(host['cpu_percent'])} % mem {number(host['memory_percent'])} % disk {number(host['disk_percent'])} %"
        for host in summary["hosts"][:2]
    )
    return [
        clip(line, 80)
        for line in [
            *lines,
            *([f"QUEUES     {queues} waiting"] if queues else []),
            *([f"HOSTS      {hosts}"] if hosts else []),
        ]
    ]


def _own_lines(summary: Document) -> list[str]:
    own = summary["automon"]
    check = own["last_check"]
    outcome = "" if check is None or check["outcome"] != "failed" else f", FAILED: {check['error']}"
    return [
        *_channel_lines(own["channels"]),
        f"AUTOMON    last check {_age_of_check(summary)}{outcome}; partitions {own['partitions_ahead_days']} days ahead",
    ]


def _channel_lines(channels: Sequence[Document]) -> list[str]:
    """Write a line for each channel, those in trouble first; what the screen has no room for is counted."""
    if not channels:
        return ["DELIVERY   no channel is known: has the service run?"]
    ordered = sorted(channels, key=lambda channel: not _is_in_trouble(channel))
    shown = ordered if len(ordered) <= MOST_CHANNELS else ordered[: MOST_CHANNELS - 1]
    more = [f"DELIVERY   +{len(ordered) - len(shown)} more: automon status --json"] if shown != ordered else []
    return [*map(_channel_line, shown), *more]


def _is_in_trouble(channel: Document) -> bool:
    return bool(channel["failed_24h"] or (channel["last_error"] and channel["waiting"]))


def _channel_line(channel: Document) -> str:
    sent = (
        f"last sent {datetime.fromisoformat(channel['last_sent_at']).astimezone():%d %b %H:%M}"
        if channel["last_sent_at"]
        else "nothing sent yet"
    )
    mark = "✗" if _is_in_trouble(channel) else "✓"
    trouble = f"; {channel['last_error']}" if channel["last_error"] and mark == "✗" else ""
    return f"DELIVERY   {mark} {channel['name']}: {sent}, {channel['waiting']} waiting, {channel['failed_24h']} failed{trouble}"


def _next_step(alerts: Sequence[Document], verdict: Verdict) -> list[str]:
    if verdict.name == "stale":
        return ["Next:  start the service: systemctl start automon, or make run"]
    return [f"Next:  automon explain {alerts[0]['id']}"] if alerts else []


def explain_screen(story: Document) -> str:
    until = story["resolved_at"]
    state = "resolved" if until else "acknowledged" if story["acknowledged_at"] else "open"
    lasted = (datetime.fromisoformat(until) if until else datetime.now().astimezone()) - datetime.fromisoformat(
        story["opened_at"]
    )
    lines = [
        f"{MARKS[story['severity']]} #{story['id']} {story['severity'].upper()}  {story['source']}: {story['summary']}",
        f"  {state}, {story['alert_type']}, since {when(story['opened_at'])}, {'lasted' if until else 'for'} {age(lasted.total_seconds())}"
        + ("; silenced" if story["is_silenced"] else ""),
        f"  worst      {story['peak_summary']} at {when(story['peak_at'])}",
    ]
    all_lines = [
        *lines,
        *_evidence_lines(story["evidence"]),
        "What happened",
        *_transition_lines(story["transitions"]),
        *_how_to_stop(story),
    ]
    return "\n".join(map(printable, all_lines))


def _evidence_lines(evidence: Document) -> list[str]:
    top = [
        f"  {row['count']:>5}x  {row['what']}  {cut(row['message'] or '', 60)}{'  on ' + row['where'] if row['where'] else ''}"
        for row in evidence.get("top") or []
    ]
    return [f"  measured   {evidence['measured']}"] * ("measured" in evidence) + (
        ["What was seen", *top] if top else []
    )


def _transition_lines(transitions: Sequence[Document]) -> list[str]:
    return [line for transition in transitions for line in _told(transition)]


def _told(transition: Document) -> list[str]:
    by = f" by {transition['actor']}" if transition["actor"] else ""
    note = f' "{transition["note"]}"' if transition["note"] else ""
    first = f"  {when(transition['at'])}  {transition['kind']:<12} {transition['severity']}: {transition['summary']}{by}{note}"
    return [
        first,
        *(
            f"      {d['channel']}: {d['status']} after {d['attempts']} attempts {d['last_error'] or ''}".rstrip()
            for d in transition["deliveries"]
        ),
    ]


def _how_to_stop(story: Document) -> list[str]:
    if story["resolved_at"]:
        return []
    return [f"Next:  automon ack {story['id']}", f"       automon silence {shlex.quote(story['source'])} 2h"]


def age(seconds: float) -> str:
    """Write a span as 18s, 5m, 3h or 2d."""
    for unit, length in (("d", 172800), ("h", 7200), ("m", 120)):
        if seconds >= length:
            return f"{int(seconds // {'d': 86400, 'h': 3600, 'm': 60}[unit])}{unit}"
    return f"{int(seconds)}s"


def when(iso: str) -> str:
    moment = datetime.fromisoformat(iso).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def cut(text: str, width: int) -> str:
    """Make one line of at most `width` cells of a text that somebody else wrote."""
    return clip(" ".join(printable(text).split()), width)


def clip(line: str, width: int) -> str:
    """Keep a line within `width` cells; what is cut off shows as an ellipsis."""
    if cells(line) <= width:
        return line
    ends = enumerate(accumulate(map(cells, line)))
    return line[: next(index for index, end in ends if end > width - 1)] + "…"


def printable(line: str) -> str:
    """Take out what a terminal would obey instead of showing: a task's error message may hold anything."""
    return "".join(character if character.isprintable() else " " if character.isspace() else "" for character in line)


def cells(text: str) -> int:
    """Count the columns that a terminal gives to a text: two to a Chinese character, none to a combining accent."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
