"""What Prometheus is told: every metric by name, and how values become text. docs/reference/metrics.md is made of this.

Names are stable, units are seconds, bytes and ratios (0 to 1), and each name has a bounded number of series: what a
user may invent, a task type say, is limited by the database function that is asked, the rest being in `other`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"

# Label values, as many as the family has labels, and the value behind them; a value of None is left out.
Row = Sequence[Any]
Document = Mapping[str, Any]


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"


class Chapter(StrEnum):
    SERVICE = "This service"
    PROCESS = "Its process"
    AUTOMON = "automon on this database"
    TASKS = "Tasks and errors"
    OTHERS = "Queues and components"
    HOSTS = "Hosts"


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """All series of one name. `labels` are in the order of the rows; `template` writes one line of text."""

    name: str
    kind: Kind
    chapter: Chapter
    labels: tuple[str, ...]
    help: str
    template: str

    def lines(self, rows: Iterable[Row]) -> Iterator[str]:
        """Write the lines of this family; none at all without a value."""
        lines = [
            self.template % (*map(escaped, labels), written(value)) for *labels, value in rows if value is not None
        ]
        if lines:
            yield f"# HELP {self.name} {self.help}"
            yield f"# TYPE {self.name} {self.kind}"
            yield from lines


FAMILIES: dict[str, Family] = {}

Series = dict[Family, Iterable[Row]]


def _family(chapter: Chapter, kind: Kind, name: str, labels: str, text: str) -> Family:
    """Enter a family into FAMILIES; `labels` are separated by blanks."""
    names = tuple(labels.split())
    pattern = ",".join(f'{label}="%s"' for label in names)
    template = f"{name}{{{pattern}}} %s" if names else f"{name} %s"
    family = Family(name=name, kind=kind, chapter=chapter, labels=names, help=text, template=template)
    FAMILIES[name] = family
    return family


def escaped(value: object) -> str:
    """Write a label's value as the format wants it."""
    text = str(value)
    if "\\" in text or '"' in text or "\n" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text


