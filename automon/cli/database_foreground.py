"""A PostgreSQL of automon's own in the foreground: a service of its own under systemd, for one beside it to work on."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from automon.embedded import EmbeddedPostgres
from automon.errors import AutomonError
from automon.logs import configure_logging, log_uncaught_exceptions, wants_json
from scheduler import systemd

TICK = 1.0  # seconds between two looks whether the server lives
LONGEST_PAUSE = 10.0  # seconds between two looks whether it answers

log = structlog.get_logger("automon.database")


def run_database(*, folder: Path, sockets: Path | None, port: int) -> int:
    """Run until a signal comes or the server ends; answer the exit code. Raises AutomonError when a person reads along."""
    configure_logging()
    log_uncaught_exceptions()
    try:
        with EmbeddedPostgres(folder, port=port, any_port=False, sockets=sockets) as server:
            return _keep_company(server)
    except AutomonError as error:
        systemd.status(f"cannot start: {error.message.splitlines()[0]}")
        if not wants_json(os.environ, sys.stderr):
            raise
        log.error("cannot_start", problem=str(error))  # noqa: TRY400  the problem says it all
        return 1


def _keep_company(server: EmbeddedPostgres) -> int:
    signals = _watch_signals()
    log.info("database_ready", url=server.url, tcp_url=server.tcp_url, log=str(server.log_file))
    systemd.notify(f"READY=1\nSTATUS=accepts connections at {server.address.sockets} and port {server.address.port}")
    pause, asked_at = _pause_between_questions(), 0.0
    while server.running:
        if time.monotonic() >= asked_at + pause:
            asked_at = time.monotonic()
            _feed_watchdog(server)
            server.keep_log_small()
        try:
            signals.get(timeout=TICK)
        except Empty:
            continue
        systemd.stopping()
        log.info("database_stopping")
        return 0
    log.error("database_died", log=str(server.log_file))
    return 1


def _pause_between_questions() -> float:
    """Ask three times within the patience of systemd's watchdog, if there is one."""
    patience = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    return min(patience / 3, LONGEST_PAUSE) if patience else LONGEST_PAUSE


def _feed_watchdog(server: EmbeddedPostgres) -> None:
    if server.answers:
        systemd.notify("WATCHDOG=1")
    elif server.running:
        log.error("stuck", troubles=["the server does not answer"], consequence="systemd's watchdog is fed no more")


def _watch_signals() -> SimpleQueue[int]:
    seen: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda caught, _frame: seen.put(caught))
    return seen
