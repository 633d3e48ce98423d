"""A thousand broken configs, made from the shipped one: each is refused with a place, or means something sane.

AUTOMON_MUTANTS says how many instead; AUTOMON_MUTANTS_SEED brings others. A mutant that fails is printed in full.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from zoneinfo import available_timezones

import pytest

from automon.config import Config, load_config
from automon.config.load import MOST_BYTES
from automon.config.problems import MOST_PROBLEMS
from automon.errors import ConfigError, Problem
from automon.secrets import scrub

SHIPPED = Path("monitoring_config.json").resolve().read_text(encoding="utf-8")
MUTANTS = int(os.environ.get("AUTOMON_MUTANTS", "1000"))
SEED = int(os.environ.get("AUTOMON_MUTANTS_SEED", "2026"))
GROUPS = 10

# What no message may repeat: a secret that stands in the file, and those that the environment brings.
SECRET = "hunter2-in-the-file"
ENVIRON = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0FAKE000/B0FAKE000/hunter2fromthewebhook",
    "AUTOMON_EMAIL_URL": "smtp://automon:hunter2-of-the-mail@mail.acme.example:587?from=a@acme.example&to=b@acme.example",
}
# The shipped file, and beside what it holds all that the comments in it show.
FULL = (
    SHIPPED.replace(
        '"overrides": {},',
        '"overrides": {"error_rates": {"invoice-sync": {"low": 5, "medium": 10}}, "host_disk": {"ops-1 /var": {"low": 85}}},',
    )
    .replace(
        '"guidance": {},',
        '"guidance": {"error_rates": {"next": "Look.", "sources": {"a": {"runbook": "https://wiki.example/a"}}}},',
    )
    .replace(
        '"url": "$env:AUTOMON_EMAIL_URL"}',
        '"url": "$env:AUTOMON_EMAIL_URL", "fallback": "mail", "min_severity": "high", "timezone": "Europe/Berlin"},'
        '"mail": {"type": "email", "host": "mail.acme.example", "username": "u", "password": "$literal:' + SECRET + '",'
        '"from": "a@acme.example", "to": ["b@acme.example"], "notify_on": ["opened", "resolved"]}',
    )
)
TOKEN = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|[-+\w.]+|[{}\[\],:]|\s+')
WORDS = (
    "null", "true", "false", "0", "-1", "1.5", "1e308", "1e-320", "1e400", "-0.0", "9" * 25, "9" * 400, "9" * 5000, "NaN", "Infinity", "-Infinity", "0x10", "007",
    '""', '" "', '"25"', '"*"', '"high"', '"critical"', '"UTC"', '"Mars/Base"', '"24:00"', '"03:17"', '"$env:"', '"$env:HOME"', '"$file:/etc/passwd"', '"$file:x"',
    '"$cred:../x"', '"$literal:x"', '"\\u0000"', '"\\u0000a"', '"\\ud800"', '"a\\tb"', '"' + "x" * 600 + '"', '"' + "é" * 300 + '"', "[]", "{}", "[[]]", '{"low": 1}', '["opened"]',
    '"slack"', '"email"', '"mail"', '"journal"', "/*", "*/", "//", "\x00", "\x1b[31m", "\ufeff", "\u2028", "'", "\\",
)  # fmt: skip

Mutate = Callable[[random.Random, list[str]], None]


def meaningful(tokens: list[str]) -> list[int]:
    return [at for at, token in enumerate(tokens) if token.strip() and not token.startswith("//")]


def pick(rng: random.Random, tokens: list[str]) -> int:
    return rng.choice(meaningful(tokens) or [0])


def delete(rng: random.Random, tokens: list[str]) -> None:
    del tokens[pick(rng, tokens)]


def delete_many(rng: random.Random, tokens: list[str]) -> None:
    at = pick(rng, tokens)
    del tokens[at : at + rng.randint(1, 40)]


def double(rng: random.Random, tokens: list[str]) -> None:
    at = pick(rng, tokens)
    tokens[at:at] = tokens[at : at + rng.choice((1, 2, 4, 8, 30))]


def replace(rng: random.Random, tokens: list[str]) -> None:
    tokens[pick(rng, tokens)] = rng.choice(WORDS)


def insert(rng: random.Random, tokens: list[str]) -> None:
    tokens.insert(pick(rng, tokens), rng.choice(WORDS))


def swap(rng: random.Random, tokens: list[str]) -> None:
    one, other = pick(rng, tokens), pick(rng, tokens)
    tokens[one], tokens[other] = tokens[other], tokens[one]


def swap_numbers(rng: random.Random, tokens: list[str]) -> None:
    """Turn the order of levels, mostly."""
    numbers = [at for at in meaningful(tokens) if tokens[at][:1].isdigit()]
    if len(numbers) > 1:
        at = rng.randrange(len(numbers) - 1)
        one, other = numbers[at], numbers[at + 1]
        tokens[one], tokens[other] = tokens[other], tokens[one]


def change_number(rng: random.Random, tokens: list[str]) -> None:
    numbers = [at for at in meaningful(tokens) if tokens[at][:1].isdigit()]
    if numbers:
        at = rng.choice(numbers)
        tokens[at] = rng.choice(
            (f"-{tokens[at]}", f"{tokens[at]}000", f'"{tokens[at]}"', f"{tokens[at]}.5", f"[{tokens[at]}]", "0")
        )


def misspell(rng: random.Random, tokens: list[str]) -> None:
    texts = [at for at in meaningful(tokens) if tokens[at].startswith('"') and len(tokens[at]) > 4]
    if texts:
        at = rng.choice(texts)
        letters = list(tokens[at])
        where = rng.randrange(1, len(letters) - 2)
        rng.choice(
            (
                lambda: letters.pop(where),
                lambda: letters.insert(where, "x"),
                lambda: letters.insert(where, letters[where]),
            )
        )()
        tokens[at] = "".join(letters)


def truncate(rng: random.Random, tokens: list[str]) -> None:
    del tokens[pick(rng, tokens) :]


def nest(rng: random.Random, tokens: list[str]) -> None:
    at, depth = pick(rng, tokens), rng.choice((2, 15, 19, 20, 5000))
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
    tokens[at] = opened * depth + tokens[at] + closed * depth


def cut_a_token(rng: random.Random, tokens: list[str]) -> None:
    at = pick(rng, tokens)
    tokens[at] = tokens[at][: rng.randrange(len(tokens[at]) + 1)]


MUTATIONS: tuple[Mutate, ...] = (
    delete, delete_many, double, replace, replace, insert, swap, swap_numbers, swap_numbers, change_number, change_number, misspell, misspell, truncate, nest, cut_a_token,
)  # fmt: skip


def mutants(group: int) -> Iterator[str]:
    rng = random.Random(f"{SEED}/{group}")
    for _ in range(MUTANTS // GROUPS):
        tokens = TOKEN.findall(FULL)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            if tokens:
                rng.choice(MUTATIONS)(rng, tokens)
        yield "".join(tokens)


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_mutant_is_refused_with_the_place_of_each_mistake_or_means_something_sane(group: int, tmp_path: Path) -> None:
    file = tmp_path / "monitoring_config.json"
    accepted = 0
    for text in mutants(group):
        file.write_text(text, encoding="utf-8", newline="")
        try:
            config = load_config(file, ENVIRON)
        except ConfigError as error:
            for problem in error.problems:
                assert_is_placed(problem, text, file)
            assert_tells_no_secret(str(error))
        else:
            accepted += 1
            assert_is_sane(config)
            assert_tells_no_secret(str(config.entries))
    # A mutation may change a comment, a number that may be so, or nothing.
    assert 0 < accepted < MUTANTS // GROUPS // 2


def assert_is_placed(problem: Problem, text: str, file: Path) -> None:
    lines = text.removeprefix("\ufeff").split("\n")
    assert problem.file == str(file), text
    assert 1 <= problem.line <= len(lines), (problem, text)
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, (problem, text)
    assert problem.message, text
    told = str(problem).removeprefix(str(file))
    assert told.isprintable(), (problem, text)
    assert len(told) < 2000, (problem, text)


def assert_tells_no_secret(told: str) -> None:
    assert "hunter2" not in told


def assert_is_sane(config: Config) -> None:
    """Judge anew, and by other means, what a config that was accepted says."""
    for row in config.threshold_rows():
        levels = [level for level in (row.low, row.medium, row.high, row.critical) if level is not None]
        rises = all(low < high for low, high in pairwise(levels))
        assert rises, row
        assert all(0 < level <= 1.8e308 for level in levels), row
        if row.alert_type in {"failure_rate", "host_cpu", "host_memory", "host_disk"}:
            assert all(level <= 100 for level in levels), row
        assert row.source.strip(), row
        assert 1 <= len(row.source.encode()) <= 512, row
    for name, value in config.settings_rows().items():
        least = 0 if name.startswith("alerts.") else 1
        assert least <= value < 1e10, (name, value)
    schedule = config.schedule
    for pause in (schedule.alert_checks, schedule.fast_checks, schedule.host_sampling, schedule.self_check):
        assert 1 <= pause.total_seconds() <= 86400
    assert schedule.timezone.key in available_timezones() | {"UTC"}
    names = [channel.name for channel in config.channels]
    assert len(names) == len(set(names)) <= 50
    for channel in config.channels:
        assert re.fullmatch(r"[\w.-]{1,63}", channel.name, re.ASCII)
        assert channel.timezone is None or channel.timezone.key in available_timezones() | {"UTC"}
        assert channel.fallback is None or channel.fallback in set(names) - {channel.name}
        assert channel.notify_on
    assert scrub(str(config.database)) == str(config.database)


# Files that are large and wrong all over --------------------------------------------------------------------------


def many(count: int, text: str) -> str:
    return ", ".join(text.replace("#", str(number)) for number in range(count))


LARGE: dict[str, Callable[[int], str]] = {
    "unknown keys": lambda count: "{" + many(count, '"key#": 1') + "}",
    "keys twice": lambda count: "{" + many(count, '"alerts": {}') + "}",
    "overrides that fall": lambda count: '{"overrides": {"error_rates": {' + many(count, '"s#": {"low": 5, "medium": 4}') + "}}}",
    "overrides that are right": lambda count: '{"overrides": {"error_rates": {' + many(count, '"s#": {"low": 5}') + "}}}",
    "channels with unknown fallbacks": lambda count: '{"channels": {' + many(count, '"c#": {"type": "terminal", "fallback": "x#"}') + "}}",
    "a chain of fallbacks": lambda count: '{"channels": {' + many(count, '"c#": {"type": "terminal", "fallback": "c1#"}') + "}}",
    "wrong recipients": lambda count: '{"channels": {"m": {"type": "email", "host": "h", "from": "a@x", "to": [' + many(count, '"b#@@x"') + "]}}}",
    "open brackets": lambda count: "[" * count,
}  # fmt: skip


def work_on(text: str, file: Path) -> int:
    """Load a file and count the calls that took: a measure that no other process on the machine moves."""
    file.write_text(text, encoding="utf-8")
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        load_config(file, {})
    except ConfigError as error:
        sys.setprofile(None)
        assert 1 <= len(error.problems) <= 2 * MOST_PROBLEMS
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", LARGE)
def test_a_file_of_twice_the_size_takes_twice_the_work_at_most(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "monitoring_config.json"
    work_on("{}", file)  # what is done once in a process

    once, twice = (work_on(LARGE[kind](count), file) for count in (500, 1000))

    assert twice <= 2.5 * once + 1000


def test_a_file_that_is_too_large_to_be_a_config_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "monitoring_config.json"
    file.write_text("{}" + " " * MOST_BYTES, encoding="utf-8")

    with pytest.raises(ConfigError, match="the file is larger than 1048576 bytes"):
        load_config(file, {})
