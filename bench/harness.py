"""What the measurements share: a database of their own, fake Slack and mail servers, and the real service process."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql

from automon.embedded import EmbeddedPostgres
from automon.migrate import migrate
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

Connection = psycopg.Connection[tuple[Any, ...]]
Figure = tuple[str, str, str]
"""A name, what was measured, and the goal."""

# As one sets up a machine of a few gigabytes for it; what is filled and committed in one transaction writes no WAL.
ROOMY = MappingProxyType(
    {
        "shared_buffers": "512MB",
        "maintenance_work_mem": "256MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "max_locks_per_transaction": "256",
    }
)
SHOWN = (
    "shared_buffers", "maintenance_work_mem", "max_wal_size", "wal_level", "fsync", "synchronous_commit", "max_locks_per_transaction", "jit",
)  # fmt: skip


@contextmanager
def server(
    directory: Path | None = None, *, keep: bool = False, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[EmbeddedPostgres]:
    """Run a durable server below a directory (or where temporary files are), which goes with the measurement or is kept."""
    with ExitStack() as stack:
        if directory is None or not keep:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="automon-bench-", dir=directory))
            directory = Path(folder)
        yield stack.enter_context(EmbeddedPostgres(directory, port=0, settings=settings))


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of a migrated database that goes with the measurement."""
    with server() as running:
        migrate(running.url)
        yield running.url


def create_database(running: EmbeddedPostgres, name: str) -> str:
    """Make a migrated database, unless it is there, and return its URL."""
    with psycopg.connect(running.address.socket_url("postgres"), autocommit=True) as admin:
        if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall():
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    url = running.address.socket_url(name)
    migrate(url)
    return url


def machine(connection: Connection) -> Iterator[tuple[str, str]]:
    """Name what the figures depend on: the machine, and the server with its settings."""
    row = connection.execute("SELECT current_setting('server_version'), current_setting('data_directory')").fetchone()
    assert row is not None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    settings = connection.execute(
        "SELECT n || '=' || current_setting(n) FROM unnest(%s::text[]) AS n", [list(SHOWN)]
    ).fetchall()
    yield "CPU", f"{cpu_model()}, {os.cpu_count()} cores"
    yield "memory", f"{memory / 2**30:.0f} GiB"
    yield "disk", disk_kind(Path(row[1]))
    yield "PostgreSQL", row[0]
    yield "settings", ", ".join(setting for (setting,) in settings)


def tell_machine(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, words in machine(connection):
            print(f"{name:<12} {words}", flush=True)


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else "of an unknown model"


def disk_kind(path: Path) -> str:
    """Say what the kernel knows of the disk below a path; a virtual one may claim anything."""
    while not path.exists():
        path = path.parent
    device = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    queue = next(
        (home / "queue/rotational" for home in (block, block.parent) if (home / "queue/rotational").exists()), None
    )
    if queue is None:
        return "unknown"
    return f"{queue.parent.parent.name}, {'turning' if queue.read_text().strip() == '1' else 'solid state'}"


@contextmanager
def service(url: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the service; it is ready when this yields."""
    with tempfile.TemporaryDirectory(prefix="automon-bench-") as folder:
        path = Path(folder) / "monitoring_config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        # rich comes with the tools of the tests; where the service is installed structlog does not find it, and loads 6 MB less.
        (Path(folder) / "rich.py").write_text("raise ImportError\n", encoding="utf-8")
        search = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            [sys.executable, "-m", "automon", "run", "--config", str(path), "--database-url", url],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            # The arena as in systemd/automon.service.
            env={
                **os.environ,
                **environment,
                "AUTOMON_LOG_FORMAT": "json",
                "PYTHONPATH": search,
                "MALLOC_ARENA_MAX": "1",
            },
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
