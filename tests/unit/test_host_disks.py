from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs.host_disks import disk_mounts, measure, read_mounts

ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard"
CONTAINER_ROOT = "700 650 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/l/A,upperdir=/u,workdir=/w"


def points(*lines: str) -> list[str]:
    """Say which mount points may be asked, of lines of /proc/self/mountinfo."""
    return [mount.point for mount in disk_mounts(read_mounts("\n".join(lines)))]


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "fuse.sshfs", "fuse", "autofs", "fuse.glusterfs", "unheard-of"]
)
def test_a_file_system_that_may_hang_is_never_asked(kind: str) -> None:
    assert points(ROOT, f"40 27 0:50 / /mnt/nas rw - {kind} nas:/export rw") == ["/"]


def test_nothing_is_asked_on_a_root_that_may_hang() -> None:
    assert points("27 1 0:50 / / rw - nfs4 nas:/root rw", "28 27 8:1 / /data rw - ext4 /dev/sda1 rw") == []


def test_a_disk_below_a_file_system_that_may_hang_is_not_asked() -> None:
    lines = ["40 27 0:50 / /net rw - nfs4 nas:/ rw", "41 40 8:1 / /net/scratch rw - ext4 /dev/sda1 rw"]

    assert points(ROOT, *lines) == ["/"]


def test_a_disk_that_is_covered_by_a_file_system_that_may_hang_is_not_asked() -> None:
    disks = ["40 27 8:1 / /mnt rw - ext4 /dev/sda1 rw", "41 27 8:2 / /srv/a rw - xfs /dev/sda2 rw"]
    covers = ["42 40 0:50 / /mnt rw - nfs4 nas:/ rw", "43 27 0:51 / /srv rw - nfs4 nas:/srv rw"]

    assert points(ROOT, *disks) == ["/", "/mnt", "/srv/a"]
    assert points(ROOT, *disks, *covers) == ["/"]


def test_a_disk_that_covers_another_is_asked_in_its_place() -> None:
    lines = ["40 27 8:1 / /mnt rw - ext4 /dev/sda1 rw", "41 40 8:2 / /mnt rw - xfs /dev/sda2 rw"]

    assert [mount.source for mount in disk_mounts(read_mounts("\n".join([ROOT, *lines])))] == ["/dev/vda", "/dev/sda2"]


def test_a_disk_that_is_mounted_when_needed_is_asked_once_it_is_mounted() -> None:
    waiting = "40 27 0:44 / /data rw - autofs systemd-1 rw,direct"

    assert points(ROOT, waiting) == ["/"]
    assert points(ROOT, waiting, "41 40 8:1 / /data rw - ext4 /dev/sda1 rw") == ["/", "/data"]


def test_a_root_that_covers_the_first_file_system_is_found() -> None:
    assert points("1 1 0:2 / / rw - rootfs rootfs rw", "27 1 254:0 / / rw - ext4 /dev/vda rw") == ["/"]


@pytest.mark.parametrize(
    "line",
    [
        "40 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro",
        "40 27 7:2 / /mnt/image rw - ext4 /dev/loop2 rw",
        "40 27 0:51 / /var/lib/docker/overlay2/ab/merged rw - overlay overlay rw",
        "40 27 253:5 / /var/lib/docker/devicemapper/mnt/ab rw - ext4 /dev/mapper/docker-ab rw",
        "40 27 8:16 / /var/lib/kubelet/pods/ab/volumes/x rw - ext4 /dev/sdb rw",
        "40 27 8:17 / /run/media/me/stick rw - exfat /dev/sdb1 rw",
        "40 27 8:2 / /boot/efi rw - vfat /dev/sda2 rw",
        "40 27 8:3 / /usr ro,relatime - ext4 /dev/sda3 ro",
        "40 27 11:0 / /media/cdrom ro - iso9660 /dev/sr0 ro",
        "40 27 0:25 / /dev/shm rw - tmpfs tmpfs rw",
        "40 27 0:25 / /proc rw - proc proc rw",
    ],
)
def test_what_is_no_disk_to_watch_is_left_out(line: str) -> None:
    assert points(ROOT, line) == ["/"]


@pytest.mark.parametrize(
    "line",
    [
        "40 27 8:1 / /data rw,relatime - xfs /dev/sda1 rw",
        "40 27 8:1 / /data ro,relatime shared:2 master:1 - ext4 /dev/mapper/vg-data rw",
        "40 27 0:30 /@data /data rw - btrfs /dev/sda2 rw,subvol=/@data",
        "40 27 0:31 / /data rw - zfs tank/data rw",
    ],
    ids=["xfs", "mounted read-only here", "btrfs", "zfs"],
)
def test_a_local_disk_is_asked(line: str) -> None:
    assert points(ROOT, line) == ["/", "/data"]


