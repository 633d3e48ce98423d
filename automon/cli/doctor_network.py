"""What `automon doctor` asks of the places that messages go to. No message is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

from automon.cli.findings import Check, Finding, failed, not_checked, ok
from automon.config import AppriseChannel, ChannelConfig, Config, EmailChannel, SlackChannel
from notifiers.channel import DeliveryError
from notifiers.reach import reach
from notifiers.smtp import try_out
from scheduler.configuration import mail_server

PATIENCE = timedelta(seconds=5)


def network_checks(config: Config) -> list[list[Check]]:
    """Make a group for each place, so that one that is silent does not hold up the next."""
    channels = [
        [Check(name, partial(_check_channel, name, channel))]
        for channel in config.active_channels
        if (name := _name(channel)) is not None
    ]
    return [*channels, [Check("ping", partial(_check_ping, config))]]


def _name(channel: ChannelConfig) -> str | None:
    return None if channel.type == "terminal" else channel.name


def _check_channel(name: str, channel: ChannelConfig) -> Finding:
    match channel:
        case EmailChannel():
            return check_mail(name, channel)
        case SlackChannel():
            return check_web(name, "Slack", channel.webhook_url.reveal())
        case AppriseChannel():
            return not_checked(name, "how to reach its service is known to apprise alone", f"automon send-test {name}")
        case _:
            return not_checked(name, f"a channel of type {channel.type} is not known here", f"automon send-test {name}")


def check_mail(name: str, channel: EmailChannel) -> Finding:
    """Connect, encrypt and log in; hand no mail in."""
    server = replace(mail_server(channel), timeout=PATIENCE)
    where = f"{server.host}:{server.port}"
    try:
        try_out(server)
    except DeliveryError as error:
        return failed(name, error.detail, error.hint)
    login = f", took the login {server.username}" if server.username else ""
    return ok(name, f"mail server {where} answers ({server.security}){login}")


def check_web(name: str, who: str, url: str) -> Finding:
    try:
        return ok(name, reach(who, url, timeout=PATIENCE))
    except DeliveryError as error:
        return failed(name, error.detail, error.hint)


def _check_ping(config: Config) -> Finding | None:
    if config.ping.url is None:
        return None
    # Only its host: the URL itself would say that all is well.
    return check_web("ping", "The host of the ping", config.ping.url.reveal())
