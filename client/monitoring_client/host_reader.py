"""Looks at a Linux host by way of /proc: CPU, memory, disks, network, load, pressure, and the limits of the container around this process.

What cannot be known is absent from a look, never 0. The service looks at its host in the same way and names things alike.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monitoring_client.container_limits import ContainerLimits
from monitoring_client.host_disks import disk_mounts, measure

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
# Ticks of the processor clock are 10 ms apart: shares of a shorter interval would be mostly rounding.
SHORTEST_INTERVAL_SECONDS = 0.5
CPU_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # guests' time is in user and nice
SECTOR_BYTES = 512
# These pass on what others count too: bytes are counted where they reach the machine.
NOT_DEVICES = re.compile(r"loop|z?ram|dm-|md|bcache|drbd|sr\d|fd\d")
NOT_INTERFACES = re.compile(
    r"lo$|veth|docker|br\d|br-|virbr|vnet|cni|flannel|cali|ovs|tun|tap|wg|dummy|ifb|bond|team|vlan"
)
# A disk whose name ends in a digit puts a p before the number of a partition; a VLAN follows its interface after a dot.
PART = re.compile(r"\.?\d+")
PART_OF_NUMBERED = re.compile(r"[p.]\d+")
MEMORY = frozenset(("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"))
UNREADABLE = (OSError, ValueError, LookupError, ArithmeticError)

Section = dict[str, Any]


class Gains:
    """Counters as they were at the look before, to tell what they gained since."""

    def __init__(self) -> None:
        self._at = -math.inf
        self._values: Mapping[str, float] = {}

    def rates(self, at: float, values: Mapping[str, float]) -> dict[str, float]:
        """Answer the gain per second of each counter that was there before and did not fall.

        `at`: monotonic seconds. Nothing at the first look, when `at` went back, and after less than half a second.
        """
        elapsed = at - self._at
        if 0 <= elapsed < SHORTEST_INTERVAL_SECONDS:
            return {}
        before = self._values
        self._at, self._values = at, values
        if elapsed < 0:
            return {}
        gains = {name: (value - before[name]) / elapsed for name, value in values.items() if name in before}
        return {name: gain for name, gain in gains.items() if gain >= 0}


class HostReader:
    """Keeps the counters of its latest look; to be used by one thread at a time."""

    def __init__(self, *, proc: Path = PROC, cgroup: Path = CGROUP) -> None:
        self._proc = proc
        self._limits = ContainerLimits(proc=proc, cgroup=cgroup)
        self._gains = {name: Gains() for name in ("cpu", "container", "disk_io", "network")}

    def look(self, at: float) -> dict[str, Any]:
        """Look once; `at` is the moment in monotonic seconds. Plain JSON; docs/reference/host_samples.md names every key.

        Rates and CPU shares are means since the look before, and absent from the first. Raises nothing over a file that
        is missing, forbidden or not as expected.
        """
        memory = _tried(self._meminfo)
        quota = self._limits.cpu()
        sections: dict[str, Section] = {
            "cpu": _tried(lambda: self._cpu(at, quota.cores if quota else math.inf)),
            "load": _tried(self._load),
            "memory": _tried(lambda: filled(memory["MemTotal"], memory["MemTotal"] - memory["MemAvailable"])),
            "swap": _tried(lambda: filled(memory["SwapTotal"], memory["SwapTotal"] - memory["SwapFree"])),
            "container": _tried(lambda: self._container_memory(memory["MemTotal"])),
            "disk_io": _tried(lambda: self._disk_io(at)),
            "network": _tried(lambda: self._network(at)),
            "pressure": self._pressure(),
        }
        if quota:
            rates = self._gains["container"].rates(at, quota.counters)
            sections["container"] |= {"cpu_limit_cores": round(quota.cores, 2)} | quota_shares(quota.cores, rates)
        alone = _tried(self._uptime) | _tried(self._disks)
        return headline(sections) | alone | {name: section for name, section in sections.items() if section}

    def _cpu(self, at: float, quota: float) -> Section:
        cores = os.cpu_count() or 1
        usable = len(os.sched_getaffinity(0))
        with (self._proc / "stat").open() as stat:
            name, *ticks = stat.readline().split()
        if name != "cpu":
            raise ValueError(name)
        times = dict(zip(CPU_TIMES, map(int, ticks), strict=False))
        known: Section = {"cores": cores, "effective_cores": round(quota, 2) if quota < usable else usable}
        return known | cpu_shares(times, self._gains["cpu"].rates(at, times))

    def _load(self) -> Section:
        means = [finite(text) for text in self._text("loadavg").split()[:3]]
        return {name: round(mean, 2) for name, mean in zip(("1m", "5m", "15m"), means, strict=True)}

    def _meminfo(self) -> dict[str, int]:
        """Read meminfo, in bytes."""
        fields = (line.partition(":") for line in self._text("meminfo").splitlines())
        return {name: int(value.split()[0]) * 1024 for name, _, value in fields if name in MEMORY}

    def _container_memory(self, total: int) -> Section:
        memory = self._limits.memory()
        # A limit above what the host has is none; that is also how cgroup v1 says "no limit".
        if memory is None or memory.limit >= total:
            return {}
        return {
            "memory_limit_bytes": memory.limit,
            "memory_used_bytes": memory.used,
            "memory_percent": percent(memory.used, memory.limit),
        }

    def _disk_io(self, at: float) -> Section:
        counters: dict[str, float] = {}
        devices = {fields[2]: fields for line in self._text("diskstats").splitlines() if (fields := line.split())}
        for name in outermost(devices, NOT_DEVICES):
            counters[f"read_bytes_per_second {name}"] = int(devices[name][5]) * SECTOR_BYTES
            counters[f"written_bytes_per_second {name}"] = int(devices[name][9]) * SECTOR_BYTES
        return summed(self._gains["disk_io"].rates(at, counters))

    def _network(self, at: float) -> Section:
        counters: dict[str, float] = {}
        lines = (line.rpartition(":") for line in self._text("net/dev").splitlines()[2:])
        interfaces = {name.strip(): numbers.split() for name, _, numbers in lines}
        for name in outermost(interfaces, NOT_INTERFACES):
            counters[f"received_bytes_per_second {name}"] = int(interfaces[name][0])
            counters[f"sent_bytes_per_second {name}"] = int(interfaces[name][8])
        return summed(self._gains["network"].rates(at, counters))

    def _pressure(self) -> Section:
        found = {name: self._some_pressure(name) for name in ("cpu", "memory", "io")}
        return {name: value for name, value in found.items() if value is not None}

    def _some_pressure(self, resource: str) -> float | None:
        try:
            # The first line tells of "some" tasks that waited. Kernels before 4.20 have no such file; psi=0 makes it unreadable.
            return round(finite(self._text(f"pressure/{resource}").split()[1].removeprefix("avg10=")), 2)
        except UNREADABLE:
            return None

    def _uptime(self) -> Section:
        return {"uptime_seconds": round(finite(self._text("uptime").split()[0]))}

    def _disks(self) -> Section:
        disks = measure(disk_mounts(self._text("self/mountinfo")))
        return {"disks": disks} if disks else {}

    def _text(self, name: str) -> str:
        return (self._proc / name).read_text(errors="surrogateescape")


def _tried(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read a section. One that cannot be read costs the others nothing."""
    try:
        return read()
    except UNREADABLE:
        return {}


