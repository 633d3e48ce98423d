"""Where the config file and the database are, when nobody says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from automon.config import Config, load_config, load_database_part
from automon.env_file import read_variables
from automon.errors import AutomonError

CONFIG_NAME = "monitoring_config.json"
SCHEMA_NAME = "monitoring_config.schema.json"
ENVIRONMENT_NAME = "automon.env"
SYSTEM_CONFIG = Path("/etc/automon") / CONFIG_NAME
# Of automon-database.service, the embedded database where systemd runs things.
SYSTEM_DATABASE_FOLDER = Path("/var/lib/automon-database")
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
    """Load the file that `find_config` finds, with the environment that its service has."""
    return load_config_at(find_config(chosen, environ), environ)


def load_found_database(chosen: Path | None, environ: Mapping[str, str], *, without_text: bool) -> Config:
    """Load what the file says of its database, whatever else is wrong with it; see `load_database_part`."""
    path = find_config(chosen, environ)
    return load_database_part(path, environment_of(path, environ), without_text=without_text)


def load_config_at(path: Path, environ: Mapping[str, str]) -> Config:
    """Load a config file; what the environment file beside it sets, and `environ` does not, counts too."""
    return load_config(path, environment_of(path, environ))


def environment_of(path: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment that a config file is read with."""
    return service_environment(environ, environment_file(path))


def environment_file(config_path: Path) -> Path:
    """Name the file with the secrets of a config: it lies beside it, whether or not it is there."""
    return config_path.with_name(ENVIRONMENT_NAME)


def service_environment(environ: Mapping[str, str], file: Path) -> dict[str, str]:
    """Add to an environment what a file of variables says; what is set stays. A file that may not be read adds nothing."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return dict(environ)
    return read_variables(text) | dict(environ)


def adopt_environment(config_path: Path) -> None:
    """Take over from the environment file of a config what is not set here: the proxy and the CAs of the service, too."""
    os.environ.update(service_environment(os.environ, environment_file(config_path)))


def shipped_config() -> str:
    """Return the text of the config file as it is shipped, comments and all."""
    return _shipped(CONFIG_NAME)


def shipped_schema() -> str:
    """Return the text of the JSON schema of the config file, for editors."""
    return _shipped(SCHEMA_NAME)


def _shipped(name: str) -> str:
    package = files("automon")
    # A wheel has it within the package, a checkout beside it.
    inside = package / name
    return (inside if inside.is_file() else Path(str(package)).parent / name).read_text(encoding="utf-8")


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
