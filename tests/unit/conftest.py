from __future__ import annotations

from collections.abc import Callable, Iterator
from time import tzset

import pytest


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts the reader into a time zone, until the end of the test."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        tzset()

    yield move
    monkeypatch.undo()
    tzset()


@pytest.fixture
def utc(in_zone: Callable[[str], None]) -> None:
    """Puts the reader into UTC."""
    in_zone("UTC")
