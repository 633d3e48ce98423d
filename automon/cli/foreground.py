"""The service in the foreground: with an embedded PostgreSQL if wanted, and a few lines that say where everything is."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from automon import __version__
from automon.config import Config
from automon.database import describe_url, first_line
from automon.errors import EXIT_CONFIG, AutomonError, ConfigError
from automon.logs import configure_logging, log_uncaught_exceptions, wants_json
from automon.places import EMBEDDED_FOLDER, configured_database_url, find_config, load_config_at
from scheduler import systemd

if TYPE_CHECKING:
    from automon.embedded import EmbeddedPostgres
    from scheduler.service import Service

log = structlog.get_logger("automon.service")


def run_service(
    *, config_path: Path | None, database_url: str | None, embedded: Path | None, only_host: bool = False
) -> int:
    """Run until a signal ends it; answer the exit code. Raises AutomonError when it cannot start and a person reads along."""
    configure_logging()
    log_uncaught_exceptions()
    # The watchdog's SIGABRT then leaves in the journal where each thread was: names of files and functions, no values.
    faulthandler.enable()
    try:
        if only_host:
            return _run_host(config_path, database_url)
        return _run(config_path, database_url, embedded)
    except AutomonError as error:
        systemd.status(f"cannot start: {first_line(error)}")
        if not wants_json(os.environ, sys.stderr):
            raise
        for problem in error.problems if isinstance(error, ConfigError) else [error]:
            log.error("cannot_start", problem=str(problem))  # noqa: TRY400  the problem says it all
        return EXIT_CONFIG


def _run(config_path: Path | None, database_url: str | None, embedded: Path | None) -> int:
    path = find_config(config_path, os.environ)
    load = partial(load_config_at, path, os.environ)
    config = load()
    url = configured_database_url(database_url, config)
    with ExitStack() as stack:
        server = None
        if url is None:
            server = stack.enter_context(_embedded_server(embedded))
            url = server.url
        return _serve(config, url, load, server)


def _run_host(config_path: Path | None, database_url: str | None) -> int:
    from scheduler.host_service import HostService

    load = partial(load_config_at, find_config(config_path, os.environ), os.environ)
    config = load()
    url = configured_database_url(database_url, config)
    if url is None:
        raise AutomonError(
            "no database: DATABASE_URL is not set",
            hint="Set it to that of the service elsewhere: postgresql://user:password@host:5432/database, of a role that has automon_writer.",
        )
    return HostService(config, url, load_config=load).run()


def _embedded_server(folder: Path | None) -> EmbeddedPostgres:
    from automon.embedded import EmbeddedPostgres

    if folder is None:
        raise AutomonError(
            "no database: DATABASE_URL is not set",
            hint="Set it to postgresql://user:password@host:5432/database (under systemd: in /etc/automon/automon.env), or name a folder for an embedded one: automon run --embedded FOLDER",
        )
    return EmbeddedPostgres(folder)


def _serve(config: Config, url: str, load: Callable[[], Config], server: EmbeddedPostgres | None) -> int:
    from scheduler.service import Service

    service = Service(
        config,
        url,
        load_config=load,
        on_ready=lambda ready: announce(ready, url, server),
        supervise=partial(keep_running, server) if server else lambda: None,
    )
    return service.run()


def keep_running(server: EmbeddedPostgres) -> None:
    """Start the embedded server anew when it has died, and keep its log small: nobody else would."""
    if not server.running:
        log.error("embedded_postgres_died", log=str(server.log_file))
        server.start()
    server.keep_log_small()


def announce(service: Service, url: str, server: EmbeddedPostgres | None) -> None:
    """Say on stdout where the database is, which config is in force, who is told, and when the next checks run."""
    if wants_json(os.environ, sys.stderr):
        return
    print("\n".join(banner(service, url, server)), flush=True)


def banner(service: Service, url: str, server: EmbeddedPostgres | None) -> list[str]:
    config = service.config
    where = (
        [
            server.url,
            server.tcp_url,
            f"(embedded; data in {server.log_file.parent}, password in {server.password_file})",
        ]
        if server
        else [describe_url(url)]
    )
    channels = [
        *config.describe_channels(),
        *(["terminal: on, messages appear here"] if not config.active_channels else []),
    ]
    return [
        "",
        f"automon {__version__} is running",
        *_labelled("database", where),
        *_labelled("config", [str(config.path)]),
        *_labelled("channels", channels),
        *_labelled("checks", [f"every {pause_in_words(config.schedule.alert_checks)}, the first at once"]),
        *_labelled("look", [status_command(server)]),
        *_labelled("stop", ["Ctrl-C"]),
        "",
    ]


def status_command(server: EmbeddedPostgres | None) -> str:
    """Write the command that shows this service's status from the working folder."""
    command = ".venv/bin/automon status" if Path(sys.prefix).name == ".venv" else "automon status"
    if server is None or server.log_file.parent == EMBEDDED_FOLDER.resolve():
        return command
    return f"{command} --database-url '{server.url}'"


def pause_in_words(pause: timedelta) -> str:
    seconds = pause.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _labelled(label: str, lines: list[str]) -> list[str]:
    return [f"  {label if not number else '':<10}{line}" for number, line in enumerate(lines)]
