"""Write the dashboards below `examples/grafana/dashboards`, from the panels and queries that stand here: `make generate`.

Each query reads views and functions that automon_reader may use. Grafana puts the time range in place of its macros:
$__timeFilter(at), $__timeGroupAlias(at, $__interval), $__timeFrom(), $__timeTo().
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path("examples/grafana/dashboards")
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "automon"}
COLUMNS = 24
# Colours by severity; none of them rests on red against green.
SEVERITIES = {"low": "blue", "medium": "yellow", "high": "orange", "critical": "red"}

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """`units` are those of columns that differ from `unit`; `colors` are fixed by the name of a series.

    `range` is a range of its own, whatever the dashboard shows ("30d").
    """

    title: str
    kind: str
    sql: str
    unit: str = "short"
    units: dict[str, str] = field(default_factory=dict)
    colors: dict[str, str] = field(default_factory=dict)
    description: str = ""
    width: int = 12
    height: int = 8
    range: str = ""
    stacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    span: str
    panels: tuple[Panel, ...]


def of_busiest(sql: str, column: str, measure: str) -> str:
    """Limit a chart to the fifteen names with the most of something: more lines cannot be told from each other."""
    view = sql.partition(" FROM ")[2].split()[0]
    chosen = (
        "SELECT {column} FROM {view} WHERE $__timeFilter(at) GROUP BY {column} ORDER BY sum({measure}) DESC LIMIT 15"
    )
    limit = f"{column} IN ({chosen})".replace("{column}", column).replace("{view}", view).replace("{measure}", measure)
    return sql.replace("WHERE $__timeFilter(at)", f"WHERE $__timeFilter(at) AND {limit}", 1)


# By the beginning of the hour: its end, by which rollups are named, lies in the future while it lasts.
HOURLY = """SELECT at - interval '1 hour' AS "time", {name}, sum({measure}) AS {measure} FROM {view} WHERE at > $__timeFrom() AND at <= $__timeTo()::timestamptz + interval '1 hour' GROUP BY 1, 2 ORDER BY 1"""

ALERTS = Panel(
    title="Open alerts",
    kind="table",
    width=24,
    description="What is beyond its limits now, worst first.",
    units={"age": "s"},
    sql="SELECT severity, alert_type AS type, source, summary, age_seconds AS age, status, acknowledged_by AS by, id FROM v_active_alerts",
)

OVERVIEW = Dashboard(
    uid="automon-overview",
    title="automon: overview",
    description="What is wrong, and how much there is to do.",
    span="6h",
    panels=(
        Panel(
            title="Open alerts by severity", kind="stat", width=8, height=4, colors=SEVERITIES,
            sql="SELECT count(*) FILTER (WHERE severity = 'critical') AS critical, count(*) FILTER (WHERE severity = 'high') AS high, count(*) FILTER (WHERE severity = 'medium') AS medium, count(*) FILTER (WHERE severity = 'low') AS low FROM v_active_alerts",
        ),
        Panel(
            title="Tasks", kind="stat", width=8, height=4, description="Running now, and ended within the last hour.",
            sql="SELECT COALESCE(sum(running), 0) AS running, COALESCE(sum(completed_last_hour), 0) AS completed, COALESCE(sum(failed_last_hour), 0) AS failed FROM v_realtime_processing_status",
        ),
        Panel(title="Errors, last hour", kind="stat", width=4, height=4, sql="SELECT COALESCE(sum(errors_last_hour), 0) AS errors FROM v_error_summary"),
        Panel(title="Services that watch", kind="stat", width=4, height=4, sql="SELECT count(*) AS services FROM v_services WHERE is_alive"),
        ALERTS,
        Panel(
            title="Tasks that ended", kind="timeseries", stacked=True, colors={"completed": "blue", "failed": "red", "cancelled": "text"},
            sql="SELECT $__timeGroupAlias(at, $__interval), status, sum(tasks) AS tasks FROM v_task_minutes WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Errors by severity", kind="timeseries", stacked=True, colors=SEVERITIES,
            sql="SELECT $__timeGroupAlias(at, $__interval), severity, sum(errors) AS errors FROM v_error_minutes WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Queues", kind="table", units={"oldest": "s", "empty in": "s", "reported": "s"},
            sql='SELECT queue_name AS queue, pending AS waiting, oldest_pending_seconds AS oldest, change_1h AS "change in 1 h", seconds_to_empty AS "empty in", report_age_seconds AS reported FROM v_queue_performance',
        ),
        Panel(
            title="Components", kind="table", units={"for": "s", "response": "ms", "uptime 24 h": "percent", "uptime 7 d": "percent", "reported": "s"},
            sql='SELECT component_type AS type, component_name AS component, status, status_age_seconds AS "for", response_time_ms AS response, uptime_24h_percent AS "uptime 24 h", uptime_7d_percent AS "uptime 7 d", report_age_seconds AS reported FROM v_system_health_summary',
        ),
        Panel(
            title="Alerts that were opened", kind="table", width=24, units={"open for": "s"},
            sql='SELECT at AS time, peak_severity AS worst, alert_type AS type, source, summary, open_seconds AS "open for", resolved_at AS resolved, acknowledged_by AS by, id FROM v_alert_history WHERE $__timeFilter(at) ORDER BY at DESC LIMIT 200',
        ),
    ),
)  # fmt: skip

TASKS = Dashboard(
    uid="automon-tasks",
    title="automon: tasks and errors",
    description="How much is done, how long it takes, and what fails.",
    span="24h",
    panels=(
        Panel(
            title="Tasks by type", kind="timeseries", description="The fifteen busiest types.",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), task_type, sum(tasks) AS tasks FROM v_task_minutes WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1", "task_type", "tasks"),
        ),
        Panel(
            title="Failed tasks by type", kind="timeseries",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), task_type, COALESCE(sum(tasks) FILTER (WHERE status = 'failed'), 0) AS failed FROM v_task_minutes WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1", "task_type", "tasks"),
        ),
        Panel(
            title="Mean duration by type", kind="timeseries", unit="s",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), task_type, sum(avg_seconds * tasks) / sum(tasks) AS seconds FROM v_task_minutes WHERE $__timeFilter(at) AND status <> 'cancelled' GROUP BY 1, 2 ORDER BY 1", "task_type", "tasks"),
        ),
        Panel(
            title="Slowest task by type", kind="timeseries", unit="s",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), task_type, max(max_seconds) AS seconds FROM v_task_minutes WHERE $__timeFilter(at) AND status <> 'cancelled' GROUP BY 1, 2 ORDER BY 1", "task_type", "tasks"),
        ),
        Panel(
            title="Task types, last hour", kind="table", width=24, height=9, units={"failing": "percent", "p50": "s", "p95": "s", "p99": "s", "oldest running": "s"},
            sql='SELECT task_type AS type, running, oldest_running_seconds AS "oldest running", completed_last_hour AS completed, failed_last_hour AS failed, failure_rate_percent AS failing, p50_seconds AS p50, p95_seconds AS p95, p99_seconds AS p99, last_ended_at AS "last end", last_error AS "last error" FROM v_realtime_processing_status',
        ),
        Panel(
            title="Errors by component", kind="timeseries", description="The fifteen components with the most errors.",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), component, sum(errors) AS errors FROM v_error_minutes WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1", "component", "errors"),
        ),
        Panel(
            title="Tasks waiting, by queue", kind="timeseries",
            sql=of_busiest("SELECT $__timeGroupAlias(at, $__interval), queue_name, max(pending) AS waiting FROM v_queue_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1", "queue_name", "pending"),
        ),
        Panel(
            title="Errors of 24 hours, by cause", kind="table", width=24, height=9, units={"last seen": "s"},
            sql='SELECT component, error_type AS type, errors_24h AS "24 h", errors_last_hour AS "1 h", critical, high, medium, low, affected_tasks AS tasks, last_seen_age_seconds AS "last seen", last_message AS message FROM v_error_summary',
        ),
        Panel(
            title="Tasks by hour, 30 days", kind="timeseries", stacked=True, range="30d", colors={"completed": "blue", "failed": "red", "cancelled": "text"},
            sql=HOURLY.format(name="status", measure="tasks", view="v_task_hours"),
        ),
        Panel(
            title="Errors by hour, 30 days", kind="timeseries", stacked=True, range="30d", colors=SEVERITIES,
            sql=HOURLY.format(name="severity", measure="errors", view="v_error_hours"),
        ),
    ),
)  # fmt: skip

HOSTS = Dashboard(
    uid="automon-hosts",
    title="automon: hosts, and automon itself",
    description="The machines, and whether automon does its work.",
    span="6h",
    panels=(
        Panel(
            title="Hosts", kind="table", width=24, height=7,
            units={"sampled": "s", "CPU": "percent", "memory": "percent", "swap": "percent", "disk": "percent", "free there": "bytes", "up": "s", "memory limit": "bytes"},
            sql='SELECT host, sample_age_seconds AS sampled, cpu_percent AS "CPU", memory_percent AS memory, swap_percent AS swap, disk_percent AS disk, fullest_disk AS "fullest disk", fullest_disk_free_bytes AS "free there", load_per_core AS "load per core", uptime_seconds AS up, container_memory_limit_bytes AS "memory limit", container_cpu_limit_cores AS "CPU limit" FROM v_host_summary',
        ),
        Panel(
            title="CPU", kind="timeseries", unit="percent",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, avg(cpu_percent) AS cpu FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Memory", kind="timeseries", unit="percent",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, max(memory_percent) AS memory FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Fullest disk", kind="timeseries", unit="percent",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, max(disk_percent) AS disk FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Time that tasks wait for the disk", kind="timeseries", unit="percent", description="Pressure on io, of the last ten seconds before each look.",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, max(io_pressure_percent) AS io FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Network", kind="timeseries", unit="Bps",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, avg(received_bytes_per_second) AS received, avg(sent_bytes_per_second) AS sent FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="CPU limit of the container used up", kind="timeseries", unit="percent", description="Share of the periods in which the container around the sampler was held back.",
            sql="SELECT $__timeGroupAlias(at, $__interval), host, max(container_cpu_throttled_percent) AS throttled FROM v_host_history WHERE $__timeFilter(at) GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="How long automon's jobs take", kind="timeseries", unit="s",
            sql="SELECT $__timeGroupAlias(at, $__interval), job, max(seconds) AS seconds FROM v_job_runs WHERE $__timeFilter(at) AND seconds IS NOT NULL GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Jobs that failed", kind="table", units={"took": "s"},
            sql="SELECT at AS time, job, instance, outcome, seconds AS took, error FROM v_job_runs WHERE $__timeFilter(at) AND outcome IN ('failed', 'abandoned') ORDER BY at DESC LIMIT 200",
        ),
        Panel(
            title="Seconds from an alert to its message", kind="timeseries", unit="s", description="The slowest message of each channel.",
            sql="SELECT $__timeGroupAlias(created_at, $__interval), channel, max(latency_seconds) AS seconds FROM v_deliveries WHERE $__timeFilter(created_at) AND status = 'sent' GROUP BY 1, 2 ORDER BY 1",
        ),
        Panel(
            title="Messages that have not arrived", kind="table",
            sql="SELECT created_at AS time, channel, recipient, subject, summary, status, attempts, why FROM v_deliveries WHERE $__timeFilter(created_at) AND status IN ('pending', 'sending', 'failed', 'expired') ORDER BY created_at DESC LIMIT 200",
        ),
        Panel(
            title="Services", kind="table", units={"last beat": "s"},
            sql='SELECT instance, version, started_at AS since, beat_age_seconds AS "last beat", is_alive AS alive FROM v_services',
        ),
        Panel(
            title="When nobody watched", kind="table", units={"for": "s"},
            sql='SELECT at AS time, ended_at AS "until", seconds AS "for", why FROM v_blind_periods WHERE $__timeFilter(at) ORDER BY at DESC LIMIT 200',
        ),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, TASKS, HOSTS)


def document_of(dashboard: Dashboard) -> Document:
    """Return the dashboard as Grafana stores one (schema version 39, Grafana 10.4 and later)."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["automon"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": f"now-{dashboard.span}", "to": "now"},
        "links": [_link_to(other) for other in DASHBOARDS if other is not dashboard],
        "templating": {"list": []},
        "annotations": {"list": [_alerts_as_annotations()]},
        "panels": list(_placed(dashboard)),
    }


