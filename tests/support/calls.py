"""Calls of the SQL functions, on a connection that finds nothing by an unqualified name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

# A moment that has passed on every machine, in the middle of a UTC day and of an hour's checks.
NOON = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Row = dict[str, Any]


# Unescaped: a database whose encoding is not UTF-8 may not know what an escape stands for.
dumps = partial(json.dumps, ensure_ascii=False)


def adapted(value: object) -> object:
    return Jsonb(value, dumps) if isinstance(value, Mapping) else value


class Calls:
    """A database session: `calls("start_task_tracking", "id", p_at=NOON)` answers what that function answers."""

    def __init__(self, connection: psycopg.Connection[Any], schema: str = "public") -> None:
        self.connection = connection
        self.schema = schema

    def __call__(self, function: str, *arguments: object, **named: object) -> Any:
        [row] = self.rows(function, *arguments, **named)
        [value] = row.values()
        return value

    def rows(self, function: str, *arguments: object, **named: object) -> list[Row]:
        """Answer every row of a function that answers rows."""
        parts = [sql.Placeholder()] * len(arguments) + [
            sql.SQL("{} => %s").format(sql.Identifier(name)) for name in named
        ]
        query = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(self.schema, function), sql.SQL(", ").join(parts))
        return self._fetch(query, [adapted(value) for value in (*arguments, *named.values())])

    def ask(self, query: str, *values: object) -> list[Row]:
        """Run a query and answer its rows, or none for a statement without."""
        return self._fetch(query.encode(), [adapted(value) for value in values])

    def one(self, query: str, *values: object) -> Any:
        """Answer the only column of the only row."""
        [row] = self.ask(query, *values)
        [value] = row.values()
        return value

    def _fetch(self, query: bytes | sql.Composed, values: Sequence[object]) -> list[Row]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def use_usual_forms(self) -> None:
        """Have moments and spans written as they are here, whatever the database's settings say."""
        self.ask(
            "SELECT set_config(name, value, false) FROM (VALUES ('TimeZone', 'UTC'), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres')) AS form (name, value)"
        )

    # Facts in numbers -----------------------------------------------------------------------------------------

    def record_errors(
        self, count: int, component: str = "billing", *, until: datetime = NOON, severity: str = "medium"
    ) -> None:
        """Record that many errors, a second apart, the last at that moment."""
        self.ask(
            "SELECT public.record_error('task-' || n, 'timeout', %s, 'no answer after ' || n || ' ms', %s, p_at => %s - n * interval '1 second')"
            " FROM generate_series(0, %s) AS n",
            severity, component, until, count - 1,
        )  # fmt: skip

    def run_tasks(
        self,
        count: int,
        task_type: str = "ocr",
        *,
        status: str = "completed",
        seconds: float = 10,
        ended: datetime = NOON,
        prefix: str = "task",
    ) -> None:
        """Record that many tasks, all of that duration, that ended at that moment."""
        started = ended - timedelta(seconds=seconds)
        for number in range(count):
            self("start_task_tracking", f"{prefix}-{number}", task_type, None, "worker-1", p_at=started)
            message = "disk full" if status == "failed" else None
            self("complete_task_tracking", f"{prefix}-{number}", status, p_error_message=message, p_at=ended)

    def evaluated(self, function: str, now: datetime, alert_type: str | None = None) -> dict[str, Row]:
        """Answer the findings of a check at a moment, by source."""
        findings = self.rows(function, now)
        return {row["source"]: row for row in findings if alert_type in {None, row["alert_type"]}}

    def configure(
        self,
        *,
        settings: Mapping[str, float] | None = None,
        channels: Sequence[Row] = (),
        overrides: Sequence[Row] = (),
    ) -> None:
        """Put the shipped thresholds in force, with these settings, channels and overrides."""
        shipped = self.ask(
            "SELECT alert_type, source, low, medium, high, critical FROM public.monitoring_thresholds WHERE source = '*'"
        )
        self(
            "sync_configuration",
            {"thresholds": [*shipped, *overrides], "settings": settings or {}, "channels": list(channels)},
        )


KINDS = ("opened", "escalated", "eased", "acknowledged", "reminded", "resolved")


def channel(
    name: str = "ops",
    *,
    recipients: Sequence[str] = ("",),
    min_severity: str = "low",
    notify_on: Sequence[str] = KINDS,
    **more: object,
) -> Row:
    """A channel of a config; `more` may be fallback, fallback_after_seconds and fingerprint."""
    told = {"min_severity": min_severity, "notify_on": list(notify_on)}
    return {"name": name, "recipients": list(recipients), **told, **more}


# What every service brings beside the channels of its config: told of nothing but what the others cannot say.
JOURNAL = channel("journal", notify_on=())
