"""Says after a campaign of faults whether every alert was told, from three sides that must agree.

    watch_what_is_raised(look)          # before the first alert
    ...
    found = audit(look, slack, smtp, journals=[service.log])
    assert found.lost == 0

The database says what was raised, the fake Slack, the fake mail server and the logs of the services say what arrived,
and `v_deliveries` claims what became of each message. Who had to be told is worked out here, from the transitions and
the channels of that moment, not by the rule that is under test.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tests.support.calls import Calls, Row
from tests.support.slack import FakeSlack, Post
from tests.support.smtp import FakeSmtp, Mail

SEVERITIES = ("low", "medium", "high", "critical")
UNDER_WAY = ("pending", "sending")
JOURNAL = "journal"
SLACKS_RECIPIENT, JOURNALS_RECIPIENT = "webhook", "terminal"
MAY_BE_REPEAT = "an earlier try may have arrived already"
_FOOTER = re.compile(r"delivery (\d+)\Z")
_SHOWN = 5

# Keeps with each transition the channels that there were when it was written: they change from config to config.
_WITNESS = """\
CREATE SCHEMA witness;
CREATE TABLE witness.raised (transition_id bigint PRIMARY KEY, channels jsonb NOT NULL);
CREATE FUNCTION witness.keep_channels() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO witness.raised SELECT NEW.id, COALESCE(jsonb_agg(to_jsonb(c)), '[]') FROM public.notification_channels c;
    RETURN NULL;
END
$body$;
CREATE TRIGGER keep_channels AFTER INSERT ON public.alert_transitions FOR EACH ROW EXECUTE FUNCTION witness.keep_channels();
"""
_TRANSITIONS = """\
SELECT t.id, t.alert_id, t.kind, t.severity, t.previous_severity, a.alert_type, a.source, a.peak_severity, w.channels
FROM public.alert_transitions t JOIN public.alerts a ON a.id = t.alert_id JOIN witness.raised w ON w.transition_id = t.id ORDER BY t.id
"""
# The status is the one that people are shown: that of the digest, where one tells it.
_DELIVERIES = """\
SELECT d.id, d.subject, d.transition_id, d.alert_id, d.channel, d.recipient, d.digest_id, d.instead_of, d.handed_on_at IS NOT NULL AS handed_on, v.status,
    (SELECT count(*) FROM public.delivery_attempts a WHERE a.delivery_id = d.id AND a.outcome = 'unknown') AS unknown_attempts
