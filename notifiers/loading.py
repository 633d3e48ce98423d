"""Brings apprise into memory when the first message leaves, not before: it costs 20 MB and 0.2 s."""

from __future__ import annotations

import threading

_one_at_a_time = threading.Lock()


def load_apprise() -> None:
    """Import what sending needs; every channel calls this before it sends.

    apprise's packages import each other in a circle. Python lets two threads that enter such a circle at once see
    half-made modules, and each channel has a thread of its own: so one goes first and the others wait.
    """
    with _one_at_a_time:
        import notifiers.mail_service
        import notifiers.slack_service  # noqa: F401
