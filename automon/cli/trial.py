"""A test message through a channel, on the way that an alert's message takes; the database is not touched."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from automon.cli.suggestions import did_you_mean
from automon.clock import SystemClock
from automon.config import ChannelConfig, Config
from automon.errors import AutomonError
from notifiers.channel import Channel, DeliveryError
from notifiers.message import Message
from notifiers.notice import compose_test
from scheduler.configuration import channels_in_use, make_channel, make_desk


@dataclass(frozen=True, slots=True)
class Outcome:
    delivered: bool
    line: str


def send_test_messages(config: Config, only: str | None) -> list[Outcome]:
    """Send to every recipient of the channel named, or of all in use. Raises AutomonError for a channel that cannot be used."""
    return [outcome for settings in _chosen(config, only) for outcome in _try_channel(config, settings)]


def _chosen(config: Config, only: str | None) -> tuple[ChannelConfig, ...]:
    if only is None:
        return channels_in_use(config)
    for settings in config.channels:
        if settings.name == only and not settings.active:
            raise AutomonError(f"channel {only} is off: {settings.inactive_reason}", hint="Nothing was sent.")
        if settings.name == only:
            return (settings,)
    names = [settings.name for settings in config.channels]
    raise AutomonError(
        f"there is no channel {only}.{did_you_mean(only, names)}", hint=f"The config has: {', '.join(names) or 'none'}."
    )


def _try_channel(config: Config, settings: ChannelConfig) -> list[Outcome]:
    channel = make_channel(settings)
    context = make_desk(config, settings, channel, socket.gethostname()).message_context
    message = compose_test(context, SystemClock().now())
    return [_send(channel, message, recipient) for recipient in channel.recipients]


def _send(channel: Channel, message: Message, recipient: str) -> Outcome:
    where = channel.name if recipient == channel.name else f"{channel.name} ({recipient})"
    began = time.monotonic()
    try:
        receipt = channel.send(message, recipient)
    except DeliveryError as error:
        fix = f"\n  {error.hint}" if error.hint else ""
        line = f"✗ {where}: {error.reason}: {error.detail} (after {_milliseconds(time.monotonic() - began)}){fix}"
        return Outcome(delivered=False, line=line)
    sent = _milliseconds(receipt.duration.total_seconds())
    return Outcome(delivered=True, line=f"✓ {where}: sent in {sent} ({receipt.answer})")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
