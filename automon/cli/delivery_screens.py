"""What the command line shows of messages and of the channels that they take. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automon.cli.text import (
    NEAR,
    WIDTH,
    age,
    cells,
    clip,
    clock,
    clock_or_day,
    cut,
    local,
    padded,
    printable,
    took,
    wrapped,
)
from notifiers.words import OWN_TYPES, alert_type_words

Document = dict[str, Any]
WAITING = "◌"
LEFT_OUT = "–"  # noqa: RUF001  a dash, not a hyphen: it stands among shapes
DELIVERY_MARKS = {
    "pending": WAITING,
    "sending": WAITING,
    "sent": "✓",
    "failed": "✗",
    "expired": "✗",
    "silenced": LEFT_OUT,
    "grouped": LEFT_OUT,
}
CHANNEL_MARKS = {"stopped": "✗", "failing": "▲", "working": "✓"}
SOON = timedelta(minutes=2)
LONGEST_PLACE = 26
LONGEST_CHANNEL = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which deliveries somebody asks for."""

    channel: str | None = None
    alert_id: int | None = None
    digest_id: int | None = None
    in_trouble: bool = False

    @property
    def folds(self) -> bool:
        """Whether what was told in a digest is counted instead of listed: when nobody asks for it or for its alert."""
        return self.alert_id is None and self.digest_id is None

    def describe(self) -> str:
        """Say what passes, as in "through slack of alert 41"."""
        parts = (
            f"through {self.channel}" if self.channel is not None else "",
            f"of alert {self.alert_id}" if self.alert_id is not None else "",
            f"in digest {self.digest_id}" if self.digest_id is not None else "",
            "in trouble" if self.in_trouble else "",
        )
        return " ".join(part for part in parts if part)


def nothing_found(wanted: Filter) -> str:
    """Say in one sentence that no delivery passes the filter, and what to look at instead."""
    if wanted == Filter():
        return "No message yet. Try the channels: automon canary"
    following = "All messages: automon deliveries"
    if wanted.alert_id is not None:
        following = f"Its story: automon explain {wanted.alert_id}"
    return f"No message {wanted.describe()}. {following}"


# Deliveries -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the list, and what stands below it where there is more to say."""

    mark: str
    time: str
    place: str
    what: str
    id: str = ""
    attempts: str = ""
    took: str = ""
    more: str = ""


def delivery_lines(deliveries: Sequence[Document], wanted: Filter, now: datetime) -> list[str]:
    """Write a head and the deliveries below it, each in one line, and why it has not arrived in a second one."""
    near = all(abs(now - local(delivery["created_at"])) < NEAR for delivery in deliveries)
    rows = list(_rows(deliveries, wanted, "%H:%M:%S" if near else "%d %b %H:%M"))
    zone = local(deliveries[0]["created_at"]).tzname() or ""
    head = Row(mark="", id="ID", time=zone, place="CHANNEL", what="MESSAGE", attempts="TRIES", took="TOOK")
    return _table([head, *rows])


def _rows(deliveries: Sequence[Document], wanted: Filter, time_format: str) -> Iterator[Row]:
    several = with_several_recipients(deliveries)
    members = Counter(delivery["digest_id"] for delivery in deliveries)
    folded = set()
    for delivery in deliveries:
        time, digest = f"{local(delivery['created_at']):{time_format}}", delivery["digest_id"]
        if not digest or not wanted.folds:
            yield _delivery_row(delivery, time, place(delivery, several), is_of_digest=wanted.digest_id is not None)
        elif digest not in folded:
            folded.add(digest)
            yield Row(
                mark=delivery_mark(delivery),
                time=time,
                place=place(delivery, several),
                what=f"{members[digest]} in digest {digest}",
                more=f"automon deliveries --digest {digest}",
            )


