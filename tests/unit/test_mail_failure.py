"""What fails between here and a mail server, said in one sentence, with what mends it."""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import replace

import pytest
import trustme

from notifiers.channel import DeliveryReason
from notifiers.mail_failure import mail_error
from notifiers.mail_probe import Trial, most_telling, ways_to
from notifiers.smtp import Security, Server

SERVER = Server(host="mail.acme.example", port=587, security=Security.STARTTLS, username="automon", password="s3cret")
RELAY = smtplib.SMTPRecipientsRefused({"ops@acme.example": (554, b"5.7.1 <ops@acme.example>: Relay access denied")})
NOBODY = smtplib.SMTPRecipientsRefused({"ops@acme.example": (550, b"5.1.1 no such user")})
LATER = smtplib.SMTPRecipientsRefused({"ops@acme.example": (450, b"4.2.0 greylisted")})


@pytest.mark.parametrize(
    ("error", "changes", "reason", "says", "fix"),
    [
        pytest.param(RELAY, {}, DeliveryReason.REFUSED, "Relay access denied", "username and password", id="relay denied"),
        pytest.param(NOBODY, {}, DeliveryReason.REFUSED, "no such user", "recipient's address", id="nobody of that name"),
        pytest.param(LATER, {}, DeliveryReason.REFUSED, "greylisted", "", id="not now"),
        pytest.param(smtplib.SMTPAuthenticationError(535, b"5.7.8 bad"), {}, DeliveryReason.BAD_CREDENTIALS, "refused the login: 535", "app password", id="the wrong password"),
        pytest.param(smtplib.SMTPAuthenticationError(454, b"4.7.0"), {}, DeliveryReason.REFUSED, "cannot check logins now", "", id="no logins now"),
        pytest.param(smtplib.SMTPSenderRefused(530, b"5.7.0 must issue STARTTLS", "a@b"), {}, DeliveryReason.BAD_CREDENTIALS, "530", "starttls", id="encryption first"),
        pytest.param(smtplib.SMTPSenderRefused(553, b"5.7.1 not yours", "a@b"), {}, DeliveryReason.MISCONFIGURED, "refused the sender", '"from"', id="another's address"),
        pytest.param(ConnectionRefusedError(), {}, DeliveryReason.UNREACHABLE, "nobody listens there", "587", id="nobody listens"),
        pytest.param(socket.gaierror(), {}, DeliveryReason.UNREACHABLE, "its name was not found", "spelling", id="an unknown name"),
        pytest.param(TimeoutError(), {"port": 25}, DeliveryReason.TIMED_OUT, "in time", "block port 25", id="port 25 is blocked"),
        pytest.param(TimeoutError(), {"port": 465}, DeliveryReason.TIMED_OUT, "in time", '"tls"', id="no TLS on a port for TLS"),
        pytest.param(TimeoutError(), {}, DeliveryReason.TIMED_OUT, "in time", "firewall", id="a firewall"),
        pytest.param(ConnectionResetError(), {}, DeliveryReason.UNREACHABLE, "broke off", "Check host and port", id="cut"),
        pytest.param(OSError("no route"), {}, DeliveryReason.UNREACHABLE, "no connection", "network", id="no network"),
    ],
)  # fmt: skip
def test_a_failure_is_said_with_what_mends_it(
    error: Exception, changes: dict[str, int], reason: DeliveryReason, says: str, fix: str
) -> None:
    server = replace(SERVER, port=changes.get("port", SERVER.port))

    found = mail_error(server, error, handed_over=False)

    assert found.reason is reason
    assert found.detail.startswith(f"mail server mail.acme.example:{server.port}")
    assert says in found.detail
    assert fix in found.hint
    assert "s3cret" not in f"{found}"


def handshake(authority: trustme.CA, name: str, *, trusts: trustme.CA, asks_for: str) -> Exception:
    """Shake hands in memory with a server of that name, and return what the client says."""
    at_server, at_client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(at_server)
    trusts.configure_trust(at_client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = at_server.wrap_bio(to_server, to_client, server_side=True)
    client = at_client.wrap_bio(to_client, to_server, server_hostname=asks_for)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return error
    raise AssertionError("the handshake worked")


@pytest.mark.parametrize(
    ("name", "is_trusted", "says", "fix"),
    [
        pytest.param("other.acme.example", True, "mismatch", 'Give as "host" the name', id="another name"),
        pytest.param("mail.acme.example", False, "certificate", '"ca_file"', id="a CA that nobody knows"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_said_with_what_mends_it(
    name: str, is_trusted: bool, says: str, fix: str
) -> None:
    authority = trustme.CA()
    error = handshake(authority, name, trusts=authority if is_trusted else trustme.CA(), asks_for="mail.acme.example")

    found = mail_error(SERVER, error, handed_over=False)

    assert found.reason is DeliveryReason.MISCONFIGURED
    assert "its certificate is not trusted" in found.detail
    assert says in found.detail
    assert fix in found.hint


@pytest.mark.parametrize(
    ("port", "security", "has_login", "ways"),
    [
        pytest.param(None, None, True, [(587, "starttls"), (465, "tls"), (25, "starttls")], id="nothing is known"),
        pytest.param(None, None, False, [(587, "starttls"), (465, "tls"), (25, "starttls"), (25, "none")], id="without a login"),
        pytest.param(2465, Security.TLS, True, [(2465, "tls")], id="all is known"),
        pytest.param(None, Security.TLS, True, [(465, "tls")], id="the encryption"),
        pytest.param(465, None, True, [(465, "tls"), (465, "starttls")], id="a port for TLS"),
        pytest.param(2525, None, False, [(2525, "starttls"), (2525, "tls"), (2525, "none")], id="an odd port"),
    ],
)  # fmt: skip
def test_the_likeliest_way_is_tried_first_and_no_login_in_the_open(
    port: int | None, security: Security | None, has_login: bool, ways: list[tuple[int, str]]
) -> None:
    assert ways_to(port, security, has_login=has_login) == ways


def test_of_several_failures_the_one_that_came_nearest_to_a_mail_is_told() -> None:
    errors = (TimeoutError(), smtplib.SMTPNotSupportedError(), NOBODY, ConnectionRefusedError())
    trials = [Trial(server=SERVER, failure=mail_error(SERVER, error, handed_over=False)) for error in errors]

    assert "no such user" in trials[2].describe()
    assert most_telling(trials) is trials[2]
    assert most_telling(trials[:2]) is trials[1]
    assert most_telling(trials[:1]) is trials[0]
