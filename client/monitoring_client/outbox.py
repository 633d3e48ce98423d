"""Takes facts from the application, and has a thread deliver them.

    add()  ──▶ buffer ──▶ database
                 │  away     ▲
                 ▼           │ in order, one process at a time
    keep() ──▶ spool ────────┘

The thread begins with the first fact. It steps aside for a fork, so that no child inherits a lock or a file in the middle of
something, and it is given two seconds when the program ends; what is not delivered by then stays in the spool.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from monitoring_client import forks
from monitoring_client.buffer import MOST_FACTS, Buffer
from monitoring_client.errors import DatabaseUnavailableError, FullError
from monitoring_client.facts import Fact
from monitoring_client.losses import Losses

if TYPE_CHECKING:
    from monitoring_client.bell import Bell
    from monitoring_client.delivery import Delivery
    from monitoring_client.link import Link
    from monitoring_client.spool import Spool

LINGER = 0.1  # seconds that facts wait for company; what a kill without warning can cost, unless they were kept
LINGER_AWAY = 0.5
LOOK_EVERY = 30.0
EXIT_SECONDS = 2.0
STOP_SECONDS = 1.0
CATCH_UP_SECONDS = 1.0
SOME = 500  # facts, whose caller then takes a few milliseconds
SECONDS_BETWEEN_LINES = 60.0  # in the log, of failures that repeat

logger = logging.getLogger("automon_client")
_running: set[Outbox] = set()


class CalledOffError(Exception):
    """The thread is to stop at once, in the middle of what it does."""


class Outbox:
    """Safe to use from any thread and signal handler, and in the children of a fork."""

    def __init__(self, link: Link, spool: Spool | None, losses: Losses, *, most_facts: int = MOST_FACTS) -> None:
        self._link = link
        self._spool = spool
        self._losses = losses
        self._buffer = Buffer(self._wake, most_facts)
        self._closed = False
        self._starts_are_held = self._resumes = self._calmed = False  # what a fork has interrupted
        self._next_line = 0.0
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self._delivery: Delivery | None = None  # made with the first fact: what it needs is loaded then
        self._making = threading.RLock()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._stopping = False  # at once, in the middle of anything
        self._leaving = self._closed  # when everything is delivered or kept
        self._flushes: list[threading.Event] = []

    # For the application --------------------------------------------------------------------------------------------

    def add(self, fact: Fact) -> None:
        """Take a fact. Raises FullError, or DatabaseUnavailableError once closed."""
        if self._closed:
            raise DatabaseUnavailableError("the client is closed")
        if not self._buffer.add(fact):
            # The thread cannot keep up, so the caller does a little of its work.
            self._make_delivery().make_room(SOME)
            if not self._buffer.add(fact):
                raise FullError(f"{len(self._buffer)} facts wait in memory already, and the disk takes no more")

    def keep(self, fact: Fact) -> None:
        """Take a fact; when this returns, it is on disk. Raises FullError or SpoolError, or DatabaseUnavailableError once closed."""
        if self._closed:
            raise DatabaseUnavailableError("the client is closed")
        self._make_delivery().keep([fact])
        if self._buffer.unwatched:
            self._buffer.notice()

    def flush(self, timeout: float) -> bool:
        """Hurry, and wait until everything that was recorded is in the database. False when it is not after `timeout` seconds."""
        if self._thread is threading.current_thread():  # a logging handler, called by the thread that it would wait for
            return False
        delivery = self._make_delivery()
        if self._closed:
            return delivery.is_done
        done = threading.Event()
        self._flushes.append(done)
        try:
            delivery.hurry()
            self._wake()
            return done.wait(timeout) if self._thread is not None else delivery.is_done
        finally:
            self._end_flush(done)

    def catch_up(self) -> None:
        """Have delivered what came before a fact that cannot be kept. Raises DatabaseUnavailableError when it cannot be."""
        delivery = self._make_delivery()
        if delivery.has_predecessors and (delivery.is_pausing or not self.flush(CATCH_UP_SECONDS)):
            raise DatabaseUnavailableError("facts that came before wait still")

    def secure(self, timeout: float) -> None:
        """Deliver for `timeout` seconds, keep the rest on disk, and go on."""
        if not self.flush(timeout):
            self._make_delivery().keep()

    def close(self, timeout: float) -> None:
        """Deliver for `timeout` seconds, keep the rest on disk, and end. Facts that come later are refused."""
        self._closed = True
        self.settle(timeout)
        self.release()

    def abandon(self) -> None:
        """As `close`, but leave the rest to the thread: for a client that nobody holds any more."""
        self._closed = self._leaving = True
        self._ring()

    def settle(self, timeout: float) -> None:
        """Deliver for `timeout` seconds and keep the rest on disk; without a spool it is lost."""
        with self._making:  # a thread that is only just starting cannot be waited for
            thread = self._thread
        if self._delivery is not None:
            self._delivery.prepare_to_end()
        if thread is not None and thread is not threading.current_thread():
            self._leaving = True
            self._end_thread(thread, timeout)
            self._leaving = self._closed
        self._save()
        _running.discard(self)

    def release(self) -> None:
        """Close the connection and the file; both open again when they are needed."""
        if self._thread is not None and self._thread is not threading.current_thread():
            return  # it hangs in something that cannot be called off, such as the look-up of a name, and is not waited for
        self._link.close()
        if self._spool is not None:
            self._spool.close()

    def _save(self) -> None:
        """Keep on disk what is left in memory; without a spool it is lost."""
        if self._delivery is None and not self._buffer:
            return
        delivery = self._make_delivery()
        if not delivery.come_to_rest(STOP_SECONDS):  # a disk that hangs
            return
        try:
            lost = delivery.keep_the_rest()
        finally:
            delivery.go_on()
        if lost:
            self._losses.add("the program ended while the database was away, and no spool could be used", lost)

    # The thread -----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._thread is None:
            self._start()
        else:
            self._ring()

    def _start(self) -> None:
        """Begin a thread unless there is one. Where there can be none, keep on disk what it would have delivered."""
        thread = threading.Thread(target=self._run, name="automon-client", daemon=True)
        with self._making:
            if self._thread is not None:
                return
            _running.add(self)
            if not _process_ends:
                # Loads nothing here, in the application's time; the thread does.
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads, or the interpreter ends
                    self._thread = None
                else:
                    _prepare_for_the_end()
                    return
        self._buffer.unwatched = True  # the next fact calls again
        if _process_ends:
            self._save()
        else:
            self._make_delivery().keep()

    def _make_delivery(self) -> Delivery:
        if self._delivery is not None:
            return self._delivery
        with forks.none_meanwhile(), self._making:
            if self._delivery is None:
                from monitoring_client.delivery import Delivery

                self._delivery = Delivery(self._buffer, self._link, self._spool, self._losses)
            return self._delivery

    def _run(self) -> None:
        if self._thread is not threading.current_thread():  # a signal handler has started another one meanwhile
            return
        _leave_signals_to_others()
        try:
            while not self._deliver_or_fail():
                self._pause()
        finally:
            self._end()

    def _deliver_or_fail(self) -> bool:
        """Deliver until told to stop. False after a failure that nobody has thought of."""
        try:
            self._deliver()
        except CalledOffError:
            pass
        except Exception:  # a mistake in here must not stay silent, nor end the reporting for ever
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
                logger.exception("automon: the sender failed, and begins anew")
            return False
        return True

    def _pause(self) -> None:
        """Wait a second, without a bell: what has failed may be the making of one."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until and not (self._leaving or self._stopping):
            time.sleep(0.05)

    def _end(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
        if self._closed:
            self._save()
            self.release()
            _running.discard(self)
        self._thread = None
        self._buffer.unwatched = True
        if not (self._leaving or self._stopping):  # called off so late that nobody waited for it any more
            self._start()

    def _deliver(self) -> None:
        with forks.none_meanwhile(self._on_ring):
            from monitoring_client.bell import Bell

            self._link.load()
            if self._spool is not None:
                self._spool.load()
        if self._bell is None:
            self._bell = Bell(self._on_ring)
        bell, delivery = self._bell, self._make_delivery()
        while True:
            self._rest(bell, delivery)
            flushes = list(self._flushes)  # later ones may wait for facts that this round does not see
            delivery.round(bell)
            if flushes and delivery.is_done:
                for done in flushes:
                    done.set()
                    self._end_flush(done)
            if self._leaving and (delivery.memory_is_empty or delivery.is_away):
                return

    def _rest(self, bell: Bell, delivery: Delivery) -> None:
        """Wait until there is something to do, and then a moment for more of it."""
        if not self._is_urgent and delivery.is_done:
            self._buffer.unwatched = True
            if delivery.is_done:  # still: what comes from here on rings
                bell.wait(LOOK_EVERY)
            self._buffer.unwatched = False
        self._on_ring()
        if not self._is_urgent:
            bell.wait(LINGER_AWAY if delivery.is_away else LINGER)
        elif not (self._leaving or delivery.may_progress):
            bell.wait(LINGER / 5)
        self._on_ring()

    @property
    def _is_urgent(self) -> bool:
        return bool(self._leaving or self._stopping or self._flushes or self._buffer.is_filling)

    def _on_ring(self) -> None:
        """Do in the thread what a ring asks for, whatever it is at."""
        if self._stopping:
            raise CalledOffError
        if self._buffer.is_filling and self._delivery is not None:
            self._delivery.make_room()

    def _end_flush(self, done: threading.Event) -> None:
        with suppress(ValueError):  # the other side did it
            self._flushes.remove(done)

    def _end_thread(self, thread: threading.Thread, timeout: float) -> None:
        self._ring()
        thread.join(timeout)
        if thread.is_alive():
            self._stopping = True
            self._ring()
            thread.join(STOP_SECONDS)
            self._stopping = False

    def _ring(self) -> None:
        bell = self._bell
        if bell is not None:
            bell.ring()

    # Forks ----------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        if self._thread is not None:
            self._make_delivery()  # the thread needs it, and could not make it while starts are held
        self._starts_are_held = self._making.acquire(timeout=STOP_SECONDS)
        thread = self._thread
        self._resumes = thread is not None
        if thread is not None and thread is not threading.current_thread():
            self._end_thread(thread, 0.0)
            _see_off(thread)
        self._calmed = self._delivery is not None and self._delivery.come_to_rest(STOP_SECONDS)
        if self._spool is not None:
            self._spool.close()  # SQLite works in no child while it is open

    def after_fork_in_parent(self) -> None:
        if self._calmed and self._delivery is not None:
            self._delivery.go_on()
        if self._starts_are_held:
            self._making.release()
        resumes, self._starts_are_held, self._resumes, self._calmed = self._resumes, False, False, False
        if resumes:
            self._start()

    def after_fork_in_child(self) -> None:
        self._link.after_fork()
        if self._spool is not None:
            self._spool.after_fork()
        if self._bell is not None:
            self._bell.close()
        self._starts_are_held = self._resumes = self._calmed = False
        self._losses.forget()
        self._buffer.forget()
        self._begin()


def _leave_signals_to_others() -> None:
    """Block in this thread whatever is meant for the process.

    Otherwise a signal that the main thread holds back for a moment would be delivered here, and end the process in the
    middle of what must not be interrupted: billiard, below Celery, would leave the queue of results locked for ever.
    """
    import signal

    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        own = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}  # of the thread itself
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - own)


def _see_off(thread: threading.Thread) -> None:
    """Wait for the kernel's thread too: Python joins it a moment earlier up to 3.12, and warns of a fork beside it."""
    kernels = f"/proc/self/task/{thread.native_id}"
    until = time.monotonic() + 0.2
    while not thread.is_alive() and os.path.exists(kernels) and time.monotonic() < until:  # noqa: PTH110 - the fastest way
        time.sleep(0.0005)


_process_ends = False
_prepared: set[int] = set()


def _prepare_for_the_end() -> None:
    """Have what runs settled when this process ends. A worker process of multiprocessing ends without calling atexit."""
    if os.getpid() in _prepared:
        return
    _prepared.add(os.getpid())
    for name in ("multiprocessing.util", "billiard.util"):
        if name in sys.modules:
            sys.modules[name].Finalize(None, _settle_all, exitpriority=10)


@atexit.register
def _settle_at_exit() -> None:
    global _process_ends  # noqa: PLW0603 - it is the process that ends
    _process_ends = True
    _settle_all()


def _settle_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for outbox in list(_running):
        outbox.settle(max(0.0, deadline - time.monotonic()))
        outbox.release()
