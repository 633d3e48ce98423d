"""What a failed HTTP delivery means, read from what apprise captured."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.text import clean

if TYPE_CHECKING:
    from notifiers.dispatch import Outcome

# apprise does not hand the Retry-After header on; services that limit ask for 1 to 60 s.
RATE_LIMIT_PAUSE = timedelta(seconds=30)

_CREDENTIAL_ANSWERS = ("invalid_token", "invalid_auth", "not_authed", "token_revoked", "account_inactive")
_FINAL = {
    401: DeliveryReason.BAD_CREDENTIALS,
    403: DeliveryReason.GONE,
    404: DeliveryReason.GONE,
    410: DeliveryReason.GONE,
}

# What an exception's text holds, and what it means: (reason, whether the message may have arrived, in words). The first
# that fits counts; a break in the middle comes early, because behind a proxy it is told as the proxy's fault.
_TROUBLES = (
    (("read timed out",), DeliveryReason.TIMED_OUT, True, "took the message but did not answer"),
    (("disconnected", "aborted", "reset by peer"), DeliveryReason.UNREACHABLE, True, "broke the connection off"),
    (("connect timeout", "connecttimeout"), DeliveryReason.UNREACHABLE, False, "did not take a connection in time"),
    (("certificate", "ssl"), DeliveryReason.MISCONFIGURED, False, "has no trusted TLS connection"),
    (("proxy",), DeliveryReason.UNREACHABLE, False, "cannot be reached through the proxy"),
    (("resolve", "resolution", "name or service"), DeliveryReason.UNREACHABLE, False, "has a name that was not found"),
    (("refused", "unreachable", "no route"), DeliveryReason.UNREACHABLE, False, "takes no connection"),
)
_HINTS = {
    DeliveryReason.MISCONFIGURED: "Check the clock and the CAs; behind a proxy that inspects set REQUESTS_CA_BUNDLE."
}


def http_error(who: str, outcome: Outcome, answer: str) -> DeliveryError:
    """Make the error for a call that did not deliver. `answer` is the service's answer without secrets."""
    if outcome.timed_out:
        detail = f"{who} took the message but did not answer"
        return DeliveryError(DeliveryReason.TIMED_OUT, uncertain=True, detail=detail)
    if outcome.status is None:
        return _trouble_error(who, outcome.trouble)
    detail = clean(f"{who} answered {outcome.status} {answer}".rstrip(), 200)
    if outcome.status == 429:
        return DeliveryError(DeliveryReason.RATE_LIMITED, detail=detail, retry_after=RATE_LIMIT_PAUSE)
    final = _final_reason(outcome.status, answer)
    if final is not None:
        return DeliveryError(final, permanent=True, detail=detail)
    # A 200 that is not the service's own "ok" comes from something in between, such as the login page of a proxy.
    reason = DeliveryReason.REFUSED if outcome.status >= 500 else DeliveryReason.UNKNOWN
    return DeliveryError(reason, uncertain=outcome.status < 300, detail=detail)


def _final_reason(status: int, answer: str) -> DeliveryReason | None:
    """Say why the service will never take this, None when it may at another time."""
    if status not in range(400, 500) or status == 408:
        return None
    if any(said in answer for said in _CREDENTIAL_ANSWERS):
        return DeliveryReason.BAD_CREDENTIALS
    return _FINAL.get(status, DeliveryReason.REJECTED_CONTENT)


def _trouble_error(who: str, trouble: str) -> DeliveryError:
    """Make the error for a connection that failed. The exception's text names the webhook, so none of it is shown."""
    text = trouble.lower()
    for signs, reason, uncertain, words in _TROUBLES:
        if any(sign in text for sign in signs):
            return DeliveryError(reason, uncertain=uncertain, detail=f"{who} {words}", hint=_HINTS.get(reason, ""))
    return DeliveryError(DeliveryReason.UNKNOWN, uncertain=True, detail=f"{who}: the delivery failed half-way")
