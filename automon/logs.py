"""One log for automon and its libraries: readable on a terminal, JSON elsewhere, and never a secret in it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

from automon.errors import AutomonError
from automon.secrets import scrub

# Two lines for each run of a job, and one for each attempt to connect, say nothing that automon does not say itself.
_QUIET_LIBRARIES = {
    "apscheduler": logging.WARNING,
    "apscheduler.scheduler": logging.ERROR,
    "psycopg.pool": logging.ERROR,
}

_JOURNAL_PRIORITIES = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
    (logging.NOTSET, "<7>"),
)


def configure_logging(
    *,
    stream: TextIO | None = None,
    json: bool | None = None,
    level: str = "INFO",
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send every log line to `stream` (stderr when None) in one format; calling it again replaces the earlier call.

    `json` None: AUTOMON_LOG_FORMAT (json or console) decides, and without it whether the stream is a terminal.
    Raises AutomonError when AUTOMON_LOG_FORMAT or the level is not a known word.
    """
    environ = os.environ if environ is None else environ
    stream = sys.stderr if stream is None else stream
    as_json = wants_json(environ, stream) if json is None else json
    journal = _is_journal(environ, stream)
    colors = not as_json and not journal and stream.isatty() and "NO_COLOR" not in environ
    handler = _Handler(stream)
    handler.setFormatter(_formatter(as_json=as_json, colors=colors, journal=journal))
    _install(handler, _level(level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_shared(), ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # A cached logger would keep the format of before when this is called again.
        cache_logger_on_first_use=False,
    )


def log_uncaught_exceptions() -> None:
    """Let what no code caught end as a log line, scrubbed like any other, instead of on stderr."""
    log = structlog.stdlib.get_logger("automon")

    def main_thread(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught_exception", exc_info=(kind, error, trace))

    def other_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or issubclass(args.exc_type, SystemExit):
            return
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        log.critical("uncaught_exception", thread=args.thread.name if args.thread else None, exc_info=info)

    sys.excepthook = main_thread
    threading.excepthook = other_thread


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of `configure_logging`, by whose type a later call finds it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the name and shape of logging
        """Stay quiet when nobody reads any more; the default would print the record's secrets to stderr."""
        if not isinstance(sys.exception(), OSError | ValueError):
            sys.stderr.write(scrub(traceback.format_exc()))


class _ScrubbingFormatter(ProcessorFormatter):
    """Scrubs the finished text: a traceback becomes text only there, too late for any processor."""

    def __init__(self, *, journal: bool, **options: Any) -> None:
        super().__init__(**options)
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = scrub(super().format(record))
        return _with_priority(text, record.levelno) if self._journal else text


def _with_priority(text: str, level: int) -> str:
    """Begin each line with its journal priority: the journal makes an entry of each line."""
    prefix = next(prefix for least, prefix in _JOURNAL_PRIORITIES if level >= least)
    return "\n".join(f"{prefix}{line}" for line in text.split("\n"))


def _formatter(*, as_json: bool, colors: bool, journal: bool) -> logging.Formatter:
    return _ScrubbingFormatter(
        journal=journal,
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()],
        processors=_json_processors() if as_json else _console_processors(colors=colors),
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]


def _json_processors() -> list[Processor]:
    # Local variables hold passwords and whole messages; both renderers are told to leave them out.
    exceptions = ExceptionDictTransformer(show_locals=False, max_frames=20)
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(exceptions),
        _first_things_first,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _first_things_first(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put when, how bad and what in front, where the eye looks in a line of JSON."""
    front = {key: event.pop(key) for key in ("timestamp", "level", "event", "logger") if key in event}
    return {**front, **event}


def _console_processors(*, colors: bool) -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S %Z", utc=False),
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]


def _install(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for earlier in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _QUIET_LIBRARIES.items():
        logging.getLogger(name).setLevel(max(least, level))
    # Its debug lines name the path of a webhook, which is the secret.
    logging.getLogger("urllib3").setLevel(max(level, logging.INFO))
    _keep_apprise_to_itself()


def _keep_apprise_to_itself() -> None:
    """Let apprise collect its debug lines, where alone the reason of a failure stands, but print none of them.

    They hold the webhook's URL; the sender reads them from the result and stores what is safe.
    """
    apprise = logging.getLogger("apprise")
    apprise.setLevel(logging.DEBUG)
    apprise.propagate = False
    if not any(isinstance(handler, logging.NullHandler) for handler in apprise.handlers):
        apprise.addHandler(logging.NullHandler())


def _level(name: str) -> int:
    levels = logging.getLevelNamesMapping()
    if name.upper() not in levels:
        raise AutomonError(f'"{name}" is not a log level', hint="one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return levels[name.upper()]


def wants_json(environ: Mapping[str, str], stream: TextIO) -> bool:
    asked = environ.get("AUTOMON_LOG_FORMAT", "").strip().lower()
    if asked not in ("", "json", "console"):
        raise AutomonError(f'AUTOMON_LOG_FORMAT is "{asked}"', hint="json, console, or not set")
    return asked == "json" if asked else not stream.isatty()


def _is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Say whether the stream goes to the systemd journal: JOURNAL_STREAM names its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
