"""Stops all threads of a process but its first, as if each hung, for as long as this program runs: PID as argument.

The first goes on, which a stop by signal would not let it. A thread is stopped only where it waits in the kernel: there
it does not hold Python's lock, for which the first would wait in vain. Needs root; tests run it beside a service.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

PTRACE_CONT = 7
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000  # wait for threads, too

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request: int, thread: int) -> None:
    if libc.ptrace(request, thread, None, None) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {thread}")


def stop(pid: int, thread: int) -> None:
    ptrace(PTRACE_SEIZE, thread)
    while True:
        ptrace(PTRACE_INTERRUPT, thread)
        os.waitpid(thread, WALL)
        call = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()[0]
        if call != "-1":
            return
        ptrace(PTRACE_CONT, thread)
        time.sleep(0.01)


def main() -> None:
    pid = int(sys.argv[1])
    for thread in sorted(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()):
        if thread != pid:
            stop(pid, thread)
    # A thread that is killed stays until the one who stopped it has heard of its end, and its process with it.
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, WALL)


if __name__ == "__main__":
    main()
