"""When to ask: played through with a clock of its own, for copies that take as long as some distribution says."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standby.config.plan import CopyDeadlines
from standby.replication.items import Selection
from standby.replication.pacing import KEPT, Beat, Experience, Kind, Known, Took, questions
from standby.replication.replicate import begin, open_run
from standby.replication.steps import DirectSteps
from tests.conftest import SceneMaker

ANSWERED = 0.01
"""Seconds each answer takes."""

Takes = Callable[[int, random.Random], float]


@dataclass
class VirtualClock:
    """Time that passes once everybody waits."""

    seconds: float = 0.0
    _waiting: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)  # who waits first is woken first

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.seconds + seconds, next(self._order), woken))
        await woken

    async def play(self, *work: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(each) for each in work]
        while not all(task.done() for task in tasks):
            for _ in range(4):
                await asyncio.sleep(0)
            if self._waiting:
                self.seconds, _, woken = heapq.heappop(self._waiting)
                woken.set_result(None)
        for task in tasks:
            task.result()


@dataclass(frozen=True)
class Noticed:
    """One copy: what it took, by how much later that was noticed as a share of it, and how often it was asked about."""

    took: float
    late: float
    polls: int


async def play(
    takes: Takes,
    copies: int = 300,
    slots: int = 20,
    *,
    known: Known | None = None,
    seed: int = 1,
    deadlines: CopyDeadlines | None = None,
) -> list[Noticed]:
    """Make copies in their order, so many at a time, each asked about by what all before it told."""
    clock, chance, known = VirtualClock(), random.Random(seed), known or Known()
    waiting, noticed = iter(range(copies)), dict[int, Noticed]()

    async def slot() -> None:
        for number in waiting:
            took, begun, polls = takes(number, chance), clock.monotonic(), 0
            async for beat in questions(known, deadlines or CopyDeadlines(), clock, begun):
                polls += 1
                over = clock.monotonic() - begun >= took
                await clock.sleep(ANSWERED)
                if over:
                    moment = clock.monotonic() - begun
                    known.learn_from(beat, moment)
                    noticed[number] = Noticed(took, (moment - took) / took, polls)
                    break

    await clock.play(*(slot() for _ in range(slots)))
    return [noticed[number] for number in range(copies)]


def late(noticed: list[Noticed], part: float) -> float:
    """By how much the copies that are noticed late are, where so large a part is noticed sooner."""
    return sorted(each.late for each in noticed)[int(part * len(noticed))]


def polls(noticed: list[Noticed]) -> float:
    return sum(each.polls for each in noticed) / len(noticed)


def around(seconds: float, spread: float) -> Takes:
    return lambda _, chance: seconds * chance.uniform(1 - spread, 1 + spread)


@pytest.mark.parametrize("slots", [5, 20, 60])
async def test_copies_that_spread_by_a_fifth_are_noticed_soon_and_at_few_polls(slots: int) -> None:
    later = [each for seed in range(4) for each in (await play(around(3.0, 0.2), slots=slots, seed=seed))[slots:]]
    assert late(later, 0.5) < 0.05
    assert late(later, 0.99) < 0.1
    assert polls(later) <= 4


@pytest.mark.parametrize("seconds", [1.3, 2.0, 3.0, 3.7, 9.0])
async def test_copies_that_all_take_the_same_are_found_out_at_two_polls(seconds: float) -> None:
    later = (await play(around(seconds, 0.0)))[60:]
    # Of short copies the shortest wait that the plan allows is a large part.
    assert late(later, 0.99) < max(0.06, (0.1 + 2 * ANSWERED) / seconds)
    assert polls(later) < 2.6


async def test_of_two_kinds_that_mix_the_time_between_them_is_not_asked_through() -> None:
    mixed = await play(lambda _, chance: (2.0 if chance.random() < 0.7 else 9.0) * chance.uniform(0.95, 1.05))
    assert late(mixed[60:], 0.9) < 0.25
    assert polls(mixed[60:]) <= 5


@pytest.mark.parametrize("spread", [0.3, 0.6])
async def test_what_varies_more_is_noticed_less_exactly_and_not_asked_about_much_more(spread: float) -> None:
    later = (await play(lambda _, chance: 3.0 * math.exp(chance.gauss(0, spread))))[20:]
    assert late(later, 0.5) < 0.2
    assert polls(later) <= 6


@pytest.mark.parametrize(("before", "after"), [(3.0, 6.0), (6.0, 3.0), (3.0, 1.5), (3.0, 0.3), (0.3, 3.0)])
async def test_a_service_that_becomes_another_one_is_found_out(before: float, after: float) -> None:
    def takes(number: int, chance: random.Random) -> float:
        return (before if number < 100 else after) * chance.uniform(0.9, 1.1)

    later = (await play(takes, 400))[250:]
    assert late(later, 0.5) < max(0.05, 0.12 / after)
    assert polls(later) <= 4


async def test_a_labelled_build_of_three_minutes_takes_few_polls_when_nothing_is_known() -> None:
    for seconds in (140.0, 160.0, 180.0, 200.0, 230.0):
        (build,) = await play(around(seconds, 0), 1, 1, known=Known(Kind.LABELLED_BUILD))
        assert build.polls <= 12
        assert build.late < 0.4


@pytest.mark.parametrize("kind", Kind)
async def test_three_minutes_take_no_more_than_twelve_polls_whatever_was_expected(kind: Kind) -> None:
    (first,) = await play(around(180.0, 0), 1, 1, known=Known(kind))
    assert first.polls <= 12


async def test_builds_that_begin_together_learn_from_the_first_that_ends() -> None:
    together = await play(around(180.0, 0.02), 10, 10, known=Known(Kind.LABELLED_BUILD))
    alone = [(await play(around(180.0, 0.02), 1, 1, known=Known(Kind.BUILD), seed=seed))[0] for seed in range(10)]
    assert late(together, 0.5) < 0.1 < late(alone, 0.5)


async def test_what_an_earlier_run_measured_counts_from_the_first_copy_on() -> None:
    seen: list[Took] = []
    await play(around(3.0, 0.2), known=Known(seen=seen))
    assert len(seen) == KEPT
    first = await play(around(3.0, 0.2), 20, known=Known(seen=list(seen)))
    assert late(first, 0.9) < 0.12
    assert polls(first) <= 4.5


async def test_an_answer_that_comes_late_says_nothing_of_how_long_it_took() -> None:
    known = Known()
    known.learn_from(Beat(at=2.5), 9.0)
    assert known.seen == []
    known.learn_from(Beat(at=4.0, under_way=2.5), 9.0)
    known.learn_from(Beat(at=2.5), 2.6)
    assert known.seen == [(2.5, 9.0), (0.0, 2.6)]


def test_each_kind_and_each_pair_is_known_by_itself() -> None:
    experience, took = Experience(), dict[str, list[Took]]()
    experience.take_up("east", "west", took)
    experience.of("east", "west", Kind.COPY).learn((2.5, 2.75))
    assert took == {"copy": [(2.5, 2.75)], "trained_copy": []}
    assert experience.of("east", "west", Kind.TRAINED_COPY).seen == []
    assert experience.of("east", "north", Kind.COPY).seen == []


# What the plan allows.


async def asked_at(
    limits: CopyDeadlines, wishes: list[float | None] | None = None, known: Known | None = None
) -> list[float]:
    """The moments at which something without end is asked about, where the service has these wishes in turn."""
    clock, waiting, moments = VirtualClock(1000.0), iter(wishes or []), list[float]()

    async def ask() -> None:
        async for beat in questions(known or Known(), limits, clock, 1000.0):
            moments.append(clock.seconds - 1000.0)
            beat.retry_after = next(waiting, None)

    await clock.play(ask())
    return moments


def deadlines(poll: float = 20.0, first: float = 1.0, longest: float = 4.0) -> CopyDeadlines:
    return CopyDeadlines(poll=poll, first_interval=first, longest_interval=longest)


async def test_the_last_question_is_asked_when_the_deadline_is_over() -> None:
    assert (await asked_at(deadlines(poll=0.5))) == [0.5]


async def test_a_wish_of_the_service_stands_for_one_wait() -> None:
    first, second, third = (await asked_at(deadlines(), [7.0, None]))[:3]
    assert second - first == pytest.approx(7)
    assert third - second < 5


async def test_a_wish_beyond_the_deadline_is_cut_to_it() -> None:
    assert (await asked_at(deadlines(), [3600.0]))[1:] == [pytest.approx(20)]


async def test_a_wish_to_be_asked_at_once_is_no_leave_to_ask_without_end() -> None:
    assert (await asked_at(deadlines(poll=3), [0.0] * 100)) == pytest.approx([1, 2, 3])


@settings(max_examples=40)
@given(
    st.floats(0.1, 600),
    st.floats(0.05, 5),
    st.floats(1, 30),
    st.lists(st.none() | st.floats(0, 100), max_size=30),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 100)), max_size=40),
)
async def test_waits_lie_between_the_two_intervals_and_the_end_is_the_deadline(
    poll: float, first: float, factor: float, wishes: list[float | None], seen: list[tuple[float, float]]
) -> None:
    known, limits = Known(), deadlines(poll, first, first * factor)
    for under_way, more in seen:
        known.learn((under_way, under_way + more))
    moments = [0.0, *await asked_at(limits, wishes, known)]
    assert moments[-1] == pytest.approx(poll, abs=1e-4)
    for place, (before, after) in enumerate(pairwise(moments[:-1])):
        wish = wishes[place - 1] if 0 < place <= len(wishes) else None
        longest = limits.longest_interval if wish is None else max(wish, first)
        shortest = first if wish is None else longest
        assert shortest - 1e-4 <= after - before <= longest + 1e-4


async def test_a_copy_takes_at_most_six_calls_and_four_polls_on_the_average(
    make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]]
) -> None:
    """The guard of what a run costs; no seconds are compared."""
    copies, limits = 80, {"max_concurrent_copies": 20}
    patience = {"poll": 60, "first_interval": 0.02, "longest_interval": 10}
    analyzers = [make_analyzer(f"a{number}") for number in range(copies)]
    spread = {"service_time": 1.2, "service_spread": 0.2, "resources": limits, "deadlines": patience}
    async with make_scene(analyzers, targets=("west",), **spread) as scene:
        for _ in range(2):
            async with (
                open_run(scene.configuration, "p") as context,
                begin(context, Selection(), DirectSteps(context)) as replication,
            ):
                await replication.run()
                assert replication.report(run_id="r", via="direct").complete
        source, target = (await scene.stats("east"))["calls"], (await scene.stats("west"))["calls"]
    once = {"list": 2, "get_defaults": 2}
    assert source == once | {"authorize": copies}
    assert target["poll"] <= 4 * copies
    # Once more is listed what was copied, whether it is still there.
    assert target == once | {"list": 3, "copy": copies, "poll": target["poll"]}
    assert source["authorize"] + target["copy"] + target["poll"] <= 6 * copies
