"""Names, and what is said of one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from standby.config.resource import RESOURCE_NAME
from standby.errors import StandbyError

Name = Annotated[str, StringConstraints(pattern=RESOURCE_NAME, max_length=64)]
"""Name of a resource or plan: lower-case letters, digits and dashes."""

SHOWN = 10
"""How many known names are listed where none is near."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name may have been meant, or which there are; not a sentence yet."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return "there is none"
    return f"there is {', '.join(names[:SHOWN])}{' and others' if len(names) > SHOWN else ''}"


class Strict(BaseModel):
    """A part of the configuration; a misspelt key is an error, and errors never quote what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ConfigurationError(StandbyError):
    """The configuration cannot be used.

    Attributes:
        problems: everything that is wrong, one line each, without any value of a secret.
    """

    def __init__(self, problems: Sequence[str], next_action: str = "") -> None:
        super().__init__("\n".join(problems), next_action)
        self.args = (tuple(problems), next_action)
        self.problems = tuple(problems)


class UnknownName(ConfigurationError):
    """Somebody asked for a plan or a resource that the configuration does not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = tuple(sorted(known))
        super().__init__([f"There is no {kind} named {name}: {nearest(name, names)}"])
        self.args = (kind, name, names)