def headline(seen: Mapping[str, Section]) -> Section:
    """Pick what alerts go by. Where a container limits CPU or memory, they speak of whichever runs out first, it or the host."""
    cpu, load, memory, swap, container = (seen[name] for name in ("cpu", "load", "memory", "swap", "container"))
    found = {
        "cpu_percent": scarcer(
            (cpu.get("percent"), cpu.get("cores")), (container.get("cpu_percent"), container.get("cpu_limit_cores"))
        ),
        "memory_percent": scarcer(
            (memory.get("percent"), memory.get("total_bytes")),
            (container.get("memory_percent"), container.get("memory_limit_bytes")),
        ),
        "swap_percent": swap.get("percent"),
        "load_per_core": round(load["1m"] / cpu["cores"], 2) if load and cpu else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def scarcer(*candidates: tuple[float | None, float | None]) -> float | None:
    """Of pairs of percent used and whole, answer the percent of that with the least left; None when nothing is known."""
    left = {whole * (100 - used): used for used, whole in candidates if used is not None and whole is not None}
    return left[min(left)] if left else None


def cpu_shares(times: Iterable[str], rates: Mapping[str, float]) -> Section:
    """Percent of all CPU time since the look before; nothing unless every counter is known to have risen or stood.

    What another guest of the same machine took (steal) was wanted here, and so counts as busy.
    """
    total = sum(rates.values())
    if set(times) != set(rates) or not total:
        return {}
    waited = rates["idle"] + rates.get("iowait", 0)
    told = [name for name in ("user", "system", "iowait", "steal") if name in rates]
    return {"percent": percent(total - waited, total)} | {
        f"{name}_percent": percent(rates[name], total) for name in told
    }


def quota_shares(cores: float, rates: Mapping[str, float]) -> Section:
    """How much of a CPU quota was used, and in how many of its periods it was used up."""
    section: Section = {}
    if "used_seconds" in rates:
        section["cpu_percent"] = percent(rates["used_seconds"], cores)
    if rates.get("periods") and "throttled" in rates:
        section["cpu_throttled_percent"] = percent(rates["throttled"], rates["periods"])
    return section


def summed(rates: Mapping[str, float]) -> Section:
    """Add up rates that are named alike before the blank."""
    sums: defaultdict[str, float] = defaultdict(float)
    for name, rate in rates.items():
        sums[name.partition(" ")[0]] += rate
    return {name: round(rate) for name, rate in sums.items()}


def outermost(names: Iterable[str], left_out: re.Pattern[str]) -> list[str]:
    """Choose devices that do not begin like those left out and are no part of another: not sda1 of sda, nor eth0.7 of eth0."""
    chosen = [name for name in names if not left_out.match(name)]
    return [name for name in chosen if not any(_is_part(name, other) for other in chosen)]


def _is_part(name: str, other: str) -> bool:
    part = PART_OF_NUMBERED if other[-1].isdigit() else PART
    return name.startswith(other) and part.fullmatch(name, len(other)) is not None


def filled(total: int, used: int) -> Section:
    """Describe a store of bytes; nothing when there is none, such as a host without swap."""
    return {"total_bytes": total, "used_bytes": max(0, used), "percent": percent(used, total)} if total > 0 else {}


def percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100 * part / whole)), 1)


def finite(text: str) -> float:
    """Read a number that JSON can hold and that is not negative; raises ValueError for any other text."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(f"{text!r} is not a finite number of at least 0")
    return number
