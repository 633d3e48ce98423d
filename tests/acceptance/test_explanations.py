"""What the explanations show is what the database does: their SQL runs, and silence is judged as the table says."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.support.calls import MINUTE, NOON, Calls
from tests.support.markdown import ROOT, Block, Page, page

EXPLANATIONS = [Page(path) for path in sorted((ROOT / "docs/explanation").glob("*.md"))]
SQL = [block for explanation in EXPLANATIONS for block in explanation.written_in("sql")]
ROW = re.compile(r"^\| (component|queue|host) \| (\d+) (seconds|minutes) \|(.+)\|$", re.MULTILINE)
EXAMPLES = ROW.findall(page("docs/explanation/silence.md").text)
LEVELS = ("low", "medium", "high", "critical")
SLICE = timedelta(seconds=1)
HORIZON = 6000 * MINUTE


@pytest.mark.parametrize("block", SQL, ids=str)
def test_the_sql_of_the_explanations_runs(block: Block, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as link:
        for statement in filter(str.strip, block.text.split(";\n")):
            link.execute(statement.encode())


def report(calls: Calls, what: str, number: int, pause: timedelta) -> None:
    at = NOON - number * pause
    if what == "component":
        calls("update_system_health", "api", "main", "healthy", p_at=at)
    elif what == "queue":
        calls("update_queue_metrics", "mail", 1, p_at=at)
    else:
        calls("record_host_sample", "ops-1", {}, p_at=at)


CHECKS = {"component": "evaluate_component_health", "queue": "evaluate_queue_backlog", "host": "evaluate_hosts"}


def severity_after(calls: Calls, what: str, silence: timedelta) -> Any:
    [finding] = calls.evaluated(CHECKS[what], NOON + silence, f"{what}_silence").values()
    return finding["severity"]


@pytest.mark.parametrize(("what", "count", "unit", "cells"), EXAMPLES, ids=lambda value: str(value).strip())
def test_silence_is_judged_as_the_explanation_says(
    what: str, count: str, unit: str, cells: str, connection: psycopg.Connection[Any]
) -> None:
    calls = Calls(connection)
    for number in reversed(range(6)):
        report(calls, what, number, timedelta(**{unit: int(count)}))
    since = [(level, cell.strip()) for level, cell in zip(LEVELS, cells.split("|"), strict=True) if cell.strip() != "–"]
    last_level = None

    for level, cell in since:
        found = re.fullmatch(r"(\d+) minutes", cell)
        assert found is not None
        moment = int(found[1]) * MINUTE
        assert last_level == severity_after(calls, what, moment - SLICE)
        assert level == severity_after(calls, what, moment)
        last_level = level
    assert last_level == severity_after(calls, what, HORIZON)


def test_the_explanation_has_examples_of_all_three_kinds() -> None:
    assert {"component", "queue", "host"} == {what for what, *_ in EXAMPLES}
