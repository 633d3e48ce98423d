"""The look for what cannot wait: how soon it finds, and what it costs the database and the service.

All of it takes six minutes; `python -m bench.fast_lane cost` measures one part: breach, cost or idle.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
import psycopg

from bench.alert_latency import UNGROUPED
from bench.harness import Connection, database, now, quantiles, report, service, slack_and_mail
from bench.history import prepare

Measurement = tuple[str, str, str]  # name, figure, goal

# Breach to alert ------------------------------------------------------------------------------------------------------

BREACHES = 65
SLACK_PACE = 1.05  # Slack takes one message a second from a webhook
LONGEST_WAIT = 20.0


def unhealthy_component(connection: Connection, source: str) -> float:
    connection.execute("SELECT update_system_health('api', %s, 'unhealthy', p_failure_reason => 'timeout')", [source])
    return now()


def critical_error(connection: Connection, source: str) -> float:
    connection.execute("SELECT record_error(NULL, 'timeout', 'critical', 'no answer', %s)", [source])
    return now()


def error_rate(connection: Connection, source: str) -> float:
    query = "SELECT record_error(NULL, 'timeout', 'low', 'no answer', %s) FROM generate_series(1, 25)"
    connection.execute(query, [source])
    return now()


def backlog(connection: Connection, source: str) -> float:
    connection.execute("SELECT update_queue_metrics(%s, 700)", [source])
    return now()


def stuck_task(connection: Connection, source: str) -> float:
    """Start a task so long ago that it reaches the lowest limit, 180 seconds, in one second."""
    query = "SELECT start_task_tracking(%s, %s, p_at => clock_timestamp() - interval '179 seconds')"
    began = now()
    connection.execute(query, [source, source])
    return began + 1


KINDS: dict[str, Callable[[Connection, str], float]] = {
    "an unhealthy component": unhealthy_component,
    "a critical error": critical_error,
    "an error rate": error_rate,
    "a backlog": backlog,
    "a stuck task": stuck_task,
}


def wait_for_alert(connection: Connection, source: str) -> float:
    """Wait until an alert about that source is committed; answer when it was seen."""
    deadline = now() + LONGEST_WAIT
    query = "SELECT FROM alerts WHERE source IN (%s, 'api/' || %s)"
    while connection.execute(query, [source, source]).fetchone() is None:
        if now() > deadline:
            raise RuntimeError(f"no alert about {source} within {LONGEST_WAIT} s")
        time.sleep(0.002)
    return now()


def breach_to_alert(seed: int = 1) -> list[Measurement]:
    """Breach limits of all kinds at random moments, with the schedule as shipped."""
    chance = random.Random(seed)
    to_alert: dict[str, list[float]] = {kind: [] for kind in KINDS}
    to_slack = []
    with (
        database() as url,
        slack_and_mail() as (slack, _, config, environment),
        service(url, config | {"alerts": UNGROUPED}, environment),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        for number in range(BREACHES):
            kind = list(KINDS)[number % len(KINDS)]
            time.sleep(SLACK_PACE + chance.random())
            breached = KINDS[kind](connection, f"source-{number}")
            to_alert[kind].append(max(0.0, wait_for_alert(connection, f"source-{number}") - breached))
            to_slack.append(slack.wait_for(number + 1, 30)[-1].arrived_at - breached)
    everything = [seconds for one in to_alert.values() for seconds in one]
    return [
        *((f"{kind} to its alert", quantiles(seconds, "ms", 1000), "p99 under 2 s") for kind, seconds in to_alert.items()),
        ("breach to alert, all", quantiles(everything, "ms", 1000), "p99 under 2 s"),
        ("breach to Slack, all", quantiles(to_slack, "ms", 1000), "p99 under 2 s"),
    ]  # fmt: skip


# Cost -----------------------------------------------------------------------------------------------------------------

DAYS = 35
ROWS_PER_DAY = 30_000
FACTS_PER_SECOND = 1000
WRITERS = 4
MEASURED_SECONDS = 60.0


@dataclass
class Load:
    """Writers that record facts at a steady pace, each fact in a transaction of its own.

    Of ten, three tasks start and three end, two errors and two measurements come.
    """

    url: str
    per_second: float
    recorded: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _write(self, writer: int) -> None:
        pace, began, done = self.per_second / WRITERS, now(), 0
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._stop.is_set():
                self._record_ten(connection, f"{writer}-{done}", done // 10)
                done += 10
                with self._lock:
                    self.recorded += 10
                time.sleep(max(0.0, began + done / pace - now()))

    @staticmethod
    def _record_ten(connection: Connection, name: str, number: int) -> None:
        ids = [f"load-{name}-{part}" for part in range(3)]
        for task in ids:
            connection.execute("SELECT start_task_tracking(%s, %s, 1024, 'worker-1')", [task, f"type-{number % 20}"])
        for task in ids:
            connection.execute("SELECT complete_task_tracking(%s, 'completed', 2048)", [task])
        for task in ids[:2]:
            query = "SELECT record_error(%s, %s, 'low', 'no answer', %s)"
            connection.execute(query, [task, f"type-{number % 3}", f"component-{number % 20}"])
        for part in range(2):
            query = "SELECT record_performance_metric(%s, 'gauge', %s)"
            connection.execute(query, [f"metric-{(number + part) % 20}", float(number % 100)])


@dataclass
class Backend:
    """A session, and what its process on the server has used."""

    connection: Connection

    def __post_init__(self) -> None:
        row = self.connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        self._process = psutil.Process(row[0])
        self._began = self.used()
        self.walls: list[float] = []

    def used(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def begin(self) -> None:
        self._began, self.walls = self.used(), []

    def call(self, query: str) -> None:
        began = now()
        self.connection.execute(query.encode())
        self.walls.append(now() - began)

    def share(self, seconds: float) -> str:
        """Say what part of a core this took, and how long a call was."""
        return f"{100 * (self.used() - self._began) / seconds:.2f} % of a core, {quantiles(self.walls, 'ms', 1000)}"


def calm(connection: Connection) -> None:
    """Let nothing be over its limit: what is measured is the look, not the alerts."""
    for alert_type in ("error_rate", "running_time", "queue_backlog"):
        connection.execute("SELECT set_threshold(%s, '*', NULL, NULL, NULL, 1e12)", [alert_type])


def look_for(seconds: float, roller: Backend, watcher: Backend, witness: Connection) -> float:
    """Look every second, as the service does; answer the longest time that rollups were behind, in seconds."""
    behind, began = 0.0, now()
    roller.begin()
    watcher.begin()
    for number in range(1, int(seconds) + 1):
        roller.call("SELECT roll_up()")
        watcher.call("SELECT urgent_alert_types(clock_timestamp())")
        time.sleep(max(0.0, began + number - now()))
        row = witness.execute("SELECT behind_seconds FROM rollup_lag()").fetchone()
        assert row is not None
        behind = max(behind, row[0])
    return behind


def cost() -> list[Measurement]:
    """Look every second while facts come, on a history of many days."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        prepare(connection, days=DAYS, rows_per_day=ROWS_PER_DAY)
        calm(connection)
        with (
            psycopg.connect(url, autocommit=True) as rolling,
            psycopg.connect(url, autocommit=True) as watching,
        ):
            roller, watcher = Backend(rolling), Backend(watching)
            for link in (rolling, watching):
                link.prepare_threshold = 5
            look_for(3, roller, watcher, connection)
            idle = look_for(20, roller, watcher, connection)
            idle_figures = roller.share(20), watcher.share(20)
            load = Load(url, FACTS_PER_SECOND)
            with load.running():
                look_for(5, roller, watcher, connection)
                before = load.recorded
                behind = look_for(MEASURED_SECONDS, roller, watcher, connection)
                figures = roller.share(MEASURED_SECONDS), watcher.share(MEASURED_SECONDS)
                pace = (load.recorded - before) / MEASURED_SECONDS
    return [
        ("the look, nothing new", idle_figures[1], "under 1 % of a core"),
        ("roll_up, nothing new", idle_figures[0], "under 5 % of a core"),
        (f"the look, at {pace:,.0f} facts a second", figures[1], "under 1 % of a core"),
        (f"roll_up, at {pace:,.0f} facts a second", figures[0], "under 5 % of a core"),
        ("rollups behind the facts, at most", f"{max(idle, behind):.1f} s", "never more than 10 s"),
    ]


