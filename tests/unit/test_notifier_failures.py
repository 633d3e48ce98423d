from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from itertools import pairwise

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from notifiers.channel import DeliveryReason
from notifiers.dispatch import Outcome, scrubbed
from notifiers.http_failure import answer_error, captured_error, exchange_error, wished_pause

NOW = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)


def outcome(status: int | None = None, trouble: str = "", *, timed_out: bool = False) -> Outcome:
    return Outcome(
        delivered=False,
        timed_out=timed_out,
        status=status,
        answer="",
        warnings="",
        trouble=trouble,
        duration=timedelta(0),
    )


@pytest.mark.parametrize(
    ("status", "answer", "reason", "permanent"),
    [
        (400, "invalid_blocks", DeliveryReason.REJECTED_CONTENT, True),
        (401, "", DeliveryReason.BAD_CREDENTIALS, True),
        (403, "invalid_token", DeliveryReason.BAD_CREDENTIALS, True),
        (403, "action_prohibited", DeliveryReason.GONE, True),
        (404, "no_service", DeliveryReason.GONE, True),
        (410, "channel_is_archived", DeliveryReason.GONE, True),
        (408, "", DeliveryReason.UNKNOWN, False),
        (429, "rate_limited", DeliveryReason.RATE_LIMITED, False),
        (500, "rollup_error", DeliveryReason.REFUSED, False),
        (503, "", DeliveryReason.REFUSED, False),
        (200, "<html>log in", DeliveryReason.UNKNOWN, False),
        (302, "", DeliveryReason.UNKNOWN, False),
    ],
)
def test_an_answer_has_a_reason(status: int, answer: str, reason: DeliveryReason, permanent: bool) -> None:
    for error in (answer_error("Slack", status, answer), captured_error("Slack", outcome(status), answer)):
        assert error.reason is reason
        assert error.permanent is permanent
        assert error.uncertain is (status == 200)
        assert error.detail == f"Slack answered {status} {answer}".rstrip()


@pytest.mark.parametrize(
    ("status", "wish", "pause"),
    [
        pytest.param(429, timedelta(seconds=7), timedelta(seconds=7), id="for as long as it wishes"),
        pytest.param(429, timedelta(0), timedelta(0), id="also when that is no time at all"),
        pytest.param(429, None, timedelta(seconds=30), id="half a minute without a wish"),
        pytest.param(503, timedelta(seconds=7), timedelta(seconds=7), id="in trouble for as long as it wishes"),
        pytest.param(503, None, None, id="in trouble as the outbox sees fit"),
        pytest.param(404, timedelta(seconds=7), None, id="never again"),
    ],
)
def test_a_service_that_limits_is_left_alone(status: int, wish: timedelta | None, pause: timedelta | None) -> None:
    assert answer_error("Slack", status, "", wish).retry_after == pause


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        pytest.param("0", timedelta(0), id="no time"),
        pytest.param("30", timedelta(seconds=30), id="seconds"),
        pytest.param("3601", timedelta(hours=1), id="an hour at most"),
        pytest.param("999999999999", timedelta(hours=1), id="an hour at most, however long the number"),
        pytest.param("Mon, 23 Nov 2026 13:03:00 GMT", timedelta(minutes=1), id="a date"),
        pytest.param("Monday, 23-Nov-26 13:03:00 GMT", timedelta(minutes=1), id="a date of old"),
        pytest.param("Mon Nov 23 13:03:00 2026", timedelta(minutes=1), id="a date of C"),
        pytest.param("Mon, 23 Nov 2026 14:03:00 +0100", timedelta(minutes=1), id="a date of another zone"),
        pytest.param("Tue, 24 Nov 2026 13:03:00 GMT", timedelta(hours=1), id="a date far away"),
        pytest.param("Mon, 23 Nov 2026 13:01:59 GMT", None, id="a date that has passed"),
        pytest.param("", None, id="nothing"),
        pytest.param("-1", None, id="less than nothing"),
        pytest.param("1.5", None, id="a fraction"),
        pytest.param("7, 8", None, id="two numbers"),
        pytest.param("\u0663", None, id="a digit from elsewhere"),
        pytest.param("1" * 5000, None, id="a number beyond all measure"),
        pytest.param("Mon, 23 Nov 99999999999999999999 13:03:00 GMT", None, id="a year beyond all measure"),
        pytest.param("soon", None, id="a word"),
    ],
)
def test_it_reads_for_how_long_a_service_wants_to_be_left_alone(header: str, pause: timedelta | None) -> None:
    assert wished_pause(header, NOW) == pause
    assert wished_pause(header, NOW.astimezone(timezone(timedelta(hours=-5)))) == pause


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ (Jan|Nov) -?\d+ \d+:\d+(:\d+)? [+-]?\w*", fullmatch=True))
def test_a_wish_of_any_form_is_none_or_at_most_an_hour(header: str) -> None:
    pause = wished_pause(header, NOW)
    assert pause is None or timedelta(0) <= pause <= timedelta(hours=1)


