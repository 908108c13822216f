"""How the service writes dates."""

from __future__ import annotations

import secrets
from datetime import datetime

FEWEST_FRACTION_DIGITS = 5


def whole_seconds(moment: datetime) -> str:
    """Write a date as `createdAt` and `lastModifiedAt` have it: whole seconds and `Z` (recordings).

    Args:
        moment: aware, UTC.
    """
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def with_fraction(moment: datetime) -> str:
    """Write a date as `expiresAt` has it: 5 to 7 fractional digits and `+00:00` (recordings).

    Args:
        moment: aware, UTC.
    """
    ticks = f"{moment.microsecond:06d}{secrets.randbelow(10)}"
    fraction = ticks[:FEWEST_FRACTION_DIGITS] + ticks[FEWEST_FRACTION_DIGITS:].rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}+00:00"
