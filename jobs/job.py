"""What every job looks like: it is made once, and run again and again with what it needs at hand."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from automon.clock import Clock
from automon.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a run has at hand. `stop` is set when the service is ending: a long run looks at it between its steps."""

    store: Store
    clock: Clock
    instance: str
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Result:
    """What a run counted, by name."""

    counts: Mapping[str, object] = field(default_factory=dict)


class Job(Protocol):
    name: ClassVar[str]

    def run_once(self, context: Context) -> Result:
        """Do the duty once. May raise anything; the run is recorded as failed then."""
