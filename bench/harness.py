"""What the measurements share: a database of their own, fake Slack and mail servers, and the real service process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from automon.embedded import EmbeddedPostgres
from automon.migrate import migrate
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of a migrated database that goes with the measurement."""
    with (
        tempfile.TemporaryDirectory(prefix="automon-bench-") as folder,
        EmbeddedPostgres(Path(folder), port=0) as server,
    ):
        migrate(server.url)
        yield server.url


@contextmanager
def service(url: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the service; it is ready when this yields."""
    with tempfile.TemporaryDirectory(prefix="automon-bench-") as folder:
        path = Path(folder) / "monitoring_config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "automon", "run", "--config", str(path), "--database-url", url],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment, "AUTOMON_LOG_FORMAT": "json"},
        )
        try:
            wait_for_event(process, "service_ready")
            # A log that nobody reads would stop the service when the pipe is full.
            threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for_event(process: subprocess.Popen[str], event: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("event") == event:
            return
    raise RuntimeError(f"the service ended before {event}")


@contextmanager
def slack_and_mail() -> Iterator[tuple[FakeSlack, FakeSmtp, dict[str, Any], dict[str, str]]]:
    """Give both fakes, a config that uses them, and the environment in which the service trusts them."""
    with FakeSlack() as slack, FakeSmtp() as mail:
        environment = {**mail.environment(), **slack.environment(), "SLACK_WEBHOOK_URL": slack.webhook_url}
        channels = {
            "slack": {"type": "slack", "webhook_url": "$env:SLACK_WEBHOOK_URL"},
            "email": {
                "type": "email",
                "host": "localhost",
                "port": mail.port,
                "security": str(mail.security),
                "from": "automon@example.org",
                "to": ["ops@example.org"],
                "ca_file": str(mail.ca_file),
            },
        }
        yield slack, mail, {"channels": channels, "alerts": {"resolve_after_minutes": 0}}, environment


def median_and_max(values: Sequence[float], unit: str, factor: float = 1.0) -> str:
    scaled = [value * factor for value in values]
    return f"median {statistics.median(scaled):.1f} {unit}, max {max(scaled):.1f} {unit}, of {len(scaled)}"


def quantiles(values: Sequence[float], unit: str, factor: float = 1.0) -> str:
    scaled = sorted(value * factor for value in values)
    p99 = scaled[min(len(scaled) - 1, round(0.99 * len(scaled)))]
    return f"median {statistics.median(scaled):.0f} {unit}, p99 {p99:.0f} {unit}, max {scaled[-1]:.0f} {unit}, of {len(scaled)}"


def report(name: str, figure: str, goal: str) -> None:
    print(f"{name:<44} {figure:<44} goal: {goal}", flush=True)


def now() -> float:
    return time.monotonic()
