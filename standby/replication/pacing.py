"""How long copies take: when to ask about one that is under way, and what a run will take, which is played through.

That something took between 2.6 and 2.9 s is all that can be known of it: it was under way at one question, and over at
the next. So what is learned from are intervals. Read as single moments, they would make each estimate later than the
last, and a service that became faster would go unnoticed.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import accumulate, cycle, pairwise
from typing import TypeVar

from standby.clock import Clock
from standby.config.plan import CopyDeadlines
from standby.config.resource import PREVIEW_2025, Resource
from standby.document import JsonObject
from standby.replication.items import Key, PlanItem, ReplicationPlan
from standby.replication.verdict import ACTING, Action

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


LONGEST_COPY = 5.0  # Seconds, of those that were recorded without labelled data
RECORDED: dict[Kind, tuple[Took, ...]] = {
    Kind.COPY: ((2.0, LONGEST_COPY),),
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


GRANT_SECONDS = 0.6  # Of the service for a grant (recording of GrantCopyAuth, x-envoy-upstream-service-time)
ANSWER_SECONDS = 0.1  # Seconds it took to answer anything else (same recording)
MINUTE = 60.0
MEDIAN = 0.5  # Share of the measurements that the usual end of a forecast is not below
SELDOM = 0.9  # Share of the measurements that the slow end of a forecast is not below
JobT = TypeVar("JobT")


def share(measured: Sequence[float], part: float) -> float:
    """Give the measurement that a part of all are not above."""
    ordered = sorted(measured)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


@dataclass(frozen=True)
class Spread:
    """How long something takes: the median, and what nine in ten are not above."""

    median: float
    high: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Give it for measurements, of which there is at least one."""
        return cls(share(seconds, MEDIAN), share(seconds, SELDOM))

    def __str__(self) -> str:
        usual, slow = _number(self.median), _number(self.high)
        return f"{usual} s" if usual == slow else f"{usual} s in the median, {slow} s in the slowest tenth"


def _number(seconds: float) -> str:
    return f"{seconds:.1f}".removesuffix(".0") if seconds < 100 else f"{seconds:.0f}"


FEWEST_PLAYS = 21
OF_MANY = 10_000, 3  # Of more jobs than these fewer plays tell as much: what each draws evens out
MOST_PLAYED = 40_000  # Jobs that are played through for one forecast, all plays together: a fraction of a second


