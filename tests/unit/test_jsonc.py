from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.config import jsonc

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
gaps = st.sampled_from(["", " ", "\n", "\t\r\n", '// a " { comment\n', "/* two\nlines // */", "/***/ ", " //\n"])


@given(document=documents, indent=st.sampled_from([None, 1, "\t"]), ascii_only=st.booleans())
def test_it_reads_every_json_document_as_the_standard_library_does(
    document: Any, indent: int | str | None, *, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)

    assert json.loads(text) == jsonc.loads(text)


@given(documents, st.data())
def test_comments_and_blanks_between_tokens_change_nothing(document: Any, data: st.DataObject) -> None:
    text = with_gaps(document, lambda: data.draw(gaps))

    assert document == jsonc.loads(text)


@given(documents, st.data())
def test_every_position_leads_to_the_text_of_its_value(document: Any, data: st.DataObject) -> None:
    parsed = jsonc.parse(with_gaps(document, lambda: data.draw(gaps)))

    for path, offset in parsed.value_offsets.items():
        expected = document
        for key in path:
            expected = expected[key]
        line, column = parsed.position(offset)
        before = parsed.text.split("\n")[: line - 1]
        assert offset == sum(len(part) + 1 for part in before) + column - 1
        assert parsed.text[offset] == json.dumps(expected)[0]
    for path, offset in parsed.key_offsets.items():
        assert parsed.text.startswith(json.dumps(path[-1]), offset)


@given(st.text(alphabet="{}[]\",:/*\\\n 019.eE+-tfnrualse#'\ufeff\ud800\u00a0", max_size=40))
def test_any_text_is_either_read_as_the_standard_library_does_or_refused_with_a_place(text: str) -> None:
    read, error = read_or_error(text)

    if error is not None:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    elif "/" not in text:
        assert json.loads(text) == read


def read_or_error(text: str) -> tuple[Any, jsonc.JsoncError | None]:
    try:
        return jsonc.loads(text), None
    except jsonc.JsoncError as error:
        return None, error


def with_gaps(document: Any, gap: Any) -> str:
    """Write a document with something blank between all of its tokens."""
    match document:
        case dict():
            items = (
                f"{gap()}{json.dumps(key)}{gap()}:{gap()}{with_gaps(value, gap)}{gap()}"
                for key, value in document.items()
            )
            return f"{gap()}{{{','.join(items)}}}{gap()}"
        case list():
            return f"{gap()}[{','.join(with_gaps(value, gap) for value in document)}{gap()}]{gap()}"
        case _:
            return f"{gap()}{json.dumps(document)}{gap()}"


MISTAKES = {
    "empty": ("", 1, 1, "the file is empty; it must hold an object, { … }"),
    "only a comment": ("// nothing\n", 2, 1, "the file is empty; it must hold an object, { … }"),
    "trailing comma in an object": ('{\n  "a": 1,\n}', 2, 9, "no comma may stand in front of }"),
    "trailing comma in a list": ("[1, 2,\n ]", 1, 6, "no comma may stand in front of ]"),
    "comma missing": ('{"a": 1 "b": 2}', 1, 9, 'a comma or } must stand here, but here is "'),
    "comma missing in a list": ("[1 2]", 1, 4, "a comma or ] must stand here, but here is 2"),
    "two commas": ("[1,,2]", 1, 4, "a value must stand here, but here is ,"),
    "colon missing": ('{"a" 1}', 1, 6, "a colon must follow the key, but here is 1"),
    "key without quotes": ("{a: 1}", 1, 2, "a key in double quotes must stand here, but here is a"),
    "key in single quotes": ("{'a': 1}", 1, 2, "a key in double quotes must stand here, but here is '"),
    "value in single quotes": ("['a']", 1, 2, "a value must stand here, but here is '"),
    "object not closed": ('{"a": 1', 1, 8, "a comma or } must stand here, but here is the end of the file"),
    "value missing": ('{"a":', 1, 6, "a value must stand here, but here is the end of the file"),
    "something behind the end": ("{}\n{}", 2, 1, "nothing may follow the end of the document, but here is {"),
    "comment without end": ("{} /* no", 1, 4, "this comment has no end; write */ behind it"),
    "comment of another language": ("{} # no", 1, 4, "nothing may follow the end of the document, but here is #"),
    "half a comment": ("{} /", 1, 4, "nothing may follow the end of the document, but here is /"),
    "text not closed": ('{"a": "b\n}', 1, 7, "this text has no closing double quote"),
    "text not closed at the end": ('["b', 1, 2, "this text has no closing double quote"),
    "bad escape": (
        r'["C:\dir"]',
        1,
        5,
        'a backslash must be followed by one of " \\ / b f n r t or by u and four hex digits',
    ),
    "tab in a text": ('["a\tb"]', 1, 4, "the character U+0009 must be written as \\u0009 in a text"),
    "half a pair": ('["\\ud83d"]', 1, 2, "this text holds half of a surrogate pair (\\ud800 to \\udfff)"),
    "NaN": ("[NaN]", 1, 2, "a bare word is only true, false or null; a text stands in double quotes"),
    "Infinity": ("[-Infinity]", 1, 2, "this is not a number of JSON; examples of one: 5, -0.5, 1e3"),
    "Python's True": ("[True]", 1, 2, "a bare word is only true, false or null; a text stands in double quotes"),
    "leading zero": ("[05]", 1, 2, "this is not a number of JSON; examples of one: 5, -0.5, 1e3"),
    "leading point": ("[.5]", 1, 2, "this is not a number of JSON; examples of one: 5, -0.5, 1e3"),
    "number with a unit": ("[5s]", 1, 2, "this is not a number of JSON; examples of one: 5, -0.5, 1e3"),
    "too large": ("[1e400]", 1, 2, "this number is too large"),
    "too large, without a point": ("[" + "9" * 400 + "]", 1, 2, "this number is too large"),
    "too many digits": ("[" + "9" * 5000 + "]", 1, 2, "this number is too large"),
    "too deep": ("[" * 200, 1, 22, "nested deeper than 20 levels"),
    "hard space": ('{\u00a0"a": 1}', 1, 2, "a key in double quotes must stand here, but here is the character U+00A0"),
    "key twice": ('{"a": 1,\n\n "a": 2}', 3, 2, 'the key "a" stands here a second time, first in line 1'),
}


@pytest.mark.parametrize(("text", "line", "column", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_reported_with_its_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(jsonc.JsoncError) as caught:
        jsonc.loads(text)

    assert (line, column, message) == (caught.value.line, caught.value.column, caught.value.message)


def test_a_repeated_key_keeps_its_first_value_and_the_positions_of_it() -> None:
    document = jsonc.parse('{"a": {"b": 1},\n "a": {"b": 2, "c": 3}}')

    assert {"a": {"b": 1}} == document.value
    assert 12 == document.value_offsets["a", "b"]
    assert ("a", "c") not in document.value_offsets
    assert [("a",)] == [repeat.path for repeat in document.repeats]


def test_a_document_of_thousands_of_keys_is_read_whole() -> None:
    text = "{" + ",".join(f'"key {number}": [{number}, "{"x" * 50}"]' for number in range(5000)) + "}"

    assert json.loads(text) == jsonc.loads(text)
