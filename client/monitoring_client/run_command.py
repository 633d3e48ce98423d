"""A command in a process of its own: its start, the signals on the way to it, its end."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import time
from typing import NamedTuple, NoReturn

from monitoring_client.run_output import STDERR, STDOUT, Copier

NOT_STARTED = "not_started"
TIMED_OUT, NOT_EXECUTABLE, NOT_FOUND = 124, 126, 127
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON = (*STOPPING, signal.SIGUSR1, signal.SIGUSR2)
Mask = set["int | signal.Signals"]
WATCHED = (*PASSED_ON, signal.SIGCHLD)
# Python ignores these in itself, which a command would inherit.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Ending(NamedTuple):
    """How a command ended. `failure` is the type of the error, None when there was none; `signal` what it died of."""

    exit_code: int
    status: str
    message: str | None = None
    failure: str | None = None
    signal: int | None = None
    seconds: float | None = None


def leave(ending: Ending) -> NoReturn:
    """End this process as the command ended. No clean-up that waits for a database may come between."""
    if ending.signal is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the dump that tells something is that of the command
        if ending.signal not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(ending.signal, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {ending.signal})
        os.kill(os.getpid(), ending.signal)
    os._exit(ending.exit_code)


class Command:
    """A command that was started, if it could be. It gets the environment, the mask of signals, and copiers to write to."""

    def __init__(
        self, words: list[str], environment: dict[str, str], mask: Mask, errors: Copier | None, output: Copier | None
    ) -> None:
        self._pid = 0
        self._refusal: Ending | None = None
        self._asked_to_stop: set[int] = set()
        self._began = time.monotonic()
        copiers = [(copier, target) for copier, target in ((errors, STDERR), (output, STDOUT)) if copier is not None]
        redirections = [(os.POSIX_SPAWN_DUP2, copier.inlet, target) for copier, target in copiers]
        try:
            self._pid = _spawn(words, environment, mask, redirections)
        except OSError as error:
            self._refusal = _refused(words[0], error)
        for copier, _ in copiers:
            os.close(copier.inlet)  # the command's is the only one now, so that its end can be seen

    def wait(self, timeout: float | None, kill_after: float) -> Ending:
        """Pass signals on until the command has ended. It gets SIGTERM after `timeout` seconds, and SIGKILL so much later."""
        if self._refusal is not None:
            return self._refusal
        limits = [] if timeout is None else [(signal.SIGTERM, timeout), (signal.SIGKILL, timeout + kill_after)]
        timed_out = False
        while True:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            spent = time.monotonic() - self._began
            if ended:
                break
            if limits and limits[0][1] <= spent:
                timed_out = True
                self._send(limits.pop(0)[0])
                self._send(signal.SIGCONT)  # one that is stopped could not end
            elif limits:
                self._pass_on(signal.sigtimedwait(WATCHED, limits[0][1] - spent))
            else:
                self._pass_on(signal.sigwaitinfo(WATCHED))
        ending = _timed_out(timeout) if timed_out else self._ended(os.waitstatus_to_exitcode(status))
        return ending._replace(seconds=spent)

    def _send(self, number: int) -> None:
        with contextlib.suppress(PermissionError):  # it became another user, as sudo does
            os.kill(self._pid, number)

    def _pass_on(self, received: signal.struct_siginfo | None) -> None:
        if received is None or received.si_signo not in PASSED_ON:
            return
        self._asked_to_stop.add(received.si_signo)
        # A positive code is the kernel's: Ctrl-C and the like, which the terminal sends to the command as well.
        if received.si_code <= 0:
            self._send(received.si_signo)

    def _ended(self, code: int) -> Ending:
        if code == 0:
            return Ending(0, "completed")
        number = -code if code < 0 else code - 128
        died_of = number if code < 0 else None
        if number in STOPPING and number in self._asked_to_stop:
            message = f"stopped by {_name(number)}"
            return Ending(128 + number, "cancelled", message, signal=died_of)
        if died_of is not None:
            return Ending(128 + died_of, "failed", f"killed by {_name(died_of)}", "signal", died_of)
        return Ending(code, "failed", f"exit code {code}", "exit_code")


def _timed_out(timeout: float | None) -> Ending:
    return Ending(TIMED_OUT, "failed", f"ended after its time limit of {timeout:g} s", "timeout")


def _spawn(words: list[str], environment: dict[str, str], mask: Mask, redirections: list[tuple[int, int, int]]) -> int:
    try:
        return _spawn_once(words, environment, mask, redirections)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without #!, which shells and execvp run by the shell.
        import shutil

        script = shutil.which(words[0]) or words[0]
        return _spawn_once(["/bin/sh", script, *words[1:]], environment, mask, redirections)


def _spawn_once(
    words: list[str], environment: dict[str, str], mask: Mask, redirections: list[tuple[int, int, int]]
) -> int:
    return os.posix_spawnp(
        words[0], words, environment, file_actions=redirections, setsigmask=mask, setsigdef=IGNORED_BY_PYTHON
    )


def _refused(name: str, error: OSError) -> Ending:
    code = NOT_FOUND if isinstance(error, (FileNotFoundError, NotADirectoryError)) else NOT_EXECUTABLE
    return Ending(code, "failed", f"{name}: {error.strerror}", NOT_STARTED, seconds=0.0)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has a number only
        return f"signal {number}"
