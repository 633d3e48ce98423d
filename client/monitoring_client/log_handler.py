"""Errors from logging: a handler that records what the application logs."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from monitoring_client import forks
from monitoring_client.client import MonitoringClient
from monitoring_client.errors import MonitoringError
from monitoring_client.facts import readable
from monitoring_client.tasks import enclosing_task

OUR_LOGGER = "automon_client"
OUR_THREADS = frozenset(("automon-client", "automon-host-sampler"))
MOST_OF_A_KIND = 5  # in a window
MOST_OF_A_SEVERITY = 60  # in a window: messages that are made with f-strings are each of a kind of their own
WINDOW_SECONDS = 60.0
PASSED_ON_AT_ONCE_SECONDS = 1.0
LONGEST_NAME = 128  # characters
LONGEST_TEMPLATE = 500
# What every record has; anything else came with `extra`.
USUAL_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Kind(NamedTuple):
    """What makes records alike: a storm of one message is one kind, whatever its arguments."""

    logger: str
    level: int
    template: str
    error_type: str


class MonitoringHandler(logging.Handler):
    """Records log records as errors: of the type of their exception, or of the logger's name where there is none.

    The severity goes by the level: CRITICAL is critical, a level between ERROR and CRITICAL is high, ERROR is medium,
    anything below is low. The component is the logger's name unless given. The task is the one
    in which it was logged, or the one that an extra field `task_id` names. Without a monitor, one is made from the environment.

    A loop that logs does not flood the database: 5 records of a kind (logger, level, message before formatting, type of
    exception) are recorded a minute, and 60 of a severity. The others are counted, and the next record of their kind
    says how many they were. Of a kind that does not come again it is said with the next record of any kind, and at
    the end.

    Left out are records of the client's own logger and threads, and those that are logged while another is recorded.
    """

    def __init__(
        self,
        monitor: MonitoringClient | None = None,
        component: str | None = None,
        level: int | str = logging.ERROR,
    ) -> None:
        super().__init__(level)
        self._monitor = MonitoringClient.from_environment() if monitor is None else monitor
        self._component = component
        self._storms = Storms()
        self._busy = threading.local()
        self._tells_at_exit = False

    def handle(self, record: logging.LogRecord) -> Any:
        """As any handler, but without its lock: nothing here needs one, and no thread is to wait until another's record is taken."""
        taken: Any = self.filter(record)
        if taken:
            self.emit(taken if isinstance(taken, logging.LogRecord) else record)
        return taken

    def emit(self, record: logging.LogRecord) -> None:
        """Record it, unless there were too many of its kind. A mistake in here is told as logging tells it: `logging.raiseExceptions`."""
        if _is_ours(record) or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._record_if_few(record)
        finally:
            self._busy.now = False

    def close(self) -> None:
        """Say how many records were left out. The monitor stays open."""
        for kind, left_out in self._storms.untold(math.inf):
            self._record_left_out(kind, left_out)
        super().close()

    def _record_if_few(self, record: logging.LogRecord) -> None:
        try:
            kind = _kind(record)
            left_out = self._storms.admit(kind, record.created)
            error = None if left_out is None else _error(record, kind, left_out)
        except Exception:  # noqa: BLE001 - what somebody else put into the record
            self.handleError(record)
            return
        if error is None:
            self._tell_at_exit()
            return
        for other, count in self._storms.untold(record.created):
            self._record_left_out(other, count)
        self._record(kind, error, record)

    def _record_left_out(self, kind: Kind, count: int) -> None:
        message = f"{kind.template} ({count} more were left out)"
        self._record(kind, {"error_message": message, "context": {"logger": kind.logger, "left_out": count}}, None)

    def _record(self, kind: Kind, error: dict[str, Any], record: logging.LogRecord | None) -> None:
        component = kind.logger if self._component is None else self._component
        task_id = error.pop("task_id", None)
        try:
            self._monitor.record_error(task_id, kind.error_type, _severity(kind.level), component=component, **error)
        except (MonitoringError, TypeError, ValueError):  # only of a client that was made to raise
            self.handleError(record or logging.makeLogRecord({"name": kind.logger, "msg": kind.template}))

    def _tell_at_exit(self) -> None:
        if not self._tells_at_exit:
            # Not before there is something to tell: what is registered last runs first, and the client has to live then.
            self._tells_at_exit = True
            atexit.register(_close, weakref.ref(self))


@dataclass
class _Window:
    began: float
    taken: int = 0
    left_out: int = 0

    def covers(self, now: float) -> bool:
        return 0 <= now - self.began < WINDOW_SECONDS  # clocks are set back now and then


