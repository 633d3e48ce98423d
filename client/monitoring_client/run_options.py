"""What automon-run is told on its command line, and what it says."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import NoReturn

from monitoring_client import facts

OWN_FAILURE = 125  # as of env, nohup and timeout, whose users keep it free
DEFAULT_TAIL = 4096
LONGEST_TIMEOUT = 10 * 365 * 86400.0  # infinity and nan are none
STDERR = 2

USAGE = "automon-run --task NAME [OPTION…] -- COMMAND [ARGUMENT…]"
MORE = """\
exit codes: those of the command; 124 when --timeout ended it, 125 when automon-run itself was called wrongly and ran
nothing, 126 when the command cannot be executed, 127 when there is no such command. When a signal ends the command,
the same signal ends automon-run: a shell shows 128 and its number.

environment: AUTOMON_DSN names the database and AUTOMON_SCHEMA the schema; with AUTOMON_DISABLED=1 nothing is reported.
The command finds its task's id in AUTOMON_TASK_ID.

example: automon-run --task nightly-backup --timeout 3600 -- /usr/local/bin/backup --full
"""


def say(what: str, *, quiet: bool = False) -> None:
    """Write a line to stderr, if it can be written to."""
    if quiet:
        return
    with contextlib.suppress(OSError):
        os.write(STDERR, f"automon-run: {' '.join(what.split())}\n".encode("utf-8", "backslashreplace"))


def read_arguments(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split what is meant for automon-run from the command behind `--`. A mistake ends the process with 125."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = _parser()
    options = parser.parse_args(arguments[:end])
    command = list(arguments[end + 1 :])
    if not command:
        parser.error("no command is given: write it behind --")
    return options, command


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(OWN_FAILURE, f"usage: {USAGE}\nautomon-run: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(
        "automon-run",
        usage=USAGE,
        description="Run a command and report it to automon as a task.",
        epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--task", required=True, metavar="NAME", type=_name, help="the type of the task")
    add("--component", metavar="NAME", type=_name, help="what a failure is attributed to; the task's type unless given")
    add("--severity", choices=facts.SEVERITIES, default="high", help="of a failure; high unless given")
    add("--worker", metavar="NAME", type=_name, help="who works here; host and process unless given")
    add("--timeout", metavar="SECONDS", type=_seconds, help="end the command after that time, by SIGTERM")
    add("--kill-after", metavar="SECONDS", type=_seconds, default=10.0, help="then by SIGKILL; after 10 s unless given")
    add("--tail", metavar="BYTES", type=_tail, default=DEFAULT_TAIL, help="how much of the end of stderr is evidence of "
        "a failure; 4096 unless given. 0 hands stderr on untouched and records none of it")  # fmt: skip
    add("--output-size", action="store_true", help="count what goes to stdout, through a pipe; without it the size is "
        "known where stdout is a file")  # fmt: skip
    add("--quiet", action="store_true", help="do not say on stderr why something could not be reported")
    return parser


def _name(text: str) -> str:
    if not 0 < len(os.fsencode(text)) <= facts.LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"must have 1 to {facts.LONGEST_NAME} bytes")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return seconds


def _tail(text: str) -> int:
    if not text.isdecimal() or int(text) > facts.LONGEST_STACK_TRACE:
        raise argparse.ArgumentTypeError(f"must be a number of bytes from 0 to {facts.LONGEST_STACK_TRACE}, not {text}")
    return int(text)
