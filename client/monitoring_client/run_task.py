"""A command as a task: run and reported."""

from __future__ import annotations

import argparse
import os
import signal
import time

from monitoring_client import identity
from monitoring_client.run_command import NOT_STARTED, WATCHED, Command, Ending
from monitoring_client.run_options import say
from monitoring_client.run_output import STDERR, STDOUT, Copier, Growth, close_on_exec_what_is_closed, copier
from monitoring_client.run_report import Report

REPORT_SECONDS = 2.0
# What Python sets for itself where no locale is set. The command is to see what automon-run was given.
COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")


def run(options: argparse.Namespace, words: list[str]) -> Ending:
    """Run the command, report it as a task, and answer how it ended."""
    # Blocked, and asked for one by one in Command.wait. The command gets the mask as it was.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the exit code away
    closed = close_on_exec_what_is_closed()
    errors = copier(STDERR, keep=options.tail) if options.tail and STDERR not in closed else None
    output = copier(STDOUT, keep=0) if options.output_size and STDOUT not in closed else None
    growth = Growth(STDOUT)
    task_id = identity.new_task_id()
    report = Report(options, task_id, words[0])
    command = Command(words, {**_environment(), "AUTOMON_TASK_ID": task_id}, mask, errors, output)
    report.begin()  # in a thread, while the command runs already
    ending = command.wait(options.timeout, options.kill_after)
    if ending.failure == NOT_STARTED:
        say(str(ending.message))
    deadline = time.monotonic() + REPORT_SECONDS
    _, evidence = _ask(errors, deadline)
    size = growth.bytes() if output is None else _ask(output, deadline)[0]
    report.end(ending, size, evidence, deadline)
    return ending


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
