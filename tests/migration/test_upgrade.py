"""From every released version to this one: nothing is lost, nobody waits, and what is interrupted has not happened."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from automon.errors import DatabaseUnavailableError, SchemaInUseError
from automon.migrate import FIRST_PAUSE, ORCHESTRATOR, manifest, migrate
from tests.migration.normalised import everything
from tests.migration.released import (
    FOLDER,
    RELEASED,
    Rows,
    all_rows,
    calls_of,
    copy_of_release,
    copy_with,
    versions_of_the_changelog,
)
from tests.support.cutting import HOST, QueryCutter
from tests.support.postgres import PostgresUnderTest
from tests.support.psql import ORCHESTRATOR as OWN_ORCHESTRATOR
from tests.support.psql import migrate_with_psql, run_psql
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILES = [file for file, _ in manifest()]
# How many of the moments at which an upgrade may be interrupted are tried; all of them with AUTOMON_TORTURE.
MOMENTS = 6
TO_COME = "990_of_tomorrow.sql"
LOCKS_ALL_FACTS = """\
ALTER TABLE processing_metrics ADD COLUMN of_tomorrow text;
ALTER TABLE error_tracking ADD COLUMN of_tomorrow text;
ALTER TABLE performance_monitoring ADD COLUMN of_tomorrow text;
"""
READS = "SELECT count(*) FROM processing_metrics"

State = tuple[list[str], Rows]


def state_of(url: str) -> State:
    """Everything that there is: equal if and only if nothing changed."""
    with psycopg.connect(url) as connection:
        return everything(connection), all_rows(url)


def shape_of(url: str) -> list[str]:
    """What an upgraded database has in common with a fresh one: not the days, and not the values of settings."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT 'setting ' || name FROM public.monitoring_settings ORDER BY name").fetchall()
        described = everything(connection)
    return [
        *(line for line in described if not line.startswith(("setting ", "threshold ", "partition of"))),
        *(name for (name,) in names),
    ]


def newest_in_ledger(url: str) -> str:
    return str(all_rows(url)["monitoring_migrations"][-1]["file"])


@pytest.fixture
def tomorrow(tmp_path: Path) -> Path:
    """The files of a version to come that changes tables in use."""
    return copy_with(TO_COME, LOCKS_ALL_FACTS, tmp_path / "sql")


