"""The client as it is installed: what its wheel holds, and what it does in an environment with psycopg and nothing else."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import psycopg
import pytest

PROJECT = Path(__file__).parents[3] / "client"
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None, reason="hatchling, which builds the wheel, is not installed"
    ),
]


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PIP_NO_INDEX": "1"})
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    project = shutil.copytree(PROJECT, folder / "client")
    pip("wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(project))
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The folder of programs of an environment with the client, psycopg's Python part, and nothing else."""
    home = wheel.parent / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    programs = home / "bin"
    pip("--python", str(programs / "python"), "install", "--quiet", "--no-deps", str(wheel))
    [packages] = home.glob("lib/python*/site-packages")
    source = Path(psycopg.__file__).parent
    shutil.copytree(source, packages / "psycopg", ignore=shutil.ignore_patterns("__pycache__"))
    if sys.version_info < (3, 13):  # psycopg needs it there
        shutil.copy(source.parent / "typing_extensions.py", packages)
    return programs


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.defpath, "AUTOMON_SPOOL": str(Path(command[0]).parents[1] / "spool"), **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given)


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        [path] = (path for path in archive.namelist() if path.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def test_the_wheel_holds_every_module_and_the_mark_of_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = PROJECT / "monitoring_client"
    sources = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}

    assert {str(path.relative_to(PROJECT)) for path in sources} == held
    assert "monitoring_client/py.typed" in held


def test_the_wheel_says_which_pythons_it_is_for(wheel: Path) -> None:
    text = metadata(wheel, "METADATA")

    assert "Requires-Python: >=3.10\n" in text
    assert [f"3.{minor}" for minor in range(10, 15)] == re.findall(r"Python :: (3\.\d+)", text)
    assert ["psycopg<4,>=3.2"] == re.findall(r"^Requires-Dist: ([^;\n]+)$", text, re.MULTILINE)


def test_the_wheel_brings_automon_run(wheel: Path, installed: Path) -> None:
    ran = run(installed / "automon-run", "--task", "t", "--quiet", "--", "sh", "-c", "echo out; exit 3")

    assert "automon-run = monitoring_client.run:main" in metadata(wheel, "entry_points.txt")
    assert (3, "out\n", "") == (ran.returncode, ran.stdout, ran.stderr)


def test_without_libpq_the_client_says_so_and_raises_nothing(installed: Path) -> None:
    program = (
        "import logging, monitoring_client\n"
        "logging.basicConfig()\n"
        "with monitoring_client.MonitoringClient('postgresql://u@localhost/d') as monitor, monitor.task('t'):\n"
        "    print('worked')\n"
    )

    # Asked for its binary part, which is not there, psycopg fails as it does where there is no libpq.
    ran = run(installed / "python", "-c", program, PSYCOPG_IMPL="binary")

    assert (0, "worked\n") == (ran.returncode, ran.stdout)
    assert "WARNING:automon_client:" in ran.stderr
    assert "the database driver cannot be loaded" in ran.stderr
    assert "install automon-client[binary]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_libpq_automon_run_runs_the_command_and_says_so(installed: Path) -> None:
    ran = run(
        installed / "automon-run",
        *("--task", "t", "--", "sh", "-c", "exit 3"),
        AUTOMON_DSN="postgresql://u@localhost/d",
        PSYCOPG_IMPL="binary",
    )

    assert (3, 1) == (ran.returncode, ran.stderr.count("\n"))
    assert "install automon-client[binary]" in ran.stderr
