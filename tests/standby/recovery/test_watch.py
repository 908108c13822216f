"""The watch, against resources that a test switches off and on, in time that jumps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import SAME_LOOK, FailoverPolicy, RecoveryPlan
from standby.recovery.concerns import Kind, Look
from standby.recovery.decision.evidence import proved_at, weigh
from standby.recovery.probe import GRANT, Check, Observation, observed
from standby.recovery.watch import Watch, Watched, patience, protection
from tests.standby.recovery.decision.virtual_time import BEGINNING, LoopClock, run_in_no_time

POLICY = FailoverPolicy()
PERIOD = POLICY.probe_every.total_seconds()
COUNTS = SAME_LOOK * PERIOD
"""Seconds between two looks that both count."""

TOOK = 0.5
"""Seconds a look takes."""


@dataclass
class Region:
    """Resources that fail in some spans of time, and what was reported of them.

    Attributes:
        fails: spans in which a resource fails, by its name; `None` is no end.
        unsure: likewise, in which a look cannot tell.
        silent: whether what was reported cannot be read.
    """

    fails: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    unsure: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    reported: list[Observation] = field(default_factory=list)
    looked: dict[str, list[float]] = field(default_factory=dict)

    async def look(self, resource: str) -> Observation:
        clock = LoopClock()
        at, second = clock.now(), clock.monotonic()
        self.looked.setdefault(resource, []).append(second)
        await clock.sleep(TOOK)
        fails = any(begin <= second < end for begin, end in self.fails.get(resource, []))
        unsure = any(begin <= second < end for begin, end in self.unsure.get(resource, []))
        healthy = None if unsure else not fails
        return Observation(resource=resource, observer="watch@here", at=at, healthy=healthy, checks=(), seconds=TOOK)

    async def recall(self, resource: str) -> Sequence[Observation]:
        return [each for each in self.reported if each.resource == resource]

    async def report(self, found: Observation) -> None:
        self.reported.append(found)

    def told(self, resource: str) -> list[tuple[float, bool | None]]:
        return [
            ((each.at - BEGINNING).total_seconds(), each.healthy) for each in self.reported if each.resource == resource
        ]


def watch(
    region: Region,
    *resources: str,
    at: Iterable[float] = (0.0,),
    policy: FailoverPolicy = POLICY,
    recall: Callable[[str], Awaitable[Sequence[Observation]]] | None = None,
    report: Callable[[Observation], Awaitable[None]] | None = None,
    look: Callable[[str], Awaitable[Observation]] | None = None,
) -> list[Watched]:
    """Start a run of the watch at each of some seconds, also where the one before has not ended."""

    async def one(second: float) -> Watched:
        await asyncio.sleep(second)
        made = Watch(policy, LoopClock(), look or region.look, recall or region.recall, report or region.report)
        return await made.run(resources)

    async def every() -> list[Watched]:
        return await asyncio.gather(*map(one, at))

    return run_in_no_time(every())


def test_a_resource_that_is_healthy_is_probed_and_reported_once() -> None:
    region = Region()
    (found,) = watch(region, "east", "west")
    assert (region.told("east"), region.told("west")) == ([(0.0, True)], [(0.0, True)])
    assert found.problems == ()
    assert all(each.healthy for each in found.observations.values())


def test_from_the_first_look_that_fails_on_it_looks_every_few_seconds_until_the_outage_is_proved() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})
    (found,) = watch(region, "east", "west")
    looked = region.looked["east"]
    assert {later - earlier for earlier, later in itertools.pairwise(looked)} == {5.0}
    proof = POLICY.minimum_outage.total_seconds()
    assert proof <= looked[-1] < proof + 5
    assert found.observations["east"].healthy is False
    assert region.looked["west"] == [0.0]


def test_the_first_two_looks_that_fail_are_reported_at_once_and_later_ones_as_often_as_they_count() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})
    watch(region, "east")
    at = [second for second, _ in region.told("east")]
    assert at[:2] == [0.0, 5.0]
    counted = [at[0], *at[2:]]
    assert all(later - earlier >= COUNTS for earlier, later in itertools.pairwise(counted))


def test_an_outage_that_ends_is_seen_within_seconds_and_reported() -> None:
    region = Region(fails={"east": [(0.0, 12.0)]})
    (found,) = watch(region, "east")
    assert region.told("east") == [(0.0, False), (5.0, False), (15.0, True)]
    assert found.observations["east"].healthy is True


def test_an_outage_that_is_proved_is_looked_at_once_a_run_and_goes_on_being_reported() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})
    watch(region, "east", at=[PERIOD * number for number in range(20)])
    looked = [second for second in region.looked["east"] if second > 120]
    assert looked == [PERIOD * number for number in range(5, 20)]
    told = [second for second, _ in region.told("east") if second > 120]
    # Every second report starts an evaluation: about one a minute, however long it lasts.
    assert told == looked


def test_runs_that_overlap_report_no_more_than_one() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})
    watch(region, "east", at=[0.0, 11.0, 22.0, 33.0, 44.0])
    at = [second for second, _ in region.told("east")]
    assert at[:2] == [0.0, 5.0]
    assert len(at) <= 2 + 50 / COUNTS


def test_a_run_takes_up_the_streak_that_an_earlier_one_began() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})

    async def dies(second: float) -> None:
        made = Watch(POLICY, LoopClock(), region.look, region.recall, region.report)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(second):
                await made.run(["east"])

    async def both() -> None:
        await dies(3.0)
        await asyncio.sleep(27.0)
        await Watch(POLICY, LoopClock(), region.look, region.recall, region.report).run(["east"])

    run_in_no_time(both())
    assert [second for second, _ in region.told("east")][:2] == [0.0, 30.0]
    assert region.looked["east"][-1] < 60.0


def test_a_look_that_cannot_tell_is_not_reported_and_does_not_end_the_watch_of_an_outage() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]}, unsure={"east": [(10.0, 40.0)], "west": [(0.0, 9999.0)]})
    (found,) = watch(region, "east", "west")
    assert None not in [healthy for _, healthy in region.told("east")]
    assert region.told("west") == []
    assert region.looked["west"] == [0.0]
    assert found.observations["east"].healthy is False


def test_what_is_never_known_ends_all_the_same() -> None:
    region = Region(fails={"east": [(0.0, 1.0)]}, unsure={"east": [(1.0, 9999.0)]})
    watch(region, "east")
    assert region.looked["east"][-1] <= patience(POLICY).total_seconds() + 5


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "fails"])
@pytest.mark.parametrize("what", ["recall", "report"])
def test_what_follows_a_look_keeps_none_from_happening_and_is_a_problem_of_the_run(what: str, hangs: bool) -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})

    async def broken(_: object) -> NoReturn:
        if hangs:
            await asyncio.sleep(999_999)
        raise ZeroDivisionError("any error")

    if what == "recall":
        (found,) = watch(region, "east", "west", recall=broken)
    else:
        (found,) = watch(region, "east", "west", report=broken)
    assert region.looked["east"][-1] >= 45
    assert len(region.looked["east"]) >= 10
    assert region.looked["west"] == [0.0]
    assert found.problems
    if what == "recall":
        assert next(second for second, _ in region.told("east")) <= 5.0
        assert region.told("west") == [(0.0, True)]


def test_a_resource_that_cannot_be_probed_costs_only_itself() -> None:
    region = Region(fails={"west": [(0.0, 9999.0)]})

    async def look(resource: str) -> Observation:
        if resource == "east":
            raise ZeroDivisionError("any error")
        return await region.look(resource)

    (found,) = watch(region, "east", "west", look=look)
    assert found.problems == ("east could not be probed: ZeroDivisionError",)
    assert region.looked["west"][-1] >= 45


def test_a_short_probe_period_is_the_pace_of_the_watch() -> None:
    region = Region(fails={"east": [(0.0, 9999.0)]})
    quick = FailoverPolicy(probe_every=timedelta(seconds=2), minimum_outage=timedelta(seconds=3))
    watch(region, "east", policy=quick)
    assert region.looked["east"] == [0.0, 2.0, 4.0]


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(0.1, 120)), max_size=5),
    st.lists(st.floats(0, 300), min_size=1, max_size=15),
)
def test_however_outages_and_runs_lie_what_lasts_is_proved_by_reports_and_never_floods(
    spans: list[tuple[float, float]], starts: list[float]
) -> None:
    fails = [(begin, begin + length) for begin, length in spans]
    region = Region(fails={"east": [*fails, (400.0, 9999.0)]})
    watch(region, "east", at=[*starts, *(400 + PERIOD * number for number in range(5))])
    end = BEGINNING + timedelta(seconds=540)
    evidence = weigh(region.reported, "east", end, POLICY)
    assert proved_at(evidence, POLICY) is not None
    assert evidence.since is not None
    lasting = [second for second, healthy in region.told("east") if second >= 400 and not healthy]
    assert len(lasting) <= 2 + 140 / COUNTS


PLAN = RecoveryPlan.model_validate({"name": "p", "pairs": [{"source": "east", "targets": ["west"]}]})
WELL = (Check(name="listing", ok=True, detail="answers", seconds=0.1),)


def check(name: str, ok: bool | None, code: str = "", *, slow: bool = False) -> Check:
    return Check(name=name, ok=ok, detail="as it is", seconds=0.1, code=code, slow=slow)


def found(
    east: Sequence[Check] = WELL,
    west: Sequence[Check] = WELL,
    *,
    down: str = "",
    serving: Sequence[str] | None = ("east",),
) -> Look:
    """What looks with these answers say."""
    looks = {
        name: observed(name, "watch@here", BEGINNING, 0.1, checks) for name, checks in (("east", east), ("west", west))
    }
    return protection(PLAN, Watched(looks, frozenset({down} - {""}), ()), serving)


def test_a_key_that_is_rejected_is_told_at_once_and_critical_where_it_serves() -> None:
    refused = (check("defaults", None, "401"), check("listing", None, "401"))
    for look, severity, words in (
        (found(east=refused), "critical", "so its outage would start no failover: defaults: as it is"),
        (found(east=refused, serving=None), "critical", "so its outage would start no failover"),
        (found(west=refused), "warning", "so no failover to it is possible: defaults: as it is"),
    ):
        (concern,) = look.found
        assert (concern.kind, concern.severity, concern.lasting) == (Kind.ACCESS, severity, timedelta())
        assert words in concern.summary
        assert "standby doctor p" in concern.next_action


def test_a_grant_that_is_refused_is_told_at_once_and_one_that_fails_if_that_lasts() -> None:
    (refused,) = found(east=(*WELL, check(GRANT, None, "403"))).found
    assert (refused.kind, refused.about, refused.lasting) == (Kind.ACCESS, "east", timedelta())
    (failed,) = found(east=(*WELL, check(GRANT, False, "503"))).found
    assert failed.lasting > timedelta()


def test_what_only_keeps_this_machine_from_looking_is_told_if_it_lasts() -> None:
    (concern,) = found(east=(check("sign-in", None, "TokenUnavailable"),)).found
    assert concern.lasting == 2 * POLICY.probe_every


def test_a_standby_that_is_down_is_told_and_the_outage_of_what_serves_is_answered_instead() -> None:
    fails = (check("listing", False),)
    (concern,) = found(west=fails, down="west").found
    assert (concern.kind, concern.about) == (Kind.RESOURCE, "west")
    assert found(east=fails, down="east").found == ()
    once = found(west=fails)
    assert once.found == ()
    assert not once.settles((Kind.RESOURCE, "west")), "nobody knows yet"
    assert not once.settles((Kind.ACCESS, "west"))


def test_a_degraded_resource_is_told_if_that_lasts() -> None:
    (concern,) = found(west=(*WELL, check("defaults", False, "503"))).found
    assert (concern.kind, concern.severity) == (Kind.RESOURCE, "warning")
    assert concern.lasting > timedelta()
    assert found(east=(check("listing", True, slow=True),)).settles((Kind.ACCESS, "west"))
    assert not found(east=(check("listing", True, slow=True),)).settles((Kind.ACCESS, "east")), "no grant was asked for"


def test_where_all_is_well_every_earlier_concern_is_over() -> None:
    look = found()
    assert look.found == ()
    assert all(look.settles((kind, name)) for kind in (Kind.ACCESS, Kind.RESOURCE) for name in ("east", "west"))
    assert not protection(PLAN, Watched({}, frozenset(), ()), None).settles((Kind.ACCESS, "east"))
