"""So many a minute and no more."""

from __future__ import annotations

from standby.clock import Clock


class Pace:
    """A bucket that holds a minute's worth and fills steadily."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """Begin with a full one."""
        self.per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._filled = clock.monotonic()

    def take(self) -> bool:
        """Take one, and say whether there was one."""
        now = self._clock.monotonic()
        self._left = min(self.per_minute, self._left + (now - self._filled) * self.per_minute / 60)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
