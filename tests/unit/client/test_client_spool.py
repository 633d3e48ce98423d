"""Facts on disk: in their order, within a limit, whatever happens to the file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitoring_client.errors import FullError
from monitoring_client.rows import Row
from monitoring_client.spool import Spool, SpoolError


def row(body: str) -> Row:
    return Row(0, "metric", "", at_is_ours=True, body=body)


def bodies(spool: Spool) -> list[str]:
    return [one.body for one in spool.oldest(100_000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "spool.sqlite3"


def test_rows_come_back_in_their_order_and_as_they_were(path: Path) -> None:
    spool = Spool(path)
    given = [Row(0, "start", "run \N{SNOWMAN}", at_is_ours=True, body='{"a":"ä"}'), row("2"), row("3")]
    spool.append(given)

    assert [one._replace(number=0) for one in spool.oldest(2)] == given[:2]
    spool.remove(spool.oldest(2))
    assert bodies(spool) == ["3"]


def test_only_the_owner_may_read_it(path: Path) -> None:
    spool = Spool(path)
    spool.append([row("1")])

    assert [stat.S_IMODE(found.stat().st_mode) & 0o077 for found in (path.parent, *path.parent.iterdir())] == [0] * 4


def test_looking_for_facts_makes_no_file(path: Path) -> None:
    assert not Spool(path).holds_any()
    assert not path.exists()


def test_a_process_knows_whether_something_of_its_own_waits(path: Path) -> None:
    mine, other = Spool(path), Spool(path)
    other.append([row("other's")])
    assert not mine.holds_ours()

    mine.append([row("mine")])
    other.append([row("other's, later")])
    assert mine.holds_ours()

    mine.remove(mine.oldest(2))
    assert not mine.holds_ours()
    assert mine.holds_any()


def test_what_does_not_fit_is_refused_whole_and_room_that_was_made_is_used(path: Path) -> None:
    spool = Spool(path, most_bytes=256 * 1024)

    def fill() -> None:
        for _ in range(100):
            spool.append([row("x" * 5000)] * 4)

    with pytest.raises(FullError):
        fill()
    kept = spool.oldest(1000)
    assert len(kept) % 4 == 0
    assert 100 * 1024 < len(kept) * 5000 < 256 * 1024

    spool.remove(kept[:20])
    spool.append([row("fits")])
    assert len(spool.oldest(1000)) == len(kept) - 19


def test_one_process_leads_at_a_time(path: Path) -> None:
    first, second = Spool(path), Spool(path)
    first.append([row("1")])

    assert first.lead()
    assert not second.lead()
    first.give_up_lead()
    assert second.lead()
    second.give_up_lead()


def test_a_lock_file_that_is_not_ours_to_open_is_told_as_a_spool_that_cannot_be_used(path: Path) -> None:
    spool = Spool(path)
    spool.append([row("1")])
    path.with_suffix(".lock").mkdir()

    with pytest.raises(SpoolError, match="cannot use"):
        spool.lead()


APPEND = """
import sys
from pathlib import Path
from monitoring_client.rows import Row
from monitoring_client.spool import Spool
spool = Spool(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(20):
    spool.append([Row(0, "metric", "", True, f"{sys.argv[2]} {number}")])
"""


def test_processes_that_make_the_file_at_the_same_moment_lose_nothing(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, path, str(number)], stdin=subprocess.PIPE)
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write(b"go\n")
        writer.stdin.close()

    assert [writer.wait(60) for writer in writers] == [0] * 4
    found = bodies(Spool(path))
    assert [[body for body in found if body.startswith(f"{writer} ")] for writer in range(4)] == [
        [f"{writer} {number}" for number in range(20)] for writer in range(4)
    ]


def test_threads_share_it(path: Path) -> None:
    spool = Spool(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: spool.append([row(str(number))]), range(40)))

    assert sorted(map(int, bodies(spool))) == list(range(40))


def test_opening_it_twice_in_a_process_leaves_the_locks_of_the_first_in_place(path: Path) -> None:
    first, second = Spool(path), Spool(path)
    first.append([row("1")])
    second.append([row("2")])

    # Only a process that is alone with the file may do this.
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode = DELETE')"
    other = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)

    assert "database is locked" in other.stderr


def damage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def delete(path: Path) -> None:
    for found in path.parent.iterdir():
        found.unlink()


def replace(path: Path) -> None:
    delete(path)
    Spool(path).append([row("of the other file")])


@pytest.mark.parametrize(
    ("happens", "then"),
    [(delete, ["new"]), (replace, ["of the other file", "new"])],
    ids=["deleted", "replaced"],
)
def test_a_file_that_is_taken_away_is_not_written_to_any_more(
    path: Path, happens: Callable[[Path], None], then: list[str]
) -> None:
    spool = Spool(path)
    spool.append([row("old")])
    happens(path)

    assert not spool.holds_ours()
    spool.append([row("new")])
    assert bodies(Spool(path)) == then


def test_rows_of_a_file_that_was_replaced_do_not_remove_those_of_the_new_one(path: Path) -> None:
    spool = Spool(path)
    spool.append([row("old")])
    read = spool.oldest(10)
    replace(path)

    spool.remove(read)

    assert bodies(spool) == ["of the other file"]


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path: Path) -> None:
    path.parent.mkdir()
    damage(path)
    spool = Spool(path)

    with pytest.raises(SpoolError, match="damaged"):
        spool.append([row("1")])
    spool.append([row("2")])

    assert bodies(spool) == ["2"]
    assert path.read_bytes().startswith(b"no database")


def test_a_file_that_another_process_has_set_aside_already_is_left_alone(path: Path) -> None:
    first, second = Spool(path), Spool(path)
    second.append([row("0")])
    delete(path)
    damage(path)
    with pytest.raises(SpoolError):
        first.append([row("1")])
    first.append([row("1")])

    second.append([row("2")])

    assert bodies(first) == ["1", "2"]


def test_a_file_that_is_locked_for_too_long_is_told_and_not_set_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring_client.spool.BUSY_SECONDS", 0.1)
    spool = Spool(path)
    spool.append([row("1")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolError, match="locked"):
            spool.append([row("2")])
        other.execute("ROLLBACK")

    spool.append([row("3")])
    assert bodies(spool) == ["1", "3"]


@pytest.mark.parametrize("place", ["a file as folder", "/proc/nowhere", "another program's table"])
def test_a_place_that_cannot_be_used_is_told(tmp_path: Path, place: str) -> None:
    path = tmp_path / "file" / "spool"
    if place.startswith("/"):
        path = Path(place, "spool")
    elif "table" in place:
        path = tmp_path / "other.sqlite3"
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE facts (x)")
    else:
        path.parent.write_text("")

    with pytest.raises(SpoolError, match="cannot use"):
        Spool(path).append([row("1")])


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_a_folder_that_may_not_be_looked_into_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "closed" / "folder" / "spool"
    path.parent.mkdir(parents=True)
    path.touch()
    program = f"import os; from pathlib import Path; from monitoring_client.spool import Spool; os.setuid(65534); assert not Spool(Path({str(path)!r})).holds_any()"
    path.parent.parent.chmod(0o700)

    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_path_that_cannot_be_told_yet_is_asked_for_again() -> None:
    answers: list[Any] = [OSError("the vault is closed")]

    def find() -> Path:
        raise answers.pop()

    spool = Spool(find)
    with pytest.raises(SpoolError, match="the vault is closed"):
        spool.holds_any()
    assert not answers
