"""Describe the command line from its own commands, as `docs/reference/cli.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from automon.cli.commands import CONTENTS
from automon.cli.commands import main as automon

PAGE_FILE = Path("docs/reference/cli.md")

_INTRODUCTION = """\
# The command line

In a checkout the command is `.venv/bin/automon`; after `make install` it is `automon`. `automon COMMAND --help` says
what stands here.

Which config is read: the file behind `--config`, else the one that the variable `AUTOMON_CONFIG` names, else
`monitoring_config.json` in the working folder, else `/etc/automon/monitoring_config.json`.

Which database is used: the one behind `--database-url`, else that of the config (as shipped: the variable
`DATABASE_URL`), else the embedded one that `make run` has started in `.automon` of the working folder.

| exit code | of every command |
|---|---|
| 0 | it worked |
| 1 | it did not; what to do stands on stderr |
| 64 | the command was called wrongly |

`automon status`, `automon alerts`, `automon channels` and `automon canary` have codes of their own, which a monitoring
plugin can use as they are.

Messages and tables go to stdout, errors and hints to stderr; where there is nothing to show, stdout stays empty. With
`--json` stdout is one JSON object with a `schema_version`, with `--plain` one record a line, its fields separated by tabs
and its times in UTC. [Pictures](../screens.md) of the rest.

Times are those of your zone (`TZ`). Colours are shown on a terminal, never where `NO_COLOR` is set or `TERM` is `dumb`,
elsewhere with `CLICOLOR_FORCE=1`; `--color` overrules these. Well is blue; `AUTOMON_THEME=classic` makes it green. `automon run` logs to stderr: readable lines on a terminal, JSON elsewhere, or what the variable
`AUTOMON_LOG_FORMAT` says (`console` or `json`).

| command | what it does |
|---|---|
"""


def reference_page() -> str:
    """Write the contents, and the page about every command in the order of the alphabet, a group's own commands behind it."""
    return (
        _INTRODUCTION + "".join(_contents()) + "".join(_section(name, command) for name, command in _commands(automon))
    )


def _contents() -> Iterator[str]:
    for chapter, commands in CONTENTS.items():
        yield f"| **{chapter}** | |\n"
        yield from (f"| [`{name}`](#automon-{name}) | {about} |\n" for name, (_, about) in commands.items())


def _commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if command is None:
            raise ValueError(f"{prefix}{name} is in the contents and nowhere else")
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"automon {name}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"\n## automon {name}\n", f"```text\n{usage}\n```\n", *_paragraphs(command)]
    rows = [_option_row(option, context) for option in _options(command)]
    if rows:
        lines += ["| option | meaning |\n|---|---|\n" + "".join(rows)]
    return "\n".join(lines)


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        example = text.removeprefix("Example: ")
        yield f"{text}\n" if example == text else f"```sh\n{example}\n```\n"


def _options(command: click.Command) -> Iterator[click.Option]:
    return (parameter for parameter in command.params if isinstance(parameter, click.Option))


def _option_row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    if record is None:
        raise ValueError(f"{option.name} is hidden; a command has no hidden options")
    names, meaning = record
    return f"| `{names}` | {' '.join(meaning.split())} |\n"


def main() -> None:
    """Write the page of the checkout that this runs in, or below the folder named."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / PAGE_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(reference_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
