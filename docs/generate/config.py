"""Describe the config file from its models: for editors as a JSON Schema, for people as `docs/reference/config.md`."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from automon.config.settings import FileSettings
from automon.config.types import SECRET_PATTERN, Section

SCHEMA_FILE = Path("monitoring_config.schema.json")
PAGE_FILE = Path("docs/reference/config.md")

_INTRODUCTION = """\
# The config file

`monitoring_config.json` is strict JSON plus `//` and `/* */` comments. Every section and every key of it may be left
out; the default is then in force. `automon check-config` reads the file as the service does and reports all mistakes
at once, each with line, column and key. An unknown key, a repeated key and a comma in front of a closing bracket are
mistakes.

With `"$schema": "./monitoring_config.schema.json"` as its first key, an editor completes keys and checks values.

## Secrets

`webhook_url`, `url` and `password` of a channel, `ping.url` and `database.url` say where the secret comes from:

| value | the secret is |
|---|---|
| `"$env:NAME"` | the environment variable `NAME` |
| `"$file:/path"` | the one line in the file at this absolute path |
| `"$cred:NAME"` | the systemd credential `NAME` (`LoadCredential=` in the unit) |
| `"$literal:…"` | what stands behind the colon, if it must be in this file |

Anything else is refused, so that no password gets into the file by accident. A source that is not there is a mistake,
except for a channel and the ping with `"optional": true`, which are then off, and for an environment variable in
`database.url`, without which automon uses its embedded database.

## The email URL

`smtp://user:password@host:587?from=a@example.org&to=b@example.org,c@example.org` holds a whole email channel. `smtp://`
is STARTTLS on port 587, `smtps://` is TLS on port 465, and `smtp://…?security=none` is not encrypted (port 25). User
and password may be left out together. In them write `%40` for `@`, `%2F` for `/`, `%3F` for `?`, `%23` for `#` and
`%25` for `%`. With the fields `host`, `from`, `to` and so on instead of `url`, nothing has to be escaped.

## Keys

- **levels**: an object with any of `low`, `medium`, `high` and `critical`. From that value on, an alert is of that
  severity. The numbers must rise. A level that is left out or `null` is not used; with none at all the check is off.
- **severity**: `"low"`, `"medium"`, `"high"` or `"critical"`.
- **transition**: `"opened"`, `"escalated"`, `"eased"`, `"acknowledged"`, `"reminded"` or `"resolved"`.
- **secret**: see above.
- **by source**: an object whose keys are the exact names of components, task types, queues, hosts or disks
  (`ops-1 /var`).
"""


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the config file (draft 2020-12; `allowComments` is for Visual Studio Code)."""
    for model in _models(Section):
        _describe(model)
    schema = _tidy(FileSettings.model_json_schema(by_alias=True))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of automon",
        "allowComments": True,
        "allowTrailingCommas": False,
    }
    return {**head, **schema}


def _models(model: type[Section]) -> list[type[Section]]:
    """List what is made from a model, in the order of the code: what a model holds stands before it."""
    return [found for below in model.__subclasses__() for found in (below, *_models(below))]


def _describe(model: type[Section]) -> None:
    """Give each key, the inherited ones too, the sentences that stand below it in the code."""
    for made_from in (base for base in reversed(model.__mro__) if issubclass(base, Section)):
        body = ast.parse(inspect.getsource(made_from)).body[0].body  # type: ignore[attr-defined]  # it is a class
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    model.model_fields[name].description = inspect.cleandoc(text)
    model.model_rebuild(force=True)


def schema_text() -> str:
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """Return the reference of every key as Markdown, one table for each section."""
    schema = config_schema()
    tables = [_table(title, text, rows) for title, text, rows in _sections(schema)]
    return _INTRODUCTION + "\n" + "\n".join(tables)


