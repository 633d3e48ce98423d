"""Folders that look like the /proc and /sys/fs/cgroup of some host, with contents as hosts have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.host_reader import HostReader

GIB = 1024**3
MIB = 1024**2

STAT = """\
cpu  {cpu}
cpu0 32634 0 18818 340716 278 0 169 78 0 0
cpu1 49502 0 19321 322290 1244 0 421 82 0 0
intr 1719173 0 0 0 0
ctxt 5162811
btime 1795465687
processes 6539
"""
# user nice system idle iowait irq softirq steal guest guest_nice
CPU = "82137 0 38139 663007 1523 0 590 161 0 0"
# 1000 ticks later: 200 user (50 of them a guest's), 100 system, 500 idle, 150 iowait, 10 softirq, 40 steal
CPU_A_MINUTE_LATER = "82337 0 38239 663507 1673 0 600 201 50 0"

MEMINFO = """\
MemTotal:        8388608 kB
MemFree:         1048576 kB
MemAvailable:    6291456 kB
Buffers:           32164 kB
Cached:          4936560 kB
SwapCached:            0 kB
Active:           655124 kB
Inactive:         492864 kB
Shmem:            164028 kB
Slab:             122884 kB
SReclaimable:      91884 kB
SwapTotal:       2097152 kB
SwapFree:        1572864 kB
"""

DISKSTATS = """\
   7       0 loop0 900 0 {vda_read} 10 0 0 0 0 0 10 10 0 0 0 0 0 0
 254       0 vda 90120 18342 {vda_read} 66946 13641 38302 {vda_written} 6264 0 9944 73941 8956 11 321368 624 3018 106
 254       1 vda1 90000 18342 {vda_read} 66946 13641 38302 {vda_written} 6264 0 9944 73941 8956 11 321368 624 3018 106
 253       0 dm-0 90000 18342 {vda_read} 66946 13641 38302 {vda_written} 6264 0 9944 73941 8956 11 321368 624 3018 106
 259       0 nvme0n1 100 0 {nvme_read} 10 20 0 2048 30 0 40 40 0 0 0 0 0 0
 259       1 nvme0n1p1 100 0 {nvme_read} 10 20 0 2048 30 0 40 40 0 0 0 0 0 0
"""

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 33611960  209942    0    0    0     0          0         0 33611960  209942    0    0    0     0       0          0
  eth0: {received}   10453    0    0    0     0          0         0   {sent}    6519    0    0    0     0       0          0
eth0.7: {received}   10453    0    0    0     0          0         0   {sent}    6519    0    0    0     0       0          0
docker0: {received}   10453    0    0    0     0          0         0   {sent}    6519    0    0    0     0       0          0
veth3f1: {received}   10453    0    0    0     0          0         0   {sent}    6519    0    0    0     0       0          0
"""

PRESSURE = """\
some avg10={avg10} avg60=0.38 avg300=0.17 total=8784805
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
"""

CGROUP_V1 = """\
9:name=systemd:{path}
8:pids:{path}
4:memory:{path}
2:cpu,cpuacct:{path}
0::/
"""

PROC_FILES: Mapping[str, str] = {
    "stat": STAT.format(cpu=CPU),
    "meminfo": MEMINFO,
    "loadavg": "2.53 1.84 1.15 2/131 6539\n",
    "uptime": "3944.68 6630.07\n",
    "diskstats": DISKSTATS.format(vda_read=5275826, vda_written=2066264, nvme_read=4096),
    "net/dev": NET_DEV.format(received=265145136, sent=746258),
    "pressure/cpu": PRESSURE.format(avg10="30.71"),
    "pressure/memory": PRESSURE.format(avg10="0.00"),
    "pressure/io": PRESSURE.format(avg10="3.05"),
    "self/mountinfo": MOUNTINFO,
    "self/cgroup": "0::/\n",
}


@dataclass(frozen=True, slots=True)
class HostFolders:
    """`reader` looks at the folders; files are written below them by their names on a host."""

    proc: Path
    cgroup: Path
    reader: HostReader

    def write(self, **folders: Mapping[str, str]) -> None:
        """Write files, by their paths, below `proc` or `cgroup`."""
        for folder, files in folders.items():
            for name, text in files.items():
                path: Path = getattr(self, folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)


def make_host(home: Path, files: Mapping[str, str] = PROC_FILES) -> HostFolders:
    proc, cgroup = home / "proc", home / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    folders = HostFolders(proc, cgroup, HostReader(proc=proc, cgroup=cgroup))
    folders.write(proc=files)
    return folders
