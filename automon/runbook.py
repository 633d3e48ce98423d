"""The runbooks: for each alert type one page of Markdown that says what to do, in the package or in the checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_IN_THE_PACKAGE = Path(__file__).with_name("runbooks")
_IN_A_CHECKOUT = Path(__file__).parents[1] / "docs" / "runbooks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Runbook:
    """One page; `title` is its first line, without the alert type in front of it."""

    alert_type: str
    title: str
    text: str


def runbooks() -> dict[str, Runbook]:
    """Read every page, by alert type, in the order of the alphabet."""
    folder = _IN_THE_PACKAGE if _IN_THE_PACKAGE.is_dir() else _IN_A_CHECKOUT
    return {path.stem: _read(path) for path in sorted(folder.glob("*.md"))}


def _read(path: Path) -> Runbook:
    text = path.read_text(encoding="utf-8")
    title = text.partition("\n")[0].removeprefix(f"# {path.stem}: ")
    return Runbook(alert_type=path.stem, title=title, text=text)
