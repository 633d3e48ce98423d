"""One post to a Slack, or to what stands between, that misbehaves byte by byte; the sender always comes back."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.slack import SlackChannel
from tests.support.notifications import message
from tests.support.slack import WEBHOOK, FakeSlack

SECRETS = WEBHOOK.removeprefix("https://hooks.slack.com/services/").split("/")
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Play = Callable[[socket.socket], None]


class Wire(socketserver.ThreadingTCPServer):
    """A proxy that does with each connection what `play` says, once it has read a CONNECT."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        self.play: Play = hang_up
        self.plays = 0
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answers(self, answer: Play) -> None:
        """Behave until the message is here, then do with its connection what `answer` says."""

        def play(line: socket.socket) -> None:
            line.sendall(ESTABLISHED)
            with self.tls.wrap_socket(line, server_side=True) as connection:
                head = read_head(connection)
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                while length:
                    length -= len(connection.recv(length))
                answer(connection)

        self.play = play

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: that the client leaves is what the tests are about."""


class _Connection(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        read_head(self.request)
        self.server.plays += 1
        self.server.play(self.request)


def read_head(line: socket.socket) -> bytes:
    """Read a request's head, not a byte beyond it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    return head


def saying(data: bytes) -> Play:
    return lambda line: line.sendall(data)


def dripping(data: bytes = b"", first: bytes = b"") -> Play:
    """Say `first` at once and then a byte ten times a second, for as long as anybody listens."""

    def play(line: socket.socket) -> None:
        line.sendall(first)
        for byte in data + b"x" * 300:
            line.sendall(bytes([byte]))
            time.sleep(0.1)

    return play


def pouring(first: bytes) -> Play:
    """Say something without end, as fast as it is taken."""

    def play(line: socket.socket) -> None:
        line.sendall(first)
        while True:
            line.sendall(b"x" * 65536)

    return play


def silent(line: socket.socket) -> None:
    while line.recv(4096):
        pass


def silent_tls(line: socket.socket) -> None:
    line.sendall(ESTABLISHED)
    silent(line)


def hang_up(line: socket.socket) -> None:
    """Do nothing more: the connection ends with its play."""


@pytest.fixture
def wire(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    with Wire(slack.tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, server.url)
        yield server
        server.shutdown()
        thread.join()


def send(*, connect: float = 5, read: float = 5, limit: float = 5) -> str:
    channel = SlackChannel(
        "slack",
        WEBHOOK,
        connect_timeout=timedelta(seconds=connect),
        read_timeout=timedelta(seconds=read),
        exchange_limit=timedelta(seconds=limit),
    )
    return channel.send(message(), channel.recipients[0]).answer


def failure(*, connect: float = 5, read: float = 5, limit: float = 5) -> DeliveryError:
    started = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        send(connect=connect, read=read, limit=limit)
    assert time.monotonic() - started < 4  # well below what the other side would take
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    shown = "\n".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [secret for secret in SECRETS if secret in shown]
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(b"1", b"HTTP/1.1 200 OK\r\nX-Page: "), id="a header, byte by byte"),
        pytest.param(dripping(b"ok", PAGE), id="a page, byte by byte"),
        pytest.param(dripping(b"ok", b"HTTP/1.1 200 OK\r\n\r\n"), id="a page without a length"),
        pytest.param(dripping(b"", PAGE.replace(b"200", b"302")), id="a redirect, byte by byte"),
    ],
)
def test_an_answer_that_does_not_end_is_left_in_time_and_the_message_may_have_arrived(wire: Wire, answer: Play) -> None:
    wire.answers(answer)
    error = failure(limit=0.8)
    assert error.reason is DeliveryReason.TIMED_OUT
    assert error.uncertain
    assert not error.permanent
    assert error.detail == "Slack took the message but did not answer in time"


def test_a_silence_ends_after_the_read_timeout_already(wire: Wire) -> None:
    wire.answers(silent)
    assert failure(read=0.2, limit=30).reason is DeliveryReason.TIMED_OUT


