"""One mail over SMTP; what each refusal means stands in `mail_failure`.

apprise's own transport trusts the system's certificates or none, forgets what the server answered, and tells a
wrong password from a dead server only in a debug line. So the connection is ours; the mail itself is apprise's.
"""

from __future__ import annotations

import smtplib
import ssl
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.mail_failure import mail_error, words_of_answer
from notifiers.text import clean


class Security(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where and how to hand mail in; the repr hides the password, and `ca_file` is trusted besides the system's CAs."""

    host: str
    port: int
    security: Security
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str | None = None
    timeout: timedelta = timedelta(seconds=15)


class _Conversation:
    """Remembers how far a session came: after the text was handed over, a silence may mean that the mail was taken."""

    handed_over = False
    answer = ""

    def _keep(self, answer: tuple[int, bytes]) -> tuple[int, bytes]:
        self.answer = words_of_answer(*answer)
        return answer


class _Plain(_Conversation, smtplib.SMTP):
    def data(self, msg: object) -> tuple[int, bytes]:
        self.handed_over = True
        return self._keep(super().data(msg))  # type: ignore[arg-type]


class _Encrypted(_Conversation, smtplib.SMTP_SSL):
    def data(self, msg: object) -> tuple[int, bytes]:
        self.handed_over = True
        return self._keep(super().data(msg))  # type: ignore[arg-type]


def try_out(server: Server, sender: str = "", recipients: Sequence[str] = ()) -> None:
    """Connect, encrypt and log in as for a mail, name its sender and recipients if given, and hand none in.

    Raises DeliveryError for what would keep a mail from being taken.
    """
    session: _Plain | _Encrypted | None = None
    try:
        session = _connected(server)
        session.ehlo_or_helo_if_needed()
        _name_addresses(session, sender, recipients)
    except (OSError, smtplib.SMTPException) as error:
        raise mail_error(server, error, handed_over=False) from None
    finally:
        if session is not None:
            session.close()


def _name_addresses(session: smtplib.SMTP, sender: str, recipients: Sequence[str]) -> None:
    if sender:
        code, text = session.mail(sender)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, text, sender)
    for recipient in recipients:
        code, text = session.rcpt(recipient)
        if code not in (250, 251):
            raise smtplib.SMTPRecipientsRefused({recipient: (code, text)})


def hand_in(server: Server, sender: str, recipient: str, mail: str) -> str:
    """Hand one mail in for one recipient and return the server's answer; raises DeliveryError."""
    session: _Plain | _Encrypted | None = None
    try:
        session = _connected(server)
        session.sendmail(sender, [recipient], mail)
    except (OSError, smtplib.SMTPException) as error:
        raise mail_error(server, error, handed_over=session is not None and session.handed_over) from None
    finally:
        if session is not None:
            session.close()  # not quit(): a server that hangs would make us wait once more
    return session.answer


def _connected(server: Server) -> _Plain | _Encrypted:
    seconds = server.timeout.total_seconds()
    context = _context(server)
    if server.security is Security.TLS:
        session: _Plain | _Encrypted = _Encrypted(server.host, server.port, timeout=seconds, context=context)
    else:
        session = _Plain(server.host, server.port, timeout=seconds)
    try:
        if server.security is Security.STARTTLS:
            session.starttls(context=context)
        if server.username:
            _log_in(session, server)
    except BaseException:
        session.close()
        raise
    return session


def _log_in(session: _Plain | _Encrypted, server: Server) -> None:
    if f"{server.username}{server.password}".isascii():
        session.login(server.username, server.password)
        return
    # smtplib knows passwords in ASCII only; the PLAIN mechanism takes UTF-8, and every server that has logins has it.
    session.ehlo_or_helo_if_needed()
    credentials = b64encode(f"\0{server.username}\0{server.password}".encode()).decode()
    code, answer = session.docmd("AUTH", f"PLAIN {credentials}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _context(server: Server) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if server.ca_file:
        try:
            context.load_verify_locations(cafile=server.ca_file)
        except OSError as error:
            detail = clean(f"ca_file {server.ca_file} cannot be used: {error.strerror or type(error).__name__}", 240)
            raise DeliveryError(DeliveryReason.MISCONFIGURED, permanent=True, detail=detail) from None
    return context
