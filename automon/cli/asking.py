"""Asking a person: every question has a flag, and with --yes none is asked."""

from __future__ import annotations

from collections.abc import Callable

import click


class Asker:
    """Asks on the terminal; `silent` takes what is given or kept, and yes for an answer."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent

    def text(self, question: str, *, kept: str = "", skip: str = "skip") -> str:
        """Ask for a text; Enter keeps what there is, which is shown, or skips."""
        if self.silent:
            return kept
        default = kept or f"Enter to {skip}"
        answer: str = click.prompt(f"  {question} [{default}]", default="", show_default=False, err=True)
        return answer.strip() or kept

    def secret(self, question: str, *, is_kept: bool, skip: str = "skip") -> str:
        """Ask for a secret without showing it; empty when it is kept or skipped."""
        if self.silent:
            return ""
        default = "kept" if is_kept else f"Enter to {skip}"
        answer: str = click.prompt(
            f"  {question} [{default}]", default="", show_default=False, hide_input=True, err=True
        )
        return answer.strip()

    def confirm(self, question: str) -> bool:
        return self.silent or click.confirm(f"  {question}", default=True, err=True)

    def once_more(self, say: Callable[[], object]) -> bool:
        """Say what is wrong with an answer; tell whether there is somebody to give another."""
        say()
        return not self.silent and click.confirm("  Try another?", default=True, err=True)
