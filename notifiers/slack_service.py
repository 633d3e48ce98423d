"""apprise's Slack service over automon's own HTTP exchange. Import it late, as `notifiers.dispatch`.

apprise's own exchange forgets how long Slack wants to be left alone, tells what went wrong only in debug lines, and
waits for ever on a server that says one byte a second. So the exchange is ours; the message itself is apprise's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Any, ClassVar

import requests
from apprise.plugins.slack import NotifySlack
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from notifiers.channel import DeliveryError
from notifiers.dispatch import asset
from notifiers.http_failure import answer_error, exchange_error, wished_pause

SLACK = "Slack"
ANSWER_LIMIT = 2000  # bytes; Slack answers in a word, and only a proxy in between in a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back. `text` is at most its first 2 kB; `retry_after` is the service's own wish."""

    status: int
    text: str
    retry_after: timedelta | None


class SlackService(NotifySlack):  # type: ignore[no-untyped-call]
    """Posts to one webhook, which three secrets name.

    `answer` is what Slack said, without them; `failure` says why the message was not delivered. One object, one
    message.
    """

    def __init__(
        self, secrets: tuple[str, str, str], *, is_government: bool, exchange: Exchange, **options: Any
    ) -> None:
        first, second, third = secrets
        super().__init__(  # type: ignore[no-untyped-call]
            token_a=first,
            token_b=second,
            token_c=third,
            mode="gov-hook" if is_government else "hook",
            include_image=False,
            include_footer=False,  # its time would be that of the sending
            secure=True,
            asset=asset(),
            **options,
        )
        self.secrets = secrets
        self.exchange = exchange
        self.answer: Answer | None = None
        self.failure: DeliveryError | None = None

    def _send(self, url: str, payload: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        try:
            answer = self.exchange.post(url, dumps(payload), agent=self.app_id)
        except DeliveryError as error:
            self.failure = error
            return False
        self.answer = replace(answer, text=self._without_secrets(answer.text))
        if answer.status == 200 and answer.text == "ok":
            return {"ok": True}
        self.failure = answer_error(SLACK, answer.status, self.answer.text, answer.retry_after)
        return False

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class Exchange:
    """One POST that ends in time, whatever the other side does.

    requests limits each wait for a byte, not all of them together: so a timer cuts the connection after `limit`, in
    whichever step that finds it. `handed_over` turns true before the first byte of the message is sent.
    """

    def __init__(self, *, connect_timeout: timedelta, read_timeout: timedelta, limit: timedelta) -> None:
        self.handed_over = False
        self._timeouts = (connect_timeout.total_seconds(), read_timeout.total_seconds())
        self._limit = limit.total_seconds()
        self._is_over = False
        self._line: socket.socket | None = None

    def post(self, url: str, payload: str, *, agent: str) -> Answer:
        """Post some JSON and return the answer, whatever it is; raises DeliveryError when there is none."""
        headers = {
            "User-Agent": agent,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # what is read is the answer, not an archive of it
            "Content-Type": "application/json; charset=utf-8",
        }
        try:
            with self._cut_in_time():
                return self._converse(url, payload, headers)
        except (OSError, HTTPError) as error:
            cause = TimeoutError() if self._is_over else error
            raise exchange_error(SLACK, cause, handed_over=self.handed_over) from None

    def hold(self, line: socket.socket) -> None:
        """Take note of the connection; under TLS, later, the same socket has another object."""
        self._line = line.dup()
        if self._is_over:
            self._cut()

    def _converse(self, url: str, payload: str, headers: Mapping[str, str]) -> Answer:
        adapter = _Adapter(self)
        with requests.Session() as session:
            session.mount("https://", adapter)
            request = session.prepare_request(requests.Request("POST", url, data=payload, headers=headers))
            settings = session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None)
            # Not session.send(): it reads the whole body of a redirect, even of one that it does not follow.
            with adapter.send(request, timeout=self._timeouts, **settings) as response:
                text = response.raw.read(ANSWER_LIMIT)
                if len(text) < ANSWER_LIMIT:
                    response.raw.read(1)  # raises when this is not the end: half a page may begin with "ok"
        if self._is_over:
            raise TimeoutError  # the end that was read is the one that the timer made
        wish = response.headers.get("Retry-After", "")
        return Answer(
            status=response.status_code,
            text=text.decode("utf-8", "replace"),
            retry_after=wished_pause(wish, datetime.now(UTC)),
        )

    @contextmanager
    def _cut_in_time(self) -> Iterator[None]:
        timer = threading.Timer(self._limit, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            if self._line is not None:
                self._line.close()

    def _cut(self) -> None:
        self._is_over = True
        if self._line is not None:
            with suppress(OSError):  # the other side was faster
                self._line.shutdown(socket.SHUT_RDWR)


class _Watched(HTTPSConnection):
    """Tells an exchange which socket it talks through, and when the message begins to leave."""

    exchange: ClassVar[Exchange]

    def _new_conn(self) -> socket.socket:
        line = super()._new_conn()
        self.exchange.hold(line)
        return line

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.exchange.handed_over = True
        super().request(*args, **kwargs)


class _Adapter(HTTPAdapter):
    """Makes watched connections of the kind that the proxy, if there is one, asks for."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        watched: Any = type("Watched", (_Watched, pool.ConnectionCls), {"exchange": self._exchange})
        pool.ConnectionCls = watched
        return pool
