"""`automon-run --task NAME -- COMMAND ARGUMENT…`: runs a command as it would run alone, and reports it as a task.

Whatever happens to automon, the command runs, what it reads and writes passes through, and its exit code is answered.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from monitoring_client import facts
from monitoring_client.run_command import NOT_STARTED, WATCHED, Command, Ending, Mask, leave
from monitoring_client.run_output import STDERR, STDOUT, Copier, Growth, close_on_exec_what_is_closed, copier
from monitoring_client.run_report import Report, say

OWN_FAILURE = 125  # as of env, nohup and timeout, whose users keep it free
REPORT_SECONDS = 2.0
DEFAULT_TAIL = 4096
LONGEST_TIMEOUT = 10 * 365 * 86400.0  # infinity and nan are none
# What Python sets for itself where no locale is set. The command is to see what automon-run was given.
COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")

USAGE = "automon-run --task NAME [OPTION…] -- COMMAND [ARGUMENT…]"
MORE = """\
exit codes: those of the command; 124 when --timeout ended it, 125 when automon-run itself was called wrongly and ran
nothing, 126 when the command cannot be executed, 127 when there is no such command. When a signal ends the command,
the same signal ends automon-run: a shell shows 128 and its number.

environment: AUTOMON_DSN names the database and AUTOMON_SCHEMA the schema; with AUTOMON_DISABLED=1 nothing is reported.
The command finds its task's id in AUTOMON_TASK_ID.

example: automon-run --task nightly-backup --timeout 3600 -- /usr/local/bin/backup --full
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name, and end as it ended."""
    options, command = read_arguments(sys.argv[1:] if arguments is None else arguments)
    if not hasattr(signal, "sigtimedwait"):  # macOS, Windows
        say("not recorded: this needs Linux or another system with sigtimedwait", quiet=options.quiet)
        os.execvp(command[0], command)  # noqa: S606 - to run a command is what this is for
    # Blocked, and asked for one by one in Command.wait. The command gets the mask as it was.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the exit code away
    leave(run(options, command, mask))


def run(options: argparse.Namespace, words: list[str], mask: Mask) -> Ending:
    """Run the command, report it as a task, and answer how it ended."""
    closed = close_on_exec_what_is_closed()
    errors = copier(STDERR, keep=options.tail) if options.tail and STDERR not in closed else None
    output = copier(STDOUT, keep=0) if options.output_size and STDOUT not in closed else None
    growth = Growth(STDOUT)
    task_id = facts.new_task_id()
    report = Report(options, task_id, words[0])
    command = Command(words, {**_environment(), "AUTOMON_TASK_ID": task_id}, mask, errors, output)
    report.begin()  # in a thread, while the command runs already
    ending = command.wait(options.timeout, options.kill_after)
    if ending.failure == NOT_STARTED:
        say(str(ending.message), quiet=False)
    deadline = time.monotonic() + REPORT_SECONDS
    _, evidence = _ask(errors, deadline)
    size = growth.bytes() if output is None else _ask(output, deadline)[0]
    report.end(ending, size, evidence, deadline)
    return ending


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


def _ask(copier: Copier | None, deadline: float) -> tuple[int | None, bytes]:
    return (None, b"") if copier is None else copier.ask(deadline)


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if environment.get("LC_CTYPE") in COERCED_LOCALES and not _was_given("LC_CTYPE"):
        del environment["LC_CTYPE"]
    return environment


def _was_given(variable: str) -> bool:
    """Tell whether the process got the variable, rather than made it. Where that cannot be told: True."""
    try:
        with open("/proc/self/environ", "rb") as given:  # noqa: PTH123 - pathlib takes longer to load than this to run
            return any(entry.startswith(os.fsencode(f"{variable}=")) for entry in given.read().split(b"\0"))
    except OSError:
        return True


if __name__ == "__main__":
    main()
