"""Makes the data directory, all of it or nothing, with the role and the database that automon uses."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from automon.embedded.account import ENVIRONMENT, Account
from automon.embedded.binaries import Binaries
from automon.embedded.layout import HOST, NAME, Layout, make_private, write_private
from automon.errors import EmbeddedPostgresError

_DRAFT = "initializing-"
_FIRST_MAJOR_WITH_OWN_LOCALE = 17


def prepare_cluster(layout: Layout, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Make the data directory if there is none; check and hand over the one that is there otherwise."""
    _remove_drafts(layout)
    if layout.data.exists() and any(layout.data.iterdir()):
        _check_major(layout, binaries)
        _hand_over(layout.data, account)
    else:
        layout.password.unlink(missing_ok=True)  # it was for other data
        _initialize(layout, binaries, account, durable=durable)
    if not layout.password.exists():
        _set_password(layout, binaries, account)
    write_private(layout.passfile, f"{HOST}:*:*:{NAME}:{layout.password.read_text().strip()}\n")


def _remove_drafts(layout: Layout) -> None:
    for draft in layout.directory.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def _check_major(layout: Layout, binaries: Binaries) -> None:
    try:
        major = (layout.data / "PG_VERSION").read_text().strip()
    except FileNotFoundError as error:
        raise EmbeddedPostgresError(
            f"{layout.data} is not empty and holds no PostgreSQL data", hint="Move it away."
        ) from error
    if major != str(binaries.major):
        raise EmbeddedPostgresError(
            f"{layout.data} was made by PostgreSQL {major}, and the programs in {binaries.directory} are "
            f"PostgreSQL {binaries.major}",
            hint=f"Keep it: run PostgreSQL {major} on it, dump it with pg_dump and load that into a new one. "
            f"Or start anew: mv {shlex.quote(str(layout.data))} {shlex.quote(f'{layout.data}-{major}')}",
        )


def _hand_over(data: Path, account: Account) -> None:
    """Give the files of a data directory that root has copied to the user who runs the server."""
    owner = data.stat().st_uid
    if owner == account.uid:
        return
    if os.geteuid() != 0:
        raise EmbeddedPostgresError(
            f"{data} belongs to user {owner}, and this is user {account.uid}",
            hint=f"Run as that user or as root, or: sudo chown -R {account.uid} {shlex.quote(str(data.parent))}",
        )
    for folder, _, files, handle in os.fwalk(data, topdown=False):
        for name in files:
            os.chown(name, account.uid, account.gid, dir_fd=handle, follow_symlinks=False)
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def _initialize(layout: Layout, binaries: Binaries, account: Account, *, durable: bool) -> None:
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=layout.directory))
    data = draft / "data"
    try:
        make_private(draft, account.uid, account.gid)
        options = (
            "--username",
            NAME,
            "--auth-local",
            "trust",
            "--auth-host",
            "scram-sha-256",
            "--data-checksums",
            "--wal-segsize=4",
        )
        _run(account, binaries.initdb, "-D", data, *options, *_locale(binaries.major), "--no-sync")
        _single_user(f"CREATE DATABASE {NAME};", data, binaries, account)
        if durable:
            _run(account, binaries.initdb, "-D", data, "--sync-only")
        data.rename(layout.data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if durable:
        _sync(layout.directory)


def _locale(major: int) -> tuple[str, ...]:
    # The system's locales may be missing, or change their order with an update; PostgreSQL's own do neither.
    own = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return ("--no-locale", "--encoding=UTF8", *(own if major >= _FIRST_MAJOR_WITH_OWN_LOCALE else ()))


def _set_password(layout: Layout, binaries: Binaries, account: Account) -> None:
    password = secrets.token_urlsafe(24)
    _single_user(f"ALTER ROLE {NAME} PASSWORD '{password}';", layout.data, binaries, account)
    write_private(layout.password, password + "\n")


def _single_user(sql: str, data: Path, binaries: Binaries, account: Account) -> None:
    _run(account, binaries.postgres, "--single", "-c", "exit_on_error=on", "-D", data, "postgres", stdin=sql + "\n")


def _run(account: Account, program: Path, *arguments: str | Path, stdin: str = "") -> None:
    # A session of its own: Ctrl-C is for this process, which then ends the child.
    answer = subprocess.run(  # noqa: S603 - a list, no shell between
        account.command(program, *arguments),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        text=True,
        errors="replace",
        check=False,
    )
    if answer.returncode != 0:
        raise EmbeddedPostgresError(f"{program.name} failed with status {answer.returncode}:\n{answer.stdout.strip()}")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
