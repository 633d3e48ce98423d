"""Every message as it goes out, pinned. After a wanted change run this file with AUTOMON_WRITE_GOLDEN=1."""

from __future__ import annotations

import json
import os
import re
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from notifiers import slack
from notifiers.email import EmailChannel, html_page, subject
from notifiers.message import Message
from notifiers.smtp import Security, Server
from notifiers.terminal import terminal_text
from tests.support.notifications import MESSAGES
from tests.support.slack import WEBHOOK, limit_problems

GOLDEN = Path(__file__).with_name("golden")
NAMES = list(MESSAGES)
MAIL_SERVER = Server(host="mail.acme.example", port=587, security=Security.STARTTLS)


def assert_golden(name: str, actual: str) -> None:
    file = GOLDEN / name
    if os.environ.get("AUTOMON_WRITE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(actual, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == actual


def slack_payload(said: Message) -> dict[str, Any]:
    service: Any = slack.SlackChannel("slack", WEBHOOK).blocks_service(said)
    return {"attachments": [service.gen_payload(slack.body(said), slack.title(said))]}


def mail_source(said: Message) -> str:
    channel = EmailChannel("email", server=MAIL_SERVER, sender="automon@acme.example", to=("oncall@acme.example",))
    return channel.service(said, "oncall@acme.example").mime(html_page(said), subject(said))


def readable_mail(source: str) -> str:
    """Lay a mail open: its headers with what changes each time blanked, then each part decoded."""
    mail = message_from_string(source, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    headers = [f"{name}: {value}" for name, value in mail.items()]
    parts = [f"--- {part.get_content_type()}\n{part.get_content()}" for part in mail.iter_parts()]
    text = "\n".join([*headers, *parts])
    text = re.sub(r"^Message-ID: <.*@", "Message-ID: <unique@", text, flags=re.MULTILINE)
    text = re.sub(r"^Date: .*$", "Date: now", text, flags=re.MULTILINE)
    return re.sub(r'boundary=".*?"', 'boundary="unique"', text)


@pytest.mark.parametrize("name", NAMES)
def test_a_slack_message_is_as_pinned(name: str) -> None:
    payload = slack_payload(MESSAGES[name])
    assert_golden(f"slack/{name}.json", json.dumps(payload, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_is_as_pinned(name: str) -> None:
    assert_golden(f"mail/{name}.txt", readable_mail(mail_source(MESSAGES[name])))


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_message_is_as_pinned(name: str) -> None:
    assert_golden(f"terminal/{name}.txt", terminal_text(MESSAGES[name], has_colour=False) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_slack_message_keeps_to_slacks_limits_and_has_a_preview(name: str) -> None:
    payload = slack_payload(MESSAGES[name])
    assert limit_problems(payload) == []
    attachment = payload["attachments"][0]
    assert attachment["fallback"].endswith(MESSAGES[name].headline)
    assert all(block["type"] != "header" for block in attachment["blocks"])
    assert "ts" not in attachment


def test_a_golden_file_exists_for_nothing_else() -> None:
    for medium, end in (("slack", "json"), ("mail", "txt"), ("terminal", "txt")):
        assert {file.name for file in (GOLDEN / medium).iterdir()} == {f"{name}.{end}" for name in NAMES}
