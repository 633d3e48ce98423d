"""The look at the newest facts: it raises what cannot wait, and leaves everything else to the checks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.integration.sql.alerting import alerts, deliveries, kinds, silence, the_alert
from tests.integration.sql.conftest import NewSession
from tests.support.calls import HOUR, MINUTE, NOON, SECOND, Calls, Row, channel
from tests.support.waiting import wait_until

INTERVAL = 5 * MINUTE  # of the checks, as shipped
# How many wait for whoever is changing alerts.
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
URGENT = ["component_health", "critical_errors", "error_rate", "queue_backlog", "running_time"]


def degraded(calls: Calls, at: datetime) -> None:
    calls("update_system_health", "api", "main", "degraded", p_at=at)


def unhealthy(calls: Calls, at: datetime) -> None:
    calls("update_system_health", "api", "main", "unhealthy", p_failure_reason="timeout", p_at=at)


def healthy(calls: Calls, at: datetime) -> None:
    calls("update_system_health", "api", "main", "healthy", p_at=at)


def errors(count: int, severity: str = "low") -> Callable[[Calls, datetime], None]:
    return lambda calls, at: calls.record_errors(count, "it", until=at, severity=severity)


def backlog(pending: int) -> Callable[[Calls, datetime], None]:
    return lambda calls, at: calls("update_queue_metrics", "it", pending, p_at=at)


def running(seconds: int) -> Callable[[Calls, datetime], None]:
    return lambda calls, at: calls("start_task_tracking", f"t{seconds}", "it", p_at=at - seconds * SECOND)


def task_ends(calls: Calls, at: datetime) -> None:
    for row in calls.ask("SELECT task_id FROM public.processing_metrics_running"):
        calls("complete_task_tracking", row["task_id"], "cancelled", p_at=at)


def an_hour_passes(calls: Calls, at: datetime) -> None:
    """Leave an error rate to itself: it falls as errors leave the hour."""


@dataclass(frozen=True)
class Kind:
    alert_type: str
    source: str
    mild: tuple[str, Callable[[Calls, datetime], None]]
    worst: tuple[str, Callable[[Calls, datetime], None]]
    cure: Callable[[Calls, datetime], None]


KINDS = [
    pytest.param(kind, id=kind.alert_type)
    for kind in (
        Kind("component_health", "api/main", ("medium", degraded), ("critical", unhealthy), healthy),
        Kind("critical_errors", "it", ("low", errors(1, "critical")), ("critical", errors(5, "critical")), an_hour_passes),
        Kind("error_rate", "it", ("low", errors(25)), ("critical", errors(80)), an_hour_passes),
        Kind("queue_backlog", "it", ("low", backlog(50)), ("critical", backlog(500)), backlog(0)),
        Kind("running_time", "it", ("low", running(180)), ("critical", running(900)), task_ends),
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def config(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"alerts.resolve_after_seconds": 0})
    calls("set_threshold", "critical_errors", "*", 1, None, None, 5)


def of_kind(calls: Calls, kind: Kind) -> Row:
    """Answer the only alert of that kind: errors that are critical count as errors too."""
    [row] = [alert for alert in alerts(calls) if alert["alert_type"] == kind.alert_type]
    return row


# What it does -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_wait_is_raised_at_the_first_look_and_escalated_at_the_next(calls: Calls, kind: Kind) -> None:
    kind.mild[1](calls, NOON - SECOND)

    assert calls("watch_facts", NOON) == 1
    assert calls("watch_facts", NOON) == 0

    opened = the_alert(calls)
    expected = (kind.alert_type, kind.source, kind.mild[0], NOON)
    assert (opened["alert_type"], opened["source"], opened["severity"], opened["opened_at"]) == expected
    assert deliveries(calls) == [("opened", "ops", "pending")]

    kind.worst[1](calls, NOON)
    assert calls("watch_facts", NOON + SECOND) == 1

    escalated = of_kind(calls, kind)
    assert (escalated["id"], escalated["severity"]) == (opened["id"], kind.worst[0])
    assert kinds(calls) == ["opened", "escalated"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_is_what_the_check_says(calls: Calls, kind: Kind) -> None:
    kind.mild[1](calls, NOON - SECOND)
    finding = "SELECT severity, value, threshold, unit, summary, evidence FROM public.evaluate_all(%s) WHERE alert_type = %s AND severity IS NOT NULL"
    [found] = calls.ask(finding, NOON, kind.alert_type)

    calls("watch_facts", NOON)

    assert {name: the_alert(calls)[name] for name in found} == found
    assert found["evidence"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_never_resolves(calls: Calls, kind: Kind) -> None:
    later = NOON + HOUR + MINUTE
    kind.worst[1](calls, NOON)
    calls("watch_facts", NOON)
    kind.cure(calls, later)
    before = alerts(calls)

    assert calls("watch_facts", later) == 0

    assert alerts(calls) == before
    calls("run_monitoring_checks", later)
    assert of_kind(calls, kind)["resolved_at"] == later


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.id in {"component_health", "queue_backlog"}])
def test_it_never_eases(calls: Calls, kind: Kind) -> None:
    kind.worst[1](calls, NOON)
    calls("watch_facts", NOON)
    kind.mild[1](calls, NOON + SECOND)
    before = alerts(calls)

    assert calls("watch_facts", NOON + SECOND) == 0

    assert alerts(calls) == before
    calls("run_monitoring_checks", NOON + SECOND)
    assert kinds(calls) == ["opened", "eased"]


def test_it_never_reminds(calls: Calls) -> None:
    unhealthy(calls, NOON)
    calls("watch_facts", NOON)
    unhealthy(calls, NOON + HOUR)

    assert calls("watch_facts", NOON + HOUR) == 0

    calls("run_monitoring_checks", NOON + HOUR)
    assert kinds(calls) == ["opened", "reminded"]


def test_a_value_that_comes_back_while_its_alert_clears_is_left_to_the_check(calls: Calls) -> None:
    calls.configure(channels=[channel()], settings={"alerts.resolve_after_seconds": 600})
    backlog(50)(calls, NOON)
    calls("watch_facts", NOON)
    backlog(0)(calls, NOON + SECOND)
    calls("run_monitoring_checks", NOON + MINUTE)
    backlog(50)(calls, NOON + 2 * MINUTE)

    assert calls("watch_facts", NOON + 2 * MINUTE) == 0
    assert the_alert(calls)["clear_since"] == NOON + MINUTE
    assert calls("watch_facts", NOON) == 0
    backlog(500)(calls, NOON + 3 * MINUTE)
    assert calls("watch_facts", NOON + 3 * MINUTE) == 1
    assert the_alert(calls)["clear_since"] is None


def test_a_look_that_comes_late_changes_nothing_that_a_later_one_has_seen(calls: Calls) -> None:
    degraded(calls, NOON - MINUTE)
    calls("run_monitoring_checks", NOON)
    calls("update_system_health", "api", "main", "unhealthy", p_at=NOON - SECOND)

    assert calls("watch_facts", NOON - SECOND / 2) == 0
    assert the_alert(calls)["severity"] == "medium"
    assert calls("watch_facts", NOON + SECOND) == 1


# What it leaves alone ---------------------------------------------------------------------------------------------


def test_what_a_person_has_resolved_is_not_opened_again_before_the_checks_interval_has_passed(calls: Calls) -> None:
    unhealthy(calls, NOON)
    calls("watch_facts", NOON)
    calls("resolve_alert", the_alert(calls)["id"], "kim", p_at=NOON + SECOND)

    assert calls("watch_facts", NOON + 2 * SECOND) == 0
    assert calls("watch_facts", NOON + INTERVAL) == 0
    assert calls("watch_facts", NOON + SECOND + INTERVAL) == 1
    assert kinds(calls) == ["opened", "resolved", "opened"]


def test_the_checks_open_again_what_a_person_has_resolved_as_they_always_did(calls: Calls) -> None:
    unhealthy(calls, NOON)
    calls("watch_facts", NOON)
    calls("resolve_alert", the_alert(calls)["id"], "kim", p_at=NOON + SECOND)

    calls("run_monitoring_checks", NOON + MINUTE)

    assert kinds(calls) == ["opened", "resolved", "opened"]


def test_what_automon_has_resolved_is_opened_again_at_once(calls: Calls) -> None:
    for status, at in (("unhealthy", NOON), ("healthy", NOON + MINUTE), ("unhealthy", NOON + MINUTE + SECOND)):
        calls("update_system_health", "api", "main", status, p_at=at)
        calls("run_monitoring_checks" if status == "healthy" else "watch_facts", at)

    assert kinds(calls) == ["opened", "resolved", "opened"]


def test_a_silence_keeps_its_messages_and_not_the_alert_back(calls: Calls) -> None:
    silence(calls, 60, at=NOON - MINUTE)
    backlog(500)(calls, NOON)

    assert calls("watch_facts", NOON) == 1

    assert the_alert(calls)["severity"] == "critical"
    assert deliveries(calls) == [("opened", "ops", "silenced")]


def test_the_thresholds_of_a_source_go_before_those_of_all(calls: Calls) -> None:
    calls("set_threshold", "queue_backlog", "it", None, None, None, 1000)
    for queue in ("it", "other"):
        calls("update_queue_metrics", queue, 700, p_at=NOON)

    assert calls("watch_facts", NOON) == 1

    assert the_alert(calls)["source"] == "other"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_levels_is_never_looked_for(calls: Calls, kind: Kind) -> None:
    calls.ask("DELETE FROM public.monitoring_thresholds WHERE alert_type = %s", kind.alert_type)
    kind.mild[1](calls, NOON)

    assert calls("watch_facts", NOON) == 0


def test_what_may_wait_is_left_to_the_checks(calls: Calls) -> None:
    calls.run_tasks(10, "it", status="failed", seconds=1000)
    calls("update_system_health", "api", "main", "healthy", 60_000, p_at=NOON)
    calls("record_host_sample", "it", {"memory_percent": 99}, NOON)

    assert calls("watch_facts", NOON) == 0
    assert calls("run_monitoring_checks", NOON) == 4


def test_nothing_to_raise_writes_nothing(calls: Calls) -> None:
    healthy(calls, NOON)
    backlog(3)(calls, NOON)
    calls("watch_facts", NOON)
    # Every five seconds it says that it has looked.
    calls.ask("UPDATE public.rollup_state SET rolled_at = clock_timestamp() + interval '1 hour'")

    with calls.connection.transaction():
        assert calls("watch_facts", NOON) == 0
        assert calls.one("SELECT pg_current_xact_id_if_assigned() IS NULL")


# Beside others ----------------------------------------------------------------------------------------------------


def test_two_looks_at_once_raise_once(calls: Calls, new_session: NewSession) -> None:
    unhealthy(calls, NOON)
    backlog(500)(calls, NOON)
    first, second = new_session(), new_session()
    with ThreadPoolExecutor(2) as pool:
        with calls.connection.transaction():
            calls("lock_alerts")
            looks = [pool.submit(session, "watch_facts", NOON) for session in (first, second)]
            wait_until(lambda: calls.one(WAITING) == 2, what="both looks have found something")
        changed = [look.result(timeout=20) for look in looks]

    assert sorted(changed) == [0, 2]
    assert kinds(calls) == ["opened", "opened"]


def test_a_look_beside_a_check_raises_once(calls: Calls, new_session: NewSession) -> None:
    calls("ensure_partitions", 8, NOON)
    unhealthy(calls, NOON)
    look = new_session()
    with ThreadPoolExecutor(1) as pool:
        with calls.connection.transaction():
            calls("run_monitoring_checks", NOON)
            looking = pool.submit(look, "watch_facts", NOON)
            wait_until(lambda: calls.one(WAITING) == 1, what="the look has found something")
        changed = looking.result(timeout=20)

    assert changed == 0
    assert kinds(calls) == ["opened"]


def test_errors_are_found_while_another_session_rolls_up(calls: Calls, new_session: NewSession) -> None:
    """What the other has not committed is found at the next look, nothing is waited for."""
    errors(1, "critical")(calls, NOON)
    look = new_session()
    with calls.connection.transaction():
        calls("roll_up")
        assert look("watch_facts", NOON) == 0

    assert look("watch_facts", NOON) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "error" in str(kind.id)])
def test_errors_are_found_on_the_day_of_an_upgrade_when_there_are_no_minutes_yet(calls: Calls, kind: Kind) -> None:
    calls.ask("UPDATE public.rollup_state SET minutes_since = %s, hours_since = %s", NOON + HOUR, NOON + HOUR)
    kind.mild[1](calls, NOON - SECOND)

    assert calls("watch_facts", NOON) == 1

    assert the_alert(calls)["alert_type"] == kind.alert_type


# As the checks find -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fact:
    what: str
    source: str
    value: int
    back: int
    severity: str


facts = st.builds(
    Fact,
    st.sampled_from(["errors", "health", "backlog", "start", "end", "look", "check"]),
    st.sampled_from("ab"),
    st.integers(0, 110),
    st.integers(0, 3700),
    st.sampled_from(["low", "critical"]),
)


def happen(calls: Calls, fact: Fact) -> None:
    at = NOON - timedelta(seconds=fact.back)
    match fact.what:
        case "errors":
            calls.record_errors(fact.value + 1, fact.source, until=at, severity=fact.severity)
        case "health":
            status = ("healthy", "degraded", "unhealthy")[fact.value % 3]
            calls("update_system_health", "api", fact.source, status, p_at=at)
        case "backlog":
            # One that was not reported for five minutes is left to the checks.
            calls("update_queue_metrics", fact.source, fact.value * 6, p_at=NOON - timedelta(seconds=fact.back % 299))
        case "start":
            calls("start_task_tracking", f"{fact.source}{fact.value % 5}", fact.source, p_at=at)
        case "end":
            for row in calls.ask(
                "SELECT task_id FROM public.processing_metrics_running WHERE task_type = %s", fact.source
            ):
                calls("complete_task_tracking", row["task_id"], p_at=NOON)
        case "look":
            calls("watch_facts", at)
        case _:
            calls("run_monitoring_checks", at)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(facts, max_size=12))
def test_after_a_look_the_checks_of_the_same_moment_open_and_escalate_nothing_that_cannot_wait(
    calls: Calls, done: list[Fact]
) -> None:
    calls.ask(
        "TRUNCATE public.processing_metrics, public.error_tracking, public.system_health, public.queue_monitoring, public.monitored_sources,"
        " public.error_minutes, public.error_hours, public.task_minutes, public.task_hours, public.alerts CASCADE"
    )
    for fact in done:
        happen(calls, fact)

    calls("watch_facts", NOON)
    looked = calls.one("SELECT COALESCE(max(id), 0) FROM public.alert_transitions")
    calls("run_monitoring_checks", NOON)

    left = "SELECT a.alert_type, a.source, t.kind FROM public.alert_transitions t JOIN public.alerts a ON a.id = t.alert_id WHERE t.id > %s AND t.kind IN ('opened', 'escalated') AND a.alert_type = ANY (%s)"
    assert calls.ask(left, looked, URGENT) == []


# Notices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener(new_session: NewSession) -> Calls:
    session = new_session()
    session.ask("LISTEN automon_facts")
    return session


def heard(listener: Calls, writer: Calls) -> int:
    """Answer how many notices have come that the test has not sent itself: they come in the order of their commits."""
    writer.ask("SELECT pg_notify('automon_facts', 'the end')")
    for count, notice in enumerate(listener.connection.notifies(timeout=10)):
        if notice.payload == "the end":
            return count
    raise AssertionError("the test's own notice did not come")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(errors(1, "critical"), id="a critical error"),
        pytest.param(unhealthy, id="an unhealthy component"),
        pytest.param(degraded, id="a degraded component"),
    ],
)
@pytest.mark.session("LISTEN")
def test_trouble_is_told_when_it_is_committed_and_once_a_transaction(
    calls: Calls, listener: Calls, record: Callable[[Calls, datetime], None]
) -> None:
    with calls.connection.transaction():
        record(calls, NOON)
        errors(100, "critical")(calls, NOON - MINUTE)

    assert heard(listener, calls) == 1
    record(calls, NOON + SECOND)
    assert heard(listener, calls) == (0 if record in {unhealthy, degraded} else 1)


@pytest.mark.session("LISTEN")
def test_a_thousand_critical_errors_in_one_document_are_one_notice(calls: Calls, listener: Calls) -> None:
    error = {
        "error_type": "timeout",
        "severity": "critical",
        "error_message": "no answer",
        "component": "it",
        "at": NOON.isoformat(),
    }

    calls("record_errors", Jsonb([error | {"task_id": f"task-{number}"} for number in range(1000)]))

    assert calls.one("SELECT count(*) FROM public.error_tracking") == 1000
    assert heard(listener, calls) == 1


@pytest.mark.session("LISTEN")
def test_a_component_that_changes_to_trouble_is_told_and_one_that_stays_or_recovers_is_not(
    calls: Calls, listener: Calls
) -> None:
    told = []
    for number, status in enumerate(
        ["healthy", "healthy", "degraded", "degraded", "unhealthy", "unhealthy", "healthy"]
    ):
        calls("update_system_health", "api", "main", status, p_at=NOON + number * SECOND)
        told.append(heard(listener, calls))

    assert told == [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.session("LISTEN")
def test_nothing_else_is_told(calls: Calls, listener: Calls) -> None:
    for severity in ("low", "medium", "high"):
        errors(40, severity)(calls, NOON)
    backlog(5000)(calls, NOON)
    running(5000)(calls, NOON)
    calls.run_tasks(3, status="failed")
    calls("record_performance_metric", "latency", "gauge", 1e9)
    calls("record_host_sample", "it", {"memory_percent": 99}, NOON)
    assert calls("watch_facts", NOON) > 0

    assert heard(listener, calls) == 0


@pytest.mark.session("LISTEN")
def test_what_is_rolled_back_is_told_to_nobody(calls: Calls, listener: Calls) -> None:
    with calls.connection.transaction(force_rollback=True):
        errors(1, "critical")(calls, NOON)
        unhealthy(calls, NOON)
        with calls.connection.transaction(force_rollback=True):
            errors(1, "critical")(calls, NOON - SECOND)

    assert heard(listener, calls) == 0
    assert calls("watch_facts", NOON) == 0
