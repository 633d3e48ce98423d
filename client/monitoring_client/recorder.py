"""The one way from a call to the database, and the rule that nothing which goes wrong on it reaches the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from monitoring_client.errors import RejectedError
from monitoring_client.facts import Fact, readable
from monitoring_client.link import Link
from monitoring_client.losses import Losses

P = ParamSpec("P")
LONGEST_REASON = 500  # characters
CLOCKS_DIFFER = ("AM005", "AM008")  # "lies in the future", "ends before its start"
KNOWN_SOURCES = frozenset({"builtins", "importlib", "monitoring_client", "psycopg", "psycopg_binary", "psycopg_c"})


class Recorder:
    """Records facts, or counts them as lost. Without a link it is switched off: it does neither."""

    def __init__(self, link: Link | None, *, raise_errors: bool, losses: Losses | None = None) -> None:
        self._link = link
        self._raise_errors = raise_errors
        self.losses = losses or Losses()

    def quiet(self) -> Recorder:
        """Make the same, but never raising: for the way out of a task whose own exception is to go on."""
        return Recorder(self._link, raise_errors=False, losses=self.losses)

    def record(self, make_fact: Callable[P, Fact], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Make the fact and record it. False when it was dropped; raises only if the client was told to."""
        if self._link is None:
            return False
        try:
            _store(self._link, make_fact(*args, **kwargs))
        except Exception as error:  # a mistake in here must not end an application either
            if _is_meant_for_the_application(error):
                raise
            self.losses.add(f"{make_fact.__name__}: {readable(error)}"[:LONGEST_REASON])
            if self._raise_errors:
                raise
            return False
        return True


def _store(link: Link, fact: Fact) -> None:
    try:
        link.store(fact)
    except RejectedError as error:
        if not (fact.at_is_ours and error.sqlstate in CLOCKS_DIFFER):
            raise
        # This machine's clock, or that of the one where the task began, is off: then the database's clock decides.
        link.store(fact._replace(at=None))


def _is_meant_for_the_application(error: Exception) -> bool:
    """Recognise what a signal handler of the application raised meanwhile: an alarm, a worker's time limit."""
    source = type(error).__module__.partition(".")[0]
    return isinstance(error, TimeoutError) or source not in KNOWN_SOURCES
