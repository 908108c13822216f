"""Whether somebody is asked for an approval, by what the log says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import FailoverPolicy
from standby.recovery.audit import AuditAction
from standby.recovery.chain import AuditLine
from standby.recovery.decision.automation import why_not_propose

NOW = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)
POLICY = FailoverPolicy(approval_timeout=timedelta(minutes=30), cool_down=timedelta(hours=1))


def line(action: AuditAction, ago: timedelta, run: str = "first", primary: str = "east", **facts: Any) -> AuditLine:
    return AuditLine(
        sequence=1,
        at=NOW - ago,
        plan="p",
        action=action.value,
        actor="a",
        via="prefect",
        run_id=run,
        epoch=0,
        facts={"home": primary, **facts},
        previous="",
        digest="",
    )


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_without_a_proposal_somebody_may_be_asked() -> None:
    assert why_not_propose([], "east", NOW, POLICY) == ""
    assert why_not_propose([line(AuditAction.DECIDED, minutes(1))], "east", NOW, POLICY) == ""


def test_one_question_at_a_time_is_enough() -> None:
    waiting = [line(AuditAction.PROPOSED, minutes(10))]
    assert "waits for its approval in flow run first" in why_not_propose(waiting, "east", NOW, POLICY)
    assert why_not_propose(waiting, "north", NOW, POLICY) == ""


def test_a_run_that_died_while_it_waited_keeps_nobody_from_asking_for_ever() -> None:
    assert why_not_propose([line(AuditAction.PROPOSED, minutes(31))], "east", NOW, POLICY) == ""


@pytest.mark.parametrize("ago", [1, 59])
def test_a_no_counts_for_the_cool_down(ago: int) -> None:
    lines = [
        line(AuditAction.PROPOSED, minutes(ago + 5)),
        line(AuditAction.REJECTED, minutes(ago), answered=True, comment="maintenance"),
    ]
    told = why_not_propose(lines, "east", NOW, POLICY)
    assert "was rejected" in told
    assert told.endswith(": maintenance")


def test_after_the_cool_down_and_where_nobody_answered_it_is_asked_again() -> None:
    rejected = [line(AuditAction.PROPOSED, minutes(70)), line(AuditAction.REJECTED, minutes(61), answered=True)]
    unanswered = [line(AuditAction.PROPOSED, minutes(31)), line(AuditAction.REJECTED, minutes(1), answered=False)]
    assert why_not_propose(rejected, "east", NOW, POLICY) == ""
    assert why_not_propose(unanswered, "east", NOW, POLICY) == ""


def test_an_approval_ends_the_wait() -> None:
    lines = [line(AuditAction.PROPOSED, minutes(10)), line(AuditAction.APPROVED, minutes(1))]
    assert why_not_propose(lines, "east", NOW, POLICY) == ""


@given(
    st.lists(
        st.tuples(
            st.sampled_from([AuditAction.PROPOSED, AuditAction.APPROVED, AuditAction.REJECTED, AuditAction.DECIDED]),
            st.floats(0, 300),
            st.sampled_from(["first", "second"]),
            st.sampled_from(["east", "north"]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_in_the_end_somebody_is_always_asked_again(drawn: list[tuple[AuditAction, float, str, str, bool]]) -> None:
    """Silence about a source, for as long as either time lasts, leaves no reason not to ask."""
    lines = [
        line(action, minutes(ago), run, primary, answered=answered)
        for action, ago, run, primary, answered in sorted(drawn, key=lambda each: -each[1])
    ]
    later = NOW + max(POLICY.cool_down, POLICY.approval_timeout)
    assert why_not_propose(lines, "east", later, POLICY) == ""
    others = [each for each in lines if each.facts["home"] == "east"]
    assert why_not_propose(lines, "east", NOW, POLICY) == why_not_propose(others, "east", NOW, POLICY)
