"""Jobs that a scheduler of the tests can run in another process."""

from __future__ import annotations


def divide(first: int, second: int) -> float:
    return first / second
