"""Facts taken out of the database: all of them, each once, in an order that stays, however often it was broken off."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from automon.cli.export_kinds import KINDS
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Look, clean_environment, make_config, run_automon, write_config
from tests.support.waiting import wait_until

Export = Callable[..., subprocess.CompletedProcess[str]]
HOSTILE = '=HYPERLINK("http://evil.example")\nsecond, "line"\t\u2028 \u00fc'


@pytest.fixture
def export(memory_path: Path, database_url: str) -> Export:
    write_config(memory_path, make_config())

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_automon(memory_path, "export", *arguments, environment={"DATABASE_URL": database_url, **environment})

    return run


def fill(look: Look, count: int) -> None:
    """Have that many tasks that ended within the last hour, several at each moment."""
    look.ask(
        "INSERT INTO public.processing_metrics_history (task_id, task_type, status, start_time, end_time, duration_seconds)"
        " SELECT 'task-' || g, 'sync', 'completed', at.moment, at.moment, 0"
        " FROM generate_series(1, %s) AS g CROSS JOIN LATERAL (SELECT now() - interval '50 minutes' * (g / 7 * 7) / %s AS moment) AS at",
        count,
        count,
    )


def records(look: Look) -> None:
    """Have a fact of every kind."""
    look("start_task_tracking", "task-1", "sync", 1024, "worker-01")
    look("complete_task_tracking", "task-1", "failed", 2048, '{"step1": 1.2}', HOSTILE)
    look("start_task_tracking", "task-2", "sync")
    look("record_error", "task-1", "timeout", "high", HOSTILE, "mailer", "trace", '{"attempt": 3}')
    look("record_performance_metric", "latency", "gauge", 1.5, "s", "mailer", '{"zone": "a"}')
    look("update_system_health", "api", "main", "degraded", 12.5, "slow")
    look("update_queue_metrics", "mail", 640, 3)
    look(
        "record_host_sample",
        "ops-1",
        '{"cpu_percent": 12.5, "memory_percent": 40, "disks": [{"mount": "/", "percent": 71}]}',
    )
    look("check_queue_backlog_alerts")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# What comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_of_each_kind_comes_out_with_all_its_columns(
    kind: str, export: Export, memory_path: Path, look: Look
) -> None:
    records(look)

    done = export(kind, "--output", "facts.jsonl")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"1 {kind} in facts.jsonl, from ")
    [row] = rows_of(memory_path / "facts.jsonl")
    assert list(row) == list(KINDS[kind].columns)
    for column, type_ in KINDS[kind].columns.items():
        if type_ == "time" and row[column] is not None:
            assert datetime.fromisoformat(row[column]).utcoffset() == timedelta(0)
    assert {path.name for path in memory_path.iterdir()} >= {"facts.jsonl"}
    assert not (memory_path / "facts.jsonl.progress").exists()


def test_csv_has_a_head_and_runs_nothing_in_a_spreadsheet(export: Export, look: Look) -> None:
    records(look)

    careful, exact = export("errors"), export("errors", "--exact")

    [head, row] = csv.reader(careful.stdout.splitlines(keepends=True))
    assert head == list(KINDS["errors"].columns)
    cells = dict(zip(head, row, strict=True))
    assert cells["error_message"] == f"'{HOSTILE}"
    assert json.loads(cells["context"]) == {"attempt": 3}
    [_, row] = csv.reader(exact.stdout.splitlines(keepends=True))
    assert dict(zip(head, row, strict=True))["error_message"] == HOSTILE


def test_only_what_lies_in_the_range_comes_out(export: Export, look: Look) -> None:
    for hours in (1, 2, 3):
        moment = look.one("SELECT date_trunc('hour', now()) - make_interval(hours => %s)", hours)
        look("record_error", None, f"type-{hours}", "low", "x", "mailer", p_at=moment)
    since = look.one("SELECT date_trunc('hour', now()) - interval '2 hours'").isoformat()
    until = look.one("SELECT date_trunc('hour', now()) - interval '1 hour'").isoformat()

    done = export("errors", "--since", since, "--until", until, "--format", "jsonl")

    assert [json.loads(line)["error_type"] for line in done.stdout.splitlines()] == ["type-2"]


def test_nothing_found_is_said_on_stderr(export: Export) -> None:
    done = export("tasks", "--format", "jsonl", "--since", "2h")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("0 tasks, from ")


def test_a_program_that_has_read_enough_ends_it_quietly(memory_path: Path, database_url: str, look: Look) -> None:
    fill(look, 12_000)
    write_config(memory_path, make_config())
    command = f"{shlex.quote(sys.executable)} -m automon export tasks | head -n 2"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=memory_path,
        env=clean_environment({"DATABASE_URL": database_url}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("id,task_id,")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["tasks", "--since", "yesterday"], "'yesterday' is no moment; write 24h, 7d", id="no moment"),
        pytest.param(["task"], "'tasks'", id="no kind"),
        pytest.param(["tasks", "--format", "parquet"], "Parquet is written to a file", id="Parquet to a terminal"),
    ],
)
def test_a_wrong_word_is_a_usage_error(arguments: list[str], says: str, export: Export) -> None:
    done = export(*arguments)

    assert done.returncode == 64
    assert says in done.stderr


# Who may ------------------------------------------------------------------------------------------------------


def test_a_reader_may_export_and_a_writer_may_not(
    export: Export, database_url: str, look: Look, postgres_server: PostgresUnderTest
) -> None:
    fill(look, 10)
    name = f"export_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        as_role = {"DATABASE_URL": make_conninfo(database_url, options=f"-c role={name}")}
        try:
            refused = export("tasks", **as_role)
            look.ask(
                sql.SQL(
                    "GRANT EXECUTE ON FUNCTION public.export_facts(text, timestamptz, timestamptz, jsonb, integer) TO {}"
                )
                .format(sql.Identifier(name))
                .as_string()
            )
            allowed = export("tasks", "--format", "jsonl", **as_role)
        finally:
            look.ask(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)).as_string())
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    assert refused.returncode == 1
    assert "permission denied for function export_facts" in refused.stderr
    assert len(allowed.stdout.splitlines()) == 10
    assert look.one("SELECT 'export_facts' IN (SELECT public.role_functions('automon_reader'))") is True
    assert look.one("SELECT 'export_facts' IN (SELECT public.role_functions('automon_writer'))") is False


def test_it_works_behind_a_pooler(own_postgres: PostgresUnderTest, memory_path: Path) -> None:
    folder = memory_path / "export"
    folder.mkdir()
    write_config(folder, make_config(database={"url": "$env:DATABASE_URL", "pooled": True}))
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        fill(Look(connection), 12_000)
    with PgBouncer(own_postgres, memory_path / "pooler") as pooler:
        done = run_automon(
            folder, "export", "tasks", "--output", "tasks.jsonl", environment={"DATABASE_URL": pooler.url("automon")}
        )

    assert done.returncode == 0
    assert len(rows_of(folder / "tasks.jsonl")) == 12_000


# Broken off ---------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_url(database_url: str, postgres_server: PostgresUnderTest) -> Iterator[tuple[TcpProxy, str]]:
    """The way to this test's database through a proxy that can be hurt."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with TcpProxy(postgres_server.address.port) as proxy:
        yield proxy, make_conninfo(postgres_server.address.tcp_url(str(name)), port=proxy.port)


