"""Every guard of a decision: when it lets pass, waits, refuses or is forced."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from standby.fencing import Assignment, Phase
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import (
    FORCEABLE,
    NEVER_FORCED,
    Candidate,
    CopyAge,
    DecisionInput,
    Guard,
    GuardOutcome,
    GuardResult,
    Outcome,
    Restorable,
)
from standby.recovery.snapshots.fidelity import Fidelity
from tests.standby.recovery.decision.cases import NOW, PROVED, SELF, an_input, candidate, look

OFF = Automation(on=False, changed_at=NOW - timedelta(hours=1), by="ada@desk", reason="maintenance")


def says(given: DecisionInput, guard: Guard) -> GuardResult:
    return next(result for result in decide(given).reasons if result.guard is guard)


def operator(**more: Any) -> DecisionInput:
    return an_input(**{"requested_by": "operator", "observations": (), **more})


def kept_one(name: str, days: float = 0.125, *, unfaithful: bool = False) -> Restorable:
    return Restorable(
        analyzer=name,
        fidelity=Fidelity.UNFAITHFUL if unfaithful else Fidelity.EQUIVALENT,
        snapshot="s-1",
        seen_at=NOW - timedelta(days=days),
        doubt="Its labelled data is gone." if unfaithful else "",
    )


def lacking(*names: str, kept: tuple[str, ...], days: float = 0.125, unfaithful: str = "") -> Candidate:
    """Make a target against which nothing speaks but that it lacks some analyzers."""
    absent = (CopyAge(analyzer=name, verified_at=None, source_changed=True) for name in names)
    present = CopyAge(analyzer="invoice", verified_at=NOW - timedelta(hours=3), source_changed=None)
    return candidate(
        state="not_ready",
        reasons=(f"{' and '.join(names)} are not at west",),
        copies=(present, *absent),
        lacking=names,
        restorable=tuple(kept_one(name, days, unfaithful=name == unfaithful) for name in kept),
    )


def test_acts_on_an_outage_that_is_proved() -> None:
    decision = decide(an_input())

    assert (decision.outcome, decision.to, decision.needs_approval) == (Outcome.ACT, "west", False)
    assert decision.unhealthy_since == NOW - timedelta(seconds=61)
    assert decision.detected_at == NOW - timedelta(seconds=0.5)
    assert {result.outcome for result in decision.reasons} == {GuardOutcome.PASS}
    assert says(an_input(), Guard.QUORUM).text == (
        "4 unhealthy observations in a row, by evaluation@desk, watch@desk; 3 are needed"
    )


def test_only_proposes_where_the_plan_does_not_say_automatic() -> None:
    decision = decide(an_input(policy={"automatic": False}))

    assert (decision.outcome, decision.needs_approval) == (Outcome.ACT, True)
    assert not decide(operator(policy={"automatic": False})).needs_approval


class TestQuorum:
    def test_waits_for_enough_observations(self) -> None:
        given = an_input([look(31), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT
        assert says(given, Guard.QUORUM).text.startswith("2 unhealthy observations in a row")

    def test_counts_looks_of_one_observer_only_where_they_are_a_while_apart(self) -> None:
        often = [look(ago) for ago in (41, 40, 39, 38, 8, 7, 6)]

        assert says(an_input([*often, look(0.6, observer=SELF)]), Guard.QUORUM).outcome is GuardOutcome.PASS
        assert says(an_input([*often[:4], look(0.6, observer=SELF)]), Guard.QUORUM).outcome is GuardOutcome.WAIT

    def test_counts_an_event_that_came_twice_once(self) -> None:
        twice = [look(61), look(61), look(0.6, observer=SELF), look(0.6, observer=SELF)]

        assert says(an_input(twice), Guard.QUORUM).outcome is GuardOutcome.WAIT

    def test_bears_with_a_schedule_that_is_not_quite_even(self) -> None:
        given = an_input([look(57), look(30), look(3), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.ACT

    def test_forgets_what_was_before_a_healthy_observation(self) -> None:
        given = an_input([look(300), look(270), look(240), look(90, healthy=True), *PROVED[1:]])

        assert decide(given).outcome is Outcome.WAIT
        assert decide(given).unhealthy_since == NOW - timedelta(seconds=31)

    def test_refuses_where_the_source_answers_again(self) -> None:
        given = an_input([*PROVED[:3], look(0.6, healthy=True, observer=SELF)])

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.QUORUM).text == "east answers: evaluation@desk found it healthy 1 s ago"

    def test_does_not_count_across_a_time_in_which_nobody_looked(self) -> None:
        given = an_input([look(400), look(370), look(31), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT

    def test_waits_where_all_it_has_is_old(self) -> None:
        given = an_input([look(ago, observer=SELF) for ago in (190, 160, 130, 100)])

        assert decide(given).outcome is Outcome.WAIT
        assert (
            says(given, Guard.QUORUM).text == "the newest observation of east is 100 s old, and it may be 90 s at most"
        )

    def test_waits_where_nothing_was_seen(self) -> None:
        assert decide(an_input([])).outcome is Outcome.WAIT

    def test_lets_nothing_follow_from_what_cannot_be_told(self) -> None:
        refused = [look(ago, healthy=None) for ago in (91, 61, 31, 1)]
        given = an_input([*refused, look(0.6, healthy=None, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT
        assert decide(given).unhealthy_since is None

    @pytest.mark.parametrize("own", [[], [look(0.6, healthy=None, observer=SELF)], [look(100, observer=SELF)]])
    def test_waits_where_it_has_not_seen_it_itself(self, own: list[Any]) -> None:
        given = an_input([*PROVED[:3], *own])

        assert decide(given).outcome is Outcome.WAIT
        assert "which decides, did not itself see a probe" in says(given, Guard.QUORUM).text

    def test_looks_at_the_resource_that_serves_only(self) -> None:
        elsewhere = [seen.model_copy(update={"resource": "north"}) for seen in PROVED]

        assert decide(an_input(elsewhere)).outcome is Outcome.WAIT


class TestTime:
    def test_waits_for_the_minimum_outage(self) -> None:
        given = an_input([look(40), look(39, observer="watch@b"), look(10), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT
        assert says(given, Guard.MINIMUM_OUTAGE).text == (
            "unhealthy for 39 s from the first observation to the latest, and 45 s are needed"
        )

    def test_does_not_believe_what_is_dated_ahead(self) -> None:
        ahead = [look(-ago) for ago in (3600, 3630, 3660)]

        assert decide(an_input([*ahead, look(0.6, observer=SELF)])).outcome is Outcome.WAIT

    def test_takes_what_is_a_little_ahead_for_now(self) -> None:
        given = an_input([look(61), look(31), look(-20), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.ACT
        assert decide(an_input([*PROVED, look(-20, healthy=True, observer="b")])).outcome is Outcome.REFUSE

    def test_does_not_let_a_clock_that_is_behind_make_an_outage_longer(self) -> None:
        behind = [look(ago, observer="late@c") for ago in (660, 630, 600)]

        assert decide(an_input([*behind, look(0.6, observer=SELF)])).outcome is Outcome.WAIT

    def test_cares_for_no_order(self) -> None:
        assert decide(an_input(PROVED[::-1])) == decide(an_input(PROVED))


class TestAgreement:
    def test_waits_while_another_observer_is_well_served(self) -> None:
        served = look(28, healthy=True, observer="watch@b")
        given = an_input([served, *(look(ago) for ago in (27, 1)), look(0.6, observer=SELF)])

        assert decide(given).outcome is Outcome.WAIT
        assert says(given, Guard.OBSERVERS_AGREE).text == "watch@b found east healthy within the last 30 s"

    def test_is_not_held_up_by_an_observer_that_went_dark_with_the_region(self) -> None:
        given = an_input([look(67, healthy=True, observer="watch@east"), *PROVED])

        assert decide(given).outcome is Outcome.ACT

    def test_does_not_let_an_observer_with_a_broken_network_make_a_blip_longer(self) -> None:
        broken = [look(ago, observer="broken@b") for ago in (70, 40, 10)]
        others = [look(71, healthy=True), look(41), look(11), look(0.6, observer=SELF)]
        given = an_input([*broken, *others])

        assert decide(given).outcome is Outcome.WAIT
        assert decide(given).unhealthy_since == NOW - timedelta(seconds=41)


class TestOffSwitch:
    def test_stops_what_outages_ask_for(self) -> None:
        given = an_input(automation=OFF)

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.OFF_SWITCH).text == (
            "automation is off, by ada@desk at 2026-11-24 02:14:02 UTC: maintenance"
        )

    def test_refuses_nothing_before_an_outage_is_proved(self) -> None:
        assert decide(an_input([], automation=OFF)).outcome is Outcome.WAIT
        # By the rules of earlier versions it did.
        assert decide(an_input([], automation=OFF, rules=1)).outcome is Outcome.REFUSE

    def test_does_not_stop_an_operator(self) -> None:
        assert decide(operator(automation=OFF)).outcome is Outcome.ACT


class TestSides:
    def test_refuses_an_outage_of_what_serves_nobody(self) -> None:
        given = an_input(
            assignments={"east": Assignment(active="west")}, outage_of="east", candidates=(candidate("north"),)
        )

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.ALREADY_ACTIVE).text == ("the outage is at east, but west serves for east")

    def test_refuses_what_is_so_already(self) -> None:
        given = operator(candidates=(candidate("east"),), forced=FORCEABLE)

        assert decide(given).outcome is Outcome.REFUSE

    def test_refuses_where_there_is_no_other_side(self) -> None:
        decision = decide(an_input(candidates=()))

        assert (decision.outcome, decision.to) == (Outcome.REFUSE, None)

    @pytest.mark.parametrize(
        ("by", "rules", "outcome"),
        [("run-2", 2, Outcome.ACT), ("run-1", 2, Outcome.ACT), ("run-2", 1, Outcome.WAIT), ("run-1", 1, Outcome.ACT)],
    )
    def test_takes_up_a_switch_that_was_interrupted_and_did_not_by_the_first_rules(
        self, by: str, rules: int, outcome: Outcome
    ) -> None:
        side = Assignment(active="east", phase=Phase.SWITCHING, target="west", run_id=by)

        assert decide(an_input(assignments={"east": side}, rules=rules)).outcome is outcome

    def test_waits_for_the_switch_of_another_source_of_the_plan(self) -> None:
        other = Assignment(active="south", phase=Phase.SWITCHING, target="west", run_id="run-2")

        assert decide(an_input(assignments={"east": Assignment(active="east"), "south": other})).outcome is Outcome.WAIT

    def test_lets_an_operator_finish_what_was_interrupted(self) -> None:
        side = Assignment(active="east", phase=Phase.SWITCHING, target="west", run_id="run-2")
        sides = {"east": side}

        assert decide(operator(assignments=sides)).outcome is Outcome.ACT
        assert decide(operator(assignments=sides, candidates=(candidate("north"),))).outcome is Outcome.REFUSE

    def test_decides_the_next_outage_though_the_last_failover_is_not_committed(self) -> None:
        side = Assignment(
            active="west",
            phase=Phase.ACTIVATED,
            previous="east",
            run_id="run-0",
            since=NOW - timedelta(days=1),
        )
        dark = [seen.model_copy(update={"resource": "west"}) for seen in PROVED]
        given = an_input(dark, assignments={"east": side}, candidates=(candidate("north"),))

        assert decide(given).outcome is Outcome.ACT
        assert decide(given.model_copy(update={"rules": 1})).outcome is Outcome.REFUSE
        assert says(given, Guard.ONE_AT_A_TIME).text == "the failover to west by run run-0 is not committed"
        assert decide(operator(assignments={"east": side}, candidates=(candidate("east"),))).outcome is Outcome.ACT

    @pytest.mark.parametrize(("minutes", "outcome"), [(59, Outcome.REFUSE), (60, Outcome.ACT)])
    def test_lets_time_lie_between_two_failovers(self, minutes: int, outcome: Outcome) -> None:
        side = Assignment(active="east", previous="west", since=NOW - timedelta(minutes=minutes))

        assert decide(an_input(assignments={"east": side})).outcome is outcome


class TestStandby:
    def test_waits_for_a_standby_side_that_is_dark(self) -> None:
        decision = decide(an_input(candidates=(candidate(healthy=False),)))

        assert decision.outcome is Outcome.WAIT

    def test_tells_an_operator_at_once(self) -> None:
        assert decide(operator(candidates=(candidate(healthy=False),))).outcome is Outcome.REFUSE

    @pytest.mark.parametrize("state", ["not_ready", "unknown"])
    def test_refuses_one_that_is_not_known_to_be_ready(self, state: str) -> None:
        given = an_input(candidates=(candidate(state=state, reasons=("invoice is missing.", "a", "b", "c")),))

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.READINESS).text.endswith(": invoice is missing; a; b and 1 more")

    def test_settles_nothing_by_it_while_the_outage_is_not_proved(self) -> None:
        given = an_input([look(0.6, observer=SELF)], candidates=(candidate(state="not_ready"),))

        assert decide(given).outcome is Outcome.WAIT

    @pytest.mark.parametrize(
        ("days", "changed", "outcome"),
        [
            (6, None, Outcome.ACT),
            (8, False, Outcome.ACT),
            (8, None, Outcome.REFUSE),
            (8, True, Outcome.REFUSE),
            (None, None, Outcome.REFUSE),
            (None, False, Outcome.ACT),
        ],
    )
    def test_refuses_copies_that_are_too_old(self, days: int | None, changed: bool | None, outcome: Outcome) -> None:
        verified = None if days is None else NOW - timedelta(days=days)
        copy = CopyAge(analyzer="invoice", verified_at=verified, source_changed=changed)

        assert decide(an_input(candidates=(candidate(copies=(copy,)),))).outcome is outcome

    def test_lets_pass_what_lacks_only_what_can_be_restored_first(self) -> None:
        given = an_input(candidates=(lacking("contract", "claim", kept=("claim", "contract")),))

        assert decide(given).outcome is Outcome.ACT
        assert says(given, Guard.READINESS).text == (
            "west lacks 2 analyzers, which snapshot s-1 of 2026-11-24 00:14 UTC has"
        )
        assert says(given, Guard.STALENESS).outcome is GuardOutcome.PASS

    @pytest.mark.parametrize("asked", [an_input, operator])
    def test_refuses_what_could_only_be_restored_otherwise_than_it_was(
        self, asked: Callable[..., DecisionInput]
    ) -> None:
        west = lacking("claim", "contract", kept=("claim", "contract"), unfaithful="claim")
        given = asked(candidates=(west,))

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.READINESS).text.endswith(
            " has, but claim would be unfaithful: Its labelled data is gone"
        )
        assert decide(asked(candidates=(west,), forced=(Guard.READINESS,))).outcome is Outcome.ACT

    def test_refuses_where_only_some_of_it_can_be_restored(self) -> None:
        given = an_input(candidates=(lacking("claim", "contract", kept=("claim",)),))

        assert decide(given).outcome is Outcome.REFUSE
        assert says(given, Guard.READINESS).text == "west is not ready: claim and contract are not at west"
        assert "1 of 3 copies" in says(given, Guard.STALENESS).text

    def test_refuses_where_more_speaks_against_it_than_what_it_lacks(self) -> None:
        west = candidate(state="not_ready", reasons=("a is broken",), restorable=(kept_one("claim"),))

        assert decide(an_input(candidates=(west,))).outcome is Outcome.REFUSE

    @pytest.mark.parametrize(("days", "outcome"), [(6, GuardOutcome.PASS), (8, GuardOutcome.REFUSE)])
    def test_counts_what_is_restored_by_the_time_of_its_snapshot(self, days: int, outcome: GuardOutcome) -> None:
        given = an_input(candidates=(lacking("claim", kept=("claim",), days=days),))

        assert says(given, Guard.READINESS).outcome is GuardOutcome.PASS
        assert says(given, Guard.STALENESS).outcome is outcome

    def test_replays_what_was_recorded_before_anything_was_known_to_be_restorable(self) -> None:
        given = an_input(candidates=(candidate(state="not_ready", reasons=("claim is not at west",)),))
        recorded = json.loads(given.model_dump_json())
        for name in ("lacking", "restorable"):
            del recorded["candidates"][0]["fitness"][name]

        assert decide(DecisionInput.model_validate(recorded)) == decide(given)

    def test_takes_the_first_that_could_serve(self) -> None:
        candidates = (candidate("west", state="not_ready"), candidate("north"), candidate("south"))

        decision = decide(an_input(candidates=candidates))

        assert (decision.outcome, decision.to) == (Outcome.ACT, "north")

    def test_rather_waits_for_one_than_gives_up_on_another(self) -> None:
        decision = decide(an_input(candidates=(candidate("west", state="not_ready"), candidate("north", False))))

        assert (decision.outcome, decision.to) == (Outcome.WAIT, "north")


class TestOperators:
    def test_need_no_proof_of_an_outage(self) -> None:
        asked = {result.guard for result in decide(operator()).reasons}

        assert decide(operator()).outcome is Outcome.ACT
        assert not asked & {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.OBSERVERS_AGREE}

    @pytest.mark.parametrize(
        ("seen", "outcome"),
        [(True, Outcome.ACT), (False, Outcome.REFUSE), (None, Outcome.REFUSE)],
    )
    def test_need_an_answer_of_the_source_where_they_plan(self, seen: bool | None, outcome: Outcome) -> None:
        given = operator(observations=(look(1, seen, SELF),), planned=True, forced=FORCEABLE)

        assert decide(given).outcome is outcome

    @pytest.mark.parametrize(
        ("seen", "rules", "outcome"),
        [(True, 3, Outcome.ACT), (False, 3, Outcome.REFUSE), (None, 3, Outcome.REFUSE), (True, 2, Outcome.REFUSE)],
    )
    def test_are_believed_their_own_probe_just_after_a_failover(
        self, seen: bool | None, rules: int, outcome: Outcome
    ) -> None:
        just_rolled_back = Assignment(active="east", since=NOW - timedelta(seconds=2))
        given = operator(
            observations=(look(1, seen, SELF),),
            planned=True,
            rules=rules,
            assignments={"east": just_rolled_back},
            policy={"automatic": True, "cool_down": timedelta(seconds=1)},
        )

        assert decide(given).outcome is outcome

    def test_may_force_most_guards(self) -> None:
        side = Assignment(active="east", previous="west", since=NOW - timedelta(minutes=1))
        stuck = operator(
            assignments={"east": side},
            candidates=(
                candidate(state="unknown", copies=(CopyAge(analyzer="a", verified_at=None, source_changed=None),)),
            ),
        )
        forced = stuck.model_copy(update={"forced": (Guard.COOL_DOWN, Guard.READINESS, Guard.STALENESS)})

        assert decide(stuck).outcome is Outcome.REFUSE
        assert decide(forced).outcome is Outcome.ACT
        assert {result.guard for result in decide(forced).saying(GuardOutcome.FORCED)} == set(forced.forced)

    def test_may_not_force_two_switches_at_once(self) -> None:
        side = Assignment(active="east", phase=Phase.SWITCHING, target="north", run_id="run-2")

        assert decide(operator(assignments={"east": side}, forced=tuple(NEVER_FORCED))).outcome is Outcome.REFUSE
