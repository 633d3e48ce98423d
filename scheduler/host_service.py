"""`automon run --only host`: looks at this machine and records it, beside a service that runs elsewhere.

It needs a role with automon_writer. It migrates nothing, judges nothing, sends nothing, and does not count as a service
that lives: while only these run, nobody watches.
"""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable

import structlog

from automon.clock import Clock, SystemClock
from automon.config import Config
from automon.database import Database
from automon.errors import AutomonError, ConfigError
from automon.store import Store
from jobs.host_reader import HostReader
from jobs.host_sampling import CatchUp, HostSampling
from jobs.job import Context, Job
from scheduler import systemd
from scheduler.runner import JobRunner
from scheduler.signals import Signals

TICK = 1.0
# Seconds: from one try to store what waits to the next, and until one that stores nothing counts as stuck.
PAUSE_BEFORE_TRYING_AGAIN = 5.0
STUCK_AFTER = 180.0
END_PATIENCE = 5.0

log = structlog.get_logger("automon.host")


class HostService:
    """Runs until SIGTERM or SIGINT; SIGHUP reads the rhythm anew. `run` answers the exit code."""

    def __init__(
        self,
        config: Config,
        database_url: str,
        *,
        load_config: Callable[[], Config],
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self._load_config = load_config
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._signals = Signals()
        self._host = socket.gethostname()
        self._database = Database(database_url, self._clock, pooled=config.database.pooled, size=1)
        store = Store(self._database, config.database.schema_)
        instance = f"{self._host}:{secrets.token_hex(3)}:host"
        self._context = Context(store=store, clock=self._clock, instance=instance, stop=self._stop)
        self._runner = JobRunner(self._context)
        self._sampling = HostSampling(self._host, HostReader())
        self._catch_up = CatchUp(self._sampling)
        self._thread = threading.Thread(target=self._sample, name="sampling", daemon=True)
        self._busy_since: float | None = None
        self._stored_at_tick = 0
        self._moved_at = self._clock.monotonic()
        self._fails = False
        self._lacks_schema = False
        self._verdict = ""
        self._said = ""

    def run(self) -> int:
        with self._signals.caught():
            self._database.open()
            self._thread.start()
            systemd.notify("READY=1")
            while not self._stop.is_set():
                self._heed_signal()
                self._tick()
            self._end()
        return 0

    # The thread that looks and records --------------------------------------------------------------------------

    def _sample(self) -> None:
        look_at = self._clock.monotonic()
        while not self._stop.is_set():
            is_time = self._clock.monotonic() >= look_at
            if is_time:
                look_at = self._clock.monotonic() + self.config.schedule.host_sampling.total_seconds()
            self._run(self._sampling if is_time else self._catch_up)
            pause = max(0.0, look_at - self._clock.monotonic())
            self._stop.wait(min(pause, PAUSE_BEFORE_TRYING_AGAIN) if self._sampling.waiting else pause)

    def _run(self, job: Job) -> None:
        is_first = not self._sampling.stored
        self._busy_since = self._clock.monotonic()
        self._fails = not self._runner.run_unrecorded(job)
        self._busy_since = None
        if is_first and self._sampling.stored:
            log.info("host_ready", host=self._host, database=self._database.description)
        lacked, self._lacks_schema = self._lacks_schema, self._finds_no_schema()
        if self._lacks_schema and not lacked:
            log.error("schema_missing", database=self._database.description, hint="the service elsewhere makes it")

    def _finds_no_schema(self) -> bool:
        """Whether the database answers, and has no place for what waits."""
        return self._sampling.waiting > 0 and self._database.available and not self._fails and not self._stop.is_set()

    # The main thread --------------------------------------------------------------------------------------------

    def _heed_signal(self) -> None:
        seen = self._signals.wait(TICK)
        if seen == signal.SIGHUP:
            self._reload()
        elif seen is not None:
            self._stop.set()

    def _tick(self) -> None:
        if not self._is_stuck():
            systemd.notify("WATCHDOG=1")
        status = self._status()
        if status != self._said:
            self._said = status
            systemd.status(status)

    def _is_stuck(self) -> bool:
        """Whether nothing has come of a run for too long; after an outage there may be a day's samples to store."""
        before, self._stored_at_tick = self._stored_at_tick, self._sampling.stored
        if self._stored_at_tick != before:
            self._moved_at = self._clock.monotonic()
        since = self._busy_since
        return since is not None and self._clock.monotonic() - max(since, self._moved_at) > STUCK_AFTER

    def _status(self) -> str:
        kept = f"{self._sampling.waiting} samples kept"
        if self._fails:
            return f"samples are not recorded, {kept}: see the log"
        if not self._database.available:
            return f"waiting for the database, {kept}"
        if self._lacks_schema:
            return f"waiting for automon's schema in the database, {kept}"
        return self._verdict or f"looks at {self._host}"

    def _reload(self) -> None:
        systemd.reloading()
        try:
            config = self._load_config()
        except AutomonError as error:
            for problem in error.problems if isinstance(error, ConfigError) else [error.message]:
                log.error("config_rejected", problem=str(problem))  # noqa: TRY400  the problem says it all
            self._verdict = "config rejected, the one before stays in force"
        else:
            log.info("config_accepted", changes=[str(change) for change in self.config.diff(config)])
            if config.database != self.config.database:
                log.warning("restart_needed", setting="database")
            self.config, self._verdict = config, ""
        systemd.notify("READY=1")

    def _end(self) -> None:
        systemd.stopping()
        self._thread.join(END_PATIENCE)
        if self._sampling.waiting:
            log.warning("host_samples_lost", waiting=self._sampling.waiting)
        self._database.close()
        log.info("host_stopped", host=self._host, stored=self._sampling.stored)
