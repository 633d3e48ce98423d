from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobs.container_limits import ContainerLimits, CpuQuota, MemoryLimit
from jobs.host_reader import Gains, outermost, scarcer
from tests.support.host_folders import (
    CGROUP_V1,
    CPU_A_MINUTE_LATER,
    DISKSTATS,
    GIB,
    MEMINFO,
    MIB,
    NET_DEV,
    PROC_FILES,
    STAT,
    HostFolders,
    make_host,
)

A_MINUTE_LATER = {
    "stat": STAT.format(cpu=CPU_A_MINUTE_LATER),
    "diskstats": DISKSTATS.format(vda_read=5275826 + 1200, vda_written=2066264 + 600, nvme_read=4096 + 120),
    "net/dev": NET_DEV.format(received=265145136 + 6_000_000, sent=746258 + 600),
}
UNLIMITED_V1 = "9223372036854771712\n"


@pytest.fixture
def host(tmp_path: Path) -> HostFolders:
    return make_host(tmp_path)


def second_look(host: HostFolders, **changes: str) -> dict[str, Any]:
    """Look, change files of /proc, and look again a minute later."""
    host.reader.look(1000.0)
    host.write(proc={name.replace("__", "/"): text for name, text in changes.items()})
    return host.reader.look(1060.0)


def test_the_first_look_tells_what_is_and_nothing_that_needs_two_looks(host: HostFolders) -> None:
    sample = host.reader.look(1000.0)

    assert {"cpu_percent", "disk_io", "network"}.isdisjoint(sample)
    assert sample["cpu"].keys() == {"cores", "effective_cores"}
    assert sample["memory_percent"] == 25.0
    assert sample["memory"] == {"total_bytes": 8 * GIB, "used_bytes": 2 * GIB, "percent": 25.0}
    assert sample["swap_percent"] == 25.0
    assert sample["swap"] == {"total_bytes": 2 * GIB, "used_bytes": GIB // 2, "percent": 25.0}
    assert sample["load"] == {"1m": 2.53, "5m": 1.84, "15m": 1.15}
    assert sample["load_per_core"] == round(2.53 / sample["cpu"]["cores"], 2)
    assert sample["uptime_seconds"] == 3945
    assert sample["pressure"] == {"cpu": 30.71, "memory": 0.0, "io": 3.05}
    assert "container" not in sample
    assert [disk["mount"] for disk in sample["disks"]] == ["/"]


def test_cpu_shares_are_those_since_the_look_before(host: HostFolders) -> None:
    sample = second_look(host, stat=A_MINUTE_LATER["stat"])

    assert sample["cpu_percent"] == 35.0
    shares = {name: share for name, share in sample["cpu"].items() if name.endswith("percent")}
    assert shares == {
        "percent": 35.0,
        "user_percent": 20.0,
        "system_percent": 10.0,
        "iowait_percent": 15.0,
        "steal_percent": 4.0,
    }


def test_bytes_are_counted_once_and_per_second(host: HostFolders) -> None:
    sample = second_look(host, diskstats=A_MINUTE_LATER["diskstats"], net__dev=A_MINUTE_LATER["net/dev"])

    assert sample["disk_io"] == {
        "read_bytes_per_second": (1200 + 120) * 512 // 60,
        "written_bytes_per_second": 600 * 512 // 60,
    }
    assert sample["network"] == {"received_bytes_per_second": 100_000, "sent_bytes_per_second": 10}


def test_a_counter_that_fell_is_no_rate(host: HostFolders) -> None:
    sample = second_look(
        host,
        stat=STAT.format(cpu="82337 0 38239 663507 1 0 600 201 50 0"),
        net__dev=NET_DEV.format(received=5, sent=746258 + 600),
        diskstats=DISKSTATS.format(vda_read=7, vda_written=7, nvme_read=4096 + 120),
    )

    assert "cpu_percent" not in sample
    assert sample["network"] == {"sent_bytes_per_second": 10}
    assert sample["disk_io"] == {"read_bytes_per_second": 120 * 512 // 60, "written_bytes_per_second": 0}


def test_a_device_that_came_since_does_not_bring_its_past(host: HostFolders) -> None:
    new = "  eth1: 999999999999 1 0 0 0 0 0 0 999999999999 1 0 0 0 0 0 0\n"

    sample = second_look(host, net__dev=A_MINUTE_LATER["net/dev"] + new)

    assert sample["network"] == {"received_bytes_per_second": 100_000, "sent_bytes_per_second": 10}


@pytest.mark.parametrize(
    ("moments", "rates"),
    [
        pytest.param([0.0], {}, id="nothing at first"),
        pytest.param([0.0, 60.0], {"a": 1.0}, id="the gain of the interval"),
        pytest.param([0.0, 0.1], {}, id="nothing for a moment"),
        pytest.param([0.0, 0.1, 60.0], {"a": 2.0}, id="a moment does not spoil the interval"),
        pytest.param([60.0, 0.0], {}, id="nothing when time went back"),
        pytest.param([90.0, 0.0, 60.0], {"a": 1.0}, id="and all well after that"),
        pytest.param([0.0, 0.0], {}, id="nothing at the same moment"),
    ],
)
def test_rates_need_an_interval(moments: list[float], rates: dict[str, float]) -> None:
    gains = Gains()

    answers = [gains.rates(moment, {"a": 60.0 * number}) for number, moment in enumerate(moments)]

    assert rates == answers[-1]


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -1.0])
def test_a_number_that_is_none_is_no_rate(broken: float) -> None:
    gains = Gains()
    gains.rates(0.0, {"a": 0.0, "b": 0.0})

    assert gains.rates(60.0, {"a": broken, "b": 60.0}) == {"b": 1.0}


