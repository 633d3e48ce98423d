from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifiers.channel import DeliveryError, DeliveryReason, Failure
from notifiers.retry import GiveUp, GiveUpReason, Retry, decide

FIRST = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)
TEMPORARY = Failure(reason=DeliveryReason.REFUSED)
UNCERTAIN = Failure(reason=DeliveryReason.TIMED_OUT, uncertain=True)
PERMANENT = Failure(reason=DeliveryReason.GONE, permanent=True)


def limited(**pause: float) -> Failure:
    return Failure(reason=DeliveryReason.RATE_LIMITED, retry_after=timedelta(**pause))


@pytest.mark.parametrize(
    ("attempt", "failure", "jitter", "pause"),
    [
        pytest.param(1, TEMPORARY, 0, timedelta(seconds=1), id="after the first failure at once"),
        pytest.param(2, TEMPORARY, 0, timedelta(seconds=5), id="then slower"),
        pytest.param(3, TEMPORARY, 0, timedelta(seconds=30), id="and slower"),
        pytest.param(4, TEMPORARY, 0, timedelta(minutes=2), id="minutes"),
        pytest.param(5, TEMPORARY, 0, timedelta(minutes=10), id="ten minutes"),
        pytest.param(6, TEMPORARY, 0, timedelta(minutes=30), id="half hours from the sixth on"),
        pytest.param(40, TEMPORARY, 0, timedelta(minutes=30), id="and never slower"),
        pytest.param(3, TEMPORARY, 1, timedelta(seconds=36), id="a fifth later"),
        pytest.param(3, TEMPORARY, -1, timedelta(seconds=24), id="a fifth earlier"),
        pytest.param(1, limited(seconds=30), 0, timedelta(seconds=30), id="as the service wishes"),
        pytest.param(1, limited(seconds=30), -1, timedelta(seconds=30), id="never earlier than it wishes"),
        pytest.param(5, limited(seconds=30), 0, timedelta(minutes=10), id="its wish does not hurry"),
        pytest.param(1, UNCERTAIN, 0, timedelta(minutes=2), id="what may have arrived is repeated slowly"),
        pytest.param(6, UNCERTAIN, 0, timedelta(minutes=30), id="or slower"),
    ],
)
def test_it_tries_again_after_a_pause(attempt: int, failure: Failure, jitter: float, pause: timedelta) -> None:
    now = FIRST + timedelta(hours=1)
    assert decide(attempt=attempt, failure=failure, first_attempt_at=FIRST, now=now, jitter=jitter) == Retry(
        now + pause
    )


@pytest.mark.parametrize(
    ("attempt", "failure", "after", "expected"),
    [
        pytest.param(1, PERMANENT, timedelta(0), GiveUpReason.PERMANENT, id="what can never work"),
        pytest.param(60, PERMANENT, timedelta(hours=30), GiveUpReason.PERMANENT, id="at any time"),
        pytest.param(50, TEMPORARY, timedelta(hours=24), GiveUpReason.EXPIRED, id="after a day"),
        pytest.param(50, TEMPORARY, timedelta(hours=23, minutes=31), GiveUpReason.EXPIRED, id="no try left in the day"),
        pytest.param(1, limited(hours=25), timedelta(0), GiveUpReason.EXPIRED, id="a wish beyond the day"),
    ],
)
def test_it_gives_up(attempt: int, failure: Failure, after: timedelta, expected: GiveUpReason) -> None:
    decision = decide(attempt=attempt, failure=failure, first_attempt_at=FIRST, now=FIRST + after, jitter=0)
    assert decision == GiveUp(expected)


def test_the_last_try_may_be_at_the_deadline() -> None:
    now = FIRST + timedelta(hours=23, minutes=30)
    decision = decide(attempt=50, failure=TEMPORARY, first_attempt_at=FIRST, now=now, jitter=0)
    assert decision == Retry(FIRST + timedelta(hours=24))


@pytest.mark.parametrize("jitter", [-1.1, 1.1])
def test_jitter_out_of_its_range_is_an_error(jitter: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        decide(attempt=1, failure=TEMPORARY, first_attempt_at=FIRST, now=FIRST, jitter=jitter)


def test_an_error_becomes_the_failure_that_is_decided_on() -> None:
    error = DeliveryError(DeliveryReason.RATE_LIMITED, uncertain=True, detail="x", retry_after=timedelta(seconds=7))
    assert error.failure == Failure(
        reason=DeliveryReason.RATE_LIMITED, permanent=False, uncertain=True, retry_after=timedelta(seconds=7)
    )
