"""When to ask about work that is under way: learned from how long such work took.

That something took between 2.6 and 2.9 s is all that can be known of it: it was under way at one question, and over at
the next. So what is learned from are intervals. Taken for single moments, they would make each estimate later than the
last, and a service that became faster would go unnoticed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

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
INHERITED = 24  # Of an earlier run, so many: the service may have become another one since
EARLY = 1.0  # Seconds after which the very first work of a kind is asked about: all others wait for what it tells

FIRST = 0.12  # Share that should be over at the first question
NEXT = 0.3  # Share that should have ended between a question and the next, where that is not too long a wait
CELLS = 5.7  # Questions in the time within which most of it ends: what ended is noticed within that part of it
SHORTEST = 0.03  # Shortest wait, as a share of what has passed: more exact is of no use to anybody
FEW_CELLS = 4.0  # Likewise, where nothing was measured yet
LONGEST = 0.5  # Longest one, likewise, where it may end any time
STEP = 0.025  # Width of a step of the distribution, on a logarithmic scale
UNSURE = 0.4  # How much longer waits are with one measurement, as a share of what has passed; less with more of them
SHY = 0.3  # How much earlier the first question comes, likewise
LATE = 0.25  # Seconds by which an answer may be later than its question was to be, and one tenth more
FASTER = 0.85  # Work that is over at its first question may have taken this share of that time, for all that is known
SURPRISE = (
    3.0  # Unlikeliness (natural logarithm) from which faster work than was known makes it ever more open how fast
)


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
        self.version = 0
        self._recorded = RECORDED[kind]
        self._window = [_interval(took) for took in self.seen[-INHERITED:]]
        self._fast = 0.0  # how unlikely it was that all the newest were over at their first question
        self._turn = 0
        self._work_out()

    def turn(self) -> float:
        """Give the next work its place between 0 and 1, by which questions about several come one after another."""
        self._turn += 1
        return (self._turn - 1) * 0.618034 % 1.0

    @property
    def is_sure(self) -> bool:
        """Whether one measurement more changes little."""
        return len(self._window) >= INHERITED

    def learn_from(self, beat: Beat, over: float) -> None:
        """Add a measurement, unless a first question came late: what it was about may have been over for long."""
        if beat.under_way > 0 or 0.0 < over < 1.1 * beat.at + LATE:
            self.learn((beat.under_way, over))

    def learn(self, took: Took) -> None:
        """Add a measurement."""
        under_way, over = took
        self.seen[:] = [*self.seen[1 - KEPT :], (round(under_way, 3), round(over, 3))]
        likely = max(self._share(over * math.exp(STEP)) - self._share(under_way), 0.02)
        self._fast = 0.0 if under_way > 0 else min(self._fast - math.log(likely), 20.0)
        self._window = [*self._window[1 - KEPT :], _interval(took, 1.0 + max(0.0, self._fast - SURPRISE))]
        self.version += 1
        self._work_out()

    def question(self, under_way: float, turn: float, deadlines: CopyDeadlines, asked: float = 0.0) -> float:
        """Give the second of the next question about work that was under way at one, and was asked about last."""
        best = self._best(under_way, turn)
        return min(max(best, asked + deadlines.first_interval), asked + deadlines.longest_interval, deadlines.poll)

    def _work_out(self) -> None:
        """Spread each measurement over its interval, and what several may mean to where most of them may be."""
        window = self._window or [_interval(took) for took in self._recorded]
        first, last = min(low for low, _ in window), max(high for _, high in window)
        places = [(low - first, high - first) for low, high in window]
        shares = _added(last - first, [(*place, 1.0 / (place[1] - place[0])) for place in places])
        for _ in range(2):  # Steps of expectation maximization: more find patterns where there are none.
            below = [0.0, *accumulate(shares)]
            weights = [(low, high, 1.0 / max(below[high] - below[low], 1e-12)) for low, high in places]
            shares = [share * weight for share, weight in zip(shares, _added(last - first, weights), strict=True)]
        shares = [share / len(window) for share in shares]
        self._below = list(accumulate(shares))  # by step, the share that is over at its end
        self._first = first
        # By its entropy: how many steps it would fill if all were alike.
        self._width = math.exp(-sum(share * math.log(share) for share in shares if share > 1e-9)) * STEP

    def _share(self, seconds: float) -> float:
        """Give the share that is over by then."""
        steps = math.floor(math.log(seconds) / STEP + 1e-9) - self._first if seconds > 0 else 0
        return self._below[min(steps, len(self._below)) - 1] if steps > 0 else 0.0

    def _reached(self, share: float) -> float:
        """Give the second at which a share is over."""
        return math.exp(STEP * (self._first + 1 + min(bisect_left(self._below, share), len(self._below) - 1)))

    def _best(self, under_way: float, turn: float) -> float:
        over, measured = self._share(under_way), len(self._window)
        unsure = 1.0 / math.sqrt(measured) if measured else 1.0
        wait = self._width / FEW_CELLS if not measured else max(SHORTEST, self._width / CELLS, UNSURE * unsure)
        wait = min(LONGEST, wait)
        if over > 0.98:
            # Beyond all that is known, waits grow.
            if not measured:
                return under_way * (2.0 + 0.4 * turn)
            wait = min(LONGEST, max(wait, 2.0 * (under_way / self._reached(1.0) - 1.0)))
            return under_way * (1.0 + (wait if wait < 0.12 else wait * (0.6 + 0.4 * turn)))
        begin = max(under_way, self._reached(over + 0.01) * math.exp(-STEP))
        best = self._reached(min(over + (NEXT if under_way > 0 else FIRST), 0.995))
        if under_way > 0:
            best = min(best, begin * (1.0 + wait))
        elif measured:
            best *= 1.0 - min(0.35, SHY * (self._width + 2.0 / measured) * unsure)
        best = max(best, begin * (1.0 + SHORTEST)) if under_way > 0 else best
        # The last few of those that hang together are worth no question of their own.
        rest = self._share(best * (1.0 + wait / 2))
        if self._share(best) < rest < self._share(best) + 0.03 and self._share(best * (1.0 + wait)) < rest + 0.005:
            best = max(best, self._reached(rest))
        if under_way <= 0 and not measured:
            return float(min(EARLY, best) ** (1.0 - turn) * best**turn)
        # Where waits are long, questions about several come one after another: all learn from the first that ended.
        return best - 0.4 * turn * (best - begin) if best > begin * 1.14 else best


def _interval(took: Took, unknown: float = 1.0) -> tuple[int, int]:
    """Give the steps of a measurement; of one that was over at its first question only the end is known."""
    under_way, over = took
    low = under_way if under_way > 0 else over * FASTER ** min(unknown, 12.0)
    first = math.floor(math.log(low * 0.99) / STEP)
    return first, max(math.ceil(math.log(over) / STEP), first + 1)


def _added(steps: int, parts: Iterable[tuple[int, int, float]]) -> list[float]:
    """Add up parts, each from a step until before another one."""
    changes = [0.0] * (steps + 1)
    for low, high, weight in parts:
        changes[low] += weight
        changes[high] -= weight
    return [max(each, 0.0) for each in accumulate(changes[:-1])]


class Experience:
    """What a run knows of how long everything takes, by what it is made from, where, and kind."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[tuple[str, str, Kind], Known] = {}

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
    turn, under_way, asked, wish = known.turn(), 0.0, 0.0, None
    at = 0.0 if at_once else known.question(under_way, turn, deadlines)
    while True:
        version = known.version
        while (left := begun + at - clock.monotonic()) > MOMENT:
            # What ends meanwhile says more: as long as that matters, no wait is slept through in one go.
            piece = left if known.is_sure else max(0.25, 0.15 * (at - left))
            await clock.sleep(min(left, piece))
            if known.version != version and wish is None and not at_once:
                version, at = known.version, known.question(under_way, turn, deadlines, asked)
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
