from __future__ import annotations

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.models import Severity
from notifiers import words
from notifiers.evidence import BARS, MOST_BARS, sparkline
from notifiers.text import ELLIPSIS, Code, Fragment, Link, clean, joined, linked, shortened, visible_length


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("a\r\nBcc: b", "a Bcc: b", id="line breaks"),
        pytest.param("\x1b[31mred\x1b[0m", "[31mred[0m", id="terminal escapes"),
        pytest.param("abc\u202etxt.exe", "abctxt.exe", id="right-to-left override"),
        pytest.param("a\u200bb\ufeffc", "abc", id="invisible"),
        pytest.param("  a \t b  ", "a b", id="spaces"),
        pytest.param("\ud800x", "x", id="half a surrogate pair"),
        pytest.param("👩\u200d💻 done", "👩\u200d💻 done", id="an emoji of several"),
        pytest.param("", "", id="empty"),
    ],
)
def test_it_makes_one_clean_line(raw: str, expected: str) -> None:
    assert clean(raw, 40) == expected


@given(st.text(), st.integers(min_value=2, max_value=50))
def test_a_clean_line_is_short_single_and_clean_again(raw: str, limit: int) -> None:
    line = clean(raw, limit)
    assert len(line) <= limit
    assert not [one for one in line if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")]
    assert clean(line, limit) == line


def test_a_line_that_was_cut_says_so() -> None:
    assert clean("x" * 100_000, 10) == "x" * 9 + ELLIPSIS


def test_only_the_addresses_in_a_text_become_links() -> None:
    assert linked("see https://a.example/x?y=(1) or http://b.example.") == (
        "see ",
        Link("https://a.example/x?y=(1"),
        ") or ",
        Link("http://b.example"),
        ".",
    )


def test_texts_are_joined_without_the_empty_ones() -> None:
    assert joined([("a",), (), ("b", "c")], ", ") == ("a", ", ", "b", "c")


@given(st.lists(st.one_of(st.text(max_size=40), st.builds(Code, st.text(max_size=20))), max_size=5))
def test_shortening_cuts_words_and_leaves_commands_whole(fragments: list[Fragment]) -> None:
    text = tuple(fragments)
    short = shortened(text, 30)
    whole = sum(len(one.text) for one in text if isinstance(one, Code))
    assert visible_length(short) <= max(30, whole + len(text))
    assert [one for one in short if isinstance(one, Code)] == [one for one in text if isinstance(one, Code)]


def test_the_longest_words_give_way() -> None:
    text = shortened(("Restart " * 20, " · ", Link("https://a.example", "runbook")), 60)
    assert visible_length(text) <= 60
    assert text[-1] == Link("https://a.example", "runbook")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (3, "3"),
        (46.0, "46"),
        (12.345, "12.35"),
        (0.5, "0.5"),
        (99.999, "100"),
        (1204, "1,204"),
        (1234567.8, "1,234,568"),
        (0.00432, "0.0043"),
        (-5.5, "-5.5"),
    ],
)
def test_a_number_is_short_and_grouped(value: float, expected: str) -> None:
    assert words.number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (51 * 60, "51 min"),
        (3600, "1 h"),
        (3 * 3600 + 300, "3 h 5 min"),
        (47 * 3600, "47 h"),
        (52 * 3600, "2 d 4 h"),
        (48 * 3600, "2 d"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, expected: str) -> None:
    assert words.duration(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (timedelta(hours=1), "reminds hourly until acknowledged"),
        (timedelta(days=1), "reminds daily until acknowledged"),
        (timedelta(minutes=30), "reminds every 30 min until acknowledged"),
    ],
)
def test_reminders_are_announced_in_words(every: timedelta, expected: str) -> None:
    assert words.reminds(every) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0, 1, 2, 3, 4, 5], "▁▂▃▅▆▇", id="rising"),
        pytest.param([90, 91, 92], "▇▇▇", id="high and flat is not drawn as a rise"),
        pytest.param([0, 0], "▁▁", id="nothing at all"),
        pytest.param([-2, 0, 2], "▁▃▇", id="below zero"),
    ],
)
def test_a_sparkline_starts_at_zero(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


@given(st.lists(st.floats(min_value=-1e12, max_value=1e12), min_size=1, max_size=500))
def test_a_sparkline_fits_and_uses_six_levels(values: list[float]) -> None:
    bars = sparkline(values)
    assert 1 <= len(bars) <= MOST_BARS
    assert set(bars) <= set(BARS)


def test_a_short_spike_is_seen_in_a_long_trend() -> None:
    assert "▇" in sparkline([0] * 100 + [9] + [0] * 100)


def test_an_alert_type_without_words_of_its_own_is_still_readable() -> None:
    assert words.alert_type_words("lock_waits") == "lock waits"


@pytest.mark.parametrize(("count", "expected"), [(0, "0 alerts"), (1, "1 alert"), (10_000, "10,000 alerts")])
def test_things_are_counted_in_words(count: int, expected: str) -> None:
    assert words.counted(count, "alert") == expected


def test_severities_are_counted_worst_first() -> None:
    counts = {Severity.LOW: 3, Severity.CRITICAL: 1_200, Severity.MEDIUM: 0}
    assert words.levels(counts) == "1,200 CRITICAL, 3 LOW"
