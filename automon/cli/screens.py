"""What the command line shows of alerts and of automon itself: from plain values to lines of a terminal. Pure functions."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from automon.cli.delivery_screens import (
    CHANNEL_MARKS,
    delivery_mark,
    place,
    resume_command,
    state_in_words,
    with_several_recipients,
    worst_first,
)
from automon.cli.options import EXIT_CANNOT_READ
from automon.cli.text import WIDTH, age, cells, clip, clock, cut, local, number, printable, when
from automon.models import Replica
from notifiers.words import counted, duration

if TYPE_CHECKING:
    from automon.table_locks import Rehearsal, TableLock

Document = dict[str, Any]
MARKS = {"critical": "✗", "high": "✗", "medium": "▲", "low": "▲"}
STATES = {"pending": "waiting", "sending": "being sent", "grouped": "told in a digest"}
HEIGHT = 24
MOST_ALERTS = 8
MOST_CHANNELS = 3
MOST_REASONS = 2
MOST_HOSTS = 3
# Three rounds may be missed before the checks count as stopped: a slow one, a restart, a clock that was set.
ROUNDS_UNTIL_STALE = 3
START_THE_SERVICE = "systemctl start automon, or make run"


# What is so old may hide an alert that a service has raised and told long ago.
BEHIND = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    exit_code: int


def worst_code(alerts: Sequence[Document]) -> int:
    """0 without alerts, 1 with some, 2 with critical ones: as monitoring plugins have it."""
    if not alerts:
        return 0
    return 2 if any(alert["severity"] == "critical" for alert in alerts) else 1


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


def status_verdict(summary: Document, alerts: Sequence[Document], replica: Replica | None = None) -> Verdict:
    check = summary["automon"]["last_check"]
    stale_after = ROUNDS_UNTIL_STALE * summary["automon"]["check_every_seconds"]
    if check is None or check["age_seconds"] > stale_after:
        # Of checks that have not arrived here it cannot be said that they do not run.
        return Verdict("behind", EXIT_CANNOT_READ) if replica and replica_is_behind(replica) else Verdict("stale", 3)
    return Verdict(("ok", "warning", "critical")[worst_code(alerts)], worst_code(alerts))


def status_screen(
    summary: Document, alerts: Sequence[Document], verdict: Verdict, now: datetime, replica: Replica | None = None
) -> str:
    head = [_headline(summary, alerts, verdict, now)]
    sections = [_counts(summary), _own_lines(summary, now, replica), _next_step(summary, alerts, verdict)]
    below = [section for section in sections if section]
    # An empty line stands above each section but the first.
    room = HEIGHT - len(head) - sum(1 + len(section) for section in below) - 1
    shown = [head, *([_alert_section(alerts, room)] if alerts else []), *below]
    return "\n\n".join("\n".join(clip(printable(line), WIDTH) for line in section) for section in shown)


def _headline(summary: Document, alerts: Sequence[Document], verdict: Verdict, now: datetime) -> str:
    here = now.astimezone()
    time = f"{here:%H:%M} {here.tzname()}"
    if verdict.name == "behind":
        return f"◌ THE REPLICA IS BEHIND   last check that it knows {_age_of_check(summary)}   {time}"
    if verdict.name == "stale" and summary["automon"]["last_check"] is None:
        return f"◌ AUTOMON HAS NOT CHECKED YET   {time}"
    if verdict.name == "stale":
        return f"◌ AUTOMON IS NOT CHECKING   {_services(summary)}; last check {_age_of_check(summary)}   {time}"
    if not alerts:
        return f"✓ ALL OK   {summary['tasks']['running']} tasks running, {len(summary['queues'])} queues, {_components(summary)}   {time}"
    counts = [
        f"{number} {severity}"
        for severity in ("critical", "high", "medium", "low")
        if (number := sum(a["severity"] == severity for a in alerts))
    ]
    return f"{MARKS[alerts[0]['severity']]} PROBLEMS   {', '.join(counts)}   {time}"


def _age_of_check(summary: Document) -> str:
    check = summary["automon"]["last_check"]
    return f"{age(check['age_seconds'])} ago" if check else "never"


def _components(summary: Document) -> str:
    states = summary["components"]
    return f"{states['healthy']} of {sum(states.values())} components healthy"


def _alert_section(alerts: Sequence[Document], room: int) -> list[str]:
    most = min(MOST_ALERTS, room - 1)
    shown = alerts if len(alerts) <= most else alerts[: most - 1]
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


def _own_lines(summary: Document, now: datetime, replica: Replica | None) -> list[str]:
    own = summary["automon"]
    check = own["last_check"]
    failed = check is not None and check["outcome"] == "failed"
    return [
        *_channel_lines(own["channels"], now),
        f"AUTOMON    {_services(summary)}; last check {_age_of_check(summary)}{', FAILED' if failed else ''}; partitions {own['partitions_ahead_days']} days ahead",
        *([f"             {check['error']}"] if failed else []),
        *_blind_lines(own["blind"]),
        *([replica_line(replica)] if replica else []),
    ]


def _services(summary: Document) -> str:
    """Say which services live, by their hosts: "2 services: ops-1, ops-2"."""
    services = summary["automon"]["services"]
    if not services:
        return "no service runs"
    hosts = Counter(service["instance"].partition(":")[0] for service in services)
    names = [host if count == 1 else f"{host} ({count})" for host, count in hosts.items()]
    shown = names if len(names) <= MOST_HOSTS else [*names[:MOST_HOSTS], f"+{len(names) - MOST_HOSTS}"]
    return f"{counted(len(services), 'service')}: {', '.join(shown)}"


def _blind_lines(blind: Document | None) -> list[str]:
    """Say when automon saw nothing within the last day: what happened then may never have been judged."""
    if blind is None:
        return []
    began, ended = local(blind["from"]), local(blind["to"])
    how = "%H:%M" if began.date() == ended.date() else "%d %b %H:%M"
    span = f"{began:{how}}–{ended:{how}} {ended.tzname()}"  # noqa: RUF001  a dash, as between numbers
    return [f"AUTOMON    was blind {span} ({duration(ended - began)}): {blind['why']}"]


def _channel_lines(channels: Sequence[Document], now: datetime) -> list[str]:
    """Write a line for each channel, those in trouble first; what the screen has no room for is counted."""
    if not channels:
        return ["DELIVERY   no channel is known: has the service run?"]
    ordered = sorted(worst_first(channels), key=lambda channel: channel_mark(channel) == CHANNEL_MARKS["working"])
    shown = ordered if len(ordered) <= MOST_CHANNELS else ordered[: MOST_CHANNELS - 1]
    more = [f"DELIVERY   +{len(ordered) - len(shown)} more: automon channels"] if shown != ordered else []
    lines = [
        line
        for index, channel in enumerate(shown)
        for line in _lines_of_channel(channel, now, has_room=index < MOST_REASONS)
    ]
    return [*lines, *more]


def channel_mark(channel: Document) -> str:
    """Give the shape of a channel's state; one that works and has given up messages today is not well."""
    lost = channel["state"] == "working" and channel["failed_24h"]
    return CHANNEL_MARKS["failing" if lost else channel["state"]]


