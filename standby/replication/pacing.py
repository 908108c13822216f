"""When to ask about work that is under way: learned from how long such work took.

That something took between 2.6 and 2.9 s is all that can be known of it: it was under way at one question, and over at
the next. So what is learned from are intervals. Read as single moments, they would make each estimate later than the
last, and a service that became faster would go unnoticed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate, cycle, pairwise

from standby.clock import Clock
from standby.config.plan import CopyDeadlines

Took = tuple[float, float]
"""Seconds at which something was still under way, 0 where that was never seen, and at which it was seen to be over."""


class Kind(StrEnum):
    """What takes about as long as others of its kind at the same place."""

    COPY = "copy"
    TRAINED_COPY = "trained_copy"
    BUILD = "build"
    LABELLED_BUILD = "labelled_build"

    @classmethod
    def of_copy(cls, *, trained: bool) -> Kind:
        return cls.TRAINED_COPY if trained else cls.COPY


RECORDED: dict[Kind, tuple[Took, ...]] = {
    Kind.COPY: ((2.0, 5.0),),
    Kind.TRAINED_COPY: ((2.0, 9.0),),
    Kind.BUILD: ((1.0, 5.0),),
    Kind.LABELLED_BUILD: ((1.0, 5.0), (100.0, 240.0)),
}
"""What each took where it was recorded or reported (REFERENCE, *Other calls*): believed until something is measured."""

KEPT = 64  # Measurements that count, the newest ones
FASTER = 0.7  # Work that is over at its first question may have taken this share of that time, for all that is known
FIRST = 0.1  # Share that should be over at the first question
CELLS = 5  # Waits in the time within which most of it ends; half as many where nothing was measured yet
SHORTEST = 0.04  # Shortest wait, as a share of what has passed: more exact is of no use to anybody
LONGEST = 0.2  # Longest one while it may end any time, likewise
GROWING = 2  # How much longer waits are beyond all that is known, as a share of how far beyond


@dataclass
class Beat:
    """One time to ask; the service's own wish for the next wait, in seconds, may be left in it."""

    at: float = 0.0  # seconds at which it was to be asked; -1 where that is at once
    under_way: float = 0.0  # seconds at which what is asked about was last seen to be under way
    retry_after: float | None = None


class Known:
    """What is known of how long one kind of work takes; `seen` are the measurements, which may be kept."""

    def __init__(self, kind: Kind = Kind.COPY, seen: list[Took] | None = None) -> None:
        """Begin with what was seen before; it is added to, and the oldest is taken away."""
        self.seen = [] if seen is None else seen
        self.turns = cycle((0.0, 0.5, 0.25, 0.75))  # of the first waits, so that all learn from what ended first
        self._spread(self.seen or RECORDED[kind])

    def learn_from(self, beat: Beat, over: float) -> None:
        """Add a measurement, unless a first question came late: what it was about may have been over for long."""
        if beat.under_way > 0 or 0.0 < over < 1.1 * beat.at + 0.25:
            self.learn((beat.under_way, over))

    def learn(self, took: Took) -> None:
        self.seen[:] = [*self.seen[1 - KEPT :], (round(took[0], 3), round(took[1], 3))]
        self._spread(self.seen)

    def question(self, under_way: float, turn: float, deadlines: CopyDeadlines, asked: float = 0.0) -> float:
        """Give the second of the next question about work that was under way at one, and was asked about last."""
        over, last = _read(self._moments, self._shares, under_way), self._moments[-1]
        begin = max(under_way, self._reached(over + 0.01))  # The time between two kinds that mix is not asked through.
        wait = max(min((self._reached(0.9) - self._reached(0.1)) / CELLS, LONGEST * begin), SHORTEST * begin)
        if not self.seen:
            wait *= 2.0 - turn
        best = begin + wait + GROWING * max(0.0, under_way - last)
        if not under_way:
            best = self._reached(FIRST) if self.seen else 1.0 + turn  # The very first tells all others something early.
        return min(max(best, asked + deadlines.first_interval), asked + deadlines.longest_interval, deadlines.poll)

    def _spread(self, seen: Sequence[Took]) -> None:
        rates = defaultdict[float, float](float)
        for under_way, seen_over in seen:
            over = max(seen_over, 0.001)
            low = min(under_way or over * FASTER, over * 0.99)
            rates[low] += 1 / (over - low)
            rates[over] -= 1 / (over - low)
        self._moments = sorted(rates)
        under = accumulate(rates[moment] for moment in self._moments)
        parts = (rate * (after - before) for rate, (before, after) in zip(under, pairwise(self._moments), strict=False))
        self._shares = [part / len(seen) for part in accumulate(parts, initial=0.0)]

    def _reached(self, share: float) -> float:
        return _read(self._shares, self._moments, share)


def _read(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """Read a value at a place between those that are known, both of which rise; at most the last one."""
    after = min(max(bisect_left(places, place), 1), len(places) - 1)
    low, high = places[after - 1], places[after]
    part = min(max((place - low) / (high - low), 0.0), 1.0)
    return values[after - 1] + part * (values[after] - values[after - 1])


@dataclass
class Experience:
    """What a run knows of how long everything takes, by what it is made from, where, and kind."""

    _known: dict[tuple[str, str, Kind], Known] = field(default_factory=dict)

    def of(self, source: str, target: str, kind: Kind) -> Known:
        return self._known.setdefault((source, target, kind), Known(kind))

    def take_up(self, source: str, target: str, took: MutableMapping[str, list[Took]]) -> None:
        """Go on from what earlier runs measured, and add to it."""
        for kind in (Kind.COPY, Kind.TRAINED_COPY):
            self._known[source, target, kind] = Known(kind, took.setdefault(kind, []))


MOMENT = 1e-6  # Seconds that no clock can tell apart


async def questions(
    known: Known, deadlines: CopyDeadlines, clock: Clock, begun: float, *, at_once: bool = False
) -> AsyncIterator[Beat]:
    """Yield whenever it may be over, until the deadline since it began; it is under way for whoever goes on."""
    turn, under_way, asked, wish = next(known.turns), 0.0, 0.0, None
    at = 0.0 if at_once else known.question(under_way, turn, deadlines)
    while True:
        while (left := begun + at - clock.monotonic()) > MOMENT:
            # What ends meanwhile says more: no wait is slept through in one go.
            await clock.sleep(min(left, max(0.25, 0.1 * (at - left))))
            if wish is None and not at_once:
                at = known.question(under_way, turn, deadlines, asked)
        beat, now = Beat(-1.0 if at_once else at, under_way), clock.monotonic() - begun
        yield beat
        under_way, asked, wish, at_once = now, clock.monotonic() - begun, beat.retry_after, False
        if asked >= deadlines.poll - MOMENT:
            return
        at = known.question(under_way, turn, deadlines, asked)
        if wish is not None:
            # A Retry-After of 0 does not mean to ask without a pause.
            at = min(asked + max(wish, deadlines.first_interval), deadlines.poll)


async def looks(seconds: float, clock: Clock) -> AsyncIterator[None]:
    """Yield at each time to look for what may show late, soon at first and then less often, for so long."""
    end, wait = clock.monotonic() + seconds, 1.0
    while True:
        yield
        left = end - clock.monotonic()
        if left <= 0:
            return
        await clock.sleep(min(left, wait))
        wait = min(wait * 1.5, 5.0)
