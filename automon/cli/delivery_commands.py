"""The commands about messages and the channels that they take."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.cli.names import complete_channel
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
from automon.cli.suggestions import did_you_mean
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.cli.canary import Watch
    from automon.cli.delivery_screens import Filter
    from automon.store import Store

Document = dict[str, Any]
MOST_DELIVERIES = 10_000
CANARY_PATIENCE = "60s"
NO_CHANNEL = "No channel is known: no service has brought one from its config yet. Start it: {start}"
NO_SERVICE = "No service runs, so nobody sends. Start it: {start}"
NOBODY_SENDS = "No service runs, so nobody sends; canaries expire in 5 minutes. Start it:\n  {start}"


def _summary(store: Store) -> Document:
    from automon.clock import SystemClock

    summary: Document = store.dashboard_summary(SystemClock().now())["automon"]
    return summary


def _say(sentence: str) -> None:
    """Say on stderr what is not the answer itself."""
    from automon.cli.own_lines import START_THE_SERVICE

    click.echo(sentence.format(start=START_THE_SERVICE), err=True)


@click.command()
@click.option("--channel", shell_complete=complete_channel, help="Only those through this channel.")
@click.option("--alert", "alert_id", type=int, help="Only those of this alert.")
@click.option("--digest", "digest_id", type=int, help="Only those that were told in this digest.")
@click.option(
    "--trouble", "in_trouble", is_flag=True, help="Only what has failed or expired, or failed at its last try."
)
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_DELIVERIES),
    default=50,
    show_default=True,
    help="So many of the newest.",
)
@config_option
@database_option
@primary_option
@json_option
def deliveries(
    *,
    channel: str | None,
    alert_id: int | None,
    digest_id: int | None,
    in_trouble: bool,
    limit: int,
    config_path: Path | None,
    database_url: str | None,
    primary: bool,
    as_json: bool,
) -> None:
    """List the messages, newest first, with what became of each.

    Example: automon deliveries --channel slack --trouble
    """
    from automon.cli.delivery_screens import Filter, delivery_lines, nothing_found
    from automon.clock import SystemClock

    quiet_logs()
    wanted = Filter(channel=channel, alert_id=alert_id, digest_id=digest_id, in_trouble=in_trouble)
    store = open_reader(config_path, database_url, primary=primary)
    tell_if_behind(store)
    found = _deliveries(store, wanted, limit)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "deliveries": found}, default=str))
    elif found:
        click.echo("\n".join(delivery_lines(found, wanted, SystemClock().now())))
    else:
        click.echo(nothing_found(wanted), err=True)
    # What nobody has tried to send has no reason of its own.
    may_wait = in_trouble or any(delivery["status"] == "pending" for delivery in found)
    if may_wait and not as_json and not _summary(store)["services"]:
        _say(NO_SERVICE)


def _deliveries(store: Store, wanted: Filter, limit: int) -> list[Document]:
    found = store.deliveries(
        channel=wanted.channel,
        alert_id=wanted.alert_id,
        digest_id=wanted.digest_id,
        in_trouble=wanted.in_trouble,
        limit=limit,
    )
    # One that the config has no more may still have its messages.
    if not found and wanted.channel is not None:
        _refuse_unknown_channel(store, wanted.channel)
    return found


def _refuse_unknown_channel(store: Store, channel: str) -> None:
    known = [state["name"] for state in _summary(store)["channels"]]
    if channel not in {*known, "journal"} and not store.deliveries(channel=channel, limit=1):
        raise AutomonError(
            f"there is no channel {channel}.{did_you_mean(channel, known)}",
            hint=f"The service knows {', '.join(known) or 'none: has it run?'}.",
        )


@click.group(invoke_without_command=True)
@config_option
@database_option
@primary_option
@json_option
@click.pass_context
def channels(
    context: click.Context, *, config_path: Path | None, database_url: str | None, primary: bool, as_json: bool
) -> None:
    """Show how each channel fares, or take one up again.

    `automon channels resume NAME` takes up a channel that was stopped because its address or login was refused.

    Exit code: 0 all work, 1 one fails or is stopped or none is known, 4 the database cannot be read.

    Example: automon channels
    """
    if context.invoked_subcommand is not None:
        # What stands in front of the subcommand is meant for it.
        given = {"config_path": config_path, "database_url": database_url}
        context.default_map = {context.invoked_subcommand: {name: value for name, value in given.items() if value}}
        return
    quiet_logs()
    store = open_reader(config_path, database_url, primary=primary)
    tell_if_behind(store)
    sys.exit(_show_channels(_summary(store), as_json=as_json))


def _show_channels(own: Document, *, as_json: bool) -> int:
    from automon.cli.delivery_screens import channel_lines, channels_code
    from automon.clock import SystemClock

    found = own["channels"]
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "channels": found, "services": own["services"]}, default=str))
    elif found:
        click.echo("\n".join(channel_lines(found, SystemClock().now())))
    if not found and not as_json:
        _say(NO_CHANNEL)
    elif not own["services"]:
        _say(NO_SERVICE)
    return channels_code(found)


@channels.command()
@click.argument("name", shell_complete=complete_channel)
@config_option
@database_option
def resume(*, name: str, config_path: Path | None, database_url: str | None) -> None:
    """Take up the channel NAME again and try at once what waits for it.

    A channel whose address or login changes in the config is taken up by itself.

    Example: automon channels resume slack
    """
    from automon.cli.delivery_screens import resumed

    quiet_logs()
    store = open_store(config_path, database_url)
    own = _summary(store)
    waiting = next((channel["waiting"] for channel in own["channels"] if channel["name"] == name), 0)
    click.echo(resumed(name, waiting, was_in_trouble=store.resume_channel(name)))
    if not own["services"]:
        _say(NO_SERVICE)


@click.command()
@click.argument("channel", required=False, shell_complete=complete_channel)
@click.option(
    "--timeout",
    "patience",
    type=Duration(),
    default=CANARY_PATIENCE,
    show_default=True,
    help="How long to wait for the receipts.",
)
@by_option
@config_option
@database_option
@json_option
def canary(
    *,
    channel: str | None,
    patience: timedelta,
    by: str,
    config_path: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Send a marked message through every CHANNEL and wait for it to arrive.

    It takes the way of alerts: through the database and the running service, which send-test leaves out.

    Exit code: 0 all have arrived, 1 one has not, 4 the database cannot be read.

    Example: automon canary slack
    """
    quiet_logs()
    store = open_store(config_path, database_url)
    ids = sorted(store.send_canary(by, channel))
    if not ids:
        _say(NO_CHANNEL)
        sys.exit(1)
    services = _summary(store)["services"]
    if not services:
        _say(NOBODY_SENDS)
    sent = _watch(store, as_json=as_json).wait(ids, patience if services else timedelta(0))
    arrived = all(delivery["status"] == "sent" for delivery in sent)
    if as_json:
        document = {"schema_version": 1, "arrived": arrived, "services": services, "canaries": sent}
        click.echo(json.dumps(document, default=str))
    sys.exit(0 if arrived else 1)


