"""The ping over real HTTP: what is called and when, what a failing call does, and that no log holds the URL."""

from __future__ import annotations

import errno
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import trustme
from structlog.testing import capture_logs

from automon.clock import SystemClock
from automon.config import load_config
from automon.database import Database
from automon.logs import configure_logging
from automon.secrets import Secret
from automon.store import Store
from jobs.job import Context
from jobs.ping import LONGEST_BODY, NO_ANSWER, TIMEOUT, Ping, PingError, in_words, post
from tests.support.ping import PATH, Answer, FakePings
from tests.support.waiting import wait_until

SOON = timedelta(seconds=0.3)
Line = dict[str, Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def outside() -> Iterator[FakePings]:
    with FakePings() as outside:
        yield outside


@pytest.fixture
def context() -> Context:
    """A context whose database is not there: a ping must do without it."""
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", SystemClock())
    return Context(store=Store(database), clock=SystemClock(), instance="ops-1:7", stop=threading.Event())


def no_troubles() -> list[str]:
    return []


def ping_to(url: str, *troubles: str, timeout: timedelta = TIMEOUT) -> Ping:
    return Ping(Secret(url), lambda: troubles, timeout=timeout)


def started(ping: Ping, context: Context, outside: FakePings) -> Ping:
    """Let the run pass that tells of the start."""
    ping.run_once(context)
    assert 2 == len(outside.pings)
    return ping


def lines_of_runs(ping: Ping, context: Context, runs: int) -> list[Line]:
    with capture_logs() as lines:
        for _ in range(runs):
            ping.run_once(context)
    return [dict(line) for line in lines]


def no_call_is_left() -> bool:
    return all(thread.name != "ping" for thread in threading.enumerate())


# What is called -----------------------------------------------------------------------------------------------


def test_without_troubles_the_url_itself_is_called(outside: FakePings, context: Context) -> None:
    result = ping_to(outside.url).run_once(context)

    assert {"pinged": 1, "troubles": 0} == result.counts
    ping = outside.wait_for(2)[-1]
    assert ("POST", PATH, "automon on ops-1:7 works") == (ping.method, ping.path, ping.body)
    assert "text/plain; charset=utf-8" == ping.headers["Content-Type"]
    assert ping.headers["User-Agent"].startswith("automon/")


def test_the_first_run_tells_of_the_start_before_and_no_other_does(outside: FakePings, context: Context) -> None:
    ping = ping_to(outside.url)
    for _ in range(3):
        ping.run_once(context)

    assert [f"{PATH}/start", PATH, PATH, PATH] == [call.path for call in outside.pings]
    assert "automon on ops-1:7 started" == outside.pings[0].body


def test_troubles_are_told_below_fail_one_a_line(outside: FakePings, context: Context) -> None:
    result = ping_to(outside.url, "checks last ran 20 min ago", "slack: ütterly\n  broken").run_once(context)

    assert {"pinged": 1, "troubles": 2} == result.counts
    assert [f"{PATH}/start", f"{PATH}/fail"] == [call.path for call in outside.pings]
    assert "checks last ran 20 min ago\nslack: ütterly broken" == outside.pings[1].body


def test_troubles_are_asked_for_anew_at_each_run(outside: FakePings, context: Context) -> None:
    troubles = ["the database does not answer"]
    ping = Ping(Secret(outside.url), lambda: list(troubles))
    ping.run_once(context)
    troubles.clear()
    ping.run_once(context)

    assert [f"{PATH}/start", f"{PATH}/fail", PATH] == [call.path for call in outside.pings]


@pytest.mark.parametrize(
    ("written", "called"),
    [
        pytest.param("", ["/start", "/fail"], id="no path"),
        pytest.param("/key/slug?a=%2F", ["/key/slug/start?a=%2F", "/key/slug/fail?a=%2F"], id="a query"),
        pytest.param("/key/", ["/key/start", "/key/fail"], id="a slash at the end"),
    ],
)
def test_start_and_fail_stand_behind_the_path(
    outside: FakePings, context: Context, written: str, called: list[str]
) -> None:
    ping_to(f"http://127.0.0.1:{outside.port}{written}", "trouble").run_once(context)

    assert called == [call.path for call in outside.pings]


def test_without_a_url_nobody_is_called_and_no_trouble_is_looked_for(context: Context) -> None:
    def troubles() -> list[str]:
        raise AssertionError("nobody listens")

    assert {"pinged": 0, "troubles": 0} == Ping(None, troubles).run_once(context).counts


def test_the_url_of_the_config_is_called(tmp_path: Path, outside: FakePings, context: Context) -> None:
    file = tmp_path / "monitoring_config.json"
    file.write_text(json.dumps({"ping": {"url": "$env:WATCHER"}}), encoding="utf-8")

    config = load_config(file, {"WATCHER": outside.url})

    assert {"pinged": 1, "troubles": 0} == Ping(config.ping.url, no_troubles).run_once(context).counts


def test_a_body_holds_no_secret_and_is_bounded_in_whole_characters(outside: FakePings, context: Context) -> None:
    Secret("hunter2-of-the-database")
    ping_to(outside.url, "cannot log in with hunter2-of-the-database", "ü" * LONGEST_BODY).run_once(context)

    body = outside.pings[-1].body
    assert body.startswith("cannot log in with <secret>\nü")
    assert LONGEST_BODY - 1 <= len(body.encode()) <= LONGEST_BODY


# What goes wrong ----------------------------------------------------------------------------------------------

FAILURES = {
    "500": (Answer.broken(), "the answer was 500"),
    "404": (Answer.unknown(), "the answer was 404"),
    "hang": (Answer.hanging(), NO_ANSWER),
    "drip": (Answer.dripping(seconds=0.02), NO_ANSWER),
    "hang up": (Answer.hang_up(), "the connection was broken off"),
    "no HTTP": (Answer.no_http(), "the answer was not HTTP"),
    "redirect to a file": (Answer.redirect("file:///etc/passwd"), "the answer was 302"),
    "redirect to TLS": (Answer.redirect("https://127.0.0.1:1/"), "the answer was 302"),
    "redirect in a circle": (Answer.redirect(PATH), "the answer was 302"),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_a_call_that_fails_is_told_of_once_and_once_when_it_works_again(
    outside: FakePings, context: Context, answer: Answer, reason: str
) -> None:
    ping = started(ping_to(outside.url, timeout=SOON), context, outside)

    outside.script(*[answer] * 20)
    with capture_logs() as lines:
        failed = [ping.run_once(context).counts["pinged"] for _ in range(2)]
    outside.script_is_over()
    after = lines_of_runs(ping, context, 2)

    assert [0, 0] == failed
    where = "http://127.0.0.1"
    assert [{"event": "ping_failed", "log_level": "warning", "where": where, "reason": reason}] == lines
    (line,) = after
    assert ("ping_recovered", "info", where) == (line["event"], line["log_level"], line["where"])
    assert 0 <= line["after_seconds"] < 10
    wait_until(no_call_is_left, what="the end of every call")


def test_nobody_who_listens_is_told_of_once(context: Context) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        lines = lines_of_runs(ping_to(f"http://127.0.0.1:{listener.getsockname()[1]}/secret"), context, 3)

    assert [("ping_failed", "the connection was refused")] == [(line["event"], line["reason"]) for line in lines]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (URLError(socket.gaierror(socket.EAI_NONAME, "secret")), "the name of the host was not found"),
        (URLError(OSError(errno.ENETUNREACH, "secret")), "Network is unreachable"),
        (URLError(ssl.SSLEOFError(8, "secret")), "no TLS connection came about"),
        (UnicodeEncodeError("ascii", "secret", 0, 1, "secret"), "the call failed with UnicodeEncodeError"),
    ],
    ids=["name", "network", "TLS", "anything else"],
)
def test_an_error_is_told_in_words_of_its_own(error: Exception, words: str) -> None:
    assert words == in_words(error)