FROM public.alert_deliveries d JOIN public.v_deliveries v ON v.id = d.id ORDER BY d.id
"""


def watch_what_is_raised(look: Calls) -> None:
    """Have the database keep who was to be told of what, from now on."""
    look.ask(_WITNESS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A message that somebody has got. `at` orders the arrivals of one recipient; `delivery` is None when it names none."""

    recipient: str
    delivery: int | None
    is_marked: bool
    at: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit has found; a list names what it is about, a number only counts.

    `raised` counts transitions by channel and recipient, `told` those that arrived, `instead` those of them that only
    the fallback has said. `repeats` counts what arrived again, `unmarked` what of it does not say that it may be a
    repeat, `unexplained` what no attempt of unknown outcome accounts for. `false_receipts` are deliveries that are
    logged as sent and are nowhere, `unrecorded` those that arrived and are not logged as sent.
    """

    raised: int
    told: int
    instead: int
    digests: int
    repeats: int
    waiting: Sequence[str]
    lost: Sequence[str]
    unmarked: Sequence[str]
    unexplained: Sequence[str]
    false_receipts: Sequence[str]
    unrecorded: Sequence[str]
    unknown: Sequence[str]
    out_of_order: Sequence[str]
    campaign: str = ""
    seconds: float = 0
    kills: int = 0

    HEADINGS: ClassVar[tuple[str, ...]] = (
        "campaign",
        "seconds",
        "kills",
        "raised",
        "told",
        "instead",
        "digests",
        "repeats",
        "unmarked",
        "lost",
        "waiting",
    )

    def table_row(self) -> tuple[str, ...]:
        numbers = (self.kills, self.raised, self.told, self.instead, self.digests, self.repeats)
        lists = (self.unmarked, self.lost, self.waiting)
        return (
            self.campaign,
            f"{self.seconds:.1f}",
            *(f"{number:,}" for number in numbers),
            *(f"{len(one):,}" for one in lists),
        )

    def faults(self) -> dict[str, Sequence[str]]:
        """Give the first few of each kind of fault that there is; empty when every side agrees."""
        names = (
            "lost",
            "waiting",
            "unmarked",
            "unexplained",
            "false_receipts",
            "unrecorded",
            "unknown",
            "out_of_order",
        )
        found = {name: getattr(self, name) for name in names}
        return {f"{name} ({len(these)})": these[:_SHOWN] for name, these in found.items() if these}


def audit(
    look: Calls,
    slack: FakeSlack,
    smtp: FakeSmtp,
    *,
    journals: Iterable[Path] = (),
    campaign: str = "",
    seconds: float = 0,
    kills: int = 0,
) -> Audit:
    """Compare what was raised with what arrived and what is logged; nothing may be under way any more."""
    arrivals = [*map(_of_post, slack.taken), *_of_mails(smtp.mails), *_of_journals(journals)]
    books = _Books(look.ask(_TRANSITIONS), look.ask(_DELIVERIES), arrivals)
    obligations = books.obligations
    told_directly = {one for one in obligations if books.is_told(one)}
    told_instead = {one for one in obligations - told_directly if books.is_told_instead(one)}
    waiting = {one for one in obligations - told_directly - told_instead if books.is_under_way(one)}
    return Audit(
        raised=len(obligations),
        told=len(told_directly | told_instead),
        instead=len(told_instead),
        digests=sum(row["subject"] == "digest" for row in books.deliveries.values()),
        repeats=sum(max(len(books.arrivals_of(row)) - 1, 0) for row in books.deliveries.values()),
        waiting=books.described(waiting),
        lost=books.described(obligations - told_directly - told_instead - waiting),
        unmarked=list(books.unmarked_repeats()),
        unexplained=list(books.unexplained_repeats()),
        false_receipts=list(books.false_receipts()),
        unrecorded=list(books.unrecorded()),
        unknown=[f"{one.delivery} to {one.recipient}: {one.words}" for one in books.unknown_arrivals()],
        out_of_order=list(books.out_of_order()),
        campaign=campaign,
        seconds=seconds,
        kills=kills,
    )


# What arrived ------------------------------------------------------------------------------------------------------


def _of_post(post: Post) -> Arrival:
    found = _FOOTER.search(post.text)
    return Arrival(
        recipient=SLACKS_RECIPIENT,
        delivery=int(found[1]) if found else None,
        is_marked=MAY_BE_REPEAT in post.text,
        at=post.arrived_at,
        words=post.preview,
    )


def _of_mails(mails: Iterable[Mail]) -> Iterator[Arrival]:
    for mail in mails:
        number = mail.message["X-Automon-Delivery"]
        for recipient in mail.recipients:
            yield Arrival(
                recipient=recipient,
                delivery=int(number) if number else None,
                is_marked=MAY_BE_REPEAT in mail.text,
                at=mail.arrived_at,
                words=str(mail.message["Subject"]),
            )


def _of_journals(logs: Iterable[Path]) -> Iterator[Arrival]:
    """Read what the last resort said. What follows the last line's end was cut off by a kill."""
    for log in logs:
        for line in log.read_text(encoding="utf-8").split("\n")[:-1]:
            if '"event": "alert_message"' in line:
                yield _of_event(json.loads(line))


def _of_event(event: Mapping[str, Any]) -> Arrival:
    return Arrival(
        recipient=JOURNALS_RECIPIENT,
        delivery=event["delivery"] or None,
        is_marked=MAY_BE_REPEAT in event["text"],
        at=0,  # each service has a log of its own: no order between them
        words=event["headline"],
    )


# What had to be told -----------------------------------------------------------------------------------------------


