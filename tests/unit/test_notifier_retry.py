"""What follows a failed delivery: when the message is tried again, how long its channel rests, when either ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifiers.channel import DeliveryError, DeliveryReason, Failure
from notifiers.retry import GiveUp, GiveUpReason, Retry, Stop, decide

FIRST = datetime(2026, 11, 23, 13, 2, tzinfo=UTC)
TEMPORARY = Failure(reason=DeliveryReason.UNREACHABLE)
UNCERTAIN = Failure(reason=DeliveryReason.TIMED_OUT, uncertain=True)
# Only this message or this recipient is refused; another message would get through.
OF_MESSAGE = Failure(reason=DeliveryReason.REJECTED_CONTENT)
GREYLISTED = Failure(reason=DeliveryReason.REFUSED)
WRONG_MESSAGE = Failure(reason=DeliveryReason.REJECTED_CONTENT, permanent=True)
NO_SUCH_RECIPIENT = Failure(reason=DeliveryReason.REFUSED, permanent=True)

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def limited(**pause: float) -> Failure:
    return Failure(reason=DeliveryReason.RATE_LIMITED, retry_after=timedelta(**pause))


def decided(
    failure: Failure, *, attempt: int = 1, channel_failures: int = 0, after: timedelta = MINUTE, jitter: float = 0
) -> Retry | GiveUp | Stop:
    return decide(
        failure=failure,
        attempt=attempt,
        channel_failures=channel_failures,
        first_attempt_at=FIRST,
        now=FIRST + after,
        jitter=jitter,
    )


@pytest.mark.parametrize(
    ("attempt", "failure", "jitter", "pause"),
    [
        pytest.param(1, TEMPORARY, 0, SECOND, id="after the first failure at once"),
        pytest.param(2, TEMPORARY, 0, 5 * SECOND, id="then slower"),
        pytest.param(3, TEMPORARY, 0, 30 * SECOND, id="and slower"),
        pytest.param(4, TEMPORARY, 0, 2 * MINUTE, id="minutes"),
        pytest.param(5, TEMPORARY, 0, 10 * MINUTE, id="ten minutes"),
        pytest.param(6, TEMPORARY, 0, 30 * MINUTE, id="half hours from the sixth on"),
        pytest.param(40, TEMPORARY, 0, 30 * MINUTE, id="and never slower"),
        pytest.param(3, TEMPORARY, 1, 36 * SECOND, id="a fifth later"),
        pytest.param(3, TEMPORARY, -1, 24 * SECOND, id="a fifth earlier"),
        pytest.param(1, limited(seconds=30), 0, 30 * SECOND, id="as the service wishes"),
        pytest.param(3, limited(seconds=30), -1, 30 * SECOND, id="never earlier than it wishes"),
        pytest.param(1, limited(hours=3), 0, timedelta(hours=3), id="however long it wishes"),
        pytest.param(5, limited(seconds=30), 0, 10 * MINUTE, id="its wish does not hurry"),
        pytest.param(1, UNCERTAIN, 0, 2 * MINUTE, id="what may have arrived is repeated slowly"),
        pytest.param(6, UNCERTAIN, 0, 30 * MINUTE, id="or slower"),
        pytest.param(1, OF_MESSAGE, 0, SECOND, id="a message that was refused for now"),
    ],
)
def test_a_message_is_tried_again_after_a_pause_that_grows_with_its_attempts(
    attempt: int, failure: Failure, jitter: float, pause: timedelta
) -> None:
    decision = decided(failure, attempt=attempt, channel_failures=17, jitter=jitter)
    assert isinstance(decision, Retry)
    assert pause == decision.pause


@pytest.mark.parametrize(
    ("channel_failures", "failure", "jitter", "pause"),
    [
        pytest.param(0, TEMPORARY, 0, SECOND, id="after its first failure briefly"),
        pytest.param(1, TEMPORARY, 0, 5 * SECOND, id="longer after its second in a row"),
        pytest.param(5, TEMPORARY, 0, 30 * MINUTE, id="half an hour from the sixth on"),
        pytest.param(900, TEMPORARY, 0, 30 * MINUTE, id="and never longer"),
        pytest.param(2, TEMPORARY, 1, 36 * SECOND, id="a fifth longer"),
        pytest.param(2, TEMPORARY, -1, 24 * SECOND, id="a fifth shorter"),
        pytest.param(0, limited(seconds=30), -1, 30 * SECOND, id="never shorter than the service wishes"),
        pytest.param(4, limited(seconds=30), 0, 10 * MINUTE, id="or longer than it wishes"),
        pytest.param(0, UNCERTAIN, 0, SECOND, id="briefly for others than what may have arrived"),
        pytest.param(0, GREYLISTED, 0, SECOND, id="when it refuses for now"),
        pytest.param(3, OF_MESSAGE, 0, None, id="not at all when only this message is refused"),
    ],
)
def test_a_channel_rests_for_a_pause_that_grows_with_its_failures_in_a_row(
    channel_failures: int, failure: Failure, jitter: float, pause: timedelta | None
) -> None:
    decision = decided(failure, attempt=1, channel_failures=channel_failures, jitter=jitter)
    assert isinstance(decision, Retry)
    assert pause == decision.channel_pause


@pytest.mark.parametrize(
    ("attempt", "failure", "after", "expected"),
    [
        pytest.param(1, WRONG_MESSAGE, MINUTE, GiveUpReason.PERMANENT, id="a message that can never be taken"),
        pytest.param(1, NO_SUCH_RECIPIENT, MINUTE, GiveUpReason.PERMANENT, id="a recipient that there is not"),
        pytest.param(60, WRONG_MESSAGE, timedelta(hours=30), GiveUpReason.PERMANENT, id="at any time"),
        pytest.param(50, TEMPORARY, timedelta(hours=24), GiveUpReason.EXPIRED, id="after a day"),
        pytest.param(50, TEMPORARY, timedelta(hours=23, minutes=31), GiveUpReason.EXPIRED, id="no try left in the day"),
        pytest.param(1, limited(hours=25), MINUTE, GiveUpReason.EXPIRED, id="a wish beyond the day"),
    ],
)
def test_it_gives_a_message_up(attempt: int, failure: Failure, after: timedelta, expected: GiveUpReason) -> None:
    assert GiveUp(expected) == decided(failure, attempt=attempt, after=after)


@pytest.mark.parametrize(
    "reason", [DeliveryReason.BAD_CREDENTIALS, DeliveryReason.GONE, DeliveryReason.MISCONFIGURED], ids=str
)
def test_what_only_a_person_can_repair_stops_the_channel_at_any_time(reason: DeliveryReason) -> None:
    broken = Failure(reason=reason, permanent=True)

    assert Stop() == decided(broken)
    assert Stop() == decided(broken, attempt=50, after=timedelta(hours=30))
    assert isinstance(decided(Failure(reason=reason)), Retry)


@pytest.mark.parametrize("reason", DeliveryReason, ids=str)
def test_only_what_is_permanent_is_given_up_or_stops_a_channel(reason: DeliveryReason) -> None:
    assert isinstance(decided(Failure(reason=reason)), Retry)
    assert isinstance(decided(Failure(reason=reason, permanent=True)), GiveUp | Stop)


def test_the_last_try_may_be_at_the_deadline() -> None:
    decision = decided(TEMPORARY, attempt=50, channel_failures=49, after=timedelta(hours=23, minutes=30))

    assert Retry(30 * MINUTE, 30 * MINUTE) == decision


@pytest.mark.parametrize("jitter", [-1.1, 1.1])
def test_jitter_out_of_its_range_is_an_error(jitter: float) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        decided(TEMPORARY, jitter=jitter)


def test_an_error_becomes_the_failure_that_is_decided_on() -> None:
    error = DeliveryError(DeliveryReason.RATE_LIMITED, uncertain=True, detail="x", retry_after=timedelta(seconds=7))
    assert error.failure == Failure(
        reason=DeliveryReason.RATE_LIMITED, permanent=False, uncertain=True, retry_after=timedelta(seconds=7)
    )
