"""Hundreds of real faults while applications report: what the client has acknowledged is in the database, and once.

`make torture-client` runs each campaign twenty times as long. A campaign that fails names its seed: with
AUTOMON_TORTURE_SEED=… the same faults and facts come again, as near as threads and processes allow.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from monitoring_client import MonitoringClient
from monitoring_client.spool import Spool
from tests.faults.conftest import KeepFactsAudit
from tests.support.facts_audit import FactsAudit, Line, audit_facts, read_journals
from tests.support.outages import hurt
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.reporter import Reporter
from tests.support.service import clean_environment
from tests.support.small_disk import SmallFolder

SCALE = float(os.environ.get("AUTOMON_TORTURE", "1"))
SEED = int(os.environ.get("AUTOMON_TORTURE_SEED") or random.SystemRandom().randrange(1_000_000))
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(60 + 60 * SCALE)

LONGEST_FLUSH = 60.0
LONGEST_END = 30.0
A_ROUND = 1_000_000  # facts that no application reports in one life
# The start of the file, by which SQLite sees at once that something is wrong, or pages that it may not read for long.
DAMAGED = (slice(0, 4096), slice(4096, 3 * 4096), slice(4096, 50 * 4096))


def scaled(number: int) -> int:
    return max(1, round(number * SCALE))


class Application:
    """A process that reports, with those that it has forked."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            # What it forks inherits the pipe, whose other end hears of the end of the last one.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.reporter", *arguments],
                cwd=ROOT,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the process alone, as kill -9 does, and leave its children."""
        self._process.kill()
        self._process.wait()

    def kill_all(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait until it and its children have ended; answer its exit code."""
        assert self._process.stdout is not None
        self._process.stdout.read()
        self._process.stdout.close()
        return self._process.wait(LONGEST_END)


@dataclass(kw_only=True)
class Campaign:
    """Applications on one spool and one database, and the audit at the end.

    `url` is what applications are told of the database, `own_url` the way of everybody else.
    """

    name: str
    url: str
    own_url: str
    folder: Path
    keep_audit: KeepFactsAudit
    spool: Path
    applications: list[Application] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(f"AUTOMON_TORTURE_SEED={SEED} AUTOMON_TORTURE={SCALE:g}")
        self.chance = random.Random(SEED)
        self.over = threading.Event()
        self._numbers = itertools.count(1)
        self._begun_at = time.monotonic()
        self.folder.mkdir(parents=True)

    def start(self, component: str, *, facts: int = 0, forks: int = 0, **more: float) -> Application:
        """Start an application that tells the health of `component`, whose reports go on where the last one ended."""
        number = next(self._numbers)
        asked = {"name": f"{component}.{number}", "component": component, "first": number * A_ROUND, "facts": facts, "forks": forks, **more}  # fmt: skip
        files = {"journals": self.folder, "spool": self.spool}
        arguments = [word for name, value in (asked | files).items() for word in (f"--{name}", str(value))]
        application = Application(arguments, {"AUTOMON_DSN": self.url}, self.folder / f"{number}.log")
        self.applications.append(application)
        return application

    def pause(self, shortest: float, longest: float) -> None:
        self.over.wait(self.chance.uniform(shortest, longest))

    def kill_one_after_another(self, component: str, lives: int, longest_life: float) -> None:
        for _ in range(lives):
            application = self.start(component)
            self.pause(0, longest_life)
            application.kill_all()
            if self.over.is_set():
                break

    @contextmanager
    def lanes(self, number: int, lives: int = sys.maxsize, *, longest_life: float) -> Iterator[None]:
        """Have applications report and be killed at any moment of their lives, one after another in each lane.

        Each lane ends after so many lives, or with the block when there is no such number.
        """
        with ThreadPoolExecutor(number) as threads:
            names = (f"lane-{lane}" for lane in range(number))
            ends = [threads.submit(self.kill_one_after_another, name, lives, longest_life) for name in names]
            try:
                yield
            finally:
                if lives == sys.maxsize:
                    self.over.set()
            for end in ends:
                end.result()

    def end(self) -> None:
        for application in self.applications:
            application.kill()

    # The end --------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have everything that is left delivered by an application that reports nothing."""
        for application in self.applications:
            with suppress(ValueError):  # somebody has waited for its end already
                application.wait()
        assert self.start("last", flush=LONGEST_FLUSH).wait() == 0
        spool = Spool(self.spool)
        assert not spool.holds_any()
        spool.close()

    def audit(self) -> FactsAudit:
        with psycopg.connect(self.own_url) as connection:
            found = audit_facts(
                connection,
                self.lines(),
                campaign=self.name,
                restarts=len(self.applications),
                seconds=time.monotonic() - self._begun_at,
            )
        self.keep_audit(found)
        print(dict(zip(FactsAudit.HEADINGS, found.table_row(), strict=True)))
        return found

    def lines(self) -> list[Line]:
        return read_journals(self.folder)

    def mistakes(self) -> list[str]:
        """Give the logs of applications that were hurt by the client; a pool complains when its parent is killed."""
        logs = [application.log.read_text(encoding="utf-8") for application in self.applications]
        return [log for log in logs if "/monitoring_client/" in log or "the sender failed" in log]

    def assert_nothing_is_lost(self) -> FactsAudit:
        self.settle()
        found = self.audit()
        assert found.faults() == {}
        assert self.mistakes() == []
        return found


