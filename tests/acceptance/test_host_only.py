"""`automon run --only host`: a sampler beside the service, which is missed when it falls silent and mistaken for nothing else."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from signal import Signals

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.conftest import StartService
from tests.acceptance.test_service_manager import NOBODY_LISTENS, Manager, manager
from tests.support.calls import Calls
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Look, make_config, run_automon

ONLY_HOST = ("run", "--only", "host")
HOST = socket.gethostname()
SAMPLED = "SELECT count(*) >= %s FROM public.host_metrics"

__all__ = ["manager"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def writer_url(postgres_server: PostgresUnderTest, database_url: str, look: Look) -> Iterator[str]:
    """The URL of this test's database for a user who may record and nothing else."""
    user = f"sampler_{look.connection.info.backend_pid}"
    with psycopg.connect(postgres_server.address.socket_url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'of-a-sampler' IN ROLE automon_writer").format(sql.Identifier(user))
        )
        yield f"postgresql://{user}:of-a-sampler@127.0.0.1:{postgres_server.address.port}/{look.connection.info.dbname}"
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


def over(line: TcpProxy, url: str) -> str:
    return re.sub(r"@127\.0\.0\.1:\d+/", f"@127.0.0.1:{line.port}/", url)


@pytest.fixture
def line(postgres_server: PostgresUnderTest) -> Iterator[TcpProxy]:
    with TcpProxy(postgres_server.address.port) as proxy:
        yield proxy


def test_a_writer_samples_its_host_and_is_no_service(look: Look, writer_url: str, start_service: StartService) -> None:
    sampler = start_service(None, {"DATABASE_URL": writer_url}, arguments=ONLY_HOST)

    ready = sampler.wait_for_event("host_ready")
    look.wait_for(SAMPLED, 3)

    assert ready["host"] == HOST
    assert look.ask("SELECT DISTINCT host FROM public.host_metrics") == [{"host": HOST}]
    for nothing in ("service_instances", "watch_state", "job_runs", "notification_channels"):
        assert look.one(f"SELECT count(*) FROM public.{nothing}") == 0
    assert sampler.stop() == 0
    assert [event["event"] for event in sampler.events if event["level"] not in {"debug", "info"}] == []


def test_a_sampler_that_is_killed_is_missed(look: Look, writer_url: str, start_service: StartService) -> None:
    sampler = start_service(None, {"DATABASE_URL": writer_url}, arguments=ONLY_HOST)
    look.wait_for(SAMPLED, 3)
    sampler.kill()
    calls = Calls(look.connection)
    calls("set_threshold", "host_silence", "*", None, None, 300, 900)
    now = look.one("SELECT clock_timestamp()")

    alive = calls.evaluated("evaluate_hosts", now + timedelta(seconds=60), "host_silence")
    silent = calls.evaluated("evaluate_hosts", now + timedelta(minutes=6), "host_silence")

    assert alive[HOST]["severity"] is None
    assert silent[HOST]["severity"] == "high"


def test_samples_are_kept_while_the_database_is_away_and_stored_when_it_is_back(
    look: Look, writer_url: str, line: TcpProxy, manager: Manager, start_service: StartService
) -> None:
    environment = {"DATABASE_URL": over(line, writer_url), "NOTIFY_SOCKET": str(manager.path)}
    sampler = start_service(None, environment, arguments=ONLY_HOST)
    sampler.wait_for_event("host_ready")
    manager.wait_for("READY=1")
    manager.wait_for(f"STATUS=looks at {HOST}")

    line.refuse()
    lost = sampler.wait_for_event("database_unavailable", level="error")
    manager.wait_for("STATUS=waiting for the database")
    manager.wait_for("WATCHDOG=1")
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '3 seconds'", lost["timestamp"])
    line.allow()

    back = sampler.wait_for_event("database_available")
    sampler.wait_for_event("host_samples_caught_up")
    look.wait_for(
        "SELECT count(*) > 0 FROM public.host_metrics WHERE sampled_at BETWEEN %s AND %s",
        lost["timestamp"],
        back["timestamp"],
    )
    manager.wait_for(f"STATUS=looks at {HOST}", count=2)
    assert sampler.stop() == 0
    manager.wait_for("STOPPING=1")


