"""Canaries: marked messages that take the way of alerts, and the receipts that come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from automon.cli.delivery_screens import WAITING, place, resume_command, state_in_words, with_several_recipients
from automon.cli.text import WIDTH, local, took, wrapped
from notifiers.words import counted

if TYPE_CHECKING:
    from automon.clock import Clock
    from automon.store import Store

Document = dict[str, Any]
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of a canary, in words of any length, and what is to be done about it."""

    mark: str
    text: str
    next_steps: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        first, *others = wrapped(f"{self.mark} {self.text}", WIDTH)
        return [first, *(f"  {line}" for text in (*others, *self.next_steps) for line in wrapped(text, WIDTH - 2))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long somebody waits for receipts, and until when."""

    span: timedelta
    until: datetime


def answer_of(canary: Document, channel: Document, where: str, *, now: datetime, patience: Patience) -> Answer | None:
    """Judge what is known of a canary now; None while it may arrive in time. `channel` is empty for the journal."""
    number = f"(delivery {canary['id']})"
    match canary["status"]:
        case "sent":
            return Answer(mark="✓", text=f"{where}: arrived in {_latency(canary)} {number}")
        case "pending" | "sending":
            return _fault_of_channel(channel, f"{where}:", number, now, patience) or (
                None
                if now < patience.until
                else Answer(mark=WAITING, text=f"{where}: {_so_far(canary, patience)} {number}")
            )
        case _:
            text = f"{where}: {canary['why']} {number}"
            return Answer(mark="✗", text=text, next_steps=(_way_out(canary["channel"]),))


def _fault_of_channel(channel: Document, where: str, number: str, now: datetime, patience: Patience) -> Answer | None:
    """Say why nothing will go through a channel in time, however long that is waited for."""
    match channel.get("state"):
        case "stopped":
            text = f"{where} {state_in_words(channel, now)}: {channel['last_error']} {number}"
            return Answer(
                mark="✗",
                text=text,
                next_steps=(_way_out(channel["name"]), f"repair it, then: {resume_command(channel)}"),
            )
        case "failing" if channel["next_attempt_at"] and local(channel["next_attempt_at"]) > patience.until:
            text = f"{where} {state_in_words(channel, now)}: {channel['last_error']} {number}"
            return Answer(mark=WAITING, text=text, next_steps=(f"try it now: {resume_command(channel)}",))
        case _:
            return None


def _way_out(channel: str) -> str:
    """Name the command that tries the channel alone, and says what mends what it meets."""
    return f"what mends it: automon send-test {channel}"


def _latency(canary: Document) -> str:
    seconds: float = canary["latency_seconds"]
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else took(seconds)


def _so_far(canary: Document, patience: Patience) -> str:
    if not patience.span:
        return "waits to be sent"
    span = took(patience.span.total_seconds())
    if not canary["why"]:
        return f"no answer yet after {span}"
    return f"not arrived within {span}, {counted(canary['attempts'], 'attempt')}: {canary['why']}"


class Watch:
    """Waits for the receipts of canaries, and tells of each as soon as it is known.

    `mention` hears of what may still turn out well: an attempt that failed and will be made again.
    """

    def __init__(
        self, store: Store, clock: Clock, *, tell: Callable[[Answer], None], mention: Callable[[str], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._mention = mention
        self._mentioned: set[int] = set()

    def wait(self, ids: Sequence[int], span: timedelta) -> list[Document]:
        """Wait until each has an answer, at most for that span; answer the deliveries as they then stand, in order."""
        patience = Patience(span=span, until=self._clock.now() + span)
        open_ids, pause = set(ids), FIRST_PAUSE
        while True:
            canaries = self.look(ids)
            for canary, answer in self._answers(canaries, open_ids, patience):
                self._tell(answer)
                open_ids.discard(canary["id"])
            if not open_ids:
                return canaries
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def look(self, ids: Sequence[int]) -> list[Document]:
        return self._store.deliveries(ids=ids, limit=len(ids))[::-1]

    def _answers(
        self, canaries: Sequence[Document], open_ids: set[int], patience: Patience
    ) -> Iterator[tuple[Document, Answer]]:
        several, now = with_several_recipients(canaries), self._clock.now()
        waiting = [canary for canary in canaries if canary["id"] in open_ids]
        channels = self._channels(now) if any(canary["why"] for canary in waiting) or now >= patience.until else {}
        for canary in waiting:
            where = place(canary, several)
            answer = answer_of(canary, channels.get(canary["channel"], {}), where, now=now, patience=patience)
            if answer is not None:
                yield canary, answer
            elif canary["why"] and canary["id"] not in self._mentioned:
                self._mentioned.add(canary["id"])
                self._mention(f"{WAITING} {where}: {canary['why']}; it is tried again")

    def _channels(self, now: datetime) -> Mapping[str, Document]:
        return {channel["name"]: channel for channel in self._store.dashboard_summary(now)["automon"]["channels"]}