StartCampaign = Callable[..., Campaign]


@pytest.fixture
def campaign(database_url: str, memory_path: Path, keep_facts_audit: KeepFactsAudit) -> Iterator[StartCampaign]:
    with ExitStack() as stack:

        def start(name: str, **options: Any) -> Campaign:
            usual: dict[str, Any] = {
                "url": database_url,
                "own_url": database_url,
                "folder": memory_path / "journals",
                "spool": memory_path / "spool.sqlite3",
                "keep_audit": keep_facts_audit,
            }
            begun = Campaign(name=name, **(usual | options))
            stack.callback(begun.end)
            return begun

        yield start


def test_applications_that_are_killed_at_any_moment_lose_no_fact(campaign: StartCampaign) -> None:
    killed = campaign("kills")

    with killed.lanes(2, scaled(25) // 2, longest_life=0.6):
        pass

    killed.assert_nothing_is_lost()


# Forks --------------------------------------------------------------------------------------------------------------


def test_forked_processes_that_end_in_any_way_lose_no_fact(campaign: StartCampaign) -> None:
    forked = campaign("forks")

    for _ in range(scaled(2)):
        application = forked.start("parent", forks=6)
        forked.pause(0, 1.5)
        match forked.chance.choice(("killed", "killed with its children", "left alone")):
            case "killed":
                application.kill()
            case "killed with its children":
                application.kill_all()
            case _:
                pass
        with suppress(ValueError):
            application.wait()

    forked.assert_nothing_is_lost()


# The database -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_line(own_postgres: PostgresUnderTest) -> Iterator[TcpProxy]:
    with TcpProxy(own_postgres.address.port) as line:
        yield line


def test_a_database_that_is_killed_stopped_cut_off_and_deaf_loses_no_fact(
    campaign: StartCampaign, own_postgres: PostgresUnderTest, own_line: TcpProxy
) -> None:
    password = own_postgres.password_file.read_text(encoding="utf-8").strip()
    url = f"postgresql://automon:{password}@127.0.0.1:{own_line.port}/automon"
    away = campaign("database", url=url, own_url=own_postgres.url)

    with away.lanes(2, longest_life=2):
        for _ in range(scaled(3)):
            away.pause(0.1, 1)
            hurt(own_postgres, own_line, away, longest_silence=5)

    away.assert_nothing_is_lost()


@pytest.fixture
def line(postgres_server: PostgresUnderTest) -> Iterator[TcpProxy]:
    with TcpProxy(postgres_server.address.port) as line:
        yield line


def over(line: TcpProxy, server: PostgresUnderTest, url: str) -> str:
    """Give the way to that database that goes over the line."""
    password = server.password_file.read_text(encoding="utf-8").strip()
    return make_conninfo(url, host="127.0.0.1", hostaddr="127.0.0.1", port=line.port, password=password)


def test_six_processes_on_one_spool_lose_no_fact_while_the_database_comes_and_goes(
    campaign: StartCampaign, postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy
) -> None:
    crowd = campaign("crowd", url=over(line, postgres_server, database_url))

    with crowd.lanes(6, longest_life=2):
        for _ in range(scaled(3)):
            line.refuse()
            crowd.pause(0.1, 0.5)
            line.allow()
            crowd.pause(0.1, 0.8)

    crowd.assert_nothing_is_lost()


# The disk -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_loses_no_fact(
    campaign: StartCampaign, postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy, memory_path: Path
) -> None:
    with SmallFolder(memory_path / "disk", megabytes=8) as disk:
        url = over(line, postgres_server, database_url)
        full = campaign("full disk", url=url, spool=disk.folder / "spool.sqlite3")

        with full.lanes(2, longest_life=1.5):
            for _ in range(scaled(2)):
                if full.chance.random() < 0.5:
                    line.refuse()
                full.pause(0.1, 0.7)
                disk.fill()
                full.pause(0.1, 0.7)
                line.allow()
                full.pause(0, 0.3)
                disk.free()

        full.assert_nothing_is_lost()


