"""A mail server for tests: STARTTLS, implicit TLS or neither, with or without login, on 127.0.0.1.

    with FakeSmtp(security="starttls", username="automon", password="s3cret") as smtp:
        start_service(env={**os.environ, **smtp.environment()})
        (mail,) = smtp.wait_for(1)

`python -m tests.support.smtp` runs one by hand and prints what arrives.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import math
import ssl
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

ACCEPTED = "250 2.0.0 Ok: queued as FAKE1"
# Not an answer: the mail is taken, and the connection closed instead of saying so.
DROPPED = "250 dropped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """One mail that was taken. `raw` is what came over the wire; `arrived_at` is `time.monotonic()`."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    message: EmailMessage
    arrived_at: float

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    def _part(self, subtype: str) -> str:
        part = self.message.get_body(preferencelist=(subtype,))
        assert isinstance(part, EmailMessage), f"no {subtype} part"
        return str(part.get_content()).replace("\r\n", "\n")


class FakeSmtp:
    """Takes every mail, except where `refuse` has another answer for a recipient, or `answers` for the next mails.

    `silent_after_data` takes mails and never says so. `drop_after_data` takes them, as many as that or all, and closes
    the connection instead of saying so.
    """

    def __init__(
        self,
        *,
        security: str = "starttls",
        username: str = "",
        password: str = "",
        refuse: Mapping[str, str] | None = None,
        answers: tuple[str, ...] = (),
        silent_after_data: bool = False,
        drop_after_data: bool | int = False,
        port: int = 0,
    ) -> None:
        self.security = security
        self.username = username
        self.password = password
        drops = math.inf if drop_after_data is True else drop_after_data
        self._handler = _Handler(refuse or {}, list(answers), is_silent=silent_after_data, drops=drops)
        self._port = port
        self._wires: list[asyncio.WriteTransport] = []

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="fake-smtp-")
        authority = trustme.CA()
        self.ca_file = str(Path(self._directory.name, "ca.pem"))
        authority.cert_pem.write_to_path(self.ca_file)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._directory.cleanup()

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def mails(self) -> list[Mail]:
        return self._handler.taken()

    def environment(self, to: str = "oncall@acme.example") -> dict[str, str]:
        """Give what a process needs in its environment to mail through this server."""
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.username else ""
        scheme = "smtps" if self.security == "tls" else "smtp"
        url = f"{scheme}://{login}{self.host}:{self.port}?from=automon@acme.example&to={to}"
        return {"AUTOMON_EMAIL_URL": url, "SSL_CERT_FILE": self.ca_file}

    def answer_with(self, answer: str | Callable[[], str] | None) -> None:
        """Give that answer, or each time what a function says, to every mail that `answers` has none for.

        With None, take them again.
        """
        self._handler.answer_with(answer)

    def wait_for(self, count: int, deadline: float = 10) -> list[Mail]:
        """Wait at most `deadline` seconds until `count` mails were taken; AssertionError when they were not."""
        return self._handler.wait_for(count, deadline)

    async def _listen(self) -> asyncio.Server:
        context = self._tls if self.security == "tls" else None
        return await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", self._port, ssl=context)

    async def _end(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # A client that was killed has not said goodbye: its connection is closed here, not when memory is tidied up.
        for wire in self._wires:
            with suppress(AttributeError):  # asyncio's own, for an encrypted connection whose wire is gone already
                wire.abort()
        for _ in range(3):
            await asyncio.sleep(0)

    def _session(self) -> SMTP:
        options: dict[str, Any] = {"hostname": "mail.acme.example", "loop": self._loop}
        if self.security == "starttls":
            options |= {"tls_context": self._tls, "require_starttls": True}
        if self.username:
            options |= {"authenticator": self._authenticate, "auth_required": True}
            options |= {"auth_require_tls": self.security == "starttls"}
        with warnings.catch_warnings():
            # aiosmtpd warns of a login without encryption, which some tests want and implicit TLS only looks like.
            warnings.simplefilter("ignore")
            return _Listening(self._wires, self._handler, **options)

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, kind: str, data: Any) -> AuthResult:
        expected = LoginPassword(self.username.encode(), self.password.encode())
        return AuthResult(success=data == expected, handled=False)


class _Listening(SMTP):
    """A session that enters its connections in a list: the bare one, and the encrypted one that follows STARTTLS."""

    def __init__(self, wires: list[asyncio.WriteTransport], handler: _Handler, **options: Any) -> None:
        self._wires = wires
        super().__init__(handler, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._wires.append(transport)
        super().connection_made(transport)


class _Handler:
    def __init__(self, refuse: Mapping[str, str], answers: list[str], *, is_silent: bool, drops: float) -> None:
        self._refuse = refuse
        self._answers = answers
        self._always: str | Callable[[], str] = ACCEPTED
        self._is_silent = is_silent
        self._drops = drops
        self._mails: list[Mail] = []
        self._changed = threading.Condition()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._refuse:
            return self._refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._next_answer()
        is_taken = answer.startswith("250")
        is_dropped = is_taken and (self._drops > 0 or answer == DROPPED)
        if is_taken:
            self._take(envelope)
        if is_dropped:
            self._drops -= answer != DROPPED
            self._cut(server)
        if is_dropped or self._is_silent:
            await asyncio.Event().wait()  # until the session is cancelled, as it also is when its connection is lost
        return answer

    def answer_with(self, answer: str | Callable[[], str] | None) -> None:
        with self._changed:
            self._always = answer or ACCEPTED

    @staticmethod
    def _cut(server: SMTP) -> None:
        wire = server.transport
        assert isinstance(wire, asyncio.WriteTransport)
        wire.abort()

    def _next_answer(self) -> str:
        with self._changed:
            if self._answers:
                return self._answers.pop(0)
            return self._always() if callable(self._always) else self._always

    def _take(self, envelope: Envelope) -> None:
        raw = envelope.original_content or b""
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        mail = Mail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            raw=raw,
            message=message,
            arrived_at=time.monotonic(),
        )
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()

    def taken(self) -> list[Mail]:
        with self._changed:
            return list(self._mails)

    def wait_for(self, count: int, deadline: float) -> list[Mail]:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._mails) >= count, deadline)
            assert arrived, f"{len(self._mails)} of {count} mails arrived within {deadline} s"
            return list(self._mails)


def main() -> None:
    with FakeSmtp(username="automon", password="demo") as smtp:
        for name, value in smtp.environment().items():
            print(f"export {name}='{value}'")
        print("# a mail server that keeps everything to itself; Ctrl-C ends it", flush=True)
        shown = 0
        try:
            while True:
                mails = smtp.wait_for(shown + 1, deadline=1e6)
                for mail in mails[shown:]:
                    print(f"\n--- to {', '.join(mail.recipients)}: {mail.message['Subject']}\n{mail.text}", flush=True)
                shown = len(mails)
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
