"""The environment file with the secrets: read as systemd reads it (EnvironmentFile=, systemd.exec(5)), and edited in place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from automon.errors import AutomonError

_ASSIGNMENT = re.compile(r"\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*")
# What stands for itself without quotes, to systemd and to a shell that sources the file.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~-]*")


def read_variables(text: str) -> dict[str, str]:
    """Return the variables that the text assigns, the last assignment of each; empty ones are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = None if line.lstrip()[:1] in ("#", ";") else _ASSIGNMENT.fullmatch(line)
        if match is not None:
            found[match["name"]] = _unquoted(match["value"])
    return {name: value for name, value in found.items() if value}


def with_variables(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these variables assigned, each where it was assigned before, else at the end.

    Everything else stays as it is. Raises AutomonError for a value that no line of such a file can hold.
    """
    lines = text.splitlines()
    for name, value in values.items():
        line = f"{name}={_quoted(name, value)}"
        places = [number for number, old in enumerate(lines) if _assigns(old, name)]
        if places:
            # Of several, the last counts; and that one is changed.
            lines[places[-1]] = line
        else:
            lines += ["", line]
    return "\n".join(lines) + "\n"


def _assigns(line: str, name: str) -> bool:
    match = _ASSIGNMENT.fullmatch(line)
    return match is not None and match["name"] == name


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r'\\(["\\`$])', r"\1", value[1:-1])
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    return re.sub(r"\\(.)", r"\1", value)


def _quoted(name: str, value: str) -> str:
    if not value.isprintable():
        raise AutomonError(f"{name}: the value holds a character that a line of an environment file cannot hold")
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'
