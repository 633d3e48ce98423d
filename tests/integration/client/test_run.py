"""automon-run with real commands: they run as they would alone, and automon hears of them."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import monitoring_client

Rows = Callable[..., list[tuple[Any, ...]]]
Until = Callable[[Callable[[], object]], None]
CLIENT = Path(monitoring_client.__file__).parents[1]
# What cron gives a job, and where the client is.
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh", "LOGNAME": "root", "PYTHONPATH": str(CLIENT)}
RUN = [sys.executable, "-m", "monitoring_client.run"]
MEGABYTE = random.Random(7).randbytes(1_000_000)
# Tells with which numbers it was signalled; SIGUSR2 is the last.
EAR = r"""
import os, signal, sys
def hear(number, frame):
    os.write(1, signal.Signals(number).name.encode() + b"\n")
    if number == signal.SIGUSR2:
        sys.exit(9)
for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(signal.Signals["SIG" + name], hear)
print("ready", flush=True)
while True:
    signal.pause()
"""

Ran = subprocess.CompletedProcess[bytes]
Run = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[bytes]"]


def arguments(*command: str, options: tuple[str, ...]) -> list[str]:
    return [*RUN, "--task", "nightly", *options, "--", *command]


@pytest.fixture
def spool() -> Iterator[Path]:
    """The folder where facts wait while the database is away; in memory if there is room, for each fact is synced."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder, "spool")


@pytest.fixture
def start(database_url: str, spool: Path) -> Iterator[Start]:
    """Start automon-run with a command and leave it running; what still runs at the end is killed, the command as well."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*command: str, options: tuple[str, ...] = (), dsn: str | None = None, **how: Any) -> Any:
        environment = {**BARE, "AUTOMON_SPOOL": str(spool), "AUTOMON_DSN": database_url if dsn is None else dsn}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = arguments(*command, options=options)
        started.append(subprocess.Popen(words, env=environment, start_new_session=True, **{**pipes, **how}))
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """Run automon-run with a command to its end."""

    def to_the_end(*command: str, given: bytes | None = None, **how: Any) -> Ran:
        process = start(*command, **how)
        out, err = process.communicate(given, timeout=30)
        return Ran(command, process.returncode, out, err)

    return to_the_end


@pytest.fixture
def closed_dsn() -> Iterator[str]:
    """A port that refuses: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"postgresql://app:s3cr3t-pw@127.0.0.1:{reserved.getsockname()[1]}/work"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe with a name: who reads it waits until somebody writes to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def read_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


# Exit codes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "status"),
    [
        (["true"], 0, "completed"),
        (["sh", "-c", "exit 3"], 3, "failed"),
        (["sh", "-c", "exit 255"], 255, "failed"),
        (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL, "failed"),
        (["sh", "-c", "kill -SEGV $$"], -signal.SIGSEGV, "failed"),
        (["/no/such/command"], 127, "failed"),
        (["no-such-command"], 127, "failed"),
        (["/etc"], 126, "failed"),
    ],
    ids=["none", "3", "255", "SIGKILL", "SIGSEGV", "no such path", "not in the PATH", "not executable"],
)
def test_it_ends_as_the_command_ended_and_says_so(
    command: list[str], code: int, status: str, run: Run, rows: Rows
) -> None:
    assert code == run(*command).returncode
    assert [("nightly", status)] == rows("SELECT task_type, status FROM processing_metrics")


@pytest.mark.parametrize("name", ["with its path", "by the PATH"])
def test_a_script_without_its_interpreters_name_is_run_by_the_shell(
    name: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "without-interpreter"
    script.write_text('echo "$1"; exit 4\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setitem(BARE, "PATH", f"{BARE['PATH']}:{tmp_path}")

    process = start(str(script) if name == "with its path" else script.name, "a b")

    assert (b"a b\n", b"") == process.communicate(timeout=30)
    assert 4 == process.returncode


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--", "true"], "--task"),
        (["--task", "t"], "no command is given"),
        (["--task", "t", "--"], "no command is given"),
        (["--task", "", "--", "true"], "1 to 512 bytes"),
        (["--task", "t", "true"], "unrecognized arguments: true"),
        (["--task", "t", "--severity", "bad", "--", "true"], "--severity"),
        (["--task", "t", "--timeout", "soon", "--", "true"], "seconds above 0, not soon"),
        (["--task", "t", "--timeout", "nan", "--", "true"], "seconds above 0, not nan"),
        (["--task", "t", "--tail", "-1", "--", "true"], "--tail"),
    ],
    ids=["no task", "no command", "nothing behind --", "empty task", "no --", "severity", "time", "nan", "tail"],
)
def test_a_mistake_in_its_own_arguments_runs_nothing_and_is_125(words: list[str], complaint: str) -> None:
    ran = subprocess.run([*RUN, *words], env=BARE, capture_output=True, text=True, check=False)

    assert (125, "") == (ran.returncode, ran.stdout)
    assert complaint in ran.stderr


