"""What the doctor makes of what it has found, and how checks that hang or break are told."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from automon.cli import doctor_database as database
from automon.cli import doctor_host as host
from automon.cli.findings import (
    Check,
    Finding,
    State,
    exit_code,
    failed,
    finding_lines,
    not_checked,
    ok,
    run_checks,
    verdict,
    warning,
)
from automon.inspection import Pooling, Rights, Schema, Server, Skew

MEBIBYTE = 1024**2


def to_sql(call: str) -> str:
    return f"psql -c 'SELECT {call}'"


def server(**changes: Any) -> Server:
    values: dict[str, Any] = {"version": "16.4", "major": 16, "is_replica": False, "role": "automon", "zone": "UTC"}
    return Server(**{**values, **changes})


def own(**changes: Any) -> dict[str, Any]:
    last = {"age_seconds": 20.0, "outcome": "succeeded", "error": None}
    return {"check_every_seconds": 300, "services": [{"instance": "ops-1:1"}], "last_check": last, **changes}


def channel(state: str, **changes: Any) -> dict[str, Any]:
    return {"name": "slack", "state": state, "last_error": "Slack answered 404 no_service", **changes}


def table(**changes: Any) -> dict[str, Any]:
    return {
        "table_name": "error_tracking",
        "past_term_days": 0.0,
        "size_bytes": 2_500_000,
        "tomorrow_is_prepared": True,
        **changes,
    }


FOUND = [
    pytest.param(database.judge_server(server()), State.OK, "PostgreSQL 16.4", "", id="a server that works"),
    pytest.param(database.judge_server(server(major=13, version="13.9")), State.FAILED, "older than 14", "Upgrade", id="an old server"),
    pytest.param(database.judge_server(server(major=19, version="19.1")), State.WARNING, "newer than 18", "newer automon", id="a new server"),
    pytest.param(database.judge_server(server(is_replica=True)), State.FAILED, "a replica", "that it follows", id="a replica"),
    pytest.param(database.judge_way("postgresql://a@db.example/x", is_encrypted=False), State.WARNING, "not encrypted", "sslmode=require", id="a way in the open"),
    pytest.param(database.judge_way("postgresql://a@db.example/x", is_encrypted=True), State.OK, "encrypted", "", id="an encrypted way"),
    pytest.param(database.judge_way("postgresql://a@127.0.0.1/x", is_encrypted=False), State.OK, "answers", "", id="a way that is none"),
    pytest.param(database.judge_skew(Skew(seconds=1.9, uncertainty=0.01)), State.OK, "within 1900 ms", "", id="a small skew"),
    pytest.param(database.judge_skew(Skew(seconds=2.1, uncertainty=0.01)), State.WARNING, "2.1 s ahead of", "set-ntp", id="a skew"),
    pytest.param(database.judge_skew(Skew(seconds=4.0, uncertainty=2.5)), State.OK, "within 4000 ms", "", id="a slow answer is no skew"),
    pytest.param(database.judge_skew(Skew(seconds=-61, uncertainty=0.1)), State.FAILED, "61.0 s behind", "set-ntp", id="a skew that hurts"),
    pytest.param(database.judge_pooling(Pooling.SESSION, as_configured=False), State.OK, "for a session", "", id="a pooler by session"),
    pytest.param(database.judge_schema(Schema(exists=True, owner="a", files=("001", "002")), ["001", "002"]), State.OK, "at 002", "", id="the schema"),
    pytest.param(database.judge_schema(Schema(exists=True, owner="a", files=("001",)), ["001", "002"]), State.FAILED, "the first is 002", "automon migrate", id="an old schema"),
    pytest.param(database.judge_schema(Schema(exists=True, owner="a", files=("001", "003")), ["001"]), State.FAILED, "is at 003", "Upgrade", id="a new schema"),
    pytest.param(database.judge_rights("x", Schema(exists=True, owner="boss"), Rights(forbidden={"automon_reader": ("get_alert_story",)})), State.WARNING, "automon_reader", "boss", id="rights to write alone"),
    pytest.param(database.judge_retention([table(past_term_days=1.9)], to_sql), State.OK, "facts take 2 MB", "", id="retention"),
    pytest.param(database.judge_retention([table(past_term_days=2.0)], to_sql), State.WARNING, "error_tracking by 2 days", "cleanup", id="late retention"),
    pytest.param(database.judge_retention([table(past_term_days=None)], to_sql), State.OK, "", "", id="kept for ever"),
    pytest.param(database.judge_rollups(59, "", to_sql), State.OK, "up to date", "", id="rollups"),
    pytest.param(database.judge_rollups(61, "pg_dump is at it", to_sql), State.WARNING, "pg_dump is at it", "roll_up()", id="late rollups"),
    pytest.param(database.judge_rollups(601, "", to_sql), State.FAILED, "10m behind", "roll_up()", id="rollups that stand"),
    pytest.param(database.judge_last_check(own()), State.OK, "the last 20s ago, every 5m", "", id="a check"),
    pytest.param(database.judge_last_check(own(last_check=None)), State.WARNING, "just started", "in a minute", id="no check yet"),
    pytest.param(database.judge_last_check(own(last_check=None, services=[])), State.FAILED, "none has run", "systemctl", id="never a check"),
    pytest.param(database.judge_last_check(own(last_check={"age_seconds": 1000.0, "outcome": "succeeded", "error": None})), State.FAILED, "16m ago", "systemctl", id="a check long ago"),
    pytest.param(database.judge_last_check(own(last_check={"age_seconds": 5.0, "outcome": "failed", "error": "deadlock"})), State.FAILED, "deadlock", "journalctl", id="a check that failed"),
    pytest.param(database.judge_channels([]), State.WARNING, "no service", "systemctl", id="no channels"),
    pytest.param(database.judge_channels([channel("working")]), State.OK, "slack: working", "", id="channels"),
    pytest.param(database.judge_channels([channel("failing")]), State.WARNING, "404 no_service", "automon channels resume slack", id="a failing channel"),
    pytest.param(database.judge_channels([channel("stopped")]), State.FAILED, "is stopped", "automon channels resume slack", id="a stopped channel"),
    pytest.param(database.judge_drift([{"name": "error_rate", "source": "*", "level": "low"}]), State.WARNING, "error_rate * low", "automon config drift", id="drift"),
    pytest.param(host.judge_unit({"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}), State.FAILED, "exit-code", "journalctl", id="a unit that failed"),
    pytest.param(host.judge_unit({"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "enabled"}), State.FAILED, "inactive", "enable --now", id="a unit that rests"),
    pytest.param(host.judge_unit({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}), State.WARNING, "reboot", "systemctl enable", id="a unit that is not enabled"),
    pytest.param(host.judge_unit({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "3"}), State.WARNING, "restarted 3 times", "journalctl", id="a unit that restarts"),
    pytest.param(host.judge_unit({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}), State.OK, "enabled at boot", "", id="a unit"),
    pytest.param(host.judge_embedded(Path("/x"), 100 * MEBIBYTE, 1024), State.FAILED, "0.1 GB free", "Make room", id="a full disk"),
    pytest.param(host.judge_embedded(Path("/x"), 500 * MEBIBYTE, 1024), State.WARNING, "0.5 GB free", "Make room", id="a disk that fills"),
    pytest.param(host.judge_embedded(Path("/x"), 5000 * MEBIBYTE, 256), State.WARNING, "256 files", "ulimit", id="few files"),
    pytest.param(host.judge_embedded(Path("/x"), 5000 * MEBIBYTE, None), State.OK, "any number", "", id="room"),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "state", "says", "fix"), FOUND)
def test_what_was_found_is_judged(finding: Finding, state: State, says: str, fix: str) -> None:
    assert finding.state is state
    assert says in finding.detail
    assert fix in finding.fix
    # Who is told of trouble is told what to do, and nobody else is.
    assert (finding.fix != "") is (state in (State.WARNING, State.FAILED))


def test_a_unit_that_is_not_installed_is_nothing_to_tell_of() -> None:
    assert host.judge_unit({"LoadState": "not-found", "ActiveState": "inactive"}) is None


@pytest.mark.parametrize(
    ("version", "requirement", "fits"),
    [
        ("3.3.9", "psycopg[binary]<4,>=3.3.4", True),
        ("3.3.10", "psycopg[binary]<4,>=3.3.4", True),
        ("3.3.3", "psycopg[binary]<4,>=3.3.4", False),
        ("4.0", "psycopg[binary]<4,>=3.3.4", False),
        ("26.1.0", "structlog<27,>=26.1", True),
        ("2.2.0rc1", "apprise<3,>=2.2", True),
    ],
)
def test_a_version_lies_within_its_bounds_or_not(version: str, requirement: str, fits: bool) -> None:
    assert host.satisfies(version, requirement) is fits


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 28, 6, 0, tzinfo=UTC), "2026-11-28T09:00:00+01:00"),
        (datetime(2026, 11, 28, 8, 0, tzinfo=UTC), "2026-11-29T09:00:00+01:00"),
        (datetime(2026, 3, 28, 9, 0, tzinfo=UTC), "2026-03-29T09:00:00+02:00"),
    ],
    ids=["today", "this very minute is over", "behind the change of the clocks"],
)
def test_the_next_clean_up_is_in_the_zone_of_the_config(now: datetime, expected: str) -> None:
    at = datetime(2026, 1, 1, 9, 0, tzinfo=UTC).time()
    assert host.next_at(at, now.astimezone(ZoneInfo("Europe/Berlin"))).isoformat() == expected


# Running and showing --------------------------------------------------------------------------------------------


def test_a_check_that_hangs_has_failed_and_holds_up_neither_the_others_nor_the_end() -> None:
    release = threading.Event()

    def hang() -> Finding:
        release.wait(30)
        return ok("deaf", "")

    groups = [
        [Check("first", lambda: ok("first", "fine")), Check("deaf", hang), Check("behind", lambda: ok("behind", ""))],
        [Check("beside", lambda: ok("beside", "fine"))],
    ]
    began = time.monotonic()
    found = run_checks(groups, 0.3)
    release.set()

    assert time.monotonic() - began < 5
    assert [(finding.name, finding.state) for finding in found] == [
        ("first", State.OK), ("deaf", State.FAILED), ("behind", State.NOT_CHECKED), ("beside", State.OK),
    ]  # fmt: skip
    assert found[1].detail == "no answer within 0.3 s"


def test_a_check_that_breaks_is_not_taken_for_one_that_is_well() -> None:
    def broken() -> Finding:
        raise ValueError("what is this")

    [found] = run_checks([[Check("odd", broken)]], 5)

    assert found == not_checked("odd", "the check itself broke: ValueError: what is this")


def test_a_check_that_does_not_concern_an_installation_is_left_out() -> None:
    assert run_checks([[Check("unit", lambda: None)]], 5) == []


def test_findings_are_counted_worst_first() -> None:
    found = [ok("a", ""), warning("b", "", "x"), failed("c", "", "y"), not_checked("d", ""), warning("e", "", "z")]

    assert verdict(found) == "1 failed, 2 warnings, 1 not checked, 1 ok"
    assert exit_code(found) == 1
    assert exit_code([one for one in found if one.state is not State.FAILED]) == 0


def test_a_fix_is_never_broken_into_lines() -> None:
    command = "psql " + "x" * 100

    lines = finding_lines([failed("schema", "word " * 40, command)])

    assert f"-> {command}" in lines[-3].strip()
    assert max(len(line) for line in lines if command not in line) <= 80