def _delivery_row(delivery: Document, time: str, where: str, *, is_of_digest: bool) -> Row:
    # A message that was told in another was not sent by itself: the other has the attempts.
    alone, latency = not delivery["digest_id"], delivery["latency_seconds"]
    return Row(
        mark=delivery_mark(delivery),
        id=str(delivery["id"]),
        time=time,
        place=where,
        what=_what(delivery),
        attempts=str(delivery["attempts"]) if alone and delivery["attempts"] else "",
        took=took(latency) if alone and latency is not None else "",
        more="; ".join(_remarks(delivery, is_of_digest=is_of_digest)),
    )


def _table(rows: Sequence[Row]) -> list[str]:
    ids, times, attempts, durations = (
        max(cells(getattr(row, column)) for row in rows) for column in ("id", "time", "attempts", "took")
    )
    places = min(max(cells(row.place) for row in rows), LONGEST_PLACE)
    lines, said = [], dict[str, str]()
    for row in rows:
        left = f"{row.mark:1} {row.id:>{ids}}  {padded(row.time, times)}  {padded(cut(row.place, places), places)}  "
        right = f"  {row.attempts:>{attempts}}  {row.took:>{durations}}"
        room = WIDTH - cells(left) - cells(right)
        lines.append(f"{left}{padded(cut(row.what, room), room)}{right}".rstrip())
        # A stopped channel has one reason for all that waits.
        if row.more and said.get(row.place) != row.more:
            indent = " " * (4 + ids)
            lines.append(indent + cut(row.more, WIDTH - len(indent)))
        said[row.place] = row.more
    return lines


def delivery_mark(delivery: Document) -> str:
    """Give the shape of a delivery's state; one that was told in a digest is no message by itself."""
    mark = DELIVERY_MARKS[delivery["status"]]
    return LEFT_OUT if delivery["digest_id"] and mark == DELIVERY_MARKS["sent"] else mark


def with_several_recipients(deliveries: Sequence[Document]) -> frozenset[str]:
    """Name the channels that go to more than one recipient."""
    counts = Counter(
        channel for channel, _ in {(delivery["channel"], delivery["recipient"]) for delivery in deliveries}
    )
    return frozenset(channel for channel, count in counts.items() if count > 1)


def place(delivery: Document, several: frozenset[str]) -> str:
    """Name the channel, and the recipient where the channel alone does not say it."""
    channel: str = delivery["channel"]
    return f"{channel} ({delivery['recipient']})" if channel in several else channel


def _what(delivery: Document) -> str:
    match delivery["subject"]:
        case "transition":
            # A source called "slack" would read as if a message had been opened there.
            about = f" ({alert_type_words(delivery['alert_type'])})" if delivery["alert_type"] in OWN_TYPES else ""
            return f"#{delivery['alert_id']} {delivery['kind']} {delivery['source']}{about}"
        case "digest":
            return f"digest of {delivery['summary'].replace(' messages as one', '', 1)}"
        case _:
            return str(delivery["summary"])


def _remarks(delivery: Document, *, is_of_digest: bool) -> Iterator[str]:
    if delivery["instead_of"]:
        yield f"instead of {delivery['instead_of']}"
    if delivery["digest_id"] and not is_of_digest:
        yield f"in digest {delivery['digest_id']}"
    if delivery["handed_on_at"]:
        yield "fallback told"
    if delivery["may_be_repeat"] and delivery["status"] == "sent":
        yield "may have arrived twice"
    if delivery["why"]:
        yield delivery["why"]


# Channels -------------------------------------------------------------------------------------------------------


def channels_code(channels: Sequence[Document]) -> int:
    """0 when all work, 1 when one does not, or when there is none that anybody could be told through."""
    return 0 if channels and all(channel["state"] == "working" for channel in channels) else 1


def worst_first(channels: Sequence[Document]) -> list[Document]:
    return sorted(channels, key=lambda channel: list(CHANNEL_MARKS).index(channel["state"]))