def test_its_help_names_the_exit_codes_and_the_environment() -> None:
    ran = subprocess.run([*RUN, "--help"], env=BARE, capture_output=True, text=True, check=True)

    for word in ("124", "125", "126", "127", "AUTOMON_DSN", "AUTOMON_TASK_ID", "--kill-after"):
        assert word in ran.stdout


# What is recorded ---------------------------------------------------------------------------------------------------


def test_a_failure_is_recorded_with_its_evidence(run: Run, rows: Rows) -> None:
    script = "echo 'first line' >&2; echo 'the disk is full' >&2; exit 3"

    ran = run("sh", "-c", script, "secret", options=("--component", "backup", "--severity", "critical"))

    assert b"first line\nthe disk is full\n" == ran.stderr
    [(task_id, status, message)] = rows("SELECT task_id, status, error_message FROM processing_metrics")
    assert ("failed", "exit code 3: the disk is full") == (status, message)
    [error] = rows(
        "SELECT task_id, error_type, severity, component, error_message, stack_trace, context FROM error_tracking"
    )
    assert (task_id, "exit_code", "critical", "backup", "exit code 3: the disk is full") == error[:5]
    assert "first line\nthe disk is full\n" == error[5]
    assert {"program": "sh", "exit_code": 3} == {name: error[6][name] for name in ("program", "exit_code")}
    assert "secret" not in str(error)


def test_of_much_on_stderr_the_end_is_kept(run: Run, rows: Rows) -> None:
    run("sh", "-c", "seq 100000 >&2; exit 1", options=("--tail", "50"))

    [(evidence,)] = rows("SELECT stack_trace FROM error_tracking")
    assert 50 == len(evidence)
    assert evidence.endswith("99999\n100000\n")


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("kill -KILL $$", "signal", "killed by SIGKILL"),
        ("kill -TERM $$", "signal", "killed by SIGTERM"),
        ("exit 130", "exit_code", "exit code 130"),
    ],
)
def test_who_ends_by_a_signal_that_nobody_sent_to_automon_run_has_failed(
    script: str, kind: str, message: str, run: Run, rows: Rows
) -> None:
    run("sh", "-c", script)

    assert [(kind, message, "high")] == rows("SELECT error_type, error_message, severity FROM error_tracking")


def test_a_command_that_does_not_exist_is_recorded(run: Run, rows: Rows) -> None:
    ran = run("/no/such/command")

    assert b"automon-run: /no/such/command: No such file or directory\n" == ran.stderr
    assert [("not_started", "/no/such/command: No such file or directory")] == rows(
        "SELECT error_type, error_message FROM error_tracking"
    )


def test_the_command_knows_its_task(run: Run, rows: Rows) -> None:
    ran = run("sh", "-c", 'printf %s "$AUTOMON_TASK_ID"', options=("--worker", "night-1"))

    assert [(ran.stdout.decode(), "night-1")] == rows("SELECT task_id, worker_id FROM processing_metrics")


def test_how_long_the_command_took_is_recorded(run: Run, rows: Rows) -> None:
    began = time.monotonic()
    run("sleep", "0.1")

    [(seconds,)] = rows("SELECT (step_timings->>'command')::float FROM processing_metrics")
    assert 0.1 <= seconds <= time.monotonic() - began


# What the command reads and writes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--output-size",), ("--tail", "0")], ids=["plain", "counted", "untouched"])
def test_a_megabyte_passes_in_and_out_byte_for_byte(options: tuple[str, ...], run: Run) -> None:
    ran = run("sh", "-c", "tee /dev/stderr", given=MEGABYTE, options=options)

    assert ran.stdout == MEGABYTE
    assert ran.stderr == MEGABYTE


