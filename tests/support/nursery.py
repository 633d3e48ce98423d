"""Starts services by the hundred: one process has imported everything, and each service is a fork of it.

    with Nursery() as nursery:
        service = nursery.start(folder, make_config(), {"DATABASE_URL": url})
        service.wait_for_event("service_ready")
        service.kill()

A start by itself costs 0.6 s of CPU, nearly all of it for imports. What is forked runs the same `automon run` to its
end, in a session, a folder and an environment of its own, and writes to `stdout` and `stderr` in its folder.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any, Self

from tests.support.service import LONGEST_STOP, Document, clean_environment, write_config
from tests.support.waiting import wait_for_end, wait_until

_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


class Nursling:
    """A service that a nursery has started. Until somebody has waited for its end, its number is nobody else's."""

    def __init__(self, pid: int, folder: Path, reap: Callable[[int], int]) -> None:
        self.pid = pid
        self.folder = folder
        self._reap = reap
        self._lock = threading.Lock()
        self._code: int | None = None

    def send(self, number: Signals) -> None:
        with self._lock:
            if self._code is None:
                os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop it where it is, as a machine that sleeps does."""
        self.send(Signals.SIGSTOP)

    def thaw(self) -> None:
        self.send(Signals.SIGCONT)

    def reload(self, config: Document | str) -> None:
        """Write another config and tell the service of it."""
        write_config(self.folder, config)
        self.send(Signals.SIGHUP)

    def kill(self) -> None:
        """End it as kill -9 does, and wait for the end."""
        self.send(Signals.SIGKILL)
        self.wait()

    def stop(self, number: Signals = Signals.SIGTERM, *, seconds: float = LONGEST_STOP) -> int:
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = LONGEST_STOP) -> int:
        """Wait for its end and return the exit code, -9 after a kill; fails when it does not end in time."""
        with self._lock:
            if self._code is None:
                wait_for_end(self.pid, seconds=seconds)
                self._code = self._reap(self.pid)
            return self._code

    @property
    def log(self) -> Path:
        return self.folder / "stderr"

    @property
    def events(self) -> list[Document]:
        """Every log line so far, as JSON; the last one may be cut off where it was killed."""
        lines = self.log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def wait_for_event(self, name: str, *, count: int = 1, seconds: float = 20) -> None:
        """Wait until that event was logged `count` times."""
        wait_until(
            lambda: sum(event["event"] == name for event in self.events) >= count,
            seconds=seconds,
            what=f"{name} in {self.log}",
        )


class Nursery:
    """The process that forks, and all that it has forked: each ends with the block, or else with this process."""

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._nurslings: list[Nursling] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"],
            cwd=_ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for nursling in self._nurslings:
            nursling.kill()
        self._process.communicate(timeout=30)

    @property
    def nurslings(self) -> list[Nursling]:
        """All that were ever started."""
        with self._lock:
            return list(self._nurslings)

    def start(self, folder: Path, config: Document | str, environment: Mapping[str, str]) -> Nursling:
        """Start a service in a folder that is not there yet; returns when it is forked, long before it is ready."""
        folder.mkdir(parents=True)
        write_config(folder, config)
        (folder / "stderr").touch()
        pid = self._ask(folder=str(folder), environment=clean_environment(environment))
        nursling = Nursling(pid, folder, lambda pid: self._ask(reap=pid))
        with self._lock:
            self._nurslings.append(nursling)
        return nursling

    def _ask(self, **request: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


# What runs in the nursery's own process ---------------------------------------------------------------------------


def main() -> None:
    _import_everything()
    # What is there now is never collected: a collection would copy pages that parent and children share.
    gc.collect()
    gc.freeze()
    children: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "reap" in request:
            children.discard(request["reap"])
            answer = os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _become_service(request)
            children.add(answer)
        print(answer, flush=True)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _import_everything() -> None:
    import automon.cli.foreground  # noqa: F401
    import scheduler.service  # noqa: F401
    from notifiers.loading import load_apprise

    load_apprise()
    # A fork copies one thread only.
    assert threading.active_count() == 1


def _become_service(request: dict[str, Any]) -> None:
    """Run the command as a process of its own would; does not return."""
    from automon.cli import main as automon

    _die_with_parent()
    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    _redirect(0, os.devnull, os.O_RDONLY)
    _redirect(1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _redirect(2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    automon(["run"], prog_name="automon")
    os._exit(70)


def _die_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(70)


def _redirect(number: int, path: str, flags: int) -> None:
    handle = os.open(path, flags, 0o600)
    os.dup2(handle, number)
    os.close(handle)


if __name__ == "__main__":
    main()
