"""The dashboards for Grafana: written by code, whole, and every query of them answered to a reader."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from docs.generate.grafana import DASHBOARDS, FOLDER, SOURCE, files
from tests.support.calls import Calls

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "examples/grafana/provisioning"
Document = dict[str, Any]

boards: dict[str, Document] = {name: json.loads(text) for name, text in files().items()}
panels = [
    pytest.param(board, panel, id=f"{board['uid']}: {panel['title']}")
    for board in boards.values()
    for panel in board["panels"]
]


def expanded(query: str) -> str:
    """Put a range of six hours and steps of a minute in place of Grafana's macros, as its PostgreSQL data source does."""
    query = re.sub(
        r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '6 hours' AND now() + interval '1 minute'", query
    )
    query = re.sub(
        r"\$__timeGroupAlias\((\w+), \$__interval\)",
        r"(floor(extract(epoch FROM \1) / 60) * 60)::bigint AS " + '"time"',
        query,
    )
    query = query.replace("$__timeFrom()", "(now() - interval '6 hours')").replace("$__timeTo()", "now()")
    assert "$__" not in query
    return query


@pytest.fixture
def lived_in(database_url: str, connection: psycopg.Connection[Any]) -> Calls:
    """A database in which everything has happened once, as a reader sees it."""
    calls = Calls(connection)
    now = calls.one("SELECT clock_timestamp()")
    calls("beat", "ops-1:a")
    calls.run_tasks(3, "ocr", ended=now)
    calls.run_tasks(1, "ocr", status="failed", ended=now, prefix="failed")
    calls.record_errors(2, until=now)
    calls.configure(channels=[{"name": "ops", "recipients": [""], "min_severity": "low", "notify_on": ["opened"]}])
    calls("update_queue_metrics", "mail", 250)
    calls("update_system_health", "api", "main", "healthy", 12.5)
    calls("record_host_sample", "ops-1", {"cpu_percent": 9, "disks": [{"mount": "/var", "percent": 50}]})
    calls("check_queue_backlog_alerts")
    for outcome in ("succeeded", "failed"):
        calls("finish_job_run", calls("begin_job_run", "alert_checks", "ops-1:a"), outcome)
    calls.ask(
        "INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s - interval '1 hour', %s, 'asleep')",
        now,
        now,
    )
    calls("roll_up")
    calls.ask("SET ROLE automon_reader")
    calls.ask("SET search_path = public")
    return calls


# Nothing has been sent here.
EMPTY = {"Seconds from an alert to its message"}


@pytest.mark.session("SET ROLE")
def test_every_query_is_answered_to_a_reader(lived_in: Calls) -> None:
    for board in boards.values():
        for panel in board["panels"]:
            [target] = panel["targets"]
            rows = lived_in.ask(expanded(target["rawSql"]).replace("%", "%%"))
            assert bool(rows) == (panel["title"] not in EMPTY), panel["title"]
            assert_fits(panel, rows)
        [annotation] = board["annotations"]["list"]
        lived_in.ask(expanded(annotation["target"]["rawSql"]).replace("%", "%%"))


def assert_fits(panel: Document, rows: list[Document]) -> None:
    """Check that a chart has times, names and numbers, and that what is said of columns is said of columns that there are."""
    for row in rows:
        if panel["type"] == "timeseries":
            assert isinstance(row["time"], int | datetime), panel["title"]
            kinds = [type(value) for name, value in row.items() if name != "time" and value is not None]
            assert all(issubclass(kind, str | int | float) or kind.__name__ == "Decimal" for kind in kinds), panel[
                "title"
            ]
        named = {
            override["matcher"]["options"]
            for override in panel["fieldConfig"]["overrides"]
            if override["matcher"]["id"] == "byName"
        }
        assert named - {"severity", "worst"} <= row.keys(), panel["title"]


def test_what_is_committed_is_what_is_written() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in (ROOT / FOLDER).iterdir()} == files(), (
        "run `python -m docs.generate.grafana`"
    )


def test_dashboards_can_be_told_from_each_other_and_lead_to_each_other() -> None:
    assert len({board["uid"] for board in boards.values()}) == len(DASHBOARDS) == 3
    for board in boards.values():
        assert re.fullmatch(r"[a-z-]{1,40}", board["uid"])
        assert {link["url"] for link in board["links"]} == {f"/d/{other['uid']}" for other in boards.values()} - {
            f"/d/{board['uid']}"
        }
        assert board["tags"] == ["automon"]
        assert (board["schemaVersion"], board["time"]["to"]) == (39, "now")


@pytest.mark.parametrize(("board", "panel"), panels)
def test_a_panel_has_all_that_grafana_wants_to_know(board: Document, panel: Document) -> None:
    [target] = panel["targets"]
    place = panel["gridPos"]

    assert panel["type"] in {"timeseries", "table", "stat"}
    assert panel["datasource"] == target["datasource"] == SOURCE
    assert target["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
    assert (target["rawQuery"], target["refId"]) == (True, "A")
    assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "percent", "Bps"}
    assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
    assert panel["type"] != "timeseries" or "$__time" in target["rawSql"].partition("WHERE")[2]


@pytest.mark.parametrize("board", boards.values(), ids=boards)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(board: Document) -> None:
    taken = [cell for panel in board["panels"] for cell in cells(panel["gridPos"])]

    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(taken) == len(set(taken))


def cells(place: Document) -> list[tuple[int, int]]:
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]


def test_panels_lead_to_the_open_alerts() -> None:
    overview = boards["automon-overview.json"]
    [alerts] = [panel["id"] for panel in overview["panels"] if panel["title"] == "Open alerts"]

    for board in boards.values():
        for panel in board["panels"]:
            if board is not overview:
                assert [link["url"].partition("&")[0] for link in panel["links"]] == [
                    f"/d/automon-overview?viewPanel={alerts}"
                ]


def test_the_data_source_is_the_one_that_the_dashboards_name() -> None:
    yaml: Any = pytest.importorskip("yaml")
    [source] = yaml.safe_load((PROVISIONING / "datasources/automon.yaml").read_text(encoding="utf-8"))["datasources"]
    [provider] = yaml.safe_load((PROVISIONING / "dashboards/automon.yaml").read_text(encoding="utf-8"))["providers"]

    assert {"type": source["type"], "uid": source["uid"]} == SOURCE
    assert source["secureJsonData"]["password"] == "${AUTOMON_GRAFANA_PASSWORD}"
    assert (provider["type"], provider["options"]["path"]) == ("file", "/var/lib/grafana/dashboards/automon")
