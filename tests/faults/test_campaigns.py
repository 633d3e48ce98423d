"""Hundreds of real faults while alerts are raised, escalated and resolved: none of them is lost, none repeated unmarked.

`make torture` runs each campaign twenty times as long. A campaign that fails names its seed: with
AUTOMON_TORTURE_SEED=… the same faults and alerts come again, as near as threads and processes allow.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

import psycopg
import pytest

from tests.faults.conftest import KeepAudit
from tests.support.auditor import MAY_BE_REPEAT, Audit, attempts_by_outcome, audit, watch_what_is_raised
from tests.support.calls import channel
from tests.support.nursery import Nursery, Nursling
from tests.support.outages import hurt
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Document, Look, channels_of, make_config
from tests.support.slack import Answer, FakeSlack, Post
from tests.support.smtp import ACCEPTED, DROPPED, FakeSmtp
from tests.support.traffic import Traffic
from tests.support.waiting import wait_for_end, wait_until

SCALE = float(os.environ.get("AUTOMON_TORTURE", "1"))
SEED = int(os.environ.get("AUTOMON_TORTURE_SEED") or random.SystemRandom().randrange(1_000_000))

pytestmark = pytest.mark.timeout(120 + 120 * SCALE)

LEASE_SECONDS = 10
SETTLED_WITHIN = 60 + 30 * SCALE
ROUNDS_TO_SETTLE = 2
UNDER_WAY = "SELECT count(*) FROM public.alert_deliveries WHERE status IN ('pending', 'sending')"
# The first checks may raise what nobody has judged before, also when they end after their service.
HAS_CHECKED = """
SELECT count(DISTINCT job) = 2 FROM public.job_runs
WHERE job IN ('self_check', 'alert_checks') AND outcome = 'succeeded' AND started_at > to_timestamp(%s)
"""
ON_CALL, MANAGER = "oncall@acme.example", "manager@acme.example"
KINDS = ["opened", "escalated", "eased", "acknowledged", "reminded", "resolved"]
AS_SHIPPED = {"messages_per_cause": 3, "messages_at_once": 5}
# What a service logs of a mistake in itself. Faults of others are warnings and errors with names of their own.
MISTAKES = {"uncaught_exception", "sender_round_failed", "delivery_broke", "outage_message_broke", "listener_failed", "heartbeat_failed", "job_failed", "service_failed", "cannot_start"}  # fmt: skip


def scaled(number: int) -> int:
    return max(1, round(number * SCALE))


def config_with(**sections: Any) -> Document:
    """Slack hears of what is worse than low, mail of everything; what a channel cannot say is told elsewhere after a second."""
    both = make_config()["channels"]
    slack = {**both["slack"], "min_severity": "medium", "fallback": "email", "fallback_after_minutes": 0.02}
    email = {**both["email"], "notify_on": KINDS, "fallback_after_minutes": 0.02}
    return make_config(**{"channels": {"slack": slack, "email": email}, **sections})


def skip_pauses(look: Look) -> None:
    """Let the time pass until the next attempts, and until channels may send again."""
    with look.connection.transaction():
        look("lock_alerts")
        moved = look.ask(
            "UPDATE public.notification_channels SET next_send_at = '-infinity', pause = '0' WHERE next_send_at > clock_timestamp() RETURNING name"
        ) + look.ask(
            "UPDATE public.alert_deliveries SET next_attempt_at = clock_timestamp(), pause = '0' WHERE status = 'pending' AND next_attempt_at > clock_timestamp() RETURNING id"
        )
        if moved:
            look.ask("SELECT pg_notify('automon_deliveries', '')")


@dataclass(kw_only=True)
class Campaign:
    """Services, traffic and faults on one database, and the audit at the end.

    `url` is what services are told of the database, `own_url` the way of everybody else.
    """

    name: str
    url: str
    own_url: str
    slack: FakeSlack
    smtp: FakeSmtp
    nursery: Nursery
    folder: Path
    keep_audit: KeepAudit
    config: Document = field(default_factory=config_with)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        print(f"AUTOMON_TORTURE_SEED={SEED} AUTOMON_TORTURE={SCALE:g}")
        self.chance = random.Random(SEED)
        self._numbers = itertools.count(1)
        self.begun_at = time.monotonic()
        with self.look() as look:
            watch_what_is_raised(look)

    @contextmanager
    def look(self) -> Iterator[Look]:
        with psycopg.connect(self.own_url, autocommit=True) as connection:
            yield Look(connection)

    def traffic(self, rate: float) -> Traffic:
        return Traffic(self.own_url, seed=SEED, rate=rate)

    def start(self) -> Nursling:
        folder = self.folder / f"service-{next(self._numbers):05}"
        environment = {"DATABASE_URL": self.url, **channels_of(self.slack, self.smtp, ON_CALL), **self.environment}
        return self.nursery.start(folder, self.config, environment)

    def pause(self, shortest: float, longest: float) -> None:
        time.sleep(self.chance.uniform(shortest, longest))

    def end_one_after_another(self, number: int, longest_life: float, polite: float) -> None:
        for _ in range(number):
            service = self.start()
            self.pause(0, longest_life)
            if self.chance.random() < polite:
                service.stop()
            else:
                service.kill()

    def end_in_lanes(self, number: int, *, lanes: int, longest_life: float, polite: float = 0) -> None:
        """Start services, some at once, and kill each at any moment of its life, also before it is ready; stop a part politely."""
        with ThreadPoolExecutor(lanes) as threads:
            ends = [
                threads.submit(self.end_one_after_another, number // lanes, longest_life, polite) for _ in range(lanes)
            ]
            for end in ends:
                end.result()

    # The end -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Heal what was hurt, and let one service tell what is left. What it cannot, the audit finds."""
        self.slack.always(None)
        self.smtp.answer_with(None)
        for service in self.nursery.nurslings:
            service.thaw()
            service.stop()
        for _ in range(ROUNDS_TO_SETTLE):
            self._run_one_until_settled()
            with self.look() as look:
                if look.one(UNDER_WAY) == 0:
                    break

    def _run_one_until_settled(self) -> None:
        since, service = time.time(), self.start()
        try:
            wait_until(lambda: self._is_settled(since), seconds=SETTLED_WITHIN)
        except AssertionError as error:
            print(error)
        assert service.stop() == 0

    def _is_settled(self, since: float) -> bool:
        """Let the service go on, and say whether it has looked for what it cannot say and has nothing left to say."""
        with self.look() as look:
            for row in look.ask("SELECT name FROM public.notification_channels WHERE stopped_at IS NOT NULL"):
                look("resume_channel", row["name"])
            skip_pauses(look)
            return bool(look.one(HAS_CHECKED, since) and look.one(UNDER_WAY) == 0)

    def audit(self) -> Audit:
        services = self.nursery.nurslings
        with self.look() as look:
            found = audit(
                look,
                self.slack,
                self.smtp,
                journals=[service.log for service in services],
                campaign=self.name,
                seconds=time.monotonic() - self.begun_at,
                kills=sum(service.wait() == -SIGKILL for service in services),
            )
            print(dict(attempts_by_outcome(look)))
        self.keep_audit(found)
        print(dict(zip(Audit.HEADINGS, found.table_row(), strict=True)))
        return found

    def assert_nothing_is_lost(self) -> Audit:
        self.settle()
        found = self.audit()
        assert found.faults() == {}
        assert self.mistakes() == []
        return found

    def mistakes(self) -> list[Document]:
        """Give the log lines that a service wrote of mistakes in itself."""
        return [event for service in self.nursery.nurslings for event in service.events if event["event"] in MISTAKES]


