from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email import message_from_string, policy
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from automon.errors import AutomonError
from notifiers.digest import compose_digest
from notifiers.email import EmailChannel, headers, html_page, subject
from notifiers.message import Message
from notifiers.notice import compose_outage, compose_test
from notifiers.smtp import Security, Server
from notifiers.transition import compose
from tests.support.notifications import (
    CONTEXT,
    DIGEST,
    GUIDANCE,
    HOSTILES,
    LIFE,
    MESSAGES,
    OPENED,
    OPENED_AT,
    OUTAGE,
    message,
)

SERVER = Server(host="mail.acme.example", port=587, security=Security.STARTTLS, username="u", password="s3cret")


class Page(HTMLParser):
    """Collects the tags and links of an HTML page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href" and value]


def channel(sender: str = "automon@acme.example") -> EmailChannel:
    return EmailChannel("email", server=SERVER, sender=sender, to=("oncall@acme.example",))


def mail(said: Message, sender: str = "automon@acme.example") -> EmailMessage:
    service = channel(sender).service(said, "oncall@acme.example")
    parsed = message_from_string(service.mime(html_page(said), subject(said)), policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def part(parsed: EmailMessage, kind: str) -> str:
    found = parsed.get_body((kind,))
    assert isinstance(found, EmailMessage)
    return str(found.get_content())


@pytest.mark.parametrize("kind", LIFE)
def test_only_the_leading_brackets_of_a_subject_change(kind: str) -> None:
    assert re.sub(r"^\[.*?\] ", "", subject(message(LIFE[kind]))) == "invoice-sync: error rate (#41)"


@pytest.mark.parametrize("kind", LIFE)
def test_all_mails_of_an_alert_belong_to_one_thread(kind: str) -> None:
    parsed = mail(message(LIFE[kind]))
    assert parsed["References"] == "<alert-41@ops-1.automon>"
    assert parsed["In-Reply-To"] == "<alert-41@ops-1.automon>"


def test_a_digest_is_a_thread_of_its_own_and_a_repeat_belongs_to_it() -> None:
    first = compose_digest(DIGEST, CONTEXT)
    repeat = compose_digest(replace(DIGEST, attempt=2, uncertain=True), CONTEXT)
    assert {mail(said)["References"] for said in (first, repeat)} == {"<digest-907@ops-1.automon>"}
    assert {subject(said) for said in (first, repeat)} == {
        "[CRITICAL] 812 alerts: ConnectionError smtp.acme.example:587 refused (digest 907)"
    }


def test_all_mails_of_an_outage_belong_to_one_thread() -> None:
    later = compose_outage(replace(OUTAGE, at=OPENED_AT + timedelta(hours=20), reason="timed out"), CONTEXT)
    for said in (MESSAGES["outage"], later):
        assert mail(said)["References"] == "<outage-1795438800@ops-1.automon>"
        assert subject(said) == "[CRITICAL] automon on ops-1: no database since 2026-11-23 14:00"


@pytest.mark.parametrize(
    ("name", "state", "alert", "delivery"),
    [
        ("opened", "opened", "41", "907"),
        ("blind", "resolved", "44", "911"),
        ("digest", "digest", None, "907"),
        ("canary", "canary", None, "908"),
        ("outage", "outage", None, None),
    ],
)
def test_a_mail_can_be_filtered_by_what_it_is_about(
    name: str, state: str, alert: str | None, delivery: str | None
) -> None:
    parsed = mail(MESSAGES[name])
    assert parsed["X-Automon-State"] == state
    assert parsed["X-Automon-Alert"] == alert
    assert parsed["X-Automon-Delivery"] == delivery


@pytest.mark.parametrize("name", ["Message-ID", "Date", "Subject", "From", "To", "References", "In-Reply-To"])
def test_a_header_stands_in_a_mail_once(name: str) -> None:
    assert len(mail(message(OPENED)).get_all(name, [])) == 1


def test_a_mail_is_marked_as_automatic_and_can_be_filtered() -> None:
    parsed = mail(message(OPENED))
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["X-Auto-Response-Suppress"] == "All"
    assert parsed["List-Id"] == "automon alerts <alerts.ops-1.automon>"
    assert parsed["X-Automon-Alert"] == "41"
    assert parsed["X-Automon-Severity"] == "critical"
    assert parsed["X-Automon-State"] == "opened"
    assert parsed["X-Entity-Ref-ID"] is None


def test_a_sender_without_a_name_is_named_after_the_host() -> None:
    assert mail(message(OPENED))["From"] == "automon on ops-1 <automon@acme.example>"


def test_a_sender_with_a_name_keeps_it() -> None:
    parsed = mail(message(OPENED), sender="Rechnungsüberwachung <automon@acme.example>")
    assert parsed["From"] == "Rechnungsüberwachung <automon@acme.example>"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_first_line_of_both_parts_is_the_whole_story(name: str) -> None:
    said = MESSAGES[name]
    first = part(mail(said), "plain").split("\n")[0]
    assert first == f"{said.mark.glyph} {said.headline}"
    assert len(first) <= (112 if said.event == "digest" else 90)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_plain_part_holds_every_address_of_the_html_part(name: str) -> None:
    parsed = mail(MESSAGES[name])
    for link in Page(part(parsed, "html")).links:
        assert link in part(parsed, "plain")


def test_an_opened_mail_links_its_runbook_and_nothing_else() -> None:
    assert Page(part(mail(message(OPENED)), "html")).links == [GUIDANCE.runbook]


def test_the_html_part_sets_no_colours() -> None:
    assert "color" not in part(mail(message(OPENED)), "html")
    assert "background" not in part(mail(message(OPENED)), "html")


@pytest.mark.parametrize(("name", "harmless_name"), [("alert", "opened"), ("digest", "digest-causes")])
def test_hostile_text_makes_no_tag_no_link_and_no_header(name: str, harmless_name: str) -> None:
    harmless, hostile = mail(MESSAGES[harmless_name]), mail(HOSTILES[name])
    page, harmless_page = Page(part(hostile, "html")), Page(part(harmless, "html"))
    assert set(page.tags) == set(harmless_page.tags)
    assert page.links == harmless_page.links
    assert "</pre><script>alert(1)</script>" in part(hostile, "plain")
    assert hostile.keys() == harmless.keys()
    assert hostile["Bcc"] is None
    assert len(str(hostile["Subject"])) <= 160


def test_a_subject_is_one_line_even_with_line_breaks_in_a_name() -> None:
    said = message(replace(OPENED, source="a\r\nBcc: all@acme.example"))
    assert subject(said) == "[CRITICAL] a Bcc: all@acme.example: error rate (#41)"


def test_a_host_name_of_any_kind_makes_a_valid_thread() -> None:
    context = replace(CONTEXT, instance="Ana's <box>\r\n")
    assert headers(compose(OPENED, GUIDANCE, context))["References"] == "<alert-41@Ana-s-box.automon>"


def test_a_test_mail_belongs_to_no_thread() -> None:
    parsed = mail(compose_test(CONTEXT, OPENED_AT))
    assert parsed["Subject"] == "[TEST] automon on ops-1: test message"
    assert parsed["References"] is None
    assert parsed["X-Automon-State"] == "test"
    assert parsed["X-Automon-Delivery"] is None


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "", "a b@c.example", "a@b.example,c@d.example", "ä@b.example"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AutomonError, match="is not a mail address"):
        EmailChannel("email", server=SERVER, sender="automon@acme.example", to=(address,))


def test_a_channel_does_not_show_its_password() -> None:
    assert "s3cret" not in f"{SERVER!r} {channel()!r} {channel().recipients}"
