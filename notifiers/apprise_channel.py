"""Any other service that apprise knows, from one URL: a title and plain text."""

from __future__ import annotations

import re
from datetime import timedelta

from notifiers.channel import DeliveryError, DeliveryReason, Receipt
from notifiers.http_failure import captured_error
from notifiers.loading import load_apprise
from notifiers.message import Message
from notifiers.plain import headline, plain_body

PACE = timedelta(seconds=1)  # most services take one message a second
TIMEOUT = timedelta(seconds=30)


class AppriseChannel:
    """Sends to one apprise URL, which is a secret; several addressees within it count as one recipient."""

    def __init__(self, name: str, url: str, *, timeout: timedelta = TIMEOUT) -> None:
        self.name = name
        self.pace = PACE
        self.recipients = (scheme(url),)
        self._url = url
        self._timeout = timeout

    def send(self, message: Message, recipient: str) -> Receipt:
        load_apprise()
        import apprise

        from notifiers.dispatch import dispatch, scrubbed, service_from_url

        # Made anew each time: a service object remembers what it delivered, and its creation costs a millisecond.
        service = service_from_url(self._url)
        if service is None:
            raise DeliveryError(
                DeliveryReason.MISCONFIGURED,
                permanent=True,
                detail=f"apprise cannot read the {recipient}:// URL of channel {self.name}",
                hint="Try it by hand: apprise -vv -b test 'URL'",
            )
        outcome = dispatch(
            service,
            title=headline(message),
            body=plain_body(message),
            body_format=apprise.NotifyFormat.TEXT,
            timeout=self._timeout,
        )
        if not outcome.delivered:
            said = outcome.answer or outcome.warnings
            raise captured_error(f"{recipient}://", outcome, scrubbed(said, self._url, limit=120))
        return Receipt(answer="accepted", duration=outcome.duration)


def scheme(url: str) -> str:
    """Take the name of the service from a URL: all of it that is no secret."""
    match = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)", url)
    return match.group().lower() if match else "apprise"