@pytest.mark.parametrize(
    ("play", "limits"),
    [
        pytest.param(silent, {"connect": 0.3}, id="a proxy that is silent"),
        pytest.param(silent, {"limit": 0.3}, id="a proxy that is silent for longer than all may take"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: "), {"limit": 0.8}, id="a proxy that drips"),
        pytest.param(silent_tls, {"connect": 0.3}, id="a Slack that is silent"),
        pytest.param(silent_tls, {"limit": 0.3}, id="a Slack that is silent for longer than all may take"),
    ],
)
def test_what_hangs_before_the_message_leaves_is_unreachable(wire: Wire, play: Play, limits: dict[str, float]) -> None:
    wire.play = play
    error = failure(**limits)
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.uncertain
    assert error.detail == "Slack did not take a connection in time"


def test_the_search_for_a_name_holds_nobody_and_nothing_is_sent_when_it_ends(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, found = socket.getaddrinfo, threading.Event()

    def late(*args: Any, **kwargs: Any) -> Any:
        found.wait(10)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    before = threading.enumerate()
    error = failure(connect=0.1, limit=0.2)
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.uncertain
    found.set()
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(5)
            assert not thread.is_alive()
    assert slack.posts == []


@pytest.mark.parametrize(
    ("play", "detail"),
    [
        pytest.param(saying(b"HTTP/1.1 403 no\r\n\r\n"), "cannot be reached through the proxy", id="forbidden"),
        pytest.param(saying(b"HTTP/1.1 407 who\r\n\r\n"), "cannot be reached through the proxy", id="a login wanted"),
        pytest.param(saying(b"SSH-2.0-OpenSSH\r\n"), "takes no connection", id="no proxy at all"),
        pytest.param(hang_up, "takes no connection", id="a hang-up"),
    ],
)
def test_a_proxy_that_does_not_let_us_through_gets_no_message(wire: Wire, play: Play, detail: str) -> None:
    wire.play = play
    error = failure()
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.uncertain
    assert error.detail == f"Slack {detail}"


@pytest.mark.parametrize("said", [b"", b"no TLS here at all\r\n"], ids=["a hang-up", "other words"])
def test_what_speaks_no_tls_gets_no_message(wire: Wire, said: bytes) -> None:
    wire.play = saying(ESTABLISHED + said)
    error = failure()
    assert error.reason in (DeliveryReason.MISCONFIGURED, DeliveryReason.UNREACHABLE)
    assert not error.uncertain


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok"),
            "unreachable",
            "Slack broke the connection off",
            id="half a chunk",
        ),
        pytest.param(
            saying(b"\x00\xff no HTTP\r\n\r\n"), "unknown", "Slack gave an answer that is not HTTP", id="garbage"
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n"),
            "unknown",
            "Slack gave an answer that is not HTTP",
            id="headers without end",
        ),
        pytest.param(saying(PAGE + b"ok"), "unreachable", "Slack broke the connection off", id="half a page"),
    ],
)
def test_after_a_broken_answer_the_message_may_have_arrived(wire: Wire, answer: Play, reason: str, detail: str) -> None:
    wire.answers(answer)
    error = failure()
    assert error.reason == reason
    assert error.uncertain
    assert not error.permanent
    assert error.detail == detail


def test_a_page_without_end_is_read_no_further_than_needed(wire: Wire) -> None:
    wire.answers(pouring(b"HTTP/1.1 200 OK\r\n\r\n<html>"))
    error = failure()
    assert error.reason is DeliveryReason.UNKNOWN
    assert error.uncertain
    assert error.detail.startswith("Slack answered 200 <html>xxx")
    assert len(error.detail) <= 200


def test_a_redirect_is_not_followed_and_its_page_not_read(wire: Wire) -> None:
    wire.answers(pouring(b"HTTP/1.1 302 Found\r\nLocation: https://hooks.slack.com/elsewhere\r\n\r\n"))
    error = failure()
    assert error.detail.startswith("Slack answered 302")
    assert wire.plays == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", id="with a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", id="in chunks"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok", id="until the end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", id="in the end"),
    ],
)
def test_an_ok_of_any_form_is_a_delivery(wire: Wire, answer: bytes) -> None:
    wire.answers(saying(answer))
    assert send() == "ok"


@pytest.mark.parametrize("proxy", ["http://", "http://[nonsense", "http://nowhere.invalid:x"])
def test_a_proxy_of_no_sense_gets_no_message(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    error = failure()
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.uncertain
    assert error.detail == "Slack cannot be reached through the proxy"


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_a_misconfiguration(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, content: str | None
) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    error = failure()
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert not error.uncertain
    assert "REQUESTS_CA_BUNDLE" in error.hint