def channel_lines(channels: Sequence[Document], now: datetime) -> list[str]:
    """Write a head and a line for each channel, the worst first; below it what is wrong and what to do."""
    head = ("CHANNEL", "STATE", "SENT", "WAITING", "FAILED", "EXPIRED", "FALLBACK")
    rows = [head, *(_channel_row(channel, now) for channel in worst_first(channels))]
    name, state, sent = (max(cells(row[column]) for row in rows) for column in range(3))
    lines = [
        f"{padded(row[0], name)}  {padded(row[1], state)}  {row[2]:>{sent}}  {row[3]:>7}  {row[4]:>6}  {row[5]:>7}  {row[6]}"
        for row in rows
    ]
    shown = [clip(f"  {lines[0]}", WIDTH)]
    for channel, line in zip(worst_first(channels), lines[1:], strict=True):
        shown.append(clip(f"{CHANNEL_MARKS[channel['state']]} {line}", WIDTH))
        indent = " " * (4 + name)
        shown += [indent + text for told in _channel_remarks(channel, now) for text in wrapped(told, WIDTH - 4 - name)]
    return shown


def _channel_row(channel: Document, now: datetime) -> tuple[str, ...]:
    return (
        cut(channel["name"], LONGEST_CHANNEL),
        state_in_short(channel, now),
        clock_or_day(channel["last_sent_at"], now) if channel["last_sent_at"] else "never",
        str(channel["waiting"]),
        str(channel["failed_24h"] - channel["expired_24h"]),
        str(channel["expired_24h"]),
        cut(channel["fallback"], LONGEST_CHANNEL),
    )


def state_in_short(channel: Document, now: datetime) -> str:
    """Say how a channel fares in at most 20 cells."""
    if channel["state"] == "working":
        return "working"
    word = "STOPPED" if channel["state"] == "stopped" else channel["state"]
    return f"{word} since {clock_or_day(channel['since'], now)}"


def state_in_words(channel: Document, now: datetime) -> str:
    """Say how a channel fares: "working", "failing since 14:02, next try 14:05", "STOPPED since 3 May 14:02"."""
    match channel["state"]:
        case "working":
            return "working"
        case "failing":
            return f"failing since {clock(channel['since'], now)}, {_next_try(channel, now)}"
        case _:
            return f"STOPPED since {clock(channel['since'], now)}"


def _next_try(channel: Document, now: datetime) -> str:
    left = local(channel["next_attempt_at"]) - now if channel["next_attempt_at"] else timedelta(0)
    if left <= timedelta(0):
        return "next try now"
    if left < SOON:
        return f"next try in {age(left.total_seconds())}"
    return f"next try {clock(channel['next_attempt_at'], now)}"


def resume_command(channel: Document) -> str:
    return f"automon channels resume {channel['name']}"


def _channel_remarks(channel: Document, now: datetime) -> list[str]:
    match channel["state"]:
        case "working":
            return []
        case "failing":
            return [channel["last_error"], f"{_next_try(channel, now)}; {_who_is_told(channel, now)}"]
        case _:
            return [channel["last_error"], _who_is_told(channel, now), f"repair it, then: {resume_command(channel)}"]


def _who_is_told(channel: Document, now: datetime) -> str:
    fallback = "the journal" if channel["fallback"] == "journal" else channel["fallback"]
    told_from = local(channel["since"]) + timedelta(seconds=channel["fallback_after_seconds"])
    if channel["state"] == "stopped" or told_from <= now:
        return f"{fallback} is told instead"
    return f"{fallback} is told instead from {clock(told_from.isoformat(), now)}"


def resumed(name: str, waiting: int, *, was_in_trouble: bool) -> str:
    """Say what taking up a channel has done."""
    before = f"{printable(name)} is taken up again" if was_in_trouble else f"{printable(name)} was working"
    match waiting:
        case 0:
            return f"{before}; nothing waits"
        case 1:
            return f"{before}; 1 message waits and is tried now"
        case _:
            return f"{before}; {waiting:,} messages wait and are tried now"
