"""Turn what is wrong with a config file into problems with a line, a column, a key and a way out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise, takewhile
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from automon.config import jsonc
from automon.config.channels import CHANNEL_TYPES
from automon.config.fallback import fallback_mistakes
from automon.config.settings import ALERT_TYPES, AlertThresholds, FileSettings
from automon.config.types import Keys, Mistake, near, plain
from automon.errors import Problem
from automon.models import Severity

MOST_PROBLEMS = 100  # of one kind: what is wrong with a file that is no config at all need not be told in full

_LEVELS = [severity.value for severity in Severity]
_PLAIN_KEY = re.compile(r"[\w$*/-]{1,80}")
_OBJECT = ("must be an object", "{{ … }}")
_LIST = ("must be a list", "[ … ]")

# What pydantic calls a mistake, and what a person is told: what is wrong, what is allowed.
_TEXTS: dict[str, tuple[str, str]] = {
    "missing": ("is missing", "this key is required"),
    "float_type": ("must be a number", "without quotes"),
    "int_type": ("must be a whole number", "without quotes"),
    "int_from_float": ("must be a whole number", "without quotes"),
    "bool_type": ("must be true or false", "without quotes"),
    "string_type": ("must be a text", "in double quotes"),
    "path_type": ("must be a path", "in double quotes"),
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "frozen_set_type": _LIST,
    "set_type": _LIST,
    "greater_than": ("is too small", "above {gt}"),
    "greater_than_equal": ("is too small", "at least {ge}"),
    "less_than_equal": ("is too large", "at most {le}"),
    "string_too_long": ("is too long", "at most {max_length} characters"),
    "too_long": ("has too many entries", "at most {max_length}"),
    "too_short": ("must not be empty", "at least {min_length} entry"),
}


def repeated_keys(document: jsonc.Document, file: str) -> Iterator[Problem]:
    """Report the keys that stand twice."""
    for repeat in document.repeats[:MOST_PROBLEMS]:
        line, column = document.position(repeat.offset)
        message = jsonc.repeat_message(document, repeat)
        yield Problem(file=file, line=line, column=column, key=spell(repeat.path), message=message)


def find_mistakes(raw: Any, environ: Mapping[str, str]) -> tuple[FileSettings | None, list[Mistake]]:
    """Check the parsed file against its shape; returns either the settings or every mistake."""
    try:
        return _validate(raw, environ), list(_mistakes_between_keys(raw))
    except ValidationError as error:
        found = _mistakes(error, raw)
    hidden = _hidden_mistakes(raw, {_cut(mistake.keys) for mistake in found}, environ)
    return None, [*found, *hidden, *_mistakes_between_keys(raw)]


def _mistakes_between_keys(raw: Any) -> Iterator[Mistake]:
    yield from islice(level_mistakes(raw), MOST_PROBLEMS)
    yield from islice(fallback_mistakes(raw), MOST_PROBLEMS)


def _validate(raw: Any, environ: Mapping[str, str]) -> FileSettings:
    return FileSettings.model_validate(raw, context={"environ": environ})


def _hidden_mistakes(raw: Any, wrong: set[Keys], environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Look again without what is known to be wrong: pydantic does not compare the keys of a section with a mistake.

    What is missing only because it was left out now is not reported; neither is what a wrong flag may excuse.
    """
    try:
        _validate(_without(raw, wrong), environ)
    except ValidationError as error:
        for mistake in _mistakes(error, raw):
            flags = {(*mistake.keys[:-1], flag) for flag in ("enabled", "optional")}
            known = _cut(mistake.keys) in wrong
            if mistake.keys and not known and not flags & wrong and _stands_in(raw, mistake.keys):
                yield mistake


def _cut(keys: Keys) -> Keys:
    """Shorten a path to the whole list that it leads into: leaving out one entry would move the others."""
    return tuple(takewhile(lambda key: isinstance(key, str), keys))


def _without(raw: Any, wrong: set[Keys], path: Keys = ()) -> Any:
    if not isinstance(raw, dict):
        return raw
    return {key: _without(value, wrong, (*path, key)) for key, value in raw.items() if (*path, key) not in wrong}


def _stands_in(raw: Any, keys: Keys) -> bool:
    try:
        _value_at(keys, raw)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _mistakes(error: ValidationError, raw: Any) -> list[Mistake]:
    """Say in automon's words what pydantic found."""
    details = error.errors(include_input=False, include_url=False)[:MOST_PROBLEMS]
    mistakes = [_mistake(detail, raw) for detail in details]
    misspelt = {(*mistake.keys[:-1], guess) for mistake in mistakes if (guess := _guess(mistake))}
    lists = {mistake.keys[:-1] for mistake in mistakes if mistake.keys and isinstance(mistake.keys[-1], int)}
    # Who writes "webhok_url" is told so, and not a second time that "webhook_url" is missing; and a list whose entries
    # are all wrong looks empty to pydantic.
    echoes = {(_TEXTS["missing"][0], keys) for keys in misspelt} | {(_TEXTS["too_short"][0], keys) for keys in lists}
    return [mistake for mistake in mistakes if (mistake.message, mistake.keys) not in echoes]


