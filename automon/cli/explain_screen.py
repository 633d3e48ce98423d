"""`automon explain`: why an alert fired, what failed, what happens next; or why a source has none. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from automon.cli.alert_screens import silence_command
from automon.cli.delivery_screens import place, with_several_recipients
from automon.cli.table import number_column, table, text_column
from automon.cli.text import DASH, WIDTH, age, cells, clock, cut, local, span, spread, time_with_zone, when, wrapped
from automon.cli.theme import OF_SEVERITY, State, Theme
from automon.config.settings import ALERT_TYPES as CONFIG_KEYS
from automon.models import Guidance
from notifiers.words import alert_type_words, counted, duration
from notifiers.words import number as grouped

Document = dict[str, Any]
LEVELS = ("low", "medium", "high", "critical")
MOST_CAUSES = 5
STATUS_WORDS = {"pending": "waiting", "sending": "being sent", "grouped": "told in a digest"}
DELIVERY_STATES = {"sent": State.OK, "failed": State.CRITICAL, "expired": State.CRITICAL, "silenced": State.ASIDE, "grouped": State.ASIDE}  # fmt: skip
KEY_OF_TYPE = {alert_type: key for key, alert_type in CONFIG_KEYS.items()}
HEALTH = {1.0: "degraded", 2.0: "unhealthy"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What is known of an alert: its story, its context, what the config says of it, and the commands that there are."""

    story: Document
    context: Document
    guidance: Guidance
    now: datetime
    verbs: frozenset[str]

    @property
    def is_over(self) -> bool:
        return self.story["resolved_at"] is not None


def explain_lines(told: Explanation, theme: Theme) -> list[str]:
    """Write everything about one alert."""
    return [
        *_head(told, theme),
        "Why it fired",
        *_why(told, theme),
        *_titled("What failed", _causes(told.story["evidence"], told.now)),
        *_titled(f"What else changed near {clock(told.story['opened_at'], told.now)}", _changes(told)),
        *_titled("What happens next", outlook(told)),
        *_titled("What to do", _guidance(told.guidance)),
        "What happened",
        *(line for transition in told.story["transitions"] for line in _transition(transition, theme)),
        *_next(told),
    ]


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *lines] if lines else []


def _head(told: Explanation, theme: Theme) -> list[str]:
    story = told.story
    state = State.OK if told.is_over else OF_SEVERITY[story["severity"]]
    word = "RESOLVED" if told.is_over else story["severity"].upper()
    source = cut(story["source"], 40)
    return [
        f"{theme.mark(state)} #{story['id']} {theme.paint(state, word)}  {source}: {cut(story['summary'], 200)}",
        f"  {_since(told)}; {_in_hand(story, told.now)}{'; silenced' if story['is_silenced'] else ''}",
    ]


def _since(told: Explanation) -> str:
    story = told.story
    until = local(story["resolved_at"]) if told.is_over else told.now
    lasted = age(max((until - local(story["opened_at"])).total_seconds(), 0))
    begun = when(story["opened_at"])
    if told.is_over:
        return f"lasted {lasted}, from {begun}; ended by {cut(story['resolved_by'], 30)}"
    return f"open {lasted}, since {begun}"


def _in_hand(story: Document, now: datetime) -> str:
    if story["acknowledged_at"] is None:
        return "not acknowledged"
    note = f' "{cut(story["acknowledged_note"], 80)}"' if story["acknowledged_note"] else ""
    return f"acknowledged by {cut(story['acknowledged_by'], 30)} {clock(story['acknowledged_at'], now)}{note}"


# Why --------------------------------------------------------------------------------------------------------------


def _why(told: Explanation, theme: Theme) -> list[str]:
    story, rule = told.story, told.context["rule"]
    evidence = story["evidence"]
    lines = [("check", alert_type_words(story["alert_type"]) + _judged_from(told.context))]
    if rule is not None:
        lines += [("limits", levels(rule, story["alert_type"], story["unit"])), ("from", rule_place(rule, story["alert_type"], story["source"], told.verbs))]  # fmt: skip
    if evidence.get("measured"):
        lines.append(("measured", cut(evidence["measured"], 200) + _window(evidence, told.now)))
    if told.context["trend"] is not None:
        lines.append(("trend 12h", trend(told.context["trend"], theme)))
    lines.append(("worst", f"{cut(story['peak_summary'], 200)} at {when(story['peak_at'])}"))
    return [f"  {name:<10} {text}" for name, text in lines]