StartCampaign = Callable[..., Campaign]


@pytest.fixture
def campaign(
    database_url: str, slack: FakeSlack, smtp: FakeSmtp, tmp_path: Path, keep_audit: KeepAudit
) -> Iterator[StartCampaign]:
    with Nursery() as nursery:

        def start(name: str, **options: Any) -> Campaign:
            usual: dict[str, Any] = {"url": database_url, "own_url": database_url, "slack": slack, "smtp": smtp}
            return Campaign(name=name, nursery=nursery, folder=tmp_path, keep_audit=keep_audit, **(usual | options))

        yield start


def a_little_late(chance: random.Random, longest: float = 0.2) -> Callable[[], Answer]:
    return lambda: Answer.slow(seconds=chance.uniform(0, longest))


def test_services_that_are_killed_at_any_moment_lose_no_alert(campaign: StartCampaign, slack: FakeSlack) -> None:
    killed = campaign("kills", config=config_with(alerts=AS_SHIPPED))
    slack.always(a_little_late(killed.chance))

    with killed.traffic(rate=5):
        killed.end_in_lanes(scaled(300), lanes=4, longest_life=0.6)

    found = killed.assert_nothing_is_lost()
    assert found.kills == scaled(300) // 4 * 4
    assert found.digests > 0
    assert found.repeats <= found.kills


