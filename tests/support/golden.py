"""Texts that are pinned in files. After a wanted change run their tests with AUTOMON_WRITE_GOLDEN=1."""

from __future__ import annotations

import os

from tests.support.markdown import ROOT

SCREENS = ROOT / "tests/unit/screens"


def assert_screen(name: str, lines: str) -> None:
    """Compare a screen with the one in its file, line by line."""
    file = SCREENS / f"{name}.txt"
    if os.environ.get("AUTOMON_WRITE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{lines}\n", encoding="utf-8")
    assert file.read_text(encoding="utf-8").splitlines() == lines.splitlines()