def begin(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    write_config(folder, make_config())
    return subprocess.Popen(
        [sys.executable, "-m", "automon", "export", *arguments],
        cwd=folder,
        env=clean_environment({"DATABASE_URL": url}),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_killed_again_and_again_it_loses_nothing_and_repeats_nothing(
    format_: str, memory_path: Path, slow_url: tuple[TcpProxy, str], look: Look
) -> None:
    fill(look, 30_000)
    proxy, url = slow_url
    output = memory_path / f"tasks.{format_}"
    command = ("tasks", "--since", "2h", "--output", output.name)
    for _ in range(2):
        proxy.delay(0.02)
        process = begin(memory_path, url, *command)
        before = output.stat().st_size if output.exists() else 0
        wait_until(lambda before=before: output.exists() and output.stat().st_size > before + 400_000, seconds=30)  # type: ignore[misc]
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    # A row that was cut through, as by a machine that stops.
    with output.open("ab") as file:
        file.write(b'{"id": 12, "task')
    proxy.allow()

    done = begin(memory_path, url, *command)
    _, told = done.communicate(timeout=60)

    assert done.returncode == 0
    assert told.startswith("30,000 tasks in ")
    text = output.read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines())) if format_ == "csv" else rows_of(output)
    assert len(rows) == 30_000
    assert len({row["task_id"] for row in rows}) == 30_000
    assert [row["end_time"] for row in rows] == sorted(row["end_time"] for row in rows)
    assert not output.with_name(f"{output.name}.progress").exists()


