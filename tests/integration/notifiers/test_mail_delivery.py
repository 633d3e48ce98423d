"""Mails through real apprise and real SMTP to a server that keeps them."""

from __future__ import annotations

import io
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from notifiers.channel import Channel, DeliveryError, DeliveryReason, Receipt
from notifiers.email import EmailChannel
from notifiers.message import Message
from notifiers.smtp import Security, Server
from tests.support.notifications import HOSTILE, LIFE, OPENED, RESOLVED, message
from tests.support.smtp import FakeSmtp

# A password that would not survive a URL, let alone two.
PASSWORD = "s3cr%41et/+ @:ü"
ADDRESS = "oncall@acme.example"


def channel_to(smtp: FakeSmtp, *to: str, **settings: object) -> EmailChannel:
    options: dict[str, object] = {
        "host": smtp.host,
        "port": smtp.port,
        "security": Security(smtp.security),
        "username": smtp.username,
        "password": smtp.password,
        "ca_file": smtp.ca_file,
        **settings,
    }
    server = Server(**options)  # type: ignore[arg-type]
    return EmailChannel("email", server=server, sender="automon@acme.example", to=to or (ADDRESS,))


def send(channel: Channel, said: Message | None = None) -> Receipt:
    return channel.send(said or message(OPENED), channel.recipients[0])


def failure(channel: Channel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(channel)
    shown = f"{caught.value} {caught.value!r} {caught.value.detail} {caught.value.failure}"
    assert PASSWORD not in shown
    return caught.value


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_over_an_encrypted_connection_with_a_login(security: str) -> None:
    with FakeSmtp(security=security, username="automon@acme.example", password=PASSWORD) as smtp:
        receipt = send(channel_to(smtp))
        (mail,) = smtp.wait_for(1)
    assert receipt.answer == "250 2.0.0 Ok: queued as FAKE1"
    assert receipt.duration > timedelta(0)
    assert mail.sender == "automon@acme.example"
    assert mail.recipients == (ADDRESS,)
    assert mail.message["Subject"] == "[CRITICAL] invoice-sync: error rate (#41)"
    assert len(mail.message.get_all("Message-ID", [])) == 1
    assert len(mail.message.get_all("Date", [])) == 1


def test_a_mail_goes_without_encryption_where_that_is_wanted() -> None:
    with FakeSmtp(security="none") as smtp:
        send(channel_to(smtp, ca_file=None))
        assert len(smtp.wait_for(1)) == 1


@pytest.mark.parametrize("kind", LIFE)
def test_both_parts_arrive_and_begin_with_the_story(kind: str) -> None:
    said = message(LIFE[kind])
    with FakeSmtp(security="none") as smtp:
        send(channel_to(smtp), said)
        (mail,) = smtp.wait_for(1)
    assert mail.text.startswith(f"{said.mark.glyph} {said.headline}\n")
    assert "automon on ops-1" in mail.text
    assert said.mark.glyph in mail.html


def test_each_recipient_gets_a_mail_of_their_own() -> None:
    with FakeSmtp(security="none") as smtp:
        channel = channel_to(smtp, "ana@acme.example", "Bo <bo@acme.example>")
        for recipient in channel.recipients:
            channel.send(message(OPENED), recipient)
        mails = smtp.wait_for(2)
    assert [mail.recipients for mail in mails] == [("ana@acme.example",), ("bo@acme.example",)]
    assert [mail.message["To"] for mail in mails] == ["ana@acme.example", "bo@acme.example"]


def test_a_mailbox_on_this_host_is_good_enough() -> None:
    with FakeSmtp(security="none") as smtp:
        send(channel_to(smtp, "root@localhost"))
        assert smtp.wait_for(1)[0].recipients == ("root@localhost",)


def test_opened_and_resolved_thread_together() -> None:
    with FakeSmtp(security="none") as smtp:
        send(channel_to(smtp), message(OPENED))
        send(channel_to(smtp), message(RESOLVED))
        first, last = smtp.wait_for(2)
    assert first.message["References"] == last.message["References"] == "<alert-41@ops-1.automon>"
    assert first.message["Message-ID"] != last.message["Message-ID"]


def test_a_task_can_write_what_it_likes() -> None:
    with FakeSmtp(security="none") as smtp:
        send(channel_to(smtp), message(HOSTILE))
        (mail,) = smtp.wait_for(1)
    assert mail.message["Bcc"] is None
    assert mail.recipients == (ADDRESS,)
    assert "<script>" not in mail.html
    assert "</pre><script>alert(1)</script>" in mail.text
    assert len(mail.raw) < 40_000


def test_a_wrong_password_is_final_and_stays_secret() -> None:
    with FakeSmtp(username="automon", password="another") as smtp:
        error = failure(channel_to(smtp, password=PASSWORD))
    assert error.reason is DeliveryReason.BAD_CREDENTIALS
    assert error.permanent
    assert error.detail.endswith("refused the login: 535")
    assert "app password" in error.hint


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [("550 5.1.1 no such user", True), ("450 4.2.1 try again later", False), ("452 4.3.1 mailbox full", False)],
)
def test_a_recipient_can_be_refused_for_good_or_for_now(answer: str, permanent: bool) -> None:
    with FakeSmtp(security="none", refuse={ADDRESS: answer}) as smtp:
        error = failure(channel_to(smtp))
    assert error.reason is DeliveryReason.REFUSED
    assert error.permanent is permanent
    assert not error.uncertain
    assert error.detail.endswith(f"refused the recipient: {answer}")


