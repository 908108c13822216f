"""When an outage began: between the last healthy look and the first that failed; an order says nothing about that."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.audit import AuditAction, record_action
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import Decision, FailoverRequest
from standby.recovery.decision.record import DecisionRecord, as_approved, as_decided, first_asked
from standby.recovery.probe import Observation
from standby.vault.folder import LocalFolder
from tests.standby.recovery.bare import bare_context
from tests.standby.recovery.decision.cases import NOW, PROVED, an_input, look
from tests.standby.vault.world import HandClock

LATER = NOW + timedelta(minutes=5)


def a_record(*observations: Observation, asked_at: timedelta = timedelta(), by: str = "outage") -> DecisionRecord:
    made = an_input(observations, requested_by=by, asked_at=NOW + asked_at)
    return DecisionRecord(
        id="p-20260131T031402Z-1a2b", recorded_at=NOW, actor="a", via="direct", version="1", given=made,
        decision=decide(made),
    )  # fmt: skip


def test_an_outage_began_after_the_last_healthy_look() -> None:
    decision = decide(an_input((look(121, healthy=True), look(91, healthy=True), *PROVED)))
    assert decision.healthy_until == NOW - timedelta(seconds=91)
    assert decision.unhealthy_since == NOW - timedelta(seconds=61)


def test_a_look_that_could_not_tell_is_no_healthy_look() -> None:
    decision = decide(an_input((look(91, healthy=True), look(71, healthy=None), *PROVED)))
    assert decision.healthy_until == NOW - timedelta(seconds=91)


def test_where_nobody_looked_for_long_the_last_healthy_look_still_counts() -> None:
    decision = decide(an_input((look(3600, healthy=True), *PROVED)))
    assert decision.healthy_until == NOW - timedelta(hours=1)


def test_without_a_healthy_look_it_is_not_known_when_it_began_at_the_earliest() -> None:
    assert decide(an_input()).healthy_until is None


def test_an_order_says_nothing_about_when_an_outage_began() -> None:
    observations = (look(91, healthy=True), *PROVED)
    record = a_record(*observations, by="operator")
    request = as_decided(FailoverRequest(), record)
    assert (record.decision.unhealthy_since, record.decision.healthy_until) == (None, None)
    assert (request.unhealthy_since, request.healthy_until, request.detected_at) == (None, None, None)


def test_a_decision_of_an_earlier_version_without_the_last_healthy_look_replays_to_the_same() -> None:
    decision = decide(an_input((look(91, healthy=True), *PROVED)))
    earlier = Decision.model_validate(decision.model_dump(exclude={"healthy_until"}))
    assert earlier.healthy_until is None
    assert decision.is_same_as(earlier)


def test_an_approved_failover_was_detected_by_its_proposal() -> None:
    proposed = a_record(look(91, healthy=True), *PROVED)
    # Meanwhile nobody looked for some minutes, and the old looks are forgotten.
    again = a_record(*(look(ago - 300) for ago in (61, 31, 1)), asked_at=timedelta(minutes=5))
    request = as_approved(FailoverRequest(), proposed, again, LATER - timedelta(seconds=2))
    assert request.detected_at == NOW
    assert request.approved_at == LATER - timedelta(seconds=2)
    assert request.healthy_until == NOW - timedelta(seconds=91)
    assert request.unhealthy_since == NOW - timedelta(seconds=61)


def test_the_wait_counts_from_the_first_proposal_where_nobody_answered_it() -> None:
    proposed = a_record(look(91, healthy=True), *PROVED)
    asked = NOW - timedelta(seconds=20)
    request = as_approved(FailoverRequest(), proposed, proposed, LATER, asked)
    assert (request.detected_at, request.approved_at) == (asked, LATER)


async def test_the_first_proposal_of_the_same_outage_is_found_in_the_audit_log(tmp_path: Path) -> None:
    clock = HandClock()
    context = bare_context(LocalFolder(tmp_path), clock, None)
    times = []
    for _ in range(3):
        times.append(clock.now())
        await record_action(context, AuditAction.PROPOSED, {"home": "east"}, epoch=0)
        await record_action(context, AuditAction.PROPOSED, {"home": "another"}, epoch=0)
        clock.seconds += 1800
    record = a_record(*PROVED)
    healthy = record.decision.model_copy(update={"healthy_until": times[0] + timedelta(seconds=5)})
    assert await first_asked(context, record.model_copy(update={"decision": healthy})) == times[1]
    assert await first_asked(context, record) is None


def test_another_outage_during_the_wait_has_its_own_beginning_and_no_wait() -> None:
    proposed = a_record(look(91, healthy=True), *PROVED)
    again = a_record(look(-120, healthy=True), *(look(ago - 300) for ago in (61, 31, 1)), asked_at=timedelta(minutes=5))
    request = as_approved(FailoverRequest(), proposed, again, LATER)
    assert request.approved_at is None
    assert request.detected_at == LATER
    assert request.healthy_until == NOW + timedelta(seconds=120)


looks = st.lists(
    st.builds(
        look,
        st.floats(0, 600),
        st.sampled_from([True, False, None]),
        st.sampled_from(["watch@desk", "evaluation@desk", "watch@shed"]),
    ),
    max_size=12,
)


@given(looks)
def test_the_last_healthy_look_is_never_after_the_first_that_failed(observations: list[Observation]) -> None:
    decision = decide(an_input(observations))
    if decision.healthy_until is not None:
        assert decision.unhealthy_since is not None
        assert decision.healthy_until <= decision.unhealthy_since
