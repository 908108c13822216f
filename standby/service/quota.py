"""How many calls a minute a resource gets from us."""

from __future__ import annotations

from aiolimiter import AsyncLimiter

WINDOW = 60.0
"""Seconds over which the service counts operations (REFERENCE: a minute)."""

TRAVEL = 1.0
"""Seconds by which calls may bunch up on their way: the service may see more in a window than was sent."""


def quota(operations_per_minute: int) -> AsyncLimiter:
    """Make the bucket that every HTTP attempt waits for.

    A bucket that holds `b` and fills at `r` a second lets `b + 60 r` through in the worst minute. A small
    `b` keeps nearly the whole quota usable without ever exceeding it.

    Args:
        operations_per_minute: what no window of 60 s may exceed; at least 1.
    """
    burst = max(1, operations_per_minute // 60)
    refilled = max(operations_per_minute - burst, 1)
    return AsyncLimiter(max_rate=burst, time_period=burst * (WINDOW + TRAVEL) / refilled)
