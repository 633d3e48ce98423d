"""Blocking work beside an event loop, in the context of whoever asks for it."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import Future

R = TypeVar("R")


def begin_off_loop(work: Callable[[], object]) -> None:
    """Have the work done in a thread of the running loop; here, where there is none."""
    try:
        _begin(work)
    except RuntimeError:
        work()


async def off_loop(work: Callable[[], R]) -> R:
    """Do the work as `begin_off_loop` and answer what it answers. It goes on even if the waiting is cancelled."""
    import asyncio

    try:
        future = _begin(work)
    except RuntimeError:
        return work()
    return await asyncio.shield(future)


def _begin(work: Callable[[], R]) -> Future[R]:
    """Begin the work in a thread. Raises RuntimeError where no loop of asyncio takes any: on trio, or while one shuts down."""
    import asyncio

    return asyncio.get_running_loop().run_in_executor(None, functools.partial(contextvars.copy_context().run, work))
