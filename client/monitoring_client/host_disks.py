"""Which file systems of a Linux host are its disks, and how full they are. Nothing that may hang is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

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


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo. `root` is the part of the file system that is mounted at `point`."""

    device: str
    root: str
    point: str
    kind: str
    source: str
    read_only: bool

    def is_disk(self) -> bool:
        if self.point == ROOT:
            return self.kind in LOCAL_KINDS or self.kind in ROOT_KINDS
        # What nobody can write to is as full as it was made.
        if self.kind not in LOCAL_KINDS or self.read_only or self.source.startswith("/dev/loop"):
            return False
        return NOT_DISKS_BELOW.isdisjoint(map(str, PurePosixPath(self.point).parents))

    def space(self) -> str:
        """Name the space that is filled. Data sets of one ZFS pool have limits of their own."""
        return self.source if self.kind == "zfs" else self.device

    def order(self) -> tuple[bool, bool, int, str]:
        """Sort the root first, then whole file systems, then parts of one, short names before long ones."""
        return self.point != ROOT, self.root != ROOT, len(self.point), self.point


def disk_mounts(mountinfo: str) -> list[Mount]:
    """Choose, of /proc/self/mountinfo, the local disks that a path leads to without touching anything that may hang."""
    # Of two file systems at one place, the later one covers the earlier.
    mounts = {mount.point: mount for line in mountinfo.split("\n") if (mount := _mount(line))}
    disks = sorted((mount for mount in mounts.values() if mount.is_disk()), key=Mount.order)
    dangers = {point for point, mount in mounts.items() if mount.kind not in HARMLESS_KINDS}
    return [disk for disk in disks if dangers.isdisjoint(map(str, PurePosixPath(disk.point).parents))]


def _mount(line: str) -> Mount | None:
    """Read a line; None when it makes no sense."""
    try:
        place, _, file_system = line.partition(" - ")
        _, _, device, root, point = place.split(" ")[:5]
        kind, source, options = file_system.split(" ")[:3]
    except ValueError:
        return None
    return Mount(device, _unescaped(root), _unescaped(point), kind, _unescaped(source), "ro" in options.split(","))


def measure(mounts: Iterable[Mount]) -> list[dict[str, Any]]:
    """Ask how full they are, each space once, fullest first: {"mount", "percent", "free_bytes", "total_bytes", "inodes_percent"}.

    `percent` is of what an ordinary user may fill, as df says it. What is no folder or cannot be asked is left out.
    """
    disks: dict[str, dict[str, Any]] = {}
    root_in_layers: int | None = None
    for mount in mounts:
        disk = None if mount.space() in disks else _measured(mount.point)
        # The part of the host's disk on which a container's layers lie, as for named volumes.
        if disk is None or (mount.root != ROOT and disk["total_bytes"] == root_in_layers):
            continue
        if mount.point == ROOT and mount.kind not in LOCAL_KINDS:
            root_in_layers = disk["total_bytes"]
        disks[mount.space()] = disk
    return sorted(disks.values(), key=lambda disk: -float(disk["percent"]))[:MOST_DISKS]


def _measured(point: str) -> dict[str, Any] | None:
    try:
        space = os.statvfs(point)
    except OSError:
        return None
    used = space.f_blocks - space.f_bfree
    # Container engines mount single files, such as /etc/hosts, each with the figures of the disk that it lies on.
    if used + space.f_bavail <= 0 or not os.path.isdir(point):  # noqa: PTH112 - five times as fast
        return None
    disk = {
        "mount": os.fsencode(point).decode(errors="replace"),
        "percent": round(100 * used / (used + space.f_bavail), 1),
        "free_bytes": space.f_bavail * space.f_frsize,
        "total_bytes": space.f_blocks * space.f_frsize,
    }
    if space.f_files:
        disk["inodes_percent"] = round(100 * (space.f_files - space.f_ffree) / space.f_files, 1)
    return disk


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text) if "\\" in text else text
