"""Reports tasks, errors, metrics and health of an application to an automon database, and never breaks the application."""

from monitoring_client.client import MonitoringClient
from monitoring_client.errors import DatabaseUnavailableError, MonitoringError, RejectedError
from monitoring_client.queues import Queue
from monitoring_client.tasks import Task

__all__ = ["DatabaseUnavailableError", "MonitoringClient", "MonitoringError", "Queue", "RejectedError", "Task"]
