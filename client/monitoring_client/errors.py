"""What a call raises when the client was made with `raise_errors=True`; otherwise the reasons that are logged."""

from __future__ import annotations


class MonitoringError(Exception):
    """A fact was not recorded."""


class DatabaseUnavailableError(MonitoringError):
    """The database is away, too slow, or in no state to store anything; the same call may work later."""


class SettingError(DatabaseUnavailableError):
    """What the client was given to find the database by is missing or cannot be read."""


class FullError(MonitoringError):
    """There is no room left: neither in memory nor, if it is in use, on disk."""


class RejectedError(MonitoringError):
    """The database answered that it will not store this fact. `sqlstate` is AM… when an argument is wrong."""

    def __init__(self, message: str, *, sqlstate: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.sqlstate = sqlstate
        self.hint = hint