def written(value: float) -> str:
    """Write a number: whole ones without a point, and what is no number as the format has it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def render(series: Series) -> bytes:
    """Write all families, in the order of the table, as the text format of Prometheus, version 0.0.4."""
    lines = [line for family in FAMILIES.values() if family in series for line in family.lines(series[family])]
    # A surrogate can come from a name that is no UTF-8, and must not cost the others.
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


# The table ----------------------------------------------------------------------------------------------------------

# fmt: off
_S, _P, _A, _T, _O, _H = Chapter
_C, _G = Kind

BUILD = _family(_S, _G, "automon_build_info", "version python_version", "1, with the version of automon and of Python as labels.")
HEALTHY = _family(_S, _G, "automon_healthy", "", "1 when /healthz says ok: every thread of the service comes round.")
READY = _family(_S, _G, "automon_ready", "", "1 when /readyz says ok: the schema is in force, the database answers, and checks run.")
TROUBLE = _family(_S, _G, "automon_trouble", "trouble", "1 for each trouble that keeps the service from its work now, 0 for each other that there could be.")
CONFIG_ACCEPTED = _family(_S, _G, "automon_config_last_reload_successful", "", "1 when the config file was accepted when it was last read; 0: the one before stays in force.")
CONFIG_LOADED = _family(_S, _G, "automon_config_last_reload_success_timestamp_seconds", "", "When the config that is in force was read, in Unix time.")
CONFIG_RELOADS = _family(_S, _C, "automon_config_reloads_total", "outcome", "How often the config file was read anew since the start, by outcome: accepted, rejected.")
DATABASE_UP = _family(_S, _G, "automon_database_up", "", "1 while the beats of the service reach the database and its schema. At 0 everything below that comes from the database is absent.")
SCHEDULER_AGE = _family(_S, _G, "automon_scheduler_round_age_seconds", "", "How long ago the scheduler came round; it does so every second.")
HEARTBEAT_AGE = _family(_S, _G, "automon_heartbeat_round_age_seconds", "", "How long ago the heartbeat came round; it does so every few seconds.")
SENDER_AGE = _family(_S, _G, "automon_sender_round_age_seconds", "", "How long ago the sender of a channel came round that has not done so for the longest.")
ATTEMPTS = _family(_S, _C, "automon_delivery_attempts_total", "channel outcome", "Attempts of this service to deliver a message since its start, by channel and outcome: sent, failed.")
REQUESTS = _family(_S, _C, "automon_http_requests_total", "path code", "Requests to this endpoint since the start, by path (other: any that there is not) and status code.")
DROPPED = _family(_S, _C, "automon_http_connections_dropped_total", "", "Connections to this endpoint that were too slow, or too many, since the start.")
READINGS = _family(_S, _C, "automon_metrics_readings_total", "outcome", "How often the database was asked for metrics since the start, by outcome: succeeded, failed.")
READING_AGE = _family(_S, _G, "automon_metrics_reading_age_seconds", "", "How long ago the database was asked for what it says here.")
READING_SECONDS = _family(_S, _G, "automon_metrics_reading_duration_seconds", "", "How long the database took for that.")

CPU = _family(_P, _C, "automon_process_cpu_seconds_total", "", "Processor time that the service has used since its start.")
RESIDENT = _family(_P, _G, "automon_process_resident_memory_bytes", "", "Memory of the service that is in RAM.")
OPEN_FILES = _family(_P, _G, "automon_process_open_fds", "", "Open files and connections of the service.")
MOST_FILES = _family(_P, _G, "automon_process_max_fds", "", "How many of them it may have.")
THREADS = _family(_P, _G, "automon_process_threads", "", "Threads of the service.")
STARTED = _family(_P, _G, "automon_process_start_time_seconds", "", "When the service was started, in Unix time.")

SERVICES = _family(_A, _G, "automon_services", "", "Services that live on the database, this one included.")
CHECK_EVERY = _family(_A, _G, "automon_check_interval_seconds", "", "From one check pass to the next, as configured.")
JOB_RAN = _family(_A, _G, "automon_job_last_run_timestamp_seconds", "job_name", "When the newest run of one of automon's own jobs that has ended began, in Unix time; of any service. Absent when there was none within three days.")
JOB_SUCCEEDED = _family(_A, _G, "automon_job_last_success_timestamp_seconds", "job_name", "When the newest run that succeeded began, in Unix time. Absent when there was none within three days.")
JOB_OUTCOME = _family(_A, _G, "automon_job_last_run_successful", "job_name", "1 when that newest run succeeded, 0 when it failed.")
JOB_SECONDS = _family(_A, _G, "automon_job_last_run_duration_seconds", "job_name", "How long that newest run took.")
WAITING = _family(_A, _G, "automon_deliveries_waiting", "channel", "Messages that wait for being sent.")
OLDEST_WAITING = _family(_A, _G, "automon_deliveries_oldest_waiting_seconds", "channel", "For how long the oldest of them has waited. Absent when none waits.")
UNDELIVERED = _family(_A, _G, "automon_deliveries_failed_last_day", "channel", "Messages that were given up within the last 24 hours: failed, or too old.")
CHANNEL_STATE = _family(_A, _G, "automon_channel_state", "channel state", "1 for the state of a channel, 0 for the others: working, failing, stopped.")
BLIND = _family(_A, _G, "automon_blind_last_day_seconds", "", "For how long of the last 24 hours no service watched.")
ROLLUPS = _family(_A, _G, "automon_rollups_behind_seconds", "", "How far the rollups are behind the facts.")
PARTITIONS = _family(_A, _G, "automon_partitions_ahead", "table", "Days after today that have their partition already, 10 at most.")
ALERTS = _family(_A, _G, "automon_alerts", "alert_type severity status", "Alerts that are not resolved, by type, severity and status: open, acknowledged, silenced. Absent for what there is none of.")
ALERTS_ALL = _family(_A, _G, "automon_alerts_unresolved", "severity", "Alerts that are not resolved, by severity.")
LEFT_OUT = _family(_A, _G, "automon_names_left_out", "label", "Names beyond the 1,000 busiest of a label (for mount: the fullest), whose values are in the series `other` or, where they cannot be added up, nowhere.")

RUNNING = _family(_T, _G, "automon_tasks_running", "task_type", "Tasks that run.")
OLDEST_RUNNING = _family(_T, _G, "automon_tasks_oldest_running_seconds", "task_type", "For how long the oldest of them has run. Absent when none runs.")
ENDED = _family(_T, _G, "automon_tasks_ended_last_hour", "task_type status", "Tasks that ended within the last hour, by how: completed, failed, cancelled.")
DURATION = _family(_T, _G, "automon_task_duration_last_hour_seconds", "task_type percentile", "How long the tasks took that ended within the last hour, but for the cancelled: 50, 95 and 99 of 100 were at least as fast. To about 2.5 percent.")
ERRORS = _family(_T, _G, "automon_errors_last_hour", "component severity", "Errors within the last hour.")

QUEUE_PENDING = _family(_O, _G, "automon_queue_pending", "queue", "Tasks that wait in the queue, as last reported within a day.")
QUEUE_PROCESSING = _family(_O, _G, "automon_queue_processing", "queue", "Tasks of the queue that are being processed. Absent when not reported.")
QUEUE_OLDEST = _family(_O, _G, "automon_queue_oldest_pending_seconds", "queue", "For how long the oldest of the waiting tasks had waited. Absent when not reported.")
QUEUE_REPORTED = _family(_O, _G, "automon_queue_last_report_timestamp_seconds", "queue", "When the queue was last reported, in Unix time; for `other` the earliest.")
COMPONENT_STATE = _family(_O, _G, "automon_component_state", "component state", "1 for the state that a component (type/name) last reported, 0 for the others: healthy, degraded, unhealthy. For `other`: how many are in it.")
COMPONENT_RESPONSE = _family(_O, _G, "automon_component_response_time_seconds", "component", "The response time that a component last reported. Absent when not reported, and for `other`.")
COMPONENT_REPORTED = _family(_O, _G, "automon_component_last_report_timestamp_seconds", "component", "When a component last reported, in Unix time; for `other` the earliest.")

HOST_SAMPLED = _family(_H, _G, "automon_host_last_sample_timestamp_seconds", "host", "When the host was last sampled within a day, in Unix time.")
HOST_CPU = _family(_H, _G, "automon_host_cpu_ratio", "host", "Processor time in use; in a container with a limit, of whichever has less left, the limit or the host.")
HOST_MEMORY = _family(_H, _G, "automon_host_memory_ratio", "host", "Memory in use; in a container with a limit, of whichever has less left.")
HOST_SWAP = _family(_H, _G, "automon_host_swap_ratio", "host", "Swap in use. Absent without swap.")
HOST_LOAD = _family(_H, _G, "automon_host_load_per_core", "host", "Load average of one minute, divided by the cores.")
HOST_PRESSURE = _family(_H, _G, "automon_host_pressure_ratio", "host resource", "Share of ten seconds in which some task waited for the resource: cpu, memory, io.")
HOST_DISK = _family(_H, _G, "automon_host_disk_ratio", "host mount", "Space of a disk that is in use.")
HOST_DISK_FREE = _family(_H, _G, "automon_host_disk_free_bytes", "host mount", "Space of a disk that an ordinary user may still fill.")
CONTAINER_MEMORY = _family(_H, _G, "automon_host_container_memory_limit_bytes", "host", "Memory that the container around the sampler may use. Absent without a limit.")
CONTAINER_MEMORY_USED = _family(_H, _G, "automon_host_container_memory_used_bytes", "host", "Memory that it uses, without the cache that can be freed at once.")
CONTAINER_CORES = _family(_H, _G, "automon_host_container_cpu_limit_cores", "host", "Cores that the container around the sampler may use. Absent without a limit.")
CONTAINER_THROTTLED = _family(_H, _G, "automon_host_container_cpu_throttled_ratio", "host", "Share of the periods in which it had used them up.")
# fmt: on


# What the service knows of itself ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What the operating system says of this process; `started_at` in Unix time."""

    cpu_seconds: float
    resident_bytes: int
    open_files: int
    most_files: int
    threads: int
    started_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """What the service says of itself without its database. Spans in seconds, moments in Unix time.

    `troubles` has every trouble that there could be, and whether it is there. `attempts` are by channel and outcome,
    `requests` by path and status code. Of the last reading of the database: its age and how long it took, or None.
    """

    version: str
    python_version: str
    healthy: bool
    ready: bool
    troubles: Mapping[str, bool]
    config_accepted: bool
    config_loaded_at: float
    reloads: Mapping[str, int]
    database_up: bool
    scheduler_age: float
    heartbeat_age: float
    sender_age: float
    attempts: Mapping[tuple[str, str], int]
    requests: Mapping[tuple[str, int], int]
    dropped: int
    readings: Mapping[str, int]
    reading_age: float | None
    reading_seconds: float | None
    process: Process


