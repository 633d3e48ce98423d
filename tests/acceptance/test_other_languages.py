"""The page about other languages and the examples beside it: every statement, and each program whose language is here."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from monitoring_client.run_options import read_arguments
from tests.support.markdown import ROOT, Block, page
from tests.support.postgres import PostgresUnderTest
from tests.support.psql import psql_program
from tests.support.waiting import wait_until

PAGE = page("docs/other_languages.md")
JOB = ROOT / "examples/shell_job.sh"
CRONTAB = ROOT / "examples/nightly.cron"
POSTGRES_JAR = "/usr/share/java/postgresql.jar"
PASSWORD = "choose-one"
Link = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def writer_url(database_url: str, postgres_server: PostgresUnderTest) -> Iterator[str]:
    """The URL, over TCP and with a password, of a role that may report and nothing else."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE reporter LOGIN PASSWORD '{PASSWORD}' IN ROLE automon_writer")
        [[name]] = admin.execute("SELECT current_database()").fetchall()
        yield f"postgresql://reporter:{PASSWORD}@127.0.0.1:{postgres_server.address.port}/{name}?sslmode=disable"
        admin.execute("DROP ROLE reporter")


@pytest.fixture
def database(database_url: str) -> Iterator[Link]:
    with psycopg.connect(database_url, autocommit=True) as link:
        yield link


def environment(**more: str) -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{Path(psql_program()).parent}:{path}", "HOME": "/nonexistent", "LOGNAME": "o'hara"} | more


def the_task(database: Link) -> tuple[object, ...]:
    [row] = database.execute("SELECT task_type, status, error_message FROM processing_metrics").fetchall()
    return row


def the_error(database: Link) -> tuple[object, ...]:
    [row] = database.execute("SELECT error_type, severity, error_message, component FROM error_tracking").fetchall()
    return row


# The page -----------------------------------------------------------------------------------------------------------

LANGUAGES = ("js", "go", "java", "ruby", "php")
# What is given for the parameters of a statement, by its function and their number.
VALUES = {
    ("start_task_tracking", 2): ("t1", "price-import"),
    ("record_error", 5): ("t1", "RangeError", "high", "it's the price", "price-import"),
    ("complete_task_tracking", 3): ("t1", "failed", "it's the price"),
    ("complete_task_tracking", 2): ("t1", "completed"),
}


def the_block(language: str) -> Block:
    [block] = PAGE.written_in(language)
    return block


def statements(block: Block) -> list[str]:
    """Find the SQL in a program, with parameters written as PostgreSQL writes them."""
    found = re.findall(r"""["'](SELECT \w+\([^"']*\))["']""", block.text)
    return [_with_numbers(statement) for statement in found]


def _with_numbers(statement: str) -> str:
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", statement)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["unknown", "varchar"], ids=["as text", "as strings of Java"])
def test_every_statement_of_a_program_runs(language: str, kind: str, database: Link) -> None:
    found = statements(the_block(language))

    assert 4 == len(found)
    for number, statement in enumerate(found):
        function = statement.split("(")[0].removeprefix("SELECT ")
        values = VALUES[function, len(set(re.findall(r"\$\d", statement)))]
        types = ", ".join([kind] * len(values))
        database.execute(f"PREPARE p{number} ({types}) AS {statement}".encode())
        given = ", ".join(f"'{value.replace(chr(39), chr(39) * 2)}'" for value in values)
        database.execute(f"EXECUTE p{number} ({given})".encode())
    assert 1 == len(database.execute("SELECT FROM error_tracking WHERE error_message = 'it''s the price'").fetchall())


@dataclass(frozen=True)
class Language:
    """How a program of the page is run; `probe` succeeds where the language and its driver are on the machine."""

    name: str
    file: str
    command: tuple[str, ...]
    probe: tuple[str, ...]


PROGRAMS = [
    Language("js", "task.cjs", ("node", "task.cjs"), ("node", "-e", "require('pg')")),
    Language("go", "task.go", ("go", "run", "task.go"), ("go", "list", "github.com/lib/pq")),
    Language("java", "Task.java", ("java", "Task.java"), ("sh", "-c", f"javac --version && test -e {POSTGRES_JAR}")),
    Language("ruby", "task.rb", ("ruby", "task.rb"), ("ruby", "-e", "require 'pg'")),
    Language("php", "task.php", ("php", "task.php"), ("php", "-r", "pg_last_error(...);")),
]


def settings(writer_url: str, folder: Path) -> dict[str, str]:
    parts = urlsplit(writer_url)
    return environment(
        DATABASE_URL=writer_url,
        JDBC_URL=f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}?user=reporter&password={PASSWORD}",
        CLASSPATH=f"{POSTGRES_JAR}:.",
        GOPATH=f"{folder}/go:/usr/share/gocode",  # where Debian puts its packages
        GOCACHE=f"{folder}/cache",
        GO111MODULE="off",
        **({"NODE_PATH": os.environ["NODE_PATH"]} if "NODE_PATH" in os.environ else {}),
    )


@pytest.mark.parametrize("language", PROGRAMS, ids=lambda language: language.name)
def test_a_program_reports_its_failed_task(language: Language, writer_url: str, database: Link, tmp_path: Path) -> None:
    env = settings(writer_url, tmp_path)
    if shutil.which(language.probe[0]) is None:
        pytest.skip(f"there is no {language.probe[0]} on this machine")
    probe = subprocess.run(language.probe, cwd=tmp_path, env=env, capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"{language.name} or its driver for PostgreSQL is not on this machine")
    (tmp_path / language.file).write_text(the_block(language.name).text, encoding="utf-8")

    ran = subprocess.run(language.command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)
    assert ("price-import", "failed", "it's the price") == the_task(database)
    assert ("high", "it's the price", "price-import") == the_error(database)[1:]


