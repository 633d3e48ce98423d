"""What `automon doctor` finds: how checks are run, so that none holds up the others, and how their findings are shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from automon.cli.text import WIDTH, wrapped

NAME_WIDTH = 13


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


GLYPHS = {State.OK: "✓", State.WARNING: "▲", State.FAILED: "✗", State.NOT_CHECKED: "◌"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check says of one thing. `fix` is the command, or the edit, that mends it; empty when nothing is to be done."""

    name: str
    state: State
    detail: str
    fix: str = ""

    def to_document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One assumption. `run` looks whether it holds; None: it does not concern this installation."""

    name: str
    run: Callable[[], Finding | None]


def ok(name: str, detail: str) -> Finding:
    return Finding(name=name, state=State.OK, detail=detail)


def warning(name: str, detail: str, fix: str) -> Finding:
    return Finding(name=name, state=State.WARNING, detail=detail, fix=fix)


def failed(name: str, detail: str, fix: str) -> Finding:
    return Finding(name=name, state=State.FAILED, detail=detail, fix=fix)


def not_checked(name: str, why: str, fix: str = "") -> Finding:
    return Finding(name=name, state=State.NOT_CHECKED, detail=why, fix=fix)


# Running ----------------------------------------------------------------------------------------------------------


class _Group:
    """Checks that run one after the other, in a thread of their own that nobody waits for at the end of the program."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self._done: list[Finding | None] = []
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)
        self._thread.start()

    def findings(self, deadline: float, patience: float) -> list[Finding]:
        """Wait for the end or the deadline; what has not come to an end by then has failed, and what follows was not tried."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        done = list(self._done)
        left = [check.name for check in self._checks[len(done) :]]
        found = [finding for finding in done if finding is not None]
        for number, name in enumerate(left):
            found.append(
                failed(name, f"no answer within {patience:g} s", "Look at what it talks to, then run this again.")
                if number == 0
                else not_checked(name, f"{left[0]} did not come to an end")
            )
        return found

    def _run(self) -> None:
        for check in self._checks:
            self._done.append(_guarded(check))


def _guarded(check: Check) -> Finding | None:
    try:
        return check.run()
    except Exception as error:  # noqa: BLE001  one check that breaks must not take the others with it
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return not_checked(check.name, f"the check itself broke: {type(error).__name__}: {reason}")


def run_checks(groups: Sequence[Sequence[Check]], patience: float) -> list[Finding]:
    """Run the groups beside each other for at most so many seconds; answer the findings in the order of the table."""
    deadline = time.monotonic() + patience
    running = [_Group(checks) for checks in groups]
    return [finding for group in running for finding in group.findings(deadline, patience)]


# Showing ----------------------------------------------------------------------------------------------------------


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Write each finding in a line, longer ones in several, with what mends it below."""
    return [line for finding in findings for line in _lines(finding)] + ["", verdict(findings)]


def _lines(finding: Finding) -> list[str]:
    state = "" if finding.state is State.OK else f"{finding.state}: "
    indent = " " * (2 + NAME_WIDTH + 2)
    first, *others = wrapped(f"{state}{finding.detail}", WIDTH - len(indent))
    lines = [f"{GLYPHS[finding.state]} {finding.name:<{NAME_WIDTH}}  {first}", *(indent + other for other in others)]
    # Not wrapped: it is there to be copied.
    return [*lines, *(f"{indent}-> {line}" for line in finding.fix.splitlines())]


def verdict(findings: Sequence[Finding]) -> str:
    """Count the findings in words, worst first: "1 failed, 2 warnings, 12 ok"."""
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    warnings = f"{counts[State.WARNING]} warning{'s' if counts[State.WARNING] != 1 else ''}"
    parts = (
        (State.FAILED, f"{counts[State.FAILED]} failed"),
        (State.WARNING, warnings),
        (State.NOT_CHECKED, f"{counts[State.NOT_CHECKED]} not checked"),
        (State.OK, f"{counts[State.OK]} ok"),
    )
    return ", ".join(words for state, words in parts if counts[state])


def exit_code(findings: Sequence[Finding]) -> int:
    return int(any(finding.state is State.FAILED for finding in findings))