def own_series(own: Own) -> Series:
    process = own.process
    return {
        BUILD: [(own.version, own.python_version, 1)],
        HEALTHY: [(own.healthy,)],
        READY: [(own.ready,)],
        TROUBLE: own.troubles.items(),
        CONFIG_ACCEPTED: [(own.config_accepted,)],
        CONFIG_LOADED: [(own.config_loaded_at,)],
        CONFIG_RELOADS: own.reloads.items(),
        DATABASE_UP: [(own.database_up,)],
        SCHEDULER_AGE: [(own.scheduler_age,)],
        HEARTBEAT_AGE: [(own.heartbeat_age,)],
        SENDER_AGE: [(own.sender_age,)],
        ATTEMPTS: [(*labels, count) for labels, count in sorted(own.attempts.items())],
        REQUESTS: [(*labels, count) for labels, count in sorted(own.requests.items())],
        DROPPED: [(own.dropped,)],
        READINGS: own.readings.items(),
        READING_AGE: [(own.reading_age,)],
        READING_SECONDS: [(own.reading_seconds,)],
        CPU: [(process.cpu_seconds,)],
        RESIDENT: [(process.resident_bytes,)],
        OPEN_FILES: [(process.open_files,)],
        MOST_FILES: [(process.most_files,)],
        THREADS: [(process.threads,)],
        STARTED: [(process.started_at,)],
    }


