"""How facts get from memory to the database: straight while it answers, by the spool while it does not, in their order either way."""

from __future__ import annotations

import logging
import math
import random
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from monitoring_client import facts
from monitoring_client.buffer import Buffer
from monitoring_client.errors import DatabaseUnavailableError, FullError, MonitoringError, SettingError
from monitoring_client.facts import Fact, readable
from monitoring_client.losses import Losses
from monitoring_client.rows import Row, condense, encode
from monitoring_client.spool import SpoolError

if TYPE_CHECKING:
    from monitoring_client.exchange import Bell
    from monitoring_client.link import Link
    from monitoring_client.spool import Spool

LARGEST_BATCH = 1000
SHORTEST_PAUSE = 0.5  # seconds before the next attempt, doubled with each that fails
LONGEST_PAUSE = 15.0
SECONDS_BETWEEN_LOOKS = 30.0  # at what other processes have left behind
MOST_TEXT_WAITING = 8_000_000  # characters, some 25,000 rows
PATIENCE_OF_CALLERS = 0.05  # seconds
SECONDS_WITHOUT_SPOOL = 10.0  # after it could not be used
SECONDS_BETWEEN_LINES = 60.0  # in the log, and in the database's count of what was lost

logger = logging.getLogger("automon_client")


class Delivery:
    """`round` is for one thread; `keep` and the questions are for all. The order is: in flight, waiting, buffer; after what is in the spool."""

    def __init__(self, buffer: Buffer, link: Link, spool: Spool | None, losses: Losses) -> None:
        self._buffer = buffer
        self._link = link
        self._spool = spool
        self._losses = losses
        self._order = threading.RLock()
        self._in_flight: list[Row] = []
        self._in_flight_is_kept = False
        self._waiting: list[Row] = []
        self._batch = LARGEST_BATCH
        self._failures = 0
        self._is_hopeless = False  # the DSN cannot be read; what nobody can ever deliver is not worth a place on disk
        self._follows = False  # another process sends from the spool
        self._next_attempt = 0.0
        self._next_look = 0.0
        self._next_use_of_spool = 0.0
        self._next_append = 0.0
        self._next_line = self._next_line_on_spool = 0.0
        self._next_report = 0.0

    # Questions ------------------------------------------------------------------------------------------------------

    @property
    def is_away(self) -> bool:
        """Whether the last attempt to reach the database has failed."""
        return self._failures > 0

    @property
    def memory_is_empty(self) -> bool:
        with self._order:
            return not (self._buffer or self._waiting or self._in_flight)

    @property
    def is_done(self) -> bool:
        """Whether everything that this process recorded is in the database."""
        if not self.memory_is_empty or self._spool_holds_ours():
            return False
        return self._spool is None or not self._spool.held_ours  # for all that is known while it cannot be read

    @property
    def has_predecessors(self) -> bool:
        """Whether anything waits, of this process or of others, that a fact which comes now must not overtake."""
        try:
            return not self.memory_is_empty or (self._spool is not None and self._spool.holds_any())
        except MonitoringError:  # of what cannot be read nobody knows when it can be
            return False

    @property
    def is_pausing(self) -> bool:
        """Whether the database was away a moment ago, and it is too early for another attempt."""
        return self.is_away and time.monotonic() < self._next_attempt

    @property
    def may_progress(self) -> bool:
        """Whether another round at once could do more than the last one did."""
        return not (self.is_away or self._follows)

    def hurry(self) -> None:
        """Let the next round try everything at once, whatever the last attempt has brought."""
        self._next_attempt = self._next_look = self._next_report = self._next_use_of_spool = self._next_append = 0.0

    def prepare_to_end(self) -> None:
        """Let the last round tell of all losses, and try the database once more if facts have no other place."""
        self._next_report = 0.0
        if self._spool is None:
            self._next_attempt = 0.0

    # Forks ----------------------------------------------------------------------------------------------------------

    def come_to_rest(self, seconds: float) -> bool:
        """Hold every other thread back from what a forked child could never finish. False when it takes too long."""
        return self._order.acquire(timeout=seconds)

    def go_on(self) -> None:
        self._order.release()

    # Rounds ---------------------------------------------------------------------------------------------------------

    def round(self, bell: Bell) -> None:
        """Deliver what can be delivered now, and bring the rest to safety. Raises what `bell` raises."""
        if time.monotonic() >= self._next_attempt:
            try:
                self._report_losses()
                self._send_from_memory(bell)
                self._send_from_spool(bell)
            except DatabaseUnavailableError as error:
                self._pause(error)
            else:
                self._go_on()
        if self.is_away or self._spool_holds_ours():
            self.keep()

    def _send_from_memory(self, bell: Bell) -> None:
        while not self._spool_holds_ours():
            with self._order:
                if not self._waiting:
                    # Twice as many, because half of them may be starts that their ends make needless.
                    self._waiting = self._encoded(self._buffer.take(2 * self._batch))
                self._in_flight, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                if not self._in_flight:
                    return
            try:
                self._store(self._in_flight, bell)
            except BaseException:
                with self._order:
                    if not self._in_flight_is_kept:
                        self._waiting = self._in_flight + self._waiting
                    self._in_flight, self._in_flight_is_kept = [], False
                raise
            with self._order:
                self._in_flight, self._in_flight_is_kept = [], False

    def _send_from_spool(self, bell: Bell) -> None:
        spool = self._spool
        if spool is None or not (self._spool_holds_ours() or time.monotonic() >= self._next_look):
            return
        self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        try:
            self._follows = False
            if not spool.holds_any():
                return
            if not spool.lead():
                self._follows = True
                return
            try:
                while rows := spool.oldest(self._batch):
                    self._store(condense(rows), bell)
                    spool.remove(rows)
                    bell.answer()
            finally:
                spool.give_up_lead()
        except MonitoringError as error:
            if isinstance(error, DatabaseUnavailableError):
                raise
            self._do_without_spool(error)

    def _encoded(self, some: list[Fact]) -> list[Row]:
        """Write facts as rows; one that cannot be written must not take the others with it."""
        try:
            return encode(some)
        except Exception as error:  # noqa: BLE001 - a document nested deeper than the JSON encoder goes, for example
            if len(some) == 1:
                self._losses.add(f"{some[0].kind}: {readable(error)}")
                return []
        middle = len(some) // 2
        return [*self._encoded(some[:middle]), *self._encoded(some[middle:])]

    def _store(self, rows: list[Row], bell: Bell) -> None:
        for refusal in self._link.store(rows, bell):
            self._losses.add(f"the database refused {refusal.row.kind}: {refusal.error}")
        self._batch = min(LARGEST_BATCH, 2 * self._batch)

    def _pause(self, error: DatabaseUnavailableError) -> None:
        self._failures += 1
        self._is_hopeless = isinstance(error, SettingError)
        self._batch = max(1, self._batch // 2)
        pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(self._failures - 1, 10))
        # Not all at once, where many processes wait for one database.
        self._next_attempt = time.monotonic() + pause * random.uniform(0.7, 1.3)  # noqa: S311 - no secret
        if time.monotonic() >= self._next_line:
            self._next_line = math.inf if self._is_hopeless else time.monotonic() + SECONDS_BETWEEN_LINES
            logger.warning("automon: facts wait %s: %s", self._where_they_wait(), readable(error))

    def _go_on(self) -> None:
        if self._failures:
            logger.info("automon: the database answers again")
            self._next_line = min(self._next_line, time.monotonic() + SECONDS_BETWEEN_LINES)
        self._failures = 0

    def _where_they_wait(self) -> str:
        if self._spool is None or not self._may_append:
            return "in memory"
        try:
            return f"in {self._spool.path}"
        except SpoolError:
            return "in memory"

    def _report_losses(self) -> None:
        """Make a fact of what was lost, once a minute."""
        if time.monotonic() < self._next_report:
            return
        lost = self._losses.take_unreported()
        if lost:
            self._next_report = time.monotonic() + SECONDS_BETWEEN_LINES
            fact = facts.record_performance_metric("automon_client_dropped", "count", lost, "facts", None, None, None)
            with self._order:
                self._waiting += encode([fact])

    # The spool ------------------------------------------------------------------------------------------------------

    def keep(self, more: Iterable[Fact] = ()) -> bool:
        """Move all that is in memory to the spool, and these facts after it. False when there is none that can be used.

        With facts of its own, raises FullError or SpoolError instead: these facts are not taken then, and the others stay.
        """
        own = encode(more)
        if not own and not self._may_append:
            return False
        try:
            with self._order:
                if self._is_crowded:
                    self._append([])
                # What is added meanwhile waits for the next time, or a busy application would keep this up for ever.
                self._waiting += self._encoded(self._buffer.take(sys.maxsize))
                self._append(own)
        except MonitoringError as error:
            if own:
                raise
            # Outside of the lock: what listens to the log may itself be waiting to record something.
            self._do_without_spool(error)
            return False
        return True

    def _append(self, own: list[Row], *, synced: bool = True) -> None:
        """Append what is in flight, what waits, and these rows to the spool, in this order, all or nothing."""
        if self._spool is None:
            raise SpoolError("the client has no spool")
        flying = [] if self._in_flight_is_kept else self._in_flight
        self._spool.append([*flying, *self._waiting, *own], synced=synced)
        self._in_flight_is_kept = bool(self._in_flight)
        self._waiting = []

    def make_room(self, most: int = sys.maxsize) -> bool:
        """Write the oldest facts in memory as rows, which take less of it; to disk if these are too many or the database is away.

        False when that cannot be done, or takes longer than a caller would wait.
        """
        if not self._order.acquire(timeout=PATIENCE_OF_CALLERS):
            return False
        failure = None
        try:
            must_go = self.is_away or self._is_crowded
            if must_go and not self._may_append:
                return False
            self._waiting += self._encoded(self._buffer.take(most))
            if must_go:
                self._append([], synced=False)
        except MonitoringError as error:
            failure = error
        finally:
            self._order.release()
        if failure is not None:
            self._do_without_spool(failure)
        return failure is None

    @property
    def _is_crowded(self) -> bool:
        return sum(len(row.body) for row in self._waiting) > MOST_TEXT_WAITING

    def keep_the_rest(self) -> int:
        """Move all that is in memory to the spool, for good, and answer how many facts were lost because that cannot be done."""
        self.hurry()
        if not self.keep():
            return self.give_up()
        self._report_losses()
        self.keep()
        return 0

    def give_up(self) -> int:
        """Drop what is in memory, and answer how many facts these were."""
        with self._order:
            lost = len(self._buffer.take(sys.maxsize)) + len(self._waiting) + len(self._in_flight)
            self._waiting, self._in_flight = [], []
            return lost

    def _spool_holds_ours(self) -> bool:
        if self._spool is None or self._spool_is_unusable():
            return False
        try:
            return self._spool.holds_ours()
        except MonitoringError as error:
            self._do_without_spool(error)
            return False

    def _spool_is_unusable(self) -> bool:
        return self._is_hopeless or time.monotonic() < self._next_use_of_spool

    @property
    def _may_append(self) -> bool:
        if self._spool is None or self._spool_is_unusable():
            return False
        return time.monotonic() >= self._next_append

    def _do_without_spool(self, error: MonitoringError) -> None:
        self._next_append = time.monotonic() + SECONDS_WITHOUT_SPOOL
        if not isinstance(error, FullError):  # what is full can be sent from still, and what it holds goes first
            self._next_use_of_spool = self._next_append
        if time.monotonic() >= self._next_line_on_spool:
            self._next_line_on_spool = time.monotonic() + SECONDS_BETWEEN_LINES
            logger.warning("automon: no facts can be kept on disk now, they wait in memory: %s", readable(error))
