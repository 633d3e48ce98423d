"""One typed call for each SQL function: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from automon.clock import SystemClock
from automon.database import Database
from automon.errors import SchemaMissingError
from automon.models import Canary, Digest, HostSample, Notification, Severity, TransitionKind
from automon.store import ClaimedDelivery, Store
from tests.support.calls import NOON, Calls, channel

MINUTE = timedelta(minutes=1)
AT_ONCE = timedelta(0)


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


def claim(store: Store, holder: str = "host:1", channel_name: str = "ops") -> ClaimedDelivery | None:
    return store.claim_delivery(channel_name, holder, lease=2 * MINUTE, pace=AT_ONCE)


def claimed_by(store: Store, holder: str = "host:1") -> ClaimedDelivery:
    claimed = claim(store, holder)
    assert claimed is not None
    return claimed


def test_a_claimed_delivery_carries_all_that_its_message_says(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    calls("update_queue_metrics", "exports", 60)
    store.run_monitoring_checks(calls.one("SELECT clock_timestamp()"))

    claimed = claimed_by(store)

    told = claimed.content
    assert isinstance(told, Notification)
    assert (claimed.channel, claimed.recipient, claimed.channel_failures) == ("ops", "webhook", 0)
    assert claimed.first_attempt_at.tzinfo is not None
    assert (told.kind, told.severity, told.previous_severity) == (TransitionKind.OPENED, Severity.CRITICAL, None)
    assert (told.source, told.alert_type, told.value, told.threshold) == ("mail", "queue_backlog", 640, 500)
    assert told.summary == "640 waiting (limit 500)"
    assert (told.attempt, told.uncertain) == (1, False)
    assert [(other.source, other.severity) for other in told.also_open] == [("exports", Severity.LOW)]
    assert told.evidence["totals"]["pending"] == 640


def test_many_deliveries_of_one_cause_are_claimed_as_one_digest(store: Store, calls: Calls) -> None:
    calls.configure(channels=[channel("ops", recipients=["webhook"])])
    now = calls.one("SELECT now()")
    for number in range(50):
        calls("update_queue_metrics", f"queue-{number}", 640 if number == 7 else 60, p_at=now)
    store.run_monitoring_checks(now)

    told = claimed_by(store).content

    assert isinstance(told, Digest)
    assert (told.alerts, told.transitions, told.kinds) == (50, 50, {TransitionKind.OPENED: 50})
    assert told.severities == {Severity.CRITICAL: 1, Severity.LOW: 49}
    assert (told.entries[0].source, told.entries[0].severity) == ("queue-7", Severity.CRITICAL)
    assert told.entries[0].opened_at == now
    assert [(cause.words, cause.count) for cause in told.causes] == [("queue backlog", 50)]
    assert claim(store) is None


def test_a_canary_is_claimed_with_the_name_of_who_asked_for_it(store: Store, calls: Calls) -> None:
    calls.configure(channels=[channel("ops", recipients=["webhook"])])
    [number] = store.send_canary("ana", "ops")

    told = claimed_by(store).content

    assert isinstance(told, Canary)
    assert (told.delivery_id, told.asked_by, told.attempt) == (number, "ana", 1)
    [shown] = store.deliveries(ids=[number])
    assert (shown["subject"], shown["status"], shown["channel"]) == ("canary", "sending", "ops")


def test_a_delivery_is_held_by_one_holder_and_freed_by_its_outcome(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    number = claimed_by(store).content.delivery_id

    assert claim(store, "host:2") is None
    assert claim(store, "host:2", "another") is None
    waits = store.next_delivery_in("ops")
    assert waits is not None
    assert MINUTE < waits <= 2 * MINUTE
    assert not store.finish_sent(number, "host:2", duration=MINUTE, answer="ok")
    assert store.finish_failed(
        number, "host:1", duration=timedelta(seconds=1.5), detail="Slack answered 500", reason="refused",
        uncertain=True, retry_after=AT_ONCE,
    )  # fmt: skip
    again = claimed_by(store, "host:2").content
    assert (again.delivery_id, again.attempt, again.uncertain) == (number, 2, True)
    assert store.finish_sent(number, "host:2", duration=timedelta(seconds=0.25), answer="ok")

    assert store.next_delivery_in("ops") is None
    query = "SELECT instance, outcome, reason, detail, duration_seconds FROM public.delivery_attempts ORDER BY id"
    assert [tuple(row.values()) for row in calls.ask(query)] == [
        ("host:2", "sent", None, "ok", 60),
        ("host:1", "unknown", "refused", "Slack answered 500", 1.5),
        ("host:2", "sent", None, "ok", 0.25),
    ]


def test_a_delivery_that_failed_and_its_channel_wait_for_their_pauses(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)

    assert store.finish_failed(
        claimed_by(store).content.delivery_id, "host:1", duration=MINUTE, detail="no route", reason="unreachable",
        uncertain=False, retry_after=MINUTE, channel_pause=2 * MINUTE,
    )  # fmt: skip

    waits = store.next_delivery_in("ops")
    assert waits is not None
    assert MINUTE < waits <= 2 * MINUTE
    assert store.resume_channel("ops")
    again = claimed_by(store)
    assert (again.content.attempt, again.content.uncertain, again.channel_failures) == (2, False, 0)


def test_a_stopped_channel_is_left_alone_until_it_is_resumed(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    store.finish_failed(
        claimed_by(store).content.delivery_id, "host:1", duration=MINUTE, detail="no_service", reason="gone",
        uncertain=False, stops_channel=True,
    )  # fmt: skip

    assert (claim(store), store.next_delivery_in("ops")) == (None, None)
    assert store.automon_health()["channels_in_trouble"] == 1
    [shown] = store.deliveries(channel="ops", in_trouble=True)
    assert (shown["status"], shown["why"]) == ("pending", "gone: no_service")
    assert store.resume_channel("ops")
    assert not store.resume_channel("ops")
    assert claim(store) is not None


def test_a_delivery_that_is_given_up_keeps_its_last_error(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)

    assert store.finish_failed(
        claimed_by(store).content.delivery_id, "host:1", duration=MINUTE, detail="too long", reason="rejected_content",
        uncertain=False, final_status="expired",
    )  # fmt: skip

    query = "SELECT status, last_error FROM public.alert_deliveries"
    assert calls.ask(query) == [{"status": "expired", "last_error": "rejected_content: too long"}]
    assert store.dashboard_summary(datetime.now(UTC))["automon"]["channels"][0]["failed_24h"] == 1


def test_what_has_waited_for_too_long_is_given_up(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    store.send_canary("ana", "ops")

    assert store.tend_deliveries(datetime.now(UTC) + 6 * MINUTE) == {"expired": 1, "handed_on": 0}
    assert store.tend_deliveries(datetime.now(UTC) + 6 * MINUTE) == {"expired": 0, "handed_on": 0}


def test_a_job_run_is_begun_and_finished_once(store: Store, calls: Calls) -> None:
    run = store.begin_job_run("cleanup", "host:1")

    assert store.finish_job_run(run, "succeeded", {"errors_deleted": 3}, None)
    assert not store.finish_job_run(run, "failed", {}, "late")

    query = "SELECT job, instance, outcome, counts, error, finished_at >= started_at AS is_over FROM public.job_runs"
    assert [tuple(row.values()) for row in calls.ask(query)] == [
        ("cleanup", "host:1", "succeeded", {"errors_deleted": 3}, None, True)
    ]


def test_a_shared_job_is_begun_by_one_service_when_it_is_due(store: Store) -> None:
    for instance in ("host:1", "host:2"):
        store.beat(instance, version="1", why_blind="no service ran")
    run = store.claim_job_run("cleanup", "host:1", AT_ONCE)
    assert run is not None

    assert store.claim_job_run("cleanup", "host:2", AT_ONCE) is None
    store.finish_job_run(run, "succeeded", {}, None)
    assert store.claim_job_run("cleanup", "host:2", MINUTE) is None
    assert store.claim_job_run("cleanup", "host:2", AT_ONCE, datetime.now(UTC) - MINUTE) is None
    assert store.claim_job_run("cleanup", "host:2", AT_ONCE, datetime.now(UTC) + MINUTE) is not None


def test_what_a_service_that_leaves_was_doing_is_free_at_once(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    store.beat("host:1", version="1", why_blind="no service ran")
    claimed_by(store)
    assert store.claim_job_run("alert_checks", "host:1", MINUTE) is not None

    store.leave("host:1")

    again = claimed_by(store, "host:2").content
    assert (again.attempt, again.uncertain) == (2, True)
    assert store.claim_job_run("alert_checks", "host:2", MINUTE) is not None
    outcomes = "SELECT outcome FROM public.job_runs WHERE job = 'alert_checks' ORDER BY id"
    assert [row["outcome"] for row in calls.ask(outcomes)] == ["abandoned", "running"]


def test_the_end_of_an_outage_is_told_unless_all_services_were_blind(store: Store, calls: Calls) -> None:
    now = calls.one("SELECT clock_timestamp()")

    assert store.report_outage("host-1", now - 5 * MINUTE, now)

    alert = "SELECT alert_type, source, summary FROM public.alerts"
    summary = "could not reach the database for 5 min; other services could"
    assert calls.ask(alert) == [{"alert_type": "automon_blind", "source": "host-1", "summary": summary}]
    calls.ask("INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (%s, %s, 'x')", now - 4 * MINUTE, now)
    assert not store.report_outage("host-1", now - 5 * MINUTE, now)


def test_automons_own_health_is_what_a_service_judges_itself_by(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)

    assert store.automon_health() == {
        "check_every_seconds": 300, "check_ran_seconds_ago": None, "check_succeeded_seconds_ago": None,
        "channels": 1, "channels_in_trouble": 0, "untried": 0,
    }  # fmt: skip
    assert store.check_automon_alerts(datetime.now(UTC)) == 0


def test_a_host_sample_is_stored_once_however_often_it_is_sent(store: Store, calls: Calls) -> None:
    sample = HostSample(host="ops-1", sampled_at=NOON, values={"cpu_percent": 12.5, "memory_percent": 40.0})

    assert [store.record_host_sample(sample), store.record_host_sample(sample)] == [True, False]
    assert calls.ask("SELECT host, cpu_percent, sampled_at FROM public.host_metrics") == [
        {"host": "ops-1", "cpu_percent": 12.5, "sampled_at": NOON}
    ]


def test_a_person_acts_on_an_alert_and_its_story_tells(store: Store, calls: Calls) -> None:
    open_an_alert(calls, store)
    [alert] = store.alerts()
    number = alert["id"]
    assert (alert["source"], alert["severity"], alert["status"]) == ("mail", "critical", "open")

    assert store.acknowledge_alert(number, "ana", "on it")
    assert not store.acknowledge_alert(number, "ben", None)
    assert store.alerts()[0]["acknowledged_by"] == "ana"
    assert store.unacknowledge_alert(number, "ana", "cannot reach it")
    assert not store.unacknowledge_alert(number, "ana", None)
    assert store.resolve_alert(number, "ana", None)
    assert store.alerts() == []

    story = store.alert_story(number)
    assert story is not None
    assert [transition["kind"] for transition in story["transitions"]] == [
        "opened", "acknowledged", "unacknowledged", "resolved",
    ]  # fmt: skip
    assert story["transitions"][0]["deliveries"][0]["channel"] == "ops"
    assert store.alert_story(number + 1) is None


def test_a_silence_is_numbered_and_keeps_messages_back(store: Store, calls: Calls) -> None:
    calls.configure(channels=[channel("ops", recipients=["webhook"])])
    assert store.silence_alerts("mail", timedelta(hours=2), "deploying", "ana", "*") == 1
    calls("update_queue_metrics", "mail", 640)

    store.run_monitoring_checks(calls.one("SELECT clock_timestamp()"))

    assert claim(store) is None
    assert calls.one("SELECT status FROM public.alert_deliveries") == "silenced"


def test_a_clean_up_says_what_it_removed_and_whether_there_is_more(store: Store) -> None:
    removed = store.cleanup_old_monitoring_data()

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
        with pytest.raises(SchemaMissingError, match="automon migrate") as no_report:
            store.alerts()
        for raised in (no_function, no_report):
            assert f"the schema {schema}" in raised.value.message
    database.close()


def test_a_fault_within_a_function_is_not_taken_for_a_missing_schema(store: Store, calls: Calls) -> None:
    calls.ask("DROP FUNCTION public.evaluate_hosts")

    with pytest.raises(psycopg.errors.UndefinedFunction):
        store.run_monitoring_checks(datetime.now(UTC))
