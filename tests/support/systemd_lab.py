"""A throw-away machine with a real systemd as process 1: this one's files, read-only, and memory for what is written.

    with SystemdLab(read_only={"/lab/checkout": Path.cwd()}) as lab:
        lab.run("systemctl", "start", "something.service")
        lab.reboot()

It has a network of its own with nothing but a loopback device. What is written is gone at the end, whoever is killed;
this machine's mounts, its /etc and its /run are not touched. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tests.support.waiting import wait_until

BOOT_SECONDS = 60.0
COMMAND_SECONDS = 120.0
SIZE = "2G"
PREFIX = "automon-lab-"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "cat",
    "SYSTEMD_COLORS": "0",
}
# What waits for hardware, logs somebody in, needs the internet or tidies up has no place here.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "man-db.timer",
    "systemd-firstboot.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
)
# Runs in a mount namespace of its own, as process 1 of a process namespace of its own: when it dies, everything dies.
# The exit code 133 is a machine's wish to boot again. `$1` is the work folder; the rest is for systemd-nspawn.
MACHINE = f"""
set -eu
work=$1; shift
mount -t tmpfs -o size={SIZE},mode=0755 lab "$work/disk"
mkdir "$work/disk/upper" "$work/disk/work" "$work/disk/root"
root=$work/disk/root
mount -t overlay -o "lowerdir=/,upperdir=$work/disk/upper,workdir=$work/disk/work" overlay "$root"
mount -t tmpfs -o mode=0755 lab /run/systemd
rm -rf --one-file-system "$root"/etc/systemd/system/* "$root"/etc/rc?.d "$root"/var/lib/systemd/* \
    "$root"/var/log/journal "$root"/run/* "$root/.dockerenv" "$root/etc/fstab" "$root/etc/machine-id" \
    "$root/usr/sbin/policy-rc.d"
cp -a "$work/furniture/." "$root"
code=133
while [ "$code" = 133 ]; do
    code=0
    systemd-nspawn --quiet --boot --directory="$root" --register=no --keep-unit --console=pipe --settings=no \
        --link-journal=no --resolv-conf=off --timezone=off --private-network "$@" || code=$?
done
exit "$code"
"""


def why_not() -> str:
    """Return why no such machine can be made here; an empty text when it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("systemd-nspawn", "nsenter", "unshare", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is missing (Debian: apt install systemd-container systemd-sysv dbus util-linux)"
    allowed = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if allowed.returncode == 0 else "this root may not make namespaces"


class SystemdLab:
    """The machine; it runs between `__enter__` and `__exit__`. `read_only` names folders of this one to be seen in it."""

    def __init__(self, *, read_only: Mapping[str, Path] = MappingProxyType({})) -> None:
        self._read_only = read_only
        self._name = f"{PREFIX}{os.getpid()}"

    def __enter__(self) -> Self:
        _remove_abandoned()
        self._work = Path(tempfile.mkdtemp(prefix=f"{self._name}-"))
        (self._work / "disk").mkdir()
        _furnish(self._work / "furniture")
        self._group = _control_groups() / self._name
        self._group.mkdir(exist_ok=True)
        self._console = (self._work / "console.log").open("wb")
        self._process = self._start()
        try:
            self._wait_for_boot(before=None)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._console.close()
        for home in _homes_of_control_groups():
            _remove_control_groups(home / self._name)
        shutil.rmtree(self._work)

    @property
    def console(self) -> str:
        """What the machine said while it booted."""
        return Path(self._console.name).read_text(errors="replace")

    def reboot(self) -> None:
        before = self._leader()
        self.run("systemctl", "reboot", check=False)
        self._wait_for_boot(before=before)

    def run(
        self, *command: str, check: bool = True, input: str | None = None, seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the machine. Raises AssertionError, with its words, when it fails and `check` is set."""
        done = subprocess.run(
            self._inside(command), input=input, text=True, capture_output=True, timeout=seconds, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def read(self, *command: str) -> str:
        """Run a command that must succeed and return what it printed, without the last line break."""
        return self.run(*command).stdout.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine; one that is there keeps its owner and mode."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, input=text)

    def network(self, *command: str) -> list[str]:
        """Return that command line of this machine so that it runs in the network of the other."""
        return ["nsenter", f"--net=/proc/{self._leader()}/ns/net", "--", *command]

    def _start(self) -> subprocess.Popen[bytes]:
        binds = [f"--bind-ro={source.resolve()}:{target}" for target, source in self._read_only.items()]
        return subprocess.Popen(
            [
                *_in_control_group(self._group),
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", MACHINE, "sh", str(self._work), f"--machine={self._name}", "--hostname=lab", *binds),
            ],
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        leader = self._leader()
        assert leader is not None, self.console
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        enter = ["nsenter", "--target", str(leader), *spaces, "--", "env", "-i", *environment, *command]
        # Where systemd itself is, so that it takes the command for one of its own machine.
        return [*_in_control_group(_control_group_of(leader)), *enter]

    def _leader(self) -> int | None:
        """Find the number, on this machine, of the process that is number 1 on the other."""
        return next((pid for pid in _descendants(self._process.pid) if _is_systemd(pid)), None)

    def _wait_for_boot(self, *, before: int | None) -> None:
        wait_until(lambda: self._has_booted(before), seconds=BOOT_SECONDS, what=f"a boot of the lab: {self.console}")
        state = self.run("systemctl", "is-system-running", "--wait", check=False, seconds=BOOT_SECONDS).stdout.strip()
        failed = self.run("systemctl", "--failed", "--no-legend", check=False).stdout
        assert state in ("running", "degraded"), f"{state}: {failed}\n{self.console}"

    def _has_booted(self, before: int | None) -> bool:
        assert self._process.poll() is None, self.console
        leader = self._leader()
        return leader not in (None, before) and Path(f"/proc/{leader}/root/run/systemd/private").exists()


def _furnish(root: Path) -> None:
    """Write what makes a neutral machine of a copy of this one: nothing of this one's is enabled in it."""
    units = root / "etc/systemd/system"
    generators = root / "etc/systemd/system-generators"
    journal = root / "etc/systemd/journald.conf.d"
    for folder in (units, generators, journal):
        folder.mkdir(parents=True)
    (root / "etc/fstab").touch()
    (root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
    (root / "etc/hostname").write_text("lab\n")
    (journal / "lab.conf").write_text("[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    for generator in Path("/lib/systemd/system-generators").iterdir():
        if not generator.name.startswith("systemd-"):
            (generators / generator.name).symlink_to("/dev/null")


def _control_groups() -> Path:
    """Find where version 2 of the control groups is mounted: /sys/fs/cgroup, or a folder in it on older machines."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next(Path(mount[1]) for mount in mounts if mount[2] == "cgroup2")


def _homes_of_control_groups() -> tuple[Path, ...]:
    # systemd-nspawn makes one in the second, too, where it exists: on machines with both versions of control groups.
    return (_control_groups(), Path("/sys/fs/cgroup/systemd"))


def _remove_abandoned() -> None:
    """Remove what the labs of killed test runs left behind: empty groups and a log."""
    for home in (*_homes_of_control_groups(), Path(tempfile.gettempdir())):
        for folder in home.glob(f"{PREFIX}*"):
            if not Path("/proc", folder.name.removeprefix(PREFIX).partition("-")[0]).exists():
                _remove_control_groups(folder)
                shutil.rmtree(folder, ignore_errors=True)


def _control_group_of(pid: int) -> Path:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    path = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
    return _control_groups() / path.lstrip("/")


def _in_control_group(group: Path) -> list[str]:
    return ["sh", "-c", 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', "sh", str(group)]


def _remove_control_groups(top: Path) -> None:
    """Remove that group and those in it. The kernel lets go of a dead process's group a little later than of the process."""
    deadline = time.monotonic() + 5
    while top.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        time.sleep(0.01)


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield child
        yield from _descendants(child)


def _is_systemd(pid: int) -> bool:
    try:
        numbers = next(
            line.split()[1:]
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("NSpid:")
        )
        program = Path(f"/proc/{pid}/exe").readlink().name
    except (OSError, StopIteration):
        return False
    return numbers[-1] == "1" and program == "systemd"
