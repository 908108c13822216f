"""A moment in the past, as people write it: 30d, 2026-01-31, 2026-01-31T12:00:00Z."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

from standby.config.durations import parse_duration

_EXPECTED = "must be a date such as 2026-01-31, or a length of time such as 30d"


def moment_of(since: str, now: datetime) -> datetime:
    """Give the moment that is meant, UTC.

    Args:
        since: a date, a date with a time, or a length of time before now.
        now: UTC.

    Raises:
        ValueError: it is none of these.
    """
    try:
        return now - parse_duration(since)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(since.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_EXPECTED) from None


def _is_a_moment(since: str) -> str:
    moment_of(since, datetime.now(UTC))
    return since


Since = Annotated[str, AfterValidator(_is_a_moment)]
"""Text that `moment_of` understands."""
