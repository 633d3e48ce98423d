"""Where the config file and the database are, when nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from automon.config import Config, load_config, load_database_part
from automon.errors import AutomonError

CONFIG_NAME = "monitoring_config.json"
SYSTEM_CONFIG = Path("/etc/automon") / CONFIG_NAME
SYSTEM_ENVIRONMENT = Path("/etc/automon/automon.env")
EMBEDDED_FOLDER = Path(".automon")


def find_config(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file chosen, else $AUTOMON_CONFIG, else the one in the working folder, else the one in /etc/automon."""
    if chosen is not None:
        return chosen
    if environ.get("AUTOMON_CONFIG"):
        return Path(environ["AUTOMON_CONFIG"])
    local = Path(CONFIG_NAME)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.exists() and not local.exists() else local


def load_found_config(chosen: Path | None, environ: Mapping[str, str]) -> Config:
    """Load the file that `find_config` finds; that of the system with the environment that its service has."""
    path = find_config(chosen, environ)
    return load_config(path, environment_of(path, environ))


def load_found_database(chosen: Path | None, environ: Mapping[str, str], *, without_text: bool) -> Config:
    """Load what the file says of its database, whatever else is wrong with it; see `load_database_part`."""
    path = find_config(chosen, environ)
    return load_database_part(path, environment_of(path, environ), without_text=without_text)


def environment_of(path: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    return service_environment(environ) if path == SYSTEM_CONFIG else environ


def service_environment(environ: Mapping[str, str], file: Path = SYSTEM_ENVIRONMENT) -> dict[str, str]:
    """Add to an environment what systemd reads from the file (EnvironmentFile=, systemd.exec(5)); what is set stays."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return dict(environ)
    assignments = [line.strip().partition("=") for line in lines if "=" in line and line.strip()[0] not in "#;"]
    return {name.strip(): _unquoted(value.strip()) for name, _, value in assignments if value.strip()} | dict(environ)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def configured_database_url(chosen: str | None, config: Config) -> str | None:
    """Return the URL chosen on the command line, else the config's; None when neither names one."""
    return chosen or (config.database.url.reveal() if config.database.url else None)


def reader_url(chosen: str | None, config: Config) -> str | None:
    """Return the URL of the replica to read from; None without one, or when a database is chosen on the command line."""
    return config.database.reader_url.reveal() if config.database.reader_url and not chosen else None


def find_database_url(chosen: str | None, config: Config, folder: Path = EMBEDDED_FOLDER) -> str:
    """Return the URL of the database to look at: the one named, else that of the embedded one that runs here."""
    from automon.embedded import find_running

    url = configured_database_url(chosen, config) or find_running(folder)
    if url is None:
        raise AutomonError(
            "no database: none is named, and no embedded one runs here",
            hint="Set DATABASE_URL=postgresql://user:password@host:5432/database, or start one with `make run`.",
        )
    return url
