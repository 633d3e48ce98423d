"""Which file systems of a host are its disks, and how full they are. Nothing that may hang is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

LOCAL_KINDS = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "nilfs2", "reiserfs", "bcachefs", "ntfs3", "exfat")
)
# What may be the root of a container or of a machine without a disk; statistics are those of what lies below.
ROOT_KINDS = frozenset(("overlay", "aufs", "fuse.fuse-overlayfs", "tmpfs", "virtiofs", "9p"))
# A way to a disk may lead over these; over anything else, such as a network's file system, it may hang.
HARMLESS_KINDS = LOCAL_KINDS | ROOT_KINDS | {"devtmpfs", "rootfs", "ramfs", "squashfs", "erofs", "autofs"}
# Layers, images and volumes that container engines, kubelets and snaps mount and unmount as they like.
NOT_DISKS_BELOW = frozenset(
    ("/run", "/snap", "/var/snap", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet")
)
MOST_DISKS = 64
ROOT = "/"

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo. `root` is the part of the file system that is mounted at `point`."""

    number: str
    parent: str
    device: str
    root: str
    point: str
    kind: str
    source: str
    read_only: bool

    @classmethod
    def from_line(cls, line: str) -> Mount:
        """Read one line. Raises ValueError when it is none."""
        place, _, file_system = line.partition(" - ")
        number, parent, device, root, point = place.split(" ")[:5]
        kind, source, options = file_system.split(" ")[:3]
        return cls(
            number=number,
            parent=parent,
            device=device,
            root=_unescaped(root),
            point=_unescaped(point),
            kind=kind,
            source=_unescaped(source),
            read_only="ro" in options.split(","),
        )

    @property
    def is_disk(self) -> bool:
        if self.point == ROOT:
            return self.kind in LOCAL_KINDS | ROOT_KINDS
        # What nobody can write to is as full as it was made.
        if self.kind not in LOCAL_KINDS or self.read_only or self.source.startswith("/dev/loop"):
            return False
        return NOT_DISKS_BELOW.isdisjoint(map(str, PurePosixPath(self.point).parents))

    @property
    def space(self) -> str:
        """What names the space that is filled. Data sets of one ZFS pool have limits of their own."""
        return self.source if self.kind == "zfs" else self.device

    @property
    def order(self) -> tuple[bool, bool, int, str]:
        """The root first, then whole file systems, then parts of one, short names before long ones."""
        return self.point != ROOT, self.root != ROOT, len(self.point), self.point


def read_mounts(mountinfo: str) -> list[Mount]:
    """Read /proc/self/mountinfo; lines that make no sense are left out."""
    return list(_mounts(mountinfo))


def _mounts(mountinfo: str) -> Iterator[Mount]:
    for line in mountinfo.split("\n"):
        try:
            yield Mount.from_line(line)
        except ValueError:
            continue


def disk_mounts(mounts: list[Mount]) -> list[Mount]:
    """Choose what may be asked: local disks that a path leads to without touching anything that may hang."""
    disks = sorted((mount for mount in mounts if mount.is_disk), key=lambda mount: mount.order)
    return [mount for mount in disks if _found_at(mount.point, mounts) is mount]


def _found_at(point: str, mounts: list[Mount]) -> Mount | None:
    """Follow a path over the mounts as the kernel does; None when the way leads over something that may hang.

    A mount may be covered by a later one at the same point or above it, and asking for its path then asks that one.
    """
    numbers = {mount.number for mount in mounts}
    on = {(mount.parent, mount.point): mount for mount in mounts if mount.parent != mount.number}
    tops = (mount for mount in mounts if mount.parent == mount.number or mount.parent not in numbers)
    here = next((mount for mount in tops if mount.point == ROOT), None)
    path = PurePosixPath(point)
    for step in (*reversed(path.parents), path):
        while here is not None and (above := on.pop((here.number, str(step)), None)) is not None:
            here = above if here.kind in HARMLESS_KINDS else None
    return here


def measure(mounts: Iterable[Mount]) -> list[dict[str, Any]]:
    """Ask how full they are, each space once, fullest first: {"mount", "percent", "free_bytes", "total_bytes", "inodes_percent"}.

    `percent` is of what an ordinary user may fill, as df says it. What is no folder or cannot be asked is left out.
    """
    disks: dict[str, dict[str, Any]] = {}
    root_in_layers: int | None = None
    for mount in mounts:
        disk = None if mount.space in disks else _measured(mount)
        # The part of the host's disk on which a container's layers lie, as for named volumes.
        if disk is None or (mount.root != ROOT and disk["total_bytes"] == root_in_layers):
            continue
        if mount.point == ROOT and mount.kind not in LOCAL_KINDS:
            root_in_layers = disk["total_bytes"]
        disks[mount.space] = disk
    return sorted(disks.values(), key=lambda disk: -disk["percent"])[:MOST_DISKS]


def _measured(mount: Mount) -> dict[str, Any] | None:
    try:
        space = os.statvfs(mount.point)
    except OSError:
        return None
    # Container engines mount single files, such as /etc/hosts, each with the figures of the disk that it lies on.
    if not Path(mount.point).is_dir():
        return None
    used = space.f_blocks - space.f_bfree
    if used + space.f_bavail <= 0:
        return None
    disk = {
        "mount": _printable(mount.point),
        "percent": round(100 * used / (used + space.f_bavail), 1),
        "free_bytes": space.f_bavail * space.f_frsize,
        "total_bytes": space.f_blocks * space.f_frsize,
    }
    if space.f_files:
        disk["inodes_percent"] = round(100 * (space.f_files - space.f_ffree) / space.f_files, 1)
    return disk


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text)


def _printable(name: str) -> str:
    """Replace what is no UTF-8: a file name is bytes, and the database refuses half characters."""
    return os.fsencode(name).decode(errors="replace")
