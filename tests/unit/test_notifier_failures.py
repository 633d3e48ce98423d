from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from notifiers.channel import DeliveryReason
from notifiers.dispatch import Outcome, scrubbed
from notifiers.http_failure import http_error


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
    error = http_error("Slack", outcome(status), answer)
    assert error.reason is reason
    assert error.permanent is permanent
    assert error.detail == f"Slack answered {status} {answer}".rstrip()


def test_a_service_that_limits_is_left_alone_for_30_seconds() -> None:
    assert http_error("Slack", outcome(429), "").retry_after == timedelta(seconds=30)


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
    error = http_error("Slack", outcome(trouble=f"{trouble} with url: /services/T0/B0/s3cret"), "")
    assert error.reason == reason
    assert error.uncertain is uncertain
    assert not error.permanent
    assert "s3cret" not in str(error)


def test_a_call_that_was_given_up_may_have_arrived() -> None:
    error = http_error("Slack", outcome(timed_out=True), "")
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
