"""Global options that may stand before or after the command's name."""

from __future__ import annotations

import click
from typer.core import TyperGroup

FLAGS = frozenset({"--json", "-v", "--verbose", "-q", "--quiet", "--no-color"})
WITH_VALUE = frozenset({"-c", "--config"})


class GlobalsAnywhere(TyperGroup):
    """A command group whose global options are understood wherever they stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the global options first, where the group expects them."""
        return super().parse_args(ctx, hoist(args))


def hoist(args: list[str]) -> list[str]:
    """Move global options, with their values, to the front; what follows `--` stays where it is."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(args)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            return [*front, *rest, argument, *waiting]
        if argument in FLAGS or argument.startswith("--config="):
            front.append(argument)
        elif argument in WITH_VALUE:
            front += [argument, *waiting[:1]]
            del waiting[:1]
        else:
            rest.append(argument)
    return [*front, *rest]
