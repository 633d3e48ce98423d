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

# In the order in which a newcomer needs them: a chapter, its commands, the modules of automon.cli that hold them, and a
# line of at most 60 cells.
CONTENTS = {
    "Set it up": {
        "setup": ("setup_commands", "database, Slack and email, proved by a real alert"),
        "doctor": ("doctor_commands", "check all that automon depends on, and how to mend it"),
        "completion": ("completion_commands", "complete commands and names in bash, zsh or fish"),
    },
    "Run it": {
        "run": ("service_commands", "the service, in the foreground"),
        "database": ("database_commands", "a PostgreSQL of automon's own, in the foreground"),
        "migrate": ("service_commands", "bring the database to this version's schema"),
        "rebuild-rollups": ("service_commands", "make the sums by minute and hour anew"),
    },
    "Configuration": {
        "check-config": ("config_commands", "all that is wrong with the config file"),
        "config": ("config_commands", "what is in force and why, what changed, what SQL changed"),
    },
    "See what is wrong": {
        "status": ("status_commands", "everything on one screen"),
        "top": ("status_commands", "the same, live, with keys to act"),
        "alerts": ("alert_commands", "open alerts, worst first, or their history"),
        "explain": ("alert_commands", "why an alert fired, or why a source has none"),
        "runbook": ("runbook", "what to do about a kind of alert"),
    },
    "Take it in hand": {
        "ack": ("hand_commands", "stop the reminders of an alert"),
        "unack": ("hand_commands", "give it back"),
        "resolve": ("hand_commands", "end an alert by hand"),
        "silence": ("hand_commands", "send nothing about a source for a while"),
        "silences": ("hand_commands", "what is silenced until when, by whom, why"),
        "unsilence": ("hand_commands", "end a silence before its time"),
    },
    "Look at the work": {
        "tasks": ("work_commands", "task types, those in trouble first"),
        "errors": ("work_commands", "errors, grouped by cause"),
        "queues": ("work_commands", "what waits, what comes in and goes out"),
        "hosts": ("work_commands", "CPU, memory, disks, container limits"),
    },
    "Messages": {
        "deliveries": ("delivery_commands", "messages, and what became of each"),
        "channels": ("delivery_commands", "how each channel fares; take one up again"),
        "send-test": ("delivery_commands", "a test message, past the database"),
        "canary": ("delivery_commands", "a marked message on the way of alerts, until it arrives"),
    },
    "Take data out": {
        "export": ("export_commands", "facts as CSV, JSON lines or Parquet"),
    },
}
MODULES = {name: module for chapter in CONTENTS.values() for name, (module, _) in chapter.items()}

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's shape
        widest = max(map(len, MODULES))
        for chapter, commands in CONTENTS.items():
            with formatter.section(chapter):
                formatter.write_dl([(name.ljust(widest), about) for name, (_, about) in commands.items()])
        formatter.write("\nautomon COMMAND --help says more, with an example.\n")

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