def test_it_waits_for_a_schema_that_others_make(
    empty_database_url: str, manager: Manager, start_service: StartService
) -> None:
    environment = {"DATABASE_URL": empty_database_url, "NOTIFY_SOCKET": str(manager.path)}
    sampler = start_service(None, environment, arguments=ONLY_HOST)

    sampler.wait_for_event("schema_missing", level="error")
    manager.wait_for("STATUS=waiting for automon's schema in the database")
    with psycopg.connect(empty_database_url, autocommit=True) as link:
        assert Look(link).one("SELECT to_regclass('public.host_metrics')") is None
        assert run_automon(sampler.folder, "migrate", environment={"DATABASE_URL": empty_database_url}).returncode == 0
        Look(link).wait_for(SAMPLED, 2)

    assert len(sampler.events_named("schema_missing")) == 1


def test_a_user_who_may_not_record_is_told_once_and_in_the_status(
    look: Look, writer_url: str, manager: Manager, start_service: StartService
) -> None:
    user = writer_url.partition("//")[2].partition(":")[0]
    look.connection.execute(sql.SQL("REVOKE automon_writer FROM {}").format(sql.Identifier(user)))
    sampler = start_service(None, {"DATABASE_URL": writer_url, "NOTIFY_SOCKET": str(manager.path)}, arguments=ONLY_HOST)

    sampler.wait_for_event("job_failed", level="error")
    manager.wait_for("STATUS=samples are not recorded")
    look.connection.execute(sql.SQL("GRANT automon_writer TO {}").format(sql.Identifier(user)))

    sampler.wait_for_event("job_recovered")
    look.wait_for(SAMPLED, 2)
    assert len(sampler.events_named("job_failed")) == 1


def test_another_rhythm_is_read_from_the_config(look: Look, writer_url: str, start_service: StartService) -> None:
    often = make_config()
    sampler = start_service(often, {"DATABASE_URL": writer_url}, arguments=ONLY_HOST)
    sampler.wait_for_event("host_ready")

    sampler.reload("{}}")
    sampler.wait_for_event("config_rejected")
    sampler.reload(make_config(schedule={"host_sampling_seconds": 3600}))
    changed = sampler.wait_for_event("config_accepted")

    [change] = changed["changes"]
    assert change.startswith("schedule.host_sampling_seconds: 1 -> 3600")
    before = look.one("SELECT count(*) FROM public.host_metrics")
    look.wait_for("SELECT clock_timestamp() > %s::timestamptz + interval '3 seconds'", changed["timestamp"])
    assert look.one("SELECT count(*) FROM public.host_metrics") <= before + 1


def test_it_starts_without_a_database_and_not_without_the_name_of_one(
    tmp_path: Path, manager: Manager, start_service: StartService
) -> None:
    start_service(None, {"DATABASE_URL": NOBODY_LISTENS, "NOTIFY_SOCKET": str(manager.path)}, arguments=ONLY_HOST)
    manager.wait_for("READY=1")
    manager.wait_for("STATUS=waiting for the database")

    nameless = run_automon(tmp_path, *ONLY_HOST)
    embedded = run_automon(tmp_path, *ONLY_HOST, "--embedded", "here")
    assert (nameless.returncode, embedded.returncode) == (78, 64)
    assert "DATABASE_URL is not set" in nameless.stderr
    assert "--embedded" in embedded.stderr


def test_it_loads_nothing_that_sends_or_schedules(look: Look, writer_url: str, start_service: StartService) -> None:
    sampler = start_service(
        None, {"DATABASE_URL": writer_url}, arguments=("-X", "importtime", "-m", "automon", *ONLY_HOST), program=()
    )
    look.wait_for(SAMPLED, 1)
    sampler.send(Signals.SIGTERM)
    sampler.wait()
    imported = {
        line.rpartition("|")[2].strip() for line in sampler.stderr.splitlines() if line.startswith("import time:")
    }

    assert {"psutil", "psycopg"} <= imported
    assert {"apprise", "apscheduler", "requests", "automon.migrate"} & imported == set()


def test_the_unit_is_hardened_as_that_of_the_service() -> None:
    service, host = (settings_of(ROOT / "systemd" / name) for name in ("automon.service", "automon-host.service"))
    own = {"Description", "ExecStart", "MemoryMax", "TasksMax", "TimeoutStopSec", "After"}

    assert {name: value for name, value in host.items() if name not in own} == {
        name: value for name, value in service.items() if name not in own
    }
    assert host["ExecStart"] == [service["ExecStart"][0].replace(" run ", " run --only host ")]


def settings_of(unit: Path) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings
