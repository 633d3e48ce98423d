"""Runs `automon` as users do: a process of its own, with the config, the environment and the signals that a test chooses.

    with ServiceProcess(folder, config, {"DATABASE_URL": url}) as service:
        service.wait_for_event("service_ready")
        ...
        assert service.stop() == 0

A service that outlives its test is killed by its own process number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import IO, Any, Self
from urllib.parse import unquote, urlsplit

from tests.support.calls import Calls
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp
from tests.support.waiting import wait_until

Document = dict[str, Any]

CONFIG_NAME = "monitoring_config.json"
LONGEST_STOP = 20.0
# What the machine that runs the tests is like must not make alerts.
_QUIET_HOST: Document = {"host_cpu": {}, "host_memory": {}, "host_disk": {}, "host_silence": {}}
_SECRET_VARIABLES = ("SLACK_WEBHOOK_URL", "AUTOMON_EMAIL_URL", "DATABASE_URL")


def make_config(**sections: Any) -> Document:
    """Make a config that judges every second, resolves at once, groups nothing, and tells Slack and email where the environment has them."""
    config: Document = {
        "alert_thresholds": {"queue_backlog": {"low": 50, "medium": 100, "high": 200, "critical": 500}, **_QUIET_HOST},
        # One message for each alert, however many there are: what is told together has tests of its own.
        "alerts": {"resolve_after_minutes": 0, "messages_per_cause": 10_000, "messages_at_once": 10_000},
        "schedule": {"alert_checks_seconds": 1, "host_sampling_seconds": 1, "self_check_seconds": 1},
        "channels": {
            "slack": {"type": "slack", "optional": True, "webhook_url": "$env:SLACK_WEBHOOK_URL"},
            "email": {"type": "email", "optional": True, "url": "$env:AUTOMON_EMAIL_URL"},
        },
        # Services of other tests, and this machine's own, may have the port that is shipped.
        "http": {"listen": None},
        "database": {"url": "$env:DATABASE_URL"},
    }
    for name, section in sections.items():
        replaces = name in ("channels", "database")
        config[name] = section if replaces else {**config.get(name, {}), **section}
    return config


def channels_of(
    slack: FakeSlack | None = None, smtp: FakeSmtp | None = None, to: str = "oncall@acme.example"
) -> dict[str, str]:
    """Give the environment in which the two channels of `make_config` reach these servers."""
    of_slack = {"SLACK_WEBHOOK_URL": slack.webhook_url, **slack.environment()} if slack else {}
    return of_slack | (smtp.environment(to) if smtp else {})


def write_config(folder: Path, config: Document | str) -> Path:
    path = folder / CONFIG_NAME
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8")
    return path


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment with what a program needs to run, and nothing that a developer has set for automon."""
    kept = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **(more or {}),
    }


def run_automon(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end in a folder that may hold a config; what comes back may be a failure."""
    return subprocess.run(
        [sys.executable, "-m", "automon", *arguments],
        cwd=folder,
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Look(Calls):
    """A session on the service's database that can wait for what the service writes there."""

    def raise_alert(self, pending: int = 250, queue: str = "mail") -> None:
        """Report a queue's length and judge it at once, as somebody in psql would."""
        self("update_queue_metrics", queue, pending)
        self("check_queue_backlog_alerts")

    def wait_for(self, query: str, *values: object, seconds: float = 20) -> None:
        """Wait until a query of one value answers true."""
        wait_until(lambda: self.one(query, *values), seconds=seconds, what=query)


class Lines:
    """What a process writes to one pipe, line by line, as it comes."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def all(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def wait_until(self, holds: Callable[[list[str]], bool], seconds: float) -> bool:
        """Wait until that is true of all lines so far; answer whether it became true before the deadline and the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or holds(self._lines), seconds)
            return holds(self._lines)

    def join(self) -> None:
        self._thread.join(10)


class ServiceProcess:
    """`automon run` in a folder of its own. Its stderr is no terminal, so its log is JSON unless the environment differs."""

    def __init__(
        self,
        folder: Path,
        config: Document | str,
        environment: Mapping[str, str] | None = None,
        *,
        arguments: tuple[str, ...] = ("run",),
        program: tuple[str, ...] = ("-m", "automon"),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config_path = write_config(folder, config)
        self._environment = dict(environment or {})
        self._command = [sys.executable, *program, *arguments]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self.folder,
            env=clean_environment(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pipes = (self._process.stdout, self._process.stderr)
        self._stdout, self._stderr = map(Lines, self._pipes)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._drain()
        for pipe in self._pipes:
            pipe.close()
        print(self._story())  # shown with a test that fails
        self.assert_no_secret_was_told()

    # What it says ---------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        return "\n".join(self._stdout.all())

    @property
    def stderr(self) -> str:
        return "\n".join(self._stderr.all())

    @property
    def events(self) -> list[Document]:
        """Every log line so far, as JSON; fails for a line that is none."""
        return _events(self._stderr.all())

    def events_named(self, *names: str, **having: object) -> list[Document]:
        return [event for event in self.events if event["event"] in names and having.items() <= event.items()]

    def wait_for_event(self, name: str, *, count: int = 1, seconds: float = 20, **having: object) -> Document:
        """Wait until that event was logged `count` times, with these values if any are given; return the last of them."""
        found = self._stderr.wait_until(lambda lines: len(_matching(lines, name, having)) >= count, seconds)
        assert found, f"no {name} {having} within {seconds} s\n{self._story()}"
        return _matching(self._stderr.all(), name, having)[count - 1]

    def wait_for_output(self, text: str, *, seconds: float = 20) -> str:
        """Wait until stdout holds that text, and return all of it so far."""
        found = self._stdout.wait_until(lambda lines: text in "\n".join(lines), seconds)
        assert found, f"no {text!r} on stdout within {seconds} s\n{self._story()}"
        return self.stdout

    def wait_until_ready(self, *, seconds: float = 30) -> Document:
        return self.wait_for_event("service_ready", seconds=seconds)

    def _story(self) -> str:
        return f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}\n--- exit code {self._process.poll()}"

    # What is done to it ---------------------------------------------------------------------------------------

    def send(self, number: Signals) -> None:
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it as a suspended machine does, and wait until no thread of it runs any more."""
        self.send(Signals.SIGSTOP)
        wait_until(
            lambda: all(map(_is_stopped, Path("/proc", str(self.pid), "task").iterdir())), what="a frozen service"
        )

    def reload(self, config: Document | str) -> None:
        """Write another config and tell the service of it."""
        write_config(self.folder, config)
        self.send(Signals.SIGHUP)

    def wait(self, seconds: float = LONGEST_STOP) -> int:
        """Wait for its end and return the exit code; fails when it does not end in time."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s\n{self._story()}") from None
        self._drain()
        return code

    def stop(self, number: Signals = Signals.SIGTERM, *, seconds: float = LONGEST_STOP) -> int:
        self.send(number)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it as kill -9 does, and wait for the end."""
        self._process.kill()
        self._process.wait()
        self._drain()

    def _drain(self) -> None:
        self._stdout.join()
        self._stderr.join()

    def assert_no_secret_was_told(self) -> None:
        told = f"{self.stdout}\n{self.stderr}"
        for secret in secrets_in(self._environment):
            assert secret not in told, f"a secret was told: {secret}"


def _is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """Give all that must not be seen: a webhook's path and tokens, the passwords of URLs."""
    secrets: set[str] = set()
    for value in (environment[name] for name in _SECRET_VARIABLES if name in environment):
        parts = urlsplit(value)
        if parts.hostname in ("hooks.slack.com", "hooks.slack-gov.com"):
            secrets |= {parts.path, parts.path.rpartition("/")[2]}
        if parts.password:
            secrets |= {parts.password, unquote(parts.password)}
    return secrets


def _events(lines: list[str]) -> list[Document]:
    return [json.loads(line) for line in lines]


def _matching(lines: list[str], name: str, having: Mapping[str, object]) -> list[Document]:
    return [event for event in _events(lines) if event.get("event") == name and having.items() <= event.items()]
