"""The shape of the config file, section by section, with the shipped values as defaults."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from automon.config.channels import ChannelSection
from automon.config.http import HttpSection
from automon.config.ping import PingSection
from automon.config.types import (
    MOST_CHANNELS,
    Amount,
    ChannelName,
    ClockTime,
    Count,
    DatabaseUrl,
    Days,
    Flag,
    Minutes,
    Mistake,
    Percent,
    SchemaName,
    Seconds,
    Section,
    SourceName,
    Text,
    TimeZone,
    WebUrl,
    raise_mistakes,
)
from automon.models import Severity

# The keys of `alert_thresholds` and the alert types that they are about.
ALERT_TYPES = {
    "error_rates": "error_rate",
    "critical_errors": "critical_errors",
    "failure_rates": "failure_rate",
    "processing_times": "processing_time",
    "running_times": "running_time",
    "response_times": "response_time",
    "component_silence": "component_silence",
    "queue_backlog": "queue_backlog",
    "queue_silence": "queue_silence",
    "host_cpu": "host_cpu",
    "host_memory": "host_memory",
    "host_disk": "host_disk",
    "host_silence": "host_silence",
}

# What the database calls a number of the file: the key that it comes from, and how many of its units are one of the file's.
IN_DATABASE = {
    "failure_rate.min_tasks": ("alerts.failure_rate_min_tasks", 1),
    "alerts.resolve_after_seconds": ("alerts.resolve_after_minutes", 60),
    "alerts.remind_after_seconds": ("alerts.remind_after_minutes", 60),
    "alerts.blind_after_seconds": ("alerts.blind_after_minutes", 60),
    "delivery.messages_per_cause": ("alerts.messages_per_cause", 1),
    "delivery.messages_at_once": ("alerts.messages_at_once", 1),
    "retention.processing_days": ("retention.processing_days", 1),
    "retention.errors_low_days": ("retention.errors_days.low", 1),
    "retention.errors_medium_days": ("retention.errors_days.medium", 1),
    "retention.errors_high_days": ("retention.errors_days.high", 1),
    "retention.errors_critical_days": ("retention.errors_days.critical", 1),
    "retention.performance_days": ("retention.performance_days", 1),
    "retention.queue_days": ("retention.queue_days", 1),
    "retention.host_days": ("retention.host_days", 1),
    "retention.health_days": ("retention.health_days", 1),
    "retention.resolved_alerts_days": ("retention.resolved_alerts_days", 1),
    "retention.job_runs_days": ("retention.job_runs_days", 1),
    "retention.rollups_days": ("retention.rollups_days", 1),
    "schedule.alert_checks_seconds": ("schedule.alert_checks_seconds", 1),
    "schedule.fast_checks_seconds": ("schedule.fast_checks_seconds", 1),
    "schedule.self_check_seconds": ("schedule.self_check_seconds", 1),
}


class Levels(Section):
    low: Amount | None = None
    """From this value on, the alert is of severity low. null: this level is not used."""
    medium: Amount | None = None
    """From this value on, the alert is of severity medium. null: this level is not used."""
    high: Amount | None = None
    """From this value on, the alert is of severity high. null: this level is not used."""
    critical: Amount | None = None
    """From this value on, the alert is of severity critical. null: this level is not used."""

    def values(self) -> dict[str, float | None]:
        return {"low": self.low, "medium": self.medium, "high": self.high, "critical": self.critical}

    def over(self, inherited: Levels) -> dict[str, float | None]:
        """Return these levels, and the inherited ones where this section does not name a level."""
        named = {level: value for level, value in self.values().items() if level in self.model_fields_set}
        return inherited.values() | named


class PercentLevels(Levels):
    low: Percent | None = None
    """From this percentage on, the alert is of severity low. null: this level is not used."""
    medium: Percent | None = None
    """From this percentage on, the alert is of severity medium. null: this level is not used."""
    high: Percent | None = None
    """From this percentage on, the alert is of severity high. null: this level is not used."""
    critical: Percent | None = None
    """From this percentage on, the alert is of severity critical. null: this level is not used."""


SHIPPED_SECONDS = Levels(low=180, medium=300, high=600, critical=900)
SHIPPED_FILL = PercentLevels(low=80, medium=90, high=95, critical=98)


class AlertThresholds(Section):
    error_rates: Levels = Levels(low=25, medium=50, high=75, critical=100)
    """Errors of one component in the last hour."""
    critical_errors: Levels = Levels(critical=1)
    """Errors of severity critical of one component in the last hour."""
    failure_rates: PercentLevels = PercentLevels(low=10, medium=25, high=50, critical=75)
    """Percent of the tasks of one type that failed, of those that finished in the last hour."""
    processing_times: Levels = SHIPPED_SECONDS
    """Seconds that the tasks of one type took: 95 of 100 in the last hour were faster."""
    running_times: Levels = SHIPPED_SECONDS
    """Seconds since a task began that has not ended yet."""
    response_times: Levels = Levels(low=1000, medium=2000, high=5000, critical=10000)
    """Milliseconds that a component reports as its response time."""
    component_silence: Levels = Levels(medium=600, high=1800, critical=3600)
    """Seconds since a component reported its health."""
    queue_backlog: Levels = Levels(low=50, medium=100, high=200, critical=500)
    """Tasks that wait in one queue."""
    queue_silence: Levels = Levels(medium=900, high=3600)
    """Seconds since a queue was reported."""
    host_cpu: PercentLevels = PercentLevels(low=80, medium=90, high=95)
    """Percent of the processor time in use, as a mean of five minutes."""
    host_memory: PercentLevels = SHIPPED_FILL
    """Percent of the memory in use."""
    host_disk: PercentLevels = SHIPPED_FILL
    """Percent of a disk in use."""
    host_silence: Levels = Levels(high=300, critical=900)
    """Seconds since a host was sampled."""


LevelsPerSource = dict[SourceName, Levels]
PercentsPerSource = dict[SourceName, PercentLevels]


class Overrides(Section):
    error_rates: LevelsPerSource = Field(default_factory=dict)
    """By component."""
    critical_errors: LevelsPerSource = Field(default_factory=dict)
    """By component."""
    failure_rates: PercentsPerSource = Field(default_factory=dict)
    """By task type."""
    processing_times: LevelsPerSource = Field(default_factory=dict)
    """By task type."""
    running_times: LevelsPerSource = Field(default_factory=dict)
    """By task type."""
    response_times: LevelsPerSource = Field(default_factory=dict)
    """By component."""
    component_silence: LevelsPerSource = Field(default_factory=dict)
    """By component."""
    queue_backlog: LevelsPerSource = Field(default_factory=dict)
    """By queue."""
    queue_silence: LevelsPerSource = Field(default_factory=dict)
    """By queue."""
    host_cpu: PercentsPerSource = Field(default_factory=dict)
    """By host."""
    host_memory: PercentsPerSource = Field(default_factory=dict)
    """By host."""
    host_disk: PercentsPerSource = Field(default_factory=dict)
    """By host and mount point, as in `ops-1 /var`."""
    host_silence: LevelsPerSource = Field(default_factory=dict)
    """By host."""


class ComponentHealth(Section):
    degraded: Severity | None = Severity.MEDIUM
    """Severity when a component reports `degraded`. null: no alert."""
    unhealthy: Severity | None = Severity.CRITICAL
    """Severity when a component reports `unhealthy`, at least that of `degraded`. null: no alert."""

    @model_validator(mode="after")
    def check(self) -> Self:
        """Refuse what the database cannot keep: it has the states as values, of which unhealthy is the larger."""
        degraded, unhealthy = (state.rank if state else 0 for state in (self.degraded, self.unhealthy))
        if unhealthy < degraded:
            message = f"must not be milder than degraded ({self.degraded})"
            raise_mistakes([Mistake(keys=("unhealthy",), message=message, allowed="the same severity or a higher one")])
        return self


class SourceGuidance(Section):
    impact: Text | None = None
    """Who notices, and what does not work for them."""
    next: Text | None = None
    """What to do first."""
    runbook: WebUrl | None = None
    """The page that says more."""


class TypeGuidance(SourceGuidance):
    sources: dict[SourceName, SourceGuidance] = Field(default_factory=dict)
    """The same three keys for single sources; what a source leaves out is taken from the type."""


class GuidanceSection(Section):
    error_rates: TypeGuidance = TypeGuidance()
    """Said in messages about errors per hour."""
    critical_errors: TypeGuidance = TypeGuidance()
    """Said in messages about critical errors."""
    failure_rates: TypeGuidance = TypeGuidance()
    """Said in messages about failing tasks."""
    processing_times: TypeGuidance = TypeGuidance()
    """Said in messages about slow tasks."""
    running_times: TypeGuidance = TypeGuidance()
    """Said in messages about tasks that do not end."""
    response_times: TypeGuidance = TypeGuidance()
    """Said in messages about slow components."""
    component_silence: TypeGuidance = TypeGuidance()
    """Said in messages about silent components."""
    component_health: TypeGuidance = TypeGuidance()
    """Said in messages about degraded and unhealthy components."""
    queue_backlog: TypeGuidance = TypeGuidance()
    """Said in messages about long queues."""
    queue_silence: TypeGuidance = TypeGuidance()
    """Said in messages about queues that are not reported."""
    host_cpu: TypeGuidance = TypeGuidance()
    """Said in messages about busy processors."""
    host_memory: TypeGuidance = TypeGuidance()
    """Said in messages about full memory."""
    host_disk: TypeGuidance = TypeGuidance()
    """Said in messages about full disks."""
    host_silence: TypeGuidance = TypeGuidance()
    """Said in messages about silent hosts."""


class Alerts(Section):
    failure_rate_min_tasks: Count = 5
    """A failure rate is judged only when at least so many tasks of the type finished in the last hour."""
    resolve_after_minutes: Minutes = 5
    """An alert is resolved when its value has been below every level for so long."""
    remind_after_minutes: Minutes = 60
    """A critical alert that nobody acknowledged is sent again after so long. 0: never."""
    messages_per_cause: Count = 3
    """More messages about one cause than this within 20 seconds on one channel are told as one."""
    messages_at_once: Count = 5
    """More messages than this within 20 seconds on one channel are told as one, whatever they are about."""
    blind_after_minutes: Minutes = 2
    """When the database does not answer, or no service ran, for so long, every channel is told."""
    runbooks_url: WebUrl | None = None
    """Where you publish the pages of docs/runbooks, for messages to link to. null: they name `automon runbook`."""


class ScheduleSection(Section):
    alert_checks_seconds: Seconds = 300
    """Seconds from one check pass to the next."""
    fast_checks_seconds: Seconds = 1
    """Seconds from one look at the newest facts to the next. What cannot wait for the check pass is found by then."""
    host_sampling_seconds: Seconds = 60
    """Seconds from one look at this host to the next."""
    self_check_seconds: Seconds = 60
    """Seconds from one look at automon's own jobs, channels and messages to the next."""
    cleanup_at: ClockTime = Field(default="03:17", validate_default=True)
    """When old facts are removed, once a day, as HH:MM in `timezone`."""
    timezone: TimeZone = Field(default="UTC", validate_default=True)
    """The time zone of this section, by its IANA name, as in Europe/Berlin."""


