"""Messages to services that automon knows only by their apprise URL."""

from __future__ import annotations

import io
import json
import logging

import pytest

from notifiers.apprise_channel import AppriseChannel
from notifiers.channel import Channel, DeliveryError, DeliveryReason
from tests.integration.notifiers.conftest import WebService
from tests.support.notifications import HOSTILE, OPENED, message
from tests.support.slack import WEBHOOK, FakeSlack

SECRET = "t0psecret"


def url(service: WebService) -> str:
    return f"json://automon:{SECRET}@127.0.0.1:{service.port}/{SECRET}/"


def failure(channel: Channel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(message(OPENED), channel.recipients[0])
    assert SECRET not in f"{caught.value} {caught.value!r} {channel!r} {channel.recipients}"
    return caught.value


def test_a_service_gets_the_headline_as_title_and_plain_text(web_service: WebService) -> None:
    channel = AppriseChannel("ops", url(web_service))
    receipt = channel.send(message(OPENED), channel.recipients[0])
    (body,) = [json.loads(one) for one in web_service.bodies]
    assert receipt.answer == "accepted"
    assert channel.recipients == ("json",)
    assert body["title"] == "✗ CRITICAL invoice-sync: 112 errors in the last hour (limit 100)"
    assert "Stop     automon ack 41" in body["message"]
    assert "https://wiki.acme.example/rb/invoice-sync?view=short&lang=en" in body["message"]


def test_a_task_can_write_what_it_likes(web_service: WebService) -> None:
    AppriseChannel("ops", url(web_service)).send(message(HOSTILE), "json")
    (body,) = [json.loads(one) for one in web_service.bodies]
    assert "\x1b" not in body["message"]
    assert len(body["message"]) < 10_000


def test_any_service_of_apprises_will_do(slack: FakeSlack) -> None:
    AppriseChannel("ops", WEBHOOK).send(message(OPENED), "https")
    (post,) = slack.wait_for(1)
    assert "CRITICAL invoice-sync" in post.preview


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (401, DeliveryReason.BAD_CREDENTIALS, True),
        (404, DeliveryReason.GONE, True),
        (429, DeliveryReason.RATE_LIMITED, False),
        (503, DeliveryReason.REFUSED, False),
    ],
)
def test_a_refusal_has_a_reason(web_service: WebService, status: int, reason: DeliveryReason, permanent: bool) -> None:
    web_service.status = status
    web_service.answer = f"no, {SECRET} is not welcome"
    error = failure(AppriseChannel("ops", url(web_service)))
    assert error.reason is reason
    assert error.permanent is permanent
    assert str(status) in error.detail


def test_a_service_that_is_down_is_unreachable(closed_port: int) -> None:
    error = failure(AppriseChannel("ops", f"json://automon:{SECRET}@127.0.0.1:{closed_port}/"))
    assert error.reason is DeliveryReason.UNREACHABLE
    assert not error.permanent


@pytest.mark.parametrize("wrong", [f"nonsense://{SECRET}", f"slack://{SECRET}", SECRET])
def test_a_url_that_apprise_cannot_read_is_a_misconfiguration(wrong: str) -> None:
    error = failure(AppriseChannel("ops", wrong))
    assert error.reason is DeliveryReason.MISCONFIGURED
    assert error.permanent


def test_nothing_of_the_url_reaches_the_log(web_service: WebService, root_log: io.StringIO) -> None:
    logging.getLogger("automon").debug("listening")
    assert "listening" in root_log.getvalue()
    web_service.status = 500
    failure(AppriseChannel("ops", url(web_service)))
    assert SECRET not in root_log.getvalue()