def test_a_disk_that_cannot_be_written_to_loses_no_fact(
    campaign: StartCampaign, postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy, memory_path: Path
) -> None:
    with SmallFolder(memory_path / "disk", megabytes=8) as disk:
        url = over(line, postgres_server, database_url)
        dead = campaign("read-only disk", url=url, spool=disk.folder / "spool.sqlite3")

        for _ in range(scaled(1)):
            line.refuse()
            dead.kill_one_after_another("lane", 1, longest_life=0.6)
            disk.forbid_writing()
            line.allow()
            dead.kill_one_after_another("other", 2, longest_life=0.6)
            disk.allow_writing()

        dead.assert_nothing_is_lost()


def test_a_spool_that_is_damaged_loses_only_what_was_in_it(
    campaign: StartCampaign, postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy, memory_path: Path
) -> None:
    hurt_file = campaign("damaged spool", url=over(line, postgres_server, database_url))

    since, file = 0.0, hurt_file.spool  # the moment at which the file in use was seen first
    with hurt_file.lanes(3, longest_life=1.5):
        for _ in range(scaled(2)):
            line.refuse()
            hurt_file.pause(0.2, 0.7)
            damage(file, hurt_file.chance)
            line.allow()
            hurt_file.pause(0.2, 0.7)
            since, file = newest(hurt_file.spool, since, file)

    hurt_file.settle()
    since, file = newest(hurt_file.spool, since, file)
    hurt_file.start("afterwards", facts=scaled(20)).wait()
    hurt_file.settle()
    found = hurt_file.audit()
    said = {f"{line['kind']} {line['key']}": line["ended"] for line in hurt_file.lines() if line["said"] != "tried"}
    assert [one for one in found.lost if said[one] > since] == []
    assert found.doubled == found.invented == []
    assert hurt_file.mistakes() == []


def damage(file: Path, chance: random.Random) -> None:
    where = chance.choice(DAMAGED)
    nonsense = chance.randbytes(where.stop - where.start)
    with suppress(FileNotFoundError), file.open("r+b", buffering=0) as opened:
        held = len(opened.read()[where])
        opened.seek(where.start)
        opened.write(nonsense[:held])


def newest(spool: Path, since: float, file: Path) -> tuple[float, Path]:
    """Look whether the processes have gone on to another file since."""
    found = Spool(spool)._file()
    return (since, file) if found == file else (time.time(), found)


# The auditor itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def said(database_url: str, tmp_path: Path) -> list[Line]:
    """What an application has written down that reported fifty facts, all of which are in the database."""
    monitor = MonitoringClient(database_url, durable=True, spool=tmp_path / "spool")
    Reporter(monitor, tmp_path, "app", "app").report(50)
    assert monitor.flush(20)
    monitor.close()
    return read_journals(tmp_path)


OLDEST_TASK = "(SELECT min(task_id) FROM processing_metrics WHERE end_time IS NOT NULL)"
OLDEST_ERROR = "(SELECT min(error_message) FROM error_tracking)"


@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        pytest.param("SELECT 1", [], id="nothing when everything is there"),
        pytest.param(f"DELETE FROM error_tracking WHERE error_message = {OLDEST_ERROR}", ["lost (1)"], id="a fact that is not there"),
        pytest.param(f"DELETE FROM processing_metrics WHERE task_id = {OLDEST_TASK}", ["lost (1)"], id="a task that is not there"),
        pytest.param(
            f"INSERT INTO error_tracking SELECT nextval('error_tracking_id_seq'), gen_random_uuid(), (e).occurred_at, (e).task_id, (e).component, (e).error_type,"
            f" (e).severity, (e).error_message FROM (SELECT e FROM error_tracking AS e WHERE error_message = {OLDEST_ERROR}) AS e",
            ["doubled (1)"],
            id="a fact that is there twice",
        ),
        pytest.param("UPDATE queue_monitoring SET pending = pending + 1000 WHERE pending = (SELECT min(pending) FROM queue_monitoring)", ["invented (1)", "lost (1)"], id="a fact that nobody has reported"),
        pytest.param(f"UPDATE processing_metrics SET end_time = end_time + interval '5 s' WHERE task_id = {OLDEST_TASK}", ["mangled (1)"], id="a task that ended at another moment"),
        pytest.param("UPDATE system_health SET report_count = 100 WHERE ended_at IS NULL", ["doubled (1)"], id="a state that was counted twice"),
        pytest.param("UPDATE system_health SET details = '{\"number\": 0}' WHERE ended_at IS NULL", ["out_of_order (1)"], id="states that go back"),
    ],
)  # fmt: skip
def test_the_auditor_of_facts_finds(statement: str, faults: list[str], said: list[Line], database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement.encode())

        assert faults == sorted(audit_facts(connection, said).faults())
