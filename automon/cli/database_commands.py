"""The command that runs automon's own PostgreSQL, as a service beside the one that checks."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=".automon",  # as automon.places, whose import brings the whole config and 20 MB for as long as this runs
    show_default=True,
    help="Where its data, its log and its password are.",
)
@click.option(
    "--sockets",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where its private socket is, instead of a folder in --folder.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=54329, show_default=True, help="Its port on 127.0.0.1.")
def database(folder: Path, sockets: Path | None, port: int) -> None:
    """Run a PostgreSQL of automon's own in the foreground.

    It listens on 127.0.0.1 and on a socket that only its user can reach, and ends with this command.

    Example: automon database --folder /var/lib/automon-database
    """
    from automon.cli.database_foreground import run_database

    sys.exit(run_database(folder=folder, sockets=sockets, port=port))