def test_somebody_who_does_not_know_start_is_pinged_all_the_same(outside: FakePings, context: Context) -> None:
    outside.script(Answer.unknown())
    ping = ping_to(outside.url)

    assert {"pinged": 1, "troubles": 0} == ping.run_once(context).counts
    ping.run_once(context)

    assert [f"{PATH}/start", PATH, PATH] == [call.path for call in outside.pings]


@pytest.mark.parametrize("answer", [Answer.hanging(), Answer.dripping(seconds=0.02)], ids=["hang", "drip"])
def test_the_limit_is_one_for_the_whole_call(outside: FakePings, context: Context, answer: Answer) -> None:
    outside.script(answer)
    before = time.monotonic()

    with pytest.raises(PingError, match=NO_ANSWER):
        post(outside.url, b"", SOON, context.stop)

    assert SOON.total_seconds() <= time.monotonic() - before < 5
    wait_until(no_call_is_left, what="the end of the call")


def test_a_call_takes_ten_seconds_at_most() -> None:
    assert timedelta(seconds=10) == TIMEOUT


def test_a_service_that_ends_does_not_wait_for_an_answer(outside: FakePings, context: Context) -> None:
    outside.script(Answer.hanging())
    ping = ping_to(outside.url)
    with capture_logs() as lines:
        running = threading.Thread(target=ping.run_once, args=(context,))
        running.start()
        outside.wait_for(1)
        context.stop.set()
        running.join(5)

    assert not running.is_alive()
    assert [] == lines
    assert 1 == len(outside.pings)


