"""The commands about the config: whether the file is right, what is in force, what changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automon.cli.options import config_option
from automon.cli.reading import Answer, Reading, give, reads
from automon.cli.theme import note
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.store import Store

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
@reads
def show(*, source: str | None, how: Reading) -> None:
    """Show each value in force, and the line of the file that set it.

    With a SOURCE (a component, task type, queue, host or disk): the levels by which it is judged. A secret is shown by
    where it comes from. Without a database: what the file says.

    Example: automon config show mail
    """
    from automon.cli.config_screens import FIELDS, levels_in_force, setting_lines, settings_document, settings_in_force
    from automon.clock import SystemClock
    from automon.places import load_found_config

    loaded = load_found_config(how.config_path, os.environ)
    store = _store_if_there(how)
    state = store.config_in_force() if store else None
    if state and state["synced_at"] is None:
        note("No service has put a config in force in this database yet; this is what the file says.")
    kinds = store.source_kinds(source) if store and source else []
    if store and source and not kinds:
        note(f"Nothing has reported as {source} within a week; these are the levels it would have.")
    found = levels_in_force(loaded, state, source, kinds) if source else settings_in_force(loaded, state)
    settings = settings_document(found)
    document = {
        "config": str(loaded.path),
        "source": source,
        "kinds": kinds,
        "in_force_since": state["synced_at"] if state else None,
        "settings": settings,
    }
    give(
        how,
        Answer(
            document=document,
            records=lambda: ([setting[field] for field in FIELDS] for setting in settings),
            lines=lambda _: setting_lines(found, loaded, SystemClock().now()),
        ),
    )


def _store_if_there(how: Reading) -> Store | None:
    try:
        return how.open()
    except AutomonError as error:
        note(f"The database was not asked ({error.message}); this is what the file says.")
        return None


@config.command()
@reads
def drift(*, how: Reading) -> None:
    """List what SQL has changed past the config file, who did it and when.

    The next edit of the file, and the next start of the service, put these values back.

    Example: automon config drift
    """
    from automon.cli.config_screens import drift_lines
    from automon.clock import SystemClock

    found = how.open().config_drift()
    give(
        how,
        Answer(
            document={"drift": found},
            records=lambda: (list(row.values()) for row in found),
            lines=lambda _: drift_lines(found, SystemClock().now()),
            empty=""
            if found
            else "No drift: thresholds and settings are as the config file had them when it was loaded.",
        ),
    )


@config.command()
@click.option(
    "--limit", type=click.IntRange(1, MOST_CHANGES), default=20, show_default=True, help="So many of the newest."
)
@reads
def history(*, limit: int, how: Reading) -> None:
    """List the edits of the config, accepted and rejected, and the changes by SQL, newest first.

    Of a file the system knows its owner, who need not have written it; of a change by SQL the user of the session.

    Example: automon config history --limit 5
    """
    from automon.cli.config_screens import history_lines, history_records
    from automon.clock import SystemClock

    found = how.open().config_changes(limit)
    give(
        how,
        Answer(
            document={"changes": found},
            records=lambda: history_records(found),
            lines=lambda _: history_lines(found, SystemClock().now()),
            empty="" if found else "No change is known: no service has brought a config to this database yet.",
        ),
    )
