"""Every error that automon raises on purpose. A message says what is wrong; its hint says what to do next."""

from __future__ import annotations

from dataclasses import dataclass

# What a service cannot start with until somebody repairs it (sysexits.h); systemd is told not to try again.
EXIT_CONFIG = 78


class AutomonError(Exception):
    """Base of automon's own errors; the command line prints it without a traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One mistake in a config file. `line` and `column` count from 1; `allowed` says what would be right."""

    file: str
    line: int
    column: int
    key: str
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        key = f"{self.key}: " if self.key else ""
        allowed = f" ({self.allowed})" if self.allowed else ""
        return f"{where}{key}{self.message}{allowed}"


class ConfigError(AutomonError):
    """A config file that must not be used. `problems` holds every mistake found, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigRefusedError(AutomonError):
    """The database does not take what a config says, although the file is right as far as it can be seen."""


class DatabaseUnavailableError(AutomonError):
    """The database did not answer; the same call may work later."""


class SchemaMissingError(DatabaseUnavailableError):
    """The database answers, but automon's functions are not there, or not yet."""


class SchemaInUseError(DatabaseUnavailableError):
    """Others held the tables for so long that the schema could not be changed; nothing was, and it may work later."""


class MigrationError(AutomonError):
    """The schema could not be brought to this version; nothing was changed."""


class EmbeddedPostgresError(AutomonError):
    """The embedded PostgreSQL could not be started."""