def test_the_size_of_the_output_is_counted_where_it_is_asked_for(run: Run, rows: Rows) -> None:
    run("head", "-c", "300000", "/dev/zero", options=("--output-size",))

    assert [(300_000,)] == rows("SELECT output_size FROM processing_metrics")


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_the_size_of_the_output_is_known_where_stdout_is_a_file(
    mode: str, run: Run, rows: Rows, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before")
    with log.open(mode) as stdout:
        run("echo", "four", stdout=stdout)

    assert [(5,)] == rows("SELECT output_size FROM processing_metrics")
    assert log.read_bytes() == (b"four\n" if mode == "wb" else b"beforefour\n")


def test_the_size_of_the_output_is_unknown_where_it_goes_into_a_pipe(run: Run, rows: Rows) -> None:
    run("echo", "four")

    assert [(None,)] == rows("SELECT output_size FROM processing_metrics")


@pytest.mark.parametrize("options", [(), ("--output-size",)], ids=["plain", "counted"])
def test_a_command_whose_reader_goes_away_ends_by_sigpipe(options: tuple[str, ...], start: Start) -> None:
    process = start("yes", options=options)
    assert "y" == read_line(process)
    assert process.stdout is not None
    process.stdout.close()

    assert -signal.SIGPIPE == process.wait(timeout=20)


@pytest.mark.parametrize("options", [(), ("--output-size",)], ids=["plain", "counted"])
def test_a_command_that_closes_its_output_ends_as_ever(options: tuple[str, ...], run: Run) -> None:
    ran = run("sh", "-c", "echo before; exec >&- 2>&-; sleep 0.05; exit 4", options=options)

    assert (4, b"before\n") == (ran.returncode, ran.stdout)


def test_closed_descriptors_stay_closed() -> None:
    closed = "cd /proc/$$/fd && test ! -e 0 && test ! -e 1 && test ! -e 2"
    script = f"{shlex.join(RUN)} --task t --output-size -- sh -c '{closed}' <&- >&- 2>&-; echo $?"
    ran = subprocess.run(["sh", "-c", script], env=BARE, capture_output=True, text=True, check=False)

    assert ("0\n", "") == (ran.stdout, ran.stderr)


def test_a_log_on_a_full_disk_does_not_end_the_command(run: Run, rows: Rows) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = run("sh", "-c", "echo first >&2; echo second >&2; exit 5", stderr=full)

    assert 5 == ran.returncode
    assert [("first\nsecond\n",)] == rows("SELECT stack_trace FROM error_tracking")


def test_files_that_were_open_stay_open_for_the_command(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as lock:
        ran = run("sh", "-c", f"echo held >/proc/self/fd/{lock.fileno()}", pass_fds=[lock.fileno()])

    assert 0 == ran.returncode
    assert (tmp_path / "lock").read_bytes() == b"held\n"


def test_something_left_in_the_background_holds_up_nobody_and_is_not_hurt(
    start: Start, until: Until, gate: Path, tmp_path: Path, rows: Rows
) -> None:
    late = tmp_path / "late"
    process = start("sh", "-c", f"(read go <{gate}; echo late >&2; echo late; echo fine >{late}) & exit 0")

    assert 0 == process.wait(timeout=20)
    assert [("completed",)] == rows("SELECT status FROM processing_metrics")
    gate.write_bytes(b"go\n")
    out, err = process.communicate(timeout=20)
    assert (b"late\n", b"late\n") == (out, err)
    assert late.read_bytes() == b"fine\n"


# Signals ------------------------------------------------------------------------------------------------------------


def test_signals_are_passed_on(start: Start) -> None:
    process = start(sys.executable, "-c", EAR)
    assert "ready" == read_line(process)

    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        process.send_signal(signal.Signals[name])
        assert name == read_line(process)
    assert 9 == process.wait(timeout=20)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_who_is_stopped_from_outside_is_cancelled_and_no_failure(name: str, start: Start, rows: Rows) -> None:
    process = start("sh", "-c", "echo ready; exec sleep 30")
    assert "ready" == read_line(process)

    process.send_signal(signal.Signals[name])

    assert -signal.Signals[name] == process.wait(timeout=20)
    assert [("cancelled", f"stopped by {name}")] == rows("SELECT status, error_message FROM processing_metrics")
    assert [] == rows("SELECT * FROM error_tracking")


def test_the_command_finds_its_signals_as_they_were(run: Run) -> None:
    look = ("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    alone = subprocess.run(look, stdout=subprocess.PIPE, env=BARE, check=True).stdout
    under = run(*look).stdout

    # Without two of glibc's own (32 and 33), which it ignores in what it spawns, and whose start-up code takes no notice.
    alone_masks, masks = ([int(mask, 16) & ~(3 << 31) for mask in text.split()[1::2]] for text in (alone, under))
    assert alone_masks == masks


@pytest.mark.parametrize("stubborn", [False, True], ids=["SIGTERM is enough", "SIGKILL is needed"])
def test_a_time_limit_ends_the_command(stubborn: bool, run: Run, rows: Rows) -> None:
    script = "trap '' TERM; while :; do sleep 0.05; done" if stubborn else "exec sleep 30"

    ran = run("sh", "-c", script, options=("--timeout", "0.3", "--kill-after", "0.2"))

    assert 124 == ran.returncode
    assert [("failed", "ended after its time limit of 0.3 s")] == rows(
        "SELECT status, error_message FROM processing_metrics"
    )
    assert [("timeout",)] == rows("SELECT error_type FROM error_tracking")


def test_when_automon_run_is_killed_the_command_goes_on_and_stays_visible(
    start: Start, rows: Rows, until: Until, gate: Path, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    process = start("sh", "-c", f"read go <{gate}; echo still here >&2; echo done >{done}", options=("--output-size",))
    until(lambda: rows("SELECT status FROM processing_metrics") == [("running",)])

    process.kill()
    assert -signal.SIGKILL == process.wait(timeout=20)
    gate.write_bytes(b"go\n")

    assert (b"", b"still here\n") == process.communicate(timeout=20)
    assert done.read_bytes() == b"done\n"
    assert [("nightly", "running")] == rows("SELECT task_type, status FROM processing_metrics")


# A terminal ---------------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal of its own, with automon-run in its foreground."""

    def __init__(self, *words: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*RUN, "--task", "t", "--quiet", *words], BARE)
        self._seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def read_until(self, text: str) -> None:
        """Read until the text is there, or fail at the end of the output, with all that was seen."""
        while text.encode() not in self._seen:
            data = self._read()
            assert data, self._seen
            self._seen += data

    def rest(self) -> str:
        while data := self._read():
            self._seen += data
        return self._seen.decode().replace("\r\n", "\n")

    def _read(self) -> bytes:
        with contextlib.suppress(OSError):  # what a terminal answers that nobody has open any more
            return os.read(self._master, 4096)
        return b""

    def close(self) -> int:
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_stays_a_terminal_and_stderr_too_where_no_evidence_is_wanted() -> None:
    ask = "import os, sys; print([os.isatty(number) for number in (0, 1, 2)])"

    usual = Terminal("--", sys.executable, "-c", ask)
    untouched = Terminal("--tail", "0", "--", sys.executable, "-c", ask)

    assert "[True, True, False]\n" == usual.rest()
    assert "[True, True, True]\n" == untouched.rest()
    assert (0, 0) == (usual.close(), untouched.close())


def test_ctrl_c_reaches_the_command_once() -> None:
    terminal = Terminal("--", sys.executable, "-c", EAR)
    terminal.read_until("ready")

    terminal.type(b"\x03")
    terminal.read_until("SIGINT")
    os.kill(terminal.pid, signal.SIGUSR2)  # whatever came before would have been passed on before

    assert ["ready", "SIGINT", "SIGUSR2"] == re.findall(r"ready|SIG\w+", terminal.rest())
    assert 9 == terminal.close()


# When automon is away -----------------------------------------------------------------------------------------------


def test_a_database_that_is_away_costs_one_line(run: Run, closed_dsn: str) -> None:
    ran = run("sh", "-c", "echo out; exit 3", dsn=closed_dsn)

    assert (3, b"out\n") == (ran.returncode, ran.stdout)
    assert re.fullmatch(rb"automon-run: reporting: facts wait in [^\n]*cannot connect[^\n]*\n", ran.stderr)
    assert b"s3cr3t-pw" not in ran.stderr


def test_what_could_not_be_reported_waits_for_the_next_run(run: Run, line: Any, rows: Rows) -> None:
    first = run("sh", "-c", "echo broken >&2; exit 3", dsn=line.dsn)
    assert [] == rows("SELECT FROM processing_metrics")
    line.open()
    second = run("true", dsn=line.dsn)

    assert (3, 0, b"") == (first.returncode, second.returncode, second.stderr)
    assert [("failed", "exit code 3: broken"), ("completed", None)] == rows(
        "SELECT status, error_message FROM processing_metrics ORDER BY start_time"
    )
    assert [("exit_code",)] == rows("SELECT error_type FROM error_tracking")


def test_without_a_place_on_disk_it_reports_to_the_database(run: Run, rows: Rows, spool: Path) -> None:
    spool.write_bytes(b"a file, where a folder should be")

    ran = run("sh", "-c", "exit 3")

    assert 3 == ran.returncode
    assert [("failed",)] == rows("SELECT status FROM processing_metrics")
    assert [("exit_code",)] == rows("SELECT error_type FROM error_tracking")


def test_without_disk_and_database_the_command_runs_all_the_same(run: Run, closed_dsn: str, spool: Path) -> None:
    spool.write_bytes(b"a file, where a folder should be")

    ran = run("sh", "-c", "echo out; exit 3", dsn=closed_dsn)

    assert (3, b"out\n", 1) == (ran.returncode, ran.stdout, ran.stderr.count(b"\n"))


@pytest.mark.parametrize("dsn", ["", "nonsense"], ids=["no DSN", "a broken DSN"])
def test_a_dsn_that_is_none_costs_one_line(dsn: str, run: Run) -> None:
    ran = run("true", dsn=dsn)

    assert (0, 1) == (ran.returncode, ran.stderr.count(b"\n"))


def test_without_a_dsn_nothing_is_kept_for_nobody(run: Run, spool: Path) -> None:
    assert b"automon-run: reporting: no database is named: set AUTOMON_DSN\n" == run("true", dsn="").stderr
    assert not spool.exists()


def test_switched_off_it_runs_the_command_and_says_nothing(spool: Path) -> None:
    environment = {**BARE, "AUTOMON_DISABLED": "1", "AUTOMON_SPOOL": str(spool)}
    command = arguments("sh", "-c", "echo out; exit 3", options=())
    ran = subprocess.run(command, env=environment, capture_output=True, check=False)

    assert (3, b"out\n", b"") == (ran.returncode, ran.stdout, ran.stderr)
    assert not spool.exists()


def test_quiet_says_nothing(run: Run, closed_dsn: str) -> None:
    assert b"" == run("true", dsn=closed_dsn, options=("--quiet",)).stderr


def test_a_database_that_hangs_holds_up_the_end_for_two_seconds_at_most(run: Run, deaf_dsn: str) -> None:
    began = time.monotonic()
    ran = run("sh", "-c", "exit 3", dsn=deaf_dsn)

    assert 3 == ran.returncode
    assert time.monotonic() - began < 5  # two, and the start of Python on a busy machine
    assert b"waits on disk\n" in ran.stderr
    assert 1 == ran.stderr.count(b"\n")


def test_a_task_in_a_task_knows_its_parent(run: Run, rows: Rows) -> None:
    ran = run(*RUN, "--task", "inner", "--", "sh", "-c", "exit 3")

    assert 3 == ran.returncode
    [(outer,)] = rows("SELECT task_id FROM processing_metrics WHERE task_type = 'nightly'")
    assert [(outer,)] == rows("SELECT parent_task_id FROM processing_metrics WHERE task_type = 'inner'")


def test_a_bare_environment_is_handed_on_as_it_is(run: Run, database_url: str, rows: Rows, spool: Path) -> None:
    ran = run("env")

    given = dict(line.split("=", 1) for line in ran.stdout.decode().splitlines())
    [(task_id,)] = rows("SELECT task_id FROM processing_metrics")
    ours = {"AUTOMON_DSN": database_url, "AUTOMON_SPOOL": str(spool), "AUTOMON_TASK_ID": task_id}
    assert {**BARE, **ours} == given
    assert b"" == ran.stderr
