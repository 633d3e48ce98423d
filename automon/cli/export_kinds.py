"""What can be taken out: the kinds of facts, their columns in the order of the output, and the order of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ColumnType = Literal["integer", "number", "text", "time", "json"]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of facts. `order` names the two columns that its rows are in the order of."""

    columns: Mapping[str, ColumnType]
    order: tuple[str, str]

    def position(self, row: Row) -> list[Any]:
        """Return where a row stands, as `export_facts` takes it to go on behind it."""
        return [row[column] for column in self.order]

    def values(self, row: Row) -> list[Any]:
        return [row[column] for column in self.columns]


KINDS: dict[str, Kind] = {
    "tasks": Kind(
        columns={
            "id": "integer",
            "task_id": "text",
            "parent_task_id": "text",
            "task_type": "text",
            "worker_id": "text",
            "status": "text",
            "start_time": "time",
            "end_time": "time",
            "duration_seconds": "number",
            "input_size": "integer",
            "output_size": "integer",
            "heartbeat_at": "time",
            "progress": "number",
            "current_step": "text",
            "step_timings": "json",
            "error_message": "text",
        },
        order=("end_time", "id"),
    ),
    "running": Kind(
        columns={
            "id": "integer",
            "task_id": "text",
            "parent_task_id": "text",
            "task_type": "text",
            "worker_id": "text",
            "start_time": "time",
            "input_size": "integer",
            "heartbeat_at": "time",
            "progress": "number",
            "current_step": "text",
        },
        order=("start_time", "id"),
    ),
    "errors": Kind(
        columns={
            "occurred_at": "time",
            "fact_id": "text",
            "task_id": "text",
            "component": "text",
            "error_type": "text",
            "severity": "text",
            "error_message": "text",
            "stack_trace": "text",
            "context": "json",
        },
        order=("occurred_at", "fact_id"),
    ),
    "metrics": Kind(
        columns={
            "recorded_at": "time",
            "fact_id": "text",
            "component": "text",
            "metric_name": "text",
            "metric_type": "text",
            "value": "number",
            "unit": "text",
            "tags": "json",
        },
        order=("recorded_at", "fact_id"),
    ),
    "health": Kind(
        columns={
            "id": "integer",
            "component_type": "text",
            "component_name": "text",
            "status": "text",
            "started_at": "time",
            "ended_at": "time",
            "last_reported_at": "time",
            "report_count": "integer",
            "response_time_ms": "number",
            "failure_reason": "text",
            "details": "json",
        },
        order=("started_at", "id"),
    ),
    "queues": Kind(
        columns={
            "queue_name": "text",
            "recorded_at": "time",
            "pending": "integer",
            "processing": "integer",
            "completed": "integer",
            "failed": "integer",
            "oldest_pending_seconds": "number",
        },
        order=("queue_name", "recorded_at"),
    ),
    "hosts": Kind(
        columns={
            "host": "text",
            "sampled_at": "time",
            "cpu_percent": "number",
            "memory_percent": "number",
            "swap_percent": "number",
            "disk_percent": "number",
            "load_per_core": "number",
            "sample": "json",
        },
        order=("host", "sampled_at"),
    ),
    "alerts": Kind(
        columns={
            "id": "integer",
            "alert_type": "text",
            "source": "text",
            "severity": "text",
            "summary": "text",
            "value": "number",
            "threshold": "number",
            "unit": "text",
            "opened_at": "time",
            "last_seen_at": "time",
            "peak_severity": "text",
            "peak_value": "number",
            "peak_summary": "text",
            "peak_at": "time",
            "acknowledged_at": "time",
            "acknowledged_by": "text",
            "acknowledged_note": "text",
            "resolved_at": "time",
            "resolved_by": "text",
            "evidence": "json",
        },
        order=("opened_at", "id"),
    ),
}
