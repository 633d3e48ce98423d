"""The long-running service: what runs when, how it starts and how it ends. The composition root."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from automon.clock import Clock, SystemClock
from automon.config import Config, FileState
from automon.database import Database, first_line
from automon.errors import (
    EXIT_CONFIG,
    AutomonError,
    ConfigRefusedError,
    DatabaseUnavailableError,
    Problem,
    SchemaInUseError,
)
from automon.migrate import migrate
from automon.store import Store
from jobs.alert_checks import AlertChecks
from jobs.delivery import Desk
from jobs.fast_checks import FastChecks
from jobs.host_reader import HostReader
from jobs.host_sampling import HostSampling
from jobs.job import Context
from jobs.ping import Ping
from jobs.self_check import SelfCheck
from scheduler import systemd
from scheduler.config_watch import ConfigWatch
from scheduler.configuration import database_document, make_desks
from scheduler.exposition import ConfigState, Exposition, Views
from scheduler.health import MENDED_BY_RESTART, Trouble, Vitals, troubles_of
from scheduler.heartbeat import Heartbeat
from scheduler.judgements import Judgement, Judgements, Noticed, problems_of
from scheduler.listener import Listener
from scheduler.senders import Senders
from scheduler.signals import Signals
from scheduler.timetable import Timetable

TICK = 1.0
PAUSE_BEFORE_TRYING_AGAIN = 1.0
TIME_TO_END = 14.0  # of the 20 seconds that a stop may take
BEAT_PATIENCE = 5.0  # seconds that a beat waits for an answer
METRICS_PATIENCE = timedelta(seconds=2)

CHECKS_RUN = "checks run"
CONFIG_REJECTED = "config rejected, the one before stays in force"

log = structlog.get_logger("automon.service")


class Service:
    """Runs until SIGTERM or SIGINT; loads the config anew when its file has changed, and at SIGHUP. `run` answers the exit code.

    `on_ready` is called, from another thread, when the database is prepared and checks and senders run.
    """

    def __init__(
        self,
        config: Config,
        database_url: str,
        *,
        load_config: Callable[[], Config],
        on_ready: Callable[[Service], None] = lambda _: None,
        supervise: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self._load_config = load_config
        self._on_ready = on_ready
        self._supervise = supervise
        self._clock = clock or SystemClock()
        self._exit_code = 0
        self._stop = threading.Event()
        self._signals = Signals()
        self._ready_at: float | None = None
        self._changing = threading.Lock()
        self._config_changed = threading.Event()
        self._config_changed.set()
        self._waiting = False
        self._verdict = CHECKS_RUN
        self._said = ""
        self._stuck: frozenset[Trouble] = frozenset()
        self._host = socket.gethostname()
        # Containers have one process number for all their services, and often one host name after another restart.
        self.instance = f"{self._host}:{secrets.token_hex(3)}:{os.getpid()}"
        self._desks = make_desks(config, self._host)
        self._in_force: Config | None = None
        self._watch = ConfigWatch(config.path, config.file)
        self._judgements = Judgements()
        self._judgements.add(Judgement(at=self._clock.now(), noticed=Noticed.START, file=config.file, config=config))
        self.database = Database(database_url, self._clock, pooled=config.database.pooled)
        self.store = Store(self.database, config.database.schema_)
        self._context = Context(store=self.store, clock=self._clock, instance=self.instance, stop=self._stop)
        heart = Database(
            database_url, self._clock, pooled=self.database.pooled, size=1, patience=BEAT_PATIENCE, quiet=True
        )
        self._heartbeat = Heartbeat(self._context, Store(heart, config.database.schema_), self._host)
        self._senders = Senders(self._context, self._heartbeat.outage)
        self.timetable = Timetable(
            self._context,
            HostSampling(self._host, HostReader()),
            AlertChecks(on_change=self._senders.wake),
            FastChecks(on_change=self._senders.wake),
            SelfCheck(on_change=self._senders.wake),
            lives=lambda: self._heartbeat.lives,
        )
        on_notice = {"automon_deliveries": self._senders.wake, "automon_facts": self.timetable.watch_now}
        self._listener = Listener(self.database.conninfo, self._stop, on_notice)
        self._ping = Ping(config.ping.url, self._troubles)
        self._ticked_at = self._clock.monotonic()
        self._config_state = ConfigState(
            accepted=True, loaded_at=self._clock.now().timestamp(), reloads={"accepted": 0, "rejected": 0}
        )
        self.exposition = Exposition(
            self._clock,
            Views(
                vitals=self._vitals,
                is_ending=self._stop.is_set,
                database_is_up=self._database_is_up,
                config=lambda: self._config_state,
                attempts=self._senders.tally.counts,
                read=lambda: self.store.metrics(self._clock.now(), METRICS_PATIENCE),
            ),
        )

    def run(self) -> int:
        with self._signals.caught():
            self._start()
            while not self._stop.is_set():
                self._heed_signal()
                self._tick()
            self._end()
        return self._exit_code

    def fail(self, error: Exception) -> None:
        """End the service because of something that waiting does not mend: EXIT_CONFIG for what a person must repair."""
        known = isinstance(error, AutomonError)
        log.error("service_failed", error=str(error), exc_info=None if known else error)
        systemd.status(f"stopped: {first_line(error)}")
        self._exit_code = EXIT_CONFIG if known else 1
        self.stop()

    def stop(self) -> None:
        """End the service soon, as SIGTERM does; may be called from any thread."""
        self._stop.set()
        self._config_changed.set()
        self._signals.wake()

    # Start ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.database.open()
        self._heartbeat.start()
        self.timetable.sample_host(self.config.schedule)
        self.timetable.start()
        self._say("waiting for the database")
        systemd.notify("READY=1")
        threading.Thread(target=self._keep_config_in_force, name="config", daemon=True).start()

    def _keep_config_in_force(self) -> None:
        """Put the config in force at the start and after each change, however long the database takes to come."""
        try:
            while self._config_changed.wait() and not self._stop.is_set():
                self._config_changed.clear()
                if self.config is not self._in_force:
                    self._put_in_force()
                self._record_judgements()
        except Exception as error:  # noqa: BLE001  whatever it is, a service without its config must not seem to run
            self.fail(error)

    def _put_in_force(self) -> None:
        config, desks = self._bring_to_parts()
        while not self._stop.is_set():
            try:
                applied = migrate(self.database.conninfo, schema=config.database.schema_, pause=self._stop.wait)
                self.store.sync_configuration(database_document(config, desks))
            except ConfigRefusedError as error:
                if self._in_force is None:
                    raise
                self._take_back(config, error, self._in_force)
                config, desks = self._bring_to_parts()
            except SchemaInUseError as error:
                log.error("schema_in_use", reason=str(error))  # noqa: TRY400  the reason says it all
            except DatabaseUnavailableError as error:
                self._tell_of_waiting(error)
                self._stop.wait(PAUSE_BEFORE_TRYING_AGAIN)
            else:
                self._in_force = config
                self._senders.let_go()
                self.timetable.sample_host(config.schedule)
                self.timetable.run_shared_jobs(config.schedule)
                self._tell_of_readiness(applied)
                return

    def _bring_to_parts(self) -> tuple[Config, list[Desk]]:
        """Tell the newest config to what works without the database, too."""
        with self._changing:
            config, desks = self.config, self._desks
        self._heartbeat.tell_after(timedelta(minutes=config.settings.alerts.blind_after_minutes))
        self.timetable.ping(self._ping, config.ping.every)
        self.exposition.endpoint.listen(config.listen_address)
        self._senders.replace(desks)
        return config, desks

    def _take_back(self, config: Config, error: ConfigRefusedError, before: Config) -> None:
        """Go back to the config before one that the database does not take; a newer one stays."""
        self._judgements.drop(config)
        self._reject(Noticed.RELOAD, config.file, problems_of(error, config.path))
        with self._changing:
            if self.config is config:
                self.config, self._desks = before, make_desks(before, self._host)

    def _record_judgements(self) -> None:
        """Have the database know what was judged, however long it takes to come; a new config goes first."""
        path = str(self.config.path.absolute())
        while not (self._stop.is_set() or self._config_changed.is_set()):
            # A call that waits for the database would bring what is known now: of a mistake that is mended until then
            # nobody has to hear.
            if self._heartbeat.database_is_away or not self.database.available:
                self._stop.wait(PAUSE_BEFORE_TRYING_AGAIN)
                continue
            try:
                self._judgements.tell(partial(self.store.record_config_judgements, self.instance, self._host, path))
            except DatabaseUnavailableError:
                self._stop.wait(PAUSE_BEFORE_TRYING_AGAIN)
            except Exception:
                # The history is not worth the service.
                log.exception("config_history_not_kept")
                self._judgements.clear()
            else:
                return

    def _tell_of_waiting(self, error: DatabaseUnavailableError) -> None:
        if not self._waiting:
            self._waiting = True
            self.database.note_loss(error)

    def _tell_of_readiness(self, applied: list[str]) -> None:
        self._waiting = False
        log.info(
            "service_ready",
            database=self.database.description,
            config=str(self.config.path),
            migrated=applied,
            channels=[desk.channel.name for desk in self._desks],
        )
        if self._ready_at is None:
            self._ready_at = self._clock.monotonic()
            if not self.database.pooled:
                self._listener.start()
            self._on_ready(self)

    # While it runs ----------------------------------------------------------------------------------------------

    def _heed_signal(self) -> None:
        """Wait for a signal for as long as a tick, and do what it asks for."""
        seen = self._signals.wait(TICK)
        if seen == signal.SIGHUP:
            systemd.reloading()
            self._reload(Noticed.RELOAD)
            systemd.notify("READY=1")
        elif seen is not None:
            self.stop()

    def _tick(self) -> None:
        self._supervise()
        if self._watch.has_come_to_rest(self._clock.monotonic()):
            self._reload(Noticed.WATCH)
        self._ticked_at = self._clock.monotonic()
        troubles = self._troubles()
        self._feed_watchdog(MENDED_BY_RESTART.intersection(troubles))
        if Trouble.DATABASE_AWAY in troubles:
            self._say("waiting for the database")
        else:
            problems = [*troubles, *filter(None, [self.exposition.endpoint.problem])]
            self._say(", ".join(problems) or self._verdict)

    def _feed_watchdog(self, stuck: frozenset[Trouble]) -> None:
        """Feed systemd's watchdog while nothing is stuck; what is stuck stands in the log before the restart comes."""
        if not stuck:
            systemd.notify("WATCHDOG=1")
        elif stuck != self._stuck:
            log.error("stuck", troubles=sorted(stuck), consequence="systemd's watchdog is fed no more")
        self._stuck = stuck

    def _troubles(self) -> list[Trouble]:
        return troubles_of(self._vitals())

    def _vitals(self) -> Vitals:
        now = self._clock.monotonic()
        return Vitals(
            main=timedelta(seconds=now - self._ticked_at),
            scheduler=timedelta(seconds=now - self.timetable.beat),
            heartbeat=timedelta(seconds=now - self._heartbeat.beat_at),
            slowest_sender=self._senders.slowest(),
            look=self.timetable.looking_for,
            looks_fail_for=self.timetable.looks_fail_for,
            database_is_away=self._heartbeat.database_is_away or not self.database.available,
            ready_for=None if self._ready_at is None else timedelta(seconds=now - self._ready_at),
            health=self._heartbeat.health,
        )

    def _database_is_up(self) -> bool:
        """Whether beats reach the database and its schema."""
        return self._heartbeat.lives and not self._heartbeat.database_is_away and self.database.available

    def _say(self, status: str) -> None:
        if status != self._said:
            self._said = status
            systemd.status(status)

    def _reload(self, noticed: Noticed) -> None:
        """Read the config file. One that is being written meanwhile is left for a later look, unless somebody asks for it now."""
        before = self._watch.look()
        try:
            config = self._load_config()
            desks = make_desks(config, self._host)
        except Exception as error:  # noqa: BLE001  a file that automon fails on must not end what works
            if noticed is not Noticed.WATCH or self._watch.look() == before:
                self._watch.note_judged(before)
                self._reject(noticed, before, self._problems_of(error))
        else:
            if noticed is not Noticed.WATCH or self._watch.look() == config.file:
                self._watch.note_judged(config.file)
                self._accept(noticed, config, desks)

    def _problems_of(self, error: Exception) -> list[Problem]:
        if isinstance(error, AutomonError):
            return problems_of(error, self.config.path)
        log.error("config_not_understood", exc_info=error)
        return problems_of(AutomonError(f"automon fails on this file: {type(error).__name__}"), self.config.path)

    def _reject(self, noticed: Noticed, file: FileState | None, problems: list[Problem]) -> None:
        for problem in problems:
            log.error("config_rejected", problem=str(problem))
        self._verdict = CONFIG_REJECTED
        self._note_reload(accepted=False)
        self._judgements.add(Judgement(at=self._clock.now(), noticed=noticed, file=file, problems=problems))
        self._config_changed.set()

    def _accept(self, noticed: Noticed, config: Config, desks: list[Desk]) -> None:
        changes = self.config.diff(config)
        log.info("config_accepted", noticed_by=noticed.value, changes=[str(change) for change in changes])
        if config.database != self.config.database:
            log.warning("restart_needed", setting="database")
        if config.ping.url != self.config.ping.url:
            self._ping = Ping(config.ping.url, self._troubles)
        with self._changing:
            self.config, self._desks = config, desks
        self._verdict = CHECKS_RUN
        self._note_reload(accepted=True)
        self._judgements.add(
            Judgement(at=self._clock.now(), noticed=noticed, file=config.file, config=config, changes=changes)
        )
        self._config_changed.set()

    def _note_reload(self, *, accepted: bool) -> None:
        before, outcome = self._config_state, "accepted" if accepted else "rejected"
        self._config_state = ConfigState(
            accepted=accepted,
            loaded_at=self._clock.now().timestamp() if accepted else before.loaded_at,
            reloads={**before.reloads, outcome: before.reloads[outcome] + 1},
        )

    # End --------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._exit_code == 0:
            systemd.stopping()
        log.info("service_stopping")
        self.timetable.pause()
        if not self._senders.stop(TIME_TO_END):
            log.warning("sender_still_busy", consequence="its message is repeated after the next start, and says so")
        self._heartbeat.end()
        self.timetable.end()
        self.exposition.end()
        self.database.close()
        log.info("service_stopped")
