"""What a config means to the parts: a document for the database, and a desk for each channel."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from automon.config import (
    AppriseChannel as AppriseSettings,
)
from automon.config import (
    ChannelConfig,
    Config,
)
from automon.config import (
    EmailChannel as EmailSettings,
)
from automon.config import (
    SlackChannel as SlackSettings,
)
from automon.config import (
    TerminalChannel as TerminalSettings,
)
from automon.config.types import JOURNAL
from automon.logs import wants_json
from automon.secrets import Secret
from jobs.delivery import Desk
from notifiers.apprise_channel import AppriseChannel
from notifiers.channel import Channel
from notifiers.email import EmailChannel
from notifiers.message import MessageContext
from notifiers.slack import SlackChannel
from notifiers.smtp import Security, Server
from notifiers.terminal import TerminalChannel

FALLBACK = TerminalSettings(name="terminal", type="terminal")
FINGERPRINT_ROUNDS = 100_000  # 30 ms
# What a channel's settings say of its address, server and secrets: all but who is told of what.
NO_ADDRESS = frozenset(
    {"name", "inactive_reason", "min_severity", "notify_on", "timezone", "fallback", "fallback_after"}
)


def channels_in_use(config: Config) -> tuple[ChannelConfig, ...]:
    """Return the active channels; the terminal alone when there is none, so that no alert goes unseen."""
    return config.active_channels or (FALLBACK,)


def make_channel(settings: ChannelConfig) -> Channel:
    """Build the channel that the config describes. Raises AutomonError for an address that apprise does not take."""
    match settings:
        case SlackSettings():
            return SlackChannel(settings.name, settings.webhook_url.reveal())
        case EmailSettings():
            return EmailChannel(
                settings.name, server=mail_server(settings), sender=settings.from_address, to=settings.to
            )
        case AppriseSettings():
            return AppriseChannel(settings.name, settings.url.reveal())
        case TerminalSettings():
            return TerminalChannel(settings.name, stream=sys.stdout, readable=not wants_json(os.environ, sys.stderr))
        case _:
            raise TypeError(f"channel {settings.name} is not active")


def mail_server(settings: EmailSettings) -> Server:
    return Server(
        host=settings.host,
        port=settings.port,
        security=Security(settings.security),
        username=settings.username or "",
        password=settings.password.reveal() if settings.password else "",
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )


def make_desk(config: Config, settings: ChannelConfig, channel: Channel, instance: str) -> Desk:
    alerts = config.settings.alerts
    context = MessageContext(
        instance=instance,
        timezone=settings.timezone or config.schedule.timezone,
        remind_after=timedelta(minutes=alerts.remind_after_minutes) or None,
        runbooks=alerts.runbooks_url or "",
    )
    return Desk(channel=channel, message_context=context, guidance_for=config.guidance_for)


def make_desks(config: Config, instance: str) -> list[Desk]:
    """Make a desk for each channel in use, and one for the journal, the last resort of all of them."""
    desks = [make_desk(config, settings, make_channel(settings), instance) for settings in channels_in_use(config)]
    journal = TerminalSettings(name=JOURNAL, type="terminal")
    return [*desks, make_desk(config, journal, TerminalChannel(JOURNAL, readable=False), instance)]


def fingerprint(settings: ChannelConfig) -> str:
    """Tell one address, server and secret from another, by a hash that is too slow to guess a password from."""
    parts = {
        field.name: _shown(getattr(settings, field.name)) for field in fields(settings) if field.name not in NO_ADDRESS
    }
    text = json.dumps(parts, sort_keys=True)
    # Not scrypt: the memory that makes it slow stays with the process.
    return hashlib.pbkdf2_hmac("sha256", text.encode(), settings.name.encode(), FINGERPRINT_ROUNDS, dklen=16).hex()


def _shown(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else repr(value)


def database_document(config: Config, desks: list[Desk]) -> dict[str, Any]:
    """Return the config as `sync_configuration` takes it: thresholds, settings and channels, no address and no secret."""
    recipients = {desk.channel.name: list(desk.channel.recipients) for desk in desks}
    return {
        "thresholds": [asdict(row) for row in config.threshold_rows()],
        "settings": config.settings_rows(),
        "channels": [
            *(_channel_document(settings, recipients[settings.name]) for settings in channels_in_use(config)),
            # Told of nothing but what the others cannot say.
            {"name": JOURNAL, "recipients": recipients[JOURNAL], "min_severity": "low", "notify_on": []},
        ],
    }


def _channel_document(settings: ChannelConfig, recipients: list[str]) -> dict[str, Any]:
    return {
        "name": settings.name,
        "recipients": recipients,
        "min_severity": settings.min_severity,
        "notify_on": sorted(settings.notify_on),
        "fallback": settings.fallback,
        "fallback_after_seconds": settings.fallback_after.total_seconds(),
        "fingerprint": fingerprint(settings),
    }
