"""Which events were posted already: Azure delivers an alert again whenever it is not sure."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from standby.clock import Clock

REMEMBERED = 24 * 3600.0
"""Seconds for which an event is known again; Event Grid tries no longer than that."""

MOST = 10_000
"""Events that are remembered; beyond that the oldest are forgotten."""


class Duplicates:
    """The ids of events that were posted, or are being posted, lately."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        """Begin with none."""
        self._clock = clock
        self._most = most
        self._since: dict[UUID, float] = {}

    def mark(self, event: UUID) -> bool:
        """Remember an event, and say whether it is new."""
        now = self._clock.monotonic()
        self._forget(now)
        if event in self._since:
            return False
        self._since[event] = now
        return True

    def unmark(self, events: Iterable[UUID]) -> None:
        """Forget events that were not posted after all."""
        for event in events:
            self._since.pop(event, None)

    def _forget(self, now: float) -> None:
        # In the order in which they came, so the oldest are first.
        for event, since in list(self._since.items()):
            if now - since < REMEMBERED and len(self._since) < self._most:
                return
            del self._since[event]
