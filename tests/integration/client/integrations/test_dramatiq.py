"""Workers of Dramatiq on a broker in memory, and what the database then holds of their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import Retry

from monitoring_client import MonitoringClient
from monitoring_client.integrations.dramatiq import watch

Rows = Callable[..., list[tuple[Any, ...]]]
RunExample = Callable[..., None]
RUNS = "SELECT task_type, status, error_message FROM processing_metrics ORDER BY start_time"
ERRORS = "SELECT error_type, error_message, component, severity FROM error_tracking"


@pytest.fixture
def broker(monitor: MonitoringClient) -> Iterator[StubBroker]:
    broker = StubBroker()
    watch(broker, monitor)
    yield broker
    broker.close()


@pytest.fixture
def work(broker: StubBroker) -> Callable[[], None]:
    """Let a worker process what has been sent, retries included, and end."""

    def until_done() -> None:
        worker = Worker(broker, worker_threads=2, worker_timeout=20)
        worker.start()
        broker.join("default", timeout=20_000, fail_fast=False)
        worker.stop()

    return until_done


def test_each_message_is_one_run_of_its_own_id_and_the_name_of_its_actor(
    broker: StubBroker, work: Callable[[], None], rows: Rows
) -> None:
    @dramatiq.actor(broker=broker, actor_name="add")
    def add(first: int, second: int) -> None:
        assert first + second

    messages = [add.send(2, number) for number in range(4)]
    work()

    assert sorted(rows("SELECT task_id, task_type, status, worker_id FROM processing_metrics")) == sorted(
        (message.message_id, "add", "completed", "tester") for message in messages
    )


def test_what_begins_inside_of_a_run_has_it_as_its_parent(
    broker: StubBroker, work: Callable[[], None], monitor: MonitoringClient, rows: Rows
) -> None:
    @dramatiq.actor(broker=broker, actor_name="outer")
    def outer() -> None:
        with monitor.task("inner"):
            pass

    message = outer.send()
    work()

    assert rows("SELECT task_type, parent_task_id FROM processing_metrics ORDER BY 1") == [
        ("inner", message.message_id),
        ("outer", None),
    ]


def test_the_last_of_all_attempts_fails_with_one_error_and_those_before_are_cancelled(
    broker: StubBroker, work: Callable[[], None], rows: Rows
) -> None:
    @dramatiq.actor(broker=broker, actor_name="divide", max_retries=2, min_backoff=1)
    def divide(first: int, second: int) -> None:
        assert first / second

    divide.send(1, 0)
    work()

    assert rows(RUNS) == [
        ("divide", "cancelled", "division by zero"),
        ("divide", "cancelled", "division by zero"),
        ("divide", "failed", "division by zero"),
    ]
    assert rows(ERRORS) == [("ZeroDivisionError", "division by zero", "divide", "medium")]
    [(trace,)] = rows("SELECT stack_trace FROM error_tracking")
    assert "assert first / second" in trace


def test_an_attempt_that_asks_for_another_is_cancelled(
    broker: StubBroker, work: Callable[[], None], rows: Rows
) -> None:
    attempts = iter(range(10))

    @dramatiq.actor(broker=broker, actor_name="fetch")
    def fetch() -> None:
        if next(attempts) == 0:
            raise Retry("not yet", delay=1)

    fetch.send()
    work()

    assert rows(RUNS) == [("fetch", "cancelled", "not yet"), ("fetch", "completed", None)]
    assert rows(ERRORS) == []


def test_an_expected_exception_is_a_failure_at_once(broker: StubBroker, work: Callable[[], None], rows: Rows) -> None:
    @dramatiq.actor(broker=broker, actor_name="look", throws=LookupError)
    def look() -> None:
        raise LookupError("it is gone")

    look.send()
    work()

    assert rows(RUNS) == [("look", "failed", "it is gone")]
    assert [kind for kind, *_ in rows(ERRORS)] == ["LookupError"]


def test_a_failure_where_nothing_is_retried_is_a_failure(monitor: MonitoringClient, rows: Rows) -> None:
    broker = StubBroker(middleware=[])
    watch(broker, monitor)

    @dramatiq.actor(broker=broker, actor_name="divide")
    def divide(first: int, second: int) -> None:
        assert first / second

    divide.send(1, 0)
    worker = Worker(broker, worker_threads=1, worker_timeout=20)
    worker.start()
    broker.join("default", timeout=20_000, fail_fast=False)
    worker.stop()

    assert rows(RUNS) == [("divide", "failed", "division by zero")]


def test_a_message_that_is_skipped_for_its_age_is_cancelled(
    broker: StubBroker, work: Callable[[], None], rows: Rows
) -> None:
    @dramatiq.actor(broker=broker, actor_name="hurry", max_age=1)
    def hurry() -> None: ...

    message = hurry.message()
    broker.enqueue(message.copy(message_timestamp=0))
    work()

    assert rows(RUNS) == [("hurry", "cancelled", "the message was skipped")]
    assert rows(ERRORS) == []


def test_the_example_reports_each_run(run_example: RunExample, rows: Rows) -> None:
    run_example("dramatiq_actors.py")

    assert rows("SELECT task_type, status, count(*) FROM processing_metrics GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("send_invoice", "completed", 2),
        ("send_invoice", "failed", 1),
        ("sync_stock", "cancelled", 2),
        ("sync_stock", "completed", 1),
    ]
    assert [(kind, message) for kind, message, *_ in rows(ERRORS)] == [("ValueError", "an invoice needs a customer")]
