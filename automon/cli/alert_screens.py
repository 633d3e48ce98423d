"""Lists of alerts and of silences, and what is said of what people do about them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from automon.cli.table import rest_column, table, text_column
from automon.cli.text import DASH, WIDTH, age, ago, clock, clock_or_day, cut, padded, printable, spread, when
from automon.cli.theme import State, Theme
from automon.errors import AutomonError
from notifiers.words import alert_type_words, counted

Document = dict[str, Any]
Record = Sequence[object]
EVERYTHING = "*"
ALERT_FIELDS = (
    "id", "severity", "status", "alert_type", "source", "opened_at", "resolved_at", "acknowledged_by", "summary",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertFilter:
    """Which alerts somebody asks for."""

    with_resolved: bool = False
    source: str | None = None
    severity: str | None = None
    alert_type: str | None = None
    since: timedelta | None = None
    unacknowledged: bool = False

    def describe(self) -> str:
        """Say what passes, as in "of mail, high or worse"."""
        parts = (
            f"of {printable(self.source)}" if self.source is not None else "",
            f"of type {self.alert_type}" if self.alert_type is not None else "",
            f"{self.severity} or worse" if self.severity is not None else "",
            f"within {age(self.since.total_seconds())}" if self.since is not None else "",
            "not acknowledged" if self.unacknowledged else "",
        )
        return ", ".join(part for part in parts if part)


def no_alerts(wanted: AlertFilter, last: Document | None, now: datetime) -> str:
    """Say in one sentence that nothing passes the filter, and where to look instead."""
    told = wanted.describe()
    kind = "alerts are kept" if wanted.with_resolved else "open alerts"
    sentence = f"No {kind}{' ' + told if told else ''}."
    if last is not None and not wanted.with_resolved:
        sentence += f" Last one: #{last['id']}, resolved {ago(last['resolved_at'], now)}."
    return sentence if wanted == AlertFilter(with_resolved=True) else f"{sentence} History: automon alerts --all"


def alert_records(alerts: Sequence[Document]) -> Iterator[Record]:
    return ([alert[field] for field in ALERT_FIELDS] for alert in alerts)


def alert_list(alerts: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    """Write one line for each alert: what, how bad, for how long, and who has it."""
    return [_alert_line(alert, now, theme) for alert in alerts]


def _alert_line(alert: Document, now: datetime, theme: Theme) -> str:
    mark = theme.mark(State.OK) if alert["status"] == "resolved" else theme.of_severity(alert["severity"])
    said = alert["peak_summary"] if alert["status"] == "resolved" else alert["summary"]
    left = f"{mark} #{alert['id']} {cut(alert['source'], 22)}  {cut(said, WIDTH)}"
    return spread(left, f"{age(alert['age_seconds']):>4}  {padded(_state(alert, now), 14)}")


def _state(alert: Document, now: datetime) -> str:
    match alert["status"]:
        case "acknowledged":
            return cut(f"acked by {alert['acknowledged_by']}", 14)
        case "silenced":
            return cut(f"silent {clock_or_day(alert['silenced_until'], now)}", 14)
        case "resolved":
            return cut(f"ended {ago(alert['resolved_at'], now)}", 14)
        case other:
            return str(other)


# What people do ---------------------------------------------------------------------------------------------------


def acked(alert_id: int, by: str, story: Document, now: datetime) -> str:
    open_for = age(max((now - datetime.fromisoformat(story["opened_at"])).total_seconds(), 0))
    return f"acked #{alert_id} {cut(story['source'], 30)} as {cut(by, 30)} (was open {open_for}); reminders stop"


def was_not_changed(alert_id: int, story: Document, now: datetime) -> str:
    """Say why acting on an alert has changed nothing."""
    if story["resolved_at"] is not None:
        return f"#{alert_id} was resolved {ago(story['resolved_at'], now)} by {cut(story['resolved_by'], 30)}"
    if story["acknowledged_at"] is not None:
        return f"#{alert_id} is in hand already: acked by {cut(story['acknowledged_by'], 30)} {ago(story['acknowledged_at'], now)}"
    return f"#{alert_id} is in nobody's hands"


def undo(command: str, numbers: Sequence[int]) -> str:
    return f"Undo: automon {command} {' '.join(map(str, numbers))}"


def preview_lines(preview: Document, source: str, alert_type: str, *, is_past: bool) -> list[str]:
    """Say what a silence would have hidden in the last week."""
    about = _about(source, alert_type)
    if not preview["alerts"]:
        return [f"In the last 7 days there was nothing to hide about {about}."]
    levels = [f"{preview[level]} {level}" for level in ("critical", "high", "medium", "low") if preview[level]]
    messages = counted(preview["messages"], "message")
    worst = f"#{preview['worst_alert_id']} {cut(preview['worst_source'], 30)}: {cut(preview['worst_summary'], WIDTH)}"
    began = "For scale: it" if is_past else "It"
    return [
        f"{began} would have hidden {messages} of {counted(preview['alerts'], 'alert')} ({', '.join(levels)}) in the last 7 days,",
        f"the worst {preview['worst_severity']}: {worst}",
    ]


def _about(source: str, alert_type: str) -> str:
    what = "everything" if source == EVERYTHING else cut(source, 40)
    return what if alert_type == EVERYTHING else f"{what} ({alert_type_words(alert_type)})"


def silenced(source: str, alert_type: str, until: datetime, by: str) -> str:
    return f"silenced {_about(source, alert_type)} until {when(until.isoformat())} as {cut(by, 30)}; alerts are kept, and told then if they still stand"


def silence_command(source: str) -> str:
    return f'automon silence {quote(printable(source))} 2h --reason "..."'


def silence_records(silences: Sequence[Document]) -> Iterator[Record]:
    keys = (
        "id", "source", "alert_type", "starts_at", "ends_at", "created_by", "ended_by", "is_active", "hidden_messages", "reason",
    )  # fmt: skip
    return ([silence[key] for key in keys] for silence in silences)


def silence_lines(silences: Sequence[Document], now: datetime) -> list[str]:
    """Write a head and a line for each silence: what, until when, who, and why."""
    columns = (
        text_column("ID"), text_column("SOURCE", most=24), text_column("TYPE", most=16), text_column("UNTIL"),
        text_column("BY", most=14), text_column("HID"), rest_column("REASON"),
    )  # fmt: skip
    return table(columns, [_silence_row(silence, now) for silence in silences])


def _silence_row(silence: Document, now: datetime) -> tuple[str, ...]:
    over = (
        ""
        if silence["is_active"]
        else f"ended by {cut(silence['ended_by'], 20)}: "
        if silence["ended_by"]
        else "over: "
    )
    return (
        str(silence["id"]),
        "everything" if silence["source"] == EVERYTHING else cut(silence["source"], 24),
        "all" if silence["alert_type"] == EVERYTHING else alert_type_words(silence["alert_type"]),
        clock(silence["ends_at"], now),
        cut(silence["created_by"], 14),
        str(silence["hidden_messages"]),
        cut(over + (silence["reason"] or DASH), WIDTH),
    )


def refuse_unknown_alert(alert_id: int) -> AutomonError:
    return AutomonError(f"there is no alert {alert_id}", hint="automon alerts lists those that are open.")
