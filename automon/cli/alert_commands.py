"""The commands about alerts: what is wrong, why, and who takes it in hand."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import click

from automon.cli.options import (
    Duration,
    by_option,
    config_option,
    database_option,
    json_option,
    open_reader,
    open_store,
    primary_option,
    quiet_logs,
    tell_if_behind,
)
from automon.errors import AutomonError


@click.command()
@config_option
@database_option
@primary_option
@json_option
def status(*, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool) -> None:
    """Show what is wrong, and whether automon works.

    Exit code: 0 all is well, 1 an alert is open, 2 a critical one is, 3 the checks do not run, 4 the database cannot be read,
    or it is a replica that is too far behind to tell.
    """
    from automon.cli.screens import replica_document, status_screen, status_verdict
    from automon.clock import SystemClock

    quiet_logs()
    store, now = open_reader(config_path, database_url, primary=primary), SystemClock().now()
    replica, summary, alerts = store.replica(), store.dashboard_summary(now), store.active_alerts()
    verdict = status_verdict(summary, alerts, replica)
    if as_json:
        document = {"schema_version": 1, "verdict": verdict.name, "summary": summary, "alerts": alerts}
        click.echo(json.dumps(document | {"replica": replica_document(replica)}, default=str))
    else:
        click.echo(status_screen(summary, alerts, verdict, now, replica))
    sys.exit(verdict.exit_code)


@click.command()
@config_option
@database_option
@primary_option
@json_option
def alerts(*, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool) -> None:
    """List the open alerts, worst first.

    Exit code: 0 none, 1 some, 2 critical ones, 4 the database cannot be read.
    """
    from automon.cli.screens import alert_lines, worst_code

    quiet_logs()
    store = open_reader(config_path, database_url, primary=primary)
    tell_if_behind(store)
    found = store.active_alerts()
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "alerts": found}, default=str))
    elif found:
        click.echo("\n".join(alert_lines(found)))
    else:
        click.echo("No open alerts.", err=True)
    sys.exit(worst_code(found))


@click.command()
@click.argument("alert_id", metavar="ALERT", type=int)
@config_option
@database_option
@primary_option
@json_option
def explain(*, alert_id: int, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool) -> None:
    """Say why an ALERT fired and who was told.

    Example: automon explain 41
    """
    from automon.cli.screens import explain_screen

    quiet_logs()
    store = open_reader(config_path, database_url, primary=primary)
    tell_if_behind(store)
    story = store.alert_story(alert_id)
    if story is None:
        raise AutomonError(f"there is no alert {alert_id}", hint="automon alerts lists those that are open.")
    click.echo(json.dumps({"schema_version": 1, "alert": story}, default=str) if as_json else explain_screen(story))


@click.command()
@click.argument("alert_id", metavar="ALERT", type=int)
@click.option("--note", help="What you are doing about it; shown in the resolved message.")
@by_option
@config_option
@database_option
def ack(alert_id: int, note: str | None, by: str, config_path: Path | None, database_url: str | None) -> None:
    """Take an ALERT in hand, so that reminders stop.

    An escalation is still told.

    Example: automon ack 41 --note "relay restarted"
    """
    quiet_logs()
    changed = open_store(config_path, database_url).acknowledge_alert(alert_id, by, note)
    click.echo(
        f"acknowledged #{alert_id} as {by}; reminders stop"
        if changed
        else f"#{alert_id} was in hand or resolved before"
    )


@click.command()
@click.argument("alert_id", metavar="ALERT", type=int)
@click.option("--note", help="Why.")
@by_option
@config_option
@database_option
def resolve(alert_id: int, note: str | None, by: str, config_path: Path | None, database_url: str | None) -> None:
    """Resolve an ALERT by hand.

    If its cause still stands, the next check opens another.

    Example: automon resolve 41 --note "known, ticket 7"
    """
    quiet_logs()
    changed = open_store(config_path, database_url).resolve_alert(alert_id, by, note)
    click.echo(f"resolved #{alert_id} as {by}" if changed else f"#{alert_id} was resolved before")


@click.command()
@click.argument("source")
@click.argument("duration", type=Duration())
@click.option("--reason", default="", help="Why; kept in the database.")
@click.option("--type", "alert_type", default="*", help="Only this alert type.")
@by_option
@config_option
@database_option
def silence(
    source: str,
    duration: timedelta,
    reason: str,
    alert_type: str,
    by: str,
    config_path: Path | None,
    database_url: str | None,
) -> None:
    """Send no messages about SOURCE for a while.

    SOURCE '*' is everything; DURATION is 30m, 2h or 7d. Alerts are kept, and told afterwards if they still stand.

    Example: automon silence invoice-sync 2h --reason "deploying"
    """
    quiet_logs()
    number = open_store(config_path, database_url).silence_alerts(source, duration, reason, by, alert_type)
    click.echo(f"silenced {source} for {duration} as {by}; alerts are kept and told afterwards if they still stand")
    click.echo(f"undo: automon unsilence {number}")


@click.command()
@click.argument("number", type=int)
@config_option
@database_option
def unsilence(number: int, config_path: Path | None, database_url: str | None) -> None:
    """End a silence before its time.

    Example: automon unsilence 3
    """
    quiet_logs()
    ended = open_store(config_path, database_url).end_silence(number)
    click.echo(f"ended silence {number}" if ended else f"silence {number} has ended before, or never was")