# What the database knows --------------------------------------------------------------------------------------------


def database_series(document: Document) -> Series:
    """Give the series of what get_metrics has answered."""
    return (
        _automon_series(document["automon"])
        | _alert_series(document)
        | _task_series(document)
        | _queue_series(document["queues"])
        | _component_series(document["components"])
        | _host_series(document["hosts"], document["disks"])
    )


def _automon_series(automon: Document) -> Series:
    jobs, channels = automon["jobs"], automon["channels"]
    return {
        SERVICES: [(automon["services"],)],
        CHECK_EVERY: [(automon["check_every_seconds"],)],
        JOB_RAN: _column(jobs, "job", "ran_at"),
        JOB_SUCCEEDED: _column(jobs, "job", "succeeded_at"),
        JOB_OUTCOME: _column(jobs, "job", "succeeded"),
        JOB_SECONDS: _column(jobs, "job", "seconds"),
        WAITING: _column(channels, "channel", "waiting"),
        OLDEST_WAITING: _column(channels, "channel", "oldest_waiting_seconds"),
        UNDELIVERED: _column(channels, "channel", "failed_last_day"),
        CHANNEL_STATE: [
            (row["channel"], state, row["state"] == state)
            for row in channels
            for state in ("working", "failing", "stopped")
        ],
        BLIND: [(automon["blind_seconds_last_day"],)],
        ROLLUPS: [(automon["rollups_behind_seconds"],)],
        PARTITIONS: _column(automon["partitions"], "table", "ahead"),
    }


