"""Calls somebody outside while the service works, who gives the alarm when the calls end or one of them tells of trouble."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import IO, Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit

import structlog

from automon import __version__
from automon.errors import AutomonError
from automon.secrets import Secret, scrub
from jobs.job import Context, Result

# For all of a call, from the name look-up to the answer; it is made again soon enough.
TIMEOUT = timedelta(seconds=10)
# How soon a call is given up when the service ends.
GLANCE = 0.1
# Healthchecks keeps no more of it.
LONGEST_BODY = 10_000

NO_ANSWER = "no answer in time"
# What an exception means; the first that fits counts.
_TROUBLES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, NO_ANSWER),
    (socket.gaierror, "the name of the host was not found"),
    (ssl.SSLCertVerificationError, "the certificate is not trusted; SSL_CERT_FILE names other authorities"),
    (ssl.SSLError, "no TLS connection came about"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, "the connection was broken off"),
    (http.client.HTTPException, "the answer was not HTTP"),
)

log = structlog.get_logger("automon.ping")


class PingError(AutomonError):
    """A ping that did not arrive. The message names no part of the URL."""


Post = Callable[[str, bytes, timedelta, threading.Event], None]


def post(url: str, body: bytes, timeout: timedelta, stop: threading.Event) -> None:
    """POST a text to an http or https URL; any answer of 2xx will do.

    Raises PingError for any other answer, for none within `timeout`, and when `stop` is set meanwhile.
    """
    seconds = timeout.total_seconds()
    ends = time.monotonic() + seconds
    call = _Call(url, body, seconds)
    call.start()
    while call.is_alive() and not stop.is_set() and (left := ends - time.monotonic()) > 0:
        call.join(min(GLANCE, left))
    if call.is_alive():
        call.cut()
        raise PingError(NO_ANSWER)
    if call.trouble:
        raise PingError(call.trouble)


class Ping:
    """By the convention of Healthchecks: POST to the URL when all is well, to URL/fail with the troubles, one a line.

    At its first run it tells URL/start first. Without a URL it calls nobody and asks for no troubles. A call that fails
    never raises: it is logged when the calls begin to fail, and when they work again.
    Counts: pinged, 1 when the URL or URL/fail was told; troubles.
    """

    name: ClassVar[str] = "ping"

    def __init__(
        self,
        url: Secret | None,
        troubles: Callable[[], Sequence[str]],
        *,
        post: Post = post,
        timeout: timedelta = TIMEOUT,
    ) -> None:
        self._url = url
        self._troubles = troubles
        self._post = post
        self._timeout = timeout
        self._started = False
        self._failing_since: float | None = None

    def run_once(self, context: Context) -> Result:
        if self._url is None:
            return Result({"pinged": 0, "troubles": 0})
        url = self._url.reveal()
        self._tell_of_start(context, url)
        troubles = self._troubles()
        if troubles:
            pinged = self._call(context, below(url, "fail"), "\n".join(" ".join(text.split()) for text in troubles))
        else:
            pinged = self._call(context, url, f"automon on {context.instance} works")
        return Result({"pinged": int(pinged), "troubles": len(troubles)})

    def _tell_of_start(self, context: Context, url: str) -> None:
        """Tell of the start once, whatever becomes of it: not everybody who takes pings knows URL/start."""
        if not self._started:
            self._started = True
            self._call(context, below(url, "start"), f"automon on {context.instance} started")

    def _call(self, context: Context, url: str, text: str) -> bool:
        """Answer whether the call was taken."""
        if context.stop.is_set():
            return False
        try:
            self._post(url, body_of(text), self._timeout, context.stop)
        except PingError as error:
            # A service that ends gives its last call up, which says nothing about who was called.
            if not context.stop.is_set():
                self._note_failure(context, url, error)
            return False
        self._note_success(context, url)
        return True

    def _note_failure(self, context: Context, url: str, error: PingError) -> None:
        if self._failing_since is None:
            self._failing_since = context.clock.monotonic()
            log.warning("ping_failed", where=place(url), reason=error.message)

    def _note_success(self, context: Context, url: str) -> None:
        if self._failing_since is not None:
            seconds = context.clock.monotonic() - self._failing_since
            self._failing_since = None
            log.info("ping_recovered", where=place(url), after_seconds=round(seconds, 1))


def body_of(text: str) -> bytes:
    """Encode a text for somebody outside: no secret, and whole characters only."""
    return scrub(text).encode(errors="replace")[:LONGEST_BODY].decode(errors="ignore").encode()


def below(url: str, word: str) -> str:
    """Put a word behind the path of a URL, in front of its query if it has one."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{word}"))


