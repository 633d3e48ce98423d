"""`automon status`: what is wrong and how the work goes, on one screen of 24 lines by 80 cells. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from automon.cli.own_lines import age_of_check, drift_lines, hosts_of_services, next_steps, own_lines, services
from automon.cli.table import number_column, rest_column, table, text_column
from automon.cli.text import (
    DASH,
    WIDTH,
    age,
    ago,
    cells,
    clip,
    cut,
    local,
    padded,
    rate,
    span,
    spread,
    time_with_zone,
)
from automon.cli.theme import OF_SEVERITY, State, Theme
from automon.cli.verdict import Verdict, replica_document
from automon.models import Replica
from notifiers.words import counted

Document = dict[str, Any]
HEIGHT = 24
MOST_ALERTS, MOST_TASKS, MOST_QUEUES = 5, 5, 4
# So much of the strip is for hosts, the rest for components.
HOSTS_WIDTH = 45
STATE_WORDS = {"open": "open", "acknowledged": "acked", "silenced": "silenced", "resolved": "resolved"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What `get_status` has found, and what the reader wants to see of it."""

    report: Document
    alerts: Sequence[Document]
    left_out: int
    verdict: Verdict
    now: datetime
    replica: Replica | None = None
    drift: Sequence[Document] = ()
    """What SQL has changed past the config file."""

    @property
    def summary(self) -> Document:
        found: Document = self.report["summary"]
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A head and its rows. `draw` makes the lines for so many rows at most; `wanted` is how many it would show."""

    draw: Callable[[int], list[str]]
    wanted: int
    # The head takes a line of its own as soon as one row is shown.
    head: int = 1


def status_lines(status: Status, theme: Theme, height: int = HEIGHT) -> list[str]:
    """Draw the whole screen, in at most that many lines."""
    head = [headline(status, theme)]
    own = own_lines(status.summary, status.now, status.verdict, status.replica, theme)
    below = [
        [*_strip(status.report, theme), *own, *drift_lines(status.drift, theme)],
        next_steps(status.summary, status.alerts, status.verdict),
    ]
    if status.verdict.name == "ok" and not status.alerts:
        return _joined([[*head, *_quiet_lines(status), *below[0][_strip_height(status.report) :]], below[1]])
    more = max(0, height - HEIGHT)
    sections = [alert_section(status, theme, more), task_section(status, theme, more), queue_section(status, theme, more)]  # fmt: skip
    # An empty line stands above each section but the first.
    taken = len(head) + sum(1 + len(part) for part in below if part)
    return _joined([head, *fitted(sections, height - taken), *below])


def _joined(sections: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for section in sections:
        if section:
            lines += ["", *section] if lines else section
    return [clip(line, WIDTH) for line in lines]


def fitted(sections: Sequence[Section], room: int) -> list[list[str]]:
    """Give each section as many rows as it wants, and take from the longest until all have room."""
    rows = [section.wanted for section in sections]

    def height() -> int:
        return sum(1 + section.head + count for section, count in zip(sections, rows, strict=True) if section.wanted)

    while height() > room and max(rows, default=0) > 1:
        # Of two that are as long the later one gives way: alerts stand above the rest.
        longest = max(rows)
        rows[len(rows) - 1 - rows[::-1].index(longest)] -= 1
    return [section.draw(count) for section, count in zip(sections, rows, strict=True) if section.wanted]


def headline(status: Status, theme: Theme) -> str:
    own = status.summary["automon"]
    time = time_with_zone(status.now)
    check = f"last check {age_of_check(status.summary)}"
    match status.verdict.name:
        case "behind":
            return _head(
                theme,
                State.UNKNOWN,
                "THE REPLICA IS BEHIND",
                f"last check that it knows {age_of_check(status.summary)}",
                time,
            )
        case "stale" if own["last_check"] is None:
            return _head(theme, State.UNKNOWN, "AUTOMON HAS NOT CHECKED YET", "", time)
        case "stale":
            return _head(theme, State.UNKNOWN, "AUTOMON IS NOT CHECKING", f"{services(own)}; {check}", time)
        case "ok":
            return _head(theme, State.OK, "ALL OK", _all_well(status), _who_and_when(own, status.now))
        case _:
            worst = OF_SEVERITY[status.alerts[0]["severity"] if status.alerts else status.verdict.severity]
            return _head(theme, worst, "PROBLEMS", _counted_alerts(status), _who_and_when(own, status.now))  # fmt: skip


def _head(theme: Theme, state: State, word: str, told: str, right_text: str) -> str:
    left = f"{theme.mark(state)} {theme.paint(state, word)}" + (f"   {told}" if told else "")
    return spread(left, right_text)


def _who_and_when(own: Document, now: datetime) -> str:
    """Name the host that the only service runs on and since when, and what time it is for the reader."""
    running = own["services"]
    if len(running) != 1:
        return time_with_zone(now)
    up = age(max((now - local(running[0]["since"])).total_seconds(), 0))
    return f"{clip(hosts_of_services(own)[0], 20)}  up {up}  {time_with_zone(now)}"


def _counted_alerts(status: Status) -> str:
    counts = [
        f"{number} {severity}"
        for severity in ("critical", "high", "medium", "low")
        if (number := sum(alert["severity"] == severity for alert in status.alerts))
    ]
    return ", ".join([*counts, *_taken(status)])


def _taken(status: Status) -> list[str]:
    return [f"{status.left_out} acked"] if status.left_out else []


def _all_well(status: Status) -> str:
    report = status.report
    parts = [
        (_total(report["tasks"], "task_types"), "task"),
        (_total(report["queues"], "queues"), "queue"),
        (_total(report["components"], "components"), "component"),
        (_total(report["hosts"], "hosts"), "host"),
    ]
    told = [counted(count, thing) for count, thing in parts if count]
    return ", ".join([*_taken(status), *(told or ["nothing is reported yet"])])


def _total(rows: Sequence[Document], key: str) -> int:
    return int(rows[0][key]) if rows else 0


def _quiet_lines(status: Status) -> list[str]:
    last = status.report["last_resolved"]
    if last is None:
        return ["Last alert: none is kept"]
    return [f"Last alert: #{last['id']} {cut(last['source'], 40)}, resolved {ago(last['resolved_at'], status.now)}"]


# Alerts ---------------------------------------------------------------------------------------------------------


def alert_section(status: Status, theme: Theme, more: int = 0) -> Section:
    wanted = min(len(status.alerts), MOST_ALERTS + more)
    return Section(draw=lambda rows: alert_lines(status.alerts, rows, theme), wanted=wanted)


def alert_lines(alerts: Sequence[Document], rows: int, theme: Theme) -> list[str]:
    """Write a head and that many alerts, each with twelve hours of its value, its age and its state."""
    shown = alerts[:rows]
    more = f"   +{len(alerts) - rows:,} more: automon alerts" if len(alerts) > rows else ""
    head = spread(f"ALERTS (worst first){more}", f"{'12h trend':<12}  {'age':>4}  {'state':<8}")
    return [head, *(_alert_line(alert, theme) for alert in shown)]


def _alert_line(alert: Document, theme: Theme) -> str:
    left = f"{theme.of_severity(alert['severity'])} #{alert['id']} {cut(alert['source'], 22)}  {cut(alert['summary'], WIDTH)}"
    trend = alert.get("trend")
    bars = theme.bars(trend["values"]) if trend else ""
    right_text = f"{padded(bars, 12)}  {age(alert['age_seconds']):>4}  {STATE_WORDS[alert['status']]:<8}"
    return spread(left, right_text)


# Tasks ----------------------------------------------------------------------------------------------------------


def task_section(status: Status, theme: Theme, more: int = 0) -> Section:
    rows = status.report["tasks"]
    return Section(
        draw=lambda most: task_lines(rows, most, status.now, theme), wanted=min(len(rows), MOST_TASKS + more)
    )


def task_lines(rows: Sequence[Document], most: int, now: datetime, theme: Theme) -> list[str]:
    """Write a head and that many task types, those in trouble first, each with its last 24 hours and why it is told."""
    shown = rows[:most]
    columns = (
        text_column("TASKS, last 24h", most=24),
        number_column("runs"),
        number_column("failed"),
        number_column("p95"),
        text_column("last run"),
        rest_column(_more(rows, len(shown), "task_types", "ok_task_types", "automon tasks")),
    )
    return table(columns, [_task_row(row, now, theme) for row in shown])


def _task_row(row: Document, now: datetime, theme: Theme) -> tuple[str, ...]:
    return (
        f"{theme.mark(task_state(row))} {cut(row['task_type'], 22)}",
        f"{row['runs']:,}",
        f"{row['failure_rate_percent']:.1f} %" if row["failure_rate_percent"] is not None else DASH,
        span(row["p95_seconds"]),
        last_run(row, now),
        why_of_task(row, now),
    )


def task_state(row: Document) -> State:
    if row["severity"] is not None:
        return OF_SEVERITY[row["severity"]]
    return State.WARNING if row["last_status"] == "failed" else State.OK


def last_run(row: Document, now: datetime) -> str:
    if row["last_ended_at"] is None and row["running"]:
        return "running"
    return ago(row["last_ended_at"], now)


def why_of_task(row: Document, now: datetime) -> str:
    """Say why a task type stands where it stands: its alert, how its last run failed, or what runs."""
    if row["last_status"] == "failed":
        return cut(f"failed: {row['last_error'] or 'no message'}", WIDTH)
    if row["alert_summary"]:
        return cut(row["alert_summary"], WIDTH)
    if row["running"]:
        oldest = span(max((now - local(row["oldest_start"])).total_seconds(), 0))
        return f"{row['running']:,} running, {oldest}"
    return ""


def _more(rows: Sequence[Document], shown: int, all_key: str, ok_key: str, command: str) -> str:
    """Say how many stand below the last row, and whether they are all well."""
    below = _total(rows, all_key) - shown
    if below <= 0:
        return ""
    ill = _total(rows, all_key) - _total(rows, ok_key) - sum(1 for row in rows[:shown] if _is_ill(row))
    return f"(+{below:,}{' are ok' if ill <= 0 else ''}: {command})"


def _is_ill(row: Document) -> bool:
    return row["severity"] is not None or row.get("last_status") == "failed"


# Queues ---------------------------------------------------------------------------------------------------------


def queue_section(status: Status, theme: Theme, more: int = 0) -> Section:
    rows = status.report["queues"]
    return Section(draw=lambda most: queue_lines(rows, most, theme), wanted=min(len(rows), MOST_QUEUES + more))


def queue_lines(rows: Sequence[Document], most: int, theme: Theme) -> list[str]:
    """Write a head and that many queues: what waits, what comes in, what goes out, when each would be empty."""
    shown = rows[:most]
    columns = (
        text_column("QUEUES", most=24),
        number_column("waiting"),
        number_column("oldest"),
        number_column("in/min"),
        number_column("out/min"),
        text_column("empty in"),
        rest_column(_more(rows, len(shown), "queues", "ok_queues", "automon queues")),
    )
    return table(columns, [queue_row(row, theme) for row in shown])


def queue_row(row: Document, theme: Theme) -> tuple[str, ...]:
    return (
        f"{theme.of_severity(row['severity'])} {cut(row['queue_name'], 22)}",
        f"{row['pending']:,}",
        span(row["oldest_pending_seconds"]),
        rate(row["in_per_minute"]),
        rate(row["out_per_minute"]),
        empty_in(row),
        f"silent: {cut(row['alert_summary'] or '', 60)}" if row["is_silent"] else "",
    )


def empty_in(row: Document) -> str:
    if row["seconds_to_empty"] is not None:
        return span(row["seconds_to_empty"]) if row["pending"] else "now"
    if row["change_per_minute"] is None:
        return DASH
    return "never, growing" if row["change_per_minute"] > 0 else "steady"


# Hosts and components ---------------------------------------------------------------------------------------------


def _strip(report: Document, theme: Theme) -> list[str]:
    """Write one line about hosts and components, or none when there are none."""
    hosts, components = report["hosts"], report["components"]
    if not hosts and not components:
        return []
    left = f"HOSTS      {_names(hosts, 'host', _total(hosts, 'hosts'), HOSTS_WIDTH - 11, theme)}" if hosts else ""
    if not components:
        return [left]
    beside = f"{padded(left, min(HOSTS_WIDTH, cells(left) + 6))}  " if left else ""
    return [f"{beside}COMPONENTS   {_components(components, WIDTH - cells(beside) - 13, theme)}"]


def _strip_height(report: Document) -> int:
    return 1 if report["hosts"] or report["components"] else 0


def _names(rows: Sequence[Document], key: str, total: int, room: int, theme: Theme) -> str:
    told = ""
    for index, row in enumerate(rows):
        silent = " silent" if row["is_silent"] else ""
        name = f"{theme.of_severity(row['severity'])} {cut(row[key], 20)}{silent}"
        longer = f"{told}   {name}" if told else name
        more = f"   +{total - index - 1}" if total > index + 1 else ""
        if told and cells(longer) + cells(more) > room:
            return f"{told}   +{total - index}"
        told = longer
    return f"{told}   +{total - len(rows)}" if total > len(rows) else told


def _components(rows: Sequence[Document], room: int, theme: Theme) -> str:
    total, well = _total(rows, "components"), _total(rows, "ok_components")
    if total == well:
        return f"{theme.mark(State.OK)} {well} of {total} healthy"
    worst = rows[0]
    word = "silent" if worst["is_silent"] else worst["status"] if worst["status"] != "healthy" else "slow"
    state = OF_SEVERITY[worst["severity"]] if worst["severity"] else State.WARNING
    counts = f"{well} of {total} ok"
    left = room - theme.mark_width - cells(f" {counts}:  {word}")
    return f"{theme.mark(state)} {counts}" + (f": {cut(worst['source'], left)} {word}" if left > 5 else "")


# Other forms ------------------------------------------------------------------------------------------------------

TOTALS = frozenset(
    {"task_types", "ok_task_types", "queues", "ok_queues", "hosts", "ok_hosts", "components", "ok_components"}
)


def status_document(status: Status) -> Document:
    """Give what --json says: the summary and the alerts as they are, and of the work those in trouble and a few others."""
    report = status.report
    return {
        "verdict": status.verdict.name,
        "exit_code": status.verdict.exit_code,
        "summary": report["summary"],
        "alerts": list(status.alerts),
        "last_resolved": report["last_resolved"],
        **{kind: _counted_part(report[kind]) for kind in ("tasks", "queues", "hosts", "components")},
        "replica": replica_document(status.replica),
        "drift": len(status.drift),
    }


def _counted_part(rows: Sequence[Document]) -> Document:
    shown = [{key: value for key, value in row.items() if key not in TOTALS} for row in rows]
    totals = {key.partition("_")[0]: value for key, value in (rows[0] if rows else {}).items() if key in TOTALS}
    ok = totals.pop("ok", 0)
    return {"total": next(iter(totals.values()), 0), "ok": ok, "shown": shown}


def status_records(status: Status) -> Iterator[Sequence[object]]:
    """Give what --plain says: a record for each thing, its kind first."""
    summary, report = status.summary, status.report
    own = summary["automon"]
    check = own["last_check"] or {"age_seconds": None, "outcome": None}
    yield "verdict", status.verdict.name, status.verdict.exit_code, summary["generated_at"]
    yield "check", check["outcome"], check["age_seconds"], len(own["services"])
    for alert in status.alerts:
        yield "alert", alert["id"], alert["severity"], alert["status"], alert["alert_type"], alert["source"], alert["opened_at"], alert["summary"]  # fmt: skip
    for row in report["tasks"]:
        yield "task", row["task_type"], row["severity"], row["runs"], row["failed"], row["p95_seconds"], row["running"], row["last_ended_at"]  # fmt: skip
    for row in report["queues"]:
        yield "queue", row["queue_name"], row["severity"], row["pending"], row["oldest_pending_seconds"], row["seconds_to_empty"], row["is_silent"]  # fmt: skip
    for row in report["hosts"]:
        yield "host", row["host"], row["severity"], row["cpu_percent"], row["memory_percent"], row["is_silent"]
    for row in report["components"]:
        yield "component", row["source"], row["severity"], row["status"], row["reported_at"], row["is_silent"]
    for channel in own["channels"]:
        yield "channel", channel["name"], channel["state"], channel["waiting"], channel["failed_24h"], channel["last_sent_at"]  # fmt: skip
    yield "drift", len(status.drift)
