"""What is said about many transitions at once: what they have in common, and the worst of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from automon.models import Digest, DigestCause, DigestEntry, Severity, TransitionKind
from notifiers import words
from notifiers.message import (
    BRIEF_LIMIT,
    MOST_CAUSES,
    SILENCE_FOR,
    SOURCE_LIMIT,
    Line,
    Message,
    MessageContext,
    commands,
    delivery_words,
    first_line,
    footer,
    instead_line,
    line,
    repeat_line,
    said,
)
from notifiers.text import Moment, Text, clean
from notifiers.words import Label

CAUSE_LIMIT = 160
BRIEF_CAUSE_LIMIT = 72
MOST_ENTRIES = 8


def compose_digest(digest: Digest, context: MessageContext) -> Message:
    """Say what many transitions have in common, and name the worst of their alerts."""
    kinds = {kind: digest.kinds[kind] for kind in TransitionKind if digest.kinds.get(kind)}
    overall = words.digest_kind(kinds)
    severity = _worst_severity(digest)
    state = words.state_words(overall, severity)
    headline = first_line(f"{state} {words.became(digest.alerts, kinds, state)}", _digest_story(digest))
    return Message(
        event="digest",
        severity=severity,
        state=state,
        mark=words.mark(overall, severity),
        headline=headline,
        identity=_digest_identity(digest),
        lines=said(
            line(Label.SEEN, ", ".join(words.kinds_words(kinds.items())) if len(kinds) > words.MOST_KINDS else ""),
            line(Label.OPEN, words.levels(digest.severities)),
            *_entries(digest),
            *_digest_causes(digest, headline),
            instead_line(digest.instead_of),
            _digest_end(digest, overall),
            repeat_line(digest),
        ),
        footer=footer(context, _digest_times(digest), delivery_words(digest)),
        at=digest.at,
        instance=clean(context.instance, SOURCE_LIMIT),
        timezone=context.timezone,
        thread=f"digest-{digest.delivery_id}",
        delivery_id=digest.delivery_id,
    )


def _worst_severity(digest: Digest) -> Severity:
    """Take the worst of what is not over; where all is, the worst that is named."""
    left = [severity for severity, count in digest.severities.items() if count]
    return max(left or [entry.severity for entry in digest.entries], key=lambda one: one.rank, default=Severity.LOW)


def _digest_story(digest: Digest) -> str:
    """Say in a headline what it is: the one cause, or how many there are and what stands out."""
    causes = _count_of_causes(digest)
    first = clean(digest.causes[0].words, CAUSE_LIMIT) if digest.causes else ""
    if causes == 1 and first:
        return first
    said = words.counted(causes, "cause") if causes > 1 else ""
    return ", ".join(filter(None, [said, _outstanding(digest, first)]))


def _outstanding(digest: Digest, first_cause: str) -> str:
    """Name the cause that most alerts have, or, where no cause is ahead of the others, the worst alert."""
    if first_cause and (len(digest.causes) == 1 or digest.causes[0].count > digest.causes[1].count):
        return f"most of all {first_cause}"
    worst = next((entry for entry in digest.entries if entry.kind is not TransitionKind.RESOLVED), None)
    return f"worst at {clean(worst.source, SOURCE_LIMIT)}: {clean(worst.summary, BRIEF_LIMIT)}" if worst else ""


def _count_of_causes(digest: Digest) -> int:
    return len(digest.causes) + digest.more_causes


def _digest_identity(digest: Digest) -> str:
    causes = _count_of_causes(digest)
    only = clean(digest.causes[0].words, BRIEF_CAUSE_LIMIT) if digest.causes else ""
    about = words.counted(causes, "cause") if causes > 1 else only
    alerts = words.counted(digest.alerts, "alert")
    return f"{alerts}: {about} (digest {digest.delivery_id})" if about else f"{alerts} (digest {digest.delivery_id})"


def _entries(digest: Digest) -> list[Line]:
    shown = digest.entries[:MOST_ENTRIES]
    more = digest.alerts - len(shown)
    texts = [_entry(entry, digest.at) for entry in shown]
    if shown and more > 0:
        texts.append((words.more(more),))
    return [Line(label=Label.ALERTS, text=text) for text in texts]


def _entry(entry: DigestEntry, now: datetime) -> Text:
    state = words.state_words(entry.kind, entry.severity)
    what = f"{clean(entry.source, SOURCE_LIMIT)}: {clean(entry.summary, BRIEF_LIMIT)}"
    return (f"#{entry.alert_id} {state} {what}", *_age(entry, now))


def _age(entry: DigestEntry, now: datetime) -> Text:
    # When it was resolved is not known here, so how long it lasted is not, either.
    if entry.kind is TransitionKind.RESOLVED:
        return (", opened ", Moment(entry.opened_at))
    age = now - entry.opened_at
    return (f", {words.duration(age)}",) if age >= timedelta(minutes=1) else ()


def _digest_causes(digest: Digest, headline: str) -> list[Line]:
    """List the causes with how many alerts have each, unless the headline has said the only one there is."""
    shown = digest.causes[:MOST_CAUSES]
    more = _count_of_causes(digest) - len(shown)
    if len(shown) == 1 and not more and headline.endswith(_cause_words(shown[0])):
        return []
    texts = [f"{words.counted(cause.count, 'alert')}: {_cause_words(cause)}" for cause in shown]
    if shown and more:
        texts.append(words.more(more, "cause"))
    return [line(Label.CAUSE, text) for text in texts]


def _cause_words(cause: DigestCause) -> str:
    return clean(cause.words, CAUSE_LIMIT) or words.UNKNOWN_CAUSE


def _digest_end(digest: Digest, overall: TransitionKind) -> Line:
    look = ("alerts", f"deliveries --digest {digest.delivery_id}")
    if overall is TransitionKind.RESOLVED:
        return commands(Label.LOOK, *look)
    return commands(Label.STOP, *look, f"silence '*' {SILENCE_FOR}")


def _digest_times(digest: Digest) -> Text:
    changes = f"{words.counted(digest.transitions, 'change')} " if digest.transitions > digest.alerts else ""
    took_time = digest.at - digest.first_at >= timedelta(minutes=1)
    start: Text = (Moment(digest.first_at), " → ") if took_time else ()
    return tuple(part for part in (changes, *start, Moment(digest.at, zoned=True)) if part != "")
