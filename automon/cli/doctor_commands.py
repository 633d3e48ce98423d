"""The command that looks after automon: every assumption is checked, and each finding names what mends it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automon.cli.options import config_option, database_option, json_option, quiet_logs
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.cli.doctor_host import ReadConfig
    from automon.cli.findings import Check, Finding

# Seconds for all of it, whatever hangs.
PATIENCE = 12.0
# Seconds for one answer of the database.
QUERY_PATIENCE = 5.0


@click.command()
@config_option
@database_option
@json_option
def doctor(*, config_path: Path | None, database_url: str | None, as_json: bool) -> None:
    """Check everything that automon depends on, and name the command that mends what is wrong.

    Programs, config, secrets, database, rights, clock, pooler, partitions, retention, the service, mail and Slack. It
    changes nothing, sends nothing, and ends within 15 seconds whatever hangs.

    Exit code: 0 nothing has failed (there may be warnings), 1 something has.

    Example: automon doctor
    """
    from automon.cli.findings import exit_code, finding_lines

    quiet_logs()
    findings = examine(config_path, database_url)
    if as_json:
        document = {"schema_version": 1, "findings": [finding.to_document() for finding in findings]}
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(finding_lines(findings)))
    sys.stdout.flush()
    # What still hangs must not keep the process.
    os._exit(exit_code(findings))


def examine(config_path: Path | None, database_url: str | None) -> list[Finding]:
    """Run every check and answer what they found, in the order in which they depend on each other."""
    from automon.cli import doctor_host
    from automon.cli.findings import Check, run_checks
    from automon.clock import SystemClock
    from automon.places import EMBEDDED_FOLDER, SYSTEM_DATABASE_FOLDER, adopt_environment, find_config

    path = find_config(config_path, os.environ)
    adopt_environment(path)
    read = _read_config(path)
    database, find_zone = _database_checks(database_url, read)
    now = SystemClock().now()
    host = [
        Check("python", doctor_host.check_python),
        Check("libraries", doctor_host.check_libraries),
        Check("config", partial(doctor_host.check_config, read)),
        Check("secrets", partial(doctor_host.check_secrets, read)),
        Check("systemd", doctor_host.check_unit),
        Check("embedded db", partial(doctor_host.check_embedded, [EMBEDDED_FOLDER, SYSTEM_DATABASE_FOLDER])),
    ]
    found = run_checks([host, database, *_network_checks(read)], PATIENCE)
    zones = doctor_host.check_time_zones(read.config, now, find_zone())
    return [*found, zones]


def _read_config(path: Path) -> ReadConfig:
    from automon.cli.doctor_host import ReadConfig
    from automon.places import environment_file, load_config_at

    environment = environment_file(path)
    try:
        config = load_config_at(path, os.environ)
    except AutomonError as error:
        return ReadConfig(path=path, environment=environment, error=error)
    return ReadConfig(path=path, environment=environment, config=config)


def _database_checks(chosen: str | None, read: ReadConfig) -> tuple[list[Check], Callable[[], str]]:
    """Make the checks of the database, and a way to the time zone that it turns out to have."""
    from automon.cli.doctor_database import DatabaseChecks, unreachable
    from automon.clock import SystemClock
    from automon.database import Database
    from automon.places import find_database_url

    try:
        # A wrong config must not hide how the database is.
        url = find_database_url(chosen, read.config) if read.config else chosen or os.environ.get("DATABASE_URL")
        if not url:
            return unreachable("the config cannot be read", "Mend the config first."), str
        # As behind a pooler, which takes every kind of server; and with little patience.
        database = Database(url, SystemClock(), pooled=True, size=2, patience=QUERY_PATIENCE, quiet=True)
    except AutomonError as error:
        return unreachable(error.message, error.hint), str
    checks = DatabaseChecks(url, read.config, database)
    return checks.checks(), lambda: checks.zone


def _network_checks(read: ReadConfig) -> list[list[Check]]:
    from automon.cli.doctor_network import network_checks

    return network_checks(read.config) if read.config else []
