"""The one way from a call to where facts go, and the rule that nothing which goes wrong on it reaches the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, Protocol

from monitoring_client.errors import DatabaseUnavailableError, FullError, MonitoringError
from monitoring_client.facts import Fact, readable
from monitoring_client.losses import Losses

if TYPE_CHECKING:
    from monitoring_client.link import Link
    from monitoring_client.outbox import Outbox

P = ParamSpec("P")
LONGEST_REASON = 500  # characters
KNOWN_SOURCES = frozenset(
    {"builtins", "importlib", "json", "monitoring_client", "psycopg", "psycopg_binary", "psycopg_c", "sqlite3"}
)


class Sink(Protocol):
    """Where facts go. `take` raises MonitoringError when it cannot take one."""

    waits: bool  # whether taking a fact may take more than microseconds

    def take(self, fact: Fact, *, durable: bool | None) -> None: ...


class Buffered:
    """Facts go to memory, or, if they are to be durable, to disk; to the database if there is no disk to use."""

    def __init__(self, outbox: Outbox, link: Link, *, durable: bool) -> None:
        self._outbox = outbox
        self._link = link
        self.waits = durable

    def take(self, fact: Fact, *, durable: bool | None) -> None:
        if not (self.waits if durable is None else durable):
            text = len(fact.body["error_message"]) + len(fact.body["stack_trace"] or "") if fact.kind == "error" else 0
            self._outbox.add(fact, text)
            return
        try:
            self._outbox.keep(fact)
        except DatabaseUnavailableError:
            raise
        except MonitoringError as error:
            try:
                self._outbox.catch_up()
                store(self._link, fact)
            except DatabaseUnavailableError as away:
                raise FullError(f"{error}; and the database is away: {away}") from None


class Direct:
    """Facts go to the database while the caller waits."""

    waits = True

    def __init__(self, link: Link) -> None:
        self._link = link

    def take(self, fact: Fact, *, durable: bool | None) -> None:  # noqa: ARG002 - in the database it is durable anyway
        store(self._link, fact)


class Recorder:
    """Records facts, or counts them as lost. Without a sink it is switched off: it does neither."""

    def __init__(self, sink: Sink | None, losses: Losses, *, raise_errors: bool) -> None:
        self._sink = sink
        self._raise_errors = raise_errors
        self.losses = losses

    @property
    def waits(self) -> bool:
        """Whether recording may take more than microseconds."""
        return self._sink is not None and self._sink.waits

    def quiet(self) -> Recorder:
        """Make the same, but never raising: for the way out of a task whose own exception is to go on."""
        return Recorder(self._sink, self.losses, raise_errors=False) if self._raise_errors else self

    def make(self, make_fact: Callable[P, Fact], *args: P.args, **kwargs: P.kwargs) -> Fact | None:
        """Make a fact. None when an argument is wrong; raises only if the client was told to."""
        if self._sink is None:
            return None
        try:
            return make_fact(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a mistake in here must not end an application either
            self._lose(make_fact.__name__, error)
            return None

    def put(self, fact: Fact | None, *, durable: bool | None = None) -> bool:
        """Record a fact. False when it was dropped; raises only if the client was told to."""
        if fact is None or self._sink is None:
            return False
        try:
            self._sink.take(fact, durable=durable)
        except Exception as error:  # noqa: BLE001 - as above
            self._lose(fact.kind, error)
            return False
        return True

    def record(self, make_fact: Callable[P, Fact], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Make a fact and record it."""
        return self.put(self.make(make_fact, *args, **kwargs))

    def _lose(self, what: str, error: Exception) -> None:
        if _is_meant_for_the_application(error):
            raise error
        self.losses.add(f"{what}: {readable(error)}"[:LONGEST_REASON])
        if self._raise_errors:
            raise error


def store(link: Link, fact: Fact) -> None:
    """Store one fact in the database. Raises DatabaseUnavailableError or RejectedError."""
    from monitoring_client.rows import encode

    for refusal in link.store(encode([fact])):
        raise refusal.error


def _is_meant_for_the_application(error: Exception) -> bool:
    """Recognise what a signal handler of the application raised meanwhile: an alarm, a worker's time limit."""
    source = type(error).__module__.partition(".")[0]
    return isinstance(error, TimeoutError) or source not in KNOWN_SOURCES
