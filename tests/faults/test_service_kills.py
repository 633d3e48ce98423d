"""A service that is killed on the way from an alert to its receipt: the next one sends what is missing, and marks a repeat."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psutil
import pytest

from tests.faults.conftest import StartService
from tests.support.proxy import TcpProxy
from tests.support.service import Look, ServiceProcess, channels_of
from tests.support.slack import Answer, FakeSlack, Post
from tests.support.waiting import wait_until

MAY_BE_REPEAT = "an earlier try may have arrived already"
LEASE_SECONDS = 10
# Whoever is not woken looks again after five seconds.
POLL_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A message as it arrived: about which queue, the number of its delivery, and whether it says that it may be a repeat."""

    queue: str
    delivery: int
    may_be_repeat: bool


def told(post: Post) -> Told:
    queue = re.search(r"(\S+): \d+ waiting", post.preview)
    delivery = re.search(r"delivery (\d+)\Z", post.text)
    assert queue is not None, post.preview
    assert delivery is not None, post.text
    return Told(queue=queue[1], delivery=int(delivery[1]), may_be_repeat=MAY_BE_REPEAT in post.text)


def end_lease(look: Look, service: ServiceProcess) -> None:
    """Let the seconds pass after which a silent service counts as gone: there are at most ten of them."""
    is_short = f"SELECT lease_until < clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
    of_service = "public.service_instances WHERE instance LIKE '%%:' || %s"
    assert look.one(f"{is_short} FROM {of_service}", service.pid)
    look.ask(
        "UPDATE public.service_instances SET lease_until = clock_timestamp() WHERE instance LIKE '%%:' || %s",
        service.pid,
    )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A service at work, and what is between it and the others."""

    service: ServiceProcess
    look: Look
    slack: FakeSlack
    to_slack: TcpProxy
    to_database: TcpProxy


# Each brings the service to a step of the way and holds it there until the block ends. ----------------------------


@contextmanager
def before_the_claim(stage: Stage) -> Iterator[None]:
    rest = (
        "UPDATE public.notification_channels SET next_send_at = clock_timestamp() + %s, pause = %s WHERE name = 'slack'"
    )
    stage.look.ask(rest, *[timedelta(minutes=1)] * 2)
    stage.look.raise_alert()
    yield
    stage.look.ask(rest, *[timedelta(0)] * 2)


@contextmanager
def after_the_claim_and_before_the_message_left(stage: Stage) -> Iterator[None]:
    stage.to_slack.go_deaf()
    stage.look.raise_alert()
    wait_until(lambda: stage.to_slack.accepted, what="a connection on the way to Slack")
    stage.look.wait_for("SELECT status = 'sending' FROM public.alert_deliveries")
    yield


@contextmanager
def in_the_middle_of_sending(stage: Stage) -> Iterator[None]:
    stage.slack.script(Answer.slow(seconds=60))
    stage.look.raise_alert()
    stage.slack.wait_for(1)
    yield


@contextmanager
def after_the_answer_and_before_it_was_recorded(stage: Stage) -> Iterator[None]:
    stage.slack.script(Answer.slow(seconds=0.2))
    stage.look.raise_alert()
    stage.slack.wait_for(1)
    stage.to_database.go_deaf()
    wait_until(lambda: not is_connected(stage.service.pid, stage.to_slack.port), what="the end of the talk with Slack")
    yield
    # What the proxy still holds must not arrive after all.
    stage.to_database.cut()


@contextmanager
def after_it_was_recorded(stage: Stage) -> Iterator[None]:
    stage.look.raise_alert()
    stage.look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries")
    yield


def is_connected(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections("tcp")
    return any(one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in connections)


# ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def to_slack(slack: FakeSlack) -> Iterator[TcpProxy]:
    """The line between the service that is killed and Slack."""
    with TcpProxy(slack_port(slack)) as proxy:
        yield proxy


def slack_port(slack: FakeSlack) -> int:
    return int(slack.environment()["HTTPS_PROXY"].rpartition(":")[2])


BESIDE, AFTERWARDS = "runs beside it", "is started afterwards"


@pytest.mark.parametrize(
    ("step", "marks", "next_one"),
    [
        pytest.param(before_the_claim, [False], BESIDE, id="before the claim"),
        pytest.param(after_the_claim_and_before_the_message_left, [True], BESIDE, id="after the claim, another beside"),
        pytest.param(after_the_claim_and_before_the_message_left, [True], AFTERWARDS, id="after the claim, alone"),
        pytest.param(in_the_middle_of_sending, [False, True], AFTERWARDS, id="in the middle of sending"),
        pytest.param(after_the_answer_and_before_it_was_recorded, [False, True], BESIDE, id="sent, another beside"),
        pytest.param(after_the_answer_and_before_it_was_recorded, [False, True], AFTERWARDS, id="sent, alone"),
        pytest.param(after_it_was_recorded, [False], AFTERWARDS, id="after the record"),
    ],
)
def test_the_next_service_sends_exactly_what_is_missing_and_marks_a_repeat(
    step: Callable[[Stage], AbstractContextManager[None]],
    marks: list[bool],
    next_one: str,
    slack: FakeSlack,
    to_slack: TcpProxy,
    look: Look,
    line: TcpProxy,
    url_over_line: str,
    start_service: StartService,
) -> None:
    proxy = f"http://127.0.0.1:{to_slack.port}"
    over_lines = {**channels_of(slack), "DATABASE_URL": url_over_line, "HTTPS_PROXY": proxy, "https_proxy": proxy}
    first = start_service(None, over_lines)
    first.wait_until_ready()

    with step(Stage(service=first, look=look, slack=slack, to_slack=to_slack, to_database=line)):
        if next_one == BESIDE:
            start_service(None, channels_of(slack)).wait_until_ready()
        first.kill()
    if next_one == AFTERWARDS:
        start_service(None, channels_of(slack)).wait_until_ready()
    end_lease(look, first)
    look.raise_alert(queue="later")

    look.wait_for("SELECT count(*) = 2 FROM public.alert_deliveries WHERE status = 'sent'")
    [delivery, later] = [row["id"] for row in look.ask("SELECT id FROM public.alert_deliveries ORDER BY id")]
    expected = [Told(queue="mail", delivery=delivery, may_be_repeat=mark) for mark in marks]
    expected.append(Told(queue="later", delivery=later, may_be_repeat=False))
    assert sorted(expected, key=str) == sorted(map(told, slack.posts), key=str)


def test_the_message_of_a_killed_service_is_repeated_within_its_lease(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=60))
    first = start_service(None, channels_of(slack))
    first.wait_until_ready()
    look.raise_alert()
    [original] = slack.wait_for(1)
    start_service(None, channels_of(slack)).wait_until_ready()

    first.kill()

    [_, repeated] = slack.wait_for(2, deadline=LEASE_SECONDS + POLL_SECONDS + 2)
    assert (told(original).delivery, True) == (told(repeated).delivery, told(repeated).may_be_repeat)
    look.wait_for("SELECT status = 'sent' AND uncertain AND attempts = 2 FROM public.alert_deliveries")
    attempts = look.ask("SELECT outcome, reason FROM public.delivery_attempts ORDER BY id")
    assert [tuple(row.values()) for row in attempts] == [("unknown", "abandoned"), ("sent", None)]


def test_nothing_of_what_waits_is_lost_or_told_twice_when_the_service_is_killed(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    queues = [f"queue-{number}" for number in range(4)]
    slack.script(Answer(), Answer.slow(seconds=60))
    first = start_service(None, channels_of(slack))
    first.wait_until_ready()
    for queue in queues:
        look.raise_alert(queue=queue)
    slack.wait_for(2)

    first.kill()
    look.wait_for("SELECT count(*) = 4 FROM public.alert_deliveries")
    end_lease(look, first)
    start_service(None, channels_of(slack)).wait_until_ready()

    look.wait_for("SELECT count(*) = 4 FROM public.alert_deliveries WHERE status = 'sent'", seconds=30)
    messages = [told(post) for post in slack.posts]
    assert {message.queue for message in messages} == set(queues)
    assert len(messages) == 5
    [repeat] = [message for message in messages if message.may_be_repeat]
    assert repeat.delivery == told(slack.posts[1]).delivery
