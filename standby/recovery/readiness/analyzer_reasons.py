"""Reasons that are about analyzers: what an application would notice after a switch.

What is missing or does not work fails; what differs answers otherwise. A copy that is merely behind its
source answers as the source did until lately: that is what the recovery point objective is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from standby.recovery.readiness.analyzer_words import WORDS, Kind, Told, rebuilt_words
from standby.recovery.readiness.document import AnalyzerPoint, Bucket, Reason
from standby.recovery.readiness.facts import Facts, Standing
from standby.replication.serving import Severity
from standby.replication.verdict import Verdict


def point_of(standing: Standing, facts: Facts) -> AnalyzerPoint:
    """Hold what is there of one analyzer against the plan's RPO."""
    since = standing.verified_at
    age = None if since is None else max(0.0, (facts.now - since).total_seconds())
    return AnalyzerPoint(
        analyzer=standing.analyzer,
        verified_at=since,
        age_seconds=age,
        source_changed=standing.source_changed,
        met=_met(standing, age, facts),
    )


def analyzer_reasons(facts: Facts) -> Iterator[Reason]:
    """Tell what is wrong with analyzers, each kind once with all that it goes for."""
    if not facts.standings and facts.target_failure is None:
        yield _nothing_known(facts)
    unserved = {
        name
        for fact in facts.models
        for name in fact.analyzers
        if fact.finding.severity is Severity.ERROR and not fact.forgiven
    }
    kinds: dict[Kind, list[Standing]] = {}
    for standing in facts.standings:
        if (kind := _kind(standing, facts, unserved)) is not None:
            kinds.setdefault(kind, []).append(standing)
    for kind, standings in kinds.items():
        yield _reason(kind, standings, facts)


def rebuilt_reasons(facts: Facts) -> Iterator[Reason]:
    """Tell what the target has by the same definition, and perhaps not by the same training."""
    if facts.rebuilt:
        text, action = rebuilt_words(facts)
        yield Reason(
            bucket=Bucket.REBUILT,
            severity=Severity.WARNING,
            text=text,
            next_action=action,
            analyzers=facts.rebuilt,
        )


_BY_VERDICT = {
    Verdict.TARGET_AHEAD: Kind(Bucket.EDITED, Severity.ERROR),
    Verdict.DIVERGED: Kind(Bucket.DIVERGED, Severity.ERROR),
    Verdict.FOREIGN: Kind(Bucket.FOREIGN, Severity.ERROR),
    None: Kind(Bucket.UNVERIFIED, Severity.UNKNOWN),
}


def _kind(standing: Standing, facts: Facts, unserved: Collection[str]) -> Kind | None:
    # A missing model is told by itself, with what mends it.
    hindered = standing.blocked and standing.analyzer not in unserved
    if standing.status != "ready":
        return _unusable(standing, hindered=hindered)
    if standing.verdict in _BY_VERDICT:
        return _BY_VERDICT[standing.verdict]
    if hindered and standing.verdict is not Verdict.SOURCE_AHEAD:
        return Kind(Bucket.BLOCKED, Severity.ERROR, standing.explanation)
    return _behind(standing, facts)


def _unusable(standing: Standing, *, hindered: bool) -> Kind:
    if standing.status in {None, "deleting"}:
        if hindered:
            return Kind(Bucket.BLOCKED, Severity.ERROR, standing.explanation)
        return Kind(Bucket.MISSING, Severity.ERROR)
    return Kind(Bucket.CREATING if standing.status == "creating" else Bucket.BROKEN, Severity.ERROR)


def _behind(standing: Standing, facts: Facts) -> Kind | None:
    met = point_of(standing, facts).met
    if met is False:
        return Kind(Bucket.RPO_MISSED, Severity.ERROR)
    if standing.source_changed or standing.verdict is Verdict.SOURCE_AHEAD:
        return Kind(Bucket.STALE, Severity.WARNING)
    untold = met is None and facts.plan.objectives.rpo is not None and not facts.is_way_back
    return Kind(Bucket.STALE, Severity.WARNING, "untold") if untold else None


def _met(standing: Standing, age: float | None, facts: Facts) -> bool | None:
    objective = facts.plan.objectives.rpo
    if objective is None or facts.is_way_back:
        return None  # On the way back everything is brought along before the switch.
    if standing.source_changed is False:
        return True
    if age is not None and age <= objective.total_seconds():
        return True
    return False if standing.source_changed else None


def _nothing_known(facts: Facts) -> Reason:
    answered = facts.source_asked and facts.source_failure is None
    return Reason(
        bucket=Bucket.NOTHING_KNOWN,
        severity=Severity.UNKNOWN,
        text=f"{facts.home} has no analyzer that the plan protects"
        if answered
        else f"Nothing is recorded of what {facts.home} holds, so nothing can be told of {facts.destination}",
        next_action=f"See include, exclude, tags and base of plan {facts.plan.name}"
        if answered
        else f"Run standby replicate {facts.plan.name} as soon as {facts.home} answers",
    )


def _reason(kind: Kind, standings: Sequence[Standing], facts: Facts) -> Reason:
    names = tuple(sorted(standing.analyzer for standing in standings))
    text, action = WORDS[kind.bucket](Told(kind, names, standings, facts))
    return Reason(bucket=kind.bucket, severity=kind.severity, text=text, next_action=action, analyzers=names)
