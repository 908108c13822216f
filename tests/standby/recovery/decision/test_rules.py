"""What holds for every decision, whatever was seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.decision.automation import Automation
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import DecisionInput, Outcome
from standby.recovery.probe import Observation
from tests.standby.recovery.decision.cases import NOW, SELF, an_input, look

looks = st.builds(
    look,
    ago=st.floats(-60, 400, allow_nan=False).map(lambda seconds: round(seconds, 3)),
    healthy=st.sampled_from([False, False, False, None, True]),
    observer=st.sampled_from([SELF, "watch@a", "watch@b"]),
)
histories = st.lists(looks, max_size=14, unique_by=lambda seen: seen.at)
dark = st.lists(
    st.builds(look, ago=st.integers(0, 200).map(float), observer=st.sampled_from([SELF, "watch@a", "watch@b"])),
    min_size=4,
    max_size=14,
    unique_by=lambda seen: seen.at,
)


@given(st.one_of(histories, dark), st.randoms(use_true_random=False))
def test_the_order_in_which_observations_come_changes_nothing(
    history: list[Observation], chance: st.DataObject
) -> None:
    shuffled = list(history)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert decide(an_input(shuffled)) == decide(an_input(history))


@given(st.one_of(histories, dark))
def test_a_case_that_was_written_down_comes_to_the_same(history: list[Observation]) -> None:
    given = an_input(history)
    read = DecisionInput.model_validate_json(given.model_dump_json())

    assert read == given
    assert decide(read) == decide(given)


@given(st.one_of(histories, dark))
def test_whatever_acts_has_all_the_evidence_that_the_policy_asks_for(history: list[Observation]) -> None:
    given = an_input(history)

    if decide(given).outcome is Outcome.ACT:
        counted = _after_the_last_healthy_one(history)
        first, latest = min(seen.at for seen in counted), max(min(seen.at, NOW) for seen in counted)
        assert len(counted) >= given.policy.quorum
        assert latest - first >= given.policy.minimum_outage
        assert NOW - latest <= 3 * given.policy.probe_every
        assert any(seen.observer == SELF for seen in counted)


@given(st.one_of(histories, dark), st.floats(0, 29), st.sampled_from([SELF, "watch@a", "watch@new"]))
def test_nothing_is_done_while_somebody_has_just_been_served(
    history: list[Observation], ago: float, observer: str
) -> None:
    newest = [seen for seen in history if seen.at < NOW - timedelta(seconds=ago)]

    assert decide(an_input([*newest, look(ago, True, observer)])).outcome is not Outcome.ACT


@given(st.one_of(histories, dark), st.lists(st.floats(31, 1e6), min_size=1, max_size=5))
def test_what_is_dated_far_ahead_changes_nothing(history: list[Observation], ahead: list[float]) -> None:
    strange = [look(-seconds) for seconds in ahead]

    assert decide(an_input([*history, *strange])) == decide(an_input(history))


@given(st.one_of(histories, dark))
def test_nothing_an_outage_asks_for_is_done_while_automation_is_off(history: list[Observation]) -> None:
    assert decide(an_input(history, automation=Automation(on=False))).outcome is not Outcome.ACT


def _after_the_last_healthy_one(history: Sequence[Observation]) -> list[Observation]:
    believed = [seen for seen in history if seen.at <= NOW + timedelta(seconds=30)]
    healthy = [seen.at for seen in believed if seen.healthy]
    return [seen for seen in believed if seen.healthy is False and (not healthy or seen.at > max(healthy))]
