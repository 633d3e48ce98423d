"""What monitors are told by the real process: while all is well, while its database is away, and from an address that is taken."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.faults.conftest import StartService
from tests.support.prometheus import (
    Exposed,
    check_metrics,
    complaints,
    read_exposition,
)
from tests.support.proxy import TcpProxy
from tests.support.servers import CannotFetchError
from tests.support.service import Look, ServiceProcess, channels_of, make_config
from tests.support.slack import FakeSlack
from tests.support.waiting import wait_until

CONFIG = make_config(http={"listen": "127.0.0.1:0"})
# What only the database knows.
WATCHED = {"automon_tasks_running", "automon_queue_pending", "automon_alerts_unresolved", "automon_services"}


class Monitor:
    """Asks a service as Prometheus and others do."""

    def __init__(self, service: ServiceProcess, *, count: int = 1) -> None:
        self.url = str(service.wait_for_event("http_listening", count=count)["url"])

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def verdict(self, path: str) -> tuple[int, dict[str, Any]]:
        status, text = self.get(path)
        return status, json.loads(text)

    def metrics(self) -> dict[str, Exposed]:
        status, text = self.get("/metrics")
        assert status == 200
        return read_exposition(text)


def live(look: Look) -> None:
    """Let everything happen once that the service watches."""
    look("start_task_tracking", "t-1", 'a "type"')
    look("start_task_tracking", "t-2", "ocr")
    look("complete_task_tracking", "t-2", "failed")
    look("record_error", "t-2", "timeout", "high", "no answer", "billing")
    look("update_system_health", "api", "main", "unhealthy", 12.5)
    look("update_queue_metrics", "mail", 250, 3, 1, 1, 12.5)


def test_prometheus_understands_all_that_a_busy_service_tells(
    look: Look, database_url: str, slack: FakeSlack, start_service: StartService
) -> None:
    live(look)
    service = start_service(CONFIG, {"DATABASE_URL": database_url, **channels_of(slack)})
    service.wait_until_ready()
    slack.wait_for(2)
    look.wait_for(
        "SELECT count(*) = 4 FROM (SELECT DISTINCT job FROM public.job_runs WHERE outcome = 'succeeded') AS j"
    )
    monitor = Monitor(service)

    _, text = monitor.get("/metrics")
    told = read_exposition(text)

    assert complaints(told) == []
    assert told["automon_tasks_running"].of(task_type='a "type"') == 1
    assert told["automon_tasks_ended_last_hour"].of(task_type="ocr", status="failed") == 1
    assert told["automon_errors_last_hour"].of(component="billing", severity="high") == 1
    assert told["automon_queue_pending"].of(queue="mail") == 250
    assert told["automon_component_state"].of(component="api/main", state="unhealthy") == 1
    assert told["automon_alerts"].of(alert_type="queue_backlog", severity="high", status="open") == 1
    assert told["automon_delivery_attempts_total"].of(channel="slack", outcome="sent") >= 2
    assert told["automon_job_last_run_successful"].label("job_name") == {
        "alert_checks",
        "cleanup",
        "host_sampling",
        "self_check",
    }
    assert [
        told[name].of() for name in ("automon_healthy", "automon_ready", "automon_database_up", "automon_services")
    ] == [1] * 4
    assert len(told["automon_host_last_sample_timestamp_seconds"].values) == 1
    try:
        assert check_metrics(text) == []
    except CannotFetchError as reason:
        pytest.skip(str(reason))


def test_a_scrape_while_the_database_is_away_is_answered_at_once_and_tells_nothing_old(
    look: Look, line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    live(look)
    service = start_service(CONFIG, {"DATABASE_URL": url_over_line})
    service.wait_until_ready()
    monitor = Monitor(service)
    assert WATCHED <= monitor.metrics().keys()
    assert monitor.verdict("/healthz") == (
        200,
        {"schema_version": 1, "status": "ok", "troubles": [], "version": monitor.verdict("/healthz")[1]["version"]},
    )
    assert monitor.verdict("/readyz")[1]["status"] == "ready"

    line.refuse()
    service.wait_for_event("database_unavailable")

    told = monitor.metrics()
    assert told["automon_database_up"].of() == 0
    assert told["automon_ready"].of() == 0
    assert told["automon_healthy"].of() == 1
    assert told["automon_trouble"].of(trouble="database_away") == 1
    assert WATCHED & told.keys() == set()
    assert told["automon_process_resident_memory_bytes"].of() > 10_000_000
    assert monitor.verdict("/healthz")[0] == 200
    status, verdict = monitor.verdict("/readyz")
    assert (status, verdict["status"], verdict["troubles"]) == (503, "not ready", ["the database does not answer"])

    line.allow()
    wait_until(lambda: WATCHED <= monitor.metrics().keys(), seconds=30, what="what the database knows")
    assert monitor.verdict("/readyz")[0] == 200


def test_a_service_that_still_waits_for_its_database_lives_and_is_not_ready(
    line: TcpProxy, url_over_line: str, start_service: StartService
) -> None:
    line.refuse()
    monitor = Monitor(start_service(CONFIG, {"DATABASE_URL": url_over_line}))

    assert monitor.verdict("/healthz")[0] == 200
    assert monitor.verdict("/readyz")[0] == 503
    assert monitor.metrics()["automon_database_up"].of() == 0


def test_counters_only_rise(look: Look, database_url: str, start_service: StartService) -> None:
    service = start_service(CONFIG, {"DATABASE_URL": database_url})
    service.wait_until_ready()
    monitor = Monitor(service)
    first = monitor.metrics()
    monitor.get("/nowhere")
    monitor.get("/healthz")

    second = monitor.metrics()

    counters = [name for name, family in first.items() if family.kind == "counter"]
    assert len(counters) >= 5
    for name in counters:
        assert all(second[name].values[labels] >= value for labels, value in first[name].values.items()), name
    assert second["automon_http_requests_total"].of(path="other", code="404") == 1


def test_a_port_that_is_taken_stops_nothing(look: Look, database_url: str, start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        service = start_service(make_config(http={"listen": f"127.0.0.1:{port}"}), {"DATABASE_URL": database_url})
        told = service.wait_for_event("http_cannot_listen", level="error")
        assert (told["address"], told["reason"]) == (f"127.0.0.1:{port}", "Address already in use")
        service.wait_until_ready()

    assert Monitor(service).url == f"http://127.0.0.1:{port}"
    assert len(service.events_named("http_cannot_listen")) == 1


def test_a_reload_moves_the_address_and_is_counted(database_url: str, start_service: StartService) -> None:
    service = start_service(CONFIG, {"DATABASE_URL": database_url})
    service.wait_until_ready()
    before = Monitor(service)

    service.reload("{}}")
    service.wait_for_event("config_rejected")
    told = before.metrics()
    assert told["automon_config_last_reload_successful"].of() == 0
    assert told["automon_config_reloads_total"].of(outcome="rejected") == 1

    service.reload(make_config(http={"listen": "127.0.0.2:0"}))
    after = Monitor(service, count=2)

    assert after.url.startswith("http://127.0.0.2:")
    assert after.metrics()["automon_config_last_reload_successful"].of() == 1
    with pytest.raises(urllib.error.URLError):
        before.get("/healthz")
    assert service.stop() == 0
