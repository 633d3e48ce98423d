"""Every command that reads, in every form, on databases with nothing, something and much in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from automon.cli import main
from automon.cli.text import cells
from tests.support.calls import HOUR, MINUTE, Calls, channel
from tests.support.postgres import PostgresUnderTest
from tests.support.service import make_config, write_config
from tests.support.sessions import connect

Run = Callable[..., Result]
WIDE = "請求書 Überweisung "
COMMANDS = ("status", "alerts", "alerts --all", "tasks", "errors", "queues", "hosts", "silences")
KEYS = {
    "status": ["alerts", "components", "drift", "exit_code", "hosts", "last_resolved", "queues", "replica", "schema_version", "summary", "tasks", "verdict"],
    "alerts": ["alerts", "schema_version"],
    "alerts --all": ["alerts", "schema_version"],
    "tasks": ["schema_version", "task_types", "tasks", "window_seconds"],
    "errors": ["causes", "causes_total", "schema_version", "window_seconds"],
    "queues": ["queues", "schema_version"],
    "hosts": ["hosts", "schema_version"],
    "silences": ["schema_version", "silences"],
}  # fmt: skip
ROW_KEYS = {
    "alerts": [
        "acknowledged_at", "acknowledged_by", "acknowledged_note", "age_seconds", "alert_type", "clear_since", "evidence", "id", "last_seen_at", "last_told_at", "opened_at",
        "peak_at", "peak_severity", "peak_summary", "resolved_at", "resolved_by", "severity", "silenced_until", "source", "status", "summary", "threshold", "unit", "value",
    ],
    "tasks": [
        "alert_id", "alert_summary", "cancelled", "completed", "failed", "failure_rate_percent", "last_ended_at", "last_error", "last_failed_at", "last_status", "oldest_start",
        "p50_seconds", "p95_seconds", "p99_seconds", "running", "runs", "severity", "task_type",
    ],
    "causes": [
        "component", "error_type", "errors", "first_at", "is_estimate", "last_at", "sample_message", "sample_task_id", "severity", "signature", "tasks",
    ],
    "queues": [
        "alert_id", "alert_summary", "change_per_minute", "in_per_minute", "is_silent", "oldest_pending_seconds", "out_per_minute", "pending", "processing", "queue_name",
        "reported_at", "seconds_to_empty", "severity",
    ],
    "hosts": [
        "alert_id", "alert_summary", "container", "cpu_percent", "disks", "host", "host_cpu_percent", "host_memory_percent", "is_silent", "memory_percent", "sampled_at",
        "severity",
    ],
    "silences": ["alert_type", "created_by", "ended_by", "ends_at", "hidden_messages", "id", "is_active", "reason", "source", "starts_at"],
}  # fmt: skip


def fill(calls: Calls, count: int, name: str = "") -> None:
    """Bring that many of everything, each in trouble, under names of that kind."""
    now = calls.one("SELECT clock_timestamp()")
    calls.configure(channels=[channel("ops", recipients=["webhook"])])
    calls.ask(
        """SELECT public.start_task_tracking('t' || n || '-' || k, %s || 'type-' || n, 10, 'w', p_at => %s - interval '20 seconds'),
               public.complete_task_tracking('t' || n || '-' || k, CASE WHEN k %% 2 = 0 THEN 'failed' ELSE 'completed' END, p_error_message => 'refused ' || n, p_at => %s - k * interval '1 second')
           FROM generate_series(1, %s) AS n CROSS JOIN generate_series(1, 6) AS k""",
        name, now, now, count,
    )  # fmt: skip
    calls.ask(
        "SELECT public.record_error('t' || n, %s || 'kind', 'high', 'no answer from ' || chr(96 + n %% 26) || n, %s || 'component-' || n, p_at => %s) FROM generate_series(1, %s) AS n",
        name, name, now - MINUTE, count,
    )  # fmt: skip
    calls.ask(
        "SELECT public.update_queue_metrics(%s || 'queue-' || n, 640 + n, 3, 10, 0, 30, k.at) FROM generate_series(1, %s) AS n CROSS JOIN (VALUES (%s::timestamptz), (%s::timestamptz)) AS k (at)",
        name, count, now - 2 * MINUTE, now - MINUTE,
    )  # fmt: skip
    disks = [{"mount": f"/{name}data", "percent": 96.5, "free_bytes": 10**10}, {"mount": "/", "percent": 20.0}]
    for number in range(count):
        sample = {"cpu_percent": 12.0, "memory_percent": 41.0, "disks": disks}
        calls("record_host_sample", f"{name}host-{number}", sample, now)
        calls("update_system_health", "api", f"{name}{number}", "unhealthy", None, f"gone {name}", p_at=now)
    calls("silence_alerts", f"{name}queue-1", HOUR, f"known {name}", "ana")
    run = calls("begin_job_run", "alert_checks", "test:1:1")
    calls("run_monitoring_checks")
    calls("finish_job_run", run, "succeeded")


@pytest.fixture(scope="module", params=["nothing", "something", "much"])
def facts(
    request: pytest.FixtureRequest, postgres_server: PostgresUnderTest, template_database: str
) -> Iterator[tuple[str, str]]:
    """How much there is, and the URL of a database with so much in it."""
    name = postgres_server.create_database(template_database)
    url = postgres_server.address.socket_url(name)
    with connect(url) as connection:
        if request.param != "nothing":
            fill(Calls(connection), *((1,) if request.param == "something" else (60, WIDE)))
    yield request.param, url
    postgres_server.drop_database(name)


@pytest.fixture
def run(tmp_path: Path, facts: tuple[str, str]) -> Run:
    """Run a command on that database as a program would, in this process."""
    config = write_config(tmp_path, make_config())

    def call(*command: str, charset: str = "utf-8", **environment: str) -> Result:
        runner = CliRunner(
            charset=charset, env={"DATABASE_URL": facts[1], "AUTOMON_CONFIG": str(config), "TZ": "UTC", **environment}
        )
        return runner.invoke(main, command[0].split() if len(command) == 1 else command)

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_shown_fits_a_terminal_and_says_so_when_there_is_nothing(
    command: str, run: Run, facts: tuple[str, str]
) -> None:
    done = run(command)

    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert max(map(cells, done.stdout.splitlines()), default=0) <= 80
    assert "\x1b" not in done.stdout
    if command == "status":
        assert done.exit_code == {"nothing": 3, "something": 2, "much": 2}[facts[0]]
        assert len(done.stdout.splitlines()) <= 24
    elif facts[0] == "nothing":
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.startswith("No ")
        assert len(done.stderr.splitlines()) == 1
    else:
        assert done.exit_code == (2 if command == "alerts" else 0)
        assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_as_json_it_is_one_object_with_these_keys(command: str, run: Run, facts: tuple[str, str]) -> None:
    done = run(f"{command} --json")

    document = json.loads(done.stdout)
    assert (sorted(document), document["schema_version"]) == (KEYS[command], 1)
    assert done.stderr == ""
    for kind, keys in ROW_KEYS.items():
        rows: Any = document.get(kind)
        if isinstance(rows, list):
            assert {tuple(sorted(set(row) - {"trend"})) for row in rows} <= {tuple(keys)}
            assert bool(rows) is (facts[0] != "nothing")
    if command == "status":
        parts = [sorted(document[kind]) for kind in ("tasks", "queues", "hosts", "components")]
        assert parts == [["ok", "shown", "total"]] * 4
    assert done.exit_code == run(command).exit_code


@pytest.mark.parametrize("command", COMMANDS)
def test_as_plain_text_each_record_is_a_line_of_as_many_fields(command: str, run: Run, facts: tuple[str, str]) -> None:
    lines = run(f"{command} --plain").stdout.splitlines()

    counts: dict[str, set[int]] = {}
    for line in lines:
        first = line.split("\t")[0] if command == "status" else ""
        counts.setdefault(first, set()).add(line.count("\t"))
    assert all(len(widths) == 1 for widths in counts.values()), counts
    assert bool(lines) is (facts[0] != "nothing" or command == "status")


@pytest.mark.parametrize("command", COMMANDS)
def test_where_there_is_no_utf8_letters_stand_for_shapes(command: str, run: Run) -> None:
    done = run(command, charset="ascii")

    assert done.stdout.isascii()
    assert max(map(len, done.stdout.splitlines()), default=0) <= 80


@pytest.mark.parametrize(
    ("command", "environment", "coloured"),
    [
        ("status", {}, False),
        ("status --color always", {"NO_COLOR": "1"}, True),
        ("status --color never", {"CLICOLOR_FORCE": "1"}, False),
        ("status", {"CLICOLOR_FORCE": "1"}, True),
        ("status", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
    ],
    ids=["no terminal", "always", "never", "forced", "no colour"],
)
def test_colours_are_those_that_are_asked_for(
    command: str, environment: dict[str, str], coloured: bool, run: Run
) -> None:
    done = run(command, **environment)

    assert ("\x1b[" in done.stdout) is coloured


def test_one_of_each_is_told_in_full(run: Run, facts: tuple[str, str]) -> None:
    name = WIDE if facts[0] == "much" else ""
    if facts[0] == "nothing":
        for command in ("tasks type-1", "explain type-1", "explain 4711"):
            refused = run(command)
            assert (refused.exit_code, refused.stdout) == (1, "")
            assert len(refused.stderr.splitlines()) == 2
        return

    runner = run("alerts --plain --type failure_rate")
    number = runner.stdout.split("\t")[0]
    for arguments in (["tasks", f"{name}type-1"], ["explain", f"{name}type-1"], ["explain", number], ["explain", f"#{number}"]):  # fmt: skip
        for form in ("", "--json", "--plain"):
            done = run(*arguments, *form.split())
            assert done.exit_code == 0, done.output
            assert done.stdout
            if form == "--json":
                assert json.loads(done.stdout)["schema_version"] == 1


def test_a_name_that_is_almost_right_is_guessed(run: Run, facts: tuple[str, str]) -> None:
    if facts[0] != "something":
        pytest.skip("needs names")

    for command in ("explain typ-1", "tasks typ-1"):
        refused = run(command)
        assert refused.exit_code == 1
        assert "Did you mean 'type-1'" in refused.stderr


def test_alerts_are_filtered_by_options(run: Run, facts: tuple[str, str]) -> None:
    def count(options: str) -> int:
        return len(json.loads(run(f"alerts --json {options}").stdout)["alerts"])

    every = count("--limit 10000")

    assert count("--severity critical") <= every
    assert count("--source nobody") == 0
    assert count("--type queue_backlog") == {"nothing": 0, "something": 1, "much": 60}[facts[0]]
    assert count("--since 1h --unacked --limit 10000") == every
    assert count("--limit 1") == min(every, 1)
    if facts[0] == "nothing":
        assert run("alerts --source mail --severity high").stderr == (
            "No open alerts of mail, high or worse. History: automon alerts --all\n"
        )
