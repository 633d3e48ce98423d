"""Tasks, errors by cause, queues, hosts, alerts and silences as lists: what they say, and that they fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.alert_screens import AlertFilter, alert_list, no_alerts, preview_lines, silence_lines
from automon.cli.text import cells
from automon.cli.theme import PLAIN, Theme
from automon.cli.work_screens import cause_lines, host_records, host_table, queue_table, task_screen, task_table
from tests.support.golden import assert_screen
from tests.support.screens import DAY, HOUR, MINUTE, NOW, ago, alert, failing_task, host, queue, task

pytestmark = pytest.mark.usefixtures("utc")
ASCII = Theme(is_unicode=False, encoding="ascii")
GIB = 1024**3


def cause(**values: Any) -> dict[str, Any]:
    return {
        "component": "invoice-sync", "error_type": "LedgerUnavailable", "signature": "HTTP #", "errors": 1204, "is_estimate": False, "severity": "high",
        "tasks": 37, "first_at": ago(3 * HOUR), "last_at": ago(2 * MINUTE), "sample_message": "HTTP 503 from api.ledger.example", "sample_task_id": "task-4711",
        "causes": 2,
    } | values  # fmt: skip


def details(**values: Any) -> dict[str, Any]:
    hours = [{"runs": n, "failed": n // 4, "p95_seconds": 41.0} for n in range(12)]
    return failing_task(
        running=7,
        oldest_start=ago(HOUR),
        hours=hours,
        running_now=[
            {"task_id": "task-1", "worker_id": "worker-01", "start_time": ago(HOUR), "current_step": "parse", "progress": 40.0, "heartbeat_at": ago(MINUTE)},
            {"task_id": "task-2", "worker_id": None, "start_time": ago(MINUTE), "current_step": None, "progress": None, "heartbeat_at": None},
        ],
        failures=[
            {"task_id": "task-3", "worker_id": "worker-02", "end_time": ago(MINUTE), "duration_seconds": 30.0, "error_message": "ConnectionError: refused"},
            {"task_id": "task-4", "worker_id": None, "end_time": ago(2 * DAY), "duration_seconds": 0.2, "error_message": None},
        ],
        silences=[],
    ) | values  # fmt: skip


IN_A_CONTAINER = host(
    "ops-2",
    severity="high",
    alert_id=9,
    alert_summary="disk is 96.5 % full (limit 95 %)",
    container={"memory_limit_bytes": 2 * GIB, "memory_percent": 88.0, "cpu_limit_cores": 1.5, "cpu_percent": 40.0},
    host_cpu_percent=12.0,
    host_memory_percent=41.0,
    disks=[
        {"mount": "/var", "percent": 96.5, "free_bytes": 4 * GIB, "total_bytes": 100 * GIB},
        {"mount": "/", "percent": 20.0, "free_bytes": None, "total_bytes": None},
    ],
)
SILENCES = [
    {"id": 3, "source": "*", "alert_type": "*", "starts_at": ago(HOUR), "ends_at": ago(-HOUR), "created_by": "ana", "reason": "moving house", "ended_by": None, "is_active": True, "hidden_messages": 4},
    {"id": 2, "source": "mail", "alert_type": "queue_backlog", "starts_at": ago(3 * DAY), "ends_at": ago(2 * DAY), "created_by": "ben", "reason": "", "ended_by": "ana", "is_active": False, "hidden_messages": 0},
]  # fmt: skip
SCREENS: dict[str, Callable[[Theme], list[str]]] = {
    "tasks": lambda theme: task_table([failing_task(), task("ocr", running=3, oldest_start=ago(MINUTE))], timedelta(hours=24), NOW, theme),
    "task": lambda theme: task_screen(details(), timedelta(hours=24), NOW, theme),
    "errors": lambda theme: cause_lines([cause(), cause(severity="low", errors=3, is_estimate=True, tasks=0, sample_task_id=None, sample_message="")], timedelta(hours=24), NOW, theme),
    "queues": lambda theme: queue_table([queue("exports", severity="medium", is_silent=True, reported_at=ago(20 * MINUTE)), queue(seconds_to_empty=None, change_per_minute=3.0), queue("q", pending=0, seconds_to_empty=0.0)], NOW, theme),
    "hosts": lambda theme: host_table([IN_A_CONTAINER, host("db-1", is_silent=True, severity="high", sampled_at=ago(HOUR)), host("web", disks=[], cpu_percent=None)], NOW, theme),
    "silences": lambda _: silence_lines(SILENCES, NOW),
    "alerts": lambda theme: alert_list([alert("critical", status="acknowledged", acknowledged_by="ana"), alert("low", status="silenced", silenced_until=ago(-HOUR)), alert("high", status="resolved", resolved_at=ago(HOUR))], NOW, theme),
}  # fmt: skip


@pytest.mark.parametrize("name", SCREENS)
def test_each_list_is_as_pinned(name: str) -> None:
    assert_screen(f"list_{name}", PLAIN.finish(SCREENS[name](PLAIN)))


@pytest.mark.parametrize("name", SCREENS)
def test_each_list_is_readable_without_utf8(name: str) -> None:
    shown = ASCII.finish(SCREENS[name](ASCII))

    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 80


@given(st.text(max_size=120), st.integers(0, 10**15))
def test_each_list_fits_a_terminal_whatever_things_are_called(text: str, number: int) -> None:
    lists = [
        task_table([failing_task(text, last_error=text, runs=number)], DAY, NOW, PLAIN),
        task_screen(details(task_type=text, failures=[{"task_id": text, "worker_id": text, "end_time": ago(MINUTE), "duration_seconds": float(number), "error_message": text}]), DAY, NOW, PLAIN),
        cause_lines([cause(component=text, error_type=text, sample_message=text, sample_task_id=text, errors=number, tasks=number)], DAY, NOW, PLAIN),
        queue_table([queue(text, pending=number, processing=number)], NOW, PLAIN),
        host_table([host(text, disks=[{"mount": text, "percent": 5.0, "free_bytes": number}] * 3)], NOW, PLAIN),
        silence_lines([SILENCES[0] | {"source": text, "reason": text, "created_by": text, "alert_type": text}], NOW),
    ]  # fmt: skip

    for lines in lists:
        shown = PLAIN.finish(lines).split("\n")
        assert max(map(cells, shown)) <= 80
        assert all(line.isprintable() for line in shown)


def test_a_host_is_a_record_with_its_disks_behind_it() -> None:
    [record] = host_records([IN_A_CONTAINER], ("host", "is_silent"))

    assert list(record) == ["ops-2", False, "/var", 96.5, "/", 20.0]


@pytest.mark.parametrize(
    ("wanted", "last", "sentence"),
    [
        pytest.param(AlertFilter(), None, "No open alerts. History: automon alerts --all", id="none ever"),
        pytest.param(AlertFilter(), {"id": 41, "resolved_at": ago(2 * HOUR)}, "No open alerts. Last one: #41, resolved 2h ago. History: automon alerts --all", id="none now"),
        pytest.param(AlertFilter(source="mail", severity="high", unacknowledged=True), None, "No open alerts of mail, high or worse, not acknowledged. History: automon alerts --all", id="filtered"),
        pytest.param(AlertFilter(with_resolved=True), None, "No alerts are kept.", id="no history"),
        pytest.param(AlertFilter(with_resolved=True, since=HOUR, alert_type="error_rate"), None, "No alerts are kept of type error_rate, within 60m. History: automon alerts --all", id="no such history"),
    ],
)  # fmt: skip
def test_an_empty_list_names_the_filter_and_the_next_command(
    wanted: AlertFilter, last: dict[str, Any] | None, sentence: str
) -> None:
    assert no_alerts(wanted, last, NOW) == sentence


PREVIEW = {
    "messages": 4, "alerts": 2, "low": 0, "medium": 1, "high": 0, "critical": 1, "worst_alert_id": 41, "worst_source": "mail",
    "worst_severity": "critical", "worst_summary": "1,204 waiting (limit 500)", "worst_opened_at": ago(DAY),
}  # fmt: skip


def test_a_silence_says_what_it_would_have_hidden() -> None:
    assert preview_lines(PREVIEW, "mail", "*", is_past=True) == [
        "For scale: it would have hidden 4 messages of 2 alerts (1 critical, 1 medium) in the last 7 days,",
        "the worst critical: #41 mail: 1,204 waiting (limit 500)",
    ]
    assert preview_lines(PREVIEW | {"alerts": 0}, "*", "error_rate", is_past=False) == [
        "In the last 7 days there was nothing to hide about everything (error rate)."
    ]