def wrapped(outer: Exception, *causes: Exception) -> Exception:
    """Nest exceptions as libraries do, the outermost first."""
    errors = (outer, *causes)
    for error, cause in pairwise(errors):
        error.__context__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (wrapped(requests.ConnectTimeout(), TimeoutError()), "unreachable", "did not take a connection in time"),
        (wrapped(requests.ReadTimeout(), TimeoutError()), "unreachable", "did not take a connection in time"),
        (wrapped(requests.exceptions.ProxyError(), TimeoutError()), "unreachable", "did not take a connection in time"),
        (wrapped(requests.exceptions.ProxyError(), OSError(111)), "unreachable", "cannot be reached through the proxy"),
        (
            wrapped(requests.exceptions.ProxyError(), socket.gaierror()),
            "unreachable",
            "cannot be reached through the proxy",
        ),
        (requests.exceptions.InvalidProxyURL(), "unreachable", "cannot be reached through the proxy"),
        (wrapped(requests.ConnectionError(), socket.gaierror()), "unreachable", "has a name that was not found"),
        (wrapped(requests.ConnectionError(), ConnectionRefusedError()), "unreachable", "takes no connection"),
        (requests.exceptions.SSLError(), "misconfigured", "has no trusted TLS connection"),
        (
            wrapped(requests.exceptions.ProxyError(), ssl.SSLCertVerificationError()),
            "misconfigured",
            "has no trusted TLS connection",
        ),
        (OSError("no such CA file"), "misconfigured", "has no trusted TLS connection"),
    ],
)
def test_what_keeps_a_message_from_leaving_has_a_reason(error: Exception, reason: str, words: str) -> None:
    failed = exchange_error("Slack", error, handed_over=False)
    assert failed.reason == reason
    assert failed.detail == f"Slack {words}"
    assert not failed.uncertain
    assert not failed.permanent


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (wrapped(requests.ReadTimeout(), TimeoutError()), "timed_out", "took the message but did not answer in time"),
        (
            wrapped(requests.ConnectionError(), RemoteDisconnected(""), TimeoutError()),
            "timed_out",
            "took the message but did not answer in time",
        ),
        (wrapped(requests.ConnectionError(), RemoteDisconnected("")), "unreachable", "broke the connection off"),
        (wrapped(requests.exceptions.ProxyError(), RemoteDisconnected("")), "unreachable", "broke the connection off"),
        (wrapped(requests.ConnectionError(), ConnectionResetError()), "unreachable", "broke the connection off"),
        (wrapped(requests.ConnectionError(), IncompleteRead(b"")), "unreachable", "broke the connection off"),
        (wrapped(requests.exceptions.SSLError(), ssl.SSLEOFError()), "unreachable", "broke the connection off"),
        (wrapped(requests.ConnectionError(), BadStatusLine("x")), "unknown", "gave an answer that is not HTTP"),
    ],
)
def test_a_message_that_had_begun_to_leave_may_have_arrived(error: Exception, reason: str, words: str) -> None:
    failed = exchange_error("Slack", error, handed_over=True)
    assert failed.reason == reason
    assert failed.detail == f"Slack {words}"
    assert failed.uncertain
    assert not failed.permanent


@pytest.mark.parametrize(
    ("trouble", "reason", "uncertain"),
    [
        ("HTTPSConnectionPool(host='hooks.slack.com'): Read timed out. (read timeout=10)", "timed_out", True),
        ("Connection to hooks.slack.com timed out. (connect timeout=4.0)", "unreachable", False),
        ("Failed to establish a new connection: [Errno 111] Connection refused", "unreachable", False),
        ("NameResolutionError: Failed to resolve 'hooks.slack.com'", "unreachable", False),
        ("Unable to connect to proxy', OSError('Tunnel connection failed: 403", "unreachable", False),
        ("SSLError(SSLCertVerificationError(1, 'certificate verify failed", "misconfigured", False),
        ("('Connection aborted.', RemoteDisconnected('Remote end closed", "unreachable", True),
        ("something nobody has thought of", "unknown", True),
    ],
)
def test_a_broken_connection_has_a_reason_and_shows_nothing_of_the_address(
    trouble: str, reason: str, uncertain: bool
) -> None:
    error = captured_error("Slack", outcome(trouble=f"{trouble} with url: /services/T0/B0/s3cret"), "")
    assert error.reason == reason
    assert error.uncertain is uncertain
    assert not error.permanent
    assert "s3cret" not in str(error)


def test_a_call_that_was_given_up_may_have_arrived() -> None:
    error = captured_error("Slack", outcome(timed_out=True), "")
    assert error.reason is DeliveryReason.TIMED_OUT
    assert error.uncertain


def test_every_part_of_a_secret_address_is_blanked() -> None:
    text = (
        "tgram://12345:AAHtoken/chat failed: p%40ss or p@ss at https://u:other@h.example/ "
        "hooks.slack.com/services/T/B/x"
    )
    shown = scrubbed(text, "tgram://12345:AAHtoken/chat?pw=p%40ss")
    for secret in ("12345", "AAHtoken", "chat", "p%40ss", "p@ss", "other", "T/B/x"):
        assert secret not in shown


def test_apprise_is_not_imported_before_something_is_sent() -> None:
    code = (
        "import sys, notifiers.slack, notifiers.email, notifiers.terminal, notifiers.apprise_channel, notifiers.retry;"
        "print([name for name in sys.modules if name.split('.')[0] in ('apprise', 'requests', 'psycopg', 'jobs')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