class ErrorsDays(Section):
    low: Days = 30
    """Days that errors of severity low are kept."""
    medium: Days = 30
    """Days that errors of severity medium are kept."""
    high: Days = 60
    """Days that errors of severity high are kept."""
    critical: Days = 90
    """Days that errors of severity critical are kept."""


class Retention(Section):
    processing_days: Days = 30
    """Days that finished tasks are kept."""
    errors_days: ErrorsDays = ErrorsDays()
    """Days that errors are kept, by their severity."""
    performance_days: Days = 7
    """Days that performance metrics are kept."""
    queue_days: Days = 7
    """Days that queue reports are kept."""
    host_days: Days = 7
    """Days that host samples are kept."""
    health_days: Days = 90
    """Days that the health history of components is kept."""
    resolved_alerts_days: Days = 7
    """Days that an alert is kept after it was resolved."""
    job_runs_days: Days = 30
    """Days that the runs of automon's own jobs are kept."""
    rollups_days: Days = 400
    """Days that the hourly sums of tasks, errors and metrics are kept, which outlive the facts."""


class DatabaseSettings(Section):
    url: DatabaseUrl = Field(default="$env:DATABASE_URL", validate_default=True)
    """Where the database is. When the environment variable is not set, automon uses its embedded database."""
    reader_url: DatabaseUrl = Field(default="$env:AUTOMON_READER_URL", validate_default=True)
    """A replica from which the commands read that change nothing. Without it they read where the service works."""
    schema_: SchemaName = Field(default="public", alias="schema")
    """The schema that the tables and functions are in."""
    pooled: Flag | None = None
    """true when a pooler in transaction mode (PgBouncer, Supavisor) stands in between. null: guessed from the URL."""


