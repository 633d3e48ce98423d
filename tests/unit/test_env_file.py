"""The file of secrets is read as systemd reads it, and an edit changes the lines that it is about."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.env_file import read_variables, with_variables
from automon.errors import AutomonError

FILE = """\
# Secrets, one NAME=value on a line.
DATABASE_URL=

; an old one
#SLACK_WEBHOOK_URL=https://hooks.slack.com/services/T/B/old
AUTOMON_EMAIL_URL = 'smtp://a:b@c?from=d@e&to=f@g'
PROXY="http://\\"quoted\\"\\\\:3128"
PLAIN=a\\ b # no comment
"""


def test_it_is_read_as_systemd_reads_it() -> None:
    assert read_variables(FILE) == {
        "AUTOMON_EMAIL_URL": "smtp://a:b@c?from=d@e&to=f@g",
        "PROXY": 'http://"quoted"\\:3128',
        "PLAIN": "a b # no comment",
    }


def test_a_variable_takes_the_place_that_it_has_and_all_else_stays() -> None:
    edited = with_variables(FILE, {"DATABASE_URL": "postgresql://a:b@c/d", "SLACK_WEBHOOK_URL": "https://x"})

    assert edited.splitlines() == [
        "# Secrets, one NAME=value on a line.",
        "DATABASE_URL=postgresql://a:b@c/d",
        *FILE.splitlines()[2:],
        "",
        "SLACK_WEBHOOK_URL=https://x",
    ]


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(str.strip))
def test_whatever_a_line_can_hold_is_read_back(value: str) -> None:
    if not value.isprintable():
        with pytest.raises(AutomonError):
            with_variables("", {"SECRET": value})
    else:
        assert read_variables(with_variables("OTHER=1\n", {"SECRET": value})) == {"OTHER": "1", "SECRET": value}


@pytest.mark.parametrize(
    "value", ["plain", "it's", 'say "hi"', "back\\slash", "a'b\"c\\d$e`f", "two words ", "a$b", "x?y=1&z=2", "#1"]
)
def test_a_shell_that_sources_the_file_reads_the_same(value: str) -> None:
    text = with_variables("", {"SECRET": value})

    done = subprocess.run(["sh", "-c", f'{text}\nprintf %s "$SECRET"'], capture_output=True, text=True, check=True)

    assert done.stdout == value


@pytest.mark.parametrize("value", ["two\nlines", "\x00", "\x1b[1m"])
def test_what_a_line_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(AutomonError, match="cannot hold"):
        with_variables("", {"SECRET": value})
