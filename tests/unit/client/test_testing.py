"""The client for users' tests: it keeps what the real one would send, and its assertions tell what there was instead."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from monitoring_client import MonitoringClient
from monitoring_client.aio import AsyncMonitoringClient
from monitoring_client.testing import RecordedTask, RecordingClient

AT = datetime(2026, 11, 23, 15, 30, tzinfo=timezone.utc)


@pytest.fixture
def monitor() -> RecordingClient:
    return RecordingClient()


def message_of(assertion: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion()
    return str(caught.value)


def public(kind: type) -> dict[str, str]:
    """Give the public names of a class with their parameters."""
    members = inspect.getmembers(kind, lambda member: callable(member) or isinstance(member, property))
    return {
        name: str(inspect.signature(member)).partition(" -> ")[0] if callable(member) else "property"
        for name, member in members
        if not name.startswith("_")
    }


def test_it_takes_the_calls_of_the_real_client() -> None:
    real, recording = public(MonitoringClient), public(RecordingClient)

    assert {name: recording.get(name) for name in real} == real


# One call of everything that is public, in an order in which they make sense.
CALLS: dict[str, Callable[[Any], object]] = {
    "start_task": lambda monitor: monitor.start_task("import", task_id="t"),
    "heartbeat": lambda monitor: monitor.heartbeat("t", 50),
    "complete_task": lambda monitor: monitor.complete_task("t"),
    "record_error": lambda monitor: monitor.record_error(None, "E", "low", "boom"),
    "record_performance_metric": lambda monitor: monitor.record_performance_metric("m", "gauge", 1),
    "update_system_health": lambda monitor: monitor.update_system_health("api", "main", "healthy"),
    "update_queue_metrics": lambda monitor: monitor.update_queue_metrics("mail", 1),
    "queue": lambda monitor: monitor.queue("mail").report(1),
    "task": lambda monitor: monitor.task("import").start(),
    "tracked": lambda monitor: monitor.tracked("import")(len)("text"),
    "worker_id": lambda monitor: monitor.worker_id,
    "dropped": lambda monitor: monitor.dropped,
    "from_environment": lambda monitor: monitor.from_environment().start_task("import"),
    "record_host_sample": lambda monitor: monitor.record_host_sample("ops-1", {}),
    "health": lambda monitor: monitor.health("api", "main").__enter__(),
    "sample_host": lambda monitor: monitor.sample_host().stop(),
    "waits": lambda monitor: monitor.waits,
    "flush": lambda monitor: monitor.flush(),
    "close": lambda monitor: monitor.close(),
}


def test_every_call_of_the_real_client_works(monitor: RecordingClient) -> None:
    for name in sorted(public(MonitoringClient), key=list(CALLS).index):
        CALLS[name](monitor)


def test_it_may_be_put_in_the_place_of_the_real_client() -> None:
    assert RecordingClient("postgresql://h/d", schema="x", worker_id="w", enabled=False).worker_id == "w"
    with pytest.raises(TypeError, match="shema"):
        RecordingClient("postgresql://h/d", shema="x")


def test_every_call_works_and_is_kept(monitor: RecordingClient) -> None:
    task_id = monitor.start_task("import", 10, "w-1", at=AT)
    monitor.heartbeat(task_id, 50, "parse", at=AT)
    monitor.complete_task(task_id, "failed", 5, {"parse": 1.5}, ValueError("bad row"), at=AT)
    monitor.record_error(task_id, "E", "high", "boom", "importer", "Traceback …", {"row": 7}, at=AT)
    monitor.record_performance_metric("rows", "counter", 7, "rows", "importer", {"file": "a"}, at=AT)
    monitor.update_system_health("api", "main", "degraded", 120, "slow", {"try": 2}, at=AT)
    monitor.update_queue_metrics("mail", 3, 1, 40, 2, 7.5, at=AT)
    monitor.queue("mail").report(4)
    monitor.record_host_sample("ops-1", {"cpu_percent": 12.5}, at=AT)

    (task,), (heartbeat,), (error,) = monitor.tasks, monitor.heartbeats, monitor.errors
    (metric,), (health,), (sample,) = monitor.metrics, monitor.health_reports, monitor.host_samples
    assert task == RecordedTask(
        "import", "failed", task_id, 10, 5, {"parse": 1.5}, "bad row", "w-1", started_at=AT, ended_at=AT
    )
    assert (heartbeat.task_id, heartbeat.progress, heartbeat.step, heartbeat.at) == (task_id, 50, "parse", AT)
    assert (error.message, error.component, error.context, error.task_id) == ("boom", "importer", {"row": 7}, task_id)
    assert (metric.metric_name, metric.value, metric.unit, metric.tags) == ("rows", 7.0, "rows", {"file": "a"})
    assert (health.status, health.response_time, health.failure_reason) == ("degraded", 120, "slow")
    assert [queue.pending for queue in monitor.queues] == [3, 4]
    assert (sample.host, sample.sample) == ("ops-1", {"cpu_percent": 12.5})


def test_a_task_is_kept_with_its_steps_and_its_error(monitor: RecordingClient) -> None:
    with pytest.raises(KeyError), monitor.task("import", 3) as task, task.step("read"):
        raise KeyError("gone")

    monitor.assert_task("import", "failed", input_size=3, steps=["read"], error_contains="gone")
    monitor.assert_error("KeyError", "medium", "gone", component="import", task_id=task.task_id)
    monitor.assert_nothing_running()


def test_a_task_runs_until_it_ends(monitor: RecordingClient) -> None:
    with monitor.task("import") as task:
        monitor.assert_task("import", "running")
        task.output_size = 9
        assert "status='running'" in message_of(monitor.assert_nothing_running)
    monitor.assert_task("import", output_size=9, worker_id="tester")


def test_a_task_within_a_task_knows_its_parent(monitor: RecordingClient) -> None:
    with monitor.task("batch") as batch, monitor.task("import") as task:
        task.metric("rows", 12, "rows")
        task.fail("no rows")

    monitor.assert_task("import", "failed", parent_id=batch.task_id, error_contains="no rows")
    monitor.assert_task("batch")
    monitor.assert_metric("rows", 12, component="import", tags={"task_id": task.task_id})


def test_a_task_of_a_coroutine_is_kept(monitor: RecordingClient) -> None:
    async def work() -> None:
        async with monitor.task("import", durable=True) as task:
            task.output_size = 1

    asyncio.run(work())

    monitor.assert_task("import", output_size=1)


def test_a_tracked_function_is_kept(monitor: RecordingClient) -> None:
    @monitor.tracked("double")
    def double(number: int) -> int:
        return 2 * number

    double(1), double(2)

    monitor.assert_task("double", times=2)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        pytest.param(lambda monitor: monitor.complete_task("t", "done"), ValueError, "cancelled", id="status"),
        pytest.param(lambda monitor: monitor.start_task(""), ValueError, "task_type", id="no name"),
        pytest.param(
            lambda monitor: monitor.record_error(None, "E", "bad", "m"), ValueError, "severity", id="severity"
        ),
        pytest.param(lambda monitor: monitor.queue("q").report(None), TypeError, "pending", id="pending"),
        pytest.param(lambda monitor: monitor.complete_task("t"), ValueError, "was started", id="end of no task"),
        pytest.param(lambda monitor: monitor.heartbeat("t"), ValueError, "was started", id="heartbeat of no task"),
    ],
)
def test_a_mistake_is_raised(
    monitor: RecordingClient, mistake: Callable[[RecordingClient], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mistake(monitor)


def test_a_mistake_beside_an_exception_of_the_application_is_told_by_the_next_failure(monitor: RecordingClient) -> None:
    task = monitor.task("import")
    task.output_size = -1
    with pytest.raises(KeyError, match="mine"), task:
        raise KeyError("mine")

    assert monitor.dropped == len(monitor.mistakes) == 1
    assert "output_size must lie between" in message_of(lambda: monitor.assert_task("import", "failed"))


def test_a_replay_changes_nothing_and_an_id_may_be_used_again(monitor: RecordingClient) -> None:
    for _ in range(2):
        monitor.start_task("import", task_id="one")
    for status in ("completed", "failed"):
        monitor.complete_task("one", status)
    monitor.start_task("import", task_id="one")

    assert [task.status for task in monitor.tasks] == ["completed", "running"]


def test_a_failure_lists_what_is_closest_first(monitor: RecordingClient) -> None:
    monitor.complete_task(monitor.start_task("mailing"))
    monitor.complete_task(monitor.start_task("import", 3), "failed", error_message="disk full")

    lines = message_of(lambda: monitor.assert_task("import")).splitlines()

    assert lines[:2] == [
        "wanted exactly 1 task with task_type='import' status='completed'; there are none.",
        "Recorded, closest first (2):",
    ]
    assert lines[2].startswith("  task_type='import' status='failed'")
    assert "error='disk full'" in lines[2]
    assert lines[3].startswith("  task_type='mailing' status='completed'")


def test_a_failure_says_so_when_nothing_was_recorded(monitor: RecordingClient) -> None:
    assert message_of(lambda: monitor.assert_queue("mail")).splitlines() == [
        "wanted at least one queue report with queue_name='mail'; there are none.",
        "No queue report was recorded at all.",
    ]


def test_a_failure_lists_ten_at_most(monitor: RecordingClient) -> None:
    for number in range(12):
        monitor.queue(f"queue-{number}").report(number)

    lines = message_of(lambda: monitor.assert_queue("queue-11", 12)).splitlines()

    assert "queue_name='queue-11'" in lines[2]
    assert (len(lines), lines[-1]) == (13, "  and 2 more")


@pytest.mark.parametrize(
    ("holds", "fails"),
    [
        pytest.param(lambda m: m.assert_task("a", times=2), lambda m: m.assert_task("a"), id="times of a task"),
        pytest.param(lambda m: m.assert_task("a", times=None), lambda m: m.assert_task("b", times=None), id="any times"),
        pytest.param(lambda m: m.assert_task("b", times=0), lambda m: m.assert_task("a", times=0), id="never"),
        pytest.param(lambda m: m.assert_task("a", output_size=2), lambda m: m.assert_task("a", output_size=4), id="size"),
        pytest.param(lambda m: m.assert_error(), lambda m: m.assert_error("F"), id="type of an error"),
        pytest.param(lambda m: m.assert_error("E"), lambda m: m.assert_no_errors(), id="no errors"),
        pytest.param(
            lambda m: m.assert_error(severity="low", message_contains="oo", component="c", times=1),
            lambda m: m.assert_error(severity="low", message_contains="O"),
            id="message",
        ),
        pytest.param(lambda m: m.assert_metric("m", 1.5), lambda m: m.assert_metric("m", 2.5), id="value"),
        pytest.param(
            lambda m: m.assert_metric("m", pytest.approx(1.5001, abs=0.01), metric_type="gauge", unit="s"),
            lambda m: m.assert_metric("m", pytest.approx(1.6, abs=0.01)),
            id="about a value",
        ),
        pytest.param(
            lambda m: m.assert_metric("m", tags={"a": 1}), lambda m: m.assert_metric("m", tags={"a": 1, "c": 3}), id="tags"
        ),
        pytest.param(lambda m: m.assert_health("api", "x"), lambda m: m.assert_health("api", "y"), id="component"),
        pytest.param(
            lambda m: m.assert_health("db", "y", "unhealthy", reason_contains="time"),
            lambda m: m.assert_health("db", "y", "unhealthy", reason_contains="disk"),
            id="reason",
        ),
        pytest.param(lambda m: m.assert_queue("q", 5, failed=0), lambda m: m.assert_queue("q", 6), id="pending"),
    ],
)  # fmt: skip
def test_an_assertion_holds_or_fails(
    monitor: RecordingClient, holds: Callable[[RecordingClient], None], fails: Callable[[RecordingClient], None]
) -> None:
    monitor.complete_task(monitor.start_task("a"), output_size=2)
    monitor.complete_task(monitor.start_task("a"), output_size=3)
    monitor.complete_task(monitor.start_task("a"), "cancelled", output_size=3)
    monitor.record_error(None, "E", "low", "boom", "c")
    monitor.record_performance_metric("m", "gauge", 1.5, "s", tags={"a": 1, "b": 2})
    monitor.update_system_health("api", "x", "healthy")
    monitor.update_system_health("db", "y", "unhealthy", failure_reason="timeout")
    monitor.queue("q").report(5, failed=0)

    holds(monitor)
    with pytest.raises(AssertionError):
        fails(monitor)


def test_it_may_serve_an_asynchronous_client(monitor: RecordingClient) -> None:
    asynchronous = AsyncMonitoringClient("", enabled=False)
    asynchronous.client = monitor

    async def work() -> None:
        await asynchronous.record_error(None, "E", "low", "boom")
        async with asynchronous.task("import"):
            pass

    asyncio.run(work())

    monitor.assert_error("E")
    monitor.assert_task("import")


def test_forgetting_makes_room_for_the_next_part_of_a_test(monitor: RecordingClient) -> None:
    monitor.record_error(None, "E", "low", "boom")
    monitor.clear()

    monitor.assert_no_errors()


def test_it_needs_no_database_no_thread_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    threads = threading.active_count()

    with RecordingClient(worker_id="w") as monitor, monitor.task("import"):
        pass

    assert threading.active_count() == threads
    monitor.assert_task("import", worker_id="w")


def test_threads_may_share_it(monitor: RecordingClient) -> None:
    def work() -> None:
        for _ in range(50):
            with monitor.task("work"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    monitor.assert_task("work", times=200)
    monitor.assert_nothing_running()
