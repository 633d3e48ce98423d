"""What the control groups around this process allow it: cgroup v2, and v1 where a machine still has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MICROSECONDS_PER_SECOND = 1e6
NANOSECONDS_PER_SECOND = 1e9


class MemoryLimit(NamedTuple):
    """In bytes. `used` leaves out the page cache that the kernel would give up at once: it fills any limit in time."""

    limit: int
    used: int


class CpuQuota(NamedTuple):
    """`counters` only rise: used_seconds of CPU time, periods, and the throttled ones among them; any may be missing."""

    cores: float
    counters: dict[str, float]


class ContainerLimits:
    """Reads limits below `cgroup`, for the process whose groups `proc` names. What cannot be read limits nothing."""

    def __init__(self, *, proc: Path, cgroup: Path) -> None:
        self._proc = proc
        self._cgroup = cgroup

    def memory(self) -> MemoryLimit | None:
        """Find the memory limit that would be reached first; None without any."""
        read = _memory_v2 if self._is_unified() else _memory_v1
        limits = [limit for folder in self._folders("memory") if (limit := read(folder))]
        return min(limits, key=lambda limit: limit.limit - limit.used, default=None)

    def cpu(self) -> CpuQuota | None:
        """Find the smallest CPU quota; None without any."""
        quotas = self._cpu_v2() if self._is_unified() else self._cpu_v1()
        return min(quotas, key=lambda quota: quota.cores, default=None)

    def _cpu_v2(self) -> Iterator[CpuQuota]:
        for folder in self._folders("cpu"):
            quota, _, period = _text(folder / "cpu.max").partition(" ")
            if cores := _cores(_whole(quota), _whole(period)):
                stat = _counters(folder / "cpu.stat")
                yield _quota(cores, stat, stat.get("usage_usec"), MICROSECONDS_PER_SECOND)

    def _cpu_v1(self) -> Iterator[CpuQuota]:
        usages = self._folders("cpuacct")
        for depth, folder in enumerate(self._folders("cpu")):
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            if cores := _cores(quota, period):
                used = _number(usages[depth] / "cpuacct.usage") if depth < len(usages) else None
                yield _quota(cores, _counters(folder / "cpu.stat"), used, NANOSECONDS_PER_SECOND)

    def _is_unified(self) -> bool:
        return (self._cgroup / "cgroup.controllers").exists()

    def _folders(self, controller: str) -> list[Path]:
        """List the folders of the groups around this process, outermost first."""
        if self._is_unified():
            return list(_groups(self._cgroup, self._membership("")[1]))
        names, path = self._membership(controller)
        # Controllers that share a hierarchy share a folder, which may have the names of both.
        root = next((root for name in (controller, names) if (root := self._cgroup / name).is_dir()), None)
        return list(_groups(root, path)) if root else []

    def _membership(self, controller: str) -> tuple[str, str]:
        for line in _text(self._proc / "self/cgroup").splitlines():
            _, _, membership = line.partition(":")
            names, _, path = membership.partition(":")
            if controller in names.split(","):
                return names, path
        return controller, "/"


def _groups(root: Path, path: str) -> Iterator[Path]:
    """Walk from the outermost group inwards, as far as this process can see.

    A container sees its own group as the outermost, with or without the rest of its path. The group of a systemd
    service is left out: what limits one service says nothing about the host.
    """
    yield root
    group = root
    for part in path.strip("/").split("/"):
        group /= part
        if part in ("", "..") or not group.is_dir():
            return
        if not part.endswith(".service"):
            yield group


def _memory_v2(folder: Path) -> MemoryLimit | None:
    return _memory(folder, "memory.max", "memory.current", "inactive_file")


def _memory_v1(folder: Path) -> MemoryLimit | None:
    return _memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _memory(folder: Path, limit_file: str, usage_file: str, cache: str) -> MemoryLimit | None:
    limit, usage = _number(folder / limit_file), _number(folder / usage_file)
    if not limit or usage is None:
        return None
    return MemoryLimit(limit, max(0, usage - _counters(folder / "memory.stat").get(cache, 0)))


def _cores(quota: int | None, period: int | None) -> float | None:
    return quota / period if quota and period else None


def _quota(cores: float, stat: dict[str, int], used: int | None, used_per_second: float) -> CpuQuota:
    counters = {
        "used_seconds": None if used is None else used / used_per_second,
        "periods": stat.get("nr_periods"),
        "throttled": stat.get("nr_throttled"),
    }
    return CpuQuota(cores, {name: value for name, value in counters.items() if value is not None})


def _counters(file: Path) -> dict[str, int]:
    fields = (line.partition(" ") for line in _text(file).splitlines())
    numbers = ((name, _whole(value)) for name, _, value in fields)
    return {name: number for name, number in numbers if number is not None}


def _number(file: Path) -> int | None:
    return _whole(_text(file))


def _whole(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
