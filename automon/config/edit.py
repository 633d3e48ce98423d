"""Change single values of a config file's text, and leave comments, order and everything else as they are."""

from __future__ import annotations

import json
from typing import Any

from automon.config import jsonc

INDENT = "  "


def with_value(text: str, path: tuple[str, ...], value: Any) -> str:
    """Return the text with that value at that path: in the place of the one that is there, else as a new last entry.

    Raises JsoncError for a text that is not JSON with comments, KeyError where the path leads through no object.
    """
    document = jsonc.parse(text)
    if path in document.value_offsets:
        start = document.value_offsets[path]
        return text[:start] + _written(value, _depth_indent(text, start)) + text[jsonc.end_of_value(text, start) :]
    parent = path[:-1]
    if parent not in document.value_offsets:
        return with_value(text, parent, {path[-1]: value})
    if not isinstance(_value_at(document.value, parent), dict):
        raise KeyError(".".join(path))
    return _with_new_entry(document, parent, path[-1], value)


def without_value(text: str, path: tuple[str, ...]) -> str:
    """Return the text without the entry at that path; as it is when there is none."""
    document = jsonc.parse(text)
    if path not in document.key_offsets:
        return text
    siblings = [key for key in document.key_offsets if key[:-1] == path[:-1]]
    place = siblings.index(path)
    start = document.key_offsets[path]
    if place + 1 < len(siblings):
        # With the comma behind it, up to what follows.
        return text[:start] + text[_behind_comma(text, _end(document, path)) :]
    end = _end(document, path)
    if place:
        comma = jsonc.skip_blank(text, _end(document, siblings[place - 1]))
        return text[:comma] + text[comma + 1 : start].rstrip(" \t") + text[end:]
    return text[:start] + text[end:]


def _end(document: jsonc.Document, path: tuple[str | int, ...]) -> int:
    return jsonc.end_of_value(document.text, document.value_offsets[path])


def _behind_comma(text: str, end: int) -> int:
    comma = jsonc.skip_blank(text, end)
    behind = comma + 1
    while text[behind : behind + 1] in (" ", "\t"):
        behind += 1
    return behind


def _value_at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with_new_entry(document: jsonc.Document, parent: tuple[str, ...], key: str, value: Any) -> str:
    text = document.text
    start = document.value_offsets[parent]
    bracket = jsonc.end_of_value(text, start) - 1
    siblings = [path for path in document.key_offsets if path[:-1] == parent]
    name = json.dumps(key, ensure_ascii=False)
    if not siblings:
        indent = _depth_indent(text, start)
        inner = text[start + 1 : bracket].rstrip()
        entry = f"{name}: {_written(value, indent + INDENT)}"
        return f"{text[: start + 1]}{inner}\n{indent}{INDENT}{entry}\n{indent}{text[bracket:]}"
    last_end = _end(document, siblings[-1])
    between = text[last_end:bracket]
    if "\n" not in between:
        return f"{text[:last_end]}, {name}: {_in_one_line(value)}{text[last_end:]}"
    indent = _depth_indent(text, document.key_offsets[siblings[-1]])
    entry = f"{name}: {_written(value, indent)}"
    return f"{text[:last_end]},{between.rstrip()}\n{indent}{entry}\n{_depth_indent(text, bracket)}{text[bracket:]}"


def _depth_indent(text: str, offset: int) -> str:
    """Return the blanks with which the line of an offset begins."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _written(value: Any, indent: str) -> str:
    """Write a value in one line when that is short, else an object with an entry a line."""
    short = _in_one_line(value)
    if not isinstance(value, dict) or len(short) <= 100:
        return short
    entries = (
        f"{indent}{INDENT}{json.dumps(key, ensure_ascii=False)}: {_in_one_line(below)}" for key, below in value.items()
    )
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def _in_one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