def place(url: str) -> str:
    """Name of a URL what is no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


class _Call(threading.Thread):
    """One call, in a thread of its own: a look-up of a name, or an answer that comes byte by byte, knows no time limit."""

    def __init__(self, url: str, body: bytes, seconds: float) -> None:
        super().__init__(name="ping", daemon=True)
        self._url = url
        self._body = body
        self._seconds = seconds
        self._leash = _Leash()
        self.trouble = ""

    def run(self) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": f"automon/{__version__}"}
        try:
            # The opener knows no other scheme than http and https.
            request = urllib.request.Request(self._url, self._body, headers, method="POST")  # noqa: S310
            _opener(self._leash).open(request, timeout=self._seconds).close()
        except HTTPError as error:
            error.close()
            self.trouble = f"the answer was {error.code}"
        except Exception as error:  # noqa: BLE001  whatever it is, its text may hold the URL
            self.trouble = in_words(error)
        finally:
            self._leash.let_go()

    def cut(self) -> None:
        """End the call wherever it is; only the look-up of a name goes on until the resolver ends it."""
        self._leash.cut()


class _Leash:
    """Holds the other ends of a call's sockets: http.client hides them during a TLS handshake and while it reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        self._is_cut = False

    def connect(self, *arguments: Any) -> socket.socket:
        """Connect as socket.create_connection does."""
        connected = socket.create_connection(*arguments)
        with self._lock:
            self._held.append(connected.dup())
        if self._is_cut:
            self.cut()
        return connected

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for held in self._held:
                with contextlib.suppress(OSError):  # the other side was faster
                    held.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        with self._lock:
            for held in self._held:
                held.close()
            self._held.clear()


def _opener(leash: _Leash) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _PlainHandler(leash),
        _TlsHandler(leash),
        _SameSchemeRedirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, leash: _Leash) -> None:
        super().__init__()
        self._leash = leash

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_leashed, http.client.HTTPConnection, self._leash), req)


class _TlsHandler(urllib.request.HTTPSHandler):
    def __init__(self, leash: _Leash) -> None:
        super().__init__()
        self._leash = leash

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_leashed, http.client.HTTPSConnection, self._leash), req)


def _leashed(
    kind: type[http.client.HTTPConnection], leash: _Leash, host: str, *, timeout: float
) -> http.client.HTTPConnection:
    connection = kind(host, timeout=timeout)
    vars(connection)["_create_connection"] = leash.connect
    return connection


class _SameSchemeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect within its scheme only: one to another would show the URL in the open, or read a file."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
            raise HTTPError(req.full_url, code, msg, headers, fp)
        fp.close()  # the base class would read it, however long it is
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def in_words(error: Exception) -> str:
    """Say why nobody answered, in words that cannot hold a part of the URL."""
    cause = error.reason if isinstance(error, URLError) else error
    for kind, words in _TROUBLES:
        if isinstance(cause, kind):
            return words
    if str(cause).startswith("Tunnel connection failed"):
        return "the proxy refused the call"
    number = getattr(cause, "errno", None)
    return os.strerror(number) if number else f"the call failed with {type(cause).__name__}"
