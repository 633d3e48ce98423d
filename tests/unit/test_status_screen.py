"""`automon status`: what it says, in which order, and that it fits a terminal of 80 by 24 whatever is in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.alert_screens import alert_list
from automon.cli.reading import tabbed
from automon.cli.status_screen import Status, headline, status_document, status_lines, status_records
from automon.cli.text import cells
from automon.cli.theme import PLAIN, Theme
from automon.cli.verdict import Verdict, status_verdict, unacknowledged, worst_code
from automon.models import Replica
from tests.support.golden import assert_screen
from tests.support.screens import (
    DAY,
    HOUR,
    NOW,
    ago,
    alert,
    channel,
    component,
    failing,
    failing_task,
    host,
    queue,
    report,
    service,
    stopped,
    summary,
    task,
)

pytestmark = pytest.mark.usefixtures("utc")
ASCII = Theme(is_unicode=False, encoding="ascii")


def status_of(
    alerts: Sequence[dict[str, Any]] = (), *, replica: Replica | None = None, left_out: int = 0, **parts: Any
) -> Status:
    found = report(alerts=list(alerts), **parts)
    verdict = status_verdict(found["summary"], alerts, replica)
    return Status(report=found, alerts=alerts, left_out=left_out, verdict=verdict, now=NOW, replica=replica)


def screen(alerts: Sequence[dict[str, Any]] = (), theme: Theme = PLAIN, **parts: Any) -> str:
    return theme.finish(status_lines(status_of(alerts, **parts), theme))


def _headline(alerts: Sequence[dict[str, Any]] = (), *, left_out: int) -> str:
    return PLAIN.finish([headline(status_of(alerts, left_out=left_out), PLAIN)])


# Verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "verdict", "line"),
    [
        pytest.param(timedelta(0), Verdict("stale", 3), "REPLICA    0s behind", id="up to date"),
        pytest.param(timedelta(seconds=59), Verdict("stale", 3), "REPLICA    59s behind", id="a little"),
        pytest.param(timedelta(hours=3), Verdict("behind", 4), "REPLICA    is behind by 3h; what it shows may be old: add --primary", id="far"),
        pytest.param(None, Verdict("behind", 4), "REPLICA    is behind by an unknown time; what it shows may be old: add --primary", id="unknown"),
    ],
)  # fmt: skip
def test_of_a_replica_that_is_behind_it_is_not_said_that_the_checks_have_stopped(
    behind: timedelta | None, verdict: Verdict, line: str
) -> None:
    found = status_of(replica=Replica(behind=behind), automon={"last_check": None})

    shown = PLAIN.finish(status_lines(found, PLAIN))

    assert found.verdict == verdict
    assert line in shown.splitlines()
    assert ("automon status --primary" in shown) is (verdict.name == "behind")
    assert ("THE REPLICA IS BEHIND" in shown) is (verdict.name == "behind")
    assert max(map(len, shown.splitlines())) <= 80


def test_an_alert_that_a_late_replica_shows_keeps_its_exit_code() -> None:
    check = {"age_seconds": 90.0, "outcome": "succeeded", "error": None}

    assert status_verdict(summary(last_check=check), [alert("critical")], Replica(behind=timedelta(minutes=5))) == Verdict("critical", 2)  # fmt: skip


@pytest.mark.parametrize(
    ("severities", "code"),
    [([], 0), (["low"], 1), (["high", "medium"], 1), (["low", "critical"], 2)],
    ids=["none", "low", "high", "critical"],
)
def test_the_exit_code_is_that_of_the_worst_alert(severities: list[str], code: int) -> None:
    assert worst_code([alert(severity) for severity in severities]) == code


def test_what_is_in_somebodys_hands_can_be_left_out() -> None:
    acked = alert("critical", id=40, status="acknowledged", acknowledged_at=ago(HOUR), acknowledged_by="ana")

    assert unacknowledged([acked, alert("low", id=42)]) == [alert("low", id=42)]
    assert "PROBLEMS   1 low, 1 acked   " in _headline([alert("low")], left_out=1)
    assert "ALL OK   1 acked, 1 task, 1 queue" in _headline(left_out=1)


@pytest.mark.parametrize(
    ("seconds", "every", "name", "code"),
    [
        pytest.param(18, 300, "ok", 0, id="fresh"),
        pytest.param(899, 300, "ok", 0, id="three rounds ago"),
        pytest.param(901, 300, "stale", 3, id="more than three rounds ago"),
        pytest.param(5, 1, "stale", 3, id="seconds, of a service that checks each"),
        pytest.param(7200, 3600, "ok", 0, id="hours, of a service that checks hourly"),
    ],
)
def test_checks_that_stopped_are_told_before_anything_else(seconds: float, every: float, name: str, code: int) -> None:
    check = {"at": NOW.isoformat(), "age_seconds": seconds, "outcome": "succeeded", "error": None}

    verdict = status_verdict(summary(last_check=check, check_every_seconds=every), [])

    assert verdict == Verdict(name, code)
    assert status_verdict(summary(last_check=None), [alert("critical")]) == Verdict("stale", 3)


# The screen -----------------------------------------------------------------------------------------------------


def test_a_quiet_day_is_four_lines() -> None:
    assert_screen("status_quiet", screen())
    assert len(screen().splitlines()) == 4
    assert "Last alert: none is kept" in screen(last_resolved=None)
    assert screen(tasks=[], queues=[], hosts=[], components=[]).startswith("✓ ALL OK   nothing is reported yet")


@pytest.mark.parametrize("theme", [PLAIN, ASCII], ids=["utf-8", "ascii"])
def test_a_bad_day_is_told_in_the_order_of_what_matters(theme: Theme) -> None:
    acked = {"status": "acknowledged", "acknowledged_at": ago(HOUR), "acknowledged_by": "ana"}
    alerts = [
        alert("critical", id=41, source="invoice-sync", summary="30 % of tasks fail (limit 5 %)"),
        alert("critical", id=40, age_seconds=1500.0, **acked),
        alert("medium", id=38, source="ops-2 /var", summary="disk is 91 % full (limit 90 %)", trend=None),
    ]
    tasks = [failing_task(), task("report-daily", runs=1, p95_seconds=3720.0, last_ended_at=ago(6 * HOUR))]
    queues = [queue(severity="critical", pending=1204, seconds_to_empty=None, change_per_minute=39.0, oldest_pending_seconds=1860.0, in_per_minute=42.0, out_per_minute=3.0)]  # fmt: skip
    hosts = [host("ops-2", severity="medium", hosts=3, ok_hosts=2), host("ops-1"), host("db-1")]

    shown = screen(
        alerts,
        theme,
        tasks=[row | {"task_types": 33, "ok_task_types": 32} for row in tasks],
        queues=queues,
        hosts=hosts,
    )

    assert_screen("status_bad" if theme is PLAIN else "status_bad_ascii", shown)


def test_a_host_that_is_silent_and_a_component_in_trouble_are_named() -> None:
    hosts = [host("ops-9", severity="high", is_silent=True, hosts=9), host()]
    components = [
        component("worker/mail-relay", severity="critical", status="unhealthy", components=6, ok_components=5)
    ]

    shown = screen([alert()], hosts=hosts, components=components)

    assert "HOSTS      ✗ ops-9 silent   ✓ ops-1   +7" in shown
    assert "COMPONENTS   ✗ 5 of 6 ok" in shown
    quiet = screen([alert()], components=[component(severity="high", is_silent=True, ok_components=0)], hosts=[])
    assert "COMPONENTS   ✗ 0 of 1 ok: api/main silent" in quiet


def test_a_task_that_only_runs_and_a_queue_that_is_silent_say_so() -> None:
    running = task("import", runs=0, failure_rate_percent=None, p95_seconds=None, last_ended_at=None, last_status=None, running=2, oldest_start=ago(20 * HOUR))  # fmt: skip
    silent = queue("exports", severity="medium", is_silent=True, alert_summary="last report 20 min ago", seconds_to_empty=None, change_per_minute=None)  # fmt: skip

    lines = screen([alert()], tasks=[running], queues=[silent]).splitlines()

    assert "✓ import            0       –    –  running   2 running, 20h" in lines
    [row] = [line for line in lines if line.startswith("▲ exports")]
    assert row.endswith("–         silent: last report 20 m…")


def test_a_channel_in_trouble_says_what_and_comes_first() -> None:
    lost = channel("ops", last_sent_at=None, failed_24h=2, expired_24h=1)
    ill = failing("pager", waiting=3)
    dead = stopped("email", waiting=1, failed_24h=2, last_error="bad_credentials: refused the login: 535")

    shown = screen(automon={"channels": [channel(), lost, dead]}).splitlines()

    where = shown.index("DELIVERY   ✗ email: STOPPED since 10:00, 1 waiting, 2 failed")
    assert shown[where + 1 : where + 5] == [
        "             bad_credentials: refused the login: 535",
        "DELIVERY   ▲ ops: nothing sent yet, 0 waiting, 2 failed (1 expired)",
        "DELIVERY   ✓ slack 11:59   0 waiting, 0 failed",
        "AUTOMON    ✓ 1 service: ops-1; checks every 5m, last 18s ago",
    ]
    assert shown[-1] == "Next:  automon channels resume email"
    assert "DELIVERY   ▲ pager: failing since 11:55, next try 12:02, 3 waiting, 0 failed" in screen(
        automon={"channels": [ill]}
    )


def test_several_stopped_channels_are_left_to_their_own_screen() -> None:
    shown = screen([alert()], automon={"channels": [stopped("email"), stopped("slack")]})

    assert shown.endswith("\n       automon channels")


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        pytest.param([], "no service runs", id="none"),
        pytest.param(["ops-1:3f:7", "ops-2:9a:7"], "2 services: ops-1, ops-2", id="two hosts"),
        pytest.param(["ops-1:3f:7", "ops-1:9a:7"], "2 services: ops-1 (2)", id="one host"),
        pytest.param([f"ops-{n}:1:1" for n in range(9)], "9 services: ops-0, ops-1, ops-2, +6", id="many"),
    ],
)
def test_the_services_are_named_by_their_hosts(instances: list[str], words: str) -> None:
    assert f"AUTOMON    ✓ {words}; checks every 5m, last 18s ago" in screen(
        automon={"services": [service(name) for name in instances]}
    )


def test_without_a_service_what_counts_is_whether_checks_run() -> None:
    assert status_of(automon={"services": []}).verdict == Verdict("ok", 0)

    old = {"at": ago(HOUR), "age_seconds": 3600, "outcome": "succeeded", "error": None}
    gone, stuck = screen(automon={"services": [], "last_check": old}), screen(automon={"last_check": old})

    assert gone.startswith("◌ AUTOMON IS NOT CHECKING   no service runs; last check 60m ago")
    assert gone.endswith("Next:  start the service: systemctl start automon, or make run")
    assert stuck.startswith("◌ AUTOMON IS NOT CHECKING   1 service: ops-1; last check 60m ago")
    assert stuck.endswith("Next:  see why the service does not check: journalctl -u automon -p warning")


@pytest.mark.parametrize(
    ("began", "ended", "words"),
    [
        (9 * HOUR, timedelta(minutes=330), "was blind 03:00–06:30 UTC (3 h 30 min): no service ran"),
        (20 * HOUR, HOUR, "was blind 13 May 16:00–14 May 11:00 UTC (19 h): no service ran"),
    ],
    ids=["today", "over midnight"],
)
def test_a_time_without_sight_is_told_for_a_day(began: timedelta, ended: timedelta, words: str) -> None:
    blind = {"from": ago(began), "to": ago(ended), "why": "no service ran"}

    assert f"\nAUTOMON    {words}" in screen(automon={"blind": blind})


def test_a_check_that_failed_says_why_and_days_that_are_missing_are_told() -> None:
    check = {"at": NOW.isoformat(), "age_seconds": 18, "outcome": "failed", "error": "UndefinedTable: no such table"}

    shown = screen(automon={"last_check": check, "partitions_ahead_days": 1})

    assert "last 18s ago, FAILED\n             UndefinedTable: no such table\n" in shown
    assert "AUTOMON    ▲ partitions are made for 1 days ahead only" in shown


def test_without_a_channel_the_question_is_asked() -> None:
    assert "DELIVERY   no channel is known: has the service run?" in screen(automon={"channels": []})


@pytest.mark.parametrize("theme", [PLAIN, ASCII], ids=["utf-8", "ascii"])
@pytest.mark.parametrize("alerts", [0, 1, 8, 50])
@pytest.mark.parametrize("rows", [0, 1, 6])
@pytest.mark.parametrize("make_channel", [channel, failing, stopped], ids=["working", "failing", "stopped"])
def test_the_screen_is_never_larger_than_a_terminal(alerts: int, rows: int, make_channel: Any, theme: Theme) -> None:
    name = "請求書の同期と長い名前" * 4
    many = {"task_types": 1000, "ok_task_types": 3, "queues": 900, "ok_queues": 3, "hosts": 80, "ok_hosts": 3, "components": 70, "ok_components": 3}  # fmt: skip
    blind = {"from": ago(5 * DAY), "to": ago(HOUR), "why": "the database did not answer " * 9}
    channels = [make_channel(f"channel-{n}" * 5, last_error="x" * 90, failed_24h=1) for n in range(2 * rows)]

    shown = screen(
        [alert("critical", id=10**12 + n, source=f"{name} {n}", summary=name * 3) for n in range(alerts)],
        theme,
        tasks=[failing_task(f"{name}{n}", runs=10**9, last_error=name, **{k: many[k] for k in ("task_types", "ok_task_types")}) for n in range(rows)],
        queues=[queue(f"{name}{n}", severity="high", pending=10**10, queues=900, ok_queues=3, is_silent=True, alert_summary=name) for n in range(rows)],
        hosts=[host(f"{name}{n}", severity="high", hosts=80, ok_hosts=3) for n in range(rows)],
        components=[component(f"{name}/{n}", severity="high", components=70, ok_components=3) for n in range(rows)],
        automon={"channels": channels, "blind": blind, "services": [service("host" * 30)] * 3},
    )  # fmt: skip

    lines = shown.splitlines()
    assert len(lines) <= 24
    assert max(map(cells, lines)) <= 80
    listed = sum(" #10000000" in line[:14] for line in lines)
    assert min(alerts, 1) <= listed <= 5
    assert (f"+{alerts - listed} more: automon alerts" in shown) is (alerts > listed)
    assert theme is PLAIN or shown.isascii()


@given(st.text(max_size=300), st.text(max_size=300))
def test_an_alert_is_one_line_of_the_terminal_whatever_a_task_has_called_itself(source: str, text: str) -> None:
    found = alert(source=source, summary=text, peak_summary=text)

    for line in (
        PLAIN.finish(alert_list([found], NOW, PLAIN)),
        PLAIN.finish([line for line in status_lines(status_of([found]), PLAIN) if "#41" in line][:1]),
    ):
        assert cells(line) <= 80
        assert line.isprintable()


def test_what_sql_has_changed_past_the_file_is_told_in_one_line() -> None:
    drifted = replace(status_of([alert()]), drift=[{}, {}])

    told = [
        PLAIN.finish(status_lines(found, PLAIN))
        for found in (drifted, replace(status_of(), drift=[{}, {}]), status_of())
    ]

    line = "CONFIG     ▲ 2 values changed by SQL, not in the file: automon config drift"
    assert [line in screen.splitlines() for screen in told] == [True, True, False]
    assert status_document(drifted)["drift"] == 2


# Other forms ----------------------------------------------------------------------------------------------------


def test_the_document_has_these_keys() -> None:
    document = status_document(status_of([alert()]))

    assert sorted(document) == [
        "alerts", "components", "drift", "exit_code", "hosts", "last_resolved", "queues", "replica", "summary", "tasks", "verdict",
    ]  # fmt: skip
    assert {kind: document[kind]["total"] for kind in ("tasks", "queues", "hosts", "components")} == dict.fromkeys(
        ("tasks", "queues", "hosts", "components"), 1
    )
    assert sorted(document["tasks"]) == ["ok", "shown", "total"]
    assert not {"task_types", "ok_task_types"} & set(document["tasks"]["shown"][0])
    assert status_document(status_of(tasks=[]))["tasks"] == {"total": 0, "ok": 0, "shown": []}


def test_each_thing_is_a_record_of_one_line() -> None:
    found = status_of([alert(summary="two\nlines\tand tabs")])

    records = [tabbed(record) for record in status_records(found)]

    assert [record.split("\t")[0] for record in records] == [
        "verdict", "check", "alert", "task", "queue", "host", "component", "channel", "drift",
    ]  # fmt: skip
    assert records[2].split("\t")[1:] == [
        "41", "low", "open", "queue_backlog", "mail", ago(timedelta(seconds=90)), "two lines and tabs",
    ]  # fmt: skip
    assert [tabbed(record) for record in status_records(status_of(automon={"last_check": None}))][1] == "check\t\t\t1"
