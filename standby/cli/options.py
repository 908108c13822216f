"""Global options that may stand before or after the command's name."""

from __future__ import annotations

FLAGS = frozenset({"--json", "-v", "--verbose", "-q", "--quiet", "--no-color"})
WITH_VALUE = frozenset({"-c", "--config"})


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