def test_looks_from_different_threads_see_one_past(host: HostFolders) -> None:
    host.reader.look(1000.0)
    host.write(proc=A_MINUTE_LATER)
    seen: list[dict[str, Any]] = []

    thread = threading.Thread(target=lambda: seen.append(host.reader.look(1060.0)))
    thread.start()
    thread.join(10)

    assert [sample["cpu_percent"] for sample in seen] == [35.0]


# What is missing or nonsense -------------------------------------------------------------------------------------


EVERYTHING = {
    "cpu_percent", "memory_percent", "swap_percent", "load_per_core", "uptime_seconds", "disks",
    "cpu", "load", "memory", "swap", "disk_io", "network", "pressure",
}  # fmt: skip
NONSENSE = "\0\x01 nonsense: of = any\n kind 1 2 - nan\n\nnan nan\n"


@pytest.mark.parametrize(
    ("file", "gone"),
    [
        ("stat", {"cpu", "cpu_percent", "load_per_core"}),
        ("meminfo", {"memory", "memory_percent", "swap", "swap_percent"}),
        ("loadavg", {"load", "load_per_core"}),
        ("uptime", {"uptime_seconds"}),
        ("diskstats", {"disk_io"}),
        ("net/dev", {"network"}),
        ("pressure/io", {"pressure"}),
        ("self/mountinfo", {"disks"}),
        ("self/cgroup", set()),
    ],
)
@pytest.mark.parametrize("text", ["", NONSENSE], ids=["empty", "nonsense"])
def test_nonsense_in_a_file_costs_only_what_it_would_have_told(
    host: HostFolders, file: str, gone: set[str], text: str
) -> None:
    host.write(proc={file: text})
    host.reader.look(1000.0)
    host.write(proc={name: later for name, later in A_MINUTE_LATER.items() if name != file})

    sample = host.reader.look(1060.0)

    assert sample.keys() == EVERYTHING - gone
    json.dumps(sample, allow_nan=False)


def test_a_file_that_is_missing_costs_only_what_it_would_have_told(host: HostFolders) -> None:
    for name in ("meminfo", "loadavg", "net/dev", "self/mountinfo", "self/cgroup"):
        (host.proc / name).unlink()

    sample = second_look(host, stat=A_MINUTE_LATER["stat"], diskstats=A_MINUTE_LATER["diskstats"])

    assert sample.keys() == {"cpu_percent", "uptime_seconds", "cpu", "disk_io", "pressure"}


@pytest.mark.parametrize("text", ["nan nan nan 1/2 3", "inf 1 1 1/2 3", "-1 1 1 1/2 3"])
def test_a_load_that_is_no_number_is_absent(host: HostFolders, text: str) -> None:
    host.write(proc={"loadavg": text})

    sample = host.reader.look(0.0)

    assert {"load", "load_per_core"}.isdisjoint(sample)


def test_an_empty_folder_gives_an_empty_look(tmp_path: Path) -> None:
    host = make_host(tmp_path, {})

    with capture_logs():
        assert host.reader.look(0.0) == {}
        # Without /proc/diskstats, psutil finds the disks of this machine under /sys.
        assert host.reader.look(60.0).keys() <= {"disk_io"}


def test_what_cannot_be_read_is_told_once_and_again_after_it_could_be(host: HostFolders) -> None:
    with capture_logs() as lines:
        for loadavg in ("nonsense", "nonsense", PROC_FILES["loadavg"], "nonsense"):
            host.write(proc={"loadavg": loadavg})
            host.reader.look(0.0)

    told = [(line["event"], line["section"], line["log_level"]) for line in lines]
    assert told == [("host_section_unreadable", "load", "warning")] * 2