def _watch(store: Store, *, as_json: bool) -> Watch:
    """Make a watch that prints each answer as it comes, unless all is printed as one object in the end."""
    from automon.cli.canary import Answer, Watch
    from automon.cli.text import WIDTH, clip
    from automon.clock import SystemClock

    def tell(answer: Answer) -> None:
        if not as_json:
            click.echo("\n".join(answer.lines))

    return Watch(store, SystemClock(), tell=tell, mention=lambda text: click.echo(clip(text, WIDTH), err=True))


@click.command("send-test")
@click.argument("channel", required=False, shell_complete=complete_channel)
@config_option
def send_test(channel: str | None, config_path: Path | None) -> None:
    """Send a test message through one or all channels.

    Straight from here, past the database and the service. Says how long each took, or why it failed and what mends it.

    Example: automon send-test slack
    """
    from automon.cli.trial import send_test_messages
    from automon.places import adopt_environment, find_config, load_config_at

    quiet_logs()
    path = find_config(config_path, os.environ)
    # The way out that the service takes: its proxy, its CAs.
    adopt_environment(path)
    config = load_config_at(path, os.environ)
    outcomes = send_test_messages(config, channel)
    for outcome in outcomes:
        click.echo(outcome.line)
    sys.exit(0 if all(outcome.delivered for outcome in outcomes) else 1)
