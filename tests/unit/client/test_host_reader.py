"""The client's look at a host, beside that of the service: the same keys, the same numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from monitoring_client.host_disks import disk_mounts
from monitoring_client.host_reader import HostReader
from tests.support.host_folders import (
    CGROUP_V1,
    CPU_A_MINUTE_LATER,
    DISKSTATS,
    GIB,
    MEMINFO,
    MIB,
    NET_DEV,
    STAT,
    HostFolders,
    make_host,
)

A_MINUTE_LATER = {
    "stat": STAT.format(cpu=CPU_A_MINUTE_LATER),
    "diskstats": DISKSTATS.format(vda_read=5275826 + 1200, vda_written=2066264 + 600, nvme_read=4096 + 120),
    "net/dev": NET_DEV.format(received=265145136 + 6_000_000, sent=746258 + 600),
}
CONTAINER_V2 = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.max": f"{GIB}\n",
    "memory.current": f"{900 * MIB}\n",
    "memory.stat": f"anon 1\nfile 2\ninactive_file {132 * MIB}\nactive_file 3\n",
    "cpu.max": "50000 100000\n",
    "cpu.stat": "usage_usec 1000000\nuser_usec 1\nnr_periods 100\nnr_throttled 10\nthrottled_usec 5\n",
}
CONTAINER_V1 = {
    "memory/memory.limit_in_bytes": f"{GIB}\n",
    "memory/memory.usage_in_bytes": f"{900 * MIB}\n",
    "memory/memory.stat": f"cache 1\ninactive_file 7\ntotal_inactive_file {132 * MIB}\n",
    "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
    "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "cpu,cpuacct/cpu.stat": "nr_periods 100\nnr_throttled 10\nthrottled_time 5\n",
    "cpu,cpuacct/cpuacct.usage": "1000000000\n",
}
USED_V2 = {"cpu.stat": "usage_usec 25000000\nnr_periods 700\nnr_throttled 160\n"}
USED_V1 = {
    "cpu,cpuacct/cpu.stat": "nr_periods 700\nnr_throttled 160\n",
    "cpu,cpuacct/cpuacct.usage": "25000000000\n",
}
SERVICE = {
    "cgroup.controllers": "cpu memory\n",
    "system.slice/app.service/memory.max": f"{GIB}\n",
    "system.slice/app.service/memory.current": "5\n",
    "system.slice/app.service/cpu.max": "50000 100000\n",
}
NESTED = {
    "cgroup.controllers": "cpu memory\n",
    "pods/memory.max": f"{4 * GIB}\n",
    "pods/memory.current": f"{GIB}\n",
    "pods/cpu.max": "50000 100000\n",
    "pods/one/memory.max": f"{2 * GIB}\n",
    "pods/one/memory.current": f"{GIB}\n",
    "pods/one/cpu.max": "400000 100000\n",
}
UNLIMITED_V1 = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}


@pytest.fixture
def host(tmp_path: Path) -> HostFolders:
    return make_host(tmp_path)


@pytest.fixture
def reader(host: HostFolders) -> HostReader:
    return HostReader(proc=host.proc, cgroup=host.cgroup)


def steady(sample: dict[str, Any]) -> dict[str, Any]:
    """Leave out what changes from one look to the next: how full the real disk below is."""
    return sample | {"disks": [(disk["mount"], disk["total_bytes"], *sorted(disk)) for disk in sample["disks"]]}


@pytest.mark.parametrize(
    ("proc", "cgroup", "used"),
    [
        pytest.param({}, {}, {}, id="bare machine"),
        pytest.param({}, CONTAINER_V2, USED_V2, id="container v2"),
        pytest.param({"self/cgroup": CGROUP_V1.format(path="/docker/5c1e")}, CONTAINER_V1, USED_V1, id="container v1"),
        pytest.param({"self/cgroup": CGROUP_V1.format(path="/")}, CONTAINER_V1 | UNLIMITED_V1, {}, id="v1, no limit"),
        pytest.param({}, CONTAINER_V2 | {"memory.max": "max\n", "cpu.max": "max 100000\n"}, {}, id="v2, no limit"),
        pytest.param({"self/cgroup": "0::/system.slice/app.service\n"}, SERVICE, {}, id="service"),
        pytest.param({"self/cgroup": "0::/pods/one\n"}, NESTED, {}, id="nested groups"),
        pytest.param({"self/cgroup": "0::/../../other\n"}, CONTAINER_V2, USED_V2, id="outside of the namespace"),
        pytest.param({"meminfo": MEMINFO.replace("6291456", "83886")}, CONTAINER_V2, {}, id="full host"),
        pytest.param({"meminfo": MEMINFO.replace("2097152", "0").replace("1572864", "0")}, {}, {}, id="no swap"),
    ],
)
def test_it_sees_what_the_service_sees(
    host: HostFolders,
    reader: HostReader,
    proc: Mapping[str, str],
    cgroup: Mapping[str, str],
    used: Mapping[str, str],
) -> None:
    host.write(proc=proc, cgroup=cgroup)
    first, services_first = reader.look(1000.0), host.reader.look(1000.0)
    host.write(proc=A_MINUTE_LATER, cgroup=used)
    second, services_second = reader.look(1060.0), host.reader.look(1060.0)

    assert (steady(first), steady(second)) == (steady(services_first), steady(services_second))
    assert {"cpu_percent", "disk_io", "network", "disks"} <= second.keys()
    assert {"cpu_percent", "disk_io", "network"}.isdisjoint(first)


def test_it_sees_the_numbers_of_a_host(host: HostFolders, reader: HostReader) -> None:
    reader.look(1000.0)
    host.write(proc=A_MINUTE_LATER)
    sample = reader.look(1060.0)

    assert (sample["cpu_percent"], sample["memory_percent"], sample["swap_percent"]) == (35.0, 25.0, 25.0)
    assert sample["pressure"] == {"cpu": 30.71, "memory": 0.0, "io": 3.05}
    assert sample["network"] == {"received_bytes_per_second": 100_000, "sent_bytes_per_second": 10}
    json.dumps(sample, allow_nan=False)


def test_it_sees_this_host_as_the_service_does() -> None:
    from jobs.host_reader import HostReader as ServicesReader

    now = time.monotonic()
    ours, services = HostReader().look(now), ServicesReader().look(now)

    assert ours.keys() == services.keys()
    assert ours["memory"]["total_bytes"] == services["memory"]["total_bytes"]
    assert ours.get("container", {}).keys() == services.get("container", {}).keys()
    assert [disk["mount"] for disk in ours.get("disks", [])] == [disk["mount"] for disk in services.get("disks", [])]


EVERYTHING = {
    "cpu_percent", "memory_percent", "swap_percent", "load_per_core", "uptime_seconds", "disks",
    "cpu", "load", "memory", "swap", "disk_io", "network", "pressure",
}  # fmt: skip
NONSENSE = "\0\x01 nonsense: of = any\n kind 1 2 - nan\n\nnan nan\n"


@pytest.mark.parametrize("text", ["", NONSENSE], ids=["empty", "nonsense"])
@pytest.mark.parametrize(
    ("file", "gone"),
    [
        ("stat", {"cpu", "cpu_percent", "load_per_core"}),
        ("meminfo", {"memory", "memory_percent", "swap", "swap_percent"}),
        ("loadavg", {"load", "load_per_core"}),
        ("uptime", {"uptime_seconds"}),
        ("diskstats", {"disk_io"}),
        ("net/dev", {"network"}),
        ("self/mountinfo", {"disks"}),
        ("self/cgroup", set()),
        ("pressure/io", set()),
    ],
)
def test_nonsense_in_a_file_costs_only_what_it_would_have_told(
    host: HostFolders, reader: HostReader, file: str, gone: set[str], text: str
) -> None:
    host.write(proc={file: text})
    reader.look(1000.0)
    host.write(proc={name: later for name, later in A_MINUTE_LATER.items() if name != file})
    sample = reader.look(1060.0)

    assert sample.keys() == EVERYTHING - gone
    json.dumps(sample, allow_nan=False)


def test_a_folder_without_anything_gives_an_empty_look(tmp_path: Path) -> None:
    reader = HostReader(proc=tmp_path / "proc", cgroup=tmp_path / "cgroup")

    assert (reader.look(0.0), reader.look(60.0)) == ({}, {})


ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard"


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        pytest.param([ROOT], ["/"], id="the root"),
        pytest.param([ROOT, "40 27 0:50 / /mnt/nas rw - nfs4 nas:/export rw"], ["/"], id="a network's file system"),
        pytest.param(["27 1 0:50 / / rw - nfs4 nas:/root rw", "28 27 8:1 / /data rw - ext4 /dev/sda1 rw"], [], id="root"),
        pytest.param(
            [ROOT, "40 27 0:50 / /net rw - nfs4 nas:/ rw", "41 40 8:1 / /net/scratch rw - ext4 /dev/sda1 rw"],
            ["/"],
            id="a disk below a network's file system",
        ),
        pytest.param(
            [ROOT, "40 27 8:1 / /srv/a rw - xfs /dev/sda1 rw", "41 27 0:51 / /srv rw - nfs4 nas:/srv rw"],
            ["/"],
            id="a disk that is covered by one",
        ),
        pytest.param(
            [ROOT, "40 27 0:44 / /data rw - autofs systemd-1 rw", "41 40 8:1 / /data rw - ext4 /dev/sda1 rw"],
            ["/", "/data"],
            id="a disk that is mounted when needed",
        ),
        pytest.param(
            [ROOT, "40 27 8:1 / /media/my\\040disk rw - ext4 /dev/sda1 rw"], ["/", "/media/my disk"], id="a blank"
        ),
        pytest.param([ROOT, "40 27 7:1 / /snap/x/1 ro - squashfs /dev/loop1 ro"], ["/"], id="an image"),
        pytest.param([ROOT, "40 27 8:1 / /var/lib/docker/x rw - ext4 /dev/sda1 rw"], ["/"], id="a layer"),
    ],
)  # fmt: skip
def test_only_local_disks_that_cannot_hang_are_asked(lines: list[str], points: list[str]) -> None:
    assert [mount.point for mount in disk_mounts("\n".join(lines))] == points


def test_a_look_is_cheap() -> None:
    reader = HostReader()
    costs = []
    for _ in range(5):
        began = time.thread_time()
        reader.look(time.monotonic())
        costs.append(time.thread_time() - began)

    assert min(costs) < 0.005  # a twentieth of a percent of a minute; measured are 0.7 ms