def wants(channel: Row, transition: Row) -> bool:
    """Say whether a channel had to hear of a transition."""
    kind, is_blindness = transition["kind"], transition["alert_type"] == "automon_blind"
    if is_blindness and kind == "opened":
        return False  # told by the service itself while it lasted, or by nobody; its end is told
    if transition["alert_type"] == "automon_channel" and transition["source"] == channel["name"] and kind != "resolved":
        return False  # a channel that fails cannot say so
    is_heard_of = kind in channel["notify_on"] or (is_blindness and "opened" in channel["notify_on"])
    told_as = {"resolved": transition["peak_severity"], "eased": transition["previous_severity"]}
    severity = told_as.get(kind, transition["severity"])
    return is_heard_of and SEVERITIES.index(severity) >= SEVERITIES.index(channel["min_severity"])


# A transition, a channel and a recipient.
Obligation = tuple[int, str, str]


@dataclass(frozen=True)
class _Books:
    """What the database says, and what arrived, to be held against each other."""

    transitions: Sequence[Row]
    rows: Sequence[Row]
    arrivals: Sequence[Arrival]

    @cached_property
    def deliveries(self) -> dict[int, Row]:
        return {row["id"]: row for row in self.rows}

    @cached_property
    def delivery_for(self) -> dict[Obligation, Row]:
        return {_obligation(row): row for row in self.rows if row["subject"] == "transition"}

    @cached_property
    def obligations(self) -> set[Obligation]:
        """All that had to be told by the truth, and what the outbox holds beside it of its own accord."""
        by_truth = {
            (transition["id"], channel["name"], recipient)
            for transition in self.transitions
            for channel in transition["channels"]
            if wants(channel, transition)
            for recipient in channel["recipients"]
        }
        return by_truth | {one for one, row in self.delivery_for.items() if row["instead_of"] is None}

    @cached_property
    def _arrived(self) -> dict[int, list[Arrival]]:
        found = defaultdict(list)
        for arrival in sorted(self.arrivals, key=lambda one: one.at):
            if self._is_known(arrival) and arrival.delivery is not None:
                found[arrival.delivery].append(arrival)
        return dict(found)

    def _is_known(self, arrival: Arrival) -> bool:
        row = self.deliveries.get(arrival.delivery or 0)
        return row is not None and row["recipient"] == arrival.recipient

    def unknown_arrivals(self) -> list[Arrival]:
        """Find what names no delivery, or one to somebody else."""
        return [one for one in self.arrivals if not self._is_known(one)]

    def arrivals_of(self, row: Row) -> list[Arrival]:
        """Give what arrived of a delivery. A member of a digest that arrived by itself too was told twice."""
        own = self._arrived.get(row["id"], [])
        return own + self._arrived.get(row["digest_id"], []) if own else []

    def _has_arrived(self, row: Row) -> bool:
        return row["id"] in self._arrived or row["digest_id"] in self._arrived

    def is_told(self, one: Obligation) -> bool:
        row = self.delivery_for.get(one)
        return row is not None and self._has_arrived(row)

    def is_told_instead(self, one: Obligation) -> bool:
        """Say whether another channel said it, and the log knows that it had to."""
        row = self.delivery_for.get(one)
        if row is None or not (row["handed_on"] or self._digest_is_handed_on(row)):
            return False
        return any(self._has_arrived(other) for other in self._fallbacks_of(row))

    def _digest_is_handed_on(self, row: Row) -> bool:
        return row["digest_id"] is not None and self.deliveries[row["digest_id"]]["handed_on"]

    def _fallbacks_of(self, row: Row) -> list[Row]:
        """Find what was written for another channel instead, or was there anyway: on its fallback, or in the journal."""
        fallbacks = {self._fallback_at(row["transition_id"], row["channel"]), JOURNAL}
        others = self._of_transition[row["transition_id"]]
        return [other for other in others if other["instead_of"] == row["channel"] or other["channel"] in fallbacks]

    @cached_property
    def _of_transition(self) -> dict[int, list[Row]]:
        found = defaultdict(list)
        for row in self.delivery_for.values():
            found[row["transition_id"]].append(row)
        return found

    @cached_property
    def _transition(self) -> dict[int, Row]:
        return {row["id"]: row for row in self.transitions}

    def _fallback_at(self, transition: int, channel: str) -> str | None:
        channels = {one["name"]: one for one in self._transition[transition]["channels"]}
        return channels[channel]["fallback"] if channel in channels else None

    def is_under_way(self, one: Obligation) -> bool:
        row = self.delivery_for.get(one)
        return row is not None and row["status"] in UNDER_WAY

    def described(self, obligations: Iterable[Obligation]) -> list[str]:
        return [self._described(one) for one in sorted(obligations)]

    def _described(self, one: Obligation) -> str:
        transition, channel, recipient = one
        row = self.delivery_for.get(one)
        what = "{kind} of #{alert_id} {alert_type} {source}".format_map(self._transition[transition])
        how = f"delivery {row['id']} is {row['status']}" if row else "there is no delivery"
        return f"{what} to {channel} {recipient}: {how}"

    # Repeats -----------------------------------------------------------------------------------------------------

    def _repeated(self) -> Iterator[tuple[Row, list[Arrival]]]:
        for row in self.deliveries.values():
            arrived = self.arrivals_of(row)
            if len(arrived) > 1:
                yield row, arrived

    def unmarked_repeats(self) -> Iterator[str]:
        """Of several arrivals of one message, all but one have to say that they may be repeats.

        Not all but the first: a sender that was stopped in the middle may say its own after it was said for it.
        """
        for row, arrived in self._repeated():
            marked = sum(one.is_marked for one in arrived)
            yield from [f"delivery {row['id']} to {row['channel']}: {len(arrived)} times, {marked} marked"] * (
                len(arrived) - 1 - marked
            )

    def unexplained_repeats(self) -> Iterator[str]:
        for row, arrived in self._repeated():
            unknown = row["unknown_attempts"]
            if len(arrived) > 1 + unknown:
                yield f"delivery {row['id']} to {row['channel']}: {len(arrived)} times, {unknown} attempts of unknown outcome"

    # The log ---------------------------------------------------------------------------------------------------------

    def false_receipts(self) -> Iterator[str]:
        for row in self.deliveries.values():
            if row["status"] == "sent" and not self._has_arrived(row):
                yield f"delivery {row['id']} to {row['channel']} is logged as sent and is nowhere"

    def unrecorded(self) -> Iterator[str]:
        for row in self.deliveries.values():
            if row["status"] != "sent" and self._has_arrived(row):
                yield f"delivery {row['id']} to {row['channel']} arrived and is logged as {row['status']}"

    def out_of_order(self) -> Iterator[str]:
        """Find what was first said of an alert before something that had happened to it earlier."""
        for (alert, channel, _), rows in self._by_alert_and_recipient().items():
            for earlier, later in pairwise(rows):
                if self._first_at(earlier) > self._first_at(later):
                    yield f"alert {alert} on {channel}: delivery {later['id']} before {earlier['id']}"

    def _by_alert_and_recipient(self) -> dict[tuple[int, str, str], list[Row]]:
        found = defaultdict(list)
        for row in sorted(self.delivery_for.values(), key=lambda one: one["transition_id"]):
            if self._has_arrived(row):
                found[row["alert_id"], row["channel"], row["recipient"]].append(row)
        return found

    def _first_at(self, row: Row) -> float:
        effective = row["digest_id"] or row["id"]
        return self._arrived[effective][0].at if effective in self._arrived else self._arrived[row["id"]][0].at


def _obligation(row: Row) -> Obligation:
    return row["transition_id"], row["channel"], row["recipient"]


class InTable(Protocol):
    HEADINGS: ClassVar[tuple[str, ...]]

    def table_row(self) -> tuple[str, ...]: ...


def table(audits: Sequence[InTable]) -> list[str]:
    """Set audits of one kind as a table, a line each below the headings."""
    rows = [audits[0].HEADINGS, *(one.table_row() for one in audits)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_set(row, widths) for row in rows]


def _set(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers = row
    return "  ".join([first.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])


def attempts_by_outcome(look: Calls) -> Counter[str]:
    """Count the attempts of all deliveries by how they ended."""
    rows = look.ask("SELECT outcome, reason, count(*) AS number FROM public.delivery_attempts GROUP BY 1, 2")
    return Counter({": ".join(filter(None, (row["outcome"], row["reason"]))): row["number"] for row in rows})
