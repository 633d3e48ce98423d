"""Reports tasks, errors, metrics and health of an application to an automon database, and never breaks the application."""

from monitoring_client.aio import AsyncMonitoringClient
from monitoring_client.client import MonitoringClient
from monitoring_client.errors import (
    DatabaseUnavailableError,
    FullError,
    MonitoringError,
    RejectedError,
    SettingError,
)
from monitoring_client.queues import Queue
from monitoring_client.tasks import Task

__all__ = [
    "AsyncMonitoringClient",
    "DatabaseUnavailableError",
    "FullError",
    "MonitoringClient",
    "MonitoringError",
    "Queue",
    "RejectedError",
    "SettingError",
    "Task",
]
