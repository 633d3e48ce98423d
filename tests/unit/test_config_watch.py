"""When an edited file is read: not before it has come to rest, and only when it is another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from automon.config import FileState
from scheduler.config_watch import LONG_REST_SECONDS, REST_SECONDS, ConfigWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "monitoring_config.json"
    path.write_text("{}", encoding="utf-8")
    return path


@pytest.fixture
def watch(file: Path) -> ConfigWatch:
    return ConfigWatch(file, FileState.of(file))


def test_a_file_that_stays_as_it_was_is_not_read(watch: ConfigWatch) -> None:
    assert not any(watch.has_come_to_rest(float(second)) for second in range(100))


def test_an_edit_is_read_when_it_has_been_left_alone(watch: ConfigWatch, file: Path) -> None:
    file.write_text("{ }", encoding="utf-8")

    assert not watch.has_come_to_rest(10.0)
    assert not watch.has_come_to_rest(10.0 + REST_SECONDS - 0.1)
    assert watch.has_come_to_rest(10.0 + REST_SECONDS)


def test_a_file_that_is_written_on_and_on_is_not_read(watch: ConfigWatch, file: Path) -> None:
    for second in range(20):
        file.write_text("{" + " " * second, encoding="utf-8")
        assert not watch.has_come_to_rest(float(second))


@pytest.mark.parametrize("leave", [Path.unlink, lambda file: file.write_bytes(b"")], ids=["gone", "empty"])
def test_a_file_that_is_gone_or_empty_gets_a_while_to_be_written(watch: ConfigWatch, file: Path, leave: object) -> None:
    assert callable(leave)
    leave(file)

    assert not watch.has_come_to_rest(10.0)
    assert not watch.has_come_to_rest(10.0 + LONG_REST_SECONDS - 0.1)
    assert watch.has_come_to_rest(10.0 + LONG_REST_SECONDS)


def test_what_was_judged_is_not_read_again(watch: ConfigWatch, file: Path) -> None:
    file.write_text("{ wrong", encoding="utf-8")
    watch.note_judged(watch.look())

    assert not any(watch.has_come_to_rest(float(second)) for second in range(20))


def test_a_file_that_is_put_back_before_it_was_judged_is_not_read(watch: ConfigWatch, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("monitoring_config.json")
    watch = ConfigWatch(link, FileState.of(link))
    (tmp_path / "other").write_text("{ }", encoding="utf-8")
    turn(link, "other")
    assert not watch.has_come_to_rest(1.0)
    turn(link, "monitoring_config.json")

    assert not any(watch.has_come_to_rest(float(second)) for second in range(2, 20))


def turn(link: Path, target: str) -> None:
    link.with_suffix(".new").symlink_to(target)
    link.with_suffix(".new").replace(link)


def test_an_edit_that_keeps_size_and_time_is_seen(watch: ConfigWatch, file: Path) -> None:
    before = file.stat()
    file.write_text("[]", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert not watch.has_come_to_rest(10.0)
    assert watch.has_come_to_rest(11.0)


def test_a_path_that_leads_nowhere_is_like_a_file_that_is_gone(tmp_path: Path) -> None:
    assert FileState.of(tmp_path / "no" / "file") is None
    assert FileState.of(tmp_path / ("x" * 300)) is None
    assert FileState.of(Path("a\0b")) is None
