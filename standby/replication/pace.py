"""How often to ask about something that takes a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from standby.clock import Clock
from standby.config.plan import CopyDeadlines

GROWTH = 1.5
"""How much longer each wait is than the one before."""


@dataclass
class Beat:
    """One time to ask; the service's own wish for the next wait, in seconds, may be left in it."""

    retry_after: float | None = None


async def pace(deadlines: CopyDeadlines, clock: Clock, begun: float | None = None) -> AsyncIterator[Beat]:
    """Yield at each time to ask, soon at first and then less often, until the deadline is over.

    Args:
        deadlines: how long, and how often.
        clock: what is waited by.
        begun: when the work began, in the clock's monotonic seconds; now, where it is not given.
    """
    end = (clock.monotonic() if begun is None else begun) + deadlines.poll
    wait = deadlines.first_interval
    while True:
        beat = Beat()
        yield beat
        left = end - clock.monotonic()
        if left <= 0:
            return
        # A Retry-After of nothing is no leave to ask without end.
        asked = wait if beat.retry_after is None else max(beat.retry_after, deadlines.first_interval)
        await clock.sleep(min(left, asked))
        wait = min(wait * GROWTH, deadlines.longest_interval)
