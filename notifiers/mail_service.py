"""apprise's mail service over automon's own SMTP connection. Import it late, as `notifiers.dispatch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apprise
from apprise.plugins.email import NotifyEmail

from notifiers.channel import DeliveryError
from notifiers.dispatch import asset
from notifiers.smtp import Server, hand_in

# apprise wants addresses that look public; ours are checked by the channel, and may well be "root@localhost".
_UNUSED = "unused@automon.invalid"


class MailService(NotifyEmail):  # type: ignore[no-untyped-call]
    """Sends one HTML body, with its plain counterpart, from one sender to one recipient.

    `answer` is the server's, after a delivery; `failure` says what went wrong, after none. One object, one mail.
    """

    def __init__(self, server: Server, *, sender: tuple[str, str], recipient: str, headers: Mapping[str, str]) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            host=server.host, smtp_host=server.host, from_addr=_UNUSED, targets=_UNUSED, secure=True, asset=asset()
        )
        self.server = server
        self.sender = sender
        self.recipient = recipient
        self.extra_headers = dict(headers)
        self.answer = ""
        self.failure: DeliveryError | None = None

    def mime(self, body: str, title: str) -> str:
        """Write the mail as it goes over the wire."""
        # The Message-ID's domain is the sender's: the mail server may be called "localhost".
        domain = self.sender[1].rpartition("@")[2]
        mails = self.prepare_emails(
            subject=title,
            body=body,
            from_addr=self.sender,
            to=[(False, self.recipient)],
            smtp_host=domain,
            notify_format=apprise.NotifyFormat.HTML,
            headers=self.extra_headers,
        )
        return str(next(mails).body)

    def send(self, body: str, title: str = "", *_: Any, **__: Any) -> bool:
        try:
            self.answer = hand_in(self.server, self.sender[1], self.recipient, self.mime(body, title))
        except DeliveryError as error:
            self.failure = error
        return self.failure is None
