"""Global options that may stand before or after the command's name."""

from __future__ import annotations

FLAGS = frozenset({"--json", "-v", "--verbose", "-q", "--quiet", "--no-color"})
WITH_VALUE = frozenset({"-c", "--config"})

REMINDER = "Before or after the command: -c FILE, --json, -v, -q, --no-color (see standby --help)."


def hoist(args: list[str]) -> list[str]:
    """Move global options, with their values, to the front; what follows `--` stays where it is.

    An option that lacks its value is all that is left, so that it does not take the command's name for it.
    """
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
            if not waiting:
                return [argument]
            front += [argument, waiting.pop(0)]
        else:
            rest.append(argument)
    return [*front, *rest]