@pytest.fixture
def reader(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in a transaction that has read the tasks."""
    with psycopg.connect(database_url, application_name="nightly report") as connection:
        connection.execute(READS)
        yield connection


# The list of releases ------------------------------------------------------------------------------------------------


def test_every_released_version_is_upgraded_from() -> None:
    (newest, state), *before = versions_of_the_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    released = {version for version, _ in before} | ({newest} if state != "unreleased" else set())

    assert released - set(RELEASED) == set()
    assert set(RELEASED) - released - {newest} == set()
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(RELEASED)


@pytest.mark.parametrize("version", RELEASED)
def test_released_files_are_still_what_they_were(version: str, tmp_path: Path) -> None:
    released = manifest(copy_of_release(version, tmp_path / "sql"))

    assert manifest()[: len(released)] == released


# What an upgrade leaves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_psql", [True, False], ids=["psql", "automon migrate"])
def test_an_upgrade_ends_in_the_schema_of_a_fresh_database_and_keeps_every_row(
    released_url: str, database_url: str, *, with_psql: bool
) -> None:
    before = all_rows(released_url)

    if with_psql:
        migrate_with_psql(released_url)
    else:
        assert migrate(released_url) == FILES[-len(FILES) + len(before["monitoring_migrations"]) :]

    assert shape_of(released_url) == shape_of(database_url)
    after = all_rows(released_url)
    for table, rows in before.items():
        kept = [{column: row.get(column) for column in rows[0]} for row in after[table]]
        assert [row for row in rows if row not in kept] == [], table


def test_twenty_at_once_of_both_kinds_upgrade_once(released_url: str) -> None:
    known = len(all_rows(released_url)["monitoring_migrations"])

    def run(number: int) -> list[str]:
        if number % 2:
            return migrate(released_url)
        migrate_with_psql(released_url)
        return []

    with ThreadPoolExecutor(20) as pool:
        applied = list(filter(None, pool.map(run, range(20))))

    assert applied in ([], [FILES[known:]])
    assert [row["file"] for row in all_rows(released_url)["monitoring_migrations"]] == FILES


@pytest.mark.parametrize("version", RELEASED)
def test_the_programs_of_a_released_version_work_on_the_new_schema(version: str, database_url: str) -> None:
    wrong = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for call in calls_of(version):
            try:
                row = connection.execute(call.statement.encode()).fetchone()
            except psycopg.Error as error:
                wrong.append(f"{call.statement}: {error}")
                continue
            if call.answer and (row is None or str(row[0]) != call.answer):
                wrong.append(f"{call.statement}: answers {row}, not {call.answer}")

    assert wrong == []


# Locks ---------------------------------------------------------------------------------------------------------------


def test_writers_pass_while_an_upgrade_tries_again(
    database_url: str, tomorrow: Path, reader: psycopg.Connection[Any]
) -> None:
    pauses: list[float] = []
    stored: list[object] = []
    with psycopg.connect(database_url, autocommit=True, options="-c statement_timeout=10000") as writer:

        def meanwhile(seconds: float) -> None:
            pauses.append(seconds)
            stored.append(writer.execute("SELECT start_task_tracking(%s, 'ocr')", [f"task-{len(pauses)}"]).fetchone())
            if len(pauses) == 3:
                reader.commit()

        assert migrate(database_url, folder=tomorrow, pause=meanwhile) == [TO_COME]

    assert pauses == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert stored == [(True,)] * 3


def test_an_upgrade_that_never_gets_its_lock_says_who_holds_it_and_changes_nothing(
    database_url: str, tomorrow: Path, reader: psycopg.Connection[Any]
) -> None:
    before = state_of(database_url)

    with pytest.raises(SchemaInUseError) as given_up:
        migrate(database_url, folder=tomorrow, patience=0)

    assert (
        given_up.value.message
        == "the schema was not changed: its tables were in use for 0 s (canceling statement due to lock timeout)"
    )
    advice, holder = given_up.value.hint.split("\n  ")
    assert advice == "Nothing was changed. End the transaction that holds them, or wait for its end, and run it again."
    with psycopg.connect(database_url) as observer:
        [(since, statement)] = observer.execute(
            "SELECT xact_start, query_start FROM pg_stat_activity WHERE pid = %s", [reader.info.backend_pid]
        ).fetchall()
    assert holder == (
        f"process {reader.info.backend_pid} (nightly report, user {reader.info.user}): transaction since"
        f" {since:%Y-%m-%d %H:%M:%S%z}, last statement {statement:%H:%M:%S}: '{READS}'"
    )
    assert state_of(database_url) == before


def test_psql_gives_up_at_once_too_and_says_to_run_it_again(
    database_url: str, tomorrow: Path, reader: psycopg.Connection[Any]
) -> None:
    before = state_of(database_url)

    given_up = run_psql(database_url, "-f", str(tomorrow / ORCHESTRATOR))

    assert given_up.returncode == 3
    assert (
        f"automon: upgrading from {FILES[-1]}. If this ends with a lock timeout, nothing was changed: run it again"
        in given_up.stdout
    )
    assert "canceling statement due to lock timeout" in given_up.stderr
    assert state_of(database_url) == before
    reader.commit()
    assert run_psql(database_url, "-f", str(tomorrow / ORCHESTRATOR)).returncode == 0


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03"])
def test_what_another_try_may_mend_is_tried_again(database_url: str, code: str, tmp_path: Path) -> None:
    # A sequence remembers what a transaction that is taken back has done.
    failing_twice = f"""
        DO $do$ BEGIN IF nextval('tries') < 3 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END IF; END $do$;
    """
    folder = copy_with(TO_COME, failing_twice, tmp_path / "sql")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE public.tries")
    pauses: list[float] = []

    assert migrate(database_url, folder=folder, pause=pauses.append) == [TO_COME]
    assert len(pauses) == 2


def test_a_service_that_starts_beside_a_dump_has_nothing_to_wait_for(database_url: str) -> None:
    with psycopg.connect(database_url) as dump:
        for table in all_rows(database_url):
            dump.execute(f"LOCK TABLE public.{table} IN ACCESS SHARE MODE".encode())

        assert migrate(database_url, patience=0) == []


# Under load ----------------------------------------------------------------------------------------------------------


class Writer:
    """Reports tasks with errors, one after another, until it is stopped."""

    def __init__(self, url: str, name: str) -> None:
        self.written = 0
        self.slowest = 0.0
        self.error: Exception | None = None
        self._url, self._name = url, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                while not self._stop.is_set():
                    self._write(connection, f"{self._name}-{self.written}")
                    self.written += 1
        except Exception as error:  # noqa: BLE001  the test says it
            self.error = error

    def _write(self, connection: psycopg.Connection[Any], task: str) -> None:
        for statement in (
            "SELECT start_task_tracking(%s, 'under_load')",
            "SELECT record_error(%s, 'timeout', 'low', 'no answer', 'under_load')",
            "SELECT complete_task_tracking(%s, 'completed')",
        ):
            began = time.monotonic()
            assert connection.execute(statement.encode(), [task]).fetchone() == (True,)
            self.slowest = max(self.slowest, time.monotonic() - began)


def test_writers_lose_nothing_and_never_fail_while_the_schema_is_upgraded(
    released_url: str, tomorrow: Path, record_property: Callable[[str, object], None]
) -> None:
    writers = [Writer(released_url, f"writer-{number}") for number in range(4)]
    try:
        wait_until(lambda: all(writer.written > 5 or writer.error for writer in writers), seconds=30)
        applied = migrate(released_url, folder=tomorrow)
        then = [writer.written for writer in writers]
        wait_until(
            lambda: all(
                writer.written > before + 5 or writer.error for writer, before in zip(writers, then, strict=True)
            ),
            seconds=30,
        )
    finally:
        for writer in writers:
            writer.stop()

    assert [writer.error for writer in writers] == [None] * 4
    assert applied[-1] == TO_COME
    written = {f"writer-{number}-{task}" for number, writer in enumerate(writers) for task in range(writer.written)}
    rows = all_rows(released_url)
    tasks = [row for row in rows["processing_metrics"] if row["task_type"] == "under_load"]
    errors = [row for row in rows["error_tracking"] if row["component"] == "under_load"]
    assert Counter(row["task_id"] for row in tasks if row["status"] == "completed") == Counter(written)
    assert Counter(row["task_id"] for row in errors) == Counter(written)
    record_property("slowest_call_seconds", round(max(writer.slowest for writer in writers), 3))


# Interrupted ---------------------------------------------------------------------------------------------------------


def through(cutter: QueryCutter, url: str, server: PostgresUnderTest) -> str:
    password = server.password_file.read_text(encoding="utf-8").strip()
    return make_conninfo(
        "", host=HOST, port=cutter.port, dbname=conninfo_to_dict(url)["dbname"], user=conninfo_to_dict(url)["user"],
        password=password, sslmode="disable", gssencmode="disable",
    )  # fmt: skip


def psql_sessions(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'psql'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def moments(queries: int) -> list[int]:
    """Choose the queries to cut before: the first and the last among them."""
    if os.environ.get("AUTOMON_TORTURE"):
        return list(range(1, queries + 1))
    return sorted({1 + round(step * (queries - 1) / (MOMENTS - 1)) for step in range(MOMENTS)})


def test_an_upgrade_that_is_cut_off_at_any_statement_has_not_happened(
    released_url: str, postgres_server: PostgresUnderTest, released_template: str
) -> None:
    port = postgres_server.address.port
    other = postgres_server.create_database(released_template)
    with QueryCutter(port) as whole:
        upgraded = run_psql(
            through(whole, postgres_server.address.socket_url(other), postgres_server), "-f", str(OWN_ORCHESTRATOR)
        )
    postgres_server.drop_database(other)
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    before = state_of(released_url)

    for number in moments(whole.queries):
        with QueryCutter(port, cut_before=number) as cutter:
            cut = run_psql(through(cutter, released_url, postgres_server), "-f", str(OWN_ORCHESTRATOR))
        wait_until(lambda: psql_sessions(released_url) == 0, what="the end of the session that was cut")
        assert cut.returncode != 0
        assert state_of(released_url) == before, f"cut before query {number}"

    migrate_with_psql(released_url)
    assert newest_in_ledger(released_url) == FILES[-1]


def test_an_upgrade_whose_backend_is_ended_has_not_happened_and_says_so(released_url: str, tmp_path: Path) -> None:
    suicidal = copy_with(TO_COME, f"{LOCKS_ALL_FACTS}SELECT pg_terminate_backend(pg_backend_pid());", tmp_path / "sql")
    before = state_of(released_url)

    with pytest.raises(DatabaseUnavailableError, match="the database went away"):
        migrate(released_url, folder=suicidal)

    assert state_of(released_url) == before
    assert migrate(released_url)[-1] == FILES[-1]