def test_a_database_that_goes_away_leaves_an_export_to_go_on_with(
    memory_path: Path, slow_url: tuple[TcpProxy, str], look: Look
) -> None:
    fill(look, 20_000)
    proxy, url = slow_url
    output = memory_path / "tasks.jsonl"
    proxy.delay(0.05)
    process = begin(memory_path, url, "tasks", "--output", output.name)
    wait_until(lambda: output.exists() and output.stat().st_size > 400_000, seconds=30)
    proxy.refuse()
    _, told = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "the same command goes on from there" in told
    assert "the database does not answer" in told
    # Up to the last whole row it is what it says.
    kept = len(rows_of(output))
    assert 0 < kept < 20_000

    proxy.allow()
    again = begin(memory_path, url, "tasks", "--output", output.name)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert len({row["id"] for row in rows_of(output)}) == len(rows_of(output)) == 20_000


def test_ctrl_c_leaves_whole_rows(memory_path: Path, slow_url: tuple[TcpProxy, str], look: Look) -> None:
    fill(look, 20_000)
    proxy, url = slow_url
    output = memory_path / "tasks.jsonl"
    proxy.delay(0.05)
    process = begin(memory_path, url, "tasks", "--output", output.name)
    wait_until(lambda: output.exists() and output.stat().st_size > 400_000, seconds=30)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "rows; the same command goes on from there" in told
    assert 0 < len(rows_of(output)) < 20_000


def test_other_words_do_not_go_on_with_an_export(export: Export, memory_path: Path, look: Look) -> None:
    fill(look, 10)
    progress = {"query": {"kind": "tasks", "since": "3h", "until": None, "format": "csv", "exact": False, "database": "x"}, "after": None, "rows": 0, "bytes": 0}  # fmt: skip
    (memory_path / "tasks.csv").write_text("")
    (memory_path / "tasks.csv.progress").write_text(json.dumps(progress))

    refused = export("tasks", "--since", "2h", "--output", "tasks.csv")
    anew = export("tasks", "--since", "2h", "--output", "tasks.csv", "--force")

    assert refused.returncode == 1
    assert "was begun with other words: automon export tasks --since 3h --format csv" in refused.stderr
    assert anew.returncode == 0
    assert len((memory_path / "tasks.csv").read_text().splitlines()) == 11


def test_what_is_there_and_whole_is_not_overwritten(export: Export, memory_path: Path, look: Look) -> None:
    fill(look, 10)
    (memory_path / "tasks.csv").write_text("mine\n")

    done = export("tasks", "--output", "tasks.csv")

    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (memory_path / "tasks.csv").read_text() == "mine\n"


# Parquet ------------------------------------------------------------------------------------------------------

has_parquet = importlib.util.find_spec("pyarrow") is not None
needs_parquet = pytest.mark.skipif(not has_parquet, reason="pyarrow is not installed (pip install 'automon[parquet]')")


@pytest.mark.skipif(has_parquet, reason="pyarrow is installed")
def test_without_its_library_parquet_names_the_command_that_installs_it(export: Export) -> None:
    done = export("tasks", "--output", "tasks.parquet")

    assert done.returncode == 1
    assert "pip install 'automon[parquet]'" in done.stderr


@needs_parquet
@pytest.mark.parametrize("kind", KINDS)
def test_parquet_has_every_column_in_its_type(kind: str, export: Export, memory_path: Path, look: Look) -> None:
    from pyarrow import parquet

    records(look)

    assert export(kind, "--output", "facts.parquet").returncode == 0

    table = parquet.read_table(memory_path / "facts.parquet")
    assert table.column_names == list(KINDS[kind].columns)
    [row] = table.to_pylist()
    for column, type_ in KINDS[kind].columns.items():
        if type_ == "time" and row[column] is not None:
            assert row[column].utcoffset() == timedelta(0)
    assert not (memory_path / "facts.parquet.parts").exists()


@needs_parquet
def test_parquet_that_was_broken_off_loses_nothing_and_repeats_nothing(
    memory_path: Path, slow_url: tuple[TcpProxy, str], look: Look
) -> None:
    from pyarrow import parquet

    fill(look, 120_000)
    _, url = slow_url
    command = ("tasks", "--output", "tasks.parquet")
    process = begin(memory_path, url, *command)
    wait_until((memory_path / "tasks.parquet.parts" / "part-00000.parquet").exists, seconds=60)
    process.kill()
    process.communicate()
    assert not (memory_path / "tasks.parquet").exists()

    done = begin(memory_path, url, *command)
    done.communicate(timeout=60)

    table = parquet.read_table(memory_path / "tasks.parquet")
    assert table.num_rows == 120_000
    assert len(set(table.column("id").to_pylist())) == 120_000
