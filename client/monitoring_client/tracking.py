"""The decorator that makes each call of a function a task."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

from monitoring_client.tasks import Task

P = ParamSpec("P")
R = TypeVar("R")


def track(function: Callable[P, R], new_task: Callable[[], Task]) -> Callable[P, R]:
    """Wrap a function or a coroutine function. Raises TypeError for a generator function, whose call is not its work."""
    import inspect

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"tracked() cannot follow the generator {function.__qualname__}; use monitor.task(…) inside it")
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
