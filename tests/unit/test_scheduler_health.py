"""What keeps a service from its work, and what of it a restart may mend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.health import MENDED_BY_RESTART, Trouble, Vitals, troubles_of

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

# Checks every five minutes are late after three of them and a minute.
LATE = 16 * 60


def health(**values: Any) -> Mapping[str, Any]:
    """Answer as get_automon_health does where all is well, but for these values."""
    well = {
        "check_every_seconds": 300,
        "check_ran_seconds_ago": 120,
        "check_succeeded_seconds_ago": 120,
        "channels": 2,
        "channels_in_trouble": 0,
        "untried": 0,
    }
    return well | values


WELL = Vitals(
    scheduler=SECOND,
    heartbeat=3 * SECOND,
    slowest_sender=5 * SECOND,
    look=SECOND,
    looks_fail_for=SECOND,
    database_is_away=False,
    ready_for=HOUR,
    health=health(),
)
UNWELL = health(check_ran_seconds_ago=LATE + 1, check_succeeded_seconds_ago=LATE + 1, channels_in_trouble=2, untried=3)


def with_health(**values: Any) -> Vitals:
    return replace(WELL, health=health(**values))


@pytest.mark.parametrize(
    ("vitals", "troubles"),
    [
        pytest.param(WELL, [], id="all is well"),
        pytest.param(replace(WELL, main=MINUTE), [], id="a main thread that is busy for a while"),
        pytest.param(replace(WELL, main=61 * SECOND), [Trouble.MAIN_STUCK], id="a main thread that is stuck"),
        pytest.param(replace(WELL, scheduler=10 * SECOND), [], id="a scheduler that is busy for a while"),
        pytest.param(replace(WELL, scheduler=11 * SECOND), [Trouble.SCHEDULER_STUCK], id="a scheduler that is stuck"),
        pytest.param(replace(WELL, heartbeat=30 * SECOND), [], id="a beat that waits"),
        pytest.param(replace(WELL, heartbeat=31 * SECOND), [Trouble.HEARTBEAT_STUCK], id="a beat that does not end"),
        pytest.param(replace(WELL, slowest_sender=3 * MINUTE), [], id="a sender at a slow message"),
        pytest.param(replace(WELL, slowest_sender=4 * MINUTE), [Trouble.SENDER_STUCK], id="a sender that is stuck"),
        pytest.param(
            replace(WELL, slowest_sender=HOUR, database_is_away=True),
            [Trouble.DATABASE_AWAY],
            id="a sender that waits for the database to record what it has sent",
        ),
        pytest.param(replace(WELL, look=3 * MINUTE), [], id="a look that waits for somebody"),
        pytest.param(replace(WELL, look=4 * MINUTE), [Trouble.LOOK_STUCK], id="a look that is stuck"),
        pytest.param(
            replace(WELL, look=HOUR, database_is_away=True),
            [Trouble.DATABASE_AWAY],
            id="a look at a database that is away",
        ),
        pytest.param(replace(WELL, looks_fail_for=3 * MINUTE), [], id="looks that have failed for a while"),
        pytest.param(replace(WELL, looks_fail_for=4 * MINUTE), [Trouble.LOOKS_FAIL], id="looks that fail"),
        pytest.param(
            replace(WELL, looks_fail_for=HOUR, database_is_away=True),
            [Trouble.DATABASE_AWAY],
            id="looks that fail because the database is away",
        ),
        pytest.param(replace(WELL, health=None), [], id="a database that was not asked yet"),
        pytest.param(replace(WELL, database_is_away=True), [Trouble.DATABASE_AWAY], id="a database that is away"),
        pytest.param(
            replace(WELL, database_is_away=True, health=UNWELL),
            [Trouble.DATABASE_AWAY],
            id="what a database said before it went away counts no more",
        ),
        pytest.param(
            replace(WELL, ready_for=None, health=None), [Trouble.DATABASE_AWAY], id="a database that has not come yet"
        ),
        pytest.param(with_health(check_ran_seconds_ago=LATE), [], id="checks that are hardly late"),
        pytest.param(
            with_health(check_ran_seconds_ago=LATE + 1, check_succeeded_seconds_ago=LATE + 1),
            [Trouble.CHECKS_STUCK],
            id="checks that are late",
        ),
        pytest.param(
            with_health(check_ran_seconds_ago=None, check_succeeded_seconds_ago=None),
            [Trouble.CHECKS_STUCK],
            id="checks that never ran",
        ),
        pytest.param(
            replace(with_health(check_ran_seconds_ago=None, check_succeeded_seconds_ago=None), ready_for=MINUTE),
            [],
            id="checks that never ran since the service has come just now",
        ),
        pytest.param(
            replace(
                with_health(check_ran_seconds_ago=86400, check_succeeded_seconds_ago=86400), ready_for=LATE * SECOND
            ),
            [],
            id="checks that were late before this service was ready",
        ),
        pytest.param(
            with_health(check_succeeded_seconds_ago=LATE + 1), [Trouble.CHECKS_FAIL], id="checks that run and fail"
        ),
        pytest.param(
            with_health(check_succeeded_seconds_ago=None), [Trouble.CHECKS_FAIL], id="checks that have always failed"
        ),
        pytest.param(
            with_health(check_every_seconds=1, check_ran_seconds_ago=64, check_succeeded_seconds_ago=64),
            [Trouble.CHECKS_STUCK],
            id="checks that are late by their own rhythm",
        ),
        pytest.param(with_health(untried=1), [Trouble.MESSAGES_UNTRIED], id="a message that nobody tries to send"),
        pytest.param(with_health(channels_in_trouble=1), [], id="one channel of two fails"),
        pytest.param(with_health(channels_in_trouble=2), [Trouble.NO_CHANNEL_WORKS], id="every channel fails"),
        pytest.param(with_health(channels=0), [], id="no channel is there to fail"),
        pytest.param(
            replace(
                WELL,
                scheduler=HOUR,
                heartbeat=HOUR,
                slowest_sender=HOUR,
                look=HOUR,
                looks_fail_for=HOUR,
                health=UNWELL,
            ),
            [
                Trouble.SCHEDULER_STUCK,
                Trouble.HEARTBEAT_STUCK,
                Trouble.SENDER_STUCK,
                Trouble.LOOK_STUCK,
                Trouble.LOOKS_FAIL,
                Trouble.CHECKS_STUCK,
                Trouble.MESSAGES_UNTRIED,
                Trouble.NO_CHANNEL_WORKS,
            ],
            id="everything at once",
        ),
    ],
)
def test_troubles_are_what_keeps_a_service_from_its_work(vitals: Vitals, troubles: list[Trouble]) -> None:
    assert troubles == troubles_of(vitals)


@pytest.mark.parametrize(
    "waited_for", [Trouble.DATABASE_AWAY, Trouble.LOOKS_FAIL, Trouble.CHECKS_FAIL, Trouble.NO_CHANNEL_WORKS]
)
def test_no_restart_is_asked_for_what_waits_for_others(waited_for: Trouble) -> None:
    assert waited_for not in MENDED_BY_RESTART


def test_a_restart_is_asked_for_each_part_of_this_service_that_hangs() -> None:
    hangs = {trouble for trouble in Trouble if "stuck" in trouble.name.lower()}

    assert hangs < MENDED_BY_RESTART
