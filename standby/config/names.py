"""Names, and what is said of one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

from pydantic import StringConstraints

from standby.service.resource import RESOURCE_NAME

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
