"""What the control groups around this process allow it: cgroup v2, and v1 where a machine still has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MICROSECONDS_PER_SECOND = 1e6
NANOSECONDS_PER_SECOND = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimit:
    """`used_bytes` leaves out the page cache that the kernel would give up at once: it fills any limit in time."""

    limit_bytes: int
    used_bytes: int

    @property
    def left_bytes(self) -> int:
        return self.limit_bytes - self.used_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuQuota:
    """`counters` only rise: used_seconds of CPU time, periods, and the throttled ones among them; any may be missing."""

    cores: float
    counters: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hierarchy:
    """A folder of control groups, and the groups in it that this process is in: outermost first, relative to it."""

    folder: Path
    groups: tuple[Path, ...]


class ContainerLimits:
    """Reads limits below `cgroup`, for the process whose groups `proc` names. What cannot be read limits nothing."""

    def __init__(self, *, proc: Path, cgroup: Path) -> None:
        self._proc = proc
        self._cgroup = cgroup

    @property
    def _unified(self) -> bool:
        return (self._cgroup / "cgroup.controllers").exists()

    def memory(self) -> MemoryLimit | None:
        """Find the memory limit that would be reached first; None without any."""
        read = _memory_v2 if self._unified else _memory_v1
        hierarchy = self._hierarchy("memory")
        limits = [limit for group in hierarchy.groups if (limit := read(hierarchy.folder / group))]
        return min(limits, key=lambda limit: limit.left_bytes, default=None)

    def cpu(self) -> CpuQuota | None:
        """Find the smallest CPU quota; None without any."""
        quotas = self._cpu_v2() if self._unified else self._cpu_v1()
        return min(quotas, key=lambda quota: quota.cores, default=None)

    def _cpu_v2(self) -> Iterator[CpuQuota]:
        hierarchy = self._hierarchy("cpu")
        for group in hierarchy.groups:
            folder = hierarchy.folder / group
            quota, _, period = _text(folder / "cpu.max").partition(" ")
            if cores := _cores(_whole(quota), _whole(period)):
                stat = _counters(folder / "cpu.stat")
                yield _quota(cores, stat, stat.get("usage_usec"), MICROSECONDS_PER_SECOND)

    def _cpu_v1(self) -> Iterator[CpuQuota]:
        hierarchy, usage = self._hierarchy("cpu"), self._hierarchy("cpuacct").folder
        for group in hierarchy.groups:
            folder = hierarchy.folder / group
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            if cores := _cores(quota, period):
                used = _number(usage / group / "cpuacct.usage")
                yield _quota(cores, _counters(folder / "cpu.stat"), used, NANOSECONDS_PER_SECOND)

    def _hierarchy(self, controller: str) -> _Hierarchy:
        names, path = self._membership("" if self._unified else controller)
        # Controllers that share a hierarchy share a folder, which may have the names of both.
        folders = [self._cgroup] if self._unified else [self._cgroup / controller, self._cgroup / names]
        folder = next((folder for folder in folders if folder.is_dir()), folders[0])
        return _Hierarchy(folder=folder, groups=tuple(_groups(folder, path)))

    def _membership(self, controller: str) -> tuple[str, str]:
        for line in _text(self._proc / "self" / "cgroup").splitlines():
            _, _, membership = line.partition(":")
            names, _, path = membership.partition(":")
            if controller in names.split(","):
                return names, path
        return controller, "/"


def _groups(folder: Path, path: str) -> Iterator[Path]:
    """Walk from the outermost group inwards, as far as this process can see.

    A container sees its own group as the outermost, with or without the rest of its path. The group of a systemd
    service is left out: what limits automon itself says nothing about the host.
    """
    group = Path()
    yield group
    for part in path.strip("/").split("/"):
        group /= part
        if part in ("", "..") or not (folder / group).is_dir():
            return
        if not part.endswith(".service"):
            yield group


def _memory_v2(folder: Path) -> MemoryLimit | None:
    cache = _counters(folder / "memory.stat").get("inactive_file", 0)
    return _memory(_number(folder / "memory.max"), _number(folder / "memory.current"), cache)


def _memory_v1(folder: Path) -> MemoryLimit | None:
    cache = _counters(folder / "memory.stat").get("total_inactive_file", 0)
    return _memory(_number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes"), cache)


def _memory(limit: int | None, usage: int | None, cache: int) -> MemoryLimit | None:
    if not limit or usage is None:
        return None
    return MemoryLimit(limit_bytes=limit, used_bytes=max(0, usage - cache))


def _cores(quota: int | None, period: int | None) -> float | None:
    return quota / period if quota and period else None


def _quota(cores: float, stat: Mapping[str, int], used: int | None, used_per_second: float) -> CpuQuota:
    counters = {
        "used_seconds": None if used is None else used / used_per_second,
        "periods": stat.get("nr_periods"),
        "throttled": stat.get("nr_throttled"),
    }
    return CpuQuota(cores=cores, counters={name: value for name, value in counters.items() if value is not None})


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _whole(text: str) -> int | None:
    """Read a number that is not negative; anything else, as "max" and -1, means that there is none."""
    return int(text) if text.isascii() and text.isdigit() else None


def _number(path: Path) -> int | None:
    return _whole(_text(path))


def _counters(path: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in _text(path).splitlines())
    return {name: number for name, _, text in pairs if (number := _whole(text)) is not None}
