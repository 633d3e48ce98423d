"""Tasks and the decorator, as far as they need no database: the client is switched off, the application goes on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
from collections.abc import AsyncGenerator, Generator

import pytest

from monitoring_client import MonitoringClient, identity
from monitoring_client.tasks import how_it_ended


@pytest.fixture
def monitor() -> MonitoringClient:
    return MonitoringClient("", enabled=False, raise_errors=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(None, "completed", id="nothing"),
        pytest.param(ValueError("x"), "failed", id="exception"),
        pytest.param(KeyboardInterrupt(), "cancelled", id="ctrl-c"),
        pytest.param(asyncio.CancelledError(), "cancelled", id="asyncio"),
        pytest.param(concurrent.futures.CancelledError(), "cancelled", id="futures"),
        pytest.param(GeneratorExit(), "cancelled", id="generator closed"),
        pytest.param(SystemExit(), "completed", id="exit without a code"),
        pytest.param(SystemExit(0), "completed", id="exit 0"),
        pytest.param(SystemExit(2), "failed", id="exit 2"),
        pytest.param(SystemExit("no input"), "failed", id="exit with a message"),
    ],
)
def test_the_exception_that_leaves_a_task_says_how_it_ended(error: BaseException | None, status: str) -> None:
    assert how_it_ended(error) == status


def test_a_step_that_is_entered_twice_adds_up(monitor: MonitoringClient) -> None:
    with monitor.task("work") as task:
        with task.step("read"):
            pass
        first = task.step_timings["read"]
        with task.step("read"), task.step("parse"):
            pass

    assert set(task.step_timings) == {"read", "parse"}
    assert task.step_timings["read"] >= first


def test_a_step_that_fails_is_timed(monitor: MonitoringClient) -> None:
    with pytest.raises(ValueError, match="bad"), monitor.task("work") as task, task.step("parse"):
        raise ValueError("bad")

    assert task.step_timings["parse"] >= 0


def test_a_tracked_function_answers_and_raises_as_before(monitor: MonitoringClient) -> None:
    @monitor.tracked("division")
    def divide(dividend: int, *, divisor: int) -> float:
        """Divide."""
        return dividend / divisor

    assert divide(6, divisor=3) == 2.0
    with pytest.raises(ZeroDivisionError):
        divide(6, divisor=0)
    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    assert list(inspect.signature(divide).parameters) == ["dividend", "divisor"]


def test_a_tracked_coroutine_function_stays_one(monitor: MonitoringClient) -> None:
    @monitor.tracked("double")
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def three() -> list[int]:
        return list(await asyncio.gather(double(1), double(2), double(3)))

    assert inspect.iscoroutinefunction(double)
    assert asyncio.run(three()) == [2, 4, 6]


def test_a_tracked_method_knows_its_object(monitor: MonitoringClient) -> None:
    class Worker:
        name = "w"

        @monitor.tracked("greeting")
        def greet(self, whom: str) -> str:
            return f"{self.name} greets {whom}"

    assert Worker().greet("you") == "w greets you"


def test_a_coroutine_outside_of_asyncio_runs_too(monitor: MonitoringClient) -> None:
    @monitor.tracked("answer")
    async def answer() -> int:
        return 42

    with pytest.raises(StopIteration) as stopped:  # how any other event loop drives a coroutine
        answer().send(None)

    assert stopped.value.value == 42


def test_a_generator_goes_on_as_before_when_it_is_tracked(monitor: MonitoringClient) -> None:
    @monitor.tracked("numbers")
    def numbers() -> Generator[int, str, str]:
        said = yield 1
        try:
            yield len(said)
        except KeyError as error:
            yield error.args[0]
        return "end"

    steps = numbers()
    assert (next(steps), steps.send("four"), steps.throw(KeyError(7))) == (1, 4, 7)
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    assert stopped.value.value == "end"


def test_an_asynchronous_generator_goes_on_as_before_when_it_is_tracked(monitor: MonitoringClient) -> None:
    closed: list[str] = []

    @monitor.tracked("numbers")
    async def numbers() -> AsyncGenerator[int, str]:
        try:
            said = yield 1
            try:
                yield len(said)
            except KeyError as error:
                yield error.args[0]
            yield 8
        finally:
            closed.append("closed")

    async def main() -> list[int]:
        steps = numbers()
        answers = [await anext(steps), await steps.asend("four"), await steps.athrow(KeyError(7))]
        await steps.aclose()
        return answers

    assert asyncio.run(main()) == [1, 4, 7]
    assert closed == ["closed"]


def test_a_forked_child_gives_ids_and_a_name_of_its_own() -> None:
    read, write = os.pipe()
    identity.new_task_id()
    name = identity.worker_id()
    child = os.fork()
    if child == 0:
        os.write(write, f"{identity.worker_id()} {identity.new_task_id()}".encode())
        os._exit(0)
    own = {identity.new_task_id() for _ in range(3)}
    os.waitpid(child, 0)
    child_name, child_id = os.read(read, 4096).decode().split()
    os.close(read)
    os.close(write)

    assert child_name != name
    assert child_name.endswith(f":{child}")
    assert {len(task_id) for task_id in {*own, child_id}} == {36}
    assert {task_id[:24] for task_id in own}.isdisjoint({child_id[:24]})
    assert len(own) == 3
