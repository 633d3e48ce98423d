"""What `automon doctor` looks at on this machine: programs, files, time zones, the unit, the embedded database."""

from __future__ import annotations

import os
import platform
import re
import resource
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from automon.cli.findings import Finding, failed, not_checked, ok, warning
from automon.config import Config, jsonc
from automon.errors import AutomonError, ConfigError

OLDEST_PYTHON = (3, 11)
UNIT = "automon.service"
UNIT_PATIENCE = 5.0
MOST_PROBLEMS = 3
ENOUGH_DISK_BYTES = 1024**3
LEAST_DISK_BYTES = 200 * 1024**2
ENOUGH_FILES = 1000
_PART = re.compile(r"(>=|<)\s*([0-9.]+)")


# Programs -------------------------------------------------------------------------------------------------------


def check_python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        return failed("python", f"{found} is too old", "Run automon with Python 3.11 or newer.")
    return ok("python", found)


def check_libraries() -> Finding:
    """Compare what is installed with what this version of automon asks for."""
    wrong = list(_wrong_libraries(metadata.requires("automon") or []))
    if wrong:
        mend = f"{shlex.quote(sys.executable)} -m pip install --requirement requirements.lock"
        return failed("libraries", "; ".join(wrong), f"make env, or where automon is installed: {mend}")
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("psycopg", "apprise", "pydantic"))
    return ok("libraries", f"automon {metadata.version('automon')} with {shown} and what else it needs")


def _wrong_libraries(requirements: list[str]) -> Iterator[str]:
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield f"{name} is not installed"
            continue
        if not satisfies(version, requirement):
            yield f"{name} {version} is not {requirement}"


def satisfies(version: str, requirement: str) -> bool:
    """Say whether a version lies within the bounds (>= and <) of a requirement."""
    found = _numbers(version)
    return all(
        found >= _numbers(bound) if sign == ">=" else found < _numbers(bound)
        for sign, bound in _PART.findall(requirement)
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.split("+", maxsplit=1)[0])[:3]))


# Files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadConfig:
    """The config file, or what is wrong with it. `environment` is the file of secrets beside it."""

    path: Path
    environment: Path
    config: Config | None = None
    error: AutomonError | None = None


def check_config(read: ReadConfig) -> Finding:
    if read.error is not None:
        problems = read.error.problems if isinstance(read.error, ConfigError) else []
        told = "; ".join(map(str, problems[:MOST_PROBLEMS])) or read.error.message
        more = f"; and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
        fix = f"automon check-config --config {shlex.quote(str(read.path))}"
        if not read.path.exists():
            fix = f"automon setup --config {shlex.quote(str(read.path))}"
        return failed("config", told + more, fix)
    if _mode(read.path) & stat.S_IWOTH:
        path = shlex.quote(str(read.path))
        return warning("config", f"{read.path} is right, but every user may write to it", f"chmod o-w {path}")
    assert read.config is not None  # noqa: S101  no error
    active = ", ".join(channel.name for channel in read.config.active_channels)
    if not active:
        told = f"{read.path} is right, but no channel is on: messages go to the terminal or the journal only"
        return warning("config", told, "automon setup")
    return ok("config", f"{read.path} is right; told are: {active}")


def check_secrets(read: ReadConfig) -> Finding:
    """See that nobody else reads the files with secrets: the environment file, and those that the config names."""
    open_ones = [path for path in secret_files(read) if _mode(path) & (stat.S_IROTH | stat.S_IWOTH)]
    if open_ones:
        names = " ".join(shlex.quote(str(path)) for path in open_ones)
        told = f"every user of this machine may read {', '.join(map(str, open_ones))}"
        return failed("secrets", told, f"chmod o-rwx {names}")
    if read.environment.exists() and not os.access(read.environment, os.R_OK):
        return not_checked(
            "secrets",
            f"{read.environment} may not be read by this user, so its variables are unknown here",
            "sudo automon doctor",
        )
    held = [path for path in secret_files(read) if path.exists()]
    told = (
        f"closed to other users: {', '.join(map(str, held))}"
        if held
        else "no file holds one; they come from the environment"
    )
    return ok("secrets", told)


