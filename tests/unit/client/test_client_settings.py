"""What a client is told, and by whom first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from monitoring_client import MonitoringClient, settings

VARIABLES = ("DSN", "SCHEMA", "WORKER_ID", "DURABLE", "DISABLED", "SPOOL")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"AUTOMON_{name}", raising=False)


def read(**given: Any) -> settings.Settings:
    nothing = {"dsn": None, "schema": None, "worker_id": None, "durable": None, "enabled": None, "spool": None}
    return settings.read(**{**nothing, **given})


@pytest.mark.parametrize(
    ("what", "argument", "variable", "text", "from_environment", "default"),
    [
        ("dsn", "postgresql:///a", "DSN", "postgresql:///b", "postgresql:///b", ""),
        ("schema", "a", "SCHEMA", "b", "b", "public"),
        ("worker_id", "a", "WORKER_ID", "b", "b", None),
        ("durable", False, "DURABLE", "1", True, False),
        ("enabled", True, "DISABLED", "yes", False, True),
    ],
)
def test_an_argument_goes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    argument: object,
    variable: str,
    text: str,
    from_environment: object,
    default: object,
) -> None:
    assert getattr(read(), what) == default
    monkeypatch.setenv(f"AUTOMON_{variable}", "")
    assert getattr(read(), what) == default
    monkeypatch.setenv(f"AUTOMON_{variable}", text)
    assert getattr(read(), what) == from_environment
    assert getattr(read(**{what: argument}), what) == argument


@pytest.mark.parametrize("text", ["1", "true", "Yes", " ON "])
def test_a_switch_is_turned_on_by_any_usual_word(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AUTOMON_DURABLE", text)
    assert read().durable


@pytest.mark.parametrize("text", ["0", "false", "No", "off", "", "anything else"])
def test_everything_else_leaves_a_switch_off(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AUTOMON_DISABLED", text)
    assert read().enabled


def spool(**given: Any) -> Path:
    found = read(**{"dsn": "postgresql:///a", **given}).spool
    assert isinstance(found, Path)
    return found


def test_the_spool_is_a_file_of_the_users_state_a_folder_from_the_environment_or_the_argument(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert spool().parent == tmp_path / "automon"
    monkeypatch.setenv("AUTOMON_SPOOL", "yes")
    assert spool().parent == tmp_path / "automon"
    monkeypatch.setenv("AUTOMON_SPOOL", "/var/spool/automon")
    assert spool().parent == Path("/var/spool/automon")
    assert spool(spool="/elsewhere/file") == Path("/elsewhere/file")
    assert read(spool=False).spool is None


def test_no_spool_can_be_told_by_the_environment_and_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMON_SPOOL", "off")
    assert read().spool is None
    assert spool(spool=True)


def test_a_path_stays_where_it_was_when_the_process_goes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spool(spool="file") == tmp_path / "file"


def test_a_user_without_a_home_has_a_client_without_a_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user without a name

    assert read().spool is None


def test_one_database_has_one_spool_whatever_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {
        spool(dsn="postgresql://app:one@db/work"),
        spool(dsn="postgresql://app:two%40@db/work"),
        spool(dsn="postgresql://app:@db/work"),
    }
    assert len(same) == 1
    assert spool(dsn="host=db password=one user=app") == spool(dsn="host=db password='t w o' user=app")
    others = {
        spool(dsn="postgresql://app:one@db/other"),
        spool(dsn="postgresql://other:one@db/work"),
        spool(dsn="postgresql://app:one@db/work", schema="b"),
    }
    assert len(others | same) == 4


def test_a_function_for_the_dsn_is_not_asked_before_it_is_needed() -> None:
    asked: list[int] = []

    def dsn() -> str:
        asked.append(1)
        return "postgresql://app:one@db/work"

    found = read(dsn=dsn).spool
    assert not asked
    assert callable(found)
    assert found() == spool(dsn="postgresql://app:two@db/work")


def test_a_function_for_the_dsn_that_fails_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def dsn() -> str:
        raise LookupError("the vault is closed")

    with MonitoringClient(dsn) as monitor:
        monitor.record_error(None, "E", "low", "boom", "c")
        assert not monitor.record_error(None, "E", "low", "boom", "c", durable=True)
        assert not monitor.flush(0.2)

    assert "the vault is closed" in caplog.text