def _alert_series(document: Document) -> Series:
    alerts = document["alerts"]
    of_severity = dict.fromkeys(("low", "medium", "high", "critical"), 0)
    for row in alerts:
        of_severity[row["severity"]] += row["alerts"]
    return {
        ALERTS: [(row["alert_type"], row["severity"], row["status"], row["alerts"]) for row in alerts],
        ALERTS_ALL: of_severity.items(),
        LEFT_OUT: document["left_out"].items(),
    }


def _task_series(document: Document) -> Series:
    tasks = document["tasks"]
    return {
        RUNNING: _column(tasks, "task_type", "running"),
        OLDEST_RUNNING: _column(tasks, "task_type", "oldest_running_seconds"),
        ENDED: [
            (row["task_type"], status, row[status]) for row in tasks for status in ("completed", "failed", "cancelled")
        ],
        DURATION: [
            (row["task_type"], percentile, row[f"p{percentile}_seconds"])
            for row in tasks
            for percentile in ("50", "95", "99")
        ],
        ERRORS: [(row["component"], row["severity"], row["errors"]) for row in document["errors"]],
    }


def _queue_series(queues: Iterable[Document]) -> Series:
    return {
        QUEUE_PENDING: _column(queues, "queue", "pending"),
        QUEUE_PROCESSING: _column(queues, "queue", "processing"),
        QUEUE_OLDEST: _column(queues, "queue", "oldest_pending_seconds"),
        QUEUE_REPORTED: _column(queues, "queue", "reported_at"),
    }


def _component_series(components: Iterable[Document]) -> Series:
    return {
        COMPONENT_STATE: [
            (row["component"], state, row[state])
            for row in components
            for state in ("healthy", "degraded", "unhealthy")
        ],
        COMPONENT_RESPONSE: [(row["component"], _times(row["response_time_ms"], 1e-3)) for row in components],
        COMPONENT_REPORTED: _column(components, "component", "reported_at"),
    }


def _host_series(hosts: Iterable[Document], disks: Iterable[Document]) -> Series:
    samples = [(row["host"], row["sample"]) for row in hosts]
    containers = [(host, sample.get("container", {})) for host, sample in samples]
    return {
        HOST_SAMPLED: _column(hosts, "host", "sampled_at"),
        HOST_CPU: [(host, _ratio(sample, "cpu_percent")) for host, sample in samples],
        HOST_MEMORY: [(host, _ratio(sample, "memory_percent")) for host, sample in samples],
        HOST_SWAP: [(host, _ratio(sample, "swap_percent")) for host, sample in samples],
        HOST_LOAD: [(host, sample.get("load_per_core")) for host, sample in samples],
        HOST_PRESSURE: [
            (host, resource, _ratio(sample.get("pressure", {}), resource))
            for host, sample in samples
            for resource in ("cpu", "memory", "io")
        ],
        HOST_DISK: [(row["host"], row["mount"], _ratio(row, "percent")) for row in disks],
        HOST_DISK_FREE: [(row["host"], row["mount"], row["free_bytes"]) for row in disks],
        CONTAINER_MEMORY: [(host, container.get("memory_limit_bytes")) for host, container in containers],
        CONTAINER_MEMORY_USED: [(host, container.get("memory_used_bytes")) for host, container in containers],
        CONTAINER_CORES: [(host, container.get("cpu_limit_cores")) for host, container in containers],
        CONTAINER_THROTTLED: [(host, _ratio(container, "cpu_throttled_percent")) for host, container in containers],
    }


def _column(rows: Iterable[Document], label: str, value: str) -> list[Row]:
    return [(row[label], row[value]) for row in rows]


def _ratio(section: Document, key: str) -> float | None:
    return _times(section.get(key), 1e-2)


def _times(value: float | None, factor: float) -> float | None:
    """Change the unit of a value; rounded, for what was 12.3 percent is not 0.12300000000000001."""
    return None if value is None else round(value * factor, 9)