def test_the_node_program_is_javascript(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node on this machine")
    (tmp_path / "task.cjs").write_text(the_block("js").text, encoding="utf-8")

    subprocess.run(["node", "--check", "task.cjs"], cwd=tmp_path, check=True)


def test_the_lines_of_shell_report_whatever_is_in_a_value(writer_url: str, database: Link, tmp_path: Path) -> None:
    [block] = (block for block in PAGE.written_in("sh") if block.text.startswith("psql"))
    uuidgen = tmp_path / "uuidgen"
    uuidgen.write_text('#!/bin/sh\necho "it\'s unique"\n', encoding="utf-8")
    uuidgen.chmod(0o755)
    env = environment(DATABASE_URL=writer_url)

    ran = subprocess.run(
        ["sh", "-e"], input=block.text, env=env | {"PATH": f"{tmp_path}:{env['PATH']}"}, capture_output=True, text=True, check=False
    )  # fmt: skip

    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)
    assert ("cache-warmup", "completed", None) == the_task(database)
    assert [("it's unique",)] == database.execute("SELECT task_id FROM processing_metrics").fetchall()
    assert [("o'hara",)] == database.execute("SELECT component_name FROM system_health").fetchall()


def test_the_line_with_automon_run_is_one_that_it_understands() -> None:
    [line] = (block.text for block in PAGE.written_in("sh") if block.text.startswith("automon-run"))

    options, command = read_arguments(shlex.split(line)[1:])

    assert ("nightly-backup", 3600.0) == (options.task, options.timeout)
    assert ["tar", "-czf", "backup.tgz", "docs"] == command


# The job in plain shell ---------------------------------------------------------------------------------------------


def make_tar(folder: Path, script: str) -> None:
    """Put a tar that does something else into the folder."""
    (folder / "tar").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "tar").chmod(0o755)


def run_job(folder: Path, *arguments: str, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(DATABASE_URL=url, **more)
    return subprocess.run(
        [JOB, *arguments], cwd=folder, env=env, capture_output=True, text=True, errors="replace", check=False
    )


def test_the_job_reports_its_end_with_the_size(writer_url: str, database: Link, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    ran = run_job(tmp_path, "docs", "it's a backup.tgz", url=writer_url)

    assert (0, "", "") == (ran.returncode, ran.stdout, ran.stderr)
    size = (tmp_path / "it's a backup.tgz").stat().st_size
    assert [("backup", "completed", size)] == database.execute(
        "SELECT task_type, status, output_size FROM processing_metrics"
    ).fetchall()


def test_the_job_reports_its_failure_whatever_is_in_the_message(
    writer_url: str, database: Link, tmp_path: Path
) -> None:
    make_tar(tmp_path, """printf "no 'room'; DROP TABLE x; :'task_id' \\\\\\\\ \\377\\n" >&2; exit 7""")

    ran = run_job(tmp_path, "docs", "x.tgz", url=writer_url, PATH=f"{tmp_path}:{environment()['PATH']}")

    message = "exit code 7: no 'room'; DROP TABLE x; :'task_id' \\ "
    assert 7 == ran.returncode
    assert ("backup", "failed", message) == the_task(database)
    assert ("exit_code", "high", message, "backup") == the_error(database)


def test_the_job_that_is_stopped_reports_that(writer_url: str, database: Link, tmp_path: Path) -> None:
    make_tar(tmp_path, ": >running; while :; do sleep 0.05; done")
    env = environment(DATABASE_URL=writer_url) | {"PATH": f"{tmp_path}:{environment()['PATH']}"}

    with subprocess.Popen([JOB, "docs", "x.tgz"], cwd=tmp_path, env=env, start_new_session=True) as job:
        try:
            wait_until((tmp_path / "running").exists, what="the work")
            os.killpg(job.pid, signal.SIGTERM)
            job.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)

    assert 143 == job.returncode
    assert ("backup", "cancelled", "stopped by SIGTERM") == the_task(database)


def test_the_job_does_its_work_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    ran = run_job(tmp_path, "docs", "x.tgz", url="postgresql://nobody@127.0.0.1:1/none")

    assert 0 == ran.returncode
    assert (tmp_path / "x.tgz").exists()
    assert 2 == ran.stderr.count("not reported")


# The crontab --------------------------------------------------------------------------------------------------------


def cron_commands() -> list[str]:
    lines = CRONTAB.read_text(encoding="utf-8").splitlines()
    return [line.split(None, 5)[5] for line in lines if re.match(r"[\d*]", line)]


def test_every_line_of_the_crontab_is_one_that_automon_run_understands() -> None:
    commands = cron_commands()

    assert 4 == len(commands)
    for command in commands:
        assert not re.search(r"(?<!\\)%", command)
        words = shlex.split(command.replace("\\%", "%"))
        options, started = read_arguments(words[words.index("automon-run") + 1 :])
        assert options.task
        assert started


def test_the_crontab_sets_what_automon_run_needs() -> None:
    settings = dict(re.findall(r"^([A-Z_]+)=(.*)$", CRONTAB.read_text(encoding="utf-8"), re.MULTILINE))

    assert {"SHELL", "PATH", "AUTOMON_DSN", "MAILTO"} == set(settings)
