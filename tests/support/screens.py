"""Facts of screens as the database gives them, to be changed a little by each test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def ago(span: timedelta) -> str:
    return (NOW - span).isoformat()


def alert(severity: str = "low", **values: Any) -> dict[str, Any]:
    return {
        "id": 41,
        "alert_type": "queue_backlog",
        "source": "mail",
        "severity": severity,
        "status": "open",
        "summary": "60 waiting (limit 50)",
        "peak_summary": "70 waiting (limit 50)",
        "opened_at": ago(timedelta(seconds=90)),
        "age_seconds": 90.0,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "silenced_until": None,
        "resolved_at": None,
        "trend": {"of": "waiting", "step_seconds": 3600, "values": [None, None, *range(10)]},
    } | values


def channel(name: str = "slack", **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "working",
        "since": None,
        "last_error": None,
        "next_attempt_at": None,
        "waiting": 0,
        "failed_24h": 0,
        "expired_24h": 0,
        "last_sent_at": ago(MINUTE),
        "fallback": "journal",
        "fallback_after_seconds": 600.0,
    } | values


def stopped(name: str = "slack", **values: Any) -> dict[str, Any]:
    given = {"state": "stopped", "since": ago(2 * HOUR), "last_error": "gone: Slack answered 404 no_service"}
    return channel(name, **given | values)


def failing(name: str = "slack", **values: Any) -> dict[str, Any]:
    given = {"since": ago(5 * MINUTE), "next_attempt_at": ago(-2 * MINUTE), "last_error": "unreachable: no route"}
    return channel(name, **{"state": "failing"} | given | values)


def service(instance: str = "ops-1:3f9a1c:4711") -> dict[str, Any]:
    return {"instance": instance, "version": "0.1.0", "since": ago(HOUR), "beat_seconds_ago": 2.0}


def delivery(number: int = 908, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "created_at": ago(MINUTE),
        "channel": "slack",
        "recipient": "webhook",
        "subject": "transition",
        "alert_id": 41,
        "alert_type": "error_rate",
        "source": "invoice-sync",
        "kind": "opened",
        "summary": "112 errors",
        "status": "sent",
        "digest_id": None,
        "instead_of": None,
        "attempts": 1,
        "latency_seconds": 0.21,
        "may_be_repeat": False,
        "handed_on_at": None,
        "why": None,
    } | values


def waiting(number: int = 908, **values: Any) -> dict[str, Any]:
    return delivery(number, **{"status": "pending", "attempts": 0, "latency_seconds": None} | values)


def canary(status: str = "sent", **values: Any) -> dict[str, Any]:
    about = {"subject": "canary", "alert_id": None, "source": None, "kind": None, "summary": "canary for ana"}
    return (delivery if status == "sent" else waiting)(**about | {"status": status} | values)


def summary(**automon: Any) -> dict[str, Any]:
    last_check = {"at": NOW.isoformat(), "age_seconds": 18.4, "outcome": "succeeded", "error": None}
    return {
        "generated_at": NOW.isoformat(),
        "tasks": {"running": 3, "completed_last_hour": 40, "failed_last_hour": 2},
        "errors": {"last_hour": 5, "last_24h": 11},
        "components": {"healthy": 4, "degraded": 1, "unhealthy": 0},
        "queues": [{"name": "mail", "pending": 1204}],
        "hosts": [{"name": "ops-1", "cpu_percent": 12.4, "memory_percent": None, "disk_percent": 81.0}],
        "automon": {
            "check_every_seconds": 300.0,
            "last_check": last_check,
            "services": [service()],
            "blind": None,
            "channels": [channel()],
            "partitions_ahead_days": 8,
        }
        | automon,
    }


def task(name: str = "ocr", **values: Any) -> dict[str, Any]:
    return {
        "task_type": name,
        "severity": None,
        "runs": 312,
        "completed": 312,
        "failed": 0,
        "cancelled": 0,
        "failure_rate_percent": 0.0,
        "p50_seconds": 12.0,
        "p95_seconds": 41.0,
        "p99_seconds": 50.0,
        "running": 0,
        "oldest_start": None,
        "last_ended_at": ago(2 * MINUTE),
        "last_status": "completed",
        "last_failed_at": None,
        "last_error": None,
        "alert_id": None,
        "alert_summary": None,
        "task_types": 1,
        "ok_task_types": 1,
    } | values


def failing_task(name: str = "invoice-sync", **values: Any) -> dict[str, Any]:
    given = {
        "severity": "critical", "failed": 37, "failure_rate_percent": 12.0, "last_status": "failed", "last_failed_at": ago(2 * MINUTE),
        "last_error": "ConnectionError: refused", "alert_id": 41, "alert_summary": "30 % of tasks fail (limit 5 %)", "ok_task_types": 0,
    }  # fmt: skip
    return task(name, **given | values)


def queue(name: str = "mail", **values: Any) -> dict[str, Any]:
    return {
        "queue_name": name,
        "severity": None,
        "pending": 17,
        "processing": 2,
        "oldest_pending_seconds": 2.0,
        "in_per_minute": 60.0,
        "out_per_minute": 61.0,
        "change_per_minute": -1.0,
        "seconds_to_empty": 1020.0,
        "reported_at": ago(MINUTE),
        "is_silent": False,
        "alert_id": None,
        "alert_summary": None,
        "queues": 1,
        "ok_queues": 1,
    } | values


def host(name: str = "ops-1", **values: Any) -> dict[str, Any]:
    return {
        "host": name,
        "severity": None,
        "cpu_percent": 12.4,
        "memory_percent": 41.0,
        "disks": [{"mount": "/var", "percent": 81.0, "free_bytes": 20 * 1024**3, "total_bytes": 100 * 1024**3}],
        "container": None,
        "host_cpu_percent": 12.4,
        "host_memory_percent": 41.0,
        "sampled_at": ago(MINUTE),
        "is_silent": False,
        "alert_id": None,
        "alert_summary": None,
        "hosts": 1,
        "ok_hosts": 1,
    } | values


def component(name: str = "api/main", **values: Any) -> dict[str, Any]:
    return {
        "source": name,
        "severity": None,
        "status": "healthy",
        "since": ago(DAY),
        "reported_at": ago(MINUTE),
        "response_time_ms": 80.0,
        "failure_reason": None,
        "is_silent": False,
        "alert_id": None,
        "alert_summary": None,
        "components": 1,
        "ok_components": 1,
    } | values


def report(**parts: Any) -> dict[str, Any]:
    """What get_status answers, on a quiet day; `automon` changes what is said of automon itself."""
    own = parts.pop("automon", {})
    return {
        "summary": summary(**own),
        "alerts": [],
        "last_resolved": {"id": 39, "source": "mail", "severity": "low", "resolved_at": ago(2 * HOUR)},
        "tasks": [task()],
        "queues": [queue()],
        "hosts": [host()],
        "components": [component()],
    } | parts