class Storms:
    """Tells which records to leave out. Moments are seconds since 1970, as records have them."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Window] = {}
        self._severities: dict[str, _Window] = {}
        self._make_lock()
        forks.watch(self)

    def before_fork(self) -> None:
        """Need no rest: nothing here is left half done."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        self._make_lock()
        self._kinds, self._severities = {}, {}  # the parent tells of those

    def _make_lock(self) -> None:
        # Reentrant, because a signal handler may log while the main thread does.
        self._lock = threading.RLock()

    def admit(self, kind: Kind, now: float) -> int | None:
        """Answer how many of its kind were left out since one was taken; None when this one is to be left out as well."""
        with self._lock:
            all_alike = self._window(self._severities, _severity(kind.level), now)
            # Of a kind that is new in a storm nothing is kept: a storm of different messages must not fill the memory.
            if all_alike.taken >= MOST_OF_A_SEVERITY:
                self._kinds.get(kind, all_alike).left_out += 1
                return None
            alike = self._window(self._kinds, kind, now)
            if alike.taken >= MOST_OF_A_KIND:
                alike.left_out += 1
                return None
            alike.taken += 1
            all_alike.taken += 1
            left_out, alike.left_out = alike.left_out, 0
            return left_out

    def untold(self, now: float) -> list[tuple[Kind, int]]:
        """Forget the kinds that have been quiet, and answer how many were left out of each. For ever later: of all."""
        with self._lock:
            return list(self._untold(now))

    def _untold(self, now: float) -> Iterator[tuple[Kind, int]]:
        for kind in [kind for kind, window in self._kinds.items() if not window.covers(now)]:
            left_out = self._kinds.pop(kind).left_out
            if left_out:
                yield kind, left_out
        for severity, window in self._severities.items():
            if window.left_out and not (window.covers(now) and window.taken >= MOST_OF_A_SEVERITY):
                left_out, window.left_out = window.left_out, 0
                yield Kind("root", LEVELS[severity], "log records of many kinds", "LogStorm"), left_out

    @staticmethod
    def _window(windows: dict[Any, _Window], key: object, now: float) -> _Window:
        window = windows.get(key)
        if window is None:
            window = windows[key] = _Window(now)
        elif not window.covers(now):
            window.began, window.taken = now, 0
        return window


LEVELS = {
    "critical": logging.CRITICAL,
    "high": logging.ERROR + 1,
    "medium": logging.ERROR,
    "low": logging.NOTSET,
}


def _severity(level: int) -> str:
    """Find the first severity, from the top, whose level is reached."""
    return next((severity for severity, least in LEVELS.items() if level >= least), "low")


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether the client itself speaks, or the database driver in one of the client's threads: recording that would go round and round."""
    return f"{record.name}.".startswith(f"{OUR_LOGGER}.") or record.threadName in OUR_THREADS


def _kind(record: logging.LogRecord) -> Kind:
    logger = record.name[:LONGEST_NAME] or "root"
    raised = record.exc_info[0] if record.exc_info else None
    error_type = logger if raised is None else raised.__name__[:LONGEST_NAME]
    return Kind(logger, record.levelno, readable(record.msg)[:LONGEST_TEMPLATE], error_type)


def _error(record: logging.LogRecord, kind: Kind, left_out: int) -> dict[str, Any]:
    """Say what record_error is to be told of it beside its kind."""
    extra = {name: value for name, value in record.__dict__.items() if name not in USUAL_FIELDS}
    task_id = extra.get("task_id") or enclosing_task()
    context = {
        "logger": kind.logger,
        "level": record.levelname,
        "module": record.module,
        "function": record.funcName,
        "line": record.lineno,
        "thread": record.threadName,
        "process": record.process,
    }
    message = _message(record)
    if left_out:
        context["left_out"] = left_out
        message = f"{message} ({left_out} more were left out before this one)"
    if extra:
        context["extra"] = extra
    return {
        "error_message": message,
        "task_id": task_id if isinstance(task_id, str) and 0 < len(task_id) <= LONGEST_NAME else None,
        "stack_trace": _stack_trace(record),
        "context": context,
        "at": _moment(record),
    }


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the message; the fact is not lost over that
        return f"{readable(record.msg)} {readable(record.args)}"


def _stack_trace(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(*record.exc_info))
    return record.exc_text or record.stack_info


def _moment(record: logging.LogRecord) -> datetime | None:
    """Give the moment of a record that waited, for example in a queue. One that comes at once leaves it to the client, which can correct a clock that is off."""
    if abs(time.time() - record.created) < PASSED_ON_AT_ONCE_SECONDS:
        return None
    return datetime.fromtimestamp(record.created, tz=timezone.utc)


def _close(reference: weakref.ref[MonitoringHandler]) -> None:
    handler = reference()
    if handler is not None:
        handler.close()
