"""How far a run is that is done in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from standby.replication.results import Progress, Status


class Tally:
    """Adds up the progress of parts."""

    def __init__(self, total: int, on_progress: Callable[[Progress], None]) -> None:
        """Begin with nothing done.

        Args:
            total: items of all parts.
            on_progress: told the sum after every change.
        """
        self._total = total
        self._on_progress = on_progress
        self._parts: list[Progress] = []

    def part(self) -> Callable[[Progress], None]:
        """Give what one more part is to tell its progress to."""
        position = len(self._parts)
        self._parts.append(Progress(0, 0, ()))

        def show(progress: Progress) -> None:
            self._parts[position] = progress
            self._on_progress(self._sum())

        return show

    def _sum(self) -> Progress:
        ended: Counter[Status] = Counter(dict.fromkeys(Status, 0))
        for part in self._parts:
            ended.update(dict(part.ended))
        return Progress(self._total, sum(part.in_flight for part in self._parts), tuple(ended.items()))