def play_often(jobs: Mapping[JobT, Collection[JobT]], slots: int, measured: Sequence[float]) -> list[float]:
    """Play a run through again and again, each time with other durations out of those that were measured.

    The same measurements always give the same: the draws are not left to chance. What a job waits for, and is not among
    the jobs, is there already.
    """
    found = []
    fewest = OF_MANY[1] if len(jobs) > OF_MANY[0] else FEWEST_PLAYS
    for number in range(max(fewest, min(101, MOST_PLAYED // max(1, len(jobs))))):
        draw = random.Random(number)  # noqa: S311 - no secret
        seconds = {job: draw.choice(measured) for job in jobs}
        found.append(play(jobs, slots, seconds.__getitem__))
    return found


def play(jobs: Mapping[JobT, Collection[JobT]], slots: int, seconds_of: Callable[[JobT], float]) -> float:
    """Say when the last job ends: children first, others in their order, as many at once as there are slots."""
    waits_for = {job: {child for child in children if child in jobs} - {job} for job, children in jobs.items()}
    parents: defaultdict[JobT, list[JobT]] = defaultdict(list)
    for job, children in waits_for.items():
        for child in children:
            parents[child].append(job)
    ready = deque(job for job, children in waits_for.items() if not children)
    order = {job: number for number, job in enumerate(jobs)}
    running: list[tuple[float, int, JobT]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < max(1, slots):
            job = ready.popleft()
            heapq.heappush(running, (now + seconds_of(job), order[job], job))
        now, _, ended = heapq.heappop(running)
        for parent in parents[ended]:
            waits_for[parent].discard(ended)
            if not waits_for[parent]:
                ready.append(parent)
    return now


@dataclass(frozen=True)
class Forecast:
    """What carrying a plan out will take, at most for calls and shares."""

    calls: Mapping[str, int]  # to each resource, by name; those to the management plane are not counted by the service
    quota_share: Mapping[str, float]  # by resource, which part of its operations per minute the busiest minute takes
    # Seconds, the median by what was measured; where nothing was, if every copy is as fast as the fastest that was
    # recorded of the service.
    usual: float
    slow: float  # seconds in the slowest tenth; or if every copy is as slow as the slowest recorded
    measured: int = 0  # copies of the plan that this is computed from; 0 where none was measured yet

    @property
    def all_calls(self) -> int:
        return sum(self.calls.values())

    @property
    def summary(self) -> str:
        busiest, share = max(self.quota_share.items(), key=lambda entry: entry[1])
        if self.measured:
            usual, slow = _rounded(self.usual), _rounded(self.slow)
            time = usual if usual == slow else f"{usual} in the median, {slow} in the slowest tenth"
            time += f", from {'one measured copy' if self.measured == 1 else f'{self.measured} measured copies'}"
        else:
            time = f"{_span(self.usual, self.slow)} by recordings of the service; no copy was measured yet"
        quota = f"{max(1, math.ceil(share * 100))}% of the quota per minute of {busiest}"
        return f"At most {self.all_calls} calls, {quota}, about {time}."

    def to_json(self) -> JsonObject:
        return {
            "calls": dict(self.calls),
            "quota_share": {name: round(share, 4) for name, share in self.quota_share.items()},
            "seconds": [round(self.usual, 1), round(self.slow, 1)],
            "measured_copies": self.measured,
        }


def forecast(
    plan: ReplicationPlan, resources: Mapping[str, Resource], measured: Sequence[float] = ()
) -> Forecast | None:
    """Forecast a run of a plan by the seconds that copies took recently; `None` where it does nothing."""
    acting = [item for item in plan.items if item.action in ACTING]
    if not acting and not plan.added_defaults:
        return None
    deadlines = plan.recovery_plan.deadlines
    calls = _calls(plan, acting, resources)
    limits = {name: resources[name].operations_per_minute for name in calls}
    at_least = max(calls[name] / limits[name] * MINUTE if calls[name] > limits[name] else 0.0 for name in calls)
    if measured:
        # Targets are served side by side: a run lasts as long as the slowest of them.
        each = [play_often(jobs, slots, measured) for slots, jobs in _by_target(acting, resources)]
        runs = Spread.of([max(ends) for ends in zip(*each, strict=False)] or [ANSWER_SECONDS])
    else:
        runs = _by_recordings(acting, resources, deadlines)
    usual, slow = max(at_least, runs.median), max(at_least, runs.high)
    minutes = max(usual / MINUTE, 1.0)
    shares = {name: min(1.0, count / minutes / limits[name]) for name, count in calls.items()}
    return Forecast(calls=dict(calls), quota_share=shares, usual=usual, slow=slow, measured=len(measured))


@cache
def polls_of_copy(service_seconds: float, deadlines: CopyDeadlines, *, trained: bool = False) -> tuple[int, float]:
    """Tell how often a copy is asked about until it is over, and when that is known, where none was measured yet."""
    known = Known(Kind.of_copy(trained=trained))
    turn, count, moment = next(known.turns), 0, 0.0
    while True:
        moment = known.question(moment, turn, deadlines, moment)
        count += 1
        if moment >= min(service_seconds, deadlines.poll):
            return count, moment


def _calls(plan: ReplicationPlan, acting: Iterable[PlanItem], resources: Mapping[str, Resource]) -> Counter[str]:
    calls: Counter[str] = Counter()
    for name in {name for item in plan.items for name in (item.source, item.target)}:
        # Planned again before anything is done: a listing, and defaults where the api-version has them.
        calls[name] += 1 if resources[name].api_version == PREVIEW_2025 else 2
    for target in plan.added_defaults:
        calls[target] += 3  # Read once more, added, and read again.
    for target in {item.target for item in acting}:
        calls[target] += 1  # Listed once more at the end: whether all is still there.
    for item in acting:
        polls, _ = polls_of_copy(_recorded(item)[1], plan.recovery_plan.deadlines, trained=item.expected.trained)
        calls[item.target] += polls
        if item.action is Action.REPLACE or resources[item.target].api_version == PREVIEW_2025:
            calls[item.target] += 1  # Read back, as its operation does not say enough.
        if item.action is not Action.ADOPT:
            calls[item.source] += 1  # Authorized.
            calls[item.target] += 1  # Copied.
        if item.action is Action.REPLACE:
            calls[item.target] += 1  # What was there is saved.
    return calls


def _by_target(acting: Iterable[PlanItem], resources: Mapping[str, Resource]) -> list[tuple[int, dict[Key, list[Key]]]]:
    """Give what is copied to each target and what each waits for there, with the slots of the target."""
    jobs: defaultdict[str, dict[Key, list[Key]]] = defaultdict(dict)
    for item in acting:
        jobs[item.target][item.key] = [(item.source, item.target, child) for child in item.needs]
    return [(resources[target].max_concurrent_copies, found) for target, found in jobs.items()]


def _by_recordings(acting: Iterable[PlanItem], resources: Mapping[str, Resource], deadlines: CopyDeadlines) -> Spread:
    by_key = {item.key: item for item in acting}
    jobs = _by_target(by_key.values(), resources)

    def ends(*, slow: bool) -> float:
        seconds: dict[Key, float] = {}
        for key, item in by_key.items():
            _, known = polls_of_copy(_recorded(item)[int(slow)], deadlines, trained=item.expected.trained)
            seconds[key] = known + ANSWER_SECONDS + (0.0 if item.action is Action.ADOPT else GRANT_SECONDS)
        return max((play(each, slots, seconds.__getitem__) for slots, each in jobs), default=ANSWER_SECONDS)

    return Spread(ends(slow=False), ends(slow=True))


def _recorded(item: PlanItem) -> Took:
    return RECORDED[Kind.of_copy(trained=item.expected.trained)][0]


def _span(usual: float, slow: float) -> str:
    low, high = math.ceil(usual), math.ceil(slow)
    if high < 120:
        return f"{low} to {high} s" if low < high else f"{high} s"
    low, high = max(1, math.floor(usual / MINUTE)), math.ceil(slow / MINUTE)
    return f"{low} to {high} min" if low < high else f"{high} min"


def _rounded(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 120 else f"{seconds / MINUTE:.1f} min".replace(".0 ", " ")