@pytest.mark.parametrize(
    ("answer", "reason", "permanent"),
    [
        ("554 5.7.1 looks like spam", DeliveryReason.REJECTED_CONTENT, True),
        ("451 4.7.1 greylisted", DeliveryReason.REFUSED, False),
    ],
)
def test_a_mail_can_be_refused_for_good_or_for_now(answer: str, reason: DeliveryReason, permanent: bool) -> None:
    with FakeSmtp(security="none", answers=(answer,)) as smtp:
        error = failure(channel_to(smtp))
        assert send(channel_to(smtp)).answer.startswith("250")
    assert error.reason is reason
    assert error.permanent is permanent


def test_a_server_that_wants_a_login_says_so() -> None:
    with FakeSmtp(username="automon", password=PASSWORD) as smtp:
        error = failure(channel_to(smtp, username="", password=""))
    assert error.reason is DeliveryReason.BAD_CREDENTIALS
    assert error.permanent


def server_at(port: int, **settings: object) -> EmailChannel:
    options: dict[str, object] = {"host": "127.0.0.1", "port": port, "security": Security.NONE, **settings}
    server = Server(**options)  # type: ignore[arg-type]
    return EmailChannel("email", server=server, sender="automon@acme.example", to=(ADDRESS,))


def test_a_server_that_hangs_is_left_after_its_time(silent_port: int) -> None:
    error = failure(server_at(silent_port, timeout=timedelta(seconds=0.2)))
    assert error.reason is DeliveryReason.TIMED_OUT
    assert not error.uncertain  # not a word of the mail was said


def test_a_server_that_falls_silent_after_the_mail_may_have_taken_it() -> None:
    with FakeSmtp(security="none", silent_after_data=True) as smtp:
        error = failure(channel_to(smtp, timeout=timedelta(seconds=0.3)))
    assert error.reason is DeliveryReason.TIMED_OUT
    assert error.uncertain


def test_a_server_that_is_down_is_unreachable(closed_port: int) -> None:
    error = failure(server_at(closed_port))
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.permanent
    assert not error.uncertain


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with FakeSmtp() as smtp:
        error = failure(channel_to(smtp, ca_file=None))
        assert smtp.mails == []
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert "certificate is not trusted" in error.detail
    assert "ca_file" in error.hint


def test_tls_on_a_port_that_starts_plain_names_the_right_pair() -> None:
    with FakeSmtp(security="starttls") as smtp:
        error = failure(channel_to(smtp, security=Security.TLS))
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert "does not speak TLS there" in error.detail
    assert "465" in error.hint


def test_a_server_without_starttls_gets_no_mail_in_the_clear() -> None:
    with FakeSmtp(security="none") as smtp:
        error = failure(channel_to(smtp, security=Security.STARTTLS))
        assert smtp.mails == []
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert error.permanent


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with FakeSmtp() as smtp:
        error = failure(channel_to(smtp, ca_file=str(file)))
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert str(file) in error.detail


def test_nothing_of_the_password_reaches_the_log(root_log: io.StringIO) -> None:
    logging.getLogger("automon").debug("listening")
    assert "listening" in root_log.getvalue()
    with FakeSmtp(username="automon", password=PASSWORD) as smtp:
        send(channel_to(smtp))
        failure(channel_to(smtp, username="somebody"))
    assert PASSWORD not in root_log.getvalue()


def test_mails_are_not_slowed_down_by_apprise() -> None:
    with FakeSmtp(security="none") as smtp:
        for _ in range(5):
            send(channel_to(smtp))
        mails = smtp.wait_for(5)
    # apprise's own pace would be 5.5 s between two of them.
    assert mails[-1].arrived_at - mails[0].arrived_at < 5
