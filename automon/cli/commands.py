"""`automon` itself: its table of contents, and what becomes of errors. A command's module is imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from automon import __version__
from automon.cli.options import EXIT_CANNOT_READ
from automon.cli.suggestions import did_you_mean
from automon.errors import EXIT_CONFIG, AutomonError, ConfigError

# In the order in which a newcomer needs them: a chapter, its commands, and the modules of automon.cli that hold them.
CONTENTS = {
    "Set it up": {
        "setup": "setup_commands",
        "doctor": "doctor_commands",
        "completion": "completion_commands",
    },
    "Run it": {
        "run": "service_commands",
        "database": "database_commands",
        "migrate": "service_commands",
        "rebuild-rollups": "service_commands",
    },
    "Configuration": {
        "check-config": "config_commands",
        "config": "config_commands",
    },
    "See what is wrong": {
        "status": "status_commands",
        "top": "status_commands",
        "alerts": "alert_commands",
        "explain": "alert_commands",
        "runbook": "runbook",
    },
    "Take it in hand": {
        "ack": "hand_commands",
        "unack": "hand_commands",
        "resolve": "hand_commands",
        "silence": "hand_commands",
        "silences": "hand_commands",
        "unsilence": "hand_commands",
    },
    "Look at the work": {
        "tasks": "work_commands",
        "errors": "work_commands",
        "queues": "work_commands",
        "hosts": "work_commands",
    },
    "Messages": {
        "deliveries": "delivery_commands",
        "channels": "delivery_commands",
        "send-test": "delivery_commands",
        "canary": "delivery_commands",
    },
}
MODULES = {name: module for chapter in CONTENTS.values() for name, module in chapter.items()}

# The schema's own errors, insufficient_privilege, and what only a replica refuses: to write, and to read on while it
# repeats a change that takes away what is being read.
REFUSALS = ("AM", "42501", "25006", "40001")
HINTS = {
    "25006": "This is a replica, where nothing can be changed: name the database that it follows.",
    "40001": "The replica had to go on; try again, or add --primary.",
}
CODES_OF_THEIR_OWN = {
    **dict.fromkeys(("status", "top", "alerts", "channels", "canary"), EXIT_CANNOT_READ),
    "run": EXIT_CONFIG,
}


class Commands(click.Group):
    """Finds a command in the contents, and turns automon's own errors into their message and exit code 1.

    Anything else that is raised is a bug and shows its traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's shape
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's shape
        if cmd_name not in MODULES:
            return None
        module = import_module(f"automon.cli.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in MODULES and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}.{did_you_mean(name, MODULES)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, MODULES))
        for chapter, names in CONTENTS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name.ljust(widest), command.get_short_help_str(limit=70)) for name, command in commands if command]
            with formatter.section(chapter):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout.encoding.lower() != "utf-8":
            from automon.cli.theme import show_letters_instead

            show_letters_instead(sys.stdout, sys.stderr)
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            mistakes = len(error.problems)
            click.echo(
                f"{error.message}\n{mistakes} mistake{'s' if mistakes != 1 else ''}; nothing was changed", err=True
            )
            ctx.exit(_failure_code(ctx))
        except AutomonError as error:
            click.echo(f"automon: {error}", err=True)
            ctx.exit(_failure_code(ctx))
        except Exception as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            click.echo(f"automon: {refusal}", err=True)
            ctx.exit(1 if _names_nothing(error) else _failure_code(ctx))


def _refusal(error: Exception) -> AutomonError | None:
    """Read what the database refused on purpose: by its functions, or because the role may not."""
    code = str(getattr(error, "sqlstate", None) or "")
    if not code.startswith(REFUSALS):
        return None
    told: Any = getattr(error, "diag", None)
    return AutomonError(told.message_primary, hint=told.message_hint or HINTS.get(code, ""))


def _names_nothing(error: Exception) -> bool:
    """Tell a database that works and refuses what was asked from one that cannot be read."""
    return str(getattr(error, "sqlstate", None) or "").startswith("AM")


def _failure_code(ctx: click.Context) -> int:
    return CODES_OF_THEIR_OWN.get(ctx.invoked_subcommand or "", 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="automon")
def main() -> None:
    """Watches automation: facts in PostgreSQL, checks every five minutes, alerts in Slack and email."""
