"""A service that finds an older schema upgrades it, and waits for those who use it."""

from __future__ import annotations

from pathlib import Path

import psycopg

from automon.migrate import APPLICATION_NAME
from tests.migration.released import all_rows
from tests.support.service import ServiceProcess, make_config
from tests.support.waiting import wait_until

WAITS = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.application_name = %s"


def test_a_service_upgrades_the_schema_when_those_who_read_it_let_it(released_url: str, tmp_path: Path) -> None:
    before = all_rows(released_url)["monitoring_migrations"]
    with (
        psycopg.connect(released_url) as dump,
        psycopg.connect(released_url, autocommit=True) as observer,
        ServiceProcess(tmp_path / "service", make_config(), {"DATABASE_URL": released_url}) as service,
    ):
        dump.execute("LOCK TABLE monitoring_migrations IN ACCESS SHARE MODE")
        for _ in range(2):
            wait_until(lambda: observer.execute(WAITS, [APPLICATION_NAME]).fetchone() == (True,), seconds=30)
            wait_until(lambda: observer.execute(WAITS, [APPLICATION_NAME]).fetchone() == (False,), seconds=30)
        assert all_rows(released_url)["monitoring_migrations"] == before
        dump.commit()

        ready = service.wait_until_ready()

    assert ready["migrated"] == [row["file"] for row in all_rows(released_url)["monitoring_migrations"]][len(before) :]
