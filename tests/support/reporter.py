"""An application that reports numbered facts in durable mode, and writes down which of them the client has acknowledged.

    python -m tests.support.reporter --journals FOLDER --name lane-1.7 --spool FILE --facts 100

It is told of the database by AUTOMON_DSN. Each process, also one that was forked, has a journal of its own; a line is
written before a call and another one after it has returned, so that a kill at any moment leaves the truth behind.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from monitoring_client import MonitoringClient

STATES = ("healthy", "degraded", "unhealthy")
FACTS_OF_A_CHILD = 12
LONGEST_WORK = 0.002  # seconds between two facts


class Journal:
    """Lines of JSON that survive a kill: each is handed to the kernel before anything else happens."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **said: object) -> None:
        os.write(self._file, (json.dumps(said) + "\n").encode())


class Reporter:
    """One process that reports. `name` is in everything it says; `component` is whose health it tells."""

    def __init__(self, monitor: MonitoringClient, journals: Path, name: str, component: str, first: int = 0) -> None:
        self.monitor = monitor
        self.name = name
        self._journals = journals
        self._journal = Journal(journals, name)
        self._component = component
        self._chance = random.Random(name)
        self._number = first
        self._children = 0

    def report(self, facts: int) -> None:
        """Report so many facts, or until the process is ended."""
        kinds = (self._whole_task, self._endless_task, self._error, self._metric, self._health, self._queue)
        for _ in range(facts or sys.maxsize):
            self._number += 1
            self._chance.choices(kinds, (4, 1, 2, 2, 2, 1))[0]()
            time.sleep(self._chance.uniform(0, LONGEST_WORK))

    def child(self) -> Reporter:
        """Make the reporter of a process that was just forked, or is about to be."""
        self._children += 1
        return self.named(f"{self.name}.{self._children}")

    def named(self, name: str) -> Reporter:
        return Reporter(self.monitor, self._journals, name, name)

    def _whole_task(self) -> None:
        task_id = self._start()
        self._call("end", task_id, lambda: self.monitor.complete_task(task_id, "completed", output_size=self._number))

    def _endless_task(self) -> None:
        self._start()

    def _start(self) -> str:
        task_id = f"{self.name}-{self._number}"

        def start() -> bool:
            dropped = self.monitor.dropped
            self.monitor.start_task("torture", input_size=self._number, task_id=task_id)
            return self.monitor.dropped == dropped

        self._call("start", task_id, start)
        return task_id

    def _error(self) -> None:
        key = f"{self.name}-{self._number}"
        self._call("error", key, lambda: self.monitor.record_error(None, "Torture", "low", key, self.name))

    def _metric(self) -> None:
        def record() -> bool:
            return self.monitor.record_performance_metric("torture", "count", self._number, component=self.name)

        self._call("metric", f"{self.name}-{self._number}", record)

    def _health(self) -> None:
        state = STATES[self._number % len(STATES)]

        def update() -> bool:
            details = {"number": self._number}
            return self.monitor.update_system_health("torture", self._component, state, details=details)

        self._call("health", f"{self._component}-{self._number}", update, component=self._component, state=state)

    def _queue(self) -> None:
        report = self.monitor.queue(self.name).report
        self._call("queue", f"{self.name}-{self._number}", lambda: report(self._number))

    def _call(self, kind: str, key: str, call: Callable[[], bool], **more: str) -> None:
        self._journal.write(kind=kind, key=key, said="tried")
        began = time.time()
        taken = call()
        said = "acknowledged" if taken else "refused"
        self._journal.write(kind=kind, key=key, said=said, began=began, ended=time.time(), **more)


# Forks --------------------------------------------------------------------------------------------------------------


def fork(reporter: Reporter, chance: random.Random) -> int:
    """Fork a process that reports and then ends in one of the ways in which they do; answer its number."""
    how, child = chance.choice(("by os._exit", "as a program", "killed")), reporter.child()
    pid = os.fork()
    if pid:
        return pid
    child.report(FACTS_OF_A_CHILD)
    if how == "as a program":
        sys.exit()
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


_pooled: list[Reporter] = []  # inherited by the workers of a pool


def report_in_pool(turn: int) -> None:
    parent = _pooled[-1]
    parent.named(f"{parent.name}.pool-{os.getpid()}-{turn}").report(FACTS_OF_A_CHILD)


def use_a_pool(reporter: Reporter) -> None:
    """Report from the workers of a pool, which are killed or told to end, as the pool pleases."""
    _pooled.append(reporter.child())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(report_in_pool, range(3), chunksize=1)


def report_beside_children(reporter: Reporter, rounds: int) -> None:
    chance = random.Random(f"{reporter.name} forks")
    children: list[int] = []
    for _ in range(rounds):
        reporter.report(4)
        if chance.random() < 0.2:
            use_a_pool(reporter)
        else:
            children.append(fork(reporter, chance))
    if chance.random() < 0.5:  # the others outlive their parent
        for pid in children:
            os.waitpid(pid, 0)


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journals", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--component")
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the fact before the first one")
    parser.add_argument("--facts", type=int, default=0, help="how many, 0 for no end")
    parser.add_argument("--forks", type=int, default=0, help="fork so often instead, and report in between")
    parser.add_argument(
        "--flush", type=float, help="report nothing, but have everything delivered within so many seconds"
    )
    asked = parser.parse_args()
    monitor = MonitoringClient(durable=True, spool=asked.spool)
    if asked.flush is not None:
        sys.exit(0 if monitor.flush(asked.flush) else 1)
    reporter = Reporter(monitor, asked.journals, asked.name, asked.component or asked.name, asked.first)
    if asked.forks:
        report_beside_children(reporter, asked.forks)
    else:
        reporter.report(asked.facts)


if __name__ == "__main__":
    main()