def test_where_docker_keeps_its_data_may_be_a_disk_of_its_own() -> None:
    assert points(ROOT, "40 27 8:1 / /var/lib/docker rw - ext4 /dev/sda1 rw") == ["/", "/var/lib/docker"]


@pytest.mark.parametrize(
    "kind", ["overlay", "aufs", "fuse.fuse-overlayfs", "virtiofs", "9p", "tmpfs", "zfs", "btrfs", "xfs"]
)
def test_the_root_of_a_container_is_reported(kind: str) -> None:
    assert [
        disk["mount"] for disk in measure(disk_mounts(read_mounts(CONTAINER_ROOT.replace("overlay", kind, 1))))
    ] == ["/"]


def test_lines_that_make_no_sense_are_passed_over() -> None:
    assert points("", "27", "27 1 - ", "a b c d e - f", "nonsense " * 20, "\0", ROOT) == ["/"]


def test_mounts_that_lie_in_a_circle_are_passed_over() -> None:
    circle = [
        "2 1 8:1 / /a rw - ext4 /dev/a rw",
        "2 3 8:1 / /a rw - ext4 /dev/a rw",
        "3 2 8:2 / /a rw - ext4 /dev/b rw",
    ]

    assert points("1 0 254:0 / / rw - ext4 /dev/vda rw", *circle)[0] == "/"


# Real folders, so that they can be asked --------------------------------------------------------------------------


def asked(*lines: str) -> list[str]:
    return sorted(disk["mount"] for disk in measure(disk_mounts(read_mounts("\n".join(lines)))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "longer", "with space", "file"):
        (tmp_path / name).mkdir() if name != "file" else (tmp_path / name).write_text("")
    return tmp_path


def test_each_disk_is_reported_once_under_its_best_name(folder: Path) -> None:
    whole = f"41 27 8:1 / {folder}/longer rw - ext4 /dev/sda1 rw"
    part = f"40 27 8:1 /some/folder {folder}/a rw - ext4 /dev/sda1 rw"
    of_root = f"42 27 254:0 /srv {folder}/a rw - ext4 /dev/vda rw"

    assert asked(ROOT, part, whole) == ["/", f"{folder}/longer"]
    assert asked(ROOT, part) == ["/", f"{folder}/a"]
    assert asked(ROOT, of_root) == ["/"]


def test_data_sets_of_one_pool_are_reported_each(folder: Path) -> None:
    lines = (
        f"4{number} 27 0:6{number} / {folder}/{name} rw - zfs tank/{name} rw"
        for number, name in enumerate(("a", "longer"))
    )

    assert asked(ROOT, *lines) == ["/", f"{folder}/a", f"{folder}/longer"]


def test_files_that_are_mounted_are_no_disks(folder: Path) -> None:
    assert asked(ROOT, f"40 27 8:1 /hosts {folder}/file rw - ext4 /dev/sda1 rw") == ["/"]


def test_a_volume_on_the_disk_of_the_containers_layers_is_that_disk(folder: Path) -> None:
    # The folder lies on the same file system as /, as a named volume does on that of the layers.
    volume = f"701 700 254:0 /var/lib/docker/volumes/x/_data {folder}/a rw - ext4 /dev/vda rw"
    same = os.statvfs("/").f_blocks == os.statvfs(folder / "a").f_blocks

    assert asked(CONTAINER_ROOT, volume) == (["/"] if same else ["/", f"{folder}/a"])
    assert asked(CONTAINER_ROOT, volume.replace("/var/lib/docker/volumes/x/_data", "/")) == ["/", f"{folder}/a"]


def test_a_disk_that_cannot_be_asked_costs_only_itself(folder: Path) -> None:
    assert asked(ROOT, f"40 27 8:1 / {folder}/gone rw - ext4 /dev/sda1 rw") == ["/"]


def test_names_of_any_bytes_are_read_and_can_be_stored(folder: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    (folder / latin).mkdir()
    spaced = f"40 27 8:1 / {folder}/with\\040space rw - ext4 /dev/sda1 rw"
    broken = f"41 27 8:2 / {folder}/{latin} rw - ext4 /dev/sda2 rw"

    found = asked(ROOT, spaced, broken)

    assert found == ["/", f"{folder}/caf\N{REPLACEMENT CHARACTER}", f"{folder}/with space"]
    json.dumps(found, ensure_ascii=False).encode()


def test_a_disk_is_as_full_as_df_says() -> None:
    [disk] = measure(disk_mounts(read_mounts(ROOT)))
    space = os.statvfs("/")

    used = space.f_blocks - space.f_bfree
    assert disk["percent"] == pytest.approx(100 * used / (used + space.f_bavail), abs=1)
    assert disk["total_bytes"] == space.f_blocks * space.f_frsize
    assert 0 < disk["free_bytes"] < disk["total_bytes"]