def _link_to(dashboard: Dashboard) -> Document:
    return {"title": dashboard.title, "type": "link", "url": f"/d/{dashboard.uid}", "keepTime": True}


def _alerts_as_annotations() -> Document:
    sql = "SELECT at AS time, resolved_at AS timeend, alert_type || ' ' || source || ': ' || summary AS text, peak_severity AS tags FROM v_alert_history WHERE $__timeFilter(at) AND peak_severity IN ('high', 'critical') ORDER BY at LIMIT 200"
    return {
        "name": "Alerts, high and critical",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "target": {"format": "table", "rawQuery": True, "rawSql": sql, "refId": "alerts"},
    }


def _placed(dashboard: Dashboard) -> Iterator[Document]:
    """Lay the panels out from left to right, row by row; a row is as high as the highest in it."""
    x = y = row = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row = 0, y + row, 0
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}, dashboard)
        x, row = x + panel.width, max(row, panel.height)


def _panel(panel: Panel, number: int, place: dict[str, int], dashboard: Dashboard) -> Document:
    is_series = panel.kind == "timeseries"
    target = {
        "datasource": SOURCE,
        "editorMode": "code",
        "format": "time_series" if is_series else "table",
        "rawQuery": True,
        "rawSql": panel.sql,
        "refId": "A",
    }
    document: Document = {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [target],
        "fieldConfig": _fields(panel),
        "options": _OPTIONS[panel.kind],
        "links": [] if dashboard is OVERVIEW else [_link_to_alerts()],
    }
    if panel.description:
        document["description"] = panel.description
    if panel.range:
        document["timeFrom"] = panel.range
    return document


