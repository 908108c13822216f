"""The guards of the side that is to take over: whether it answers, is ready, and is not too old."""

from __future__ import annotations

from datetime import datetime

from standby.config.durations import roughly
from standby.recovery.decision.case import Candidate, Case, CopyAge, Fitness, Restorable
from standby.recovery.decision.verdict import Guard, GuardResult, Verdict, says
from standby.recovery.snapshots.restore_items import Fidelity

SHOWN = 3
"""So many analyzers or reasons are named; the rest is counted."""


def standby_health(case: Case, candidate: Candidate) -> GuardResult:
    """Ask whether it answers now. An outage waits for it, an operator is told at once."""
    seen = candidate.observation
    if seen is not None and seen.healthy:
        return says(Guard.STANDBY_HEALTH, Verdict.PASS, f"{candidate.resource} is healthy")
    told = "was not looked at" if seen is None else f"is not known to be healthy: {seen.summary}"
    if seen is not None and seen.healthy is False:
        told = f"is unhealthy: {seen.summary}"
    verdict = Verdict.REFUSE if case.requested_by == "operator" else Verdict.WAIT
    return says(Guard.STANDBY_HEALTH, verdict, f"{candidate.resource} {told}")


def readiness(case: Case, candidate: Candidate) -> GuardResult:
    """Ask whether it has what it needs, or will have it once the switch has restored what it lacks.

    Where it does not answer, that is not known yet.
    """
    fitness = candidate.fitness
    if fitness is None:
        verdict = Verdict.REFUSE if case.requested_by == "operator" else Verdict.WAIT
        return says(Guard.READINESS, verdict, f"it is not known whether {candidate.resource} is ready")
    if fitness.state == "ready":
        return says(Guard.READINESS, Verdict.PASS, f"{candidate.resource} is ready")
    if needed := _to_be_restored(fitness):
        return _after_a_restore(candidate.resource, needed)
    told = "is not ready" if fitness.state == "not_ready" else "is not known to be ready"
    reasons = _some(fitness.reasons, "; ")
    text = f"{candidate.resource} {told}{': ' + reasons if reasons else ''}"
    return says(Guard.READINESS, Verdict.REFUSE, text)


def staleness(case: Case, candidate: Candidate) -> GuardResult:
    """Ask whether a copy is too old to serve: one that nobody can say is still what its source is."""
    limit = case.policy.staleness
    fitness = candidate.fitness or Fitness(state="unknown")
    copies = fitness.copies
    kept = {each.analyzer: each.seen_at for each in fitness.restorable}
    stale = [copy for copy in copies if _is_stale(case, copy, kept.get(copy.analyzer))]
    if stale:
        names = _some([copy.analyzer for copy in stale], ", ")
        text = f"{len(stale)} of {len(copies)} copies were not verified within {roughly(limit)}: {names}"
        return says(Guard.STALENESS, Verdict.REFUSE, text)
    text = f"{len(copies)} copies are younger than {roughly(limit)}, or their source has not changed"
    return says(Guard.STALENESS, Verdict.PASS, text)


def _to_be_restored(fitness: Fitness) -> list[Restorable]:
    """Give what a restore would have to rebuild; nothing where that would not make the target ready."""
    kept = {each.analyzer: each for each in fitness.restorable}
    if not kept.keys() >= set(fitness.lacking):
        return []
    return [kept[name] for name in fitness.lacking]


def _after_a_restore(resource: str, needed: list[Restorable]) -> GuardResult:
    lost = "1 analyzer" if len(needed) == 1 else f"{len(needed)} analyzers"
    oldest = min(needed, key=lambda each: each.seen_at)
    snapshot = f"snapshot {oldest.snapshot} of {oldest.seen_at:%Y-%m-%d %H:%M} UTC"
    has = f"{resource} lacks {lost}, which {snapshot} has"
    unfaithful = [each for each in needed if each.fidelity is Fidelity.UNFAITHFUL]
    if not unfaithful:
        return says(Guard.READINESS, Verdict.PASS, has)
    names = _some([each.analyzer for each in unfaithful], ", ")
    doubt = unfaithful[0].doubt.rstrip(".")
    text = f"{has}, but {names} would be unfaithful{': ' + doubt if doubt else ''}"
    return says(Guard.READINESS, Verdict.REFUSE, text)


def _is_stale(case: Case, copy: CopyAge, kept_at: datetime | None) -> bool:
    if copy.source_changed is False:
        return False
    # What the target lacks becomes as old as the snapshot that it is restored from.
    since = kept_at or copy.verified_at
    return since is None or case.asked_at - since > case.policy.staleness


def _some(names: list[str] | tuple[str, ...], between: str) -> str:
    more = len(names) - SHOWN
    shown = between.join(name.rstrip(".") for name in names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
