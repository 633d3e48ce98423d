"""One mail over SMTP, and what each refusal means.

apprise's own transport trusts the system's certificates or none, forgets what the server answered, and tells a
wrong password from a dead server only in a debug line. So the connection is ours; the mail itself is apprise's.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from notifiers.channel import DeliveryError, DeliveryReason
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
        self.answer = _words(*answer)
        return answer


class _Plain(_Conversation, smtplib.SMTP):
    def data(self, msg: object) -> tuple[int, bytes]:
        self.handed_over = True
        return self._keep(super().data(msg))  # type: ignore[arg-type]


class _Encrypted(_Conversation, smtplib.SMTP_SSL):
    def data(self, msg: object) -> tuple[int, bytes]:
        self.handed_over = True
        return self._keep(super().data(msg))  # type: ignore[arg-type]


def hand_in(server: Server, sender: str, recipient: str, mail: str) -> str:
    """Hand one mail in for one recipient and return the server's answer; raises DeliveryError."""
    session: _Plain | _Encrypted | None = None
    try:
        session = _connected(server)
        session.sendmail(sender, [recipient], mail)
    except (OSError, smtplib.SMTPException) as error:
        raise _error(server, error, handed_over=session is not None and session.handed_over) from None
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


def _error(server: Server, error: Exception, *, handed_over: bool) -> DeliveryError:
    where = f"mail server {server.host}:{server.port}"
    match error:
        case smtplib.SMTPRecipientsRefused():
            code, text = next(iter(error.recipients.values()))
            return _answered(f"{where} refused the recipient", code, text, DeliveryReason.REFUSED)
        case smtplib.SMTPAuthenticationError():
            return _login_refused(where, error)
        case smtplib.SMTPSenderRefused():
            reason = DeliveryReason.BAD_CREDENTIALS if error.smtp_code == 530 else DeliveryReason.MISCONFIGURED
            return _answered(f"{where} refused the sender", error.smtp_code, error.smtp_error, reason)
        case smtplib.SMTPDataError():
            return _answered(
                f"{where} refused the mail", error.smtp_code, error.smtp_error, DeliveryReason.REJECTED_CONTENT
            )
        case smtplib.SMTPResponseException():
            return _answered(where, error.smtp_code, error.smtp_error, DeliveryReason.REFUSED)
        case smtplib.SMTPNotSupportedError():
            return _not_supported(where, server)
        case _:
            return _no_conversation(where, error, handed_over=handed_over)


def _answered(what: str, code: int, text: bytes | str, reason: DeliveryReason) -> DeliveryError:
    """Tell a 4xx answer, which asks to come back later whatever it is about, from a 5xx, which is final."""
    is_final = code >= 500
    detail = clean(f"{what}: {_words(code, text)}", 240)
    return DeliveryError(reason if is_final else DeliveryReason.REFUSED, permanent=is_final, detail=detail)


def _login_refused(where: str, error: smtplib.SMTPAuthenticationError) -> DeliveryError:
    # Some servers quote the login line in their answer, so only the code is shown.
    if error.smtp_code < 500:
        return DeliveryError(DeliveryReason.REFUSED, detail=f"{where} cannot check logins now: {error.smtp_code}")
    return DeliveryError(
        DeliveryReason.BAD_CREDENTIALS,
        permanent=True,
        detail=f"{where} refused the login: {error.smtp_code}",
        hint="Check username and password; large providers want an app password here, not the account's.",
    )


def _not_supported(where: str, server: Server) -> DeliveryError:
    if server.security is Security.STARTTLS:
        detail, hint = (f"{where} offers no STARTTLS or no login", 'Try "security": "tls" with port 465.')
    else:
        detail, hint = (f"{where} offers no login", "Leave username and password out, or use an encrypted port.")
    return DeliveryError(DeliveryReason.MISCONFIGURED, permanent=True, detail=detail, hint=hint)


def _no_conversation(where: str, error: Exception, *, handed_over: bool) -> DeliveryError:
    # smtplib reports a silence in the middle of a session as a disconnection; only the context tells.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return DeliveryError(DeliveryReason.TIMED_OUT, uncertain=handed_over, detail=f"{where} did not answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return DeliveryError(
            DeliveryReason.MISCONFIGURED,
            detail=clean(f"{where}: its certificate is not trusted: {error.verify_message}", 240),
            hint='Name the CA with "ca_file", or use the host name that the certificate is made out for.',
        )
    if isinstance(error, ssl.SSLError):
        return DeliveryError(
            DeliveryReason.MISCONFIGURED,
            detail=f"{where} does not speak TLS there: {error.reason or 'handshake failed'}",
            hint='Port 465 wants "security": "tls", port 587 "starttls".',
        )
    if isinstance(error, socket.gaierror):
        return DeliveryError(DeliveryReason.UNREACHABLE, detail=f"{where}: its name was not found")
    broke = "the connection broke off" if isinstance(error, smtplib.SMTPServerDisconnected) else "no connection"
    return DeliveryError(DeliveryReason.UNREACHABLE, uncertain=handed_over, detail=f"{where}: {broke}")


def _words(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return clean(f"{code} {said}", 160)
