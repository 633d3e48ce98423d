"""One typed call for each SQL function that automon uses. No other module of the service speaks SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from automon.database import Database
from automon.errors import ConfigRefusedError, SchemaMissingError
from automon.models import (
    Canary,
    Digest,
    DigestCause,
    DigestEntry,
    HostSample,
    Notification,
    OpenAlert,
    Replica,
    Severity,
    TransitionKind,
)

Row = tuple[Any, ...]
Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedDelivery:
    """A message that is ours to send until its lease ends. `channel_failures` counts the channel's failures in a row."""

    channel: str
    recipient: str
    first_attempt_at: datetime
    channel_failures: int
    content: Notification | Digest | Canary

    @classmethod
    def from_document(cls, document: Document) -> ClaimedDelivery:
        return cls(
            channel=document["channel"],
            recipient=document["recipient"],
            first_attempt_at=datetime.fromisoformat(document["first_attempt_at"]),
            channel_failures=document["channel_failures"],
            content=content_from_document(document),
        )


def content_from_document(document: Document) -> Notification | Digest | Canary:
    match document["subject"]:
        case "transition":
            return notification_from_document(document)
        case "digest":
            return digest_from_document(document)
        case "canary":
            return canary_from_document(document)
        case other:
            raise ValueError(f"unknown subject {other!r} of a delivery")


def _json(value: Any) -> Jsonb:
    # Unescaped: a database whose encoding is not UTF-8 may not know what an escape stands for.
    return Jsonb(value, partial(json.dumps, ensure_ascii=False))


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


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
        instead_of=document["instead_of"] or "",
        also_open=tuple(open_alert_from_document(other) for other in document["also_open"]),
    )


def digest_from_document(document: Document) -> Digest:
    same = ("delivery_id", "attempt", "uncertain", "alerts", "transitions", "more_causes")
    return Digest(
        **{key: document[key] for key in same},
        at=datetime.fromisoformat(document["at"]),
        first_at=datetime.fromisoformat(document["first_at"]),
        kinds={TransitionKind(kind): count for kind, count in document["kinds"].items()},
        severities={Severity(severity): count for severity, count in document["severities"].items()},
        entries=tuple(digest_entry_from_document(entry) for entry in document["entries"]),
        causes=tuple(DigestCause(words=cause["words"], count=cause["count"]) for cause in document["causes"]),
        instead_of=document["instead_of"] or "",
    )


def digest_entry_from_document(document: Document) -> DigestEntry:
    return DigestEntry(
        alert_id=document["alert_id"],
        alert_type=document["alert_type"],
        source=document["source"],
        kind=TransitionKind(document["kind"]),
        severity=Severity(document["severity"]),
        summary=document["summary"],
        opened_at=datetime.fromisoformat(document["opened_at"]),
    )