# The service ----------------------------------------------------------------------------------------------------------

IDLE_SECONDS = 60.0


def idle_cpu() -> list[Measurement]:
    """Let the service do nothing but look, every second and hardly ever."""
    found: list[Measurement] = []
    for name, pause in (("the service while idle, without the look", 3600), ("the service while idle", 1)):
        with (
            database() as url,
            slack_and_mail() as (_, _, config, environment),
            service(url, config | {"schedule": {"fast_checks_seconds": pause}}, environment) as process,
        ):
            time.sleep(5)
            seen = psutil.Process(process.pid)
            before = seen.cpu_times()
            time.sleep(IDLE_SECONDS)
            after = seen.cpu_times()
        used = after.user + after.system - before.user - before.system
        found.append((name, f"{100 * used / IDLE_SECONDS:.2f} % of a core over {IDLE_SECONDS:.0f} s", "below 0.5 %"))
    return found


PARTS: dict[str, Callable[[], list[Measurement]]] = {"breach": breach_to_alert, "cost": cost, "idle": idle_cpu}


def measure(_full: object = None) -> Iterator[Measurement]:
    """Measure all parts, one after the other, at the sizes of their goals."""
    for part in PARTS.values():
        yield from part()


def main() -> None:
    for part in sys.argv[1:] or PARTS:
        for measured in PARTS[part]():
            report(*measured)


if __name__ == "__main__":
    main()