def _judged_from(context: Document) -> str:
    return f", of at least {counted(int(context['min_tasks']), 'task')} in the hour" if context["min_tasks"] else ""


def levels(rule: Document, alert_type: str, unit: str | None) -> str:
    """Write the limits in force: "low 10 %, medium 25 %"; nothing fires without any."""
    told = [f"{level} {limit(rule[level], alert_type, unit)}" for level in LEVELS if rule[level] is not None]
    return ", ".join(told) or "none: the check is switched off"


def limit(value: float, alert_type: str, unit: str | None) -> str:
    if alert_type == "component_health":
        return HEALTH.get(value, grouped(value))
    match unit:
        case "s":
            return span(value)
        case "%" | "ms":
            return f"{grouped(value)} {unit}"
        case _:
            return grouped(value)


def rule_place(rule: Document, alert_type: str, source: str, verbs: frozenset[str]) -> str:
    """Name the place of the limits: the key of the config, or that somebody set them in the database."""
    key = KEY_OF_TYPE.get(alert_type, alert_type)
    is_own = rule["source"] != "*"
    where = f'overrides.{key}."{cut(source, 40)}"' if is_own else f"alert_thresholds.{key}"
    if alert_type == "component_health":
        where = "component_health"
    match rule["origin"]:
        case "sql":
            return f"set in the database {when(rule['updated_at'])}, not by the config"
        case "shipped":
            return f"{where}, as shipped"
        case _:
            return f"{where} of the config" + (f"   (automon config show {quote(source)})" if "config" in verbs else "")


def _window(evidence: Document, now: datetime) -> str:
    begin, end = evidence.get("window_from"), evidence.get("window_to")
    return f"   ({clock(begin, now)} to {clock(end, now)})" if begin and end else ""


def trend(found: Document, theme: Theme) -> str:
    known = [value for value in found["values"] if value is not None]
    if not known:
        return "nothing was measured"
    return f"{theme.bars(found['values'])}  now {grouped(round(known[-1], 2))}, most {grouped(round(max(known), 2))}   ({cut(found['of'], 40)}, by the hour)"


def _causes(evidence: Document, now: datetime) -> list[str]:
    return [_cause(row, now) for row in (evidence.get("top") or [])[:MOST_CAUSES]]


def _cause(row: Document, now: datetime) -> str:
    left = f"  {row['count']:>5,}x  {cut(row['what'] or '', 40)}{': ' if row['message'] else ''}{cut(row['message'] or '', 160)}"
    where = f"{cut(row['where'], 20)}  " if row["where"] else ""
    beside = f"{where}first {clock(row['first_at'], now)}"
    return spread(left, beside) if cells(left) + cells(beside) + 2 <= WIDTH else f"{left}  {beside}"


def _changes(told: Explanation) -> list[str]:
    return [
        f"  {clock(change['at'], told.now)}  {cut(change['what'], 140)}"
        + (f"   (alert #{change['alert_id']})" if change["alert_id"] else "")
        for change in told.context["changes"]
    ]


# What comes -------------------------------------------------------------------------------------------------------


def outlook(told: Explanation) -> list[str]:
    """Say when an alert is told again, when it gets worse, when it is over, and what keeps it silent."""
    if told.is_over:
        return []
    lines = [*_reminder(told), *_worse(told), *_end(told), *_silence(told)]
    return [f"  {at:<5}  {text}" for at, text in lines]


def _reminder(told: Explanation) -> list[tuple[str, str]]:
    story, every = told.story, timedelta(seconds=told.context["remind_after_seconds"])
    if story["acknowledged_at"] is not None:
        return [("-", "no reminder: somebody has it in hand")]
    if story["severity"] != "critical":
        return [("-", "no reminder: only critical alerts are told again")]
    if not every:
        return [("-", "no reminder: alerts.remind_after_minutes is 0")]
    if not told.context["has_audience"]:
        return [("-", "no reminder: no channel is to be told")]
    if story["last_told_at"] is None or told.context["silences"]:
        return []
    at = max(local(story["last_told_at"]) + every, told.now).isoformat()
    return [(clock(at, told.now), f"a reminder, and every {duration(every)} until it is acknowledged")]


