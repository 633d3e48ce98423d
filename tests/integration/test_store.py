"""One typed call for each SQL function: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from automon.clock import SystemClock
from automon.database import Database
from automon.errors import SchemaMissingError
from automon.models import HostSample, Severity, TransitionKind
from automon.store import Store
from tests.support.calls import NOON, Calls, channel

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    database = Database(database_url, SystemClock(), size=2)
    database.open()
    yield Store(database)
    database.close()


@pytest.fixture
def calls(connection: psycopg.Connection[tuple[object, ...]]) -> Calls:
    return Calls(connection)


def open_an_alert(calls: Calls, store: Store, *, pending: int = 640) -> None:
    calls.configure(settings={"alerts.resolve_after_seconds": 0}, channels=[channel("ops", recipients=["webhook"])])
    now = calls.one("SELECT now()")
    calls("update_queue_metrics", "mail", pending, p_at=now)
    assert store.run_monitoring_checks(now) == 1


def test_a_claimed_delivery_carries_all_that_its_message_says(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    calls("update_queue_metrics", "exports", 60)
    store.run_monitoring_checks(calls.one("SELECT clock_timestamp()"))

    [claimed] = store.claim_deliveries("ops", "host:1", 2 * MINUTE)

    told = claimed.notification
    assert (claimed.channel, claimed.recipient) == ("ops", "webhook")
    assert claimed.first_attempt_at.tzinfo is not None
    assert (told.kind, told.severity, told.previous_severity) == (TransitionKind.OPENED, Severity.CRITICAL, None)
    assert (told.source, told.alert_type, told.value, told.threshold) == ("mail", "queue_backlog", 640, 500)
    assert told.summary == "640 waiting (limit 500)"
    assert (told.attempt, told.uncertain) == (1, False)
    assert [(other.source, other.severity) for other in told.also_open] == [("exports", Severity.LOW)]
    assert told.evidence["totals"]["pending"] == 640


def test_a_delivery_is_held_by_one_holder_and_freed_by_its_outcome(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    [claimed] = store.claim_deliveries("ops", "host:1", 2 * MINUTE)
    number = claimed.notification.delivery_id

    assert store.claim_deliveries("ops", "host:2", 2 * MINUTE) == []
    assert store.claim_deliveries("another", "host:2", 2 * MINUTE) == []
    waits = store.next_delivery_in("ops")
    assert waits is not None
    assert MINUTE < waits <= 2 * MINUTE
    assert not store.finish_sent(number, "host:2", duration=MINUTE, answer="ok")
    assert store.finish_failed(
        number, "host:1", duration=timedelta(seconds=1.5), detail="Slack answered 500", reason="refused",
        uncertain=True, retry_after=timedelta(0), final_status=None,
    )  # fmt: skip
    [again] = store.claim_deliveries("ops", "host:2", 2 * MINUTE)
    assert (again.notification.attempt, again.notification.uncertain) == (2, True)
    assert store.finish_sent(number, "host:2", duration=timedelta(seconds=0.25), answer="ok")

    assert store.next_delivery_in("ops") is None
    query = "SELECT outcome, reason, detail, duration_seconds FROM public.delivery_attempts ORDER BY id DESC LIMIT 2"
    assert [tuple(row.values()) for row in calls.ask(query)] == [
        ("sent", None, "ok", 0.25),
        ("failed", "refused", "Slack answered 500", 1.5),
    ]


def test_a_delivery_that_is_given_up_keeps_its_last_error(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    [claimed] = store.claim_deliveries("ops", "host:1", 2 * MINUTE)

    assert store.finish_failed(
        claimed.notification.delivery_id, "host:1", duration=MINUTE, detail="no_service", reason="gone",
        uncertain=False, retry_after=None, final_status="expired",
    )  # fmt: skip

    query = "SELECT status, last_error FROM public.alert_deliveries"
    assert calls.ask(query) == [{"status": "expired", "last_error": "gone: no_service"}]
    assert store.dashboard_summary(datetime.now(UTC))["automon"]["channels"][0]["failed_24h"] == 1


def test_a_job_run_is_begun_finished_once_and_found_again(store: Store, calls: Calls) -> None:
    assert store.last_success_of("cleanup") is None
    failed = store.begin_job_run("cleanup", "host:1", NOON)
    succeeded = store.begin_job_run("cleanup", "host:1", NOON + MINUTE)

    assert store.finish_job_run(failed, "failed", {}, "ValueError: x", NOON + MINUTE)
    assert store.finish_job_run(succeeded, "succeeded", {"errors_deleted": 3}, None, NOON + 2 * MINUTE)
    assert not store.finish_job_run(succeeded, "failed", {}, "late", NOON + 3 * MINUTE)

    assert store.last_success_of("cleanup") == NOON + MINUTE
    assert calls.one("SELECT counts FROM public.job_runs WHERE id = %s", succeeded) == {"errors_deleted": 3}


def test_a_host_sample_is_stored_once_however_often_it_is_sent(store: Store, calls: Calls) -> None:
    sample = HostSample(host="ops-1", sampled_at=NOON, values={"cpu_percent": 12.5, "memory_percent": 40.0})

    assert [store.record_host_sample(sample), store.record_host_sample(sample)] == [True, False]
    assert calls.ask("SELECT host, cpu_percent, sampled_at FROM public.host_metrics") == [
        {"host": "ops-1", "cpu_percent": 12.5, "sampled_at": NOON}
    ]


def test_a_person_acts_on_an_alert_and_its_story_tells(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    [alert] = store.active_alerts()
    number = alert["id"]
    assert (alert["source"], alert["severity"], alert["status"]) == ("mail", "critical", "open")

    assert store.acknowledge_alert(number, "ana", "on it")
    assert not store.acknowledge_alert(number, "ben", None)
    assert store.active_alerts()[0]["acknowledged_by"] == "ana"
    assert store.resolve_alert(number, "ana", None)
    assert store.active_alerts() == []

    story = store.alert_story(number)
    assert story is not None
    assert [transition["kind"] for transition in story["transitions"]] == ["opened", "acknowledged", "resolved"]
    assert story["transitions"][0]["deliveries"][0]["channel"] == "ops"
    assert store.alert_story(number + 1) is None


def test_a_silence_is_numbered_and_keeps_messages_back(store: Store, calls: Calls) -> None:
    calls.configure(channels=[channel("ops", recipients=["webhook"])])
    assert store.silence_alerts("mail", timedelta(hours=2), "deploying", "ana", "*") == 1
    calls("update_queue_metrics", "mail", 640)

    store.run_monitoring_checks(calls.one("SELECT clock_timestamp()"))

    assert store.claim_deliveries("ops", "host:1", MINUTE) == []
    assert calls.one("SELECT status FROM public.alert_deliveries") == "silenced"


def test_a_clean_up_says_what_it_removed_and_whether_there_is_more(store: Store) -> None:
    removed = store.cleanup_old_monitoring_data(datetime.now(UTC))

    assert removed["more"] is False
    assert removed["errors_deleted"] == 0


def test_a_refusal_of_the_schema_comes_with_its_code(store: Store) -> None:
    with pytest.raises(psycopg.Error) as raised:
        store.acknowledge_alert(4711, "ana", None)
    assert raised.value.sqlstate == "AM009"


def test_a_schema_that_is_not_there_is_told_from_a_fault_within(empty_database_url: str) -> None:
    database = Database(empty_database_url, SystemClock())
    database.open()
    for schema in ("public", "automon"):
        store = Store(database, schema)
        with pytest.raises(SchemaMissingError, match="automon migrate") as no_function:
            store.next_delivery_in("ops")
        with pytest.raises(SchemaMissingError, match="automon migrate") as no_view:
            store.active_alerts()
        for raised in (no_function, no_view):
            assert f"the schema {schema}" in raised.value.message
    database.close()


def test_a_fault_within_a_function_is_not_taken_for_a_missing_schema(store: Store, calls: Calls) -> None:
    calls.ask("DROP FUNCTION public.evaluate_hosts")

    with pytest.raises(psycopg.errors.UndefinedFunction):
        store.run_monitoring_checks(datetime.now(UTC))
