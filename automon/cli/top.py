"""`automon top`: draws, waits for keys, asks the database beside it, and does what is answered with yes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from automon.cli.terminal import SMALLEST, Terminal
from automon.cli.text import cut, folded
from automon.cli.top_screen import Action, Target, Top
from automon.errors import AutomonError, DatabaseUnavailableError
from notifiers.words import counted
from notifiers.words import duration as duration_words

if TYPE_CHECKING:
    from automon.cli.status_screen import Status
    from automon.cli.theme import Theme
    from automon.store import Store


@dataclass(kw_only=True)
class Looker:
    """Asks the database on a thread of its own, so that keys are answered while it does not answer."""

    look: Callable[[], Status]
    wake: Callable[[], None]
    found: Status | None = None
    error: Exception | None = None
    _thread: threading.Thread | None = field(default=None)

    @property
    def is_busy(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.found, self.error = self.look(), None
        except Exception as error:  # noqa: BLE001  it is raised again where it can be handled
            self.error = error
        self.wake()

    def collect(self) -> bool:
        """Say whether a look has come to its end since it was last asked."""
        if self._thread is None or self._thread.is_alive():
            return False
        self._thread = None
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What a screen needs to look and to act. `store` is where the service works, for what changes something."""

    look: Callable[[], Status]
    explain: Callable[[Target], Sequence[str]]
    store: Callable[[], Store]
    by: str
    every: float
    theme: Theme


def run_top(desk: Desk) -> None:
    """Show the screen until somebody leaves it."""
    top = Top(by=desk.by)
    with Terminal() as terminal:
        looker = Looker(look=desk.look, wake=terminal.wake)
        looker.start()
        due = time.monotonic() + desk.every
        while True:
            if looker.collect():
                take(top, looker)
                due = time.monotonic() + desk.every
            draw(top, terminal, desk.theme)
            key = terminal.key(max(due - time.monotonic(), 0.05) if not looker.is_busy else 1.0)
            action = top.press(key) if key is not None else None
            if action is not None and not act(action, top, terminal, desk):
                return
            if time.monotonic() >= due and not top.is_paused and not looker.is_busy:
                looker.start()
            elif action is not None and action.name in ("ack", "silence") and not looker.is_busy:
                looker.start()  # to show at once what has changed


def take(top: Top, looker: Looker) -> None:
    """Show what was found; while nothing is found, keep what there is and say of when it is."""
    if looker.error is None:
        top.status, top.trouble = looker.found, ""
        return
    if not isinstance(looker.error, AutomonError):
        raise looker.error
    if not top.trouble:
        now = f"{datetime.now().astimezone():%H:%M:%S}"
        kept = f"; shown is what was known at {top.status.now:%H:%M:%S}" if top.status is not None else ""
        reason = (
            "the database does not answer"
            if isinstance(looker.error, DatabaseUnavailableError)
            else looker.error.message
        )
        top.trouble = f"since {now} {cut(reason, 120)}{kept}"


def draw(top: Top, terminal: Terminal, theme: Theme) -> None:
    columns, height = terminal.size
    if columns < SMALLEST[0] or height < SMALLEST[1]:
        terminal.draw([f"too small: {SMALLEST[0]} x {SMALLEST[1]}"[:columns]])
        return
    terminal.draw(theme.finish(top.lines(columns, height, theme)).split("\n"))


def act(action: Action, top: Top, terminal: Terminal, desk: Desk) -> bool:
    """Do what keys have asked for; answer whether to go on."""
    if action.name == "quit":
        return False
    target = action.target
    if target is None:
        return True
    try:
        match action.name:
            case "explain":
                columns, _ = terminal.size
                top.page, top.scrolled = [part for line in desk.explain(target) for part in folded(line, columns)], 0
            case "copy":
                command = f"automon explain {target.alert_id or target.source}"
                terminal.copy(command)
                top.message = f"copied: {command}"
            case "preview":
                found = desk.store().preview_silence(target.source, "*")
                top.tell_preview(f"would have hidden {counted(found['messages'], 'message')} in 7 days")
            case "ack" if target.alert_id is not None:
                done = desk.store().acknowledge_alert(target.alert_id, desk.by, None)
                top.message = f"acked #{target.alert_id}; undo: automon unack {target.alert_id}" if done else f"#{target.alert_id} was in hand or resolved before"  # fmt: skip
            case "silence" if action.duration is not None:
                top.message = silence(desk, target, action.duration, action.reason)
    except AutomonError as error:
        top.message = f"nothing was changed: {cut(error.message, 200)}"
    return True


def silence(desk: Desk, target: Target, duration: timedelta, reason: str) -> str:
    number = desk.store().silence_alerts(target.source, duration, reason, desk.by, "*")
    return f"silenced {cut(target.source, 30)} for {duration_words(duration)}; undo: automon unsilence {number}"
