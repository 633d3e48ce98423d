"""Blocking work beside an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future


def begin_off_loop(work: Callable[[], object]) -> Future[object] | None:
    """Begin the work in a thread of the running asyncio loop. Where there is none (trio, a loop that is shutting down), do it here: None."""
    import asyncio

    try:
        return asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        work()
        return None


async def off_loop(work: Callable[[], object]) -> None:
    """As `begin_off_loop`, and wait for the end. The work goes on even if the waiting is cancelled."""
    import asyncio

    future = begin_off_loop(work)
    if future is not None:
        await asyncio.shield(future)
