"""What the commands that read have in common: their options, and the three forms of an answer."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.cli.options import config_option, database_option, json_option, open_reader, primary_option, quiet_logs
from automon.cli.text import printable
from automon.cli.theme import Theme, note, show, theme_of

if TYPE_CHECKING:
    from automon.store import Store

Document = dict[str, Any]

plain_option = click.option(
    "--plain", "as_plain", is_flag=True, help="One record a line, its fields separated by tabs."
)
color_option = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours; auto: on a terminal, unless NO_COLOR is set.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """From where somebody reads, and in which form."""

    config_path: Path | None
    database_url: str | None
    primary: bool
    as_json: bool
    as_plain: bool
    color: str

    def open(self) -> Store:
        """Open what is read from; what is said of it in logs goes nowhere. Raises DatabaseUnavailableError."""
        quiet_logs()
        return open_reader(self.config_path, self.database_url, primary=self.primary)

    @property
    def theme(self) -> Theme:
        return theme_of(sys.stdout, self.color)


def reads(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of reading, as one argument `how`."""

    @config_option
    @database_option
    @primary_option
    @json_option
    @plain_option
    @color_option
    @functools.wraps(function)
    def call(**given: Any) -> None:
        how = Reading(**{field.name: given.pop(field.name) for field in fields(Reading)})
        if how.as_json and how.as_plain:
            raise click.UsageError("--json and --plain are two forms: choose one.")
        function(how=how, **given)

    return call


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer in its forms; only the one that is asked for is made. `empty` is said on stderr when there is nothing."""

    document: Document
    records: Callable[[], Iterable[Sequence[object]]]
    lines: Callable[[Theme], Iterable[str]]
    empty: str = ""


def give(how: Reading, answer: Answer) -> None:
    """Write an answer to stdout, in the form that was asked for."""
    if how.as_json:
        click.echo(json.dumps({"schema_version": 1, **answer.document}, default=_as_json))
    elif answer.empty:
        note(answer.empty)
    elif how.as_plain:
        for record in answer.records():
            click.echo(tabbed(record))
    else:
        show(answer.lines(how.theme), how.theme)


def tabbed(record: Sequence[object]) -> str:
    """Write a record as one line: nothing in it breaks the line or adds a field."""
    return "\t".join(printable(_field(value)) for value in record)


def _field(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.12g}"
        case _:
            return str(value)


def _as_json(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
