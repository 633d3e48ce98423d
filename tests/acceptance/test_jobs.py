"""automon's own jobs: every run is on record, none overlaps itself, and a failing one hurts no other."""

from __future__ import annotations

import re

from tests.acceptance.conftest import StartService
from tests.support.service import Look, make_config


def test_each_run_is_recorded_with_its_outcome_and_counts(look: Look, start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()
    look("update_system_health", "api", "main", "healthy", 1500.0)  # slow: that is left to the checks

    look.wait_for(
        "SELECT count(*) = 1 FROM public.job_runs WHERE job = 'alert_checks' AND counts = '{\"alerts_changed\": 1}'"
    )
    for job in ("host_sampling", "self_check"):
        look.wait_for("SELECT count(*) >= 2 FROM public.job_runs WHERE job = %s AND outcome = 'succeeded'", job)

    assert service.stop() == 0
    checked = look.ask("SELECT DISTINCT counts FROM public.job_runs WHERE job = 'self_check' AND outcome = 'succeeded'")
    assert checked == [{"counts": {"alerts_changed": 0, "expired": 0, "handed_on": 0}}]
    run = look.ask("SELECT * FROM public.job_runs WHERE job = 'host_sampling' ORDER BY id")[1]
    assert run["counts"] == {"sampled": 1, "stored": 1, "waiting": 0, "dropped": 0}
    # Two services in containers may share their host's name and their process number.
    assert re.fullmatch(rf"[^:]+:[0-9a-f]{{6}}:{service.pid}", run["instance"])
    assert run["error"] is None
    assert run["started_at"] <= run["finished_at"]


def test_a_failing_job_is_recorded_and_does_not_stop_the_others(look: Look, start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()

    look.ask("ALTER TABLE public.queue_monitoring RENAME TO queue_monitoring_away")
    look.wait_for("SELECT count(*) >= 2 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'failed'")
    look.ask("ALTER TABLE public.queue_monitoring_away RENAME TO queue_monitoring")

    failed = look.ask("SELECT id, error FROM public.job_runs WHERE outcome = 'failed' ORDER BY id DESC")
    assert "UndefinedTable" in failed[0]["error"]
    later = "SELECT count(*) > 0 FROM public.job_runs WHERE job = %s AND outcome = 'succeeded' AND id > %s"
    assert len(failed) >= 2
    look.wait_for(later, "host_sampling", failed[0]["id"])
    look.wait_for(later, "alert_checks", failed[0]["id"])
    service.wait_for_event("job_recovered", job="alert_checks")
    [told] = service.events_named("job_failed", job="alert_checks", level="error")
    assert told["exception"][0]["exc_type"] == "UndefinedTable"
    assert not look.ask("SELECT * FROM public.job_runs WHERE job = 'host_sampling' AND outcome = 'failed'")


def test_a_job_that_takes_longer_than_its_rhythm_never_runs_twice_at_once(
    look: Look, start_service: StartService
) -> None:
    service = start_service()
    service.wait_until_ready()
    look.wait_for("SELECT count(*) > 0 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")

    with look.connection.transaction():
        # A check waits for whoever is changing alerts.
        look.ask("SELECT pg_advisory_xact_lock(hashtextextended('automon alerts', 0))")
        service.wait_for_event("job_still_running", job="alert_checks")
        sampled = look.one("SELECT count(*) FROM public.host_metrics")
        look.wait_for("SELECT count(*) > %s + 1 FROM public.host_metrics", sampled)
        assert look.one("SELECT count(*) FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'running'") == 1

    look.wait_for("SELECT count(*) >= 4 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    overlaps = (
        "SELECT count(*) FROM public.job_runs a JOIN public.job_runs b ON a.job = b.job AND a.id < b.id"
        " AND b.started_at < COALESCE(a.finished_at, 'infinity')"
    )
    assert look.one(overlaps) == 0
    assert len(service.events_named("job_still_running", job="alert_checks")) == 1


def test_a_clean_up_that_was_missed_is_made_up_at_the_start(look: Look, start_service: StartService) -> None:
    look.ask(
        "INSERT INTO public.job_runs (job, instance, started_at, finished_at, outcome)"
        " VALUES ('cleanup', 'other', now() - interval '3 days', now() - interval '3 days', 'succeeded')"
    )
    start_service(make_config(schedule={"cleanup_at": _far_from_now(look)})).wait_until_ready()

    look.wait_for("SELECT count(*) = 2 FROM public.job_runs WHERE job = 'cleanup' AND outcome = 'succeeded'")
    counts = look.one("SELECT counts FROM public.job_runs WHERE job = 'cleanup' ORDER BY id DESC LIMIT 1")
    assert counts["errors_deleted"] == 0
    assert "partitions_dropped" in counts


def test_a_clean_up_that_was_not_missed_waits_for_its_time(look: Look, start_service: StartService) -> None:
    look.ask(
        "INSERT INTO public.job_runs (job, instance, started_at, finished_at, outcome)"
        " VALUES ('cleanup', 'other', now() - interval '3 hours', now() - interval '3 hours', 'succeeded')"
    )
    start_service(make_config(schedule={"cleanup_at": _far_from_now(look)})).wait_until_ready()

    look.wait_for("SELECT count(*) >= 2 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    assert look.one("SELECT count(*) FROM public.job_runs WHERE job = 'cleanup'") == 1


def test_two_services_on_one_database_open_one_alert_and_send_one_message(
    look: Look, start_service: StartService
) -> None:
    first = start_service()
    second = start_service(folder=first.folder / "second")
    for service in (first, second):
        service.wait_until_ready()

    look("update_system_health", "api", "main", "healthy", 1500.0)  # slow: that is left to the checks

    look.wait_for("SELECT count(*) = 1 FROM public.alert_deliveries WHERE status = 'sent'")
    look.wait_for(
        "SELECT count(DISTINCT instance) = 2 FROM public.job_runs WHERE started_at > (SELECT opened_at FROM public.alerts)"
    )
    assert look.one("SELECT count(*) FROM public.alerts") == 1
    told = [event for service in (first, second) for event in service.events_named("alert_message")]
    assert len(told) == 1


def _far_from_now(look: Look) -> str:
    """Give the time of day, in UTC, that is twelve hours away."""
    return str(look.one("SELECT to_char((now() + interval '12 hours') AT TIME ZONE 'UTC', 'HH24:MI')"))
