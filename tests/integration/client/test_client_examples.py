"""The example programs, as a user runs them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = Callable[..., list[tuple[Any, ...]]]
EXAMPLES = Path(__file__).parents[3] / "examples"
EVERY_KIND = [
    ("component_health",),
    ("component_silence",),
    ("critical_errors",),
    ("error_rate",),
    ("failure_rate",),
    ("processing_time",),
    ("queue_backlog",),
    ("queue_silence",),
    ("response_time",),
    ("running_time",),
]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=EXAMPLES,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_integration_example_reports_and_says_how_to_look(database_url: str, rows: Rows) -> None:
    ran = run("integration_example.py", "--dsn", database_url)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "psql" in ran.stdout
    assert rows("SELECT task_type, status, count(*) FROM processing_metrics GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("document_processing", "completed", 3),
        ("document_processing", "failed", 1),
        ("index_update", "completed", 1),
    ]
    assert rows("SELECT component, error_message FROM error_tracking") == [("processor", "scan-0042.txt holds no text")]
    assert rows("SELECT component_name, status FROM system_health") == [("documents", "healthy")]
    assert rows("SELECT count(*) FROM queue_monitoring WHERE queue_name = 'documents'") == [(5,)]
    assert rows("SELECT metric_name FROM performance_monitoring") == [("pipeline_duration",)]


def test_the_integration_example_takes_the_dsn_from_the_environment(database_url: str) -> None:
    assert run("integration_example.py", AUTOMON_DSN=database_url).returncode == 0


def test_the_integration_example_says_when_the_database_is_away() -> None:
    ran = run("integration_example.py", "--dsn", "postgresql://app:s3cr3t-pw@127.0.0.1:1/work")

    assert ran.returncode == 1
    assert "could not be reached" in ran.stderr
    assert "s3cr3t-pw" not in ran.stdout + ran.stderr


def test_the_client_can_be_imported_from_the_example() -> None:
    ran = run("-c", "from integration_example import MonitoringClient; print(MonitoringClient.__module__)")

    assert (ran.returncode, ran.stdout.strip()) == (0, "monitoring_client.client")


def test_the_demo_crosses_each_kind_of_threshold_and_recovers(
    database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    demo = importlib.import_module("demo_workload")
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        rows("SELECT run_monitoring_checks()")

    demo.run_demo(database_url, say=say, stop=threading.Event(), seconds_of_trouble=6, seconds_of_recovery=3)
    rows("SELECT run_monitoring_checks()")
    rows("SELECT run_monitoring_checks(now() + interval '6 minutes')")

    assert rows("SELECT DISTINCT alert_type FROM alerts ORDER BY alert_type") == EVERY_KIND
    assert rows("SELECT alert_type FROM alerts WHERE resolved_at IS NULL") == []
    assert told[-1] == "All quiet."


def test_the_demo_stops_when_it_is_told_to(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    demo = importlib.import_module("demo_workload")
    told: list[str] = []
    stop = threading.Event()

    def say(line: str) -> None:
        told.append(line)
        if "ledger" in line:
            stop.set()

    demo.run_demo(database_url, say=say, stop=stop, seconds_of_trouble=600, seconds_of_recovery=600)

    assert len(told) == 2
