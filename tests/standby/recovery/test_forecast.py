"""The RTO forecast: made of what was measured, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.durations import Durations, Kind, RtoForecast, forecast_rto, share
from tests.standby.recovery.readiness.facts_at_hand import a_plan

POLICY = {"probe_every": "30s", "quorum": 3, "minimum_outage": "1m"}


def forecast(measured: Mapping[Kind, tuple[float, ...]], missing: int = 0, **more: Any) -> RtoForecast:
    plan = a_plan(**{"failover": POLICY, "objectives": {"rto": "5m"}, **more})
    return forecast_rto(plan, Durations(seconds=measured), missing, slots=10)


def test_where_no_switch_was_measured_nothing_is_forecast() -> None:
    found = forecast({Kind.COPY: (3.0,), Kind.DETECT: (61.0,)})
    assert (found.low, found.high, found.met, found.objective) == (None, None, None, 300.0)
    assert found.basis == "No failover was measured yet; a drill measures one."


def test_a_detection_that_was_never_measured_is_as_long_as_the_policy_says() -> None:
    found = forecast({Kind.ACTIVATE: (2.0,)})
    assert (found.low, found.high, found.met) == (62.0, 92.0, True)
    assert found.basis == (
        "Detection: 60 to 90 s by the policy (3 probes, 30 s apart); not measured yet. Failover: 2 s, measured once."
    )


def test_what_was_measured_goes_before_the_policy() -> None:
    found = forecast({Kind.ACTIVATE: (2.0, 1.0), Kind.DETECT: (70.0, 65.0, 68.0)})
    assert (found.low, found.high) == (66.0, 72.0)
    assert "measured 3 times" in found.basis


def test_what_is_missing_has_to_be_restored_first_so_many_at_once() -> None:
    measured = {Kind.ACTIVATE: (1.0,), Kind.DETECT: (60.0,), Kind.RESTORE: (2.0, 4.0), Kind.COPY: (9.0,)}
    assert forecast(measured, 10).high == 65.0
    found = forecast(measured, 21)
    assert (found.low, found.high) == (67.0, 73.0)
    assert "21 analyzers, 10 at a time, from 2 measured restores" in found.basis


def test_copies_stand_for_restores_that_were_never_measured() -> None:
    measured = {Kind.ACTIVATE: (1.0,), Kind.DETECT: (60.0,)}
    assert forecast({**measured, Kind.COPY: (3.0,)}, 1).high == 64.0
    unknown = forecast(measured, 4)
    assert (unknown.low, unknown.met) == (None, None)
    assert unknown.basis == "4 analyzers must be restored first, and no restore was measured yet."


@pytest.mark.parametrize(("rto", "met"), [("62s", False), ("91s", False), ("92s", True)])
def test_the_objective_is_met_where_even_the_slowest_is_within_it(rto: str, met: bool) -> None:
    assert forecast({Kind.ACTIVATE: (2.0,)}, objectives={"rto": rto}).met is met


def test_without_an_objective_there_is_nothing_to_meet() -> None:
    found = forecast({Kind.ACTIVATE: (2.0,)}, objectives={})
    assert (found.objective, found.met, found.low) == (None, None, 62.0)


seconds = st.lists(st.floats(0, 1e5), max_size=30).map(tuple)


@given(
    st.fixed_dictionaries(dict.fromkeys(Kind, seconds)),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_more_to_restore_never_takes_less_and_low_is_never_above_high(
    measured: dict[Kind, tuple[float, ...]], some: int, more: int
) -> None:
    few, many = forecast(measured, some), forecast(measured, some + more)
    if few.low is None or few.high is None or many.high is None or many.low is None:
        assert many.low is None
        return
    assert few.low <= few.high
    assert (few.low, few.high) <= (many.low, many.high)


@given(st.lists(st.floats(0, 1e5), min_size=1), st.floats(0, 1))
def test_a_share_is_one_of_the_measurements(measured: list[float], part: float) -> None:
    assert share(measured, part) in measured
    assert share(measured, 0.0) == min(measured)
    assert share(measured, 1.0) == max(measured)
