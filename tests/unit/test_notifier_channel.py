from __future__ import annotations

import pytest

from notifiers.channel import DeliveryReason, Failure


@pytest.mark.parametrize(
    ("reason", "permanent", "stops_channel", "is_about_channel"),
    [
        (DeliveryReason.REFUSED, False, False, True),
        (DeliveryReason.REFUSED, True, False, False),
        (DeliveryReason.RATE_LIMITED, False, False, True),
        (DeliveryReason.UNREACHABLE, False, False, True),
        (DeliveryReason.TIMED_OUT, False, False, True),
        (DeliveryReason.BAD_CREDENTIALS, False, False, True),
        (DeliveryReason.BAD_CREDENTIALS, True, True, True),
        (DeliveryReason.REJECTED_CONTENT, False, False, False),
        (DeliveryReason.REJECTED_CONTENT, True, False, False),
        (DeliveryReason.GONE, False, False, True),
        (DeliveryReason.GONE, True, True, True),
        (DeliveryReason.MISCONFIGURED, False, False, True),
        (DeliveryReason.MISCONFIGURED, True, True, True),
        (DeliveryReason.UNKNOWN, False, False, True),
        (DeliveryReason.UNKNOWN, True, False, True),
    ],
)
def test_a_failure_is_one_of_the_channel_or_one_of_the_message(
    reason: DeliveryReason, permanent: bool, stops_channel: bool, is_about_channel: bool
) -> None:
    failure = Failure(reason=reason, permanent=permanent)
    assert stops_channel is failure.stops_channel
    assert is_about_channel is failure.is_about_channel


@pytest.mark.parametrize("reason", DeliveryReason)
@pytest.mark.parametrize("uncertain", [False, True])
def test_whatever_stops_a_channel_is_about_it(reason: DeliveryReason, uncertain: bool) -> None:
    failure = Failure(reason=reason, permanent=True, uncertain=uncertain)
    assert failure.is_about_channel or not failure.stops_channel