def test_a_redirect_within_the_scheme_is_followed(outside: FakePings, context: Context) -> None:
    ping = started(ping_to(outside.url), context, outside)
    outside.script(Answer.redirect("/elsewhere"))

    assert {"pinged": 1, "troubles": 0} == ping.run_once(context).counts
    assert [PATH, "/elsewhere"] == [call.path for call in outside.pings[2:]]


# Proxies and TLS ----------------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_used(
    outside: FakePings, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{outside.port}")

    assert {"pinged": 1, "troubles": 0} == ping_to("http://ping.invalid/x").run_once(context).counts
    assert ["http://ping.invalid/x/start", "http://ping.invalid/x"] == [call.path for call in outside.pings]


def test_a_host_that_needs_no_proxy_is_called_without(
    outside: FakePings, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    assert {"pinged": 1, "troubles": 0} == ping_to(outside.url).run_once(context).counts


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Answer(status=407), "the proxy refused the call"), (Answer.dripping(seconds=0.02), NO_ANSWER)],
    ids=["refuses", "drips"],
)
def test_a_proxy_that_leads_nowhere_is_told_of(
    outside: FakePings, context: Context, monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:hunter2@127.0.0.1:{outside.port}")
    outside.script(answer, answer)

    (line,) = lines_of_runs(ping_to("https://ping.invalid/secret", timeout=SOON), context, 1)

    assert ("https://ping.invalid", reason) == (line["where"], line["reason"])
    assert "ping.invalid:443" == outside.pings[0].path
    wait_until(no_call_is_left, what="the end of every call")


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def tls(authority: trustme.CA) -> Iterator[FakePings]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakePings(tls=context) as outside:
        yield outside


def test_a_certificate_of_a_named_authority_is_trusted(
    tls: FakePings, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    assert {"pinged": 1, "troubles": 0} == ping_to(tls.url).run_once(context).counts

    tls.script(Answer.dripping(seconds=0.02))
    with pytest.raises(PingError, match=NO_ANSWER):
        post(tls.url, b"", SOON, context.stop)
    wait_until(no_call_is_left, what="the end of the call")


def test_a_certificate_of_nobody_known_is_not(tls: FakePings, context: Context) -> None:
    (line,) = lines_of_runs(ping_to(tls.url), context, 1)

    assert line["reason"].startswith("the certificate is not trusted")
    assert [] == tls.pings


def test_a_handshake_that_is_not_answered_ends_with_the_call(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(PingError, match=NO_ANSWER):
            post(f"https://127.0.0.1:{listener.getsockname()[1]}/secret", b"", SOON, context.stop)
        wait_until(no_call_is_left, what="the end of the call")


# Secrets ------------------------------------------------------------------------------------------------------


@pytest.fixture
def log_text() -> Callable[[], str]:
    """Everything that any library logs, as automon writes it, at the level that says most."""
    stream = io.StringIO()
    configure_logging(stream=stream, json=True, level="DEBUG", environ={})
    return stream.getvalue


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        *(answer for answer, _ in FAILURES.values()),
        Answer.redirect(f"https://x/{PATH}"),
        Answer(raw=PATH.encode()),
    ],
    ids=["OK", *FAILURES, "redirect with the path", "the path back"],
)
def test_no_log_holds_the_url(
    outside: FakePings, context: Context, log_text: Callable[[], str], capfd: pytest.CaptureFixture[str], answer: Answer
) -> None:
    # Not made as a Secret by itself, so that no scrubbing hides a leak of this part of the URL.
    uuid = PATH.rpartition("/")[2]
    ping = ping_to(f"{outside.url}?token=t0ken-behind", "trouble", timeout=SOON)
    outside.script(*[answer] * 20)
    for _ in range(2):
        ping.run_once(context)
    outside.script_is_over()
    ping.run_once(context)

    told = log_text() + "".join(capfd.readouterr())
    assert uuid not in told
    assert "t0ken" not in told
    assert answer == Answer() or "http://127.0.0.1" in told
    assert uuid not in repr(vars(ping))


@pytest.mark.parametrize("answer", [answer for answer, _ in FAILURES.values()], ids=FAILURES.keys())
def test_no_error_holds_the_url(outside: FakePings, context: Context, answer: Answer) -> None:
    outside.script(*[answer] * 20)

    with pytest.raises(PingError) as caught:
        post(f"{outside.url}?token=t0ken-behind", b"", SOON, context.stop)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert PATH not in str(caught.value)
    assert "t0ken" not in str(caught.value)
