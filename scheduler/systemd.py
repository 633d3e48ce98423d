"""The few words that systemd wants to hear (sd_notify(3)); silence when nobody listens."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(message: str) -> None:
    """Send a state such as "READY=1" to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # Whatever becomes of the words, the work goes on.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(message.encode())


def status(text: str) -> None:
    notify(f"STATUS={text}")


def reloading() -> None:
    # MONOTONIC_USEC is asked for by Type=notify-reload, and passed over by a systemd that does not know it.
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    notify("STOPPING=1\nSTATUS=stopping")
