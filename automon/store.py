"""One typed call for each SQL function that automon uses. No other module of the service speaks SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from automon.database import Database
from automon.errors import SchemaMissingError
from automon.models import HostSample, Notification, OpenAlert, Severity, TransitionKind

Row = tuple[Any, ...]
Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedDelivery:
    """A delivery that is ours to send until its lease ends."""

    channel: str
    recipient: str
    first_attempt_at: datetime
    notification: Notification

    @classmethod
    def from_document(cls, document: Document) -> ClaimedDelivery:
        return cls(
            channel=document["channel"],
            recipient=document["recipient"],
            first_attempt_at=datetime.fromisoformat(document["first_attempt_at"]),
            notification=notification_from_document(document),
        )


def moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def notification_from_document(document: Document) -> Notification:
    """Read what `delivery_message` wrote."""
    same = (
        "delivery_id", "attempt", "uncertain", "alert_id", "alert_type", "source", "summary", "value", "threshold", "unit", "evidence",
        "peak_summary", "acknowledged_by", "acknowledged_note", "actor", "note",
    )  # fmt: skip
    previous = document["previous_severity"]
    return Notification(
        **{key: document[key] for key in same},
        kind=TransitionKind(document["kind"]),
        at=datetime.fromisoformat(document["at"]),
        severity=Severity(document["severity"]),
        previous_severity=None if previous is None else Severity(previous),
        opened_at=datetime.fromisoformat(document["opened_at"]),
        peak_severity=Severity(document["peak_severity"]),
        peak_at=datetime.fromisoformat(document["peak_at"]),
        acknowledged_at=moment(document["acknowledged_at"]),
        also_open=tuple(open_alert_from_document(other) for other in document["also_open"]),
    )


def open_alert_from_document(document: Document) -> OpenAlert:
    return OpenAlert(
        alert_id=document["alert_id"],
        alert_type=document["alert_type"],
        source=document["source"],
        severity=Severity(document["severity"]),
        summary=document["summary"],
        opened_at=datetime.fromisoformat(document["opened_at"]),
        acknowledged_by=document["acknowledged_by"],
    )


class Store:
    """The SQL functions of one schema. Every call is one round trip and raises DatabaseUnavailableError without a database."""

    def __init__(self, database: Database, schema: str = "public") -> None:
        self.database = database
        self._schema = schema

    def _rows(self, function: str, *arguments: object) -> list[Row]:
        query = sql.SQL("SELECT * FROM {}({})").format(
            sql.Identifier(self._schema, function), sql.SQL(", ").join([sql.Placeholder()] * len(arguments))
        )
        with self.database.connection() as connection:
            try:
                return connection.execute(query, arguments).fetchall()
            except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
                # With a context the error comes from inside one of the functions, and is a bug.
                if error.diag.context is not None:
                    raise
                raise self._missing(function) from None

    def _missing(self, name: str) -> SchemaMissingError:
        return SchemaMissingError(
            f"the schema {self._schema} of {self.database.description} has no {name}", hint="Run `automon migrate`."
        )

    def _value(self, function: str, *arguments: object) -> Any:
        [(value,)] = self._rows(function, *arguments)
        return value

    def _table(self, name: str, columns: Sequence[str]) -> list[Document]:
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(self._schema, name)
        )
        with self.database.connection() as connection:
            try:
                rows = connection.execute(query).fetchall()
            except psycopg.errors.UndefinedTable:
                raise self._missing(name) from None
            return [dict(zip(columns, row, strict=True)) for row in rows]

    # Facts ----------------------------------------------------------------------------------------------------

    def record_host_sample(self, sample: HostSample) -> bool:
        return cast(bool, self._value("record_host_sample", sample.host, Jsonb(sample.values), sample.sampled_at))

    # Checks and clean-up --------------------------------------------------------------------------------------

    def run_monitoring_checks(self, now: datetime) -> int:
        """Judge a moment; answer how many alerts changed."""
        return cast(int, self._value("run_monitoring_checks", now))

    def cleanup_old_monitoring_data(self, now: datetime) -> Document:
        return cast(Document, self._value("cleanup_old_monitoring_data", now))

    # Configuration --------------------------------------------------------------------------------------------

    def sync_configuration(self, document: Mapping[str, Any]) -> None:
        self._rows("sync_configuration", Jsonb(document))

    # Deliveries -----------------------------------------------------------------------------------------------

    def claim_deliveries(self, channel: str, holder: str, lease: timedelta, limit: int = 1) -> list[ClaimedDelivery]:
        return [
            ClaimedDelivery.from_document(row[0])
            for row in self._rows("claim_deliveries", channel, holder, lease, limit)
        ]

    def finish_sent(self, delivery_id: int, holder: str, *, duration: timedelta, answer: str) -> bool:
        return cast(
            bool, self._value("finish_delivery_attempt", delivery_id, holder, "sent", duration.total_seconds(), answer)
        )

    def finish_failed(
        self, delivery_id: int, holder: str, *, duration: timedelta, detail: str, reason: str, uncertain: bool,
        retry_after: timedelta | None, final_status: str | None,
    ) -> bool:  # fmt: skip
        return cast(
            bool,
            self._value(
                "finish_delivery_attempt", delivery_id, holder, "failed", duration.total_seconds(), detail,
                reason, uncertain, retry_after, final_status,
            ),
        )  # fmt: skip

    def next_delivery_in(self, channel: str) -> timedelta | None:
        return cast(timedelta | None, self._value("next_delivery_in", channel))

    # automon's own jobs ---------------------------------------------------------------------------------------

    def begin_job_run(self, job: str, instance: str, at: datetime) -> int:
        return cast(int, self._value("begin_job_run", job, instance, at))

    def finish_job_run(
        self, run_id: int, outcome: str, counts: Mapping[str, object], error: str | None, at: datetime
    ) -> bool:
        return cast(bool, self._value("finish_job_run", run_id, outcome, Jsonb(counts), error, at))

    def last_success_of(self, job: str) -> datetime | None:
        return cast(datetime | None, self._value("last_success_of", job))

    # People ---------------------------------------------------------------------------------------------------

    def dashboard_summary(self, now: datetime) -> Document:
        return cast(Document, self._value("get_dashboard_summary", now))

    def active_alerts(self) -> list[Document]:
        """List the open alerts, worst first."""
        columns = (
            "id", "alert_type", "source", "severity", "status", "summary", "opened_at", "age_seconds", "last_seen_at", "peak_summary", "peak_at",
            "acknowledged_at", "acknowledged_by", "acknowledged_note", "silenced_until", "evidence",
        )  # fmt: skip
        return self._table("v_active_alerts", columns)

    def acknowledge_alert(self, alert_id: int, by: str, note: str | None) -> bool:
        return cast(bool, self._value("acknowledge_alert", alert_id, by, note))

    def resolve_alert(self, alert_id: int, by: str, note: str | None) -> bool:
        return cast(bool, self._value("resolve_alert", alert_id, by, note))

    def silence_alerts(self, source: str, duration: timedelta, reason: str, by: str, alert_type: str) -> int:
        return cast(int, self._value("silence_alerts", source, duration, reason, by, alert_type))

    def end_silence(self, silence_id: int) -> bool:
        return cast(bool, self._value("end_silence", silence_id))

    def alert_story(self, alert_id: int) -> Document | None:
        """Tell an alert with its transitions and their deliveries; None for a number that there is not."""
        return cast(Document | None, self._value("get_alert_story", alert_id))
