"""A thousand worlds: no failover without an outage, and every outage answered in time.

What is measured: the seconds from the loss of the source, which may be just after a look, to the moment in which the
decision of the evaluation is `act`. In between lie the schedule of the watch, up to 3 s late each time, its dense looks
from the first that fails on, the events and the start of the evaluation (up to 13 s), its looks, and how long it takes
to find out whether the target is ready.

A blip is shorter than the minimum outage of 45 s. An outage that began just after a look is seen a period later, and is
then to last 45 s more: what lasts 45 to 95 s may be taken for either.
"""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.decision.evidence import CLOCKS
from standby.recovery.decision.input import Guard, GuardOutcome
from standby.recovery.probe import LIMITS
from tests.standby.recovery.decision.world import BLIP, OUTAGE, PERIOD, POLICY, Act, first_act_in, seconds_of
from tests.standby.recovery.decision.worlds import (
    LATE,
    calm_world,
    dark_world,
    degraded_world,
    doubly_dark_world,
    isolated_world,
    quiet_world,
    strange_world,
)

EACH = 25
"""Worlds a test in `make chaos`; otherwise a fifth of them."""

seeds = st.integers(min_value=1_000_000, max_value=2**48)


def traces(first: int, chaos: bool) -> range:
    return range(first, first + (EACH if chaos else EACH // 5))


def test_the_policy_is_the_default_one() -> None:
    assert (POLICY.probe_every.total_seconds(), POLICY.quorum) == (30.0, 3)
    assert BLIP == POLICY.minimum_outage.total_seconds() == 45.0


@pytest.mark.parametrize("first", range(0, 400, EACH))
def test_never_fails_over_without_an_outage(first: int, chaos: bool) -> None:
    acts = {seed: first_act_in(calm_world(seed)) for seed in traces(first, chaos)}

    assert {seed: act.given for seed, act in acts.items() if act} == {}


@pytest.mark.parametrize("first", range(0, 200, EACH))
def test_never_fails_over_since_the_source_is_slow_or_does_a_part_of_its_work_only(first: int, chaos: bool) -> None:
    acts = {seed: first_act_in(degraded_world(seed)) for seed in traces(first, chaos)}

    assert {seed: act.given for seed, act in acts.items() if act} == {}


@pytest.mark.parametrize("first", range(0, 400, EACH))
def test_answers_every_outage_in_time(first: int, chaos: bool) -> None:
    for seed in traces(first, chaos):
        outage = dark_world(seed).source[-1]
        act = first_act_in(dark_world(seed))

        assert act is not None, f"world {seed}: nothing was done about {outage}"
        assert outage.begin <= act.at <= outage.begin + OUTAGE, f"world {seed}: {act.at} in {outage}"
        assert_evidence_is_of_the_outage(act, outage.begin)


@pytest.mark.parametrize("first", range(0, 100, EACH))
def test_answers_every_outage_even_if_clocks_differ_and_the_watch_was_missing(first: int, chaos: bool) -> None:
    for seed in traces(first, chaos):
        outage = strange_world(seed).source[-1]
        act = first_act_in(strange_world(seed))

        assert act is not None, f"world {seed}: nothing was done about {outage}"
        assert outage.begin <= act.at <= outage.begin + LATE + PERIOD + OUTAGE, f"world {seed}: {act.at} in {outage}"


def test_answers_half_of_the_outages_within_75_s_where_nothing_else_is_wrong() -> None:
    """Of 30, a third each by refusal, hang and 503; the switch itself takes another three seconds."""
    took = []
    for seed in range(30):
        act = first_act_in(quiet_world(seed))
        assert act is not None
        took.append(act.at - quiet_world(seed).source[-1].begin)

    assert statistics.median(took) <= 72
    assert max(took) <= OUTAGE


@pytest.mark.parametrize("first", range(0, 50, EACH))
def test_never_fails_over_since_the_observer_itself_is_cut_off(first: int, chaos: bool) -> None:
    acts = {seed: first_act_in(isolated_world(seed)) for seed in traces(first, chaos)}

    assert {seed: act.given for seed, act in acts.items() if act} == {}


@pytest.mark.parametrize("first", range(0, 50, EACH))
def test_waits_for_a_standby_side_that_is_dark_too(first: int, chaos: bool) -> None:
    for seed in traces(first, chaos):
        back = doubly_dark_world(seed).standby[0].end
        act = first_act_in(doubly_dark_world(seed))

        assert act is not None, f"world {seed}: nothing was done once the standby side was back at {back}"
        assert back <= act.at <= back + OUTAGE, f"world {seed}: {act.at}, and it was back at {back}"


@given(seeds)
def test_no_world_of_blips_leads_to_a_failover(seed: int) -> None:
    assert first_act_in(calm_world(seed)) is None
    assert first_act_in(degraded_world(seed)) is None


@given(seeds)
def test_every_world_with_an_outage_does_in_time(seed: int) -> None:
    outage = dark_world(seed).source[-1]

    act = first_act_in(dark_world(seed))

    assert act is not None
    assert outage.begin <= act.at <= outage.begin + OUTAGE


def assert_evidence_is_of_the_outage(act: Act, begin: float) -> None:
    """What a decision says of the outage must be true of it."""
    decision = act.decision
    assert decision.to == "west"
    assert decision.unhealthy_since is not None
    assert decision.detected_at is not None
    since, detected = seconds_of(decision.unhealthy_since), seconds_of(decision.detected_at)
    # A look that was under way when it began has its date from before; dates are exact to the microsecond.
    assert begin - LIMITS.seconds <= since < detected < act.at + CLOCKS.total_seconds()
    verdicts = {result.guard: result.outcome for result in decision.reasons}
    assert set(verdicts.values()) == {GuardOutcome.PASS}
    assert {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.STANDBY_HEALTH} <= verdicts.keys()