def _link_to_alerts() -> Document:
    number = OVERVIEW.panels.index(ALERTS) + 1
    return {"title": "Open alerts", "url": f"/d/{OVERVIEW.uid}?viewPanel={number}&${{__url_time_range}}"}


_OPTIONS: dict[str, Document] = {
    "stat": {"colorMode": "value", "graphMode": "none", "textMode": "value_and_name", "reduceOptions": {"calcs": ["lastNotNull"]}},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
}  # fmt: skip


def _fields(panel: Panel) -> Document:
    defaults: Document = {"unit": panel.unit}
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": False, "stacking": {"mode": "normal" if panel.stacked else "none"}}  # fmt: skip
    elif panel.kind == "table":
        defaults["custom"] = {"align": "auto", "filterable": True}
    return {"defaults": defaults, "overrides": [*_unit_overrides(panel.units), *_color_overrides(panel)]}


def _unit_overrides(units: dict[str, str]) -> Iterator[Document]:
    for column, unit in units.items():
        yield _override("byName", column, {"id": "unit", "value": unit})


def _color_overrides(panel: Panel) -> Iterator[Document]:
    for name, color in panel.colors.items():
        # A series of a chart is named by its column and its labels.
        matcher = ("byRegexp", f"/\\b{name}\\b/") if panel.kind == "timeseries" else ("byName", name)
        yield _override(*matcher, {"id": "color", "value": {"mode": "fixed", "fixedColor": color}})
    if panel.kind == "table" and ("severity" in panel.sql):
        for column in ("severity", "worst"):
            yield _override("byName", column, _colored_words())


def _override(matcher: str, option: str, *properties: Document) -> Document:
    return {"matcher": {"id": matcher, "options": option}, "properties": list(properties)}


def _colored_words() -> Document:
    options = {name: {"color": color, "index": index} for index, (name, color) in enumerate(SEVERITIES.items())}
    return {"id": "mappings", "value": [{"type": "value", "options": options}]}


def files(dashboards: Sequence[Dashboard] = DASHBOARDS) -> dict[str, str]:
    """Return the text of each file by its name."""
    return {f"{board.uid}.json": json.dumps(document_of(board), indent=2) + "\n" for board in dashboards}


def main() -> None:
    """Write the files into the checkout that this runs in."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
