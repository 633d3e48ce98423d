"""The decorator that makes each call of a function a task."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, ParamSpec, TypeVar, cast

from monitoring_client.tasks import Task

P = ParamSpec("P")
R = TypeVar("R")


def track(function: Callable[P, R], new_task: Callable[[], Task]) -> Callable[P, R]:
    """Wrap a function, a coroutine function or a generator function. The task of a generator lasts from its first step to its end."""
    import inspect  # nearly a megabyte that most applications never use

    if inspect.isgeneratorfunction(function):
        return cast(Callable[P, R], _track_generator(function, new_task))
    if inspect.isasyncgenfunction(function):
        return cast(Callable[P, R], _track_async_generator(function, new_task))
    if inspect.iscoroutinefunction(function):
        return cast(Callable[P, R], _track_coroutine(function, new_task))
    return _track_function(function, new_task)


def _track_function(function: Callable[P, R], new_task: Callable[[], Task]) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with new_task():
            return function(*args, **kwargs)

    return call


def _track_coroutine(function: Callable[P, Awaitable[R]], new_task: Callable[[], Task]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        async with new_task():
            return await function(*args, **kwargs)

    return call


def _track_generator(
    function: Callable[P, Generator[Any, Any, R]], new_task: Callable[[], Task]
) -> Callable[P, Generator[Any, Any, R]]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        task = new_task().start()
        try:
            result = yield from _Steps(function(*args, **kwargs), task)
        except BaseException as error:
            task.end(error)
            raise
        task.end()
        return cast(R, result)

    return call


def _track_async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], new_task: Callable[[], Task]
) -> Callable[P, AsyncGenerator[Any, Any]]:
    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        task = new_task()
        await task.astart()
        generator = function(*args, **kwargs)
        step = functools.partial(generator.asend, None)
        try:
            while True:
                task.enter()
                try:
                    value = await step()
                finally:
                    task.leave()
                try:
                    step = functools.partial(generator.asend, (yield value))
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - what the caller throws in is the generator's
                    step = functools.partial(generator.athrow, error)
        except StopAsyncIteration:
            await task.aend()
        except BaseException as error:
            await task.aend(error)
            raise

    return call


class _Steps:
    """A generator whose code runs inside a task, while the code of its caller, between two values, does not."""

    def __init__(self, generator: Generator[Any, Any, R], task: Task) -> None:
        self._generator = generator
        self._task = task

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self._within(self._generator.__next__)

    def send(self, value: Any) -> Any:
        return self._within(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._within(self._generator.throw, *error)

    def close(self) -> None:
        self._within(self._generator.close)

    def _within(self, step: Callable[..., Any], *arguments: Any) -> Any:
        self._task.enter()
        try:
            return step(*arguments)
        finally:
            self._task.leave()
