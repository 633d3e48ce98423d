"""The command that teaches a shell to complete automon's words."""

from __future__ import annotations

import click

PROGRAM = "automon"
VARIABLE = "_AUTOMON_COMPLETE"
# Where each shell looks by itself, or what has it look.
PLACES = {
    "bash": f"{PROGRAM} completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}",
    "zsh": f'{PROGRAM} completion zsh > "${{fpath[1]}}/_{PROGRAM}"',
    "fish": f"{PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(PLACES)))
def completion(shell: str) -> None:
    """Print what makes a SHELL complete commands, options, channels and alert types.

    The second line of what it prints says where that shell looks for it. A shell that is started then knows the words.

    Example: automon completion bash > ~/.local/share/bash-completion/completions/automon
    """
    click.echo(script(shell))


def script(shell: str) -> str:
    """Write the script for a shell, and in it where it belongs."""
    from click.shell_completion import get_completion_class

    from automon.cli.commands import main

    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(shell)
    complete = kind(main, {}, PROGRAM, VARIABLE)
    text = (complete.source_template % complete.source_vars()).strip()
    # Behind the first line: zsh reads there what the file completes.
    first, _, rest = text.partition("\n")
    return f"{first}\n# Put it where {shell} looks: {PLACES[shell]}\n{rest}"