def problem_of(mistake: Mistake, document: jsonc.Document, file: str) -> Problem:
    """Place a mistake: at its value, for a wrong key at the key, for a missing one at what should hold it."""
    path = mistake.keys
    offset = (document.key_offsets if mistake.in_key else document.value_offsets).get(path)
    while offset is None and path:
        path = path[:-1]
        offset = document.key_offsets.get(path, document.value_offsets.get(path))
    line, column = document.position(offset or 0)
    key, message, allowed = spell(mistake.keys), mistake.message, mistake.allowed
    return Problem(file=file, line=line, column=column, key=key, message=message, allowed=allowed)


def spell(path: Iterable[str | int]) -> str:
    """Write a path as `channels.email.to[1]`; a key with other characters stands in quotes."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += ("." if written else "") + (part if _PLAIN_KEY.fullmatch(part) else f'"{jsonc.shown(part)}"')
    return written


def _guess(mistake: Mistake) -> str | None:
    found = re.search(r"unknown key, did you mean '(.+)'\?", mistake.message)
    return found.group(1) if found else None


def _mistake(detail: Any, raw: Any) -> Mistake:
    keys = _keys(detail["loc"])
    context = detail.get("ctx", {})
    match detail["type"]:
        case "automon":
            in_key = detail["loc"][-1:] == ("[key]",)
            return Mistake(keys=keys, message=context["message"], allowed=context["allowed"], in_key=in_key)
        case "extra_forbidden":
            return _unknown_key(keys, raw)
        case "enum" | "literal_error":
            return _unknown_word(keys, raw, re.findall(r"'([^']+)'", context["expected"]))
        case "union_tag_invalid":
            return _unknown_word((*keys, "type"), raw, CHANNEL_TYPES)
        case "union_tag_not_found":
            return Mistake(keys=(*keys, "type"), message="is missing", allowed=f"one of {', '.join(CHANNEL_TYPES)}")
    message, allowed = _TEXTS.get(detail["type"], ("is not valid", ""))
    values = {name: plain(value) if isinstance(value, float) else value for name, value in context.items()}
    return Mistake(keys=keys, message=message, allowed=allowed.format(**values))


def _keys(location: Keys) -> Keys:
    """Drop what pydantic adds to a path: the type of a channel behind its name, and a mark for the key itself."""
    if location[:1] == ("channels",) and len(location) > 2 and location[2] != "[key]":
        location = location[:2] + location[3:]
    return location[:-1] if location[-1:] == ("[key]",) else location


def _unknown_key(keys: Keys, raw: Any) -> Mistake:
    known = _known_keys(keys[:-1], raw)
    message = f"unknown key{near(str(keys[-1]), known)}"
    return Mistake(keys=keys, message=message, allowed=f"known here: {', '.join(known)}", in_key=True)


def _unknown_word(keys: Keys, raw: Any, known: Iterable[str]) -> Mistake:
    value = _value_at(keys, raw)
    guess = near(value, known) if isinstance(value, str) else ""
    return Mistake(keys=keys, message=f"is not a known word{guess}", allowed=f"one of {', '.join(known)}")


def _value_at(keys: Keys, raw: Any) -> Any:
    for key in keys:
        raw = raw[key]
    return raw


def _known_keys(path: Keys, raw: Any) -> list[str]:
    """List the keys that the section at `path` may hold."""
    if path[:1] == ("channels",):
        section: Any = CHANNEL_TYPES[_value_at((*path[:2], "type"), raw)]
    else:
        section = FileSettings
        for key in path:
            section = _below(section, str(key))
    return [field.alias or name for name, field in section.model_fields.items()]


def _below(section: Any, key: str) -> Any:
    """Step from a section to what stands below one of its keys, or from a dict to what its values are."""
    if isinstance(section, type) and issubclass(section, BaseModel):
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        return fields[key].annotation
    return get_args(section)[1]


def level_mistakes(raw: Any) -> Iterator[Mistake]:
    """Find levels that do not rise, also between an override and what it inherits.

    Works on the parsed file, whatever else is wrong in it: what is not a number is passed over, others report it.
    """
    for key in ALERT_TYPES:
        defaults = _levels(raw, "alert_thresholds", key)
        if defaults is None:
            defaults = getattr(AlertThresholds(), key).values()
        yield from _falling(("alert_thresholds", key), defaults, defaults)
        for source in _dict(raw, "overrides", key):
            own = _levels(raw, "overrides", key, source) or {}
            yield from _falling(("overrides", key, source), own, defaults | own)


def _dict(raw: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def _levels(raw: Any, *keys: str) -> dict[str, float | None] | None:
    if keys[-1] not in _dict(raw, *keys[:-1]):
        return None
    named = _dict(raw, *keys)
    return {level: _number(named[level]) for level in _LEVELS if level in named}


def _number(value: Any) -> float | None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return value if numeric and value > 0 else None


def _falling(path: tuple[str, ...], own: dict[str, float | None], merged: dict[str, float | None]) -> Iterator[Mistake]:
    used = [(level, value) for level in _LEVELS if (value := merged.get(level)) is not None]
    for (lower, low), (upper, high) in pairwise(used):
        if high > low or not {lower, upper} & own.keys():
            continue
        at, word, other, value = (upper, "above", lower, low) if upper in own else (lower, "below", upper, high)
        inherited = "" if other in own else ", inherited from alert_thresholds"
        yield Mistake(
            keys=(*path, at),
            message=f"is not {word} {other} ({plain(value)}{inherited})",
            allowed="the levels must rise from low to critical",
        )
