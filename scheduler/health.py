"""Whether this service does what it is there for: the one judgement behind the ping and systemd's watchdog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

# As long as systemd waits for a sign of life: the main thread may be starting an embedded server that has died.
MAIN_PATIENCE = timedelta(minutes=1)
SCHEDULER_PATIENCE = timedelta(seconds=10)
# One beat may wait for a connection, for an answer, and for the next beat.
HEARTBEAT_PATIENCE = timedelta(seconds=30)
# Longer than any message may take.
SENDER_PATIENCE = timedelta(minutes=3)
# Longer than any statement may take, or wait for a lock.
LOOK_PATIENCE = timedelta(minutes=3)
ROUNDS_UNTIL_LATE = 3
SLACK = timedelta(minutes=1)


class Trouble(StrEnum):
    MAIN_STUCK = "the service hears no signals"
    SCHEDULER_STUCK = "the scheduler does not run"
    HEARTBEAT_STUCK = "the heartbeat does not beat"
    SENDER_STUCK = "a channel's sender does not come back"
    LOOK_STUCK = "the look at the newest facts does not come back"
    CHECKS_STUCK = "checks do not run"
    MESSAGES_UNTRIED = "messages wait, and no attempt is made to send them"
    DATABASE_AWAY = "the database does not answer"
    LOOKS_FAIL = "the looks at the newest facts fail"
    CHECKS_FAIL = "checks run and fail"
    NO_CHANNEL_WORKS = "no channel can be reached"


# What a restart of this service may mend. An outage of the database or of Slack is waited out: a restart would only
# forget the host samples that wait in memory, and that people have been told.
MENDED_BY_RESTART = frozenset({
    Trouble.MAIN_STUCK, Trouble.SCHEDULER_STUCK, Trouble.HEARTBEAT_STUCK, Trouble.SENDER_STUCK, Trouble.LOOK_STUCK, Trouble.CHECKS_STUCK,
    Trouble.MESSAGES_UNTRIED,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Vitals:
    """What can be seen of a service: how long ago each of its threads came round, and what the database says of automon.

    `main` is the thread that hears signals. `look` is how long the fast checks are at a look, `looks_fail_for` how long each of their looks has failed. `ready_for` is how long it has had the database and its config; None: not yet. `health` is what get_automon_health
    answers, None before the first answer.
    """

    main: timedelta = timedelta(0)
    scheduler: timedelta
    heartbeat: timedelta
    slowest_sender: timedelta
    look: timedelta
    looks_fail_for: timedelta
    database_is_away: bool
    ready_for: timedelta | None
    health: Mapping[str, Any] | None


def troubles_of(vitals: Vitals) -> list[Trouble]:
    """Say all that keeps a service from its work, what a restart may mend first."""
    found = [
        trouble
        for trouble, is_there in (
            (Trouble.MAIN_STUCK, vitals.main > MAIN_PATIENCE),
            (Trouble.SCHEDULER_STUCK, vitals.scheduler > SCHEDULER_PATIENCE),
            (Trouble.HEARTBEAT_STUCK, vitals.heartbeat > HEARTBEAT_PATIENCE),
            # In an outage a sender holds on to what it has sent and cannot record.
            (Trouble.SENDER_STUCK, vitals.slowest_sender > SENDER_PATIENCE and not vitals.database_is_away),
            (Trouble.LOOK_STUCK, vitals.look > LOOK_PATIENCE and not vitals.database_is_away),
        )
        if is_there
    ]
    if vitals.database_is_away or vitals.ready_for is None:
        return [*found, Trouble.DATABASE_AWAY]
    if vitals.looks_fail_for > LOOK_PATIENCE:
        found.append(Trouble.LOOKS_FAIL)
    return found if vitals.health is None else [*found, *_troubles_in_database(vitals.health, vitals.ready_for)]


def _troubles_in_database(health: Mapping[str, Any], ready_for: timedelta) -> list[Trouble]:
    late_after = ROUNDS_UNTIL_LATE * timedelta(seconds=health["check_every_seconds"]) + SLACK
    found = []
    if _age(health["check_ran_seconds_ago"], ready_for) > late_after:
        found.append(Trouble.CHECKS_STUCK)
    elif _age(health["check_succeeded_seconds_ago"], ready_for) > late_after:
        found.append(Trouble.CHECKS_FAIL)
    if health["untried"]:
        found.append(Trouble.MESSAGES_UNTRIED)
    if health["channels"] and health["channels"] == health["channels_in_trouble"]:
        found.append(Trouble.NO_CHANNEL_WORKS)
    return found


def _age(seconds: float | None, ready_for: timedelta) -> timedelta:
    """Measure from this service's readiness on: what came before it is not its fault."""
    return ready_for if seconds is None else min(timedelta(seconds=seconds), ready_for)


# What a service is not ready with. One that can reach no channel still judges, and keeps its messages.
NOT_READY = frozenset(Trouble) - {Trouble.NO_CHANNEL_WORKS}
