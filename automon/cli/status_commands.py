"""`automon status` and `automon top`: what is wrong, and how the work goes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.cli.options import by_option, config_option, database_option, open_store, primary_option
from automon.cli.reading import Answer, Reading, color_option, give, reads
from automon.errors import AutomonError

if TYPE_CHECKING:
    from datetime import datetime

    from automon.cli.status_screen import Status
    from automon.cli.top_screen import Target
    from automon.store import Store

Document = dict[str, Any]
# As many of each kind as a screen could have room for, and one to tell whether there are more.
MOST_SHOWN = 6
# A longer list is no list to look at.
MOST_LOOKED_AT = 100
CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--unacked", is_flag=True, help="Leave out the alerts that somebody has acknowledged.")
@click.option("--watch", "every", type=click.FloatRange(0.2, 3600), metavar="SECONDS", help="Draw anew so often.")
@reads
def status(*, unacked: bool, every: float | None, how: Reading) -> None:
    """Show what is wrong, how the work goes, and whether automon works.

    Exit code: 0 all is well, 1 an alert is open, 2 a critical one is, 3 the checks do not run, 4 the database cannot be read,
    or it is a replica that is too far behind to tell. Times are those of your zone (TZ), which the first line names.

    Example: automon status --unacked
    """
    store = how.open()
    if every is not None:
        _watch(store, how, every, unacked=unacked)
        return
    found = look(store, unacked=unacked)
    give(how, answer_of(found))
    sys.exit(found.verdict.exit_code)


def look(store: Store, *, unacked: bool = False, limit: int = MOST_SHOWN, now: datetime | None = None) -> Status:
    """Ask the database for everything that a status shows."""
    from automon.cli.status_screen import Status
    from automon.cli.text import local
    from automon.cli.verdict import status_verdict, unacknowledged

    replica, report = store.replica(), store.status(limit=limit, now=now)
    alerts = unacknowledged(report["alerts"]) if unacked else report["alerts"]
    return Status(
        report=report,
        alerts=alerts,
        left_out=len(report["alerts"]) - len(alerts),
        verdict=status_verdict(report["summary"], alerts, replica),
        now=local(report["summary"]["generated_at"]),
        replica=replica,
        drift=store.config_drift(),
    )


def answer_of(found: Status) -> Answer:
    from automon.cli.status_screen import status_document, status_lines, status_records

    return Answer(
        document=status_document(found),
        records=lambda: status_records(found),
        lines=lambda theme: status_lines(found, theme),
    )


def _watch(store: Store, how: Reading, every: float, *, unacked: bool) -> None:
    """Draw the status again and again until Ctrl-C; while the database is away, say so and go on."""
    from automon.cli.theme import note
    from automon.errors import DatabaseUnavailableError

    clears = sys.stdout.isatty() and not how.as_json and not how.as_plain
    try:
        while True:
            try:
                found = look(store, unacked=unacked)
            except DatabaseUnavailableError as error:
                note(str(error))
            else:
                if clears:
                    click.echo(CLEAR, nl=False, color=True)
                give(how, answer_of(found))
                sys.stdout.flush()
            time.sleep(every)
    except KeyboardInterrupt:
        click.echo()


@click.command()
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Look so often.",
)
@by_option
@config_option
@database_option
@primary_option
@color_option
def top(
    *, every: float, by: str, config_path: Path | None, database_url: str | None, primary: bool, color: str
) -> None:
    """Show the status live, and act on it with keys: ? lists them.

    Where there is no terminal: automon status --watch 2

    Example: automon top
    """
    from automon.cli.terminal import is_capable, quietly_interrupted
    from automon.cli.top import Desk, run_top

    if not is_capable(os.environ):
        raise AutomonError("top draws on a terminal, and this is none", hint="Use: automon status --watch 2")
    how = Reading(
        config_path=config_path, database_url=database_url, primary=primary, as_json=False, as_plain=False, color=color
    )
    store = how.open()
    desk = Desk(
        look=lambda: look(store, limit=MOST_LOOKED_AT),
        explain=lambda target: explanation(store, how, target),
        store=lambda: open_store(config_path, database_url) if store.replica() else store,
        by=by,
        every=every,
        theme=how.theme,
    )
    with quietly_interrupted():
        run_top(desk)


def explanation(store: Store, how: Reading, target: Target) -> list[str]:
    """Explain the alert of a row, or else its source."""
    from automon.cli.alert_commands import explain_alert, explain_source

    found = (
        explain_source(store, target.source) if target.alert_id is None else explain_alert(store, how, target.alert_id)
    )
    return list(found.lines(how.theme))
