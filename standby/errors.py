"""The root of every error that an operator may see."""

from __future__ import annotations

from typing import Any


class StandbyError(Exception):
    """Something went wrong that an operator can act upon: one sentence with the cause, one with what to do."""

    def __init__(self, cause: str, next_action: str = "") -> None:
        super().__init__(cause, next_action)
        self.cause = cause
        self.next_action = next_action

    def __str__(self) -> str:
        parts = (self.cause, self.next_action)
        return " ".join(sentence(part) for part in parts if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # Across processes by what it says: subclasses are made of other things than the two texts.
        return type(self).__new__, (type(self), *self.args), vars(self)


class GuardRefused(StandbyError):
    """Base of the errors by which a guard stops what was asked; nothing was done, and nothing is broken."""


def sentence(text: str) -> str:
    """End a text as a sentence ends."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
