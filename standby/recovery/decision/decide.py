"""The decision: act, wait or refuse, as a pure function of its input."""

from __future__ import annotations

from standby.recovery.decision.evidence import OutageEvidence, proved_at, weigh
from standby.recovery.decision.guards import (
    already_active,
    cool_down,
    minimum_outage,
    observers_agree,
    off_switch,
    one_at_a_time,
    quorum,
    readiness,
    source_answers,
    staleness,
    standby_health,
)
from standby.recovery.decision.input import (
    NEVER_FORCED,
    Candidate,
    Decision,
    DecisionInput,
    Guard,
    GuardOutcome,
    GuardResult,
    Outcome,
)

_STOPPING = frozenset({GuardOutcome.WAIT, GuardOutcome.REFUSE})
_OF_THE_TARGET = frozenset({Guard.STANDBY_HEALTH, Guard.READINESS, Guard.STALENESS})


def decide(given: DecisionInput) -> Decision:
    """Decide. The same input always leads to the same decision.

    The first candidate that could serve is judged; where none could, the first that may soon; otherwise the first.
    """
    evidence = weigh(given.observations, given.active, given.asked_at, given.policy)
    candidate, fitness = _choose(given)
    to = candidate.resource if candidate is not None else None
    results = [off_switch(given), already_active(given, to), one_at_a_time(given, to), cool_down(given)]
    results += _of_the_source(given, evidence)
    results += fitness
    reasons = tuple(_forced(given, result) for result in results)
    proof = proved_at(evidence, given.policy) if given.requested_by == "outage" else None
    return Decision(
        outcome=_outcome(reasons),
        needs_approval=given.requested_by == "outage" and not given.policy.automatic,
        to=to,
        reasons=reasons,
        detected_at=min(proof, given.asked_at) if proof is not None else None,
        unhealthy_since=evidence.since,
    )


def _of_the_source(given: DecisionInput, evidence: OutageEvidence) -> list[GuardResult]:
    if given.requested_by == "outage":
        return [quorum(given, evidence), minimum_outage(given, evidence), observers_agree(given, evidence)]
    return [source_answers(given, evidence)] if given.planned else []


def _choose(given: DecisionInput) -> tuple[Candidate | None, list[GuardResult]]:
    judged = [(candidate, _of_the_target(given, candidate)) for candidate in given.candidates]
    for stopping in (_STOPPING, frozenset({GuardOutcome.REFUSE})):
        for candidate, results in judged:
            if not any(_forced(given, result).outcome in stopping for result in results):
                return candidate, results
    return judged[0] if judged else (None, [])


def _of_the_target(given: DecisionInput, candidate: Candidate) -> list[GuardResult]:
    return [standby_health(given, candidate), readiness(given, candidate), staleness(given, candidate)]


def _forced(given: DecisionInput, result: GuardResult) -> GuardResult:
    if result.outcome in _STOPPING and result.guard in given.forced and result.guard not in NEVER_FORCED:
        return result.model_copy(update={"outcome": GuardOutcome.FORCED})
    return result


def _outcome(reasons: tuple[GuardResult, ...]) -> Outcome:
    """While an outage is not proved, problems of the target do not count."""
    refusing = {result.guard for result in reasons if result.outcome is GuardOutcome.REFUSE}
    if refusing - _OF_THE_TARGET:
        return Outcome.REFUSE
    if any(result.outcome is GuardOutcome.WAIT for result in reasons):
        return Outcome.WAIT
    return Outcome.REFUSE if refusing else Outcome.ACT