def test_a_kernel_without_pressure_is_nothing_to_tell(host: HostFolders) -> None:
    for name in ("cpu", "memory", "io"):
        (host.proc / "pressure" / name).unlink()

    with capture_logs() as lines:
        sample = host.reader.look(0.0)

    assert "pressure" not in sample
    assert lines == []


def test_a_pressure_that_is_not_measured_does_not_hide_the_others(host: HostFolders) -> None:
    (host.proc / "pressure" / "io").unlink()

    assert host.reader.look(0.0)["pressure"] == {"cpu": 30.71, "memory": 0.0}


def test_a_host_without_swap_has_no_swap_percent(host: HostFolders) -> None:
    host.write(proc={"meminfo": MEMINFO.replace("2097152", "0").replace("1572864", "0")})

    sample = host.reader.look(0.0)

    assert {"swap", "swap_percent"}.isdisjoint(sample)
    assert sample["memory_percent"] == 25.0


# Containers ------------------------------------------------------------------------------------------------------


def limits(host: HostFolders) -> ContainerLimits:
    return ContainerLimits(proc=host.proc, cgroup=host.cgroup)


CONTAINER_V2 = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.max": f"{GIB}\n",
    "memory.current": f"{900 * MIB}\n",
    "memory.stat": f"anon 1\nfile 2\ninactive_file {132 * MIB}\nactive_file 3\n",
    "cpu.max": "50000 100000\n",
    "cpu.stat": "usage_usec 1000000\nuser_usec 1\nsystem_usec 1\nnr_periods 100\nnr_throttled 10\nthrottled_usec 5\n",
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


@pytest.mark.parametrize(
    ("cgroup", "used", "membership"),
    [
        pytest.param(CONTAINER_V2, USED_V2, "0::/\n", id="v2"),
        pytest.param(CONTAINER_V1, USED_V1, CGROUP_V1.format(path="/docker/5c1e"), id="v1"),
        pytest.param(CONTAINER_V1, USED_V1, CGROUP_V1.format(path="/"), id="v1 in a namespace"),
        pytest.param(CONTAINER_V2, USED_V2, "0::/../../other\n", id="v2 outside the namespace"),
        pytest.param(CONTAINER_V2, USED_V2, "", id="v2 without a membership"),
    ],
)
def test_the_limits_of_a_container_are_told_beside_the_host(
    host: HostFolders, cgroup: dict[str, str], used: dict[str, str], membership: str
) -> None:
    host.write(cgroup=cgroup, proc={"self/cgroup": membership})
    host.reader.look(1000.0)
    host.write(cgroup=used, proc=A_MINUTE_LATER)

    sample = host.reader.look(1060.0)

    assert sample["container"] == {
        "memory_limit_bytes": GIB,
        "memory_used_bytes": 768 * MIB,
        "memory_percent": 75.0,
        "cpu_limit_cores": 0.5,
        "cpu_percent": 80.0,
        "cpu_throttled_percent": 25.0,
    }
    assert sample["memory"]["percent"] == 25.0
    assert sample["cpu"]["percent"] == 35.0
    assert sample["cpu"]["effective_cores"] == 0.5
    assert (sample["memory_percent"], sample["cpu_percent"]) == (75.0, 80.0)


def test_the_first_look_knows_a_cpu_quota_but_not_how_much_of_it_is_used(host: HostFolders) -> None:
    host.write(cgroup=CONTAINER_V2)

    sample = host.reader.look(1000.0)

    assert sample["container"].keys() == {
        "memory_limit_bytes",
        "memory_used_bytes",
        "memory_percent",
        "cpu_limit_cores",
    }
    assert "cpu_percent" not in sample


def test_memory_percent_is_the_hosts_when_the_host_has_less_left(host: HostFolders) -> None:
    host.write(cgroup=CONTAINER_V2, proc={"meminfo": MEMINFO.replace("6291456", "83886")})

    sample = host.reader.look(0.0)

    assert sample["container"]["memory_percent"] == 75.0
    assert sample["memory_percent"] == 99.0


