"""The RTO forecast: made of what was measured, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.runs import Durations, Kind, Restoring, RtoForecast, forecast_rto
from standby.replication.pacing import play_often, share
from tests.standby.recovery.readiness.facts_at_hand import a_plan

POLICY = {"automatic": True, "probe_every": "30s", "quorum": 3, "minimum_outage": "1m"}


def missing(number: int, slots: int = 10) -> Restoring:
    """So many analyzers that do not wait for each other."""
    return Restoring(needs={f"a{each}": () for each in range(number)}, slots=slots)


def forecast(measured: Mapping[Kind, tuple[float, ...]], restoring: Restoring | int = 0, **more: Any) -> RtoForecast:
    plan = a_plan(**{"failover": POLICY, "objectives": {"rto": "5m"}, **more})
    return forecast_rto(
        plan, Durations(seconds=measured), restoring if isinstance(restoring, Restoring) else missing(restoring)
    )


def test_where_no_failover_was_measured_it_is_not_known_yet() -> None:
    found = forecast({Kind.COPY: (3.0,), Kind.DETECT: (61.0,)})
    assert (found.low, found.median, found.high, found.met, found.objective) == (None, None, None, None, 300.0)
    assert found.basis == "Not known yet: no failover was measured; a drill measures one."


def test_a_detection_that_was_never_measured_is_as_long_as_the_policy_says() -> None:
    found = forecast({Kind.ACTIVATE: (2.0,)})
    assert (found.low, found.median, found.high, found.met) == (62.0, 77.0, 92.0, True)
    assert found.basis == (
        "Detection: 60 to 90 s by the policy (an outage of 60 s, probed every 30 s); not measured yet. "
        "Failover: 2 s, measured once."
    )


def test_the_time_until_somebody_approves_is_not_mixed_in_but_named() -> None:
    measured = {Kind.ACTIVATE: (2.0,), Kind.DETECT: (60.0,)}
    asked = forecast(measured, failover={**POLICY, "automatic": False})
    assert (asked.median, asked.high) == (62.0, 62.0)
    assert asked.basis.endswith("The time until somebody approves the failover is added to this.")


def test_a_forecast_says_the_median_and_the_slowest_tenth_and_from_how_many() -> None:
    found = forecast({Kind.ACTIVATE: (2.0, 1.0), Kind.DETECT: (70.0, 65.0, 68.0)})
    assert (found.low, found.median, found.high) == (66.0, 69.0, 72.0)
    assert "Detection: 68 s in the median, 70 s in the slowest tenth, measured 3 times." in found.basis


MEASURED = {Kind.ACTIVATE: (1.0,), Kind.DETECT: (60.0,)}


def test_what_is_missing_has_to_be_restored_first_so_many_at_once() -> None:
    measured = {**MEASURED, Kind.RESTORE: (2.0,), Kind.COPY: (9.0,)}
    assert forecast(measured, 10).median == 63.0
    assert forecast(measured, 21).median == 67.0
    assert forecast(measured, missing(21, slots=1)).median == 103.0
    assert "21 analyzers, 10 at a time, children first, from 1 measured restores" in forecast(measured, 21).basis


def test_what_waits_for_its_children_takes_as_long_as_the_longest_chain() -> None:
    chain = {"top": ("middle",), "middle": ("leaf",), "leaf": (), "alone": ()}
    found = forecast({**MEASURED, Kind.RESTORE: (2.0,)}, Restoring(needs=chain, slots=10))
    assert found.median == 67.0


def test_many_restores_take_about_what_each_takes_on_average_and_not_what_the_slowest_does() -> None:
    measured = {**MEASURED, Kind.RESTORE: (*(1.0,) * 9, 11.0)}
    found = forecast(measured, missing(100))
    assert found.median is not None
    assert 61 + 20 <= found.median <= 61 + 30


def test_copies_stand_for_restores_that_were_never_measured() -> None:
    found = forecast({**MEASURED, Kind.COPY: (3.0,)}, 1)
    assert found.high == 64.0
    assert "copies, because no restore was measured yet" in found.basis
    unknown = forecast(MEASURED, 4)
    assert (unknown.low, unknown.median, unknown.met) == (None, None, None)
    assert unknown.basis == "Not known yet: 4 analyzers must be restored first, and no restore was measured."


def test_nothing_is_forecast_for_what_cannot_be_recovered() -> None:
    lost = Restoring(lost={"invoice": "west does not have it"})
    found = forecast({**MEASURED, Kind.RESTORE: (2.0,)}, lost)
    assert (found.low, found.median, found.high, found.met) == (None, None, None, None)
    assert found.lost == ("invoice",)
    assert found.basis.startswith("invoice cannot be recovered: west does not have it. For the rest: Detection: 60 s")


def test_where_it_is_not_known_what_can_be_restored_nothing_is_forecast() -> None:
    found = forecast({**MEASURED, Kind.RESTORE: (2.0,)}, Restoring(unknown="The list of snapshots cannot be read"))
    assert found.median is None
    assert "nor how long that takes: The list of snapshots cannot be read." in found.basis


@pytest.mark.parametrize(("rto", "met"), [("62s", False), ("91s", False), ("92s", True)])
def test_the_objective_is_met_where_even_the_slowest_is_within_it(rto: str, met: bool) -> None:
    assert forecast({Kind.ACTIVATE: (2.0,)}, objectives={"rto": rto}).met is met


def test_without_an_objective_there_is_nothing_to_meet() -> None:
    found = forecast({Kind.ACTIVATE: (2.0,)}, objectives={})
    assert (found.objective, found.met, found.low) == (None, None, 62.0)


seconds = st.lists(st.floats(0, 1e5), max_size=30).map(tuple)


@given(
    st.fixed_dictionaries(dict.fromkeys(Kind, seconds)),
    st.integers(0, 25),
    st.integers(0, 25),
)
def test_more_to_restore_never_takes_less_and_low_is_never_above_high(
    measured: dict[Kind, tuple[float, ...]], some: int, more: int
) -> None:
    few, many = forecast(measured, some), forecast(measured, some + more)
    if few.low is None or few.median is None or few.high is None or many.high is None or many.median is None:
        assert many.low is None
        return
    assert few.low <= few.median <= few.high
    assert few.median <= many.median
    assert few.high <= many.high


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=20), st.integers(1, 60), st.integers(1, 12))
def test_a_run_takes_no_less_than_its_work_divided_by_its_slots_and_no_more_than_one_after_the_other(
    measured: list[float], number: int, slots: int
) -> None:
    for ends in play_often(dict.fromkeys(range(number), ()), slots, measured):
        assert min(measured) * number / slots - 1e-6 <= ends <= max(measured) * number + 1e-6


@given(st.lists(st.floats(0, 1e5), min_size=1), st.floats(0, 1))
def test_a_share_is_one_of_the_measurements(measured: list[float], part: float) -> None:
    assert share(measured, part) in measured
    assert share(measured, 0.0) == min(measured)
    assert share(measured, 1.0) == max(measured)
