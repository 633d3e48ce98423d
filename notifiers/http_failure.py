"""What a failed HTTP delivery means: told by the answer, by the exception, or by the lines that apprise logs of it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead
from typing import TYPE_CHECKING

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.text import clean

if TYPE_CHECKING:
    from notifiers.dispatch import Outcome

# For a service that limits and does not say for how long; those that say ask for 1 to 60 s.
RATE_LIMIT_PAUSE = timedelta(seconds=30)
# Nobody's answer, least of all that of something in between, may silence a channel for longer.
LONGEST_WISH = timedelta(hours=1)

_CREDENTIAL_ANSWERS = ("invalid_token", "invalid_auth", "not_authed", "token_revoked", "account_inactive")
_FINAL = {
    401: DeliveryReason.BAD_CREDENTIALS,
    403: DeliveryReason.GONE,
    404: DeliveryReason.GONE,
    410: DeliveryReason.GONE,
}

_MENDING = {
    DeliveryReason.BAD_CREDENTIALS: "Its secret is not valid any more: make another one, and put it in the place of the old.",
    DeliveryReason.GONE: "Its address is not valid any more, or its channel is closed: make another one, and put it in the place of the old.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trouble:
    """One way in which there is no answer. `words` go on after the service's name."""

    reason: DeliveryReason
    words: str
    uncertain: bool = False
    hint: str = ""

    def error(self, who: str) -> DeliveryError:
        return DeliveryError(self.reason, uncertain=self.uncertain, detail=f"{who} {self.words}", hint=self.hint)


_SILENT = _Trouble(reason=DeliveryReason.TIMED_OUT, uncertain=True, words="took the message but did not answer in time")
_BROKEN_OFF = _Trouble(reason=DeliveryReason.UNREACHABLE, uncertain=True, words="broke the connection off")
_NO_HTTP = _Trouble(reason=DeliveryReason.UNKNOWN, uncertain=True, words="gave an answer that is not HTTP")
_HALF_WAY = _Trouble(
    reason=DeliveryReason.UNKNOWN, uncertain=True, words="may have taken the message: it failed half-way"
)
_LATE = _Trouble(
    reason=DeliveryReason.UNREACHABLE,
    words="did not take a connection in time",
    hint="A firewall in between drops what it does not let pass; where there is a proxy, set HTTPS_PROXY.",
)
_NO_TLS = _Trouble(
    reason=DeliveryReason.MISCONFIGURED,
    words="has no trusted TLS connection",
    hint="Check the clock and the CAs; behind a proxy that inspects set REQUESTS_CA_BUNDLE.",
)
_NO_PROXY = _Trouble(
    reason=DeliveryReason.UNREACHABLE, words="cannot be reached through the proxy", hint="Check HTTPS_PROXY."
)
_NO_NAME = _Trouble(
    reason=DeliveryReason.UNREACHABLE, words="has a name that was not found", hint="Check this machine's DNS."
)
_NO_CONNECTION = _Trouble(
    reason=DeliveryReason.UNREACHABLE,
    words="takes no connection",
    hint="Check the network; where there is a proxy, set HTTPS_PROXY.",
)

# What the text of an exception holds, where the text is all there is. The first that fits counts; a break in the
# middle comes early, because behind a proxy it is told as the proxy's fault.
_SIGNS = (
    (("read timed out",), _SILENT),
    (("disconnected", "aborted", "reset by peer"), _BROKEN_OFF),
    (("connect timeout", "connecttimeout"), _LATE),
    (("certificate", "ssl"), _NO_TLS),
    (("proxy",), _NO_PROXY),
    (("resolve", "resolution", "name or service"), _NO_NAME),
    (("refused", "unreachable", "no route"), _NO_CONNECTION),
)