class FileSettings(Section):
    schema_reference: str | None = Field(default=None, alias="$schema")
    """Where editors find the description of this file."""
    alert_thresholds: AlertThresholds = AlertThresholds()
    """From which value on an alert has which severity. The levels must rise; one that is left out is not used."""
    component_health: ComponentHealth = ComponentHealth()
    """The severity of what a component reports about itself."""
    overrides: Overrides = Overrides()
    """Other levels for single sources. A level that is not named is taken from `alert_thresholds`."""
    guidance: GuidanceSection = GuidanceSection()
    """What a message says beside the numbers: impact, next step and runbook. All of it is optional."""
    alerts: Alerts = Alerts()
    """When an alert opens, ends and is repeated, how many messages are told as one, and where runbooks are."""
    schedule: ScheduleSection = Field(default={}, validate_default=True)
    """What runs when."""
    retention: Retention = Retention()
    """How long facts are kept."""
    channels: dict[ChannelName, Annotated[ChannelSection, Field(discriminator="type")]] = Field(
        default_factory=dict, max_length=MOST_CHANNELS
    )
    """Where messages go, by a name of your choice. Without an active channel they go to the terminal."""
    ping: PingSection = Field(default={}, validate_default=True)
    """A call to somebody outside, again and again while automon works, so that its end is noticed there."""
    http: HttpSection = HttpSection()
    """What other tools on this machine may ask the service: metrics for Prometheus, and whether it is well."""
    database: DatabaseSettings = Field(default={}, validate_default=True)
    """The PostgreSQL database with the facts and the alerts."""
