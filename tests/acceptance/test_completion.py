"""What shells complete, asked of the real shells, and what is said of a word that there is not."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import clean_environment, make_config, run_automon, write_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config, and the command automon in a folder of its own."""
    write_config(tmp_path, make_config())
    program = tmp_path / "bin" / "automon"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m automon "$@"\n')
    program.chmod(0o755)
    return tmp_path


def shell(name: str, folder: Path, text: str) -> str:
    """Run a script in a shell that finds the command; what it prints. Skips the test where the shell is not there."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} on this machine")
    environment = clean_environment({"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"})
    done = subprocess.run(
        [program, "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        pytest.param(["automon", "com"], ["completion"], id="a command"),
        pytest.param(["automon", "status", "--js"], ["--json"], id="an option"),
        pytest.param(["automon", "completion", ""], ["bash", "zsh", "fish"], id="the words of an argument"),
        pytest.param(["automon", "send-test", ""], ["slack", "email"], id="the channels of the config"),
        pytest.param(["automon", "deliveries", "--channel", "sl"], ["slack"], id="a channel behind an option"),
        pytest.param(["automon", "channels", "resume", "e"], ["email"], id="a channel of a command in a command"),
        pytest.param(["automon", "runbook", "host_d"], ["host_disk"], id="an alert type"),
    ],
)
def test_bash_completes(typed: list[str], expected: list[str], folder: Path) -> None:
    words = " ".join(map(shlex.quote, typed))

    shown = shell(
        "bash",
        folder,
        f'source <(automon completion bash); COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _automon_completion automon; printf "%s\\n" "${{COMPREPLY[@]}}"',
    )

    assert shown.splitlines() == expected


def test_bash_completes_nothing_and_complains_of_nothing_where_the_config_is_wrong(folder: Path) -> None:
    write_config(folder, "{")

    shown = shell(
        "bash",
        folder,
        'source <(automon completion bash); COMP_WORDS=(automon send-test ""); COMP_CWORD=2; _automon_completion automon; echo "${#COMPREPLY[@]}"',
    )

    assert shown == "0\n"


def test_zsh_completes(folder: Path) -> None:
    shown = shell(
        "zsh",
        folder,
        "autoload -U compinit; compinit -u -D; source <(automon completion zsh); whence -w _automon_completion",
    )

    assert shown == "_automon_completion: function\n"


def test_fish_completes(folder: Path) -> None:
    shown = shell("fish", folder, 'automon completion fish | source; complete -C "automon send-test "')

    assert sorted(line.split("\t")[0] for line in shown.splitlines()) == ["email", "slack"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_script_says_where_it_belongs(name: str, tmp_path: Path) -> None:
    done = run_automon(tmp_path, "completion", name)

    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith(f"# Put it where {name} looks: automon completion {name} > ")


# Did you mean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        pytest.param(["statsu"], "No such command 'statsu'. Did you mean 'status'?", id="a command"),
        pytest.param(["channels", "resmue"], "Did you mean 'resume'?", id="a command in a command"),
        pytest.param(["status", "--jsno"], "Did you mean '--json'?", id="an option"),
        pytest.param(["completion", "basch"], "'basch' is not one of 'bash', 'zsh', 'fish'", id="a word of few"),
    ],
)
def test_a_word_that_there_is_not_is_answered_with_the_one_that_is_near(
    arguments: list[str], guess: str, folder: Path
) -> None:
    done = run_automon(folder, *arguments)

    assert done.returncode == 64
    assert guess in done.stderr


def test_a_word_that_is_near_to_nothing_is_not_guessed_at(folder: Path) -> None:
    done = run_automon(folder, "xyzzy")

    assert done.returncode == 64
    assert "No such command 'xyzzy'.\n" in done.stderr


def test_a_channel_that_there_is_not_is_answered_with_the_one_that_is_near(folder: Path) -> None:
    done = run_automon(folder, "send-test", "slakc")

    assert done.returncode == 1
    assert "there is no channel slakc. Did you mean 'slack'?" in done.stderr
