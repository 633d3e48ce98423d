"""Real programs that fork, exit, are killed and hang, as processes do; each with all warnings as errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitoring_client import MonitoringClient

Rows = Callable[..., list[tuple[Any, ...]]]

BEGIN = """
import atexit, multiprocessing, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from monitoring_client import MonitoringClient

def say(what, **options):
    assert monitor.record_error(None, "E", "low", what, "c", **options)

def wait_for(child):
    assert os.waitpid(child, 0)[1] == 0

@atexit.register  # called after the client's
def tell_how_long_the_exit_took():
    if "leaving" in globals():
        print(time.monotonic() - leaving)
"""
CLIENT = "monitor = MonitoringClient()\n"


class Ended(NamedTuple):
    code: int
    errors: str
    output: str


Run = Callable[..., Ended]


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    """Run a program to its end. It finds the test's database, unless another one is given, and a spool."""

    def run_program(program: str, dsn: str = database_url, begin: str = BEGIN + CLIENT) -> Ended:
        path = tmp_path / "program.py"
        path.write_text(begin + program)
        ran = subprocess.run(
            [sys.executable, "-W", "error", path],
            cwd=tmp_path,
            env={**os.environ, "AUTOMON_DSN": dsn, "AUTOMON_SPOOL": str(tmp_path / "spools")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(ran.returncode, ran.stderr, ran.stdout)

    return run_program


@pytest.fixture
def said(rows: Rows) -> Callable[[], list[str]]:
    def ask() -> list[str]:
        return [row[0] for row in rows("SELECT error_message FROM error_tracking ORDER BY occurred_at")]

    return ask


Said = Callable[[], list[str]]


def assert_fine(ended: Ended) -> None:
    assert (ended.code, ended.errors) == (0, "")


def test_a_client_that_is_made_before_a_fork_is_good_in_all_children(run: Run, said: Said) -> None:
    assert_fine(
        run("""
children = [os.fork() for _ in range(2)]  # three children: the first forks too
say("process")
if 0 not in children:
    for child in children:
        wait_for(child)
elif children[1]:
    wait_for(children[1])
""")
    )

    assert said() == ["process"] * 4


def test_what_was_recorded_just_before_a_fork_is_the_parents_to_deliver(run: Run, said: Said) -> None:
    assert_fine(
        run("""
for number in range(5):
    say(f"before {number}")
    child = os.fork()
    if child == 0:
        say(f"child {number}")
        sys.exit(0)
    wait_for(child)
say("after")
""")
    )

    assert said() == [f"{who} {number}" for number in range(5) for who in ("before", "child")] + ["after"]


def test_a_thread_may_fork(run: Run, said: Said) -> None:
    assert_fine(
        run("""
say("parent")

def fork():
    child = os.fork()
    if child == 0:
        say("child")
        os._exit(0 if monitor.flush() else 1)
    wait_for(child)

monitor.flush()
sys.modules["warnings"].simplefilter("ignore", DeprecationWarning)  # of the fork beside this very thread
thread = threading.Thread(target=fork)
thread.start()
thread.join()
""")
    )

    assert said() == ["parent", "child"]


def test_threads_may_fork_at_the_same_moment_while_others_record(run: Run, said: Said) -> None:
    assert_fine(
        run("""
sys.modules["warnings"].simplefilter("ignore", DeprecationWarning)
over = threading.Event()

def record():
    while not over.is_set():
        monitor.record_performance_metric("m", "gauge", 1)
        time.sleep(0.001)

def fork(number):
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0)
        wait_for(child)
    say(f"forked {number}")

recording = threading.Thread(target=record)
recording.start()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(fork, range(4)))
over.set()
recording.join()
assert monitor.flush()
""")
    )

    assert sorted(said()) == [f"forked {number}" for number in range(4)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_deliver_before_they_end(run: Run, said: Said, method: str) -> None:
    assert_fine(
        run(f"""
if __name__ == "__main__":
    say("parent")
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        pool.map(say, ["job"] * 4)
        pool.close()
        pool.join()
""")
    )

    assert sorted(said()) == ["job"] * 4 + ["parent"]


def test_after_a_flush_a_process_may_vanish(run: Run, said: Said) -> None:
    assert_fine(run('say("fact"); os._exit(0 if monitor.flush() else 1)'))

    assert said() == ["fact"]


def test_what_was_durable_survives_a_kill_and_is_delivered_by_the_next_process(run: Run, said: Said) -> None:
    killed = run(
        """
say("durable", durable=True)
say("buffered")
os.kill(os.getpid(), signal.SIGKILL)
""",
        begin=BEGIN + 'monitor = MonitoringClient("postgresql:///x?host=/nowhere", spool="spool.sqlite3")\n',
    )
    assert killed.code == -signal.SIGKILL
    assert_fine(
        run(
            'say("next"); sys.exit(0 if monitor.flush() else 1)',
            begin=BEGIN + 'monitor = MonitoringClient(spool="spool.sqlite3")\n',
        )
    )

    assert said() == ["durable", "next"]


def test_a_handler_of_sigterm_that_exits_delivers_what_there_is(run: Run, said: Said) -> None:
    assert_fine(
        run("""
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
say("fact")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
""")
    )

    assert said() == ["fact"]


def test_sigterm_ends_a_program_as_ever_after_what_was_recorded_has_been_delivered(run: Run, said: Said) -> None:
    ended = run("""
assert monitor.flush_on_sigterm()
say("fact")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
""")

    assert (ended.code, ended.errors) == (-signal.SIGTERM, "")
    assert said() == ["fact"]


def test_sigterm_keeps_facts_on_disk_and_goes_on_to_the_handler_that_was_there(run: Run, tmp_path: Path) -> None:
    ended = run(
        """
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
assert monitor.flush_on_sigterm(timeout=0.1)
say("fact")
os.kill(os.getpid(), signal.SIGTERM)
sys.stdout.flush()
os._exit(0)
""",
        "postgresql://app@127.0.0.1:1/work",
    )

    assert (ended.code, ended.output) == (0, "handled\n")
    assert spooled(tmp_path) == 1


def test_outside_of_the_main_thread_sigterm_stays_as_it_is(tmp_path: Path) -> None:
    with (
        MonitoringClient("postgresql:///x?host=/nowhere", spool=tmp_path / "spool") as monitor,
        ThreadPoolExecutor(1) as pool,
    ):
        assert not pool.submit(monitor.flush_on_sigterm).result()


EXITING = 'say("waits"); time.sleep(0.2); leaving = time.monotonic(); sys.exit(0)'


def spooled(folder: Path) -> int:
    import sqlite3
    from contextlib import closing

    [spool] = folder.glob("spools/*.sqlite3")
    with closing(sqlite3.connect(spool)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM facts")
    return int(count)


def test_a_dead_database_does_not_hold_up_an_exit(run: Run, tmp_path: Path) -> None:
    ended = run(EXITING, "postgresql://app@127.0.0.1:1/work")

    assert ended.code == 0
    assert float(ended.output) < 2
    assert spooled(tmp_path) == 1


def test_a_hanging_database_holds_up_an_exit_for_two_seconds(run: Run, tmp_path: Path, deaf_dsn: str) -> None:
    ended = run(EXITING, deaf_dsn)

    assert_fine(ended)
    assert 1.5 < float(ended.output) < 4
    assert spooled(tmp_path) == 1


def test_what_cannot_be_called_off_holds_up_an_exit_for_three_seconds(run: Run) -> None:
    ended = run(
        EXITING,
        begin=BEGIN + "monitor = MonitoringClient(lambda: time.sleep(60), spool='spool')\n",
    )

    assert_fine(ended)
    assert float(ended.output) < 4.5


def test_daemon_threads_may_go_on_recording_while_the_interpreter_ends(run: Run) -> None:
    assert_fine(
        run("""
def record():
    while True:
        monitor.record_performance_metric("m", "gauge", 1)
        time.sleep(0.0001)

for _ in range(2):
    threading.Thread(target=record, daemon=True).start()
say("fact")
monitor.flush(0.2)
""")
    )


def test_exit_handlers_may_report_whenever_they_were_registered(run: Run, said: Said) -> None:
    assert_fine(
        run(
            """
monitor = MonitoringClient()
atexit.register(say, "earlier")
""",
            begin=BEGIN + 'atexit.register(say, "last, 2")\natexit.register(say, "last, 1")\n',
        )
    )
    # Where an interpreter that ends lets nobody start a thread, they wait on disk.
    assert_fine(run('say("next"); assert monitor.flush()'))
    assert said() == ["earlier", "last, 1", "last, 2", "next"]
