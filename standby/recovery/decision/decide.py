"""The decision: act, wait or refuse, as a pure function of a case."""

from __future__ import annotations

from standby.recovery.decision.evidence import Evidence, proved_at, weigh
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
    Case,
    Decision,
    Guard,
    GuardResult,
    Outcome,
    Verdict,
)

_STOPPING = frozenset({Verdict.WAIT, Verdict.REFUSE})
_OF_THE_STANDBY = frozenset({Guard.STANDBY_HEALTH, Guard.READINESS, Guard.STALENESS})


def decide(case: Case) -> Decision:
    """Decide a case. The same case always comes to the same decision.

    The first candidate that could serve is judged; where none could, the first that may soon, or the first.
    """
    evidence = weigh(case.observations, case.active, case.asked_at, case.policy)
    candidate, fitness = _choose(case)
    to = candidate.resource if candidate is not None else None
    results = [off_switch(case), already_active(case, to), one_at_a_time(case, to), cool_down(case)]
    results += _of_the_source(case, evidence)
    results += fitness
    reasons = tuple(_forced(case, result) for result in results)
    proof = proved_at(evidence, case.policy) if case.requested_by == "outage" else None
    return Decision(
        outcome=_outcome(reasons),
        needs_approval=case.requested_by == "outage" and not case.policy.automatic,
        to=to,
        reasons=reasons,
        detected_at=min(proof, case.asked_at) if proof is not None else None,
        unhealthy_since=evidence.since,
    )


def _of_the_source(case: Case, evidence: Evidence) -> list[GuardResult]:
    if case.requested_by == "outage":
        return [quorum(case, evidence), minimum_outage(case, evidence), observers_agree(case, evidence)]
    return [source_answers(case, evidence)] if case.planned else []


def _choose(case: Case) -> tuple[Candidate | None, list[GuardResult]]:
    judged = [(candidate, _of_the_standby(case, candidate)) for candidate in case.candidates]
    for stopping in (_STOPPING, frozenset({Verdict.REFUSE})):
        for candidate, results in judged:
            if not any(_forced(case, result).verdict in stopping for result in results):
                return candidate, results
    return judged[0] if judged else (None, [])


def _of_the_standby(case: Case, candidate: Candidate) -> list[GuardResult]:
    return [standby_health(case, candidate), readiness(case, candidate), staleness(case, candidate)]


def _forced(case: Case, result: GuardResult) -> GuardResult:
    if result.verdict in _STOPPING and result.guard in case.forced and result.guard not in NEVER_FORCED:
        return result.model_copy(update={"verdict": Verdict.FORCED})
    return result


def _outcome(reasons: tuple[GuardResult, ...]) -> Outcome:
    """While an outage is not proved, what is wrong with the standby side settles nothing."""
    refusing = {result.guard for result in reasons if result.verdict is Verdict.REFUSE}
    if refusing - _OF_THE_STANDBY:
        return Outcome.REFUSE
    if any(result.verdict is Verdict.WAIT for result in reasons):
        return Outcome.WAIT
    return Outcome.REFUSE if refusing else Outcome.ACT