def _lines_of_channel(channel: Document, now: datetime, *, has_room: bool) -> list[str]:
    sent = f"last sent {clock(channel['last_sent_at'], now)}" if channel["last_sent_at"] else "nothing sent yet"
    works = channel["state"] == "working"
    state = sent if works else state_in_words(channel, now)
    reason = [] if works or not has_room else [f"             {channel['last_error']}"]
    return [
        f"DELIVERY   {channel_mark(channel)} {channel['name']}: {state}, {channel['waiting']} waiting, {_lost(channel)}",
        *reason,
    ]


def _lost(channel: Document) -> str:
    expired = f" ({channel['expired_24h']} expired)" if channel["expired_24h"] else ""
    return f"{channel['failed_24h']} failed{expired}"


def _next_step(summary: Document, alerts: Sequence[Document], verdict: Verdict) -> list[str]:
    stopped = [channel for channel in summary["automon"]["channels"] if channel["state"] == "stopped"]
    steps = [
        *([_how_to_check(summary)] if verdict.name == "stale" else []),
        *(["automon status --primary"] if verdict.name == "behind" else []),
        *([f"automon explain {alerts[0]['id']}"] if alerts and verdict.name not in ("stale", "behind") else []),
        *([resume_command(stopped[0]) if len(stopped) == 1 else "automon channels"] if stopped else []),
    ]
    return [f"{'Next:' if not index else '':5}  {step}" for index, step in enumerate(steps)]


def _how_to_check(summary: Document) -> str:
    if summary["automon"]["services"]:
        return "see why the service does not check: journalctl -u automon -p warning"
    return f"start the service: {START_THE_SERVICE}"


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
    several = with_several_recipients(transition["deliveries"])
    return [first, *(_delivery_line(delivery, several) for delivery in transition["deliveries"])]


def _delivery_line(delivery: Document, several: frozenset[str]) -> str:
    status = STATES.get(delivery["status"], delivery["status"])
    tried = delivery["attempts"] or delivery["status"] == "pending"
    words = [
        status,
        f"in digest {delivery['digest_id']}" if delivery["digest_id"] else "",
        f"after {counted(delivery['attempts'], 'attempt')}" if tried else "",
        f"instead of {delivery['instead_of']}" if delivery["instead_of"] else "",
    ]
    why = f": {delivery['last_error']}" if delivery["last_error"] else ""
    return (
        f"      {delivery_mark(delivery)} {place(delivery, several)}: {' '.join(word for word in words if word)}{why}"
    )


def _how_to_stop(story: Document) -> list[str]:
    if story["resolved_at"]:
        return []
    return [f"Next:  automon ack {story['id']}", f"       automon silence {shlex.quote(story['source'])} 2h"]


def rehearsal_screen(rehearsal: Rehearsal) -> str:
    """Say what a migration would do, after it was done and taken back."""
    if not rehearsal.files:
        return "nothing to do, the schema is up to date"
    locks = [_lock_line(lock) for lock in rehearsal.locks] or ["none that anybody waits for"]
    lines = [
        "dry run, nothing was changed",
        f"from   {rehearsal.from_file or 'nothing'}",
        f"to     {rehearsal.to_file}",
        *_under("files", rehearsal.files),
        f"took   {rehearsal.seconds:.2f} s",
        *_under("locks", locks),
        "The locks, on tables with data, were held for a moment of that time; a migration holds them as long.",
    ]
    return "\n".join(lines)


def _under(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{'' if index else head:<6} {line}" for index, line in enumerate(lines)]


def _lock_line(lock: TableLock) -> str:
    partitions = f" and {counted(lock.relations - 1, 'partition')}" if lock.relations > 1 else ""
    return f"{lock.mode} on {lock.table}{partitions}: {lock.means}"
