"""When to ask again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import CopyDeadlines
from standby.replication.engine import pace
from tests.standby.replication.world import FakeClock


def deadlines(poll: float = 20.0, first: float = 1.0, longest: float = 4.0) -> CopyDeadlines:
    return CopyDeadlines(poll=poll, first_interval=first, longest_interval=longest)


async def asked_at(limits: CopyDeadlines, wishes: list[float | None] | None = None) -> list[float]:
    """The moments at which something is asked, where the service has these wishes in turn."""
    clock, waiting = FakeClock(), iter(wishes or [])
    moments = []
    async for beat in pace(limits, clock):
        moments.append(clock.seconds)
        beat.retry_after = next(waiting, None)
    return moments


async def test_the_first_question_is_asked_at_once_and_then_less_and_less_often() -> None:
    assert await asked_at(deadlines(poll=14)) == [0, 1, 2.5, 4.75, 8.125, 12.125, 14]


async def test_the_last_question_is_asked_when_the_deadline_is_over() -> None:
    assert (await asked_at(deadlines(poll=0.5))) == [0, 0.5]


async def test_a_wish_of_the_service_stands_for_one_wait() -> None:
    assert (await asked_at(deadlines(), [7.0, None]))[:3] == [0, 7, 8.5]


async def test_a_wish_beyond_the_deadline_is_cut_to_it() -> None:
    assert await asked_at(deadlines(), [3600.0]) == [0, 20]


async def test_a_wish_to_be_asked_at_once_is_no_leave_to_ask_without_end() -> None:
    assert (await asked_at(deadlines(poll=3), [0.0] * 100)) == [0, 1, 2, 3]


@given(
    st.floats(0.1, 60),
    st.floats(0.05, 5),
    st.floats(1, 3),
    st.lists(st.none() | st.floats(0, 100), max_size=30),
)
async def test_waits_lie_between_the_two_intervals_and_the_end_is_the_deadline(
    poll: float, first: float, factor: float, wishes: list[float | None]
) -> None:
    limits = deadlines(poll, first, first * factor)
    moments = await asked_at(limits, wishes)
    assert moments[0] == 0
    assert abs(moments[-1] - poll) < 1e-6
    for place, (before, after) in enumerate(pairwise(moments[:-1])):
        wish = wishes[place] if place < len(wishes) else None
        longest = limits.longest_interval if wish is None else max(wish, first)
        assert first - 1e-6 <= after - before <= longest + 1e-6
