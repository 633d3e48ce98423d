"""Under which user of the operating system the server runs, and how a child becomes that user and ends with its parent.

PostgreSQL refuses to run as root. What it needs may all the same lie below a folder that only root may enter, such as
/root: then the other user is lent the one right to pass, or root is shown to PostgreSQL under another number.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from automon.embedded.binaries import Binaries
from automon.errors import EmbeddedPostgresError

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_USER = "automon"
_NOBODY = 65534

# prctl(PR_SET_PDEATHSIG, SIGINT), and away at once if the parent was faster. Python ignores SIGPIPE, others must not.
_EXEC_UNTIL_PARENT_ENDS = """\
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGINT):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent has ended")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who owns the data and runs the server. A child started with `command` ends when its parent ends."""

    uid: int
    gid: int
    become: tuple[str, ...]

    def command(self, *argv: str | Path) -> list[str]:
        return [*self.become, *map(str, argv)]


def choose_account(directory: Path, data: Path, binaries: Binaries) -> Account:
    """Return this process' own account, or as root the first other one that can run the programs in `directory`."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), become=_until_parent_ends())
    refusals = []
    for account in _accounts_for_root(data):
        refusal = _refusal(account, directory, binaries)
        if refusal is None:
            return account
        refusals.append(refusal)
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and no other user can reach {directory} and {binaries.directory}: "
        f"{refusals[0]}",
        hint="Move the checkout to where every user may enter, such as /opt or /srv, or run as an ordinary user. "
        "In a container, --cap-add DAC_READ_SEARCH helps too; setpriv (util-linux) must be installed.",
    )


def _until_parent_ends() -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", _EXEC_UNTIL_PARENT_ENDS, str(os.getpid()))


def _accounts_for_root(data: Path) -> Iterator[Account]:
    owner = data.stat().st_uid if data.exists() else 0
    uid, gid = _ids(owner)
    # From the least right to the most: containers often withhold DAC_READ_SEARCH and grant DAC_OVERRIDE.
    for rights in ((), _rights("dac_read_search"), _rights("dac_override")):
        yield Account(uid=uid, gid=gid, become=_setpriv(uid, gid, rights))
    if owner == 0:
        yield Account(uid=0, gid=0, become=(*_renamed_root(), *_until_parent_ends()))


def _ids(owner: int) -> tuple[int, int]:
    """Return user and group of the owner of the data, else of user automon, else of nobody."""
    users = {entry.pw_uid: entry for entry in pwd.getpwall()}
    named = next((uid for uid, entry in users.items() if entry.pw_name == _USER), _NOBODY)
    uid = owner or named
    return uid, users[uid].pw_gid if uid in users else uid


def _setpriv(uid: int, gid: int, rights: tuple[str, ...]) -> tuple[str, ...]:
    # setpriv sets the death signal last: the kernel forgets it when a process changes its user.
    return ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *rights, "--pdeathsig=INT", "--")


def _rights(capability: str) -> tuple[str, ...]:
    # PostgreSQL asks access() about its own program, and without this securebit access() disregards capabilities.
    return (
        f"--inh-caps=-all,+{capability}",
        f"--ambient-caps=-all,+{capability}",
        "--securebits=+no_setuid_fixup",
    )


def _renamed_root() -> tuple[str, ...]:
    return ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")


def _refusal(account: Account, directory: Path, binaries: Binaries) -> str | None:
    """Return why that account cannot find the programs' parts or enter the directory; None if it can do both."""
    script = '"$1" --show -D "$2" >/dev/null && cd -- "$2"'
    command = account.command("/bin/sh", "-c", script, "sh", binaries.initdb, directory)
    try:
        answer = subprocess.run(  # noqa: S603 - a list, no shell between
            command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return str(error)
    if answer.returncode == 0:
        return None
    complaints = [line for line in answer.stderr.splitlines() if "=" not in line]
    return complaints[-1] if complaints else f"status {answer.returncode}"
