from __future__ import annotations

import io

import pytest
from structlog.testing import capture_logs

from notifiers.channel import Channel, DeliveryError, DeliveryReason
from notifiers.terminal import TerminalChannel, terminal_text
from tests.support.notifications import HOSTILES, MESSAGES, OPENED, message


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class BrokenTerminal(Terminal):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(stream: Terminal) -> str:
    channel: Channel = TerminalChannel("screen", stream=stream)
    assert channel.send(message(OPENED), channel.recipients[0]).answer == "shown"
    return stream.getvalue()


def test_a_terminal_gets_colour_and_the_same_words() -> None:
    assert "\x1b[31m" in shown(Terminal())
    assert "✗ CRITICAL invoice-sync" in shown(Terminal())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_declined(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert shown(Terminal()) == f"\n{terminal_text(message(OPENED), has_colour=False)}\n"
    assert "\x1b" not in shown(Terminal())


@pytest.mark.parametrize("name", MESSAGES)
def test_without_colour_every_line_is_the_same(name: str) -> None:
    said = MESSAGES[name]
    coloured = terminal_text(said, has_colour=True)
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m", "\x1b[31m", "\x1b[33m", "\x1b[34m"):
        coloured = coloured.replace(code, "")
    assert coloured == terminal_text(said, has_colour=False)


@pytest.mark.parametrize("name", HOSTILES)
def test_hostile_text_sends_nothing_to_the_terminal(name: str) -> None:
    assert "\x1b" not in terminal_text(HOSTILES[name], has_colour=False)


def test_where_there_is_no_terminal_a_message_is_one_log_line_at_error_priority() -> None:
    stream = io.StringIO()
    with capture_logs() as lines:
        receipt = TerminalChannel("screen", stream=stream).send(message(OPENED), "terminal")
    assert receipt.answer == "logged"
    assert stream.getvalue() == ""
    (line,) = lines
    assert line["event"] == "alert_message"
    assert line["log_level"] == "error"
    assert line["alert"] == 41
    assert line["delivery"] == 907
    assert line["state"] == "opened"
    assert line["headline"] == "CRITICAL invoice-sync: 112 errors in the last hour (limit 100)"
    assert "automon ack 41" in line["text"]


@pytest.mark.parametrize("name", ["digest", "canary", "outage"])
def test_a_log_line_says_what_it_is_about(name: str) -> None:
    with capture_logs() as lines:
        TerminalChannel("screen", stream=io.StringIO()).send(MESSAGES[name], "terminal")
    assert [(line["state"], line["alert"]) for line in lines] == [(name, 0)]


def test_a_terminal_that_went_away_is_a_delivery_that_failed() -> None:
    with pytest.raises(DeliveryError) as caught:
        TerminalChannel("screen", stream=BrokenTerminal()).send(message(OPENED), "terminal")
    assert caught.value.reason is DeliveryReason.UNREACHABLE
    assert not caught.value.permanent
