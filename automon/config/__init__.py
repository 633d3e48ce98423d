"""The one file that a user edits: `monitoring_config.json`."""

from automon.config.channels import (
    AppriseChannel,
    ChannelConfig,
    EmailChannel,
    InactiveChannel,
    SlackChannel,
    TerminalChannel,
)
from automon.config.http import ListenAddress
from automon.config.load import Config, Schedule, ThresholdRow, load_config
from automon.config.ping import PingConfig
from automon.config.settings import DatabaseSettings

__all__ = [
    "AppriseChannel",
    "ChannelConfig",
    "Config",
    "DatabaseSettings",
    "EmailChannel",
    "InactiveChannel",
    "ListenAddress",
    "PingConfig",
    "Schedule",
    "SlackChannel",
    "TerminalChannel",
    "ThresholdRow",
    "load_config",
]
