"""What the commands have in common: options, exit codes, and the way to the database."""

from __future__ import annotations

import getpass
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.errors import ConfigError, DatabaseUnavailableError

if TYPE_CHECKING:
    from automon.config import Config
    from automon.store import Store

EXIT_USAGE = 64
EXIT_CANNOT_READ = 4
MOST_OF_A_UNIT = 1_000_000

# A usage error must not look like "critical alerts are open" to a monitoring plugin, which reads 2 as that.
click.UsageError.exit_code = EXIT_USAGE


DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta | None:
    """Read a duration such as 90s, 30m, 2h or 7d; None for anything else."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None or not 0 < int(found[1]) < MOST_OF_A_UNIT:
        return None
    return timedelta(**{DURATION_UNITS[found[2]]: int(found[1])})


class Duration(click.ParamType[timedelta]):
    """A duration such as 90s, 30m, 2h or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        duration = parse_duration(str(value))
        if duration is None:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 2h or 7d.", param, ctx)
        return duration


config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Config file instead of ./monitoring_config.json."
)
database_option = click.option("--database-url", help="Database instead of the config's (DATABASE_URL).")
primary_option = click.option("--primary", is_flag=True, help="Read where the service works, not from the replica.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object with raw values instead of text.")


by_option = click.option(
    "--by", default=getpass.getuser, show_default="your user name", help="Who acts; kept in the database."
)


def open_store(config_path: Path | None, database_url: str | None) -> Store:
    """Open the database where the service works. Raises DatabaseUnavailableError."""
    return _open_primary(_load(config_path, reads=False), database_url)


def _open_primary(config: Config, database_url: str | None) -> Store:
    from automon.places import find_database_url

    return _store(find_database_url(database_url, config), config, pooled=config.database.pooled)


def _load(config_path: Path | None, *, reads: bool) -> Config:
    """Load the config; of one with mistakes what it says of the database, so that people see and act while it is wrong.

    Whoever `reads` only goes by the environment when the file is no JSON.
    """
    from automon.places import load_found_config, load_found_database

    try:
        return load_found_config(config_path, os.environ)
    except ConfigError as error:
        config = load_found_database(config_path, os.environ, without_text=reads)
        click.echo(f"{config.path} is wrong ({error.problems[0].message}): see automon check-config", err=True)
        return config


def open_reader(config_path: Path | None, database_url: str | None, *, primary: bool) -> Store:
    """Open the replica if the config has one, for what only reads. Raises DatabaseUnavailableError."""
    from automon.places import reader_url

    config = _load(config_path, reads=True)
    url = None if primary else reader_url(database_url, config)
    if url is None:
        return _open_primary(config, database_url)
    try:
        return _store(url, config, pooled=None)
    except DatabaseUnavailableError as error:
        raise DatabaseUnavailableError(
            f"{error.message}\n  This is the replica of database.reader_url.",
            hint="Read where the service works instead: add --primary.",
        ) from error


def _store(url: str, config: Config, *, pooled: bool | None) -> Store:
    from automon.clock import SystemClock
    from automon.database import Database
    from automon.store import Store

    database = Database(url, SystemClock(), pooled=pooled, size=1)
    database.probe()
    database.open()
    click.get_current_context().call_on_close(database.close)
    return Store(database, config.database.schema_)


def tell_if_behind(store: Store) -> None:
    """Say on stderr when what is shown comes from a replica and may be old."""
    from automon.cli.verdict import replica_is_behind, replica_line

    replica = store.replica()
    if replica is not None and replica_is_behind(replica):
        click.echo(replica_line(replica), err=True)


def quiet_logs() -> None:
    from automon.logs import configure_logging

    configure_logging(level="CRITICAL")
