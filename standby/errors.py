"""The root of every error that an operator may see."""

from collections.abc import Sequence
from typing import Any

from standby.text import clean, sentence

__all__ = ["GuardRefused", "StandbyError", "sentence"]


class StandbyError(Exception):
    """Something went wrong that an operator can act upon: one sentence with the cause, one with what to do.

    A cause of several lines is given as such: a line end within a text is not ours, and becomes a space.
    """

    def __init__(self, cause: str | Sequence[str], next_action: str = "") -> None:
        self.cause = "\n".join(map(clean, [cause] if isinstance(cause, str) else cause))
        self.next_action = clean(next_action)
        super().__init__(self.cause, self.next_action)

    def __str__(self) -> str:
        parts = (self.cause, self.next_action)
        return " ".join(sentence(part) for part in parts if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # Across processes by what it says: subclasses are made of other things than the two texts.
        return type(self).__new__, (type(self), *self.args), vars(self)


class GuardRefused(StandbyError):
    """Base of the errors by which a guard stops what was asked; nothing was done, and nothing is broken."""
