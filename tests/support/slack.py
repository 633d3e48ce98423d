"""A stand-in for hooks.slack.com: TLS for Slack's own host name behind an HTTP CONNECT proxy, all on 127.0.0.1.

    with FakeSlack(Answer.rate_limited(seconds=1)) as slack:     # then "ok" for ever
        start_service(env={**os.environ, **slack.environment()})
        first, second = slack.wait_for(2)

`python -m tests.support.slack` runs one by hand and prints what arrives.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import socketserver
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

import trustme

HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
WEBHOOK = "https://hooks.slack.com/services/T0FAKE000/B0FAKE000/fakeWebhookToken00000000"

LOGIN_PAGE = """\
<!DOCTYPE html>
<html><head><title>Guest network</title></head>
<body><form method="post" action="/login">
<p>ok, please accept the terms to go on</p>
<input name="password" type="password"><button>Log in</button>
</form></body></html>
"""
GIBBERISH = bytes(range(256)) * 4
_DAY_SECONDS = 86_400
_DRIP_SECONDS = 1.0


class Drip(Enum):
    """From where on an answer comes one byte a second."""

    BODY = "body"
    STATUS_LINE = "status line"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One scripted answer. `delay` holds it back for that many seconds; `close` hangs up instead of answering.

    `wire` goes over the encrypted line as it is, instead of HTTP; a `mute` one never comes.
    """

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    close: bool = False
    wire: bytes | None = None
    mute: bool = False
    drip: Drip | None = None

    @property
    def takes(self) -> bool:
        """Whether Slack has taken the message, however its answer fares on the way back."""
        return self.wire is None and self.status == 200 and (self.body == "ok" or self.drip is not None)

    @classmethod
    def rate_limited(cls, *, seconds: int | None) -> Answer:
        """Ask for that pause, or name none."""
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        return cls(status=429, body="rate_limited", headers=headers)

    @classmethod
    def rate_limited_until(cls, moment: datetime) -> Answer:
        """Name the end of the pause, in UTC, as HTTP allows too."""
        date = email.utils.format_datetime(moment, usegmt=True)
        return cls(status=429, body="rate_limited", headers={"Retry-After": date})

    @classmethod
    def no_service(cls) -> Answer:
        return cls(status=404, body="no_service")

    @classmethod
    def invalid_blocks(cls) -> Answer:
        return cls(status=400, body="invalid_blocks")

    @classmethod
    def broken(cls) -> Answer:
        return cls(status=500, body="rollup_error")

    @classmethod
    def slow(cls, *, seconds: float) -> Answer:
        return cls(delay=seconds)

    @classmethod
    def hang_up(cls) -> Answer:
        return cls(close=True)

    @classmethod
    def garbage(cls) -> Answer:
        """Answer as a guest network's login page does, which says ok to everything."""
        return cls(body=LOGIN_PAGE, headers={"Content-Type": "text/html; charset=utf-8"})

    @classmethod
    def gibberish(cls) -> Answer:
        """Answer in no protocol at all."""
        return cls(wire=GIBBERISH)

    @classmethod
    def silent(cls) -> Answer:
        """Take the request and say nothing, until the client goes away or the fake ends."""
        return cls(mute=True)

    @classmethod
    def dripping(cls, start: Drip = Drip.BODY) -> Answer:
        """Answer one byte a second for a day: never silent for long, and never done."""
        return cls(body="ok" * (_DAY_SECONDS // 2), drip=start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """One request that arrived. `arrived_at` is `time.monotonic()`; `problems` is what Slack's limits say of it."""

    path: str
    payload: dict[str, Any]
    headers: Mapping[str, str]
    arrived_at: float
    problems: tuple[str, ...]

    @property
    def attachment(self) -> dict[str, Any]:
        attachment: dict[str, Any] = self.payload["attachments"][0]
        return attachment

    @property
    def preview(self) -> str:
        """What a phone shows before anybody opens the app; empty when Slack would show "no preview available"."""
        return str(self.payload.get("text") or self.attachment.get("fallback") or self.attachment.get("title") or "")

    @property
    def text(self) -> str:
        """All that is shown, one part a line."""
        parts = [self.attachment.get("title", ""), self.attachment.get("text", "")]
        for block in self.attachment.get("blocks", ()):
            parts += [block["text"]["text"]] if "text" in block else []
            parts += [element.get("text", "") for element in block.get("elements", ())]
        return "\n".join(part for part in parts if part)


class FakeSlack:
    """Answers from its script first, then what it `always` does.

    That is ok at first, and invalid_blocks to a payload beyond Slack's published limits.
    """

    def __init__(self, *script: Answer, port: int = 0) -> None:
        self._script = list(script)
        self._always: Answer | Callable[[], Answer] | None = None
        self._port = port
        self._posts: list[Post] = []
        self._taken: list[Post] = []
        self._changed = threading.Condition()
        self.stopping = threading.Event()
        self.connects: list[str] = []

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="fake-slack-")
        authority = trustme.CA()
        self._ca_file = Path(self._directory.name, "ca.pem")
        authority.cert_pem.write_to_path(str(self._ca_file))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(self.tls)
        self._server = _Proxy(("127.0.0.1", self._port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._directory.cleanup()

    @property
    def webhook_url(self) -> str:
        return WEBHOOK

    @property
    def posts(self) -> list[Post]:
        with self._changed:
            return list(self._posts)

    @property
    def taken(self) -> list[Post]:
        """The requests that became messages: answered with ok, whether or not the client has heard it."""
        with self._changed:
            return list(self._taken)

    def environment(self) -> dict[str, str]:
        """Give what a process needs in its environment to reach this instead of Slack."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self._ca_file),
        }

    def script(self, *answers: Answer) -> None:
        """Add answers for the next requests."""
        with self._changed:
            self._script += answers

    def always(self, answer: Answer | Callable[[], Answer] | None) -> None:
        """Give that answer, or each time what a function says, to every request that the script has none for.

        With None, as at first.
        """
        with self._changed:
            self._always = answer

    def wait_for(self, count: int, deadline: float = 10) -> list[Post]:
        """Wait at most `deadline` seconds until `count` requests have arrived; AssertionError when they have not."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._posts) >= count, deadline)
            assert arrived, f"{len(self._posts)} of {count} requests arrived within {deadline} s"
            return list(self._posts)

    def receive(self, post: Post) -> Answer:
        with self._changed:
            answer = self._answer_to(post)
            self._posts.append(post)
            # A client that was killed half-way through leaves a request that is not even JSON.
            if answer.takes and not post.problems:
                self._taken.append(post)
            self._changed.notify_all()
            return answer

    def _answer_to(self, post: Post) -> Answer:
        scripted = self._script.pop(0) if self._script else self._always
        if scripted is not None:
            return scripted() if callable(scripted) else scripted
        return Answer(status=400, body="invalid_blocks") if post.problems else Answer()


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], slack: FakeSlack) -> None:
        self.slack = slack
        super().__init__(address, _Connect)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        # A client that gave up waiting is part of the game.
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


class _Connect(BaseHTTPRequestHandler):
    """Takes the CONNECT, then speaks TLS on the same socket as Slack would."""

    server: _Proxy

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        self.server.slack.connects.append(self.path)
        if host not in HOSTS:
            self.send_error(403, "only Slack lives here")
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        try:
            encrypted = self.server.slack.tls.wrap_socket(self.connection, server_side=True)
        except OSError as error:
            _close_half_made(error)
            raise
        with encrypted as connection:
            _Webhook(connection, self.client_address, self.server)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is not a server's log."""


def _close_half_made(error: OSError) -> None:
    """Close what Python leaves open when a client is killed before the handshake; only the traceback knows it."""
    trace = error.__traceback__
    while trace is not None:
        made = trace.tb_frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()
        trace = trace.tb_next


class _Webhook(BaseHTTPRequestHandler):
    server: _Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        payload, problems = _read(body)
        post = Post(
            path=self.path,
            payload=payload,
            headers=dict(self.headers),
            arrived_at=time.monotonic(),
            problems=tuple(problems),
        )
        answer = self.server.slack.receive(post)
        if answer.delay:
            self.server.slack.stopping.wait(answer.delay)
        if answer.mute:
            self._wait_for_end()
        elif answer.wire is not None:
            self.wfile.write(answer.wire)
        elif not answer.close:
            self._send(answer)

    def _wait_for_end(self) -> None:
        """Return when the client has gone away or the fake ends."""
        self.connection.settimeout(0.05)
        while not self.server.slack.stopping.is_set():
            with suppress(TimeoutError):
                if not self.connection.recv(1024):
                    return

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        phrase = http.client.responses.get(answer.status, "")
        head = [f"HTTP/1.0 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers.items())]
        head += [f"Content-Length: {len(body)}", "", ""]
        self._write("\r\n".join(head).encode(), slowly=answer.drip is Drip.STATUS_LINE)
        self._write(body, slowly=answer.drip is not None)

    def _write(self, data: bytes, *, slowly: bool) -> None:
        if not slowly:
            self.wfile.write(data)
            return
        for byte in data:
            if self.server.slack.stopping.wait(_DRIP_SECONDS):
                return
            self.wfile.write(bytes([byte]))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is not a server's log."""


def _read(body: bytes) -> tuple[dict[str, Any], list[str]]:
    try:
        payload = json.loads(body)
    except ValueError:
        return {}, ["not JSON"]
    if not isinstance(payload, dict):
        return {}, ["not an object"]
    try:
        return payload, limit_problems(payload)
    except (AttributeError, KeyError, TypeError):
        return payload, ["no message"]


def limit_problems(payload: Mapping[str, Any]) -> list[str]:
    """Say what in a payload is beyond the limits that Slack publishes for messages and blocks."""
    problems = []
    attachments = payload.get("attachments", [])
    if not (payload.get("text") or payload.get("blocks") or attachments):
        problems.append("no text")
    if len(payload.get("text", "")) > 40_000:
        problems.append("text over 40,000 characters")
    if len(attachments) >= 100:
        problems.append("100 attachments or more")
    blocks = [*payload.get("blocks", []), *(block for one in attachments for block in one.get("blocks", []))]
    if len(blocks) > 50:
        problems.append("more than 50 blocks")
    return problems + [problem for block in blocks for problem in _block_problems(block)]


def _block_problems(block: Mapping[str, Any]) -> list[str]:
    match block.get("type"):
        case "section":
            texts = [block["text"]] if "text" in block else []
            fields = block.get("fields", [])
            return [
                *_text_problems("section", texts, 3000),
                *_text_problems("field", fields, 2000),
                *(["section without text and fields"] if not texts and not fields else []),
                *(["more than 10 fields"] if len(fields) > 10 else []),
            ]
        case "header":
            return _text_problems("header", [block.get("text", {})], 150)
        case "context":
            elements = block.get("elements", [])
            over = ["more than 10 context elements"] if len(elements) > 10 else []
            return over + _text_problems("context", [one for one in elements if one.get("type") != "image"], 3000)
        case "divider" | "actions" | "rich_text":
            return []
        case other:
            return [f"unknown block {other}"]


def _text_problems(where: str, texts: list[Mapping[str, Any]], limit: int) -> list[str]:
    problems = []
    for text in texts:
        if text.get("type") not in ("mrkdwn", "plain_text"):
            problems.append(f"{where}: text of type {text.get('type')}")
        if not 1 <= len(text.get("text", "")) <= limit:
            problems.append(f"{where}: {len(text.get('text', ''))} characters, not 1 to {limit}")
    return problems


def main() -> None:
    with FakeSlack() as slack:
        for name, value in {"SLACK_WEBHOOK_URL": slack.webhook_url, **slack.environment()}.items():
            print(f"export {name}={value}")
        print("# a Slack that is none; Ctrl-C ends it", flush=True)
        shown = 0
        try:
            while True:
                posts = slack.wait_for(shown + 1, deadline=1e6)
                for post in posts[shown:]:
                    print(f"\n--- preview: {post.preview}\n{post.text}", flush=True)
                    for problem in post.problems:
                        print(f"!!! {problem}", flush=True)
                shown = len(posts)
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
