"""A thousand traces: no failover without an outage, and every outage answered within three probe periods.

What is measured: the seconds from the loss of the source, which may be just after a probe, to the moment in
which the decision of the evaluation is `act`. In between lie the schedule of the watch, up to 3 s late each
time, the checks with their tries, the events and the start of the evaluation (up to 5 s), its looks.

A blip is shorter than one and a half probe periods, an outage lasts three or longer. Something in between may
be taken for either. Nobody could do much better: an outage may begin just after a probe and be seen a whole
period later, which leaves two until it must be answered. In these a disruption of two periods that began just
before a probe looks exactly the same.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.decision.input import Guard, GuardOutcome
from standby.recovery.probe import LIMITS
from tests.standby.recovery.decision.world import BLIP, OUTAGE, POLICY, Act, first_act_in, seconds_of
from tests.standby.recovery.decision.worlds import calm_world, dark_world, doubly_dark_world, isolated_world

EACH = 25
"""Traces a test in `make chaos`; otherwise a fifth of them."""

seeds = st.integers(min_value=1_000_000, max_value=2**48)


def traces(first: int, chaos: bool) -> range:
    return range(first, first + (EACH if chaos else EACH // 5))


def test_the_policy_is_the_default_one() -> None:
    assert (POLICY.probe_every.total_seconds(), POLICY.quorum) == (30.0, 3)
    assert BLIP < POLICY.minimum_outage.total_seconds() < OUTAGE


@pytest.mark.parametrize("first", range(0, 500, EACH))
def test_never_fails_over_without_an_outage(first: int, chaos: bool) -> None:
    acts = {seed: first_act_in(calm_world(seed)) for seed in traces(first, chaos)}

    assert {seed: act.given for seed, act in acts.items() if act} == {}


@pytest.mark.parametrize("first", range(0, 400, EACH))
def test_answers_every_outage_within_three_probe_periods(first: int, chaos: bool) -> None:
    for seed in traces(first, chaos):
        outage = dark_world(seed).source[-1]
        act = first_act_in(dark_world(seed))

        assert act is not None, f"world {seed}: nothing was done about {outage}"
        assert outage.begin <= act.at <= outage.begin + OUTAGE, f"world {seed}: {act.at} in {outage}"
        assert_evidence_is_of_the_outage(act, outage.begin)


@pytest.mark.parametrize("seed", range(50))
def test_never_fails_over_since_the_observer_itself_is_cut_off(seed: int) -> None:
    assert first_act_in(isolated_world(seed)) is None


@pytest.mark.parametrize("seed", range(50))
def test_waits_for_a_standby_side_that_is_dark_too(seed: int) -> None:
    world = doubly_dark_world(seed)
    back = world.standby[0].end

    act = first_act_in(world)

    assert act is not None
    assert back <= act.at <= back + OUTAGE


@given(seeds)
def test_no_world_of_blips_leads_to_a_failover(seed: int) -> None:
    assert first_act_in(calm_world(seed)) is None


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
    assert begin - LIMITS.seconds <= since < detected < act.at + 0.001
    verdicts = {result.guard: result.outcome for result in decision.reasons}
    assert set(verdicts.values()) == {GuardOutcome.PASS}
    assert {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.STANDBY_HEALTH} <= verdicts.keys()