def answer_error(who: str, status: int, answer: str, retry_after: timedelta | None = None) -> DeliveryError:
    """Make the error for an answer that is no success. `answer` is the service's own words without secrets."""
    detail = clean(f"{who} answered {status} {answer}".rstrip(), 200)
    if status == 429:
        pause = RATE_LIMIT_PAUSE if retry_after is None else retry_after
        return DeliveryError(DeliveryReason.RATE_LIMITED, detail=detail, retry_after=pause)
    final = _final_reason(status, answer)
    if final is not None:
        return DeliveryError(final, permanent=True, detail=detail, hint=_MENDING.get(final, ""))
    # A 200 that is not the service's own "ok" comes from something in between, such as the login page of a proxy.
    reason = DeliveryReason.REFUSED if status >= 500 else DeliveryReason.UNKNOWN
    return DeliveryError(reason, uncertain=status < 300, detail=detail, retry_after=retry_after)


def exchange_error(who: str, error: Exception, *, handed_over: bool) -> DeliveryError:
    """Make the error for an exchange of requests' that raised.

    Only types count: the text of each such exception names the webhook. `handed_over` says whether the message had
    begun to leave; no type does, since behind a proxy one and the same stands for before and after.
    """
    trouble = _trouble_after(error) if handed_over else _trouble_before(error)
    return trouble.error(who)


def silence_error(who: str, *, handed_over: bool) -> DeliveryError:
    """Make the error for a call that was given up."""
    return exchange_error(who, TimeoutError(), handed_over=handed_over)


def captured_error(who: str, outcome: Outcome, answer: str) -> DeliveryError:
    """Make the error for a call that apprise made by itself. `answer` is the service's own words without secrets."""
    if outcome.timed_out:
        return silence_error(who, handed_over=True)
    if outcome.status is not None:
        return answer_error(who, outcome.status, answer)
    text = outcome.trouble.lower()
    fitting = (trouble for signs, trouble in _SIGNS if any(sign in text for sign in signs))
    return next(fitting, _HALF_WAY).error(who)


def wished_pause(header: str, now: datetime) -> timedelta | None:
    """Read a Retry-After header, seconds or a date, as at most an hour; None when it makes no sense.

    A date that has passed makes none: one of the two clocks is wrong.
    """
    if re.fullmatch(r"[0-9]{1,12}", header):
        return min(timedelta(seconds=int(header)), LONGEST_WISH)
    try:
        at = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    pause = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(pause, LONGEST_WISH) if pause >= timedelta(0) else None


def _final_reason(status: int, answer: str) -> DeliveryReason | None:
    """Say why the service will never take this, None when it may at another time."""
    if status not in range(400, 500) or status == 408:
        return None
    if any(said in answer for said in _CREDENTIAL_ANSWERS):
        return DeliveryReason.BAD_CREDENTIALS
    return _FINAL.get(status, DeliveryReason.REJECTED_CONTENT)


def _trouble_before(error: Exception) -> _Trouble:
    """Say what kept a message from leaving."""
    from requests.exceptions import InvalidSchema, InvalidURL, ProxyError, SSLError

    if type(error) is OSError:  # so, and without a number, requests says that a CA file is not there
        return _NO_TLS
    return _first_of(
        error,
        ((ssl.SSLError, SSLError), _NO_TLS),
        ((TimeoutError,), _LATE),
        # Of the two addresses the service's own was checked; so it is the proxy's that makes no sense.
        ((ProxyError, InvalidURL, InvalidSchema), _NO_PROXY),
        ((socket.gaierror,), _NO_NAME),
        otherwise=_NO_CONNECTION,
    )


def _trouble_after(error: Exception) -> _Trouble:
    """Say what became of a message that had begun to leave."""
    return _first_of(
        error,
        ((TimeoutError,), _SILENT),
        ((ConnectionError, IncompleteRead), _BROKEN_OFF),
        ((HTTPException,), _NO_HTTP),
        otherwise=_BROKEN_OFF,
    )


def _first_of(
    error: Exception, *meanings: tuple[tuple[type[Exception], ...], _Trouble], otherwise: _Trouble
) -> _Trouble:
    led_here = tuple(_chain(error))
    for kinds, trouble in meanings:
        if any(isinstance(one, kinds) for one in led_here):
            return trouble
    return otherwise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk through an exception and all that led to it: requests wraps urllib3's, which wrap Python's."""
    if error is None:
        return
    yield error
    yield from _chain(error.__cause__)
    if error.__context__ is not error.__cause__:
        yield from _chain(error.__context__)
