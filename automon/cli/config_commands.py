"""The commands about the config file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from automon.cli.options import (
    config_option,
)


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
