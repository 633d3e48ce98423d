"""The real process on a database whose owner has other habits: Latin 1, another way to write moments, a hostile path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from automon.migrate import migrate
from monitoring_client import MonitoringClient
from tests.support.kinds import KINDS
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, ServiceProcess, channels_of, make_config, run_automon, write_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

StartService = Callable[..., ServiceProcess]


@pytest.fixture(params=["unusual", "no encoding", "Latin 1"])
def database_url(request: pytest.FixtureRequest, postgres_server: PostgresUnderTest) -> Iterator[str]:
    """In place of the usual one: `start_service` takes it from here."""
    name = postgres_server.create_database(kind=KINDS[request.param])
    url = postgres_server.address.socket_url(name)
    migrate(url)
    yield url
    postgres_server.drop_database(name)


def test_facts_become_messages_and_the_command_line_shows_them(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(make_config(), channels_of(slack, smtp))
    service.wait_until_ready()

    with MonitoringClient(database_url, worker_id="Jörg", raise_errors=True) as monitor:
        monitor.update_system_health("api", "Zürich", "unhealthy", failure_reason="Zertifikat läuft ab: C:\\new")

    [post] = slack.wait_for(1)
    smtp.wait_for(1)
    assert "CRITICAL api/Zürich: is unhealthy: Zertifikat läuft ab: C:\\new" in post.preview
    # The search_path of its owner would lead the question astray.
    with psycopg.connect(database_url, autocommit=True, options="-c search_path=") as connection:
        Look(connection).wait_for(
            "SELECT count(*) > 0 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'"
        )
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write_config(folder, make_config())
    for command, words in ((["explain", "1"], "läuft ab"), (["deliveries"], "api/Zürich"), (["status"], "api/Zürich")):
        told = run_automon(folder, *command, environment={"DATABASE_URL": database_url})
        assert told.returncode in {0, 1, 2}, told.stderr
        assert words in told.stdout, (command, told.stdout, told.stderr)
    assert service.stop() == 0