def _worse(told: Explanation) -> list[tuple[str, str]]:
    rule, story = told.context["rule"], told.story
    if rule is None or story["severity"] == "critical":
        return []
    above = LEVELS[LEVELS.index(story["severity"]) + 1 :]
    told_levels = [f"{level} from {limit(rule[level], story['alert_type'], story['unit'])}" for level in above if rule[level] is not None]  # fmt: skip
    return [("~", f"becomes {', '.join(told_levels)}; that is told")] if told_levels else []


def _end(told: Explanation) -> list[tuple[str, str]]:
    rule, story = told.context["rule"], told.story
    patience = timedelta(seconds=told.context["resolve_after_seconds"])
    if story["clear_since"] is not None:
        at = max(local(story["clear_since"]) + patience, told.now).isoformat()
        return [(clock(at, told.now), f"resolves, if it stays within its limits (since {clock(story['clear_since'], told.now)})")]  # fmt: skip
    lowest = min((rule[level] for level in LEVELS if rule[level] is not None), default=None) if rule else None
    below = f" below {limit(lowest, story['alert_type'], story['unit'])}" if lowest is not None else " of good news"
    after = f"after {duration(patience)}{below}" if patience else f"at the first check{below}"
    return [("~", f"resolves {after}")]


def _silence(told: Explanation) -> list[tuple[str, str]]:
    if not told.context["silences"]:
        return [("-", "no silence covers it")]
    return [
        (
            clock(silence["until"], told.now),
            f"silence {silence['id']} ends (by {cut(silence['by'], 30)}: {cut(silence['reason'], 60) or 'no reason given'})",
        )
        for silence in told.context["silences"]
    ]


def _guidance(guidance: Guidance) -> list[str]:
    rows = (("impact", guidance.impact), ("next", guidance.next_step), ("runbook", guidance.runbook))
    return [f"  {name:<10} {cut(text, 300)}" for name, text in rows if text]


def _next(told: Explanation) -> list[str]:
    story = told.story
    steps = [
        *([] if told.is_over or story["acknowledged_at"] else [f"automon ack {story['id']}"]),
        *([f"automon unack {story['id']}"] if story["acknowledged_at"] and not told.is_over else []),
        *([] if told.is_over else [silence_command(story["source"])]),
        *([f"automon runbook {story['alert_type']}"] if "runbook" in told.verbs else []),
    ]
    return [f"{'Next:' if not index else '':5}  {step}" for index, step in enumerate(steps)]


# What happened ----------------------------------------------------------------------------------------------------


def _transition(transition: Document, theme: Theme) -> list[str]:
    by = f" by {cut(transition['actor'], 30)}" if transition["actor"] else ""
    note = f' "{cut(transition["note"], 80)}"' if transition["note"] else ""
    first = f"  {when(transition['at'])}  {transition['kind']:<12} {transition['severity']}: {cut(transition['summary'], 120)}{by}{note}"
    several = with_several_recipients(transition["deliveries"])
    return [first, *(_delivery_line(delivery, several, theme) for delivery in transition["deliveries"])]


def _delivery_line(delivery: Document, several: frozenset[str], theme: Theme) -> str:
    status = STATUS_WORDS.get(delivery["status"], delivery["status"])
    tried = delivery["attempts"] or delivery["status"] == "pending"
    words = [
        status,
        f"in digest {delivery['digest_id']}" if delivery["digest_id"] else "",
        f"after {counted(delivery['attempts'], 'attempt')}" if tried else "",
        f"instead of {delivery['instead_of']}" if delivery["instead_of"] else "",
    ]
    why = f": {cut(delivery['last_error'], 120)}" if delivery["last_error"] else ""
    state = DELIVERY_STATES.get(delivery["status"], State.UNKNOWN)
    if delivery["digest_id"] and state is State.OK:
        state = State.ASIDE
    return f"      {theme.mark(state)} {cut(place(delivery, several), 60)}: {' '.join(word for word in words if word)}{why}"


# A source without an alert ----------------------------------------------------------------------------------------


def source_lines(
    source: str, checks: Sequence[Document], now: datetime, verbs: frozenset[str], theme: Theme
) -> list[str]:
    """Write every check of a source: what it measures now, and from which value on it would fire."""
    columns = (
        text_column("CHECK", most=30),
        text_column("NOW", most=15),
        *map(number_column, ("LOW", "MEDIUM", "HIGH", "CRITICAL")),
    )
    rows = [_check_row(check, source, theme) for check in checks]
    places = dict.fromkeys(
        f"{alert_type_words(check['alert_type'])}: {rule_place(check['rule'], check['alert_type'], check['source'], verbs)}"
        for check in checks
        if check["rule"] is not None and (check["rule"]["source"] != "*" or check["rule"]["origin"] == "sql")
    )
    notes = [*_open_alerts(checks), *_silences(checks, now), *_unmeasured(checks), *places]
    return [
        spread(f"{cut(source, 50)}   {_verdict_on(checks)}", time_with_zone(now)),
        "",
        *table(columns, rows),
        *(["", *(line for note in notes for line in wrapped(note, WIDTH))] if notes else []),
    ]


def _verdict_on(checks: Sequence[Document]) -> str:
    firing = sum(check["severity"] is not None for check in checks)
    return (
        f"{firing} of {counted(len(checks), 'check')} over its limit" if firing else "every check is within its limits"
    )


def _check_row(check: Document, source: str, theme: Theme) -> tuple[str, ...]:
    name = alert_type_words(check["alert_type"])
    part = check["source"].removeprefix(source).strip()
    measured = check["value"] is not None
    mark = theme.mark(OF_SEVERITY[check["severity"]] if measured else State.UNKNOWN)
    unit = check["unit"] or UNITS.get(check["alert_type"])
    limits = [_level(check["rule"], level, check["alert_type"], unit) for level in LEVELS]
    return f"{mark} {name}{' ' + cut(part, 20) if part else ''}", _value(check) if measured else "not measured", *limits


def _level(rule: Document | None, level: str, alert_type: str, unit: str | None) -> str:
    return DASH if rule is None or rule[level] is None else limit(rule[level], alert_type, unit)


def _unmeasured(checks: Sequence[Document]) -> list[str]:
    told = [
        f"{alert_type_words(check['alert_type'])}: {check['summary']}" for check in checks if check["value"] is None
    ]
    return [f"Not measured: {'; '.join(told)}"] if told else []


UNITS = {"failure_rate": "%", "processing_time": "s", "running_time": "s"}


def _value(check: Document) -> str:
    if check["alert_type"] == "component_health":
        return HEALTH.get(check["value"], "healthy")
    if check["alert_type"].endswith("_silence") and not check["value"]:
        return "reports in time"
    return limit(round(check["value"], 2), check["alert_type"], check["unit"])


def _open_alerts(checks: Sequence[Document]) -> list[str]:
    return [f"Open: #{check['alert_id']} {alert_type_words(check['alert_type'])}: automon explain {check['alert_id']}" for check in checks if check["alert_id"]]  # fmt: skip


def _silences(checks: Sequence[Document], now: datetime) -> list[str]:
    told = {silence["id"]: silence for check in checks for silence in check["silences"]}
    return [f"Silenced until {clock(one['until'], now)} by {cut(one['by'], 30)}: {cut(one['reason'], 60) or 'no reason given'} (automon unsilence {number})" for number, one in told.items()]  # fmt: skip


def source_records(checks: Sequence[Document]) -> Iterator[Sequence[object]]:
    for check in checks:
        rule = check["rule"] or {}
        yield (
            check["alert_type"], check["source"], check["severity"], check["value"], check["unit"],
            *(rule.get(level) for level in LEVELS), check["alert_id"], check["summary"],
        )  # fmt: skip


def unknown_source(source: str, guess: str) -> tuple[str, str]:
    """Say that nothing bears a name, and where the names are: message and hint."""
    return (
        f"nothing that is watched is called {cut(source, 60)}.{guess}",
        "Names are those of task types, components, queues and hosts: automon tasks, automon errors, automon queues, automon hosts.",
    )
