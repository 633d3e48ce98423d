"""Names that are given on the command line: how a shell completes them, and what is said of one that there is not."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import CompletionItem

from automon.cli.suggestions import did_you_mean
from automon.errors import AutomonError

EVERY = "*"


class AlertType(click.ParamType[str]):
    """One of automon's alert types, or '*' for every one."""

    name = "alert type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = _alert_types()
        if value != EVERY and value not in known:
            guess = did_you_mean(str(value), known)
            self.fail(f"{value!r} is no alert type.{guess or ' They are: ' + ', '.join(known) + '.'}", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's shape
        param: click.Parameter,  # noqa: ARG002  click's shape
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        return [CompletionItem(name) for name in _alert_types() if name.startswith(incomplete)]


def _alert_types() -> list[str]:
    from notifiers.words import ALERT_TYPES

    return list(ALERT_TYPES)


def complete_channel(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Name the channels of the config that begin so. A config that cannot be read has none: a shell wants no errors."""
    from automon.places import load_found_config

    try:
        config = load_found_config(context.params.get("config_path"), os.environ)
    except AutomonError:
        return []
    return [channel.name for channel in config.channels if channel.name.startswith(incomplete)]
