"""Runs the client's tests on every Python that it supports and that can be had here, and names those that cannot.

    python -m tests.support.client_pythons [3.10 3.14 …]

A Python is taken from the PATH, pyenv or uv. Each gets an environment in a folder of the checkout that git ignores. The
server that the tests need is run by this process, for the service's code asks for a newer Python than the client.

In place of one that is not there, node runs a build of it for WebAssembly, if there is one. That has no processes, threads
or sockets: every module is imported, with warnings as errors, and what is pure in the client is tested.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from automon.migrate import migrate
from tests.support.postgres import PostgresUnderTest, make_directory
from tests.support.servers import CannotFetchError, fetch_package

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/unit/client", "tests/integration/client")
_FOLDER = ROOT / ".pythons"
# In the versions of the lock file, or the last before that the Python can have.
_TOOLS = ("hatchling", "hypothesis", "psutil", "psycopg", "psycopg-binary", "pytest", "pytest-timeout", "pytest-xdist")
_SOURCES = (
    (Path(os.environ.get("PYENV_ROOT", "~/.pyenv")), "versions/{}.*/bin/python{}"),
    (Path(os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python")), "cpython-{}.*/bin/python{}"),
)

# By the version of Python: that of the package, and what `npm view pyodide@VERSION dist.integrity` says.
_WASM = {
    "3.14": ("314.0.7", "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="),
}
_PURE_TOOLS = ("pytest", "pytest-timeout")
FAILED = "FAILED"
NOT_RUN = "NOT RUN: there is no such Python on the PATH, in pyenv or in uv"


def find(version: str) -> Path | None:
    """Find an interpreter of that version that works, for example 3.12."""
    on_path = shutil.which(f"python{version}")
    candidates = [Path(sys.executable).resolve(), *([Path(on_path)] if on_path else [])]
    for folder, pattern in _SOURCES:
        with suppress(PermissionError):  # a home that the environment names may be somebody else's
            candidates += sorted(folder.expanduser().glob(pattern.format(version, version)))
    return next((python for python in candidates if _works(python, version)), None)


def _works(python: Path, version: str) -> bool:
    """Tell whether it is that version and can make environments: a shim of pyenv may be neither."""
    ask = "import sys, venv, ensurepip; print('{}.{}'.format(*sys.version_info))"
    asked = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and asked.stdout.strip() == version


def environment(version: str, python: Path) -> Path:
    """Return the interpreter of an environment with what the tests need, made now unless it was before."""
    wanted = _requirements(_TOOLS)
    made_of = hashlib.sha256("\n".join((str(python), *wanted)).encode()).hexdigest()
    home = _FOLDER / f"{version}-{made_of[:12]}"
    if not home.exists():
        _FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER) as scratch:
            fresh = Path(scratch, "environment")
            subprocess.run([python, "-m", "venv", fresh], check=True)
            _install(fresh / "bin/python", *wanted)
            fresh.rename(home)
    return home / "bin/python"


def _install(python: str | Path, *what: str) -> None:
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
    subprocess.run([python, *install, *what], check=True)


def _requirements(tools: tuple[str, ...]) -> list[str]:
    locked = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([\w-]+)==([\w.]+)", locked, re.MULTILINE))
    return [f"{tool}<={versions[tool]}" for tool in tools]


@contextmanager
def lent_server() -> Iterator[dict[str, str]]:
    """Run a server with a migrated database to copy; yield the variables that name it."""
    directory = make_directory()
    try:
        with PostgresUnderTest(directory / "server") as server:
            name = server.create_database()
            migrate(server.address.socket_url(name))
            server.close_to_clients(name)
            yield {"LENT_SERVER_URL": server.address.socket_url("postgres"), "LENT_TEMPLATE": name}
    finally:
        shutil.rmtree(directory)


def beside_the_service() -> list[str]:
    """Find the tests that need the service, to compare with it: it is for newer Pythons and depends on more."""
    needs = re.compile(r"^(?:from|import) (?:automon|jobs|notifiers|scheduler|tests\.support)\b", re.MULTILINE)
    files = (path for folder in TESTS for path in sorted(ROOT.glob(f"{folder}/**/*.py")))
    needy = [path.relative_to(ROOT) for path in files if needs.search(path.read_text(encoding="utf-8"))]
    folders = [path.parent for path in needy if path.name == "conftest.py"]
    return [str(path) for path in [*folders, *(path for path in needy if path.parent not in folders)]]


def run_tests(python: Path, server: dict[str, str]) -> bool:
    """Run the client's tests and tell whether they passed. The conftest above them is the service's, and left out."""
    options = ("-n", "2", "--confcutdir", TESTS[-1], "-p", "tests.support.lent_database")
    left_out = [word for path in beside_the_service() for word in ("--ignore", path)]
    path = os.pathsep.join([str(ROOT / "client"), str(ROOT)])
    command: list[str | Path] = [python, "-m", "pytest", "-q", *options, *left_out, *TESTS]
    with tempfile.TemporaryDirectory() as state:  # no test keeps facts where those of this machine's user are
        environment = {**os.environ, **server, "PYTHONPATH": path, "XDG_STATE_HOME": state}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def run_in_wasm(version: str) -> str:
    """Test what can be tested in WebAssembly, and say what came of it."""
    if version not in _WASM:
        return NOT_RUN
    try:
        home = _wasm_home(version)
    except CannotFetchError as error:
        return f"{NOT_RUN}; {error}"
    node = shutil.which("node")
    if node is None:
        return f"{NOT_RUN}, and no node to run one in WebAssembly"
    print(f"Python {version} in WebAssembly", flush=True)
    command: list[str | Path] = [node, ROOT / "tests/support/client_wasm.mjs", home, ROOT]
    passed = subprocess.run(command, check=False).returncode == 0
    return "imports and pure tests passed, in WebAssembly; THE OTHERS DID NOT RUN" if passed else FAILED


def _wasm_home(version: str) -> Path:
    """Return the folder with Python for WebAssembly in `package` and pytest in `site`, fetched now unless it was before."""
    release, sha512 = _WASM[version]
    home = _FOLDER / f"wasm-{release}"
    if not home.exists():
        _FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER) as scratch:
            fresh = Path(scratch, "wasm")
            fresh.mkdir()
            with tarfile.open(fetch_package("pyodide", release, sha512, Path(scratch))) as packed:
                packed.extractall(fresh, filter="data")
            _install(sys.executable, "--target", str(fresh / "site"), *_requirements(_PURE_TOOLS))
            fresh.rename(home)
    return home


def run_all(versions: list[str]) -> dict[str, str]:
    """Run the tests on each version, and say of each what came of it."""
    said = {}
    with lent_server() as server:
        for version in versions:
            found = find(version)
            if found is None:
                said[version] = run_in_wasm(version)
                continue
            python = environment(version, found)
            print(f"Python {version}", flush=True)
            said[version] = "passed" if run_tests(python, server) else FAILED
    return said


def main() -> None:
    versions = sys.argv[1:] or list(VERSIONS)
    if unknown := [version for version in versions if version not in VERSIONS]:
        sys.exit(f"the client is not for Python {', '.join(unknown)}: choose from {', '.join(VERSIONS)}")
    said = run_all(versions)
    print(*(f"Left out, as it needs the service: {path}" for path in beside_the_service()), sep="\n")
    print(*(f"Python {version}: {outcome}" for version, outcome in said.items()), sep="\n")
    if FAILED in said.values():
        sys.exit(1)


if __name__ == "__main__":
    main()
