"""The root of every error that an operator may see."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from standby.text import clean, sentence

__all__ = ["ExtraMissing", "GuardRefused", "StandbyError", "of_extra", "sentence"]


class StandbyError(Exception):
    """Something went wrong that an operator can act upon: one sentence with the cause, one with what to do.

    A cause of several lines is given as such: a line end within a text is not ours, and becomes a space.
    """

    def __init__(self, cause: str | Sequence[str], next_action: str = "") -> None:
        self.cause = "\n".join(map(clean, [cause] if isinstance(cause, str) else cause))
        self.next_action = clean(next_action)
        self.facts: dict[str, Any] = {}  # what programs get besides
        super().__init__(self.cause, self.next_action)

    def __str__(self) -> str:
        parts = (self.cause, self.next_action)
        return " ".join(sentence(part) for part in parts if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # Across processes by what it says: subclasses are made of other things than the two texts.
        return type(self).__new__, (type(self), *self.args), vars(self)


class GuardRefused(StandbyError):
    """Base of the errors by which a guard stops what was asked; nothing was done, and nothing is broken."""


READ_ONLY = "STANDBY_READ_ONLY"  # The environment says so, since runs may be processes of their own


class ReadOnly(GuardRefused):
    def __init__(self, what: str) -> None:
        cause = f"{what} may change something, and Standby is read-only here; nothing was changed"
        super().__init__(cause, f"To change it, leave out --read-only and {READ_ONLY}")


def is_read_only() -> bool:
    """Say whether nothing may be changed; whatever does not plainly say no means yes."""
    return os.environ.get(READ_ONLY, "").strip().lower() not in {"", "0", "false", "no", "off"}


def must_not_be_read_only(what: str) -> None:
    """Refuse by `ReadOnly` what would change something: the edges ask this, before anything is sent or written."""
    if is_read_only():
        raise ReadOnly(what)


class ExtraMissing(StandbyError):
    """What was asked for needs packages that the break-glass install leaves out."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed", f'Run pip install "standby[{extra}]"')


@contextmanager
def of_extra(extra: str, what: str) -> Iterator[None]:
    """Import what an extra of the installation brings, or ""; `ExtraMissing` where it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not extra:
            raise
        raise ExtraMissing(what, extra) from error


class FileUnwritable(StandbyError):
    def __init__(self, path: object, error: OSError, option: str = "--out") -> None:
        reason = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror
        cause = f"{path} cannot be written: {reason or type(error).__name__}"
        super().__init__(cause, f"Name another file with {option}")
