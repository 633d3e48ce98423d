"""The commands. They import what they need when they run, so that none pays for another."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from automon import __version__
from automon.cli.delivery_commands import canary, channels, deliveries
from automon.cli.options import (
    EXIT_CANNOT_READ,
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
from automon.errors import EXIT_CONFIG, AutomonError, ConfigError

# The schema's own errors, insufficient_privilege, and what only a replica refuses: to write, and to read on while it
# repeats a change that takes away what is being read.
REFUSALS = ("AM", "42501", "25006", "40001")
HINTS = {
    "25006": "This is a replica, where nothing can be changed: name the database that it follows.",
    "40001": "The replica had to go on; try again, or add --primary.",
}
CODES_OF_THEIR_OWN = {
    **dict.fromkeys(("status", "alerts", "channels", "canary"), EXIT_CANNOT_READ),
    "run": EXIT_CONFIG,
}


class Commands(click.Group):
    """Turns automon's own errors into their message and exit code 1; anything else is a bug and shows its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            mistakes = len(error.problems)
            click.echo(
                f"{error.message}\n{mistakes} mistake{'s' if mistakes != 1 else ''}; nothing was changed", err=True
            )
            ctx.exit(_failure_code(ctx))
        except AutomonError as error:
            click.echo(f"automon: {error}", err=True)
            ctx.exit(_failure_code(ctx))
        except Exception as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            click.echo(f"automon: {refusal}", err=True)
            ctx.exit(1 if _names_nothing(error) else _failure_code(ctx))


def _refusal(error: Exception) -> AutomonError | None:
    """Read what the database refused on purpose: by its functions, or because the role may not."""
    code = str(getattr(error, "sqlstate", None) or "")
    if not code.startswith(REFUSALS):
        return None
    told: Any = getattr(error, "diag", None)
    return AutomonError(told.message_primary, hint=told.message_hint or HINTS.get(code, ""))


def _names_nothing(error: Exception) -> bool:
    """Tell a database that works and refuses what was asked from one that cannot be read."""
    return str(getattr(error, "sqlstate", None) or "").startswith("AM")


def _failure_code(ctx: click.Context) -> int:
    return CODES_OF_THEIR_OWN.get(ctx.invoked_subcommand or "", 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="automon")
def main() -> None:
    """Watches automation: facts in PostgreSQL, checks every five minutes, alerts in Slack and email."""


for command in (deliveries, channels, canary):
    main.add_command(command)


@main.command()
@config_option
@database_option
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Start an embedded PostgreSQL with its data in this folder, unless a database is named.",
)
def run(config_path: Path | None, database_url: str | None, embedded: Path | None) -> None:
    """Run the service in the foreground.

    Example: DATABASE_URL=postgresql://user:password@host:5432/db automon run
    """
    from automon.cli.foreground import run_service

    code = run_service(config_path=config_path, database_url=database_url, embedded=embedded)
    # A worker thread that hangs in somebody's mail server must not keep the process: what counts is recorded.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@main.command()
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
    from automon.cli.screens import rehearsal_screen
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


@main.command("rebuild-rollups")
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


@main.command("check-config")
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


@main.command("send-test")
@click.argument("channel", required=False)
@config_option
def send_test(channel: str | None, config_path: Path | None) -> None:
    """Send a test message through one or all channels.

    Example: automon send-test slack
    """
    from automon.cli.trial import send_test_messages
    from automon.places import load_found_config

    quiet_logs()
    config = load_found_config(config_path, os.environ)
    outcomes = send_test_messages(config, channel)
    for outcome in outcomes:
        click.echo(outcome.line)
    sys.exit(0 if all(outcome.delivered for outcome in outcomes) else 1)


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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
