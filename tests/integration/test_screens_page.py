"""The pictures in the documentation are what the commands show."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from docs.generate.screens import PAGE_FILE, play, screens_page
from tests.support.markdown import ROOT


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_the_page_shows_what_the_commands_show_of_its_day(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        play(connection)

    assert screens_page(database_url) == (ROOT / PAGE_FILE).read_text(encoding="utf-8")
