"""Mail: one message to one recipient, as plain text and HTML, marked as automatic and threaded by alert."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from email.utils import getaddresses, parseaddr
from typing import TYPE_CHECKING

from automon.errors import AutomonError
from notifiers.channel import DeliveryError, DeliveryReason, Receipt
from notifiers.loading import load_apprise
from notifiers.message import Message
from notifiers.plain import COLUMN, Plain, columns, headline
from notifiers.smtp import Server
from notifiers.text import Code, Link, Moment, clean, render

if TYPE_CHECKING:
    from notifiers.mail_service import MailService

PACE = timedelta(0)
SUBJECT_LIMIT = 160
# Several steps of one session may each take the server's whole time limit; this ends what drips on for ever.
SESSION_LIMIT = 4

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"></head><body>
<p><b>{headline}</b></p>
<pre style="white-space:pre-wrap;font-family:ui-monospace,Menlo,Consolas,monospace">{lines}</pre>
<p><small>{footer}</small></p>
</body></html>
"""
# A line that wraps on a phone hangs below its text, not below its label. Only inline elements and line breaks: apprise
# makes the plain part from this one, and there a block or a <code> would break the line and lose its indent.
_LINE = '<span style="display:inline-block;padding-left:{column}ch;text-indent:-{column}ch"><b>{label}</b>{text}</span>'


class Html(Plain):
    """Writes fragments as HTML. Times and addresses read as in plain text: the plain part is made from this one."""

    def words(self, text: str) -> str:
        return html.escape(text)

    def moment(self, moment: Moment) -> str:
        return html.escape(super().moment(moment))

    def code(self, code: Code) -> str:
        return html.escape(code.text)

    def link(self, link: Link) -> str:
        url = html.escape(link.url)
        return f'<a href="{url}">{url}</a>'


class EmailChannel:
    """Sends to each of `to`, one mail each. `sender` is an address, with or without a name in front."""

    def __init__(self, name: str, *, server: Server, sender: str, to: tuple[str, ...]) -> None:
        self.name = name
        self.pace = PACE
        self.recipients = tuple(_address(name, recipient) for recipient in to)
        self._sender = (parseaddr(sender)[0], _address(name, sender))
        self._server = server

    def send(self, message: Message, recipient: str) -> Receipt:
        load_apprise()
        import apprise

        from notifiers.dispatch import dispatch

        service = self.service(message, recipient)
        outcome = dispatch(
            service,
            title=subject(message),
            body=html_page(message),
            body_format=apprise.NotifyFormat.HTML,
            timeout=self._server.timeout * SESSION_LIMIT,
        )
        if outcome.delivered:
            return Receipt(answer=service.answer, duration=outcome.duration)
        raise service.failure or self._no_answer(timed_out=outcome.timed_out)

    def service(self, message: Message, recipient: str) -> MailService:
        """Make apprise's mail service for one mail."""
        from notifiers.mail_service import MailService

        name, address = self._sender
        sender = (name or f"automon on {message.instance}", address)
        return MailService(self._server, sender=sender, recipient=recipient, headers=headers(message))

    def _no_answer(self, *, timed_out: bool) -> DeliveryError:
        where = f"mail server {self._server.host}:{self._server.port}"
        if timed_out:
            detail = f"{where} did not come to an end in time"
            return DeliveryError(DeliveryReason.TIMED_OUT, uncertain=True, detail=detail)
        return DeliveryError(DeliveryReason.UNKNOWN, detail=f"{where}: the mail could not be made")


def subject(message: Message) -> str:
    """Write the subject: only what stands in the leading brackets changes over an alert's life, or Gmail splits it."""
    return clean(f"[{message.state}] {message.identity}", SUBJECT_LIMIT)


def headers(message: Message) -> dict[str, str]:
    """Write the headers that mark a mail as automatic and let readers thread and filter it."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", message.instance).strip("-.") or "localhost"
    # Every mail of a thread, the first included, answers a mail that was never sent: one thread, nothing to remember.
    root = f"<{message.thread}@{host}.automon>" if message.thread else ""
    found = {
        "References": root,
        "In-Reply-To": root,
        "X-Automon-Alert": str(message.alert_id or ""),
        "X-Automon-Delivery": str(message.delivery_id or ""),
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "List-Id": f"automon alerts <alerts.{host}.automon>",
        "X-Automon-Severity": message.severity.value,
        "X-Automon-State": message.event,
    }
    return {name: value for name, value in found.items() if value}


def html_page(message: Message) -> str:
    """Write the HTML part, without colours of its own, so that a dark reader may invert it."""
    medium = Html(message.timezone, message.today)
    lines = [
        _LINE.format(column=COLUMN, label=html.escape(label), text=render(line.text, medium))
        for label, line in zip(columns(message.lines), message.lines, strict=True)
    ]
    return _PAGE.format(
        headline=html.escape(headline(message)), lines="\n".join(lines), footer=render(message.footer, medium)
    )


def _address(channel: str, text: str) -> str:
    addresses = [address for _, address in getaddresses([text])]
    if len(addresses) != 1 or not _is_address(addresses[0]):
        raise AutomonError(
            f"channel {channel}: {clean(text, 80)!r} is not a mail address", hint="It looks like name@example.com."
        )
    return addresses[0]


def _is_address(text: str) -> bool:
    # ASCII: few servers take anything else, and a domain with other letters has a form in ASCII (xn--…).
    return text.isascii() and re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", text) is not None
