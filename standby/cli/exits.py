"""What the process's exit status says."""

from __future__ import annotations

from enum import IntEnum

from standby.errors import GuardRefused, StandbyError


class Exit(IntEnum):
    """Exit statuses that scripts rely on."""

    DONE = 0
    ERROR = 1
    DIFFERENCES = 2
    PARTIAL = 3
    REFUSED = 4
    INTERRUPTED = 130


def exit_of(error: StandbyError) -> Exit:
    """Choose the exit status of an error."""
    return Exit.REFUSED if isinstance(error, GuardRefused) else Exit.ERROR
