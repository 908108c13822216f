"""What makes a target ready, not ready or unknown, and what is told about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.errors import StandbyError
from standby.fencing import Assignment, Phase
from standby.recovery.readiness.document import (
    Bucket,
    Facts,
    ModelFact,
    Readiness,
    Retirement,
    Standing,
    State,
)
from standby.recovery.readiness.judge import judge_readiness
from standby.recovery.readiness.wording import points_words, serving_words
from standby.recovery.runs import Durations, Kind
from standby.replication.needs import Severity
from standby.replication.verdict import Verdict
from standby.service.errors import NotAuthorized, ResourceNotFound, Unreachable
from tests.standby.recovery.readiness.facts_at_hand import (
    DAY,
    NOW,
    a_drill,
    a_finding,
    a_plan,
    facts,
    good,
)

HOUR = timedelta(hours=1)
AN_HOUR_ALLOWED = a_plan(objectives={"rpo": "1h"})


def buckets(readiness: Readiness) -> list[Bucket]:
    return [reason.bucket for reason in readiness.reasons]


def test_where_nothing_is_wrong_it_is_ready_and_has_no_reason() -> None:
    readiness = judge_readiness(facts(good("invoice"), good("receipt", target_analyzer="receipt-dr")))
    assert (readiness.state, readiness.reasons, readiness.missing) == (State.READY, (), ())
    assert readiness.names == {"invoice": "invoice", "receipt": "receipt-dr"}
    assert readiness.source_answered
    assert [point.source_changed for point in readiness.points] == [False, False]


@pytest.mark.parametrize(
    ("wrong", "bucket", "state"),
    [
        ({"verdict": Verdict.MISSING, "status": None}, Bucket.MISSING, State.NOT_READY),
        ({"verdict": Verdict.MISSING, "status": "deleting"}, Bucket.MISSING, State.NOT_READY),
        ({"verdict": Verdict.MISSING, "status": None, "blocked": True}, Bucket.BLOCKED, State.NOT_READY),
        ({"blocked": True}, Bucket.BLOCKED, State.NOT_READY),
        ({"verdict": Verdict.SOURCE_AHEAD, "status": "failed"}, Bucket.BROKEN, State.NOT_READY),
        ({"verdict": Verdict.BLOCKED, "status": "unreadable", "blocked": True}, Bucket.BROKEN, State.NOT_READY),
        ({"verdict": Verdict.CREATING, "status": "creating"}, Bucket.CREATING, State.NOT_READY),
        ({"verdict": Verdict.TARGET_AHEAD}, Bucket.EDITED, State.NOT_READY),
        ({"verdict": Verdict.DIVERGED, "source_changed": True}, Bucket.DIVERGED, State.NOT_READY),
        ({"verdict": Verdict.FOREIGN, "source_changed": True}, Bucket.FOREIGN, State.NOT_READY),
        ({"verdict": None, "source_changed": None}, Bucket.UNVERIFIED, State.UNKNOWN),
        ({"verdict": Verdict.SOURCE_AHEAD, "source_changed": True}, Bucket.STALE, State.READY),
        (
            {"verdict": Verdict.SOURCE_AHEAD, "source_changed": True, "blocked": True},
            Bucket.STALE,
            State.READY,
        ),
    ],
)
def test_an_analyzer_that_is_not_what_it_should_be_is_a_reason(
    wrong: dict[str, object], bucket: Bucket, state: State
) -> None:
    readiness = judge_readiness(facts(good("router"), good("invoice", **wrong)))
    assert (readiness.state, buckets(readiness)) == (state, [bucket])
    (reason,) = readiness.reasons
    assert reason.analyzers == ("invoice",)
    assert "invoice" in reason.text
    assert "standby " in reason.next_action


def test_the_same_reason_is_given_once_with_all_analyzers() -> None:
    absent = [good(name, verdict=Verdict.MISSING, status=None) for name in ("e", "d", "c", "b", "a")]
    readiness = judge_readiness(facts(*absent))
    (reason,) = readiness.reasons
    assert reason.text == "a, b, c and 2 more are not at west"
    assert reason.analyzers == ("a", "b", "c", "d", "e")
    assert readiness.missing == ("e", "d", "c", "b", "a")


@pytest.mark.parametrize(
    ("age", "changed", "met", "state"),
    [
        (timedelta(minutes=59), True, True, State.READY),
        (HOUR, True, True, State.READY),
        (HOUR * 1.01, True, False, State.NOT_READY),
        (None, True, False, State.NOT_READY),
        (DAY, False, True, State.READY),
        (HOUR, None, True, State.READY),
        (DAY, None, None, State.READY),
    ],
)
def test_a_missed_rpo_makes_it_not_ready_only_where_it_is_known_to_be_missed(
    age: timedelta | None, changed: bool | None, met: bool | None, state: State
) -> None:
    standing = good(
        verdict=Verdict.SOURCE_AHEAD if changed else Verdict.IN_SYNC,
        verified_at=None if age is None else NOW - age,
        source_changed=changed,
    )
    readiness = judge_readiness(facts(standing, plan=AN_HOUR_ALLOWED))
    assert (readiness.points[0].met, readiness.state) == (met, state)
    assert (Bucket.RPO_MISSED in buckets(readiness)) is (met is False)
    if met is None:
        assert "It is unknown whether" in readiness.reasons[0].text


def test_without_an_objective_nothing_is_missed() -> None:
    standing = good(verdict=Verdict.SOURCE_AHEAD, verified_at=NOW - 300 * DAY, source_changed=True)
    readiness = judge_readiness(facts(standing))
    assert (readiness.points[0].met, readiness.state) == (None, State.READY)
    assert readiness.points[0].age_seconds == (300 * DAY).total_seconds()


@pytest.mark.parametrize(
    ("failure", "bucket", "state"),
    [
        (NotAuthorized("west: no", status=401), Bucket.PERMISSION, State.NOT_READY),
        (NotAuthorized("west: no", status=403), Bucket.PERMISSION, State.NOT_READY),
        (NotAuthorized("no token"), Bucket.PERMISSION, State.UNKNOWN),
        (Unreachable("no answer"), Bucket.UNREACHABLE, State.UNKNOWN),
        (ResourceNotFound("nothing there"), Bucket.UNREACHABLE, State.NOT_READY),
    ],
)
def test_a_target_that_refuses_is_not_ready_and_one_that_is_silent_is_unknown(
    failure: StandbyError, bucket: Bucket, state: State
) -> None:
    readiness = judge_readiness(facts(standings=(), target_failure=failure))
    assert (readiness.state, buckets(readiness)) == (state, [bucket])
    assert failure.cause in readiness.reasons[0].text


def test_a_silent_source_is_no_reason_to_stay() -> None:
    readiness = judge_readiness(facts(source_failure=Unreachable("No answer from east")))
    assert (readiness.state, buckets(readiness)) == (State.READY, [Bucket.SOURCE_UNREACHABLE])
    assert not readiness.source_answered


def test_where_nothing_at_all_is_known_it_is_unknown() -> None:
    silent = judge_readiness(facts(standings=(), source_failure=Unreachable("no")))
    assert (silent.state, buckets(silent)[0]) == (State.UNKNOWN, Bucket.NOTHING_KNOWN)
    empty = judge_readiness(facts(standings=()))
    assert (empty.state, buckets(empty)) == (State.UNKNOWN, [Bucket.NOTHING_KNOWN])
    assert "include" in empty.reasons[0].next_action


def test_a_missing_model_forbids_unless_the_plan_ignores_it() -> None:
    missing = a_finding(missing=True)
    assert judge_readiness(facts(models=(missing,))).state is State.NOT_READY
    ignored = judge_readiness(facts(models=(replace(missing, forgiven=True),)))
    assert (ignored.state, buckets(ignored)) == (State.READY, [Bucket.MODEL_MISSING])
    unknown = judge_readiness(facts(models=(a_finding(Severity.UNKNOWN, next_action=""),)))
    assert (unknown.state, buckets(unknown)) == (State.READY, [Bucket.MODEL_UNKNOWN])
    assert unknown.reasons[0].next_action


def test_what_a_missing_model_blocks_is_given_as_missing_after_the_model_that_is_the_cause() -> None:
    absent = good(verdict=Verdict.MISSING, status=None, blocked=True, explanation="The model again.")
    readiness = judge_readiness(facts(absent, models=(a_finding(missing=True),)))
    assert buckets(readiness) == [Bucket.MODEL_MISSING, Bucket.MISSING]


@pytest.mark.parametrize(
    ("left", "told", "words"),
    [(61 * DAY, False, ""), (59 * DAY, True, "is retired in"), (-DAY, True, "should have been retired on")],
)
def test_a_model_that_soon_ends_is_a_warning(left: timedelta, told: bool, words: str) -> None:
    retirement = Retirement(
        resource="west",
        deployment="chat",
        model="gpt-4.1",
        version="2025-04-14",
        retires_at=NOW + left,
        analyzers=("invoice",),
    )
    readiness = judge_readiness(facts(retirements=(retirement,)))
    assert readiness.state is State.READY
    assert readiness.retirements == (retirement,)
    assert (Bucket.MODEL_RETIRING in buckets(readiness)) is told
    assert words in " ".join(reason.text for reason in readiness.reasons)


@pytest.mark.parametrize(
    ("drill", "bucket", "state"),
    [
        (None, Bucket.NEVER_DRILLED, State.READY),
        (a_drill(ended_at=NOW - 46 * DAY), Bucket.DRILL_OLD, State.READY),
        (a_drill(passed=False, reason="2 left behind"), Bucket.DRILL_FAILED, State.READY),
        (
            a_drill(passed=False, recovery_seconds=None, reason="no model"),
            Bucket.DRILL_FAILED,
            State.READY,
        ),
    ],
)
def test_what_the_last_drill_proves(drill: object, bucket: Bucket, state: State) -> None:
    readiness = judge_readiness(facts(drill=drill))
    assert (readiness.state, buckets(readiness), readiness.last_drill) == (state, [bucket], drill)
    assert "standby drill p --to west" in readiness.reasons[0].next_action


def test_a_forecast_that_misses_the_objective_is_a_warning() -> None:
    plan = a_plan(objectives={"rto": "1m"})
    readiness = judge_readiness(facts(plan=plan))
    assert (readiness.state, buckets(readiness)) == (State.READY, [Bucket.RTO_AT_RISK])
    assert readiness.rto.met is False
    generous = judge_readiness(facts(plan=a_plan(objectives={"rto": "15m"})))
    assert (generous.rto.met, generous.reasons) == (True, ())


def test_a_switch_under_way_makes_it_unknown_except_to_itself() -> None:
    assignment = Assignment(active="east", phase=Phase.SWITCHING, target="west", run_id="other")
    readiness = judge_readiness(facts(assignment=assignment, epoch=3))
    assert (readiness.state, buckets(readiness)) == (State.UNKNOWN, [Bucket.SWITCH_UNDER_WAY])
    assert judge_readiness(facts(assignment=assignment, run_id="other")).state is State.READY


@pytest.mark.parametrize(
    ("phase", "target", "command"),
    [
        (Phase.ACTIVATED, "west", "standby commit p"),
        (Phase.STEADY, "west", "standby failback p"),
        (Phase.STEADY, "east", "standby failback p"),
        (Phase.STEADY, "north", "standby failback p"),
    ],
)
def test_where_the_plan_was_switched_it_says_so(phase: Phase, target: str, command: str) -> None:
    assignment = Assignment(active="west", phase=phase, previous="east", since=NOW - DAY)
    readiness = judge_readiness(facts(assignment=assignment, epoch=4, target=target, source_asked=False))
    (reason,) = [reason for reason in readiness.reasons if reason.bucket is Bucket.FENCED]
    assert reason.text.startswith("west serves for east since 2026-05-03 03:12 UTC (epoch 4)")
    assert command in reason.next_action
    assert (readiness.active, readiness.epoch, readiness.state) == ("west", 4, State.READY)


def test_a_second_failover_is_rolled_back_to_what_served_before_it() -> None:
    assignment = Assignment(active="west", phase=Phase.ACTIVATED, previous="north", since=NOW - DAY)
    readiness = judge_readiness(facts(assignment=assignment, epoch=4, target="west", source_asked=False))
    (reason,) = [reason for reason in readiness.reasons if reason.bucket is Bucket.FENCED]
    assert "roll it back with standby failover p --to north" in reason.next_action


def test_for_a_failback_neither_drills_nor_the_rpo_count() -> None:
    assignment = Assignment(active="west", previous="east")
    behind = good(verdict=Verdict.SOURCE_AHEAD, verified_at=None, source_changed=True)
    readiness = judge_readiness(
        facts(behind, plan=AN_HOUR_ALLOWED, assignment=assignment, source_asked=False, drill=None)
    )
    assert readiness.state is State.READY
    assert buckets(readiness) == [Bucket.FENCED, Bucket.STALE]
    assert "standby failback p" in readiness.reasons[0].next_action
    assert points_words(readiness).startswith("RPO: none for a failback")


def test_for_a_failback_the_primary_is_the_one_that_answers() -> None:
    assignment = Assignment(active="west", previous="east")
    back = facts(assignment=assignment, source_asked=False)
    silent = replace(back, standings=(), target_failure=Unreachable("No answer from east"))
    assert serving_words(judge_readiness(back)) == "west serves for east."
    assert serving_words(judge_readiness(silent)) == "west serves for east; judged without an answer from east."


def test_what_the_primary_still_builds_is_waited_for_by_a_failback() -> None:
    building = good(verdict=Verdict.CREATING, status="creating")
    back = facts(building, assignment=Assignment(active="west"), source_asked=False)
    (reason,) = [each for each in judge_readiness(back).reasons if each.bucket is Bucket.CREATING]
    assert "standby failback p" in reason.next_action


def test_the_worst_reason_comes_first() -> None:
    readiness = judge_readiness(
        facts(
            good("a", verdict=None, source_changed=None),
            good("b", verdict=Verdict.DIVERGED),
            drill=None,
        )
    )
    assert buckets(readiness) == [Bucket.DIVERGED, Bucket.UNVERIFIED, Bucket.NEVER_DRILLED]


moments = st.none() | st.timedeltas(timedelta(), 90 * DAY).map(lambda age: NOW - age)
standings = st.builds(
    Standing,
    analyzer=st.sampled_from("abcdef"),
    target_analyzer=st.sampled_from("abcdef"),
    verdict=st.none() | st.sampled_from(Verdict),
    status=st.none() | st.sampled_from(["ready", "creating", "deleting", "failed", "odd"]),
    verified_at=moments,
    source_changed=st.none() | st.booleans(),
    explanation=st.sampled_from(["", "It is blocked."]),
    blocked=st.booleans(),
)
failures = st.none() | st.sampled_from(
    [
        NotAuthorized("no", status=401),
        NotAuthorized("no"),
        Unreachable("no"),
        ResourceNotFound("no", ""),
        StandbyError("something else"),
    ]
)
model_facts = st.builds(
    lambda severity, action, forgiven, who: replace(
        a_finding(severity, next_action=action), forgiven=forgiven, analyzers=(who,)
    ),
    st.sampled_from(Severity),
    st.sampled_from(["", "Fix it"]),
    st.booleans(),
    st.sampled_from("abcdef"),
)
assignments = st.builds(
    Assignment,
    active=st.sampled_from(["east", "west", "north"]),
    phase=st.sampled_from(Phase),
    target=st.none() | st.sampled_from(["east", "west"]),
    run_id=st.sampled_from(["me", "other"]),
)
drills = st.none() | st.builds(
    lambda age, passed, seconds: a_drill(ended_at=NOW - age, passed=passed, recovery_seconds=seconds),
    st.timedeltas(timedelta(), 90 * DAY),
    st.booleans(),
    st.none() | st.floats(0, 100),
)
all_facts = st.builds(
    Facts,
    plan=st.sampled_from([a_plan(), AN_HOUR_ALLOWED, a_plan(objectives={"rpo": "7d", "rto": "2m"})]),
    primary=st.just("east"),
    target=st.sampled_from(["east", "west", "north"]),
    assignment=assignments,
    epoch=st.integers(0, 9),
    run_id=st.just("me"),
    now=st.just(NOW),
    source_asked=st.booleans(),
    source_failure=failures,
    target_failure=failures,
    standings=st.lists(standings, max_size=4).map(tuple),
    models=st.lists(model_facts, max_size=2).map(tuple),
    drill=drills,
    durations=st.sampled_from([Durations(), Durations(seconds={Kind.ACTIVATE: (1.0, 5.0), Kind.COPY: (3.0,)})]),
)
BADNESS = {State.READY: 0, State.UNKNOWN: 1, State.NOT_READY: 2}


@given(all_facts)
def test_anything_can_be_judged_and_every_reason_says_what_to_do(known: Facts) -> None:
    readiness = judge_readiness(known)
    for reason in readiness.reasons:
        assert reason.text
        assert reason.next_action.strip()
        assert "None" not in reason.text
    assert (readiness.state is State.READY) == all(reason.severity is Severity.WARNING for reason in readiness.reasons)
    assert Readiness.model_validate_json(readiness.model_dump_json()) == readiness


def worse(known: Facts, extra: Standing | ModelFact | StandbyError) -> Facts:
    match extra:
        case Standing():
            return replace(known, standings=(*known.standings, extra))
        case ModelFact():
            return replace(known, models=(*known.models, extra))
        case _:
            return replace(known, target_failure=known.target_failure or extra)


@given(all_facts, model_facts | failures.filter(lambda failure: failure is not None) | standings)
def test_one_fact_more_never_makes_better_what_is_not_ready(
    known: Facts, extra: Standing | ModelFact | StandbyError
) -> None:
    before = judge_readiness(known).state
    after = judge_readiness(worse(known, extra)).state
    # Of the first analyzer something is known where nothing was.
    learned = isinstance(extra, Standing) and not known.standings
    assert BADNESS[after] >= BADNESS[before] or learned


@given(all_facts, st.sampled_from([Verdict.MISSING, Verdict.DIVERGED, Verdict.FOREIGN, Verdict.TARGET_AHEAD]))
def test_whatever_else_is_so_an_analyzer_that_is_missing_or_differs_is_not_ready(
    known: Facts, verdict: Verdict
) -> None:
    bad = good("z", verdict=verdict, status=None if verdict is Verdict.MISSING else "ready")
    assert judge_readiness(worse(known, bad)).state is State.NOT_READY
