"""The health of a component as a context: what happens inside says how the component is."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from monitoring_client import forks, lenient
from monitoring_client.errors import MonitoringError
from monitoring_client.facts import readable
from monitoring_client.off_loop import off_loop

if TYPE_CHECKING:
    from typing_extensions import Self

    from monitoring_client.client import MonitoringClient

P = ParamSpec("P")
R = TypeVar("R")

SECONDS_BETWEEN_REPORTS = 1.0
MOST_REPORTS_A_SECOND = 10  # of one component whose state changes all the time
MOST_COMPONENTS = 1000  # remembered for each client; names that are made of ids must not fill the memory


class Health:
    """Reports how one component is, by what happens inside; `MonitoringClient.health` makes it.

    A context for `with` and `async with`, and a decorator. It may be entered again and again, also by several threads
    and coroutines at once. Left without an exception, the component is healthy, or degraded if that took longer than
    `slow_ms`; left with one, it is unhealthy and the exception goes on. What comes from outside (KeyboardInterrupt,
    CancelledError, GeneratorExit, SystemExit) says nothing about the component, and nothing is reported.

    Cheap enough for a hot path: while the state stays the same it is reported once a second at most. A change is
    reported at once, as long as one component has no more than ten reports a second.
    """

    def __init__(
        self, monitor: MonitoringClient, component_type: str, component_name: str, *, slow_ms: float | None = None
    ) -> None:
        self._monitor = monitor
        self._component = (component_type, component_name)
        self._slow_ms = math.inf if slow_ms is None else lenient.number("slow_ms", slow_ms, math.inf)

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), (self, time.perf_counter())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._report(self._milliseconds(), error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        report = functools.partial(self._report, self._milliseconds(), error)
        if self._monitor.waits:
            await off_loop(report)
        else:
            report()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or a coroutine function: each call reports. Raises TypeError for a generator function."""
        import inspect

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"health() cannot follow the generator {function.__qualname__}; use it as a context inside of it"
            )
        if inspect.iscoroutinefunction(function):
            return cast(Callable[P, R], self._decorated_coroutine(function))
        return self._decorated(function)

    def _decorated(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return call

    def _decorated_coroutine(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self:
                return await function(*args, **kwargs)

        return call

    def _milliseconds(self) -> float | None:
        """How long the innermost visit of this context took; None when it was entered elsewhere, such as in another thread."""
        entered = _entered.get()
        for index in range(len(entered) - 1, -1, -1):
            visited, began = entered[index]
            if visited is self:
                _entered.set(entered[:index] + entered[index + 1 :])
                return (time.perf_counter() - began) * 1000
        return None

    def _report(self, milliseconds: float | None, error: BaseException | None) -> None:
        if not says_something(error):
            return
        status, reason = judge(milliseconds, self._slow_ms, error)
        if not _reports_of(self._monitor).is_due(self._component, status, time.monotonic()):
            return
        spent = None if milliseconds is None else round(milliseconds, 3)
        try:
            self._monitor.update_system_health(*self._component, status, spent, reason)
        except (MonitoringError, TypeError, ValueError):  # only of a client that was made to raise
            if error is None:
                raise


def says_something(error: BaseException | None) -> bool:
    """Whether what left the context tells of the component: an interruption from outside does not."""
    return error is None or (isinstance(error, Exception) and type(error).__name__ != "CancelledError")


def judge(milliseconds: float | None, slow_ms: float, error: BaseException | None) -> tuple[str, str | None]:
    """Tell the state of a component, and the reason if it is not healthy."""
    if error is not None:
        return "unhealthy", f"{type(error).__name__}: {readable(error)}"
    if milliseconds is not None and milliseconds > slow_ms:
        return "degraded", f"took {milliseconds:.0f} ms, which is more than {slow_ms:g} ms"
    return "healthy", None


class Reports:
    """What was reported of the components of one client, to tell what need not be reported again."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], tuple[str, deque[float]]] = {}
        self._make_lock()
        forks.watch(self)

    def before_fork(self) -> None:
        """Need no rest: nothing here is left half done."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        self._make_lock()

    def _make_lock(self) -> None:
        # Reentrant, because a signal handler may report while the main thread does.
        self._lock = threading.RLock()

    def is_due(self, component: tuple[str, str], status: str, now: float) -> bool:
        """Whether to report this state now, in monotonic seconds; if so, it counts as reported."""
        with self._lock:
            before, moments = self._latest.pop(component, ("", deque[float](maxlen=MOST_REPORTS_A_SECOND)))
            due = _is_due(status != before, moments, now)
            if due:
                moments.append(now)
                before = status
            self._latest[component] = (
                before,
                moments,
            )  # as the youngest: the one that is silent longest is forgotten first
            if len(self._latest) > MOST_COMPONENTS:
                del self._latest[next(iter(self._latest))]
            return due


def _is_due(is_change: bool, moments: deque[float], now: float) -> bool:  # noqa: FBT001 - half of the question
    if not moments:
        return True
    if is_change:
        return len(moments) < MOST_REPORTS_A_SECOND or now - moments[0] >= SECONDS_BETWEEN_REPORTS
    return now - moments[-1] >= SECONDS_BETWEEN_REPORTS


# Where each context began. Of the running thread or coroutine, because one context may serve many of them at once.
_entered: ContextVar[tuple[tuple[Health, float], ...]] = ContextVar("automon_health", default=())
_reports: WeakKeyDictionary[MonitoringClient, Reports] = WeakKeyDictionary()


def _reports_of(monitor: MonitoringClient) -> Reports:
    """Find what all contexts of a client share: a hot path may make a new context each time."""
    reports = _reports.get(monitor)
    return _reports.setdefault(monitor, Reports()) if reports is None else reports
