"""The commands that run the service and prepare its database."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from automon.cli.options import (
    config_option,
    database_option,
)


@click.command()
@config_option
@database_option
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Start an embedded PostgreSQL with its data in this folder, unless a database is named.",
)
@click.option(
    "--only",
    type=click.Choice(["host"]),
    help="host: look at this machine and record it, and do nothing else, beside a service that runs elsewhere.",
)
def run(config_path: Path | None, database_url: str | None, embedded: Path | None, only: str | None) -> None:
    """Run the service in the foreground.

    Example: DATABASE_URL=postgresql://user:password@host:5432/db automon run
    """
    from automon.cli.foreground import run_service

    if only and embedded:
        raise click.UsageError("--only host records in the database of a service elsewhere: leave out --embedded.")
    code = run_service(config_path=config_path, database_url=database_url, embedded=embedded, only_host=only == "host")
    # A worker thread that hangs in somebody's mail server must not keep the process: what counts is recorded.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@click.command()
@config_option
@database_option
@click.option(
    "--dry-run", is_flag=True, help="Do it, take it back, and say what it was; it takes its locks for that moment."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: one JSON object instead of text.")
def migrate(config_path: Path | None, database_url: str | None, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this version's schema.

    Writers do not queue behind it: where a table is in use it gives up after 200 ms and tries again, for two minutes.

    Example: automon migrate --database-url postgresql://user:password@host:5432/db
    """
    from automon.cli.rehearsal_screen import rehearsal_screen
    from automon.database import describe_url
    from automon.migrate import migrate as apply
    from automon.migrate import rehearse
    from automon.places import find_database_url, load_found_config

    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run.")
    config = load_found_config(config_path, os.environ)
    url = find_database_url(database_url, config)
    where = describe_url(url)
    if dry_run:
        found = rehearse(url, schema=config.database.schema_)
        document = {"schema_version": 1, **found.to_document()}
        click.echo(json.dumps(document) if as_json else f"{where}: {rehearsal_screen(found)}")
        return
    applied = apply(url, schema=config.database.schema_)
    click.echo(
        f"{where}: " + (f"applied {len(applied)} files" if applied else "nothing to do, the schema is up to date")
    )


@click.command("rebuild-rollups")
@config_option
@database_option
def rebuild_rollups(config_path: Path | None, database_url: str | None) -> None:
    """Make the sums by minute and hour anew, from all facts that are kept.

    Worth it after an upgrade from 0.1 or a restore on another server. Takes minutes for a hundred million facts; the
    service and those who read go on meanwhile.

    Example: automon rebuild-rollups
    """
    from automon.database import describe_url
    from automon.places import find_database_url, load_found_config
    from automon.rollups import rebuild_rollups as rebuild

    config = load_found_config(config_path, os.environ)
    url = find_database_url(database_url, config)
    counts = rebuild(url, schema=config.database.schema_)
    click.echo(
        f"{describe_url(url)}: rolled up {counts['tasks']:,} tasks, {counts['errors']:,} errors and {counts['metrics']:,} metrics"
    )
