"""The way through apprise; import it late, in the thread that sends: it costs 20 MB and 0.1 s.

Services are built from apprise's own classes where automon knows them, not from URLs: a URL loads every one of its
150 plugins (18 MB more), and a password in a URL has to survive two rounds of quoting.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

import apprise
from apprise.logger import LOGGER_NAME

from automon import __version__
from notifiers.text import clean

# A service's answer is logged by apprise at DEBUG only, next to lines that hold the webhook's address. So the logger
# listens to everything and passes nothing on; what may be told is picked from the captured lines below.
_logger = logging.getLogger(LOGGER_NAME)
_logger.setLevel(logging.DEBUG)
# Below apprise, urllib3 logs the path of each request at DEBUG: for a webhook that is the secret.
for _silent in (_logger, logging.getLogger("urllib3")):
    _silent.propagate = False
    _silent.addHandler(logging.NullHandler())

_ANSWER = "Response Details:"
_TROUBLE = ("Socket Exception:", "I/O Exception:", "Notification Exception:")
_STATUS = re.compile(r"error=(\d{3})\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one call. `status` is the HTTP status where there was one; `answer` the service's own words.

    `warnings` is what apprise says of the failure; `trouble` is an exception's text. Neither is safe to show as it is.
    """

    delivered: bool
    timed_out: bool
    status: int | None
    answer: str
    warnings: str
    trouble: str
    duration: timedelta


def asset() -> apprise.AppriseAsset:
    """Make what every service needs to know about the sender. Nothing is kept on disk, nothing is looked up."""
    return apprise.AppriseAsset(
        app_id="automon",
        app_desc=f"automon {__version__}",
        app_url="",
        storage_mode="memory",
        plugin_paths=[],
        service_timeout=0,
        http_redirects=False,
    )


def dispatch(
    service: apprise.NotifyBase, *, title: str, body: str, body_format: apprise.NotifyFormat | None, timeout: timedelta
) -> Outcome:
    """Send once through one service, whatever its own idea of pace and retries."""
    service.request_rate_per_sec = 0  # the sender keeps the pace; apprise would sleep, unsynchronised
    service.retry = 0
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    result = sender.notify(
        body=body, title=title, body_format=body_format, timeout=timeout.total_seconds(), log_level=logging.DEBUG
    )
    return _outcome(result)


def service_from_url(url: str) -> apprise.NotifyBase | None:
    """Load the service that an apprise URL names; None when apprise cannot read it."""
    service = apprise.Apprise.instantiate(url, asset=asset())
    if service is not None:
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    return service


def scrubbed(text: str, secret_url: str, limit: int = 200) -> str:
    """Blank every part of a secret URL, as it stands or unquoted, and any password or webhook in a text."""
    pieces = {piece for piece in re.split(r"[:/@?&=,#]+", secret_url) if len(piece) >= 4}
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "***")
    text = re.sub(r"://[^\s/@]+@", "://***@", text)
    return clean(re.sub(r"(hooks\.slack(-gov)?\.com)/\S+", r"\1/***", text), limit)


def _outcome(result: apprise.AppriseResult) -> Outcome:
    with result:
        entries = [(entry.level, entry.message) for entry in result.logs()]
        warnings = "; ".join(message for level, message in entries if level in ("WARNING", "ERROR", "CRITICAL"))
        status = _STATUS.search(warnings)
        return Outcome(
            delivered=bool(result),
            timed_out=result.status == apprise.AppriseResultStatus.TIMEOUT,
            status=int(status.group(1)) if status else None,
            answer=_bytes_text(_after(entries, (_ANSWER,))),
            warnings=warnings,
            trouble=_after(entries, _TROUBLE),
            duration=timedelta(seconds=result.elapsed),
        )


def _after(entries: list[tuple[str, str]], starts: tuple[str, ...]) -> str:
    found = [message.partition(":")[2].strip() for _, message in entries if message.startswith(starts)]
    return found[-1] if found else ""


def _bytes_text(shown: str) -> str:
    """Take `b'no_service'`, which is how apprise logs an answer, for the text that it is."""
    quoted = re.fullmatch(r"b(['\"])(.*)\1", shown, re.DOTALL)
    return quoted.group(2) if quoted else shown