# Five at once -----------------------------------------------------------------------------------------------------

IS_SENDING = (
    "SELECT count(*) > 0 FROM public.alert_deliveries WHERE status = 'sending' AND claimed_by LIKE '%%:' || %s::text"
)


def freeze_while_it_sends(campaign: Campaign, service: Nursling) -> None:
    with campaign.look() as look:
        look.wait_for(IS_SENDING, service.pid, seconds=60)
        service.freeze()


def test_five_services_on_one_database_of_which_some_are_killed_and_one_sleeps_in_the_middle_of_a_message(
    campaign: StartCampaign, slack: FakeSlack
) -> None:
    five = campaign("five services")
    slack.always(a_little_late(five.chance))
    sleeper = five.start()

    with five.traffic(rate=6), ThreadPoolExecutor(1) as threads:
        ends = threads.submit(five.end_in_lanes, scaled(40), lanes=4, longest_life=3, polite=0.2)
        for _ in range(scaled(1)):
            freeze_while_it_sends(five, sleeper)
            five.pause(LEASE_SECONDS + 1, LEASE_SECONDS + 2)
            sleeper.thaw()
        ends.result()

    found = five.assert_nothing_is_lost()
    assert found.repeats <= found.kills + scaled(1)


# Bad days ----------------------------------------------------------------------------------------------------------


def bad_slack(chance: random.Random) -> Callable[[], Answer]:
    """Answer as Slack, or what stands in between, does on a bad day."""
    answers: Sequence[tuple[int, Callable[[], Answer]]] = (
        (30, Answer),
        (10, a_little_late(chance, 1)),
        (10, Answer.broken),
        (8, lambda: Answer.rate_limited(seconds=chance.randint(0, 2))),
        (4, lambda: Answer.rate_limited(seconds=None)),
        (8, Answer.hang_up),
        (6, lambda: Answer(status=503, close=True)),
        (5, Answer.garbage),
        (5, Answer.gibberish),
        (4, Answer.no_service),
        (1, Answer.silent),
    )
    weights = [weight for weight, _ in answers]

    def answer() -> Answer:
        [(_, make)] = chance.choices(answers, weights)
        return make()

    return answer


def bad_mail(chance: random.Random) -> Callable[[], str]:
    answers = {
        ACCEPTED: 50,
        DROPPED: 15,
        "451 4.3.0 try again later": 20,
        "452 4.3.1 no space left": 10,
        "421 4.3.2 going down": 5,
    }
    return lambda: chance.choices(list(answers), list(answers.values()))[0]


def keep_them_bad(campaign: Campaign) -> None:
    """Lose the login for a while, repair what has stopped, refuse an address for good, and let pauses pass."""
    password = campaign.smtp.password
    for _ in range(scaled(25)):
        campaign.pause(0.2, 1)
        campaign.smtp.password = campaign.chance.choices((password, "another"), (4, 1))[0]
        with campaign.look() as look:
            for channel in ("slack", "email"):
                if campaign.chance.random() < 0.5:
                    look("resume_channel", channel)
            skip_pauses(look)
    campaign.smtp.password = password


def test_what_slack_and_mail_cannot_take_on_bad_days_is_told_later_or_by_somebody_else(
    campaign: StartCampaign, slack: FakeSlack
) -> None:
    refused = {MANAGER: "550 5.1.1 no such user"}
    with FakeSmtp(security="starttls", username="automon", password="pass-w0rd-of-smtp", refuse=refused) as smtp:
        bad = campaign("bad days", smtp=smtp, environment=smtp.environment(f"{ON_CALL},{MANAGER}"))
        slack.always(bad_slack(bad.chance))
        smtp.answer_with(bad_mail(bad.chance))
        for service in (bad.start(), bad.start()):
            service.wait_for_event("service_ready")

        with bad.traffic(rate=4):
            keep_them_bad(bad)

        found = bad.assert_nothing_is_lost()
        assert found.instead > 0
        assert found.told == found.raised


