"""`automon top` on a terminal of its own: what it shows, what its keys do, and that it leaves the terminal as it was."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.calls import channel
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, clean_environment, make_config, run_automon, write_config
from tests.support.sessions import connect
from tests.support.terminal import TerminalProcess
from tests.support.waiting import wait_until

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?25h\x1b[?1049l"
Start = Callable[..., TerminalProcess]


@pytest.fixture
def look(database_url: str) -> Iterator[Look]:
    with connect(database_url) as link:
        found = Look(link)
        found.configure(channels=[channel("ops", recipients=["webhook"])])
        for number in range(3):
            found.raise_alert(640 - number, f"queue-{number}")
        found("finish_job_run", found("begin_job_run", "alert_checks", "test:1"), "succeeded")
        yield found


@pytest.fixture
def start(tmp_path: Path, database_url: str) -> Iterator[Start]:
    """Start `automon top` on a terminal, and end it with the test."""
    write_config(tmp_path, make_config())
    started: list[TerminalProcess] = []

    def top(*arguments: str, url: str = database_url, shell: str = "") -> TerminalProcess:
        command = [sys.executable, "-m", "automon", "top", "--by", "ana", "--every", "0.3", *arguments]
        if shell:
            command = ["bash", "-mc", shell.format(command=shlex.join(command))]
        process = TerminalProcess(command, tmp_path, clean_environment({"DATABASE_URL": url}))
        started.append(process)
        return process

    yield top
    for process in started:
        process.__exit__()


@contextmanager
def left_as_it_was(terminal: TerminalProcess) -> Iterator[None]:
    """Check that what happens within ends the program and gives the terminal back."""
    terminal.wait_for("ALERTS")
    assert terminal.written.startswith(ENTER)
    assert terminal.modes != terminal.modes_before
    yield
    terminal.wait()
    assert terminal.modes == terminal.modes_before
    wait_until(lambda: terminal.written.rstrip().endswith(LEAVE), what="the old screen")
    assert "Traceback" not in terminal.written


def test_it_shows_the_status_and_goes_on_showing_what_changes(look: Look, start: Start) -> None:
    terminal = start()

    lines = terminal.wait_for("PROBLEMS   3 critical")
    assert len(lines) == 24
    assert any(line.startswith("✗>#1 queue-0  640 waiting") for line in lines)
    look.raise_alert(650, "queue-new")
    terminal.wait_for("PROBLEMS   4 critical")
    assert re.search(r"\x1b\[31m", terminal.written)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        pytest.param(lambda terminal: terminal.press("q"), 0, id="q"),
        pytest.param(lambda terminal: terminal.press("\x03"), 0, id="Ctrl-C"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM, id="SIGTERM"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP, id="SIGHUP"),
    ],
)
def test_however_it_ends_the_terminal_is_as_it_was(
    end: Callable[[TerminalProcess], None], code: int, look: Look, start: Start
) -> None:
    terminal = start()

    with left_as_it_was(terminal):
        end(terminal)

    assert terminal.process.returncode == code


def test_an_error_that_nobody_expected_is_shown_on_the_old_screen(look: Look, start: Start) -> None:
    terminal = start()
    terminal.wait_for("ALERTS")

    look.ask("DROP FUNCTION public.get_dashboard_summary")

    assert terminal.wait() == 1
    assert terminal.modes == terminal.modes_before
    wait_until(lambda: "get_dashboard_summary" in terminal.written.rpartition(LEAVE)[2], what="the reason")


def test_it_is_suspended_and_gone_on_with(look: Look, start: Start) -> None:
    # As from a shell: it stops, the shell has the terminal and reads a line, and brings it back.
    terminal = start(shell="{command}; read -r line; fg >/dev/null; exit $?")
    terminal.wait_for("ALERTS")

    terminal.press("\x1a")
    wait_until(lambda: terminal.written.rpartition(ENTER)[2].count(LEAVE) == 1, what="the shell's screen")
    wait_until(lambda: terminal.modes == terminal.modes_before, what="the shell's terminal")
    terminal.press("\n")

    wait_until(lambda: terminal.written.count(ENTER) == 2, what="the screen again")
    terminal.wait_for("ALERTS")
    with left_as_it_was(terminal):
        terminal.press("q")
    assert terminal.process.returncode == 0


def test_it_follows_the_size_of_the_terminal(look: Look, start: Start) -> None:
    terminal = start()
    terminal.wait_for("ALERTS")

    terminal.resize(100, 40)
    wait_until(lambda: len(terminal.screen) == 40, what="40 lines")
    terminal.resize(60, 12)
    wait_until(lambda: len(terminal.screen) == 12 and max(map(len, terminal.screen)) <= 60, what="12 lines of 60")
    terminal.resize(20, 5)
    terminal.wait_for("too small")


def test_an_alert_is_explained_acknowledged_and_its_source_silenced(look: Look, start: Start) -> None:
    terminal = start("--every", "3600")
    terminal.wait_for("ALERTS")

    terminal.press("1\x1b[B\r")
    terminal.wait_for("Why it fired")
    terminal.press("x")
    terminal.wait_for("✗>#2 queue-1")
    terminal.press("y")
    terminal.wait_for("copied: automon explain 2")
    # base64 of "automon explain 2", for the clipboard
    assert "\x1b]52;c;YXV0b21vbiBleHBsYWluIDI=\x07" in terminal.written

    terminal.press("a")
    terminal.wait_for("Acknowledge #2 queue-1 as ana? y/N")
    terminal.press("n")
    terminal.wait_for("nothing was changed")
    terminal.press("ay")
    terminal.wait_for("acked #2; undo: automon unack 2")
    terminal.wait_for("s  acked")
    terminal.press("s\rdeploying\r")
    terminal.wait_for("Silence queue-1 for 2 h? (would have hidden ")
    terminal.press("y")
    terminal.wait_for("silenced queue-1 for 2 h; undo: automon unsilence 1")

    assert look.ask("SELECT source, acknowledged_by FROM public.alerts WHERE acknowledged_at IS NOT NULL") == [
        {"source": "queue-1", "acknowledged_by": "ana"}
    ]
    assert look.ask("SELECT source, reason, created_by FROM public.alert_silences") == [
        {"source": "queue-1", "reason": "deploying", "created_by": "ana"}
    ]


def test_while_the_database_is_away_it_says_so_and_goes_on(own_postgres: PostgresUnderTest, start: Start) -> None:
    with connect(own_postgres.url) as link:
        look = Look(link)
        look.raise_alert(640, "mail")
        look("finish_job_run", look("begin_job_run", "alert_checks", "test:1"), "succeeded")
    terminal = start(url=own_postgres.url)
    terminal.wait_for("mail  640 waiting")

    own_postgres.kill()
    lines = terminal.wait_for("the database does not answer")
    assert any("mail  640 waiting" in line for line in lines)
    terminal.press("2")
    terminal.wait_for("TASKS, last 24h")
    own_postgres.start()

    terminal.press("1")
    wait_until(
        lambda: "the database does not answer" not in "\n".join(terminal.screen), seconds=40, what="the database"
    )
    with left_as_it_was(terminal):
        terminal.press("q")


def test_where_there_is_no_terminal_the_other_way_is_named(tmp_path: Path, database_url: str) -> None:
    write_config(tmp_path, make_config())

    done = run_automon(tmp_path, "top", environment={"DATABASE_URL": database_url, "TERM": "xterm"})

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        "automon: top draws on a terminal, and this is none",
        "  Use: automon status --watch 2",
    ]


def test_status_is_drawn_anew_while_it_is_watched(look: Look, tmp_path: Path, database_url: str) -> None:
    write_config(tmp_path, make_config())
    command = [sys.executable, "-m", "automon", "status", "--watch", "0.3"]
    with TerminalProcess(command, tmp_path, clean_environment({"DATABASE_URL": database_url})) as terminal:
        wait_until(lambda: "PROBLEMS\x1b[0m   3 critical" in terminal.written, seconds=20, what="the status")
        look.raise_alert(650, "queue-new")
        wait_until(lambda: "PROBLEMS\x1b[0m   4 critical" in terminal.written, seconds=20, what="a newer status")
        terminal.press("\x03")
        assert terminal.wait() == 0
