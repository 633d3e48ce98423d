"""Messages through real apprise, requests, a proxy and TLS to a Slack that is none."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notifiers.channel import Channel, DeliveryError, DeliveryReason, Receipt
from notifiers.message import Message
from notifiers.slack import SlackChannel
from tests.support.notifications import HOSTILE, LIFE, OPENED, message
from tests.support.slack import WEBHOOK, Answer, Drip, FakeSlack

GOLDEN = Path(__file__).parents[2] / "unit" / "golden" / "slack"
SECRETS = WEBHOOK.removeprefix("https://hooks.slack.com/services/").split("/")


def send(said: Message | None = None, /, **limits: timedelta) -> Receipt:
    channel: Channel = SlackChannel("slack", WEBHOOK, **limits)
    return channel.send(said or message(OPENED), channel.recipients[0])


def failure(**limits: timedelta) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(**limits)
    shown = f"{caught.value} {caught.value!r} {caught.value.detail} {caught.value.failure}"
    assert not [secret for secret in SECRETS if secret in shown]
    return caught.value


@pytest.mark.parametrize("kind", LIFE)
def test_what_arrives_is_what_is_pinned(slack: FakeSlack, kind: str) -> None:
    receipt = send(message(LIFE[kind]))
    (post,) = slack.wait_for(1)
    assert receipt.answer == "ok"
    assert receipt.duration > timedelta(0)
    assert post.payload == json.loads((GOLDEN / f"{kind}.json").read_text("utf-8"))
    assert post.path == WEBHOOK.removeprefix("https://hooks.slack.com")
    assert post.headers["User-Agent"] == "automon"
    assert slack.connects == ["hooks.slack.com:443"]


def test_a_government_has_a_slack_of_its_own(slack: FakeSlack) -> None:
    channel = SlackChannel("slack", WEBHOOK.replace("slack.com", "slack-gov.com"))
    assert channel.send(message(OPENED), channel.recipients[0]).answer == "ok"
    assert slack.connects == ["hooks.slack-gov.com:443"]


def test_the_push_preview_is_the_headline(slack: FakeSlack) -> None:
    send()
    (post,) = slack.wait_for(1)
    assert post.preview == "🛑 CRITICAL invoice-sync: 112 errors in the last hour (limit 100)"


def test_a_task_can_write_what_it_likes(slack: FakeSlack) -> None:
    send(message(HOSTILE))
    (post,) = slack.wait_for(1)
    assert post.problems == ()
    assert "&lt;!channel&gt;" in post.text
    for power in ("<!channel>", "<@U123>", "@here", "https://evil.example", "*bold*", "{{foot}} <", ":fire:"):
        assert power not in post.text
    assert len(json.dumps(post.payload)) < 13_000


def test_blocks_that_slack_does_not_like_are_sent_once_more_without(slack: FakeSlack) -> None:
    slack.script(Answer.invalid_blocks())
    assert send(message(HOSTILE)).answer == "ok"
    first, second = slack.wait_for(2)
    assert "blocks" in first.attachment
    assert "blocks" not in second.attachment
    assert second.preview.startswith("🛑 CRITICAL &lt;!channel&gt;")
    assert "automon ack 41" in second.text
    for power in ("<!channel>", "<@U123>", "@here", "https://evil.example"):
        assert power not in second.text


def test_content_that_is_refused_in_every_form_is_given_up(slack: FakeSlack) -> None:
    slack.script(Answer.invalid_blocks(), Answer(status=400, body="invalid_payload"))
    error = failure()
    assert len(slack.posts) == 2
    assert error.reason is DeliveryReason.REJECTED_CONTENT
    assert error.permanent
    assert error.detail == "Slack answered 400 invalid_payload"


@pytest.mark.parametrize(
    ("answer", "reason", "permanent"),
    [
        pytest.param(Answer.no_service(), DeliveryReason.GONE, True, id="a webhook that was removed"),
        pytest.param(Answer(status=403, body="invalid_token"), DeliveryReason.BAD_CREDENTIALS, True, id="a wrong one"),
        pytest.param(Answer(status=410, body="channel_is_archived"), DeliveryReason.GONE, True, id="an old channel"),
        pytest.param(Answer.broken(), DeliveryReason.REFUSED, False, id="trouble at Slack"),
        pytest.param(Answer(body="<html>ok, log in"), DeliveryReason.UNKNOWN, False, id="not Slack at all"),
    ],
)
def test_a_refusal_has_a_reason(slack: FakeSlack, answer: Answer, reason: DeliveryReason, permanent: bool) -> None:
    slack.script(answer)
    error = failure()
    assert error.reason is reason
    assert error.permanent is permanent
    assert error.detail == f"Slack answered {answer.status} {answer.body}"
    assert len(slack.posts) == 1


def test_an_answer_that_quotes_the_webhook_is_not_passed_on(slack: FakeSlack) -> None:
    slack.script(Answer(status=500, body=f"cannot post to {WEBHOOK}"))
    assert "***" in failure().detail


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        pytest.param(Answer.rate_limited(seconds=7), timedelta(seconds=7), id="as long as Slack wishes"),
        pytest.param(Answer.rate_limited(seconds=86_400), timedelta(hours=1), id="but no longer than an hour"),
        pytest.param(Answer.rate_limited(seconds=-1), timedelta(seconds=30), id="or 30 s, if the wish makes no sense"),
        pytest.param(Answer.rate_limited(seconds=None), timedelta(seconds=30), id="or if there is none"),
    ],
)
def test_a_limit_asks_for_a_pause(slack: FakeSlack, answer: Answer, pause: timedelta) -> None:
    slack.script(answer)
    error = failure()
    assert error.reason is DeliveryReason.RATE_LIMITED
    assert not error.permanent
    assert error.retry_after == pause


def test_a_limit_may_end_at_a_date(slack: FakeSlack) -> None:
    slack.script(Answer.rate_limited_until(datetime.now(UTC) + timedelta(minutes=2)))
    pause = failure().retry_after
    assert pause is not None
    assert timedelta(minutes=1) < pause <= timedelta(minutes=2)


def test_a_trouble_may_ask_for_a_pause_too(slack: FakeSlack) -> None:
    slack.script(Answer(status=503, headers={"Retry-After": "60"}))
    error = failure()
    assert error.reason is DeliveryReason.REFUSED
    assert error.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(Answer.slow(seconds=30), DeliveryReason.TIMED_OUT, id="a late one"),
        pytest.param(Answer.silent(), DeliveryReason.TIMED_OUT, id="none"),
        pytest.param(Answer.dripping(Drip.STATUS_LINE), DeliveryReason.TIMED_OUT, id="one letter a second"),
        pytest.param(Answer.dripping(Drip.BODY), DeliveryReason.TIMED_OUT, id="a page, one letter a second"),
        pytest.param(Answer.hang_up(), DeliveryReason.UNREACHABLE, id="the end of the connection"),
        pytest.param(Answer.gibberish(), DeliveryReason.UNKNOWN, id="no HTTP"),
        pytest.param(Answer.garbage(), DeliveryReason.UNKNOWN, id="somebody else's"),
    ],
)
def test_a_message_without_a_proper_answer_may_have_arrived(
    slack: FakeSlack, answer: Answer, reason: DeliveryReason
) -> None:
    slack.script(answer)
    started = time.monotonic()
    error = failure(exchange_limit=timedelta(seconds=2))
    assert time.monotonic() - started < 5
    assert error.reason is reason
    assert error.uncertain
    assert not error.permanent
    assert len(slack.posts) == 1


def test_a_proxy_that_is_down_is_unreachable(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    error = failure()
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.uncertain


def test_a_certificate_that_nobody_vouches_for_is_a_misconfiguration(
    slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    error = failure()
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert slack.posts == []


def test_nothing_of_the_webhook_reaches_the_log(slack: FakeSlack, root_log: io.StringIO) -> None:
    logging.getLogger("automon").debug("listening")
    assert "listening" in root_log.getvalue()
    slack.script(Answer.no_service())
    failure()
    send()
    assert not [secret for secret in SECRETS if secret in root_log.getvalue()]


def test_ten_messages_are_not_slowed_down_by_apprise(slack: FakeSlack) -> None:
    for _ in range(10):
        send()
    posts = slack.wait_for(10)
    # apprise's own pace would be 1.2 s between two of them.
    assert posts[-1].arrived_at - posts[0].arrived_at < 5


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_process_of_any_locale_and_any_folder_reaches_it_by_its_environment(
    slack: FakeSlack, tmp_path: Path, locale: str
) -> None:
    code = (
        "from tests.support.notifications import message\n"
        "from tests.support.slack import WEBHOOK\n"
        "from notifiers.slack import SlackChannel\n"
        "print(SlackChannel('slack', WEBHOOK).send(message(), 'webhook').answer)\n"
    )
    environment = {
        **os.environ,
        **slack.environment(),
        "LC_ALL": locale,
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (post,) = slack.wait_for(1)
    assert done.stdout == "ok\n"
    assert post.preview.startswith("🛑 CRITICAL")
