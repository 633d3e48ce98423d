"""When a daily job was due last, by the clocks of a zone: once a day, also in the nights in which they are changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from scheduler.timetable import last_moment

BERLIN = ZoneInfo("Europe/Berlin")
KIRITIMATI = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead of UTC
HALF_PAST_TWO = time(2, 30)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moments_within(at: time, zone: ZoneInfo, start: datetime, hours: int) -> list[datetime]:
    """Answer each moment at which the job became due, looked for every ten minutes."""
    looks = (start + timedelta(minutes=10 * number) for number in range(hours * 6 + 1))
    return sorted({moment for now in looks if (moment := last_moment(at, zone, now)) > start})


@pytest.mark.parametrize(
    ("at", "zone", "now", "expected"),
    [
        pytest.param("02:30", UTC, "2026-11-23T02:30", "2026-11-23T02:30", id="at the moment itself"),
        pytest.param("02:30", UTC, "2026-11-23T02:29", "2026-11-22T02:30", id="a minute before it"),
        pytest.param("02:30", UTC, "2026-11-23T23:59", "2026-11-23T02:30", id="late on the day"),
        pytest.param("02:30", UTC, "2026-12-01T01:00", "2026-11-30T02:30", id="on the first of a month"),
        pytest.param("02:30", UTC, "2026-03-01T01:00", "2026-02-28T02:30", id="on the first of March"),
        pytest.param("02:30", UTC, "2028-03-01T01:00", "2028-02-29T02:30", id="on the first of March in a leap year"),
        pytest.param("02:30", UTC, "2027-01-01T00:00", "2026-12-31T02:30", id="on New Year's Day"),
        pytest.param("02:30", BERLIN, "2026-07-01T00:29", "2026-06-30T00:30", id="summer time, before it"),
        pytest.param("02:30", BERLIN, "2026-07-01T00:30", "2026-07-01T00:30", id="summer time"),
        pytest.param("02:30", BERLIN, "2026-12-01T01:30", "2026-12-01T01:30", id="winter time"),
        pytest.param("00:30", BERLIN, "2026-11-30T23:29", "2026-11-29T23:30", id="its day has not come in the zone"),
        pytest.param("00:30", BERLIN, "2026-11-30T23:30", "2026-11-30T23:30", id="its day has come in the zone"),
        pytest.param("23:00", KIRITIMATI, "2026-11-23T08:59", "2026-11-22T09:00", id="far in the east, before it"),
        pytest.param("23:00", KIRITIMATI, "2026-11-23T09:00", "2026-11-23T09:00", id="far in the east"),
    ],
)
def test_the_last_moment_is_the_newest_that_has_come(at: str, zone: ZoneInfo, now: str, expected: str) -> None:
    assert utc(expected) == last_moment(time.fromisoformat(at), zone, utc(now))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        pytest.param("2026-03-28T12:00", "2026-03-29T01:30", id="in spring, when the clocks skip it"),
        pytest.param("2026-10-24T12:00", "2026-10-25T00:30", id="in autumn, when the clocks show it twice"),
        pytest.param("2026-11-24T12:00", "2026-11-25T01:30", id="in any other night"),
    ],
)
def test_a_daily_job_is_due_once_in_a_night(start: str, expected: str) -> None:
    assert [utc(expected)] == moments_within(HALF_PAST_TWO, BERLIN, utc(start), hours=24)


@pytest.mark.parametrize("start", ["2026-03-25T12:00", "2026-10-21T12:00", "2026-12-29T12:00", "2028-02-26T12:00"])
@pytest.mark.parametrize("at", ["00:00", "02:00", "02:30", "03:00", "23:59"])
def test_every_day_of_a_week_has_its_moment(at: str, start: str) -> None:
    moments = moments_within(time.fromisoformat(at), BERLIN, utc(start), hours=7 * 24)

    assert 7 == len(moments)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert timedelta(hours=22) < min(gaps) <= max(gaps) < timedelta(hours=26)
