"""One log for automon and its libraries, and never a secret in it.

Readable on a terminal, entries with fields in the systemd journal, JSON elsewhere.
"""

from __future__ import annotations

import json as jsonlib
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor

from automon.errors import AutomonError
from automon.journal import SOCKET, Journal, JournalFullError, is_journal
from automon.secrets import scrub

# Two lines for each run of a job, and one for each attempt to connect, say nothing that automon does not say itself.
_QUIET_LIBRARIES = {
    "apscheduler": logging.WARNING,
    "apscheduler.scheduler": logging.ERROR,
    "psycopg.pool": logging.ERROR,
}

_JOURNAL_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
# Bounds of an entry in the journal, in characters and in fields: a log is no place for documents.
_LONGEST_MESSAGE = 65536
_LONGEST_FIELD = 4096
_LONGEST_FIELD_NAME = 64
_MOST_FIELDS = 40
_NEEDS_NO_QUOTES = r"[^\s\"=]+"
_NOT_FIELDS = frozenset({"level", "event", "exc_info", "stack_info", "exception"})


def configure_logging(
    *,
    stream: TextIO | None = None,
    json: bool | None = None,
    level: str = "INFO",
    environ: Mapping[str, str] | None = None,
    journal_socket: Path = SOCKET,
) -> None:
    """Send every log line to `stream` (stderr when None) in one format; calling it again replaces the earlier call.

    `json` None: AUTOMON_LOG_FORMAT (json or console) decides, and without it whether the stream is a terminal.
    A stream that goes to the systemd journal is passed over: the journal gets entries with fields, by `journal_socket`,
    and the stream only what cannot be sent there. The entry's text is JSON if AUTOMON_LOG_FORMAT says so.
    Raises AutomonError when AUTOMON_LOG_FORMAT or the level is not a known word.
    """
    environ = os.environ if environ is None else environ
    stream = sys.stderr if stream is None else stream
    as_json = wants_json(environ, stream) if json is None else json
    if is_journal(environ, stream):
        message = _formatter(_json_processors() if _asked_for(environ) == "json" else _message_processors())
        handler: _Handler = _JournalHandler(stream, Journal(journal_socket), message)
        handler.setFormatter(
            _formatter(_json_processors() if as_json else _console_processors(colors=False), prefix=True)
        )
    else:
        colors = not as_json and stream.isatty() and "NO_COLOR" not in environ
        handler = _Handler(stream)
        handler.setFormatter(_formatter(_json_processors() if as_json else _console_processors(colors=colors)))
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


class _JournalHandler(_Handler):
    """Writes entries with fields to the journal, and lines with a priority to the stream while there is no journal."""

    def __init__(self, stream: TextIO, journal: Journal, message: logging.Formatter) -> None:
        super().__init__(stream)
        self._journal = journal
        self._message = message
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send({"MESSAGE": self._message.format(record)[:_LONGEST_MESSAGE], **_journal_fields(record)})
        except JournalFullError:
            self._lost += 1
        except OSError:
            super().emit(record)
        except Exception:  # noqa: BLE001  what a value's own code raises; logging's way
            self.handleError(record)

    def _send(self, fields: Mapping[str, str]) -> None:
        if self._lost:
            self._journal.send(_lost_lines(self._lost))
            self._lost = 0
        self._journal.send(fields)


def _lost_lines(count: int) -> dict[str, str]:
    return {
        "MESSAGE": f"log_lines_lost count={count}",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "automon",
        "AUTOMON_EVENT": "log_lines_lost",
        "AUTOMON_COUNT": str(count),
    }


def _journal_fields(record: logging.LogRecord) -> dict[str, str]:
    """Give what `journalctl` can be asked for: the event and what is bound to it, each scrubbed and bounded."""
    fields = {
        "PRIORITY": str(_priority(record.levelno)),
        "SYSLOG_IDENTIFIER": "automon",
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
        "AUTOMON_LOGGER": record.name,
    }
    for name, value in _bound(record):
        if len(fields) >= _MOST_FIELDS:
            break
        fields[_field_name(name)] = _as_text(value)[:_LONGEST_FIELD]
    return fields


def _bound(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    # What structlog logs is a document here; what a library logs is its text.
    event = record.msg if isinstance(record.msg, dict) else {}
    if "event" in event:
        yield "event", event["event"]
    if error := _error_of(event.get("exc_info") or record.exc_info):
        yield "exception", type(error).__name__
    yield from (
        pair for pair in {**structlog.contextvars.get_contextvars(), **event}.items() if pair[0] not in _NOT_FIELDS
    )


def _error_of(given: Any) -> BaseException | None:
    """Find the exception in what was given as exc_info: itself, the three parts, or a yes to the current one."""
    error = given[1] if isinstance(given, tuple) else given
    return error if isinstance(error, BaseException) else sys.exception() if error else None


def _field_name(name: str) -> str:
    return f"AUTOMON_{re.sub('[^A-Z0-9_]', '_', name.upper())}"[:_LONGEST_FIELD_NAME]


def _as_text(value: Any) -> str:
    """Write a value without its secrets: in quotes of quotes nobody would find them any more."""
    if value is None or isinstance(value, bool | dict | list | tuple):
        return scrub(jsonlib.dumps(value, default=str, ensure_ascii=False))
    return scrub(str(value))


class _ScrubbingFormatter(ProcessorFormatter):
    """Scrubs the finished text: a traceback becomes text only there, too late for any processor."""

    def __init__(self, *, prefix: bool, **options: Any) -> None:
        super().__init__(**options)
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        text = scrub(super().format(record))
        return _with_priority(text, record.levelno) if self._prefix else text


def _with_priority(text: str, level: int) -> str:
    """Begin each line with its journal priority: the journal makes an entry of each line."""
    return "\n".join(f"<{_priority(level)}>{line}" for line in text.split("\n"))


def _priority(level: int) -> int:
    return next(priority for least, priority in _JOURNAL_PRIORITIES if level >= least)


def _formatter(processors: list[Processor], *, prefix: bool = False) -> logging.Formatter:
    return _ScrubbingFormatter(
        prefix=prefix, foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()], processors=processors
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


def _message_processors() -> list[Processor]:
    return [
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _message,
    ]


def _message(_logger: Any, _method: str, event: EventDict) -> str:
    """Write an event in one line, as in `job_failed job=cleanup`; what has lines of its own stands below."""
    below = [str(event.pop(key)) for key in ("stack", "exception") if key in event]
    words = [_as_text(event.pop("event", ""))]
    for name, value in event.items():
        text = _as_text(value)
        if "\n" in text:
            below.insert(0, text)
        elif name not in ("level", "logger"):
            words.append(
                f"{name}={text if re.fullmatch(_NEEDS_NO_QUOTES, text) else jsonlib.dumps(text, ensure_ascii=False)}"
            )
    return "\n".join([" ".join(words), *below])


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
    asked = _asked_for(environ)
    return asked == "json" if asked else not stream.isatty()


def _asked_for(environ: Mapping[str, str]) -> str:
    asked = environ.get("AUTOMON_LOG_FORMAT", "").strip().lower()
    if asked not in ("", "json", "console"):
        raise AutomonError(f'AUTOMON_LOG_FORMAT is "{asked}"', hint="json, console, or not set")
    return asked