def main() -> None:
    """Write both files below the given directory: `python -m docs.generate.config .` in a checkout."""
    root = Path(sys.argv[1])
    (root / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    (root / PAGE_FILE).write_text(reference_page(), encoding="utf-8")


def _tidy(node: Any) -> Any:
    """Leave out what pydantic adds and nobody reads: titles made from key names, and 25.0 where the file says 25."""
    if isinstance(node, dict):
        return {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(node, list):
        return [_tidy(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


Row = tuple[str, dict[str, Any]]


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, str, list[Row]]]:
    definitions = schema["$defs"]
    for key, node in schema["properties"].items():
        if key == "channels":
            yield from _channel_sections(node, definitions)
        elif key != "$schema":
            yield f"`{key}`", node.get("description", ""), list(_rows(node, definitions))
        if key == "guidance":
            entry = {"$ref": "#/$defs/TypeGuidance"}
            yield "One entry of `guidance`", "", list(_rows(entry, definitions))


def _channel_sections(node: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, str, list[Row]]]:
    # A terminal channel has nothing but what every channel has.
    common = [row for row in _rows({"$ref": "#/$defs/TerminalSection"}, definitions) if row[0] != "type"]
    yield "`channels`", f"{node['description']} Every channel has a `type` and may have:", common
    for name, reference in node["additionalProperties"]["discriminator"]["mapping"].items():
        rows = [row for row in _rows({"$ref": reference}, definitions) if row not in common]
        yield f'`channels`, `"type": "{name}"`', "", rows


def _rows(node: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """List the keys of a section; the days that errors are kept are the only ones listed one level deeper."""
    below = definitions[node["$ref"].rpartition("/")[2]]["properties"]
    for key, child in below.items():
        name = f"{prefix}{key}"
        target = child.get("$ref", "").rpartition("/")[2]
        if target == "ErrorsDays":
            yield from _rows(child, definitions, f"{name}.")
        else:
            yield name, child | {"section": target}


def _table(title: str, text: str, rows: list[Row]) -> str:
    lines = [
        f"### {title}",
        "",
        *([text, ""] if text else []),
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{key}` | {_kind(node)} | {_default(node)} | {node.get('description', '').replace('|', '/')} |"
        for key, node in rows
    ]
    return "\n".join(lines) + "\n"


_SECTION_KINDS = {
    "Levels": "levels",
    "PercentLevels": "levels, at most 100",
    "TypeGuidance": "entry, see below",
    "SourceGuidance": "`impact`, `next`, `runbook`",
    "Severity": "severity",
    "TransitionKind": "transition",
}


_WORDS = {"integer": "whole number", "number": "number", "boolean": "true, false", "null": "null", "string": "text"}


def _kind(node: dict[str, Any]) -> str:
    """Say in words what a value may be."""
    if node.get("section") or "$ref" in node:
        return _SECTION_KINDS[node.get("section") or node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        return " or ".join(_kind(choice) for choice in node["anyOf"])
    if "const" in node:
        return f'`"{node["const"]}"`'
    if "enum" in node:
        return ", ".join(f'`"{word}"`' for word in node["enum"])
    return _plain_kind(node)


def _plain_kind(node: dict[str, Any]) -> str:
    match node["type"]:
        case "array":
            return f"list of {_kind(node['items'])}"
        case "object":
            return "by source: " + _kind(node["additionalProperties"])
        case "integer" | "number" as kind:
            return _WORDS[kind] + _bounds(node)
        case [*kinds]:
            return " or ".join(_plain_kind(node | {"type": kind}) for kind in kinds)
        case kind:
            return "secret" if kind == "string" and node.get("pattern") == SECRET_PATTERN else _WORDS[kind]


def _bounds(node: dict[str, Any]) -> str:
    words = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    return "".join(f" {word} {node[bound]}" for bound, word in words.items() if bound in node)


def _default(node: dict[str, Any]) -> str:
    if "default" not in node:
        return "required" if "const" in node or "pattern" in node else "none"
    default = node["default"]
    if isinstance(default, dict):
        named = {key: value for key, value in default.items() if value not in (None, {})}
        return ", ".join(f"{key} {value}" for key, value in named.items()) or "none"
    return "none" if default is None else f"`{json.dumps(default)}`"


if __name__ == "__main__":
    main()