@pytest.mark.parametrize(
    ("cgroup", "membership"),
    [
        pytest.param({}, "0::/\n", id="no control groups"),
        pytest.param({"cgroup.controllers": "cpu memory\n", "cpu.stat": "usage_usec 5\n"}, "0::/init.scope\n", id="v2 host"),
        pytest.param(CONTAINER_V2 | {"memory.max": "max\n", "cpu.max": "max 100000\n"}, "0::/\n", id="v2 container"),
        pytest.param(
            CONTAINER_V1 | {"memory/memory.limit_in_bytes": UNLIMITED_V1, "cpu,cpuacct/cpu.cfs_quota_us": "-1\n"},
            CGROUP_V1.format(path="/"),
            id="v1",
        ),
        pytest.param(dict.fromkeys(CONTAINER_V2, "\0 nonsense -7 nan\n"), "nonsense\n::::\n0::\n", id="v2 nonsense"),
        pytest.param(dict.fromkeys(CONTAINER_V1, ""), "\n\n", id="v1 empty files"),
        pytest.param({"cgroup.controllers": "", "memory.max": "5\n", "cpu.max": "5\n"}, "0::/\n", id="half a limit"),
        pytest.param(CONTAINER_V2 | {"memory.max": f"{64 * GIB}\n", "cpu.max": "5 0\n"}, "0::/\n", id="above the host"),
    ],
)  # fmt: skip
def test_without_a_limit_there_is_no_container(host: HostFolders, cgroup: dict[str, str], membership: str) -> None:
    host.write(cgroup=cgroup, proc={"self/cgroup": membership})

    with capture_logs() as lines:
        sample = second_look(host, stat=A_MINUTE_LATER["stat"])

    assert "container" not in sample
    assert (sample["memory_percent"], sample["cpu_percent"]) == (25.0, 35.0)
    assert sample["cpu"]["effective_cores"] == len(os.sched_getaffinity(0))
    assert lines == []


def group_v2(path: str, memory: str, cpu: str = "max 100000") -> dict[str, str]:
    return {f"{path}/memory.max": memory, f"{path}/memory.current": "0", f"{path}/cpu.max": cpu}


def test_the_tightest_of_nested_groups_counts(host: HostFolders) -> None:
    host.write(
        proc={"self/cgroup": "0::/pods/burst/one\n"},
        cgroup={
            "cgroup.controllers": "cpu memory\n",
            **group_v2("pods", str(4 * GIB), "300000 100000"),
            **group_v2("pods/burst", str(GIB), "max 100000"),
            **group_v2("pods/burst/one", str(2 * GIB), "400000 100000"),
        },
    )

    assert limits(host).memory() == MemoryLimit(limit_bytes=GIB, used_bytes=0)
    assert limits(host).cpu() == CpuQuota(cores=3.0, counters={})


def test_a_limit_of_automons_own_service_is_none_of_the_host(host: HostFolders) -> None:
    host.write(
        proc={"self/cgroup": "0::/system.slice/automon.service\n"},
        cgroup={
            "cgroup.controllers": "cpu memory\n",
            **group_v2("system.slice", "max"),
            **group_v2("system.slice/automon.service", str(100 * MIB), "20000 100000"),
        },
    )

    assert limits(host).memory() is None
    assert limits(host).cpu() is None


def test_v1_controllers_may_have_folders_of_their_own(host: HostFolders) -> None:
    host.write(
        proc={"self/cgroup": "4:memory:/a\n3:cpuacct:/a\n2:cpu:/a\n1:name=systemd:/\n0::/\n"},
        cgroup={
            "cpu/a/cpu.cfs_quota_us": "150000\n",
            "cpu/a/cpu.cfs_period_us": "100000\n",
            "cpuacct/a/cpuacct.usage": "2500000000\n",
            "unified/cgroup.controllers": "",
        },
    )

    assert limits(host).cpu() == CpuQuota(cores=1.5, counters={"used_seconds": 2.5})


@pytest.mark.parametrize(
    ("candidates", "answer"),
    [
        pytest.param([(25.0, 8.0), (75.0, 1.0)], 75.0, id="the smaller one"),
        pytest.param([(99.0, 8.0), (50.0, 1.0)], 99.0, id="the fuller one"),
        pytest.param([(25.0, 8.0), (None, 1.0)], 25.0, id="the known one"),
        pytest.param([(None, None), (40.0, 1.0)], 40.0, id="the other known one"),
        pytest.param([(None, 8.0), (None, None)], None, id="none"),
    ],
)
def test_the_scarcer_is_what_has_the_least_left(
    candidates: list[tuple[float | None, float | None]], answer: float | None
) -> None:
    assert answer == scarcer(*candidates)


def test_parts_of_devices_are_told_from_devices_with_similar_names() -> None:
    names = [
        "sda",
        "sda1",
        "sdaa",
        "nvme0n1",
        "nvme0n1p1",
        "nvme0n10",
        "mmcblk0",
        "mmcblk0p2",
        "eth1",
        "eth10",
        "eth1.20",
        "xvdb1",
    ]

    assert outermost(names, re.compile("eth10")) == ["sda", "sdaa", "nvme0n1", "nvme0n10", "mmcblk0", "eth1", "xvdb1"]
