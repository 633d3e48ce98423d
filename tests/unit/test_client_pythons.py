"""The target that tests the client on every Python: it means the ones that the client says it is for."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.client_pythons import ROOT, VERSIONS, find

PROJECT = (ROOT / "client/pyproject.toml").read_text(encoding="utf-8")


def test_the_versions_are_those_that_the_client_is_for() -> None:
    assert list(VERSIONS) == re.findall(r"Python :: (3\.\d+)", PROJECT)
    assert f'requires-python = ">={VERSIONS[0]}"' in PROJECT


def test_an_interpreter_that_is_found_is_of_the_version_that_was_asked_for() -> None:
    version = "{}.{}".format(*sys.version_info)
    found = find(version)

    assert found is not None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Python {version}.")


def test_a_version_that_there_is_not_is_not_found() -> None:
    assert find("3.99") is None


def test_a_version_that_the_client_is_not_for_is_refused() -> None:
    command = [sys.executable, "-m", "tests.support.client_pythons", "3.9"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert 1 == ran.returncode
    assert "not for Python 3.9: choose from 3.10, 3.11, 3.12, 3.13, 3.14" in ran.stderr
