"""What the tests of the integrations share: a Valkey, and the examples as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.markdown import ROOT
from tests.support.valkey import Valkey

RunExample = Callable[..., None]


@pytest.fixture
def valkey(memory_path: Path) -> Iterator[Path]:
    """The socket of a Valkey for this test alone."""
    with Valkey(memory_path) as socket:
        yield socket


@pytest.fixture
def run_example(database_url: str) -> RunExample:
    """Run a program of `examples/` to its end, which must be a good one. Keywords go into its environment."""

    def run(program: str, **environment: str) -> None:
        ran = subprocess.run(
            [sys.executable, program],
            cwd=ROOT / "examples",
            env={**os.environ, "AUTOMON_DSN": database_url, "AUTOMON_SPOOL": "off", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run