def canary_from_document(document: Document) -> Canary:
    return Canary(
        delivery_id=document["delivery_id"],
        attempt=document["attempt"],
        uncertain=document["uncertain"],
        asked_by=document["asked_by"],
        at=datetime.fromisoformat(document["at"]),
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


# The schema's own refusals, and what no column takes: a number out of range, a character that its encoding lacks.
_REFUSED_VALUES = ("AM", "22", "23")

# All that has arrived is shown, as long as somebody receives. Otherwise the age of the newest change is all that is known.
_REPLICA = """
SELECT pg_catalog.pg_is_in_recovery(),
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver)
        THEN interval '0' ELSE pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp() END
"""


class Store:
    """The SQL functions of one schema. Every call is one round trip and raises DatabaseUnavailableError without a database."""

    def __init__(self, database: Database, schema: str = "public") -> None:
        self.database = database
        self._schema = schema
        self._calls: dict[tuple[str, int], bytes] = {}

    def _call(self, function: str, arguments: int) -> bytes:
        """Write the call of a function, once: psycopg knows a text again, and a service asks the same every second."""
        if (function, arguments) not in self._calls:
            query = sql.SQL("SELECT * FROM {}({})").format(
                sql.Identifier(self._schema, function), sql.SQL(", ").join([sql.Placeholder()] * arguments)
            )
            self._calls[function, arguments] = query.as_bytes(None)
        return self._calls[function, arguments]

    def _rows(self, function: str, *arguments: object) -> list[Row]:
        query = self._call(function, len(arguments))
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

    def _report(self, function: str, **arguments: object) -> list[Document]:
        """Call a function by the names of its arguments, without those that are None; moments become ISO texts in UTC."""
        given = {name: value for name, value in arguments.items() if value is not None}
        parts = [sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder()) for name in given]
        query = sql.SQL("SELECT * FROM {}({})").format(
            sql.Identifier(self._schema, function), sql.SQL(", ").join(parts)
        )
        with self.database.connection() as connection:
            try:
                cursor = connection.execute(query, list(given.values()))
            except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
                if error.diag.context is not None:
                    raise
                raise self._missing(function) from None
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]

    def _answer(self, function: str, **arguments: object) -> Any:
        [row] = self._report(function, **arguments)
        [value] = row.values()
        return value

    def _documents(self, function: str, *arguments: object) -> list[Document]:
        return [cast(Document, row[0]) for row in self._rows(function, *arguments)]

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
        return cast(bool, self._value("record_host_sample", sample.host, _json(sample.values), sample.sampled_at))

    def update_system_health(self, component_type: str, name: str, status: str, reason: str | None) -> bool:
        return cast(bool, self._value("update_system_health", component_type, name, status, None, reason))

    def forget_source(self, kind: str, name: str) -> bool:
        """Expect no more reports of a queue, a host or a component; answer whether any were expected."""
        return cast(bool, self._value("forget_source", kind, name))

    # Checks and clean-up --------------------------------------------------------------------------------------

    def run_monitoring_checks(self, now: datetime) -> int:
        """Judge a moment; answer how many alerts changed."""
        return cast(int, self._value("run_monitoring_checks", now))

    def watch_facts(self, now: datetime) -> int:
        """Roll up the newest facts and raise what cannot wait; answer how many alerts changed."""
        return cast(int, self._value("watch_facts", now))

    def cleanup_old_monitoring_data(self) -> Document:
        """Remove what has passed its term, by the database's clock: a wrong one here must cost no facts."""
        return cast(Document, self._value("cleanup_old_monitoring_data"))

    # Configuration --------------------------------------------------------------------------------------------

    def sync_configuration(self, document: Mapping[str, Any]) -> None:
        """Put a config in force. Raises ConfigRefusedError for one that the database does not take."""
        try:
            self._rows("sync_configuration", _json(document))
        except psycopg.DatabaseError as error:
            if not str(error.sqlstate or "").startswith(_REFUSED_VALUES):
                raise
            message = f"the database refuses the config: {error.diag.message_primary}"
            raise ConfigRefusedError(message, hint=error.diag.message_hint or "") from None

    def record_config_judgements(self, instance: str, host: str, path: str, judgements: Sequence[Document]) -> int:
        """Keep what a service has judged of its file, oldest first; answer how many judgements said something new."""
        return cast(int, self._value("record_config_judgements", instance, host, path, _json(judgements)))

    def config_changes(self, limit: int) -> list[Document]:
        """List the newest changes of the configuration, by files and by SQL."""
        columns = (
            "id",
            "at",
            "noticed_by",
            "outcome",
            "actor",
            "host",
            "path",
            "file_changed_at",
            "changes",
            "problems",
        )
        return [dict(zip(columns, row, strict=True)) for row in self._rows("get_config_changes", limit)]

    def config_drift(self) -> list[Document]:
        """List thresholds and settings that SQL has changed since a service put its config in force."""
        columns = (
            "kind", "name", "source", "level", "file_value", "database_value", "origin", "changed_at", "changed_by",
        )  # fmt: skip
        return [dict(zip(columns, row, strict=True)) for row in self._rows("get_config_drift")]

    def config_in_force(self) -> Document:
        """Say which thresholds and settings checks work with now, and what of them is drift."""
        return cast(Document, self._value("get_config_in_force"))

    def source_kinds(self, source: str) -> list[str]:
        """Say what a name stands for, of component, task type, queue and host; empty when nothing reports by that name."""
        return cast(list[str], self._value("get_source_kinds", source))

    # Deliveries -----------------------------------------------------------------------------------------------

    def claim_delivery(self, channel: str, holder: str, *, lease: timedelta, pace: timedelta) -> ClaimedDelivery | None:
        document = self._value("claim_delivery", channel, holder, lease, pace)
        return None if document is None else ClaimedDelivery.from_document(document)

    def finish_sent(self, delivery_id: int, holder: str, *, duration: timedelta, answer: str) -> bool:
        seconds = duration.total_seconds()
        return cast(bool, self._value("finish_delivery_attempt", delivery_id, holder, "sent", seconds, answer))

    def finish_failed(
        self, delivery_id: int, holder: str, *, duration: timedelta, detail: str, reason: str, uncertain: bool,
        retry_after: timedelta | None = None, final_status: str | None = None,
        channel_pause: timedelta | None = None, stops_channel: bool = False,
    ) -> bool:  # fmt: skip
        outcome, seconds = "unknown" if uncertain else "failed", duration.total_seconds()
        return cast(
            bool,
            self._value(
                "finish_delivery_attempt", delivery_id, holder, outcome, seconds, detail,
                reason, retry_after, final_status, channel_pause, stops_channel,
            ),
        )  # fmt: skip

    def next_delivery_in(self, channel: str) -> timedelta | None:
        return cast(timedelta | None, self._value("next_delivery_in", channel))

    def tend_deliveries(self, now: datetime) -> Document:
        """Give up what is too old and hand on what channels cannot say; answer how many of each."""
        return cast(Document, self._value("tend_deliveries", now))

    # automon itself -------------------------------------------------------------------------------------------

    def beat(self, instance: str, *, version: str, why_blind: str) -> None:
        self._rows("beat", instance, version, why_blind)

    def leave(self, instance: str) -> None:
        self._rows("leave", instance)

    def report_outage(self, host: str, began: datetime, ended: datetime) -> bool:
        return cast(bool, self._value("report_outage", host, began, ended))

    def replica(self) -> Replica | None:
        """Say how far the replica that is read from is behind; None where the service can work."""
        with self.database.connection() as connection:
            [(is_replica, behind)] = connection.execute(_REPLICA).fetchall()
        return Replica(behind=behind) if is_replica else None

    def automon_health(self) -> Document:
        return cast(Document, self._value("get_automon_health"))

    def metrics(self, now: datetime, patience: timedelta) -> Document:
        """Say what /metrics tells; raises QueryCanceled when the database takes longer than that."""
        query = sql.SQL("SELECT {}({})").format(sql.Identifier(self._schema, "get_metrics"), sql.Placeholder())
        milliseconds = str(round(patience.total_seconds() * 1000))
        with self.database.connection() as connection:
            try:
                with connection.transaction():
                    # For this transaction alone: behind a pooler the session is another's next.
                    connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, true)", [milliseconds])
                    [(document,)] = connection.execute(query, [now]).fetchall()
            except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
                if error.diag.context is not None:
                    raise
                raise self._missing("get_metrics") from None
        return cast(Document, document)

    def check_automon_alerts(self, now: datetime) -> int:
        """Judge automon's own channels and jobs; answer how many alerts changed."""
        return cast(int, self._value("check_automon_alerts", now))

    def begin_job_run(self, job: str, instance: str) -> int:
        return cast(int, self._value("begin_job_run", job, instance))

    def claim_job_run(self, job: str, instance: str, pause: timedelta, due_since: datetime | None = None) -> int | None:
        """Begin a run for all services at once; None when it is not due, or another runs it."""
        return cast(int | None, self._value("claim_job_run", job, instance, pause, due_since))

    def finish_job_run(self, run_id: int, outcome: str, counts: Mapping[str, object], error: str | None) -> bool:
        return cast(bool, self._value("finish_job_run", run_id, outcome, _json(counts), error))

    def storage_report(self) -> list[Document]:
        """Say what each table of facts keeps, how much that is, and how far it is past its term."""
        columns = (
            "table_name",
            "kept_days",
            "oldest_day",
            "past_term_days",
            "partitions",
            "size_bytes",
            "tomorrow_is_prepared",
        )
        return [dict(zip(columns, row, strict=True)) for row in self._rows("storage_report")]

    def rollup_lag(self) -> Document:
        """Say how many seconds the rollups are behind the facts, and why."""
        columns = ("behind_seconds", "rolled_at", "facts_wait", "open_transactions", "since", "why")
        [row] = self._rows("rollup_lag")
        return dict(zip(columns, row, strict=True))

    # Export ---------------------------------------------------------------------------------------------------

    def export_facts(
        self, kind: str, since: datetime, until: datetime, after: list[Any] | None, limit: int
    ) -> list[Document]:
        """Return a page of facts in their order, behind the row that stands at `after`."""
        return self._documents("export_facts", kind, since, until, None if after is None else _json(after), limit)

    def export_estimate(self, kind: str, since: datetime, until: datetime) -> int | None:
        """Say about how many facts there are, without reading them."""
        return cast(int | None, self._value("export_estimate", kind, since, until))

    # People ---------------------------------------------------------------------------------------------------

    def dashboard_summary(self, now: datetime) -> Document:
        return cast(Document, self._value("get_dashboard_summary", now))

    def status(self, *, limit: int, now: datetime | None = None) -> Document:
        """Answer the dashboard summary, the open alerts, and that many of tasks, queues, hosts and components."""
        return cast(Document, self._answer("get_status", limit=limit, now=now))

    def alerts(
        self, *, is_open: bool = True, source: str | None = None, severity: str | None = None,
        alert_type: str | None = None, since: datetime | None = None, unacknowledged: bool = False,
        limit: int | None = None, now: datetime | None = None,
    ) -> list[Document]:  # fmt: skip
        """List the open alerts, worst first; or all that are kept, newest first."""
        return self._report(
            "get_alerts", open=is_open, source=source, severity=severity, alert_type=alert_type, since=since,
            unacknowledged=unacknowledged, limit=limit, now=now,
        )  # fmt: skip

    def alert_context(self, alert_id: int, now: datetime | None = None) -> Document | None:
        """Say what explains an alert beside its story; None for a number that there is not."""
        return cast(Document | None, self._answer("get_alert_context", alert_id=alert_id, now=now))

    def source_report(self, source: str, now: datetime | None = None) -> list[Document]:
        """List every check of a source, firing or not; nothing for a name that nothing has."""
        return self._report("get_source_report", source=source, now=now)

    def sources(self) -> list[Document]:
        return self._report("get_sources")

    def task_report(
        self, *, window: timedelta, task_type: str | None = None, limit: int | None = None, now: datetime | None = None
    ) -> list[Document]:
        """List the task types of a window, those in trouble first."""
        return self._report("get_task_report", task_type=task_type, window=window, limit=limit, now=now)

    def task_details(self, task_type: str, *, window: timedelta, now: datetime | None = None) -> Document | None:
        """Tell how one task type fares; None when nothing of it ended within the window or runs."""
        return cast(Document | None, self._answer("get_task_details", task_type=task_type, window=window, now=now))

    def error_causes(
        self, *, window: timedelta, component: str | None = None, limit: int | None = None, now: datetime | None = None
    ) -> list[Document]:
        """List the errors of a window by cause, the most frequent first."""
        return self._report("get_error_causes", component=component, window=window, limit=limit, now=now)

    def queue_report(self, now: datetime | None = None) -> list[Document]:
        return self._report("get_queue_report", now=now)

    def host_report(self, now: datetime | None = None) -> list[Document]:
        return self._report("get_host_report", now=now)

    def acknowledge_alert(self, alert_id: int, by: str, note: str | None) -> bool:
        return cast(bool, self._value("acknowledge_alert", alert_id, by, note))

    def unacknowledge_alert(self, alert_id: int, by: str, note: str | None) -> bool:
        return cast(bool, self._value("unacknowledge_alert", alert_id, by, note))

    def resolve_alert(self, alert_id: int, by: str, note: str | None) -> bool:
        return cast(bool, self._value("resolve_alert", alert_id, by, note))

    def silence_alerts(self, source: str, duration: timedelta, reason: str, by: str, alert_type: str) -> int:
        return cast(int, self._value("silence_alerts", source, duration, reason, by, alert_type))

    def preview_silence(self, source: str, alert_type: str) -> Document:
        """Say what a silence would have hidden within the last seven days."""
        [found] = self._report("preview_silence", source=source, alert_type=alert_type)
        return found

    def silences(self, *, ended: bool = False, limit: int | None = None) -> list[Document]:
        """List the silences in force, the first to end first; or also those that are over."""
        return self._report("get_silences", ended=ended, limit=limit)

    def end_silence(self, silence_id: int, by: str) -> bool:
        return cast(bool, self._answer("end_silence", silence_id=silence_id, by=by))

    def alert_story(self, alert_id: int) -> Document | None:
        """Tell an alert with its transitions and their deliveries; None for a number that there is not."""
        return cast(Document | None, self._value("get_alert_story", alert_id))

    def deliveries(
        self, *, channel: str | None = None, alert_id: int | None = None, digest_id: int | None = None,
        ids: Sequence[int] | None = None, in_trouble: bool = False, limit: int = 50,
    ) -> list[Document]:  # fmt: skip
        """List deliveries as `v_deliveries` shows them, newest first."""
        wanted = (channel, alert_id, digest_id, None if ids is None else list(ids), in_trouble, limit)
        return self._documents("get_deliveries", *wanted)

    def resume_channel(self, channel: str) -> bool:
        return cast(bool, self._value("resume_channel", channel))

    def send_canary(self, by: str, channel: str | None) -> list[int]:
        """Ask for a marked message through one or every channel; answer the numbers of the deliveries."""
        return [row[0] for row in self._rows("send_canary", by, channel)]