# The database ------------------------------------------------------------------------------------------------------


def test_a_database_that_is_killed_stopped_cut_off_and_deaf_loses_no_alert(
    campaign: StartCampaign, own_postgres: PostgresUnderTest, slack: FakeSlack
) -> None:
    password = own_postgres.password_file.read_text(encoding="utf-8").strip()
    with TcpProxy(own_postgres.address.port) as line:
        url = f"postgresql://automon:{password}@127.0.0.1:{line.port}/automon"
        away = campaign("database", url=url, own_url=own_postgres.url)
        slack.always(a_little_late(away.chance))
        away.start()
        away.start()

        with away.traffic(rate=6):
            for _ in range(scaled(10)):
                away.pause(0.2, 1.5)
                hurt(own_postgres, line, away, longest_silence=4)

        away.assert_nothing_is_lost()


def test_services_behind_a_pooler_lose_no_alert_when_they_are_killed(
    campaign: StartCampaign, postgres_server: PostgresUnderTest, database_url: str, memory_path: Path, slack: FakeSlack
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with PgBouncer(postgres_server, memory_path / "pgbouncer", pool_size=4) as pooler:
        database = {"url": "$env:DATABASE_URL", "pooled": True}
        pooled = campaign("pooler", url=pooler.url(str(name)), config=config_with(database=database))
        slack.always(a_little_late(pooled.chance))

        with pooled.traffic(rate=6):
            pooled.end_in_lanes(scaled(24), lanes=2, longest_life=1.5)

        found = pooled.assert_nothing_is_lost()
        assert found.repeats <= found.kills


# Reloads -----------------------------------------------------------------------------------------------------------


def another_config(chance: random.Random) -> Document | str:
    """Write a config that differs in who is told of what, from when on, in which words and how often; or a broken one."""
    if chance.random() < 0.1:
        return "{ this is no JSON"
    channels = config_with()["channels"]
    managers = {"type": "email", "url": "$env:MANAGERS_URL", "notify_on": ["opened", "resolved"]}
    channels["slack"]["min_severity"] = chance.choice(("low", "medium", "high"))
    channels["email"]["notify_on"] = chance.sample(KINDS, chance.randint(1, len(KINDS)))
    channels |= {"managers": managers} if chance.random() < 0.6 else {}
    if chance.random() < 0.2:
        del channels[chance.choice(("slack", "email"))]
        channels["slack" if "slack" in channels else "email"].pop("fallback", None)
    return config_with(
        channels=channels,
        alerts=chance.choice((AS_SHIPPED, {"messages_per_cause": 10_000, "messages_at_once": 10_000})),
        alert_thresholds={
            "queue_backlog": {"low": chance.randint(40, 70), "medium": 100, "high": 200, "critical": 500}
        },
        guidance={"queue_backlog": {"impact": f"Customers wait, version {chance.randint(1, 99)}."}},
    )


def test_a_config_that_is_reloaded_again_and_again_in_the_middle_of_messages_loses_no_alert(
    campaign: StartCampaign, slack: FakeSlack, smtp: FakeSmtp
) -> None:
    managers = smtp.environment(MANAGER)["AUTOMON_EMAIL_URL"]
    restless = campaign("reloads", environment={"MANAGERS_URL": managers})
    slack.always(a_little_late(restless.chance, 0.5))
    service = restless.start()
    service.wait_for_event("service_ready")

    with restless.traffic(rate=6):
        for _ in range(scaled(40)):
            restless.pause(0, 0.5)
            service.reload(another_config(restless.chance))

    found = restless.assert_nothing_is_lost()
    assert found.repeats == 0


# The nursery and the auditor themselves ----------------------------------------------------------------------------


def test_what_a_nursery_has_started_ends_with_it_also_when_it_is_frozen(database_url: str, tmp_path: Path) -> None:
    with Nursery() as nursery:
        service = nursery.start(tmp_path / "service", make_config(), {"DATABASE_URL": database_url})
        service.wait_for_event("service_ready")
        service.freeze()

    wait_for_end(service.pid, seconds=1)


def say(slack: FakeSlack, delivery: int, *, is_repeat: bool = False) -> None:
    """Let Slack take a message of that number, whatever the database knows of it."""
    marks = f"{MAY_BE_REPEAT} (delivery {delivery})\n" if is_repeat else ""
    payload = {
        "attachments": [{"title": "mail: 250 waiting", "text": f"{marks}automon on ops-1 · delivery {delivery}"}]
    }
    slack.receive(Post(path="/", payload=payload, headers={}, arrived_at=time.monotonic(), problems=()))


def deliver(look: Look, slack: FakeSlack, outcome: str = "sent") -> int:
    """Claim the next message and say it, as a sender would; answer its number."""
    claimed = look("claim_delivery", "ops", "ops-1:1")
    number: int = claimed["delivery_id"]
    say(slack, number, is_repeat=claimed["uncertain"])
    reason = None if outcome == "sent" else "timed_out"
    look("finish_delivery_attempt", number, "ops-1:1", outcome, 0.1, "", reason)
    return number


def lose_the_row(look: Look, _slack: FakeSlack) -> None:
    look.ask("DELETE FROM public.alert_deliveries")


def say_it_without_a_record(look: Look, slack: FakeSlack) -> None:
    say(slack, look("claim_delivery", "ops", "ops-1:1")["delivery_id"])


def record_it_without_saying_it(look: Look, _slack: FakeSlack) -> None:
    look("finish_delivery_attempt", look("claim_delivery", "ops", "ops-1:1")["delivery_id"], "ops-1:1", "sent", 0.1)


def say_it_twice(look: Look, slack: FakeSlack) -> None:
    say(slack, deliver(look, slack))


def repeat_it_for_no_reason(look: Look, slack: FakeSlack) -> None:
    say(slack, deliver(look, slack), is_repeat=True)


def repeat_it_as_it_should_be(look: Look, slack: FakeSlack) -> None:
    deliver(look, slack, "unknown")
    deliver(look, slack)


def say_what_nobody_raised(look: Look, slack: FakeSlack) -> None:
    say(slack, deliver(look, slack) + 1)


def say_what_came_later_first(look: Look, slack: FakeSlack) -> None:
    look.raise_alert(900)
    opened, escalated = [row["id"] for row in look.ask("SELECT id FROM public.alert_deliveries ORDER BY id")]
    say(slack, escalated)
    say(slack, opened)
    look.ask("UPDATE public.alert_deliveries SET status = 'sent', finished_at = clock_timestamp()")


@pytest.mark.parametrize(
    ("happens", "faults"),
    [
        pytest.param(deliver, [], id="one that was told"),
        pytest.param(repeat_it_as_it_should_be, [], id="one that was repeated and says so"),
        pytest.param(lambda *_: None, ["waiting (1)"], id="one that nobody has told yet"),
        pytest.param(lose_the_row, ["lost (1)"], id="one without a delivery"),
        pytest.param(say_it_without_a_record, ["unrecorded (1)"], id="one that was told without a record"),
        pytest.param(
            record_it_without_saying_it, ["lost (1)", "false_receipts (1)"], id="one that is only said to be sent"
        ),
        pytest.param(say_it_twice, ["unmarked (1)", "unexplained (1)"], id="one that was told twice"),
        pytest.param(repeat_it_for_no_reason, ["unexplained (1)"], id="one that was repeated for no reason"),
        pytest.param(say_what_nobody_raised, ["unknown (1)"], id="one that nobody raised"),
        pytest.param(say_what_came_later_first, ["out_of_order (1)"], id="one that is told before its beginning"),
    ],
)
def test_the_auditor_finds(
    happens: Callable[[Look, FakeSlack], object], faults: list[str], look: Look, slack: FakeSlack, smtp: FakeSmtp
) -> None:
    watch_what_is_raised(look)
    look.configure(channels=[channel("ops", recipients=["webhook"])])
    look.raise_alert()

    happens(look, slack)

    assert sorted(faults) == sorted(audit(look, slack, smtp).faults())