def secret_files(read: ReadConfig) -> list[Path]:
    """Name the files that hold secrets, whether or not they are there; the config is one when it holds one itself."""
    try:
        values = list(_texts(jsonc.parse(read.path.read_text(encoding="utf-8-sig")).value))
    except (OSError, UnicodeDecodeError, AutomonError):
        values = []
    named = [Path(value.removeprefix("$file:")) for value in values if value.startswith("$file:/")]
    own = [read.path] if any(value.startswith("$literal:") for value in values) else []
    return [read.environment, *named, *own]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


# Time -----------------------------------------------------------------------------------------------------------


def check_time_zones(config: Config | None, now: datetime, database_zone: str) -> Finding:
    """Name the zones of config, host and database, and the next clean-up in the config's."""
    if config is None:
        return not_checked("time zones", "the config cannot be read")
    schedule = config.schedule
    due = next_at(schedule.cleanup_at, now.astimezone(schedule.timezone))
    told = (
        f"config {schedule.timezone.key}, this host {now.astimezone().tzname()}, database {database_zone or 'unknown'}; "
        f"next clean-up in {_span(due - now)}, {due:%H:%M} {due.tzname()}"
    )
    return ok("time zones", told)


def next_at(at: Any, now: datetime) -> datetime:
    """Return the next moment with that time of day, in the zone of `now`."""
    today = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60}h" if minutes >= 60 else f"{minutes}m"


# The service's unit, and the embedded database ------------------------------------------------------------------


def check_unit() -> Finding | None:
    """Look at the systemd unit where there is one; a service that was started by hand has none."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():
        return None
    asked = "LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts"
    command = [systemctl, "show", UNIT, f"--property={asked}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=UNIT_PATIENCE, check=False)  # noqa: S603  no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        return not_checked("systemd", f"systemctl gave no answer: {type(error).__name__}")
    if done.returncode != 0:
        return not_checked("systemd", f"systemctl failed: {done.stderr.strip()[:100]}")
    return judge_unit(dict(line.partition("=")[::2] for line in done.stdout.splitlines()))


def judge_unit(unit: Mapping[str, str]) -> Finding | None:
    """Judge the unit from what `systemctl show` says of it; None where it is not installed."""
    if unit.get("LoadState") == "not-found":
        return None
    active, enabled = unit.get("ActiveState", ""), unit.get("UnitFileState", "")
    state = f"{UNIT} is {active} ({unit.get('SubState', '')}), {enabled or 'not'} at boot"
    if active == "failed":
        return failed("systemd", f"{state}: {unit.get('Result', '')}", "journalctl -u automon -p warning -n 20")
    if active == "inactive":
        return failed("systemd", state, "sudo systemctl enable --now automon")
    if enabled != "enabled":
        return warning("systemd", f"{state}: it does not come back after a reboot", "sudo systemctl enable automon")
    restarts = int(unit.get("NRestarts") or 0)
    if restarts:
        return warning("systemd", f"{state}; restarted {restarts} times by itself", "journalctl -u automon -p warning")
    return ok("systemd", state)


def check_embedded(folders: Sequence[Path]) -> Finding | None:
    """See whether the embedded database has room and may open enough files; None where none runs."""
    from automon.embedded.postmaster import read_pid_file, serves

    for data in (folder.resolve() / "data" for folder in folders):
        try:
            found = read_pid_file(data)
        except OSError:
            return not_checked("embedded db", f"{data} belongs to another user", "sudo automon doctor")
        if found is not None and serves(found.pid, data):
            return judge_embedded(data, shutil.disk_usage(data).free, _most_files(found.pid))
    return None


def judge_embedded(data: Path, free_bytes: int, most_files: int | None) -> Finding:
    free = f"{free_bytes / 1024**3:.1f} GB free below {data}"
    room = 'Make room there; fewer days in the section "retention" of the config need less.'
    if free_bytes < LEAST_DISK_BYTES:
        return failed("embedded db", free, room)
    if free_bytes < ENOUGH_DISK_BYTES:
        return warning("embedded db", free, room)
    if most_files is not None and most_files < ENOUGH_FILES:
        return warning(
            "embedded db", f"{free}; it may open only {most_files} files", "ulimit -n 4096, then start it again"
        )
    return ok("embedded db", f"{free}; it may open {most_files or 'any number of'} files")


def _most_files(pid: int) -> int | None:
    """Return how many files a process may have open; None for no limit, or when that cannot be read."""
    try:
        soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    except OSError:
        return None
    return None if soft == resource.RLIM_INFINITY else soft
