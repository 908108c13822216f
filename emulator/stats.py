"""What is counted of one resource."""

from __future__ import annotations

from collections import Counter, deque

from standby.service.models import JsonObject

WINDOW = 60.0
"""Seconds of the sliding minute."""


class SlidingMinute:
    """How many calls there were within the last 60 seconds."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque()

    def count(self, now: float) -> int:
        """Give the calls of the minute that ends now."""
        while self._moments and self._moments[0] <= now - WINDOW:
            self._moments.popleft()
        return len(self._moments)

    def add(self, now: float) -> int:
        """Add a call, and give the calls of the minute that ends with it."""
        self._moments.append(now)
        return self.count(now)

    def seconds_until_room(self, now: float) -> float:
        """Give how long it takes until the oldest call is no longer counted."""
        return self._moments[0] + WINDOW - now if self._moments else 0.0


class Stats:
    """Counters of one resource, as `/stats` shows them.

    Attributes:
        calls: by kind, whatever became of them.
        statuses: of the answers that were sent.
        copies_accepted: by id of the analyzer that is made.
        max_copies_in_flight: most accepted copies whose operations were not over at one time.
        most_operations_in_a_minute: most calls of the data plane in any 60 seconds, refused ones included.
        bytes: size of all bodies that were sent.
    """

    def __init__(self) -> None:
        self._minute = SlidingMinute()
        self.calls: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.copies_accepted: Counter[str] = Counter()
        self.copies_in_flight = 0
        self.max_copies_in_flight = 0
        self.copies_finished = 0
        self.most_operations_in_a_minute = 0
        self.bytes = 0

    def called(self, kind: str, *, data_plane: bool, now: float) -> None:
        """Count a call, whatever becomes of it."""
        self.calls[kind] += 1
        if data_plane:
            self.most_operations_in_a_minute = max(self.most_operations_in_a_minute, self._minute.add(now))

    def answered(self, status: int, size: int) -> None:
        """Count an answer that was sent."""
        self.statuses[str(status)] += 1
        self.bytes += size

    def copy_accepted(self, analyzer_id: str) -> None:
        """Count a copy whose operation begins."""
        self.copies_accepted[analyzer_id] += 1
        self.copies_in_flight += 1
        self.max_copies_in_flight = max(self.max_copies_in_flight, self.copies_in_flight)

    def copy_finished(self) -> None:
        """Count a copy whose operation is over."""
        self.copies_in_flight -= 1
        self.copies_finished += 1

    def to_json(self) -> JsonObject:
        """Give all of it."""
        return {
            "calls": dict(self.calls),
            "statuses": dict(self.statuses),
            "copies_in_flight": self.copies_in_flight,
            "max_copies_in_flight": self.max_copies_in_flight,
            "most_operations_in_a_minute": self.most_operations_in_a_minute,
            "copies_accepted": dict(self.copies_accepted),
            "copies_finished": self.copies_finished,
            "bytes": self.bytes,
        }
