"""The command that prints what to do about an alert."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automon.cli.options import config_option, database_option, json_option, open_reader, primary_option, quiet_logs
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.runbook import Runbook


def complete_alert_type(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Name the alert types that begin so, for a shell to complete."""
    from automon.runbook import runbooks

    return [name for name in runbooks() if name.startswith(incomplete)]


@click.command()
@click.argument("which", metavar="[TYPE|ALERT]", required=False, shell_complete=complete_alert_type)
@config_option
@database_option
@primary_option
@json_option
def runbook(
    *, which: str | None, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool
) -> None:
    """Say what to do about a TYPE of alert, or about an ALERT by its number.

    Without either it lists the types. Only a number needs the database.

    Example: automon runbook error_rate
    """
    from automon.runbook import runbooks

    pages = runbooks()
    if which is None:
        click.echo(_as_json(runbooks=[_brief(page) for page in pages.values()]) if as_json else _list(pages.values()))
        return
    alert_type = _alert_type(which, config_path, database_url, primary=primary)
    page = pages.get(alert_type) or _unknown(alert_type, pages)
    click.echo(_as_json(runbook=_brief(page) | {"text": page.text}) if as_json else _screen(page))


def _alert_type(which: str, config_path: Path | None, database_url: str | None, *, primary: bool) -> str:
    """Return the alert type that is named, or that of the alert whose number is given."""
    if not which.removeprefix("#").isdecimal():
        return which.replace("-", "_")
    quiet_logs()
    number = int(which.removeprefix("#"))
    story = open_reader(config_path, database_url, primary=primary).alert_story(number)
    if story is None:
        raise AutomonError(f"there is no alert {number}", hint="automon alerts lists those that are open.")
    return str(story["alert_type"])


def _unknown(alert_type: str, known: Iterable[str]) -> Runbook:
    from difflib import get_close_matches

    near = get_close_matches(alert_type, known, n=1)
    guess = f" Did you mean {near[0]}?" if near else " Without a name, `automon runbook` lists all."
    raise click.BadParameter(f"there is no runbook for {alert_type!r}.{guess}", param_hint="TYPE")


def _list(pages: Iterable[Runbook]) -> str:
    rows = {page.alert_type: page.title for page in pages}
    widest = max(map(len, rows))
    return "\n".join(f"{name.ljust(widest)}  {title}" for name, title in rows.items())


def _screen(page: Runbook) -> str:
    from automon.cli.markdown import terminal_page

    return "\n".join(terminal_page(page.text))


def _brief(page: Runbook) -> dict[str, str]:
    return {"alert_type": page.alert_type, "title": page.title}


def _as_json(**values: object) -> str:
    return json.dumps({"schema_version": 1, **values})
