"""Edits of a config file's text: what is asked for changes, and nothing else."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.config import jsonc
from automon.config.edit import with_value, without_value

SHIPPED = Path(__file__).parents[2].joinpath("monitoring_config.json").read_text(encoding="utf-8")
MAIL = {"type": "email", "host": "mail.acme.example", "port": 587, "security": "starttls", "from": "a@acme.example", "to": ["b@acme.example"]}  # fmt: skip


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("text", "path", "value", "expected"),
    [
        ('{"a": 1}', ("a",), 2, '{"a": 2}'),
        ('{"a": 1 /* one */}', ("b",), 2, '{"a": 1, "b": 2 /* one */}'),
        ("{}", ("a",), 1, '{\n  "a": 1\n}'),
        ("{ // nothing yet\n}", ("a", "b"), 1, '{ // nothing yet\n  "a": {"b": 1}\n}'),
        ('{\n  "a": 1 // one\n}\n', ("b",), [2], '{\n  "a": 1, // one\n  "b": [2]\n}\n'),
        ('{\n  "a": {\n    "b": "x"\n  }\n}', ("a", "c"), "y", '{\n  "a": {\n    "b": "x",\n    "c": "y"\n  }\n}'),
        ('{"a": {"b": [1, 2]}, "c": 3}', ("a", "b"), None, '{"a": {"b": null}, "c": 3}'),
    ],
)
def test_a_value_is_put_in_its_place(text: str, path: tuple[str, ...], value: Any, expected: str) -> None:
    assert with_value(text, path, value) == expected


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('{"a": 1, "b": 2}', ("a",), '{"b": 2}'),
        ('{"a": 1, "b": 2}', ("b",), '{"a": 1}'),
        ('{"a": 1}', ("a",), "{}"),
        ('{\n  "a": 1, // one\n  "b": 2 // two\n}', ("b",), '{\n  "a": 1 // one\n // two\n}'),
        ('{"a": 1}', ("b",), '{"a": 1}'),
    ],
)
def test_an_entry_is_taken_out(text: str, path: tuple[str, ...], expected: str) -> None:
    assert without_value(text, path) == expected


def test_one_edit_of_the_shipped_file_changes_one_entry_and_no_comment() -> None:
    edited = with_value(SHIPPED, ("channels", "email"), MAIL)

    changed = changed_lines(SHIPPED, edited)
    assert [line for line in changed if line.startswith("-")] == [
        '-     "email": {"type": "email", "optional": true, "url": "$env:AUTOMON_EMAIL_URL"}'
    ]
    assert changed[1:] == [
        '+     "email": {',
        '+       "type": "email",',
        '+       "host": "mail.acme.example",',
        '+       "port": 587,',
        '+       "security": "starttls",',
        '+       "from": "a@acme.example",',
        '+       "to": ["b@acme.example"]',
        "+     }",
    ]
    assert jsonc.loads(edited)["channels"]["email"] == MAIL


def test_a_new_channel_of_the_shipped_file_stands_behind_the_others() -> None:
    edited = with_value(SHIPPED, ("channels", "pager"), {"type": "apprise", "url": "$env:PAGER"})

    assert list(jsonc.loads(edited)["channels"]) == ["slack", "email", "pager"]
    assert not [line for line in changed_lines(SHIPPED, edited) if line.startswith("-     //")]


keys = st.sampled_from(["a", "b", "c"])
documents = st.dictionaries(keys, st.dictionaries(keys, st.integers() | st.text(max_size=5), max_size=3), max_size=3)


@given(documents, st.tuples(keys, keys), st.integers() | st.text(max_size=5) | st.lists(st.integers()), st.sampled_from([None, 2]))  # fmt: skip
def test_what_is_read_back_is_what_was_put_in(
    document: dict[str, Any], path: tuple[str, str], value: object, indent: int | None
) -> None:
    edited = with_value(json.dumps(document, indent=indent), path, value)

    expected = document | {path[0]: document.get(path[0], {}) | {path[1]: value}}
    assert jsonc.loads(edited) == expected
    assert jsonc.loads(without_value(edited, path)) == expected | {
        path[0]: {key: below for key, below in expected[path[0]].items() if key != path[1]}
    }
