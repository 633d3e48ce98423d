"""How the command line reads what people type."""

from __future__ import annotations

from datetime import timedelta

import click
import pytest

from automon.cli.foreground import pause_in_words
from automon.cli.options import Duration


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
    ],
)
def test_a_duration_is_a_number_with_its_unit(typed: str, meant: timedelta) -> None:
    assert Duration().convert(typed, None, None) == meant


@pytest.mark.parametrize("typed", ["", "2", "h", "0h", "-1h", "1.5h", "2 h", "2w", "2h30m", "99999999999d"])
def test_anything_else_is_refused_with_what_would_be_right(typed: str) -> None:
    with pytest.raises(click.UsageError, match="write 90s, 30m, 2h or 7d") as raised:
        Duration().convert(typed, None, None)
    assert raised.value.exit_code == 64


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (59, "59 s"), (60, "1 min"), (90, "1.5 min"), (300, "5 min")]
)
def test_a_pause_is_said_in_its_larger_unit(seconds: float, words: str) -> None:
    assert pause_in_words(timedelta(seconds=seconds)) == words
