"""The channel of last resort: the terminal where there is one, otherwise the journal."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import TextIO

import structlog

from notifiers.channel import DeliveryError, DeliveryReason, Receipt
from notifiers.message import Message
from notifiers.plain import COLUMN, columns, headline, plain_body, plain_text
from notifiers.words import Mark

PACE = timedelta(0)
RECIPIENT = "terminal"
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
COLOURS = {Mark.ALARM: "\x1b[31m", Mark.WARNING: "\x1b[33m", Mark.TAKEN: "", Mark.GOOD: "\x1b[34m"}


class TerminalChannel:
    """Writes readable messages where a person reads them; elsewhere one log line at error priority instead.

    `readable` None: a person reads the stream (stderr when None) if it is a terminal.
    """

    def __init__(self, name: str, *, stream: TextIO | None = None, readable: bool | None = None) -> None:
        self.name = name
        self.pace = PACE
        self.recipients = (RECIPIENT,)
        self._stream = stream
        self._readable = readable

    def send(self, message: Message, recipient: str) -> Receipt:
        # Looked up now, not in the constructor: a supervisor may have replaced the stream since.
        stream = self._stream or sys.stderr
        if not (stream.isatty() if self._readable is None else self._readable):
            log_message(message)
            return Receipt(answer="logged", duration=timedelta(0))
        try:
            stream.write(f"\n{terminal_text(message, has_colour=has_colour(stream))}\n")
            stream.flush()
        except (OSError, ValueError) as error:
            detail = f"cannot write to the terminal: {type(error).__name__}"
            raise DeliveryError(DeliveryReason.UNREACHABLE, detail=detail) from None
        return Receipt(answer="shown", duration=timedelta(0))


def has_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_text(message: Message, *, has_colour: bool) -> str:
    """Write a message for a terminal. The word and the shape carry the state; colour and weight only repeat it."""
    bold, dim, reset = (BOLD, DIM, RESET) if has_colour else ("", "", "")
    colour = COLOURS[message.mark] if has_colour else ""
    lines = [
        f"  {dim}{label}{reset}{plain_text(line.text, message)}"
        for label, line in zip(columns(message.lines), message.lines, strict=True)
    ]
    first = f"{bold}{colour}{headline(message)}{reset}"
    return "\n".join([first, *lines, f"  {' ' * COLUMN}{dim}{plain_text(message.footer, message)}{reset}"])


def log_message(message: Message) -> None:
    """Write a message to the log, as one event; at error priority, whatever it says, so that it is not filtered out."""
    structlog.get_logger("automon.alerts").error(
        "alert_message",
        alert=message.alert_id,
        delivery=message.delivery_id,
        state=message.event,
        severity=message.severity.value,
        headline=message.headline,
        text=plain_body(message),
    )
