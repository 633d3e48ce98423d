"""The commands about the config: whether the file is right, what is in force, what changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.cli.options import (
    config_option,
    database_option,
    json_option,
    open_reader,
    primary_option,
    quiet_logs,
)
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.store import Store

Document = dict[str, Any]
MOST_CHANGES = 1000


@click.command("check-config")
@config_option
def check_config(config_path: Path | None) -> None:
    """Say everything that is wrong with the config file.

    Example: automon check-config --config /etc/automon/monitoring_config.json
    """
    from automon.places import load_found_config

    config = load_found_config(config_path, os.environ)
    click.echo(f"{config.path} is right")
    for line in (*config.describe_channels(), config.ping.describe()):
        click.echo(f"  {line}")


@click.group()
def config() -> None:
    """Show what of the config is in force, what changed, and what SQL changed past it.

    Example: automon config show invoice-sync
    """


@config.command()
@click.argument("source", required=False)
@config_option
@database_option
@primary_option
@json_option
def show(
    *, source: str | None, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool
) -> None:
    """Show each value in force, and the line of the file that set it.

    With a SOURCE (a component, task type, queue, host or disk): the levels by which it is judged. A secret is shown by
    where it comes from. Without a database: what the file says.

    Example: automon config show mail
    """
    from automon.cli.config_screens import levels_in_force, setting_lines, settings_document, settings_in_force
    from automon.clock import SystemClock
    from automon.places import load_found_config

    quiet_logs()
    loaded = load_found_config(config_path, os.environ)
    store = _store_if_there(config_path, database_url, primary=primary)
    state = store.config_in_force() if store else None
    if store and state and state["synced_at"] is None:
        click.echo("No service has put a config in force in this database yet; this is what the file says.", err=True)
    kinds = store.source_kinds(source) if store and source else []
    if store and source and not kinds:
        click.echo(f"Nothing has reported as {source} within a week; these are the levels it would have.", err=True)
    found = levels_in_force(loaded, state, source, kinds) if source else settings_in_force(loaded, state)
    if as_json:
        document = {"schema_version": 1, "config": str(loaded.path), "source": source, "kinds": kinds}
        synced_at = state["synced_at"] if state else None
        click.echo(json.dumps(document | {"in_force_since": synced_at, "settings": settings_document(found)}))
    else:
        click.echo("\n".join(setting_lines(found, loaded, SystemClock().now())))


def _store_if_there(config_path: Path | None, database_url: str | None, *, primary: bool) -> Store | None:
    try:
        return open_reader(config_path, database_url, primary=primary)
    except AutomonError as error:
        click.echo(f"The database was not asked ({error.message}); this is what the file says.", err=True)
        return None


@config.command()
@config_option
@database_option
@primary_option
@json_option
def drift(*, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool) -> None:
    """List what SQL has changed past the config file, who did it and when.

    The next edit of the file, and the next start of the service, put these values back.

    Example: automon config drift
    """
    from automon.cli.config_screens import drift_lines
    from automon.clock import SystemClock

    quiet_logs()
    found = open_reader(config_path, database_url, primary=primary).config_drift()
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "drift": found}, default=_json))
    elif found:
        click.echo("\n".join(drift_lines(found, SystemClock().now())))
    else:
        click.echo("No drift: thresholds and settings are as the config file had them when it was loaded.", err=True)


@config.command()
@click.option(
    "--limit", type=click.IntRange(1, MOST_CHANGES), default=20, show_default=True, help="So many of the newest."
)
@config_option
@database_option
@primary_option
@json_option
def history(*, limit: int, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool) -> None:
    """List the edits of the config, accepted and rejected, and the changes by SQL, newest first.

    Of a file the system knows its owner, who need not have written it; of a change by SQL the user of the session.

    Example: automon config history --limit 5
    """
    from automon.cli.config_screens import history_lines
    from automon.clock import SystemClock

    quiet_logs()
    found = open_reader(config_path, database_url, primary=primary).config_changes(limit)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "changes": found}, default=_json))
    elif found:
        click.echo("\n".join(history_lines(found, SystemClock().now())))
    else:
        click.echo("No change is known: no service has brought a config to this database yet.", err=True)


def _json(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
