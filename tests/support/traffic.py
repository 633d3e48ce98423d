"""Makes alerts of many kinds, one after another, as the applications and people of an installation do.

    with Traffic(database_url, seed=7, rate=5) as traffic:
        ...
    assert traffic.steps > 0

The steps and what is in them follow from the seed; when they come, and what the database makes of them, does not.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Self

import psycopg

from tests.support.calls import Calls

QUEUES = [f"queue-{number}" for number in range(12)]
COMPONENTS = [f"api-{number}" for number in range(8)]
SOURCES_OF_ERRORS = [f"sync-{number}" for number in range(6)]
TASK_TYPES = ["ocr", "export", "invoice", "resize"]
# Within the limits, and in each of the levels above them.
LENGTHS_OF_QUEUES = (3, 60, 120, 250, 900)
STATES = ("healthy", "degraded", "unhealthy")
CAUSES = ("no answer from 10.0.0.{n} within 30 s", "certificate of host {n} has expired", "disk {n} is full")
CONNECT_SECONDS = 5
PAUSE_WITHOUT_DATABASE = 0.05


class Traffic:
    """Takes about `rate` steps a second from a thread with a connection of its own, until its block ends.

    A step that a lost connection spoilt is left out: what came of it, the database knows. Any other error fails the
    block.
    """

    def __init__(self, url: str, *, seed: int, rate: float) -> None:
        self._url = url
        self._random = random.Random(seed)
        self._pause = 1 / rate
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._tasks = 0
        self.steps = 0
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the traffic does not end"
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._run_until_cut()
        except Exception as error:  # noqa: BLE001  the test's own thread raises it
            self._error = error

    def _run_until_cut(self) -> None:
        connection: psycopg.Connection[tuple[object, ...]] | None = None
        try:
            with psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
                while not self._stop.is_set():
                    self._step(Calls(connection))
        except psycopg.OperationalError:
            if connection is not None and not connection.closed:
                raise  # a deadlock, say: the database has answered
            self._stop.wait(PAUSE_WITHOUT_DATABASE)

    def _step(self, calls: Calls) -> None:
        begun = time.monotonic()
        steps: tuple[Callable[[Calls], None], ...] = (
            self._report_queue,
            self._report_component,
            self._record_errors,
            self._end_tasks,
            self._act_as_person,
        )
        [step] = self._random.choices(steps, weights=(6, 4, 2, 2, 1))
        step(calls)
        self.steps += 1
        self._stop.wait(max(0.0, self._pause - (time.monotonic() - begun)))

    def _report_queue(self, calls: Calls) -> None:
        calls("update_queue_metrics", self._random.choice(QUEUES), self._random.choice(LENGTHS_OF_QUEUES))
        calls("check_queue_backlog_alerts")

    def _report_component(self, calls: Calls) -> None:
        state, component = self._random.choice(STATES), self._random.choice(COMPONENTS)
        reason = None if state == "healthy" else self._cause()
        calls("update_system_health", "service", component, state, self._random.uniform(5, 3000), reason)
        calls("check_system_health_alerts")

    def _record_errors(self, calls: Calls) -> None:
        component, cause = self._random.choice(SOURCES_OF_ERRORS), self._cause()
        calls.ask(
            "SELECT public.record_error('task-' || n, 'ConnectionError', 'high', %s, %s) FROM generate_series(1, %s) AS n",
            cause, component, self._random.randint(5, 30),
        )  # fmt: skip
        calls("check_error_rate_alerts")

    def _end_tasks(self, calls: Calls) -> None:
        task_type, status = self._random.choice(TASK_TYPES), self._random.choice(("completed", "failed"))
        message = self._cause() if status == "failed" else None
        for _ in range(self._random.randint(2, 6)):
            self._tasks += 1
            task = f"{task_type}-{self._tasks}"
            calls("start_task_tracking", task, task_type)
            calls("complete_task_tracking", task, status, p_error_message=message)
        calls("check_processing_performance_alerts")

    def _act_as_person(self, calls: Calls) -> None:
        what, chance = self._random.choice(("acknowledge_alert", "resolve_alert")), self._random.random()
        alerts = calls.ask("SELECT id FROM public.alerts WHERE resolved_at IS NULL ORDER BY id")
        if alerts:
            calls(what, alerts[int(chance * len(alerts))]["id"], "ada")

    def _cause(self) -> str:
        return self._random.choice(CAUSES).format(n=self._random.randint(1, 9))
