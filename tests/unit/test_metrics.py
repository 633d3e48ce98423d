"""How values become the text that Prometheus reads, and what there is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from automon.metrics import BUILD, CPU, ENDED, FAMILIES, HEALTHY, RUNNING, database_series, escaped, render, written
from docs.generate.metrics import PAGE_FILE, page
from tests.support.prometheus import read_exposition

ROOT = Path(__file__).parents[2]
NOTHING: dict[str, Any] = {
    "tasks": [],
    "errors": [],
    "queues": [],
    "components": [],
    "hosts": [],
    "disks": [],
    "alerts": [],
    "left_out": {"task_type": 0},
    "automon": {
        "services": 1,
        "check_every_seconds": 300,
        "jobs": [],
        "channels": [],
        "blind_seconds_last_day": 0.0,
        "rollups_behind_seconds": 0.0,
        "partitions": [{"table": "error_tracking", "ahead": 8}],
    },
}


def test_a_family_is_told_with_its_help_its_kind_and_its_values() -> None:
    text = render({ENDED: [("ocr", "completed", 3), ("ocr", "failed", 0)]}).decode()

    assert text == (
        f"# HELP automon_tasks_ended_last_hour {ENDED.help}\n"
        "# TYPE automon_tasks_ended_last_hour gauge\n"
        'automon_tasks_ended_last_hour{task_type="ocr",status="completed"} 3\n'
        'automon_tasks_ended_last_hour{task_type="ocr",status="failed"} 0\n'
    )


def test_what_is_not_known_is_absent_and_a_family_without_a_value_is_not_named() -> None:
    assert render({RUNNING: [("ocr", None), ("mail", 1)], HEALTHY: [(None,)], CPU: []}).decode().splitlines()[2:] == [
        'automon_tasks_running{task_type="mail"} 1'
    ]


def test_families_come_in_the_order_of_the_table() -> None:
    text = render({RUNNING: [("ocr", 1)], BUILD: [("1", "3", 1)]}).decode()

    assert text.index("automon_build_info") < text.index("automon_tasks_running")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param('say "no"', r"say \"no\"", id="quotes"),
        pytest.param("C:\\new", r"C:\\new", id="a backslash"),
        pytest.param("two\nlines", r"two\nlines", id="a line feed"),
        pytest.param("Büro, {x}=1 %s", "Büro, {x}=1 %s", id="what needs no escape"),
    ],
)
def test_hostile_names_stay_within_their_quotes(value: str, text: str) -> None:
    assert escaped(value) == text
    [told] = read_exposition(render({RUNNING: [(value, 1)]}).decode()).values()
    assert told.of(task_type=value) == 1


def test_a_name_that_is_no_unicode_costs_the_others_nothing() -> None:
    [told] = read_exposition(render({RUNNING: [("\udc80", 1), ("ocr", 2)]}).decode()).values()

    assert told.of(task_type="ocr") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(True, "1", id="true"),
        pytest.param(False, "0", id="false"),
        pytest.param(12, "12", id="a whole number"),
        pytest.param(12.0, "12", id="a whole number with a point"),
        pytest.param(0.25, "0.25", id="a fraction"),
        pytest.param(1e-7, "1e-07", id="a small one"),
        pytest.param(math.inf, "+Inf", id="infinity"),
        pytest.param(-math.inf, "-Inf", id="its opposite"),
        pytest.param(math.nan, "NaN", id="no number"),
    ],
)
def test_numbers_are_written_as_the_format_wants_them(value: float, text: str) -> None:
    assert written(value) == text


def test_percent_become_ratios_and_milliseconds_seconds() -> None:
    host = {"host": "ops-1", "sampled_at": 1.5, "sample": {"cpu_percent": 12.3, "pressure": {"io": 50}}}
    component = {
        "component": "api/main",
        "healthy": 1,
        "degraded": 0,
        "unhealthy": 0,
        "response_time_ms": 12.5,
        "reported_at": 1.5,
    }
    told = read_exposition(render(database_series(NOTHING | {"hosts": [host], "components": [component]})).decode())

    assert told["automon_host_cpu_ratio"].of(host="ops-1") == 0.123
    assert told["automon_host_pressure_ratio"].of(host="ops-1", resource="io") == 0.5
    assert told["automon_component_response_time_seconds"].of(component="api/main") == 0.0125
    assert "automon_host_memory_ratio" not in told


def test_every_severity_is_told_also_when_nothing_is_open() -> None:
    alert = {"alert_type": "error_rate", "severity": "high", "status": "open", "alerts": 2}
    none, some = (
        read_exposition(render(database_series(NOTHING | {"alerts": alerts})).decode()) for alerts in ([], [alert])
    )

    assert none["automon_alerts_unresolved"].label("severity") == {"low", "medium", "high", "critical"}
    assert sum(none["automon_alerts_unresolved"].values.values()) == 0
    assert some["automon_alerts_unresolved"].of(severity="high") == 2
    assert "automon_alerts" not in none


def test_every_name_begins_alike_and_says_what_it_means_in_one_line() -> None:
    assert [name for name in FAMILIES if not name.startswith("automon_")] == []
    assert [name for name, family in FAMILIES.items() if not family.help.endswith(".") or "\n" in family.help] == []
    assert [name for name, family in FAMILIES.items() if "\\" in family.help or "|" in family.help] == []


def test_the_page_is_that_of_the_table() -> None:
    assert page() == (ROOT / PAGE_FILE).read_text(encoding="utf-8"), "run `python -m docs.generate.metrics`"


def test_the_page_names_every_metric_once() -> None:
    text = page()

    assert [name for name in FAMILIES if text.count(f"| `{name}` |") != 1] == []
