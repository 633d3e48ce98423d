"""The one file that a user edits: `monitoring_config.json`."""

from automon.config.channels import (
    AppriseChannel,
    ChannelConfig,
    EmailChannel,
    InactiveChannel,
    SlackChannel,
    TerminalChannel,
)
from automon.config.entries import Change, Entry
from automon.config.file_state import FileState
from automon.config.http import ListenAddress
from automon.config.load import Config, Schedule, ThresholdRow, load_config, load_database_part
from automon.config.ping import PingConfig
from automon.config.settings import DatabaseSettings

__all__ = [
    "AppriseChannel",
    "Change",
    "ChannelConfig",
    "Config",
    "DatabaseSettings",
    "EmailChannel",
    "Entry",
    "FileState",
    "InactiveChannel",
    "ListenAddress",
    "PingConfig",
    "Schedule",
    "SlackChannel",
    "TerminalChannel",
    "ThresholdRow",
    "load_config",
    "load_database_part",
]
