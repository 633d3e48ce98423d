"""What `automon tasks`, `errors`, `queues` and `hosts` show of the work that is watched. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from automon.cli.status_screen import empty_in, last_run, queue_row, task_state, why_of_task
from automon.cli.table import number_column, rest_column, table, text_column
from automon.cli.text import DASH, WIDTH, age, ago, cells, clock, cut, local, percent, span, spread, time_with_zone
from automon.cli.theme import State, Theme
from notifiers.words import counted
from notifiers.words import number as grouped

Document = dict[str, Any]
Record = Sequence[object]
TASK_FIELDS = (
    "task_type", "severity", "runs", "completed", "failed", "cancelled", "failure_rate_percent", "p50_seconds", "p95_seconds", "p99_seconds",
    "running", "oldest_start", "last_ended_at", "last_status", "last_failed_at", "alert_id", "last_error",
)  # fmt: skip
FAILURE_FIELDS = ("end_time", "task_id", "worker_id", "duration_seconds", "current_step", "error_message")
CAUSE_FIELDS = (
    "component", "error_type", "errors", "is_estimate", "severity", "tasks", "first_at", "last_at", "sample_task_id", "signature", "sample_message",
)  # fmt: skip
QUEUE_FIELDS = (
    "queue_name", "severity", "pending", "processing", "oldest_pending_seconds", "in_per_minute", "out_per_minute", "change_per_minute", "seconds_to_empty",
    "reported_at", "is_silent", "alert_id",
)  # fmt: skip
HOST_FIELDS = (
    "host", "severity", "cpu_percent", "memory_percent", "sampled_at", "is_silent", "alert_id", "host_cpu_percent", "host_memory_percent",
)  # fmt: skip
GIB = 1024**3


def records(rows: Sequence[Document], keys: Sequence[str]) -> Iterator[Record]:
    return ([row[key] for key in keys] for row in rows)


def without_totals(rows: Sequence[Document], *keys: str) -> list[Document]:
    """Leave out of the rows what counts all of them."""
    return [{key: value for key, value in row.items() if key not in keys} for row in rows]


# Tasks ----------------------------------------------------------------------------------------------------------


def task_table(rows: Sequence[Document], window: timedelta, now: datetime, theme: Theme) -> list[str]:
    """Write one line for each task type, those in trouble first."""
    columns = (
        text_column(f"TASKS, last {age(window.total_seconds())}", most=26), number_column("runs"), number_column("failed"),
        number_column("p50"), number_column("p95"), text_column("last run"), rest_column(),
    )  # fmt: skip
    return table(columns, [_task_row(row, now, theme) for row in rows])


def _task_row(row: Document, now: datetime, theme: Theme) -> tuple[str, ...]:
    failed = f"{row['failure_rate_percent']:.1f} %" if row["failure_rate_percent"] is not None else DASH
    name = f"{theme.mark(task_state(row))} {cut(row['task_type'], 24)}"
    return (
        name, f"{row['runs']:,}", failed, span(row["p50_seconds"]), span(row["p95_seconds"]), last_run(row, now), why_of_task(row, now),
    )  # fmt: skip


def task_screen(details: Document, window: timedelta, now: datetime, theme: Theme) -> list[str]:
    """Write how one task type fares: counts, durations, what runs, what failed."""
    hours = details["hours"]
    state = task_state(details)
    failed = f"{details['failed']:,} failed" + (f" ({details['failure_rate_percent']:.1f} %)" if details["failure_rate_percent"] else "")  # fmt: skip
    cancelled = f", {details['cancelled']:,} cancelled" if details["cancelled"] else ""
    durations = ", ".join(f"{name} {span(details[f'{name}_seconds'])}" for name in ("p50", "p95", "p99"))
    return [
        spread(f"{theme.mark(state)} {cut(details['task_type'], 40)}   last {age(window.total_seconds())}", time_with_zone(now)),
        "",
        f"  runs       {details['runs']:,} ended, {failed}{cancelled}; last {ago(details['last_ended_at'], now)}",
        f"  took       {durations}",
        f"  runs 12h   {theme.bars([float(hour['runs']) for hour in hours])}   most {max(hour['runs'] for hour in hours):,} in an hour",
        f"  failed 12h {theme.bars([float(hour['failed']) for hour in hours])}   most {max(hour['failed'] for hour in hours):,} in an hour",
        *_alert_of(details),
        *_running(details, now),
        *_failures(details["failures"], now, theme),
        *_silences_of(details, now),
    ]  # fmt: skip


def _alert_of(details: Document) -> list[str]:
    if details["alert_id"] is None:
        return []
    return [f"  alert      {cut(details['alert_summary'], 60)}: automon explain {details['alert_id']}"]


def _running(details: Document, now: datetime) -> list[str]:
    if not details["running"]:
        return []
    columns = (text_column(), text_column(most=28), text_column(most=16), rest_column())
    rows = [
        (
            span(max((now - local(one["start_time"])).total_seconds(), 0)),
            cut(one["task_id"], 28),
            cut(one["worker_id"] or DASH, 16),
            _progress(one, now),
        )
        for one in details["running_now"]
    ]
    shown = f", the oldest {len(rows)}" if details["running"] > len(rows) else ""
    return [
        "",
        f"Running now: {details['running']:,}{shown}",
        *(f"  {line}" for line in table(columns, rows, WIDTH - 2)),
    ]


def _progress(one: Document, now: datetime) -> str:
    parts = (
        f"step {cut(one['current_step'], 20)}" if one["current_step"] else "",
        f"{one['progress']:.0f} % done" if one["progress"] is not None else "",
        f"heartbeat {ago(one['heartbeat_at'], now)}" if one["heartbeat_at"] else "",
    )
    return ", ".join(part for part in parts if part)


def _failures(failures: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    if not failures:
        return []
    columns = (text_column(), text_column(most=24), text_column(most=14), number_column(""), rest_column())
    rows = [
        (
            f"{theme.mark(State.CRITICAL)} {clock(one['end_time'], now)}",
            cut(one["task_id"], 24),
            cut(one["worker_id"] or DASH, 14),
            span(one["duration_seconds"]),
            cut(one["error_message"] or "no message", WIDTH),
        )
        for one in failures
    ]
    return ["", "Last failures", *(f"  {line}" for line in table(columns, rows, WIDTH - 2))]


def _silences_of(details: Document, now: datetime) -> list[str]:
    return [
        f"Silenced until {clock(one['until'], now)} by {cut(one['by'], 30)} (automon unsilence {one['id']})"
        for one in details["silences"]
    ]


# Errors ---------------------------------------------------------------------------------------------------------


def cause_lines(rows: Sequence[Document], window: timedelta, now: datetime, theme: Theme) -> list[str]:
    """Write two lines for each cause: how often and since when, and one message as a sample."""
    total, causes = sum(row["errors"] for row in rows), rows[0]["causes"]
    about = "about " if any(row["is_estimate"] for row in rows) else ""
    beyond = f", the {len(rows)} most frequent" if causes > len(rows) else ""
    head = f"ERRORS, last {age(window.total_seconds())}: {about}{counted(total, 'error')}, {counted(causes, 'cause')}{beyond}"
    return [spread(head, time_with_zone(now)), *(line for row in rows for line in _cause(row, now, theme))]


def _cause(row: Document, now: datetime, theme: Theme) -> list[str]:
    count = f"{'~' if row['is_estimate'] else ''}{row['errors']:,}x"
    tasks = f"{counted(row['tasks'], 'task')}  " if row["tasks"] else ""
    first, last = clock(row["first_at"], now), ago(row["last_at"], now)
    left = f"{theme.of_severity(row['severity'])} {count:>7}  {cut(row['component'], 24)}  {cut(row['error_type'], 30)}"
    sample = " " * (theme.mark_width + 10) + cut(row["sample_message"] or "no message", WIDTH)
    task = f"task {cut(row['sample_task_id'], 30)}" if row["sample_task_id"] else ""
    # The message says more than one of its tasks.
    has_room = cells(sample) + cells(task) + 2 <= WIDTH
    return [spread(left, f"{tasks}first {first}  last {last}"), spread(sample, task if has_room else "")]


# Queues ---------------------------------------------------------------------------------------------------------


def queue_table(rows: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    """Write one line for each queue, those in trouble first."""
    columns = (
        text_column("QUEUES", most=20), number_column("waiting"), number_column("in work"), number_column("oldest"), number_column("in/min"),
        number_column("out/min"), text_column("empty in"), rest_column("reported"),
    )  # fmt: skip
    return table(columns, [_queue_row(row, now, theme) for row in rows])


def _queue_row(row: Document, now: datetime, theme: Theme) -> tuple[str, ...]:
    name, pending, oldest, incoming, outgoing, _, _ = queue_row(row, theme)
    working = f"{row['processing']:,}" if row["processing"] is not None else DASH
    reported = ago(row["reported_at"], now)
    return name, pending, working, oldest, incoming, outgoing, empty_in(row).removeprefix("never, "), f"silent {span(max((now - local(row['reported_at'])).total_seconds(), 0))}" if row["is_silent"] else reported  # fmt: skip


# Hosts ----------------------------------------------------------------------------------------------------------


def host_table(rows: Sequence[Document], now: datetime, theme: Theme) -> list[str]:
    """Write one line for each host, those in trouble first; a line below for each disk but the fullest, and for limits."""
    columns = (
        text_column("HOSTS", most=26), number_column("cpu"), number_column("memory"), rest_column("fullest disk"), text_column("seen"),
    )  # fmt: skip
    lines = table(columns, [_host_row(row, now, theme) for row in rows])
    return [lines[0], *(line for row, drawn in zip(rows, lines[1:], strict=True) for line in (drawn, *_host_details(row, theme)))]  # fmt: skip


def host_records(rows: Sequence[Document], keys: Sequence[str]) -> Iterator[Record]:
    """Give a record for each host, and behind its own fields those of each disk: mount and percent."""
    for row in rows:
        yield [
            *(row[key] for key in keys),
            *(part for disk in row["disks"] for part in (disk["mount"], disk["percent"])),
        ]


def _host_row(row: Document, now: datetime, theme: Theme) -> tuple[str, ...]:
    disks = row["disks"]
    seen = ago(row["sampled_at"], now)
    return (
        f"{theme.of_severity(row['severity'])} {cut(row['host'], 24)}",
        percent(row["cpu_percent"]),
        percent(row["memory_percent"]),
        _disk(disks[0]) if disks else DASH,
        f"SILENT, {seen}" if row["is_silent"] else seen,
    )


def _disk(disk: Document) -> str:
    free = f", {disk['free_bytes'] / GIB:,.0f} GiB free" if disk["free_bytes"] is not None else ""
    return f"{percent(disk['percent'])} {cut(disk['mount'] or '', 30)}{free}"


def _host_details(row: Document, theme: Theme) -> Iterator[str]:
    indent = " " * (theme.mark_width + 1)
    others = row["disks"][1:]
    if others:
        yield spread(f"{indent}disks      {', '.join(map(_disk, others))}", "")
    container = row["container"]
    if container:
        yield spread(f"{indent}container  {_container(container)}", "")
        yield f"{indent}machine    CPU {percent(row['host_cpu_percent'])}, memory {percent(row['host_memory_percent'])}"
    if row["alert_summary"]:
        yield spread(f"{indent}alert      #{row['alert_id']} {cut(row['alert_summary'], 60)}", "")


def _container(container: Document) -> str:
    parts = (
        _limited("CPU", container.get("cpu_percent"), container.get("cpu_limit_cores"), "cores"),
        _limited("memory", container.get("memory_percent"), _gib(container.get("memory_limit_bytes")), "GiB"),
    )
    return ", ".join(part for part in parts if part) or "without limits"


def _gib(size: float | None) -> float | None:
    return None if size is None else round(size / GIB, 1)


def _limited(name: str, used: float | None, most: float | None, unit: str) -> str:
    return f"{name} {percent(used)} of {grouped(most)} {unit}" if most is not None else ""
