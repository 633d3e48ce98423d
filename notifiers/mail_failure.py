"""What a failed conversation with a mail server means, in one sentence, and what mends it.

Whoever sends, tries a server out or looks after it says it in these words.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from typing import TYPE_CHECKING

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.text import clean

if TYPE_CHECKING:
    from notifiers.smtp import Server

TLS_PORT = 465
RELAY_PORT = 25

# OpenSSL's numbers of what is wrong with a certificate (X509_V_ERR_…).
_NOT_YET_VALID = 9
_EXPIRED = 10
_SIGNED_BY_ITSELF = (18, 19)
_SIGNED_BY_A_STRANGER = (2, 20, 21)
_FOR_ANOTHER_NAME = (62, 64)

_RELAY = re.compile(r"relay", re.IGNORECASE)
_MINE_IS_WRONG = 'Check host and port: 587 is for "security": "starttls", 465 for "tls", 25 for "none".'


def mail_error(server: Server, error: Exception, *, handed_over: bool) -> DeliveryError:
    """Make the error for an exception of smtplib or of the network. `handed_over`: the mail had begun to leave."""
    where = f"mail server {server.host}:{server.port}"
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _recipient_refused(where, *next(iter(error.recipients.values())))
        case smtplib.SMTPAuthenticationError():
            return _login_refused(where, error.smtp_code)
        case smtplib.SMTPSenderRefused():
            return _sender_refused(where, error.smtp_code, error.smtp_error)
        case smtplib.SMTPDataError():
            return _answered(
                f"{where} refused the mail", error.smtp_code, error.smtp_error, DeliveryReason.REJECTED_CONTENT
            )
        case smtplib.SMTPResponseException():
            return _answered(where, error.smtp_code, error.smtp_error, DeliveryReason.REFUSED)
        case smtplib.SMTPNotSupportedError():
            return _not_supported(where, server)
        case _:
            return _no_conversation(where, server, error, handed_over=handed_over)


def words_of_answer(code: int, text: bytes | str) -> str:
    """Write an answer of a mail server in one line."""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return clean(f"{code} {said}", 160)


def _answered(what: str, code: int, text: bytes | str, reason: DeliveryReason, *, hint: str = "") -> DeliveryError:
    """Tell a 4xx answer, which asks to come back later whatever it is about, from a 5xx, which is final."""
    is_final = code >= 500
    detail = clean(f"{what}: {words_of_answer(code, text)}", 240)
    return DeliveryError(
        reason if is_final else DeliveryReason.REFUSED, permanent=is_final, detail=detail, hint=hint if is_final else ""
    )


def _recipient_refused(where: str, code: int, text: bytes | str) -> DeliveryError:
    hint = "Check the recipient's address."
    if _RELAY.search(words_of_answer(code, text)):
        hint = "The server takes mail for others only from those it knows: give a username and password, or have it allow this host."
    return _answered(f"{where} refused the recipient", code, text, DeliveryReason.REFUSED, hint=hint)


def _sender_refused(where: str, code: int, text: bytes | str) -> DeliveryError:
    if code == 530:
        hint = 'It wants a login or encryption first: give username and password, or "security": "starttls".'
        return _answered(f"{where} refused the sender", code, text, DeliveryReason.BAD_CREDENTIALS, hint=hint)
    hint = 'Take as "from" an address that this login may send as.'
    return _answered(f"{where} refused the sender", code, text, DeliveryReason.MISCONFIGURED, hint=hint)


def _login_refused(where: str, code: int) -> DeliveryError:
    # Some servers quote the login line in their answer, so only the code is shown.
    if code < 500:
        return DeliveryError(DeliveryReason.REFUSED, detail=f"{where} cannot check logins now: {code}")
    return DeliveryError(
        DeliveryReason.BAD_CREDENTIALS,
        permanent=True,
        detail=f"{where} refused the login: {code}",
        hint="Check username and password; large providers want an app password here, not the account's.",
    )


def _not_supported(where: str, server: Server) -> DeliveryError:
    if server.security == "starttls":
        detail, hint = (f"{where} offers no STARTTLS or no login", 'Try "security": "tls" with port 465.')
    else:
        detail, hint = (f"{where} offers no login", "Leave username and password out, or use an encrypted port.")
    return DeliveryError(DeliveryReason.MISCONFIGURED, permanent=True, detail=detail, hint=hint)


def _no_conversation(where: str, server: Server, error: Exception, *, handed_over: bool) -> DeliveryError:
    # smtplib reports a silence in the middle of a session as a disconnection; only the context tells.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        detail = f"{where} did not answer in time"
        return DeliveryError(
            DeliveryReason.TIMED_OUT, uncertain=handed_over, detail=detail, hint="" if handed_over else _silence(server)
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_error(where, error)
    if isinstance(error, ssl.SSLError):
        hint = 'This port begins without TLS: "security": "starttls" (smtp://), or port 465 with "tls" (smtps://).'
        if server.security == "starttls":
            hint = "It offered STARTTLS and then could not speak it: ask whoever runs the server."
        detail = f"{where} does not speak TLS there: {_reason(error)}"
        return DeliveryError(DeliveryReason.MISCONFIGURED, detail=detail, hint=hint)
    detail, hint = _no_connection(where, error)
    return DeliveryError(DeliveryReason.UNREACHABLE, uncertain=handed_over, detail=detail, hint=hint)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "handshake failed").replace("_", " ").lower()


def _silence(server: Server) -> str:
    """Say what a server that says nothing may be waiting for, or what may be in between."""
    if server.security != "tls" and server.port == TLS_PORT:
        return 'Port 465 waits for TLS: "security": "tls" (smtps://), or port 587 with "starttls".'
    if server.port == RELAY_PORT:
        return "Many networks block port 25 on the way out: use port 587 with a login."
    return "Check host and port; a firewall in between drops what it does not let pass."


def _certificate_error(where: str, error: ssl.SSLCertVerificationError) -> DeliveryError:
    code = error.verify_code
    if code in _FOR_ANOTHER_NAME:
        hint = 'Give as "host" the name that the certificate is made out for.'
    elif code == _EXPIRED:
        hint = "Renew the server's certificate, or check this machine's clock."
    elif code == _NOT_YET_VALID:
        hint = "Check this machine's clock."
    elif code in (*_SIGNED_BY_ITSELF, *_SIGNED_BY_A_STRANGER):
        hint = 'Save the certificate of its CA (or its own, if it is self-signed) on this machine and name the file: "ca_file".'
    else:
        hint = 'Name its CA with "ca_file", or use the host name that the certificate is made out for.'
    return DeliveryError(
        DeliveryReason.MISCONFIGURED,
        detail=clean(f"{where}: its certificate is not trusted: {error.verify_message}", 240),
        hint=hint,
    )


def _no_connection(where: str, error: Exception) -> tuple[str, str]:
    match error:
        case socket.gaierror():
            return f"{where}: its name was not found", "Check the spelling of the host, and this machine's DNS."
        case ConnectionRefusedError():
            return f"{where}: no connection, nobody listens there", _MINE_IS_WRONG
        case smtplib.SMTPServerDisconnected() | ConnectionError():
            return f"{where}: the connection broke off", _MINE_IS_WRONG
        case _:
            return f"{where}: no connection", "Check host and port, and the network of this machine."
