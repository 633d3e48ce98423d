"""Looks at the host and at this process every minute, for machines on which the service does not run.

On Linux the standard library is enough; elsewhere psutil is used if it is installed, and without it little is known.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from monitoring_client import forks, lenient
from monitoring_client.facts import readable

if TYPE_CHECKING:
    from typing_extensions import Self

SECONDS_BETWEEN_SAMPLES = 60.0
LEAST_SECONDS = 1.0
STOP_SECONDS = 2.0
ON_LINUX = sys.platform == "linux"
METRIC_TYPE = "resource"

logger = logging.getLogger("automon_client")


class TakesSamples(Protocol):
    """What a sampler needs of a MonitoringClient."""

    def record_host_sample(self, host: str, sample: Mapping[str, Any], *, at: datetime | None = None) -> bool: ...

    def record_performance_metric(
        self,
        metric_name: str,
        metric_type: str,
        value: float,
        unit: str | None = None,
        component: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> bool: ...


class Looks(Protocol):
    def look(self, at: float) -> dict[str, Any]:
        """Look once; `at` is the moment in monotonic seconds."""


class HostSampler:
    """Records a sample of the host, and four metrics of this process, every `every` seconds (1 at least) in a daemon thread.

    The host is named as the system names it unless `host` is given; `host=""` leaves the host out, for all but one of
    several processes on a host. The metrics are process_memory (bytes), process_cpu (percent of one core since the
    sample before), process_threads and process_open_files, of the metric type `resource` and of `component`: the
    program's name unless given; `component=""` leaves the process out.

    The first sample is taken at the start, and has no rates. A forked child does not sample unless it calls `start`.
    """

    def __init__(
        self,
        monitor: TakesSamples,
        *,
        every: float = SECONDS_BETWEEN_SAMPLES,
        host: str | None = None,
        component: str | None = None,
    ) -> None:
        self._monitor = monitor
        self._every = lenient.number("every", every, SECONDS_BETWEEN_SAMPLES, least=LEAST_SECONDS)
        self._host = socket.gethostname() if host is None else host
        self._component = program_name() if component is None else component
        self._reader = host_reader()
        self._process = ProcessReader()
        self.after_fork_in_child()
        forks.watch(self)

    def before_fork(self) -> None:
        """Need no rest: nothing here is left half done."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> Self:
        """Begin to sample; again, after `stop` or in a forked child. Does nothing while it is running."""
        with self._lock:
            if self._thread is None:
                self._stop = threading.Event()
                thread = threading.Thread(
                    target=self._run, args=(self._stop,), name="automon-host-sampler", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the system has no more threads, or the program is ending
                    logger.warning("automon: the host is not sampled: %s", error)
                else:
                    self._thread = thread
        return self

    def stop(self) -> None:
        """End the thread. Waits two seconds at most: a disk may be slow to answer."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_SECONDS)

    def sample(self) -> None:
        """Look once and record what was seen. To be used by one thread at a time; the sampler's own thread calls it when it runs."""
        moment = time.monotonic()
        if self._host:
            self._monitor.record_host_sample(self._host, self._reader.look(moment))
        if self._component:
            tags = {"host": self._host or socket.gethostname(), "pid": os.getpid()}
            for name, (value, unit) in self._process.look(moment).items():
                self._monitor.record_performance_metric(name, METRIC_TYPE, value, unit, self._component, tags)

    def _run(self, stop: threading.Event) -> None:
        told = False
        while not stop.is_set():
            try:
                self.sample()
            except Exception as error:  # noqa: BLE001 - whatever a strange host brings, the next look may go well
                if not told:
                    logger.warning("automon: the host was not sampled: %s: %s", type(error).__name__, readable(error))
                told = True
            stop.wait(self._every)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def program_name() -> str:
    """Name the running program without its folder: what runs on several hosts, or again and again, is one component."""
    name = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return name if name not in ("", "-c", "-m") else "python"


def host_reader() -> Looks:
    if ON_LINUX:
        from monitoring_client.host_reader import HostReader

        return HostReader()
    return OtherHostReader()


class OtherHostReader:
    """Looks at a host that has no /proc: what psutil knows, or the load and the first disk where it is not installed."""

    def __init__(self) -> None:
        self._has_looked = False

    def look(self, at: float) -> dict[str, Any]:  # noqa: ARG002 - psutil keeps its own time
        """Give the members of a Linux host's sample that can be known here. Raises nothing over what cannot."""
        cores = os.cpu_count() or 1
        sample: dict[str, Any] = {"cpu": {"cores": cores}, "disks": [_first_disk()]}
        if sys.platform != "win32":
            means = [round(mean, 2) for mean in os.getloadavg()]
            sample["load"] = dict(zip(("1m", "5m", "15m"), means, strict=True))
            sample["load_per_core"] = round(means[0] / cores, 2)
        known = _known_to_psutil()
        if not self._has_looked:
            known.pop("cpu_percent", None)  # of a time that has not begun
        self._has_looked = True
        return sample | known


def _first_disk() -> dict[str, Any]:
    root = Path.cwd().anchor or "/"
    total, used, free = shutil.disk_usage(root)
    share = round(100 * used / max(1, used + free), 1)
    return {"mount": root, "percent": share, "free_bytes": free, "total_bytes": total}


def _known_to_psutil() -> dict[str, Any]:
    try:
        import psutil
    except ImportError:
        return {}
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    used = memory.total - memory.available
    sample = {
        "cpu_percent": psutil.cpu_percent(),  # since the look before
        "memory_percent": round(100 * used / memory.total, 1),
        "memory": {"total_bytes": memory.total, "used_bytes": used, "percent": round(100 * used / memory.total, 1)},
        "uptime_seconds": round(time.time() - psutil.boot_time()),
    }
    if swap.total:
        sample["swap_percent"] = round(swap.percent, 1)
        sample["swap"] = {"total_bytes": swap.total, "used_bytes": swap.used, "percent": round(swap.percent, 1)}
    return sample


class ProcessReader:
    """Looks at this process. Keeps the CPU time of its latest look."""

    def __init__(self) -> None:
        self._pid = 0
        self._at = 0.0
        self._cpu = 0.0

    def look(self, at: float) -> dict[str, tuple[float, str]]:
        """Answer values with their units; `at` is the moment in monotonic seconds. What cannot be known is absent."""
        seen = _process_on_linux() if ON_LINUX else _process_elsewhere()
        return seen | self._cpu_share(at)

    def _cpu_share(self, at: float) -> dict[str, tuple[float, str]]:
        """Percent of one core since the look before, all threads together: above 100 when several cores were at work."""
        cpu, pid = time.process_time(), os.getpid()
        spent, elapsed, is_first = cpu - self._cpu, at - self._at, pid != self._pid  # a forked child begins anew
        self._at, self._cpu, self._pid = at, cpu, pid
        if is_first or elapsed <= 0:
            return {}
        return {"process_cpu": (round(max(0.0, 100 * spent / elapsed), 1), "percent")}


def _process_on_linux() -> dict[str, tuple[float, str]]:
    seen: dict[str, tuple[float, str]] = {}
    try:
        resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
        seen["process_memory"] = resident_pages * os.sysconf("SC_PAGE_SIZE"), "bytes"
        # What follows the name, which may hold anything: the state is the first field there, the number of threads the 18th.
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        seen["process_threads"] = int(fields[17]), "threads"
        seen["process_open_files"] = _open_files(), "files"
    except (OSError, ValueError, LookupError):  # a /proc that hides itself
        pass
    return seen


def _open_files() -> int:
    """Count what is open. Linux tells the number since 6.2; before that, counting a hundred thousand takes a while."""
    folder = "/proc/self/fd"
    return os.stat(folder).st_size or len(os.listdir(folder)) - 1  # noqa: PTH116, PTH208 - one less: the listing itself


def _process_elsewhere() -> dict[str, tuple[float, str]]:
    try:
        import psutil
    except ImportError:
        return {"process_threads": (threading.active_count(), "threads")}
    process = psutil.Process()
    return {
        "process_memory": (process.memory_info().rss, "bytes"),
        "process_threads": (process.num_threads(), "threads"),
    }
