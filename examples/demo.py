"""The newcomer's minute: automon on a database of its own, a small company's bad day, and the messages about it.

make demo
SLACK_WEBHOOK_URL=https://hooks.slack.com/services/… AUTOMON_EMAIL_URL=smtp://user:password@host:587?from=…&to=… make demo
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from demo_workload import run_demo

from automon.cli.foreground import banner
from automon.config import Config, load_config
from automon.embedded import EmbeddedPostgres
from automon.logs import configure_logging
from automon.models import HostSample
from scheduler.service import Service

FOLDER = Path(".automon")
SECONDS_OF_TROUBLE = 22.0
SECONDS_OF_RECOVERY = 24.0
# The shipped thresholds, looked at every two seconds, so that a minute is enough.
CONFIG = {
    "schedule": {"alert_checks_seconds": 2, "host_sampling_seconds": 5},
    # One message for each alert, to show them all; as shipped, many at once are told as one.
    "alerts": {"resolve_after_minutes": 0, "messages_per_cause": 100, "messages_at_once": 100},
    "guidance": {
        "error_rates": {
            "sources": {
                "invoice-sync": {
                    "impact": "customers get no invoice",
                    "next": "restart the ledger gateway, then repeat the failed invoices",
                    "runbook": "https://wiki.example.org/runbooks/invoice-sync",
                }
            }
        },
        "queue_backlog": {"next": "add a worker, or stop what feeds the queue"},
    },
    "http": {"listen": None},  # a real service on this machine may have the port
    "channels": {
        "slack": {"type": "slack", "optional": True, "webhook_url": "$env:SLACK_WEBHOOK_URL"},
        "email": {"type": "email", "optional": True, "url": "$env:AUTOMON_EMAIL_URL"},
        "screen": {"type": "terminal"},
    },
    "database": {"url": None},
}


def main() -> int:
    os.environ.setdefault("AUTOMON_LOG_FORMAT", "console")
    configure_logging(level="WARNING")
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=FOLDER))
    config_path = folder / "monitoring_config.json"
    config_path.write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    load = partial(load_config, config_path, os.environ)
    say(f"A database of its own is started in {folder}; nothing of yours is touched, and it goes with the demo.")
    try:
        with EmbeddedPostgres(folder, durable=False) as server:
            return play(load(), server, load)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(config: Config, server: EmbeddedPostgres, load: partial[Config]) -> int:
    over = threading.Event()
    service = Service(config, server.url, load_config=load, on_ready=lambda ready: start_workload(ready, server, over))
    code = service.run()
    over.set()
    return code


def start_workload(service: Service, server: EmbeddedPostgres, over: threading.Event) -> None:
    print("\n".join(banner(service, server.url, server)), flush=True)

    def workload() -> None:
        act_host(service, 9.0, 96.5, "A pretended host, ops-2, has a disk that is almost full.")
        act_host(service, SECONDS_OF_TROUBLE + 6, 61.0, "Somebody has made room on ops-2.")
        run_demo(
            server.url,
            say=say,
            stop=over,
            seconds_of_trouble=SECONDS_OF_TROUBLE,
            seconds_of_recovery=SECONDS_OF_RECOVERY,
        )
        if not over.is_set():
            say_goodbye(service.config)
            service.stop()

    threading.Thread(target=workload, name="workload", daemon=True).start()


def act_host(service: Service, after_seconds: float, disk_percent: float, line: str) -> None:
    """Report, after a while, a sample of a host that is not there."""

    def act() -> None:
        say(line)
        values = {"cpu_percent": 12.0, "memory_percent": 41.0, "disks": [{"mount": "/var", "percent": disk_percent}]}
        service.store.record_host_sample(HostSample(host="ops-2", sampled_at=datetime.now(timezone.utc), values=values))

    timer = threading.Timer(after_seconds, act)
    timer.daemon = True
    timer.start()


def say(line: str) -> None:
    print(f"\n── {line}", flush=True)


def say_goodbye(config: Config) -> None:
    say("That was the demo.")
    for line in config.describe_channels():
        print(f"   {line}")
    print(
        "   To see it in Slack, set SLACK_WEBHOOK_URL (Slack: Apps, Incoming Webhooks, Add) and run `make demo` again.\n"
        "   For email, set AUTOMON_EMAIL_URL=smtp://user:password@mail.example.org:587?from=automon@example.org&to=you@example.org\n"
        "   The service for real: `make run`. Your own tasks: examples/integration_example.py.",
        flush=True,
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
