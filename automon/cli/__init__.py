"""The command line: a composition root. Nothing imports it."""

from automon.cli.commands import main

__all__ = ["main"]
