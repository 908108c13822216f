"""How long a failover took: from when the outage began, as far as that was seen, with an approval named apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.failover.report import FailoverReport, times, within
from standby.recovery.runs import Durations, Kind
from tests.standby.recovery.failover.world import Site

AT = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)


class Timed:
    """A plan whose two sinks take 15 s for each of the two maps: it fails over in 30 s."""

    def __init__(self, site: Site) -> None:
        self.site, self.clock = site, site.world.service.clock
        site.sinks[0].on_change = lambda: self.passed(15)

    @classmethod
    async def made(cls, rto: str = "10m") -> Timed:
        return cls(await Site.made(objectives={"rto": rto}))

    def passed(self, seconds: float) -> datetime:
        self.clock.seconds += seconds
        return self.clock.now()

    async def durations(self) -> Durations:
        return await Durations.read(self.site.vault, "invoices")


async def test_an_outage_counts_from_the_last_healthy_look_and_gives_a_range() -> None:
    timed = await Timed.made()
    healthy, unhealthy, detected = timed.clock.now(), timed.passed(30), timed.passed(41)
    report = await timed.site.fail_over(healthy_until=healthy, unhealthy_since=unhealthy, detected_at=detected)
    assert (report.detection_at_least_seconds, report.detection_seconds) == (41, 71)
    assert (report.rto_at_least_seconds, report.rto_seconds, report.rto_met) == (71, 101, True)
    assert (report.recovery_seconds, report.approval_seconds) == (30, None)
    assert times(report) == (
        "Detected after 41 to 71 s, failed over in 30.0 s, serving again between 71 and 101 s after the outage began, "
        "within the RTO of 10 min."
    )
    measured = await timed.durations()
    assert (measured.of(Kind.DETECT), measured.of(Kind.ACTIVATE)) == ((56,), (30,))


async def test_where_no_healthy_look_is_known_it_took_at_least_so_long() -> None:
    timed = await Timed.made()
    unhealthy, detected = timed.clock.now(), timed.passed(41)
    report = await timed.site.fail_over(unhealthy_since=unhealthy, detected_at=detected)
    assert (report.rto_at_least_seconds, report.rto_seconds, report.rto_met) == (71, None, None)
    assert times(report) == (
        "Detected after at least 41.0 s, failed over in 30.0 s, "
        "serving again at least 71.0 s after the outage began (no healthy look before it is known), "
        "which may or may not be within the RTO of 10 min."
    )
    assert (await timed.durations()).of(Kind.DETECT) == ()


@pytest.mark.parametrize(("rto", "met"), [("70s", False), ("71s", None), ("100s", None), ("101s", True)])
async def test_the_objective_is_judged_by_the_upper_end_and_unknown_where_it_straddles(
    rto: str, met: bool | None
) -> None:
    timed = await Timed.made(rto)
    healthy, unhealthy, detected = timed.clock.now(), timed.passed(30), timed.passed(41)
    report = await timed.site.fail_over(healthy_until=healthy, unhealthy_since=unhealthy, detected_at=detected)
    assert report.rto_met is met


async def test_the_wait_for_an_approval_is_named_apart_and_is_neither_detection_nor_failover() -> None:
    timed = await Timed.made()
    healthy, unhealthy, detected = timed.clock.now(), timed.passed(30), timed.passed(41)
    approved = timed.passed(240)
    report = await timed.site.fail_over(
        healthy_until=healthy, unhealthy_since=unhealthy, detected_at=detected, approved_at=approved
    )
    assert (report.detection_seconds, report.approval_seconds, report.recovery_seconds) == (71, 240, 30)
    assert (report.rto_at_least_seconds, report.rto_seconds) == (311, 341)
    assert "Detected after 41 to 71 s, approved after 4 min, failed over in 30.0 s" in times(report)
    measured = await timed.durations()
    assert (measured.of(Kind.DETECT), measured.of(Kind.ACTIVATE)) == ((56,), (30,))


async def test_an_operators_order_is_no_detection() -> None:
    timed = await Timed.made()
    report = await timed.site.fail_over()
    assert (report.unhealthy_since, report.detection_seconds, report.detection_at_least_seconds) == (None, None, None)
    assert (report.rto_at_least_seconds, report.rto_seconds, report.rto_met) == (30, None, None)
    assert times(report) == (
        "Failed over in 30.0 s, and when the outage began is not known, so it is unknown whether that is "
        "within the RTO of 10 min."
    )
    measured = await timed.durations()
    assert (measured.of(Kind.DETECT), measured.of(Kind.ACTIVATE)) == ((), (30,))


async def test_an_order_that_took_longer_than_the_objective_missed_it_whenever_the_outage_began() -> None:
    timed = await Timed.made("10s")
    report = await timed.site.fail_over()
    assert report.rto_met is False
    assert times(report) == "Failed over in 30.0 s, beyond the RTO of 10.0 s."


async def test_a_planned_failover_interrupts_from_its_order_on() -> None:
    timed = await Timed.made()
    report = await timed.site.fail_over(planned=True)
    assert (report.rto_at_least_seconds, report.rto_seconds, report.rto_met) == (30, 30, True)
    assert times(report) == "Failed over in 30.0 s, within the RTO of 10 min."


async def test_going_back_because_of_an_outage_counts_from_it_as_well() -> None:
    timed = await Timed.made()
    await timed.site.fail_over()
    healthy, unhealthy, detected = timed.clock.now(), timed.passed(30), timed.passed(41)
    report = await timed.site.roll_back(healthy_until=healthy, unhealthy_since=unhealthy, detected_at=detected)
    assert (report.state, report.rto_at_least_seconds, report.rto_seconds) == ("rolled_back", 71, 101)


async def test_a_failover_that_is_resumed_counts_from_the_same_outage() -> None:
    timed = await Timed.made()
    healthy, unhealthy, detected = timed.clock.now(), timed.passed(30), timed.passed(41)
    timed.site.sinks[1].fails = timed.site.sinks[1].mute = True
    stopped = await timed.site.fail_over(healthy_until=healthy, unhealthy_since=unhealthy, detected_at=detected)
    assert stopped.state != "activated"
    timed.site.sinks[1].fails = timed.site.sinks[1].mute = False
    later = timed.passed(600)
    report = await timed.site.fail_over(unhealthy_since=later, detected_at=later)
    assert report.rto_seconds is not None
    assert report.rto_seconds >= 671
    assert (await timed.durations()).of(Kind.DETECT) == ()


seconds = st.floats(0, 1e6)


@given(st.none() | seconds, st.none() | seconds, st.none() | seconds, seconds)
def test_a_range_is_within_an_objective_only_where_both_ends_are(
    objective: float | None, least: float | None, wider: float | None, more: float
) -> None:
    most = None if least is None or wider is None else least + wider
    found = within(objective, least, most)
    if found is not None:
        assert objective is not None
        assert least is not None
        assert found is (most is not None and most <= objective)
        # A wider range is never judged otherwise, only less certainly.
        assert within(objective, max(0.0, least - more), None if most is None else most + more) in (found, None)


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_the_words_of_a_range_are_never_narrower_than_the_range(least: float, wider: float) -> None:
    found = times(a_report(rto_at_least_seconds=least, rto_seconds=least + wider, unhealthy_since=AT))
    words = found.replace("between ", "").partition("ing again ")[2].partition(" after")[0]
    amount, _, unit = words.rpartition(" ")
    factor = 60 if unit == "min" else 1
    low, _, high = amount.partition(" and ")
    assert float(low) * factor <= least + (0 if high else factor * 0.51 + 0.1)
    if high:
        assert float(high) * factor >= least + wider


def a_report(**changes: Any) -> FailoverReport:
    made: dict[str, Any] = {
        "plan": "invoices",
        "run_id": "r",
        "via": "direct",
        "epoch": 1,
        "home": "east",
        "from_resource": "east",
        "to": "west",
        "mode": "unplanned",
        "reason": "",
        "decision_id": "",
        "started_at": AT,
        "phases": (),
        "sinks": (),
        "restored": None,
        "detection_seconds": None,
        "recovery_seconds": None,
        "rto_seconds": None,
        "rto_objective_seconds": None,
        "rto_met": None,
        "side": "west",
        "state": "activated",
    }
    return FailoverReport.model_validate({**made, **changes})


def test_a_report_of_the_last_version_is_still_read() -> None:
    old = a_report(detection_seconds=62.0, recovery_seconds=8.4, rto_seconds=75.0, healthy_until=AT - timedelta(1))
    assert times(old) == "Detected after 62.0 s, failed over in 8.4 s."
