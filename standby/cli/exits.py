"""What the process's exit status says."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses that scripts rely on."""

    DONE = 0
    ERROR = 1
    DIFFERENCES = 2
    PARTIAL = 3
    REFUSED = 4
    INTERRUPTED = 130
