"""Glyphs and colours: by what the reader and the terminal want, and never anything that a terminal would obey."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.text import PAINT_END, PAINT_FIRST, cells, clip, padded
from automon.cli.theme import (
    ASCII_BARS,
    ASCII_MARKS,
    PLAIN,
    UNICODE_BARS,
    State,
    Theme,
    make_theme,
    wants_colour,
)

ASCII = Theme(is_unicode=False, encoding="ascii")


@pytest.mark.parametrize(
    ("choice", "environ", "is_terminal", "wanted"),
    [
        pytest.param("auto", {"TERM": "xterm"}, True, True, id="a terminal"),
        pytest.param("auto", {"TERM": "xterm"}, False, False, id="no terminal"),
        pytest.param("auto", {}, True, True, id="a terminal without a name"),
        pytest.param("auto", {"TERM": "dumb"}, True, False, id="a dumb terminal"),
        pytest.param("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False, id="NO_COLOR"),
        pytest.param("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, True, id="an empty NO_COLOR"),
        pytest.param("auto", {"CLICOLOR_FORCE": "1"}, False, True, id="CLICOLOR_FORCE"),
        pytest.param("auto", {"CLICOLOR_FORCE": "0"}, False, False, id="CLICOLOR_FORCE is 0"),
        pytest.param("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, True, False, id="both"),
        pytest.param("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True, id="always"),
        pytest.param("never", {"CLICOLOR_FORCE": "1"}, True, False, id="never"),
    ],
)
def test_colour_is_shown_when_somebody_wants_it(
    choice: str, environ: dict[str, str], is_terminal: bool, wanted: bool
) -> None:
    assert wants_colour(choice, environ, is_terminal=is_terminal) is wanted


def test_well_is_blue_and_green_only_for_those_who_ask_for_it() -> None:
    usual = make_theme("always", {}, is_terminal=False, encoding="utf-8")
    classic = make_theme("always", {"AUTOMON_THEME": "classic"}, is_terminal=False, encoding="utf-8")

    assert usual.finish([usual.mark(State.OK)]) == "\x1b[34m✓\x1b[0m"
    assert classic.finish([classic.mark(State.OK)]) == "\x1b[32m✓\x1b[0m"
    assert usual.finish([usual.mark(State.CRITICAL)]) == "\x1b[31m✗\x1b[0m"
    assert usual.finish([usual.mark(State.WARNING)]) == "\x1b[33m▲\x1b[0m"


@pytest.mark.parametrize("encoding", ["ascii", "ANSI_X3.4-1968", "iso-8859-1", "cp1252", "no such encoding"])
def test_where_the_terminal_has_no_utf8_shapes_are_letters(encoding: str) -> None:
    theme = make_theme("auto", {}, is_terminal=True, encoding=encoding)

    assert [theme.mark(state).strip("\ue000\ue001\ue002\ue003\ue004\ue00f ") for state in State] == list(ASCII_MARKS)
    assert theme.bars([0, 1, 2, 3, 4, 5]) == ASCII_BARS
    assert make_theme("auto", {}, is_terminal=True, encoding="UTF8").bars([0, 1, 2, 3, 4, 5]) == UNICODE_BARS


def test_every_mark_of_a_theme_is_as_wide_as_the_others() -> None:
    assert {cells(PLAIN.mark(state)) for state in State} == {1}
    assert {cells(ASCII.mark(state)) for state in State} == {2}


def test_bars_begin_at_zero_and_leave_gaps() -> None:
    assert PLAIN.bars([None, 0, 5, 10]) == " ▁▃▇"
    assert PLAIN.bars([0, 0]) == "▁▁"
    assert PLAIN.bars([90, 91]) == "▇▇"
    assert PLAIN.bars([None, -1]) == " ▁"
    assert PLAIN.bars([]) == ""


@given(st.lists(st.text(max_size=60), max_size=5))
def test_nothing_that_a_terminal_obeys_gets_through(texts: list[str]) -> None:
    coloured = make_theme("always", {}, is_terminal=True, encoding="utf-8")

    for theme in (PLAIN, ASCII, coloured):
        shown = theme.finish([theme.mark(State.OK) + text for text in texts])
        left = re.sub(r"\x1b\[(?:0|3\d|90)m", "", shown) if theme is coloured else shown
        assert all(character.isprintable() or character == "\n" for character in left)
        assert len(shown.split("\n")) == max(1, len(texts))


@given(st.text(max_size=60))
def test_what_ascii_cannot_show_takes_as_much_room_as_a_question_mark_each(text: str) -> None:
    line = "".join(character for character in text if character.isprintable())

    shown = ASCII.finish([f"{line}|"])

    assert shown.isascii()
    assert len(shown) == cells(f"{line}|") or any(cells(character) == 0 for character in line)


def test_a_painted_word_takes_no_more_room_and_is_cut_with_its_colour() -> None:
    painted = PLAIN.paint(State.CRITICAL, "PROBLEMS")

    assert cells(painted) == 8
    assert cells(padded(painted, 12)) == 12
    assert clip(painted, 5) == f"{chr(PAINT_FIRST)}PROB…{chr(PAINT_END)}"
