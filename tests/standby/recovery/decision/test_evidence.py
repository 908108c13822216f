"""What counts as evidence of an outage, and what never does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example
from hypothesis import given as drawn
from hypothesis import strategies as st

from standby.fencing import Assignment, Phase
from standby.recovery.decision.evidence import OutageEvidence, provable_at, weigh
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import DecisionInput, Guard, GuardOutcome, GuardResult, Outcome
from standby.recovery.probe import Check, Observation
from tests.standby.recovery.decision.cases import NOW, PROVED, SELF, an_input, look

POLICY = an_input().policy

OURS = (SELF, "watch@desk", "watch@a", "watch@b")
ALERTS = ("azure-monitor", "resource-health", "service-health")

ago = st.integers(0, 240).map(float)
looks = st.builds(
    look, ago=ago, healthy=st.sampled_from([False, False, False, True, None]), observer=st.sampled_from(OURS)
)
unhealthy = st.builds(look, ago=ago, observer=st.sampled_from(OURS))
alerts = st.builds(
    look, ago=ago, healthy=st.booleans(), observer=st.sampled_from(ALERTS), alert=st.just(True), seconds=st.just(0.0)
)
histories = st.lists(looks, max_size=14)


def alert(ago: float, healthy: bool = False, observer: str = "azure-monitor") -> Observation:
    return look(ago, healthy, observer, alert=True, seconds=0.0)


def weighed(history: Sequence[Observation], **more: Any) -> OutageEvidence:
    return weigh(history, "east", NOW, POLICY, **more)


def says(given: DecisionInput, guard: Guard) -> GuardResult:
    return next(result for result in decide(given).reasons if result.guard is guard)


class TestTimesThatDoNotCount:
    @drawn(histories, looks.filter(lambda seen: seen.healthy is True), st.lists(unhealthy, max_size=8))
    def test_nothing_from_before_a_healthy_look_counts_whoever_made_it(
        self, history: list[Observation], well: Observation, more: list[Observation]
    ) -> None:
        before = [seen for seen in more if seen.at <= well.ended]
        evidence = weighed([*history, well, *before])

        assert all(seen.at > well.ended for seen in evidence.streak)
        without = weighed([*history, well])
        assert (evidence.streak, evidence.lasted, evidence.votes) == (without.streak, without.lasted, without.votes)

    def test_a_look_of_another_machine_may_be_earlier_than_it_is_dated(self) -> None:
        """A blip that was seen just before a healthy look, by a clock that is ahead, begins no outage."""
        healthy = look(62, healthy=True, observer="watch@a")
        given = an_input([healthy, look(60, observer="watch@b"), look(30), look(0.6, observer=SELF)])

        assert decide(given).unhealthy_since == NOW - timedelta(seconds=30)

    @drawn(histories, st.integers(0, 240))
    def test_nothing_from_before_the_resource_began_to_serve_counts(self, history: list[Observation], ago: int) -> None:
        since = NOW - timedelta(seconds=ago)
        later = [seen for seen in history if seen.at > since]

        # Where clocks are known to agree; otherwise even less counts.
        exact = timedelta()
        assert weighed(history, since=since, clocks=exact) == weighed(later, clocks=exact)
        assert all(seen.at > since for seen in weighed(history, since=since).streak)

    @pytest.mark.parametrize("how", ["failover", "failback", "rollback"])
    def test_an_outage_from_before_a_switch_is_none_of_what_serves_now(self, how: str) -> None:
        """East was down, another resource served, and east serves again, since 40 s."""
        previous = "west" if how == "failover" else None
        since = NOW - timedelta(seconds=40)
        assignment = Assignment(active="east", previous=previous, since=since)
        given = an_input(assignments={"east": assignment}, policy={"cool_down": "1s"})

        assert decide(an_input(policy={"cool_down": "1s"})).outcome is Outcome.ACT
        assert decide(given).outcome is Outcome.WAIT
        assert decide(given).unhealthy_since == NOW - timedelta(seconds=31)

    def test_what_was_seen_before_a_switch_that_is_under_way_still_counts(self) -> None:
        since = NOW - timedelta(seconds=10)
        switching = Assignment(active="east", phase=Phase.SWITCHING, target="west", run_id="run-1", since=since)

        assert says(an_input(assignments={"east": switching}), Guard.MINIMUM_OUTAGE).outcome is GuardOutcome.PASS

    def test_what_nobody_looked_at_for_longer_than_a_look_may_be_late_is_not_one_outage(self) -> None:
        given = an_input([look(60), look(59, observer="watch@b"), look(0.6, observer=SELF)])

        assert says(given, Guard.MINIMUM_OUTAGE).outcome is GuardOutcome.WAIT


class TestAlerts:
    @drawn(histories, st.lists(alerts, max_size=8))
    def test_are_one_observer_at_most_together_and_nothing_by_themselves(
        self, history: list[Observation], said: list[Observation]
    ) -> None:
        alone, with_alerts = weighed(history), weighed([*history, *said])

        assert with_alerts.votes - alone.votes in ({0, 1} if len(alone.counted) >= 2 else {0})
        assert weighed(said).votes == 0

    @drawn(histories, st.lists(alerts, max_size=8))
    def test_neither_begin_nor_lengthen_nor_end_an_outage_and_contradict_none(
        self, history: list[Observation], said: list[Observation]
    ) -> None:
        alone, with_alerts = weighed(history), weighed([*history, *said])

        for what in ("streak", "lasted", "since", "newest", "contradicting", "counted"):
            assert getattr(with_alerts, what) == getattr(alone, what)

    @drawn(st.lists(alerts, min_size=1, max_size=12))
    def test_prove_nothing_with_one_look_of_our_own(self, said: list[Observation]) -> None:
        given = an_input([*said, look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT
        waiting = {result.guard for result in decide(given).saying(GuardOutcome.WAIT)}
        assert waiting == {Guard.QUORUM, Guard.MINIMUM_OUTAGE}

    def test_count_once_beside_two_looks_of_our_own_that_span_the_minimum_outage(self) -> None:
        own = [look(47), look(0.6, observer=SELF)]
        said = [alert(40), alert(30, observer="resource-health"), alert(20, observer="service-health")]
        policy = {"probe_every": "60s"}

        assert decide(an_input(own, policy)).outcome is Outcome.WAIT
        assert decide(an_input([*own, *said], policy)).outcome is Outcome.ACT
        assert says(an_input([*own, *said], policy), Guard.QUORUM).text == (
            "2 unhealthy observations in a row, by evaluation@desk, watch@desk; "
            "alerts of azure-monitor, resource-health, service-health count as one more; 3 are needed"
        )
        assert decide(an_input([*own, *said], {**policy, "quorum": 4})).outcome is Outcome.WAIT

    def test_that_were_resolved_outweigh_no_look_of_our_own(self) -> None:
        for resolved in (alert(70, healthy=True), alert(5, healthy=True), alert(0, healthy=True)):
            assert decide(an_input([*PROVED, resolved])) == decide(an_input())

    def test_that_were_resolved_count_no_longer(self) -> None:
        own = [look(47), look(0.6, observer=SELF)]

        given = an_input([*own, alert(40), alert(3, healthy=True)], {"probe_every": "60s"})

        assert decide(given).outcome is Outcome.WAIT

    def test_from_before_the_last_healthy_look_do_not_count(self) -> None:
        own = [look(50, healthy=True), look(47), look(0.6, observer=SELF)]

        assert decide(an_input([*own, alert(60)], {"probe_every": "60s"})).outcome is Outcome.WAIT

    def test_that_an_earlier_version_counted_as_looks_lead_to_the_same_decision_when_replayed(self) -> None:
        earlier = [alert(61), look(31), look(1), look(0.6, observer=SELF)]
        recorded = an_input(earlier).model_dump(mode="json", exclude={"rules"})
        for seen in recorded["observations"]:
            del seen["alert"]

        assert decide(DecisionInput.model_validate(recorded)).outcome is Outcome.ACT
        assert decide(an_input(earlier)).outcome is Outcome.WAIT

    def test_looks_that_an_earlier_version_counted_once_count_once_when_replayed(self) -> None:
        earlier = [look(60), look(40), look(0.6, observer=SELF)]

        assert decide(an_input(earlier, rules=1)).outcome is Outcome.WAIT
        assert decide(an_input(earlier)).outcome is Outcome.ACT


class TestHowLongItLasted:
    def test_the_beginning_counts_from_a_try_that_found_nothing_and_not_from_one_that_was_lost(self) -> None:
        """The first try of the first look may have been lost on its way, three seconds before the outage began."""
        lost = Check(name="listing", ok=False, detail="no answer", seconds=10, tries=2, last_try=3.0)
        refused = Check(name="listing", ok=False, detail="refused", seconds=0.6, tries=2, last_try=0.5)
        first = look(46, seconds=10.0).model_copy(update={"checks": (lost,)})
        last = look(1, observer="evaluation@desk", seconds=0.6).model_copy(update={"checks": (refused,)})

        assert weighed([first, last]).lasted == timedelta(seconds=42.5)
        assert weighed([first, last.model_copy(update={"checks": (lost,)})]).lasted == timedelta(seconds=45)

    def test_the_clocks_of_two_machines_may_differ_and_that_of_one_agrees_with_itself(self) -> None:
        assert weighed([look(46, observer="watch@a"), look(1, observer=SELF)]).lasted == timedelta(seconds=40)
        assert weighed([look(46, observer="watch@desk"), look(1, observer=SELF)]).lasted == timedelta(seconds=45)

    @example([look(0, observer="watch@a"), look(45, observer="watch@a")], 0.0)  # proved by the clock of another
    @drawn(st.lists(unhealthy, min_size=1, max_size=14), st.sampled_from([0.0, 0.5, 3.0]))
    def test_a_look_at_the_time_that_is_foretold_proves_it(self, history: list[Observation], last_try: float) -> None:
        check = Check(name="listing", ok=False, detail="", seconds=0.5, last_try=last_try)
        own = look(0, observer=SELF, seconds=0.5).model_copy(update={"checks": (check,)})
        evidence = weighed([*history, own])
        due = provable_at(evidence, own, POLICY)

        assert due is not None
        later = own.model_copy(update={"at": max(due, NOW)})
        assert max(weighed_by(evidence.streak, later), evidence.lasted) >= POLICY.minimum_outage
        if due > NOW and evidence.lasted < POLICY.minimum_outage:
            too_early = own.model_copy(update={"at": due - timedelta(milliseconds=1)})
            assert weighed_by(evidence.streak, too_early) < POLICY.minimum_outage

    def test_nothing_is_foretold_where_no_outage_began(self) -> None:
        assert provable_at(weighed([look(0, healthy=True)]), look(0), POLICY) is None


def weighed_by(streak: Sequence[Observation], last: Observation) -> timedelta:
    """Say how long an outage lasted if one more look failed; looks in between do not matter."""
    return OutageEvidence(
        streak=(*streak, last), counted=(), alerts=(), newest=last, contradicting=(), clocks=timedelta(seconds=5)
    ).lasted
