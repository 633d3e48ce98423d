"""What a heartbeat makes of answers and of silence: since when and why the database is away, and how automon is."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from structlog.testing import capture_logs

from automon.errors import DatabaseUnavailableError, SchemaMissingError
from automon.models import Outage
from automon.store import Store
from jobs.job import Context
from scheduler.heartbeat import ASLEEP, NO_DATABASE, NO_SERVICE, Heartbeat

NOW = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TELL_AFTER = 120 * SECOND


class HandClock:
    def __init__(self) -> None:
        self.passed = timedelta(0)

    def now(self) -> datetime:
        return NOW + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()


class ScriptedStore:
    """A database that answers, or raises what `fails_with` holds; it keeps what it was told."""

    def __init__(self) -> None:
        self.database = self
        self.fails_with: Exception | None = None
        self.reason = "connection failed: Connection refused"
        self.whys: list[str] = []
        self.outages: list[tuple[datetime, datetime]] = []
        self.untried = 0

    def probe(self) -> None:
        if self.fails_with is not None:
            raise DatabaseUnavailableError("the database does not answer") from psycopg.OperationalError(self.reason)

    def beat(self, instance: str, *, version: str, why_blind: str) -> None:
        self.whys.append(why_blind)
        if self.fails_with is not None:
            raise self.fails_with

    def automon_health(self) -> dict[str, Any]:
        return {"untried": self.untried, "channels": 1}

    def report_outage(self, host: str, began: datetime, ended: datetime) -> bool:
        self.outages.append((began, ended))
        return True


class Stage:
    """A heartbeat whose beats the test makes."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = ScriptedStore()
        context = Context(store=cast(Store, self.store), clock=self.clock, instance="ops-1:7", stop=threading.Event())
        self.heartbeat = Heartbeat(context, cast(Store, self.store), "ops-1")
        self.heartbeat.tell_after(TELL_AFTER)

    def beat(self, *, after: timedelta = SECOND, with_health: bool = False) -> Outage | None:
        self.clock.passed += after
        self.heartbeat._beat(with_health=with_health)
        return self.heartbeat.outage()

    def lose_database(self) -> None:
        self.store.fails_with = DatabaseUnavailableError("couldn't get a connection after 5.00 sec")

    def find_database(self) -> None:
        self.store.fails_with = None


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_an_outage_is_told_from_its_beginning_on_when_it_has_lasted_long_enough(stage: Stage) -> None:
    stage.beat()
    stage.lose_database()

    assert stage.beat() is None
    began = stage.clock.now()
    assert stage.beat(after=TELL_AFTER - SECOND) is None
    told = stage.beat()

    assert Outage(since=began, at=began + TELL_AFTER, reason="connection failed: Connection refused") == told
    assert stage.heartbeat.database_is_away


def test_an_outage_keeps_its_beginning_and_its_first_reason(stage: Stage) -> None:
    stage.lose_database()
    stage.beat()
    began = stage.clock.now()
    stage.store.reason = "connection failed: timeout expired"

    told = stage.beat(after=2 * TELL_AFTER)

    assert told is not None
    assert (began, "connection failed: Connection refused") == (told.since, told.reason)


def test_the_end_of_an_outage_that_people_heard_of_is_reported(stage: Stage) -> None:
    stage.lose_database()
    stage.beat()
    began = stage.clock.now()
    stage.find_database()

    assert stage.beat(after=TELL_AFTER) is None

    assert [(began, began + TELL_AFTER)] == stage.store.outages
    assert not stage.heartbeat.database_is_away


def test_the_end_of_an_outage_that_nobody_heard_of_is_not_reported(stage: Stage) -> None:
    stage.lose_database()
    stage.beat()
    stage.find_database()

    stage.beat(after=TELL_AFTER - SECOND)

    assert [] == stage.store.outages


def test_a_beat_says_why_nobody_may_have_beaten_before_it(stage: Stage) -> None:
    stage.beat()
    stage.beat()
    stage.lose_database()
    stage.beat()
    stage.find_database()
    stage.beat()
    stage.beat()

    assert [NO_SERVICE, ASLEEP, ASLEEP, NO_DATABASE, ASLEEP] == stage.store.whys


def test_a_database_without_the_schema_is_not_away(stage: Stage) -> None:
    stage.store.fails_with = SchemaMissingError("the schema public has no beat")

    assert stage.beat(after=2 * TELL_AFTER) is None

    assert not stage.heartbeat.database_is_away
    stage.find_database()
    stage.beat()
    assert NO_SERVICE == stage.store.whys[-1]


def test_what_goes_wrong_with_each_beat_is_said_once(stage: Stage) -> None:
    with capture_logs() as told:
        for error in (psycopg.errors.DiskFull(), psycopg.errors.DiskFull(), None, psycopg.errors.DiskFull()):
            stage.store.fails_with = error
            stage.beat()

    assert ["heartbeat_failed"] * 2 == [line["event"] for line in told]
    assert not stage.heartbeat.database_is_away


def test_messages_that_wait_untried_count_when_they_are_seen_twice_in_a_row(stage: Stage) -> None:
    seen = []
    for untried in (3, 2, 0, 1, 1):
        stage.store.untried = untried
        stage.beat(with_health=True)
        assert stage.heartbeat.health is not None
        seen.append(stage.heartbeat.health["untried"])

    assert [0, 2, 0, 0, 1] == seen


def test_it_lives_for_the_length_of_a_lease_after_its_last_beat(stage: Stage) -> None:
    def lives_after(span: timedelta) -> bool:
        stage.beat(after=span)
        return stage.heartbeat.lives

    assert not stage.heartbeat.lives
    lived = [lives_after(SECOND)]
    stage.lose_database()
    lived += [lives_after(9 * SECOND), lives_after(SECOND)]
    stage.find_database()
    lived += [lives_after(SECOND)]

    assert [True, True, False, True] == lived
