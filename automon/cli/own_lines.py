"""What `automon status` says of automon itself: its channels, its services, its checks, and when it saw nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from automon.cli.delivery_screens import resume_command, state_in_words, worst_first
from automon.cli.text import age, clock, cut, local
from automon.cli.theme import State, Theme
from automon.cli.verdict import Verdict, replica_line
from automon.models import Replica
from notifiers.words import counted, duration

Document = dict[str, Any]
MOST_CHANNELS = 3
MOST_REASONS = 2
MOST_HOSTS = 3
# Days are made a week ahead; when there are fewer, something keeps automon from making them.
DAYS_AHEAD = 3
START_THE_SERVICE = "systemctl start automon, or make run"


def own_lines(summary: Document, now: datetime, verdict: Verdict, replica: Replica | None, theme: Theme) -> list[str]:
    own = summary["automon"]
    check = own["last_check"]
    failed = check is not None and check["outcome"] == "failed"
    return [
        *channel_lines(own["channels"], now, theme),
        f"AUTOMON    {_check_mark(verdict, theme, failed=failed)} {_checks(own, failed=failed)}",
        *([f"             {cut(check['error'] or '', 200)}"] if failed else []),
        *_partition_lines(own["partitions_ahead_days"], theme),
        *_blind_lines(own["blind"]),
        *([replica_line(replica)] if replica else []),
    ]


def _check_mark(verdict: Verdict, theme: Theme, *, failed: bool) -> str:
    if verdict.name in ("stale", "behind"):
        return theme.mark(State.UNKNOWN)
    return theme.mark(State.CRITICAL if failed else State.OK)


def _checks(own: Document, *, failed: bool) -> str:
    last = f"{age(own['last_check']['age_seconds'])} ago" if own["last_check"] else "never"
    every = age(own["check_every_seconds"])
    return f"{services(own)}; checks every {every}, last {last}{', FAILED' if failed else ''}"


def _partition_lines(ahead: int, theme: Theme) -> list[str]:
    if ahead >= DAYS_AHEAD:
        return []
    return [f"AUTOMON    {theme.mark(State.WARNING)} partitions are made for {ahead} days ahead only: automon doctor"]


def drift_lines(drift: Sequence[Document], theme: Theme) -> list[str]:
    """Say that what is in force is not what the config file says."""
    if not drift:
        return []
    return [
        f"CONFIG     {theme.mark(State.WARNING)} {counted(len(drift), 'value')} changed by SQL, not in the file: automon config drift"
    ]


def age_of_check(summary: Document) -> str:
    check = summary["automon"]["last_check"]
    return f"{age(check['age_seconds'])} ago" if check else "never"


def hosts_of_services(own: Document) -> list[str]:
    """Name the hosts on which services live, each with how many there are if more than one."""
    hosts = Counter(cut(service["instance"].partition(":")[0], 30) for service in own["services"])
    return [host if count == 1 else f"{host} ({count})" for host, count in hosts.items()]


def services(own: Document) -> str:
    """Say which services live: "2 services: ops-1, ops-2"."""
    names = hosts_of_services(own)
    if not names:
        return "no service runs"
    shown = names if len(names) <= MOST_HOSTS else [*names[:MOST_HOSTS], f"+{len(names) - MOST_HOSTS}"]
    return f"{counted(len(own['services']), 'service')}: {', '.join(shown)}"


def _blind_lines(blind: Document | None) -> list[str]:
    """Say when automon saw nothing within the last day: what happened then may never have been judged."""
    if blind is None:
        return []
    began, ended = local(blind["from"]), local(blind["to"])
    how = "%H:%M" if began.date() == ended.date() else "%d %b %H:%M"
    span = f"{began:{how}}–{ended:{how}} {ended.tzname()}"  # noqa: RUF001  a dash, as between numbers
    return [f"AUTOMON    was blind {span} ({duration(ended - began)}): {cut(blind['why'], 200)}"]


def channel_lines(channels: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    """Write one line for all channels that work, and one for each in trouble, which come first."""
    if not channels:
        return ["DELIVERY   no channel is known: has the service run?"]
    ordered = worst_first(channels)
    ill = [channel for channel in ordered if channel_state(channel) is not State.OK]
    shown = ill if len(ill) < MOST_CHANNELS else ill[: MOST_CHANNELS - 1]
    more = [f"DELIVERY   +{len(ill) - len(shown)} more: automon channels"] if len(shown) < len(ill) else []
    lines = [
        line
        for index, channel in enumerate(shown)
        for line in _lines_of_channel(channel, now, theme, has_room=index < MOST_REASONS)
    ]
    return [*lines, *more, *_line_of_working([one for one in ordered if one not in ill], now, theme)]


def channel_state(channel: Document) -> State:
    """Say how a channel fares; one that works and has given up messages today is not well."""
    if channel["state"] == "working":
        return State.WARNING if channel["failed_24h"] else State.OK
    return State.CRITICAL if channel["state"] == "stopped" else State.WARNING


def _lines_of_channel(channel: Document, now: datetime, theme: Theme, *, has_room: bool) -> list[str]:
    sent = f"last sent {clock(channel['last_sent_at'], now)}" if channel["last_sent_at"] else "nothing sent yet"
    works = channel["state"] == "working"
    state = sent if works else state_in_words(channel, now)
    reason = [] if works or not has_room else [f"             {cut(channel['last_error'] or '', 200)}"]
    lost = f"{channel['failed_24h']} failed" + (
        f" ({channel['expired_24h']} expired)" if channel["expired_24h"] else ""
    )
    mark = theme.mark(channel_state(channel))
    return [f"DELIVERY   {mark} {cut(channel['name'], 20)}: {state}, {channel['waiting']} waiting, {lost}", *reason]


def _line_of_working(channels: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    """Say of each channel that works when it last sent something; there is no failure to tell of."""
    if not channels:
        return []
    shown = channels[:MOST_CHANNELS]
    told = [
        f"{theme.mark(State.OK)} {cut(one['name'], 16)} {clock(one['last_sent_at'], now) if one['last_sent_at'] else 'unused'}"
        for one in shown
    ]
    more = [f"+{len(channels) - len(shown)}"] if len(shown) < len(channels) else []
    waiting = sum(channel["waiting"] for channel in channels)
    return [f"DELIVERY   {'   '.join([*told, *more])}   {waiting} waiting, 0 failed"]


def next_steps(summary: Document, alerts: Sequence[Document], verdict: Verdict) -> list[str]:
    """Name the commands that lead on."""
    stopped = [channel for channel in summary["automon"]["channels"] if channel["state"] == "stopped"]
    can_judge = verdict.name not in ("stale", "behind")
    steps = [
        *([how_to_check(summary)] if verdict.name == "stale" else []),
        *(["automon status --primary"] if verdict.name == "behind" else []),
        *([_with_meaning(f"automon explain {alerts[0]['id']}", "why it fired, what changed, what to do")] if alerts and can_judge else []),
        *([_with_meaning(f"automon ack {alerts[0]['id']}", "take it in hand, stop the reminders")] if alerts and can_judge and alerts[0]["acknowledged_at"] is None else []),
        *([resume_command(stopped[0]) if len(stopped) == 1 else "automon channels"] if stopped else []),
    ]  # fmt: skip
    return [f"{'Next:' if not index else '':5}  {step}" for index, step in enumerate(steps)]


def _with_meaning(command: str, meaning: str) -> str:
    return f"{command:<22}  {meaning}"


def how_to_check(summary: Document) -> str:
    if summary["automon"]["services"]:
        return "see why the service does not check: journalctl -u automon -p warning"
    return f"start the service: {START_THE_SERVICE}"
