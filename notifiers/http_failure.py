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
_PERMANENT = {
    401: DeliveryReason.BAD_CREDENTIALS,
    403: DeliveryReason.GONE,
    404: DeliveryReason.GONE,
    410: DeliveryReason.GONE,
}


def http_error(who: str, outcome: Outcome, answer: str) -> DeliveryError:
    """Make the error for a call that did not deliver. `answer` is the service's answer without secrets."""
    if outcome.timed_out:
        return _timed_out(who)
    if outcome.status is None:
        return trouble_error(who, outcome.trouble)
    detail = clean(f"{who} answered {outcome.status} {answer}".rstrip(), 200)
    if outcome.status == 429:
        return DeliveryError(DeliveryReason.RATE_LIMITED, detail=detail, retry_after=RATE_LIMIT_PAUSE)
    if any(said in answer for said in _CREDENTIAL_ANSWERS):
        return DeliveryError(DeliveryReason.BAD_CREDENTIALS, permanent=True, detail=detail)
    if outcome.status in _PERMANENT:
        return DeliveryError(_PERMANENT[outcome.status], permanent=True, detail=detail)
    if 400 <= outcome.status < 500 and outcome.status != 408:
        return DeliveryError(DeliveryReason.REJECTED_CONTENT, permanent=True, detail=detail)
    if outcome.status >= 500:
        return DeliveryError(DeliveryReason.REFUSED, detail=detail)
    # A 200 that is not the service's own "ok" comes from something in between, such as a login page of a proxy.
    return DeliveryError(DeliveryReason.UNKNOWN, uncertain=outcome.status < 300, detail=detail)


def trouble_error(who: str, trouble: str) -> DeliveryError:
    """Make the error for a connection that failed. The exception's text names the webhook, so none of it is shown."""
    text = trouble.lower()
    if "read timed out" in text:
        return _timed_out(who)
    if "connect timeout" in text or "connecttimeout" in text:
        return DeliveryError(DeliveryReason.UNREACHABLE, detail=f"{who} did not accept a connection in time")
    if "disconnected" in text or "aborted" in text or "reset by peer" in text:
        return _broke_off(who)
    if "certificate" in text or "ssl" in text:
        return DeliveryError(
            DeliveryReason.MISCONFIGURED,
            detail=f"{who}: no trusted TLS connection",
            hint="Check the clock and the CA certificates; behind an inspecting proxy set REQUESTS_CA_BUNDLE.",
        )
    if "proxy" in text:
        return DeliveryError(DeliveryReason.UNREACHABLE, detail=f"{who}: the proxy did not connect")
    if "name resolution" in text or "name or service" in text or "nameresolution" in text or "resolve" in text:
        return DeliveryError(DeliveryReason.UNREACHABLE, detail=f"{who}: its name was not found")
    if "refused" in text or "unreachable" in text or "no route" in text:
        return DeliveryError(DeliveryReason.UNREACHABLE, detail=f"{who}: no connection")
    return _broke_off(who)


def _broke_off(who: str) -> DeliveryError:
    # In the middle of it the request may have been read to its end. Behind a proxy this is told as the proxy's fault.
    return DeliveryError(DeliveryReason.UNREACHABLE, uncertain=True, detail=f"{who}: the connection broke off")


def _timed_out(who: str) -> DeliveryError:
    return DeliveryError(DeliveryReason.TIMED_OUT, uncertain=True, detail=f"{who} took the message but did not answer")
