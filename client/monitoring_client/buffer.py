"""What was recorded and is on its way to nowhere yet: bounded, and cheap to add to, from any thread, coroutine or signal handler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from monitoring_client.facts import Fact

MOST_FACTS = 10_000
MOST_TEXT = 16_000_000  # characters of messages, stack traces and documents


class Buffer:
    """A queue of facts. `wake` is called when one is added while nobody looks, and when it fills."""

    def __init__(self, wake: Callable[[], None], most_facts: int = MOST_FACTS) -> None:
        self._facts: deque[Fact] = deque()
        self._wake = wake
        self._most = most_facts
        self._half = most_facts // 2
        self._text = 0  # what threads add at the same moment may be miscounted; it begins anew whenever all is taken
        self.unwatched = True

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def is_filling(self) -> bool:
        """Whether it should be emptied now rather than in a moment."""
        return len(self._facts) > self._half or self._text > MOST_TEXT // 2

    def add(self, fact: Fact) -> bool:
        """Add a fact. False when there is no room."""
        filled = len(self._facts)
        if filled >= self._most or self._text > MOST_TEXT:
            return False
        if fact.size:
            self._text += fact.size
        self._facts.append(fact)
        if self.unwatched or filled == self._half:
            self.notice()
        return True

    def notice(self) -> None:
        """Have somebody look."""
        self.unwatched = False
        self._wake()

    def take(self, most: int) -> list[Fact]:
        """Remove the oldest facts, so many at the most, and answer them."""
        taken: list[Fact] = []
        try:
            while len(taken) < most:
                taken.append(self._facts.popleft())
        except IndexError:
            self._text = 0
        else:
            self._text -= sum(fact.size for fact in taken)
        return taken

    def forget(self) -> None:
        """Drop everything: in a forked child, whose parent sends these."""
        self._facts = deque()
        self._text = 0
        self.unwatched = True
