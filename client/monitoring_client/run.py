"""`automon-run --task NAME -- COMMAND ARGUMENT…`: runs a command as it would run alone, and reports it as a task.

Whatever happens to automon, the command runs, what it reads and writes passes through, and its exit code is answered.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from monitoring_client.run_options import read_arguments, say


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name, and end as it ended."""
    options, command = read_arguments(sys.argv[1:] if arguments is None else arguments)
    if not hasattr(signal, "sigtimedwait"):  # macOS, Windows
        say("nothing is reported: that needs Linux, or another system with sigtimedwait", quiet=options.quiet)
        os.execvp(command[0], command)  # noqa: S606 - to run a command is what this is for
    from monitoring_client.run_command import leave
    from monitoring_client.run_task import run

    leave(run(options, command))


if __name__ == "__main__":
    main()
