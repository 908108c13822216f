"""Judges readiness from facts: a pure function. The worst reason decides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta

from standby.config.durations import roughly
from standby.errors import StandbyError
from standby.fencing import Phase
from standby.recovery.durations import RtoForecast, forecast_rto
from standby.recovery.readiness.document import (
    AnalyzerPoint,
    Bucket,
    Facts,
    Readiness,
    Reason,
    Retirement,
    Standing,
    State,
)
from standby.recovery.readiness.wording import WORDS, Kind, Subject, rebuilt_words
from standby.replication.serving import Severity
from standby.replication.verdict import Verdict
from standby.service.errors import NotAuthorized, ServiceError
from standby.text import some_of


def point_of(standing: Standing, facts: Facts) -> AnalyzerPoint:
    """Compare the age of one copy with the plan's RPO."""
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
    """Give what is wrong with analyzers: each kind once, with all analyzers that it is true of."""
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
    """Give what the target has by the same definition, but perhaps not by the same training."""
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
    # A missing model has a reason of its own, with what to do about it.
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
    unknown = met is None and facts.plan.objectives.rpo is not None and not facts.is_failback
    return Kind(Bucket.STALE, Severity.WARNING, "unknown") if unknown else None


def _met(standing: Standing, age: float | None, facts: Facts) -> bool | None:
    objective = facts.plan.objectives.rpo
    if objective is None or facts.is_failback:
        return None  # A failback copies everything before it switches.
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
        text=f"{facts.primary} has no analyzer that the plan protects"
        if answered
        else f"No record says what {facts.primary} holds, so the readiness of {facts.destination} is unknown",
        next_action=f"Check include, exclude, tags and base of plan {facts.plan.name}"
        if answered
        else f"Run standby replicate {facts.plan.name} as soon as {facts.primary} answers",
    )


def _reason(kind: Kind, standings: Sequence[Standing], facts: Facts) -> Reason:
    names = tuple(sorted(standing.analyzer for standing in standings))
    text, action = WORDS[kind.bucket](Subject(kind, names, standings, facts))
    return Reason(bucket=kind.bucket, severity=kind.severity, text=text, next_action=action, analyzers=names)


DRILL_AGE = timedelta(days=45)
"""A drill that is older proves little: there should be one a month."""

RETIREMENT_NOTICE = timedelta(days=60)
"""How long before a model ends there is a warning."""


def assignment_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what the fence says that matters for a failover."""
    assignment, plan = facts.assignment, facts.plan.name
    if assignment.phase is Phase.SWITCHING and assignment.run_id != facts.run_id:
        to = assignment.target or facts.target
        yield Reason(
            bucket=Bucket.SWITCH_UNDER_WAY,
            severity=Severity.UNKNOWN,
            text=f"A switch from {assignment.active} to {to} has not ended (run {assignment.run_id})",
            next_action=f"Wait until it ends; if it was interrupted, run standby failover {plan} --to {to} again",
        )
    if not facts.switched:
        return
    since = f" since {assignment.since:%Y-%m-%d %H:%M} UTC" if assignment.since else ""
    served = f"{assignment.active} serves for {facts.primary}{since} (epoch {facts.epoch})"
    if not facts.is_failback:
        yield _fenced(
            f"{served}; nothing is copied to {facts.target} until the failback",
            f"Fail back with standby failback {plan}",
        )
    elif assignment.phase is Phase.ACTIVATED:
        yield _fenced(
            f"{served}; this failover is not committed",
            f"Commit it with standby commit {plan}, or roll it back with standby failover {plan} --to {facts.primary}",
        )
    else:
        yield _fenced(
            f"{served}; this readiness is that of {facts.primary} for a failback",
            f"Fail back with standby failback {plan}",
        )


def resource_reasons(facts: Facts) -> Iterator[Reason]:
    """Give who did not answer, which models are missing and which will end."""
    if facts.target_failure is not None:
        yield _of_target(facts.target_failure, facts)
    if facts.source_failure is not None:
        yield _of_source(facts.source_failure, facts)
    for fact in facts.models:
        finding = fact.finding
        forbids = finding.severity is Severity.ERROR and not fact.forgiven
        yield Reason(
            bucket=Bucket.MODEL_UNKNOWN if finding.severity is Severity.UNKNOWN else Bucket.MODEL_MISSING,
            severity=Severity.ERROR if forbids else Severity.WARNING,
            text=f"{finding.cause} (needed by {some_of(fact.analyzers)})",
            next_action=finding.next_action or f"Check whether deployment {finding.deployment} can serve them as well",
            analyzers=fact.analyzers,
        )
    for retirement in facts.retirements:
        left = retirement.retires_at - facts.now
        if left <= RETIREMENT_NOTICE:
            yield _retiring(retirement, left)


def drill_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what the last drill does not prove."""
    if facts.is_failback:
        return
    command = f"standby drill {facts.plan.name} --to {facts.target}"
    drill = facts.drill
    if drill is None:
        yield Reason(
            bucket=Bucket.NEVER_DRILLED,
            severity=Severity.WARNING,
            text=f"No drill has tested a failover to {facts.target} yet",
            next_action=f"Run {command}",
        )
        return
    age = facts.now - drill.ended_at
    if not drill.passed:
        # What is wrong with the target now has a reason of its own; an old failure alone must not stop a failover.
        yield Reason(
            bucket=Bucket.DRILL_FAILED,
            severity=Severity.WARNING,
            text=f"The last drill at {facts.target} failed {roughly(age)} ago: {drill.reason.rstrip('.')}",
            next_action=f"Fix the cause, then run {command}",
        )
    elif age > DRILL_AGE:
        yield Reason(
            bucket=Bucket.DRILL_OLD,
            severity=Severity.WARNING,
            text=f"The last drill at {facts.target} was {roughly(age)} ago",
            next_action=f"Run {command}",
        )


def _fenced(text: str, next_action: str) -> Reason:
    return Reason(bucket=Bucket.FENCED, severity=Severity.WARNING, text=text, next_action=next_action)


def _of_target(failure: StandbyError, facts: Facts) -> Reason:
    if isinstance(failure, NotAuthorized):
        # Without a status there was no token: that says nothing about the resource.
        severity = Severity.ERROR if failure.status is not None else Severity.UNKNOWN
    else:
        passes = isinstance(failure, ServiceError) and failure.transient
        severity = Severity.UNKNOWN if passes else Severity.ERROR
    return Reason(
        bucket=Bucket.PERMISSION if isinstance(failure, NotAuthorized) else Bucket.UNREACHABLE,
        severity=severity,
        text=f"What {facts.destination} holds could not be read: {failure.cause}",
        next_action=failure.next_action or f"See standby doctor {facts.plan.name}",
    )


def _of_source(failure: StandbyError, facts: Facts) -> Reason:
    # Only a warning: a source that does not answer is what a failover is for.
    return Reason(
        bucket=Bucket.PERMISSION if isinstance(failure, NotAuthorized) else Bucket.SOURCE_UNREACHABLE,
        severity=Severity.WARNING,
        text=f"What {facts.primary} holds could not be read, so records are used instead: {failure.cause}",
        next_action=failure.next_action or f"See standby doctor {facts.plan.name}",
    )


def _retiring(retirement: Retirement, left: timedelta) -> Reason:
    model = f"{retirement.model} {retirement.version}".strip()
    day = f"{retirement.retires_at:%Y-%m-%d}"
    what = f"{model}, which deployment {retirement.deployment} at {retirement.resource} serves,"
    ends = "was to be retired on" if left <= timedelta() else f"is retired in {roughly(left)}, on"
    return Reason(
        bucket=Bucket.MODEL_RETIRING,
        severity=Severity.WARNING,
        text=f"{what} {ends} {day}",
        next_action=f"Deploy a newer version at {retirement.resource} and run a drill with it",
        analyzers=retirement.analyzers,
    )


_WORST_FIRST = (Severity.ERROR, Severity.UNKNOWN, Severity.WARNING)
_BUCKETS = tuple(Bucket)


def judge_readiness(facts: Facts) -> Readiness:
    """Say whether the target could take over, and why not."""
    objective = facts.plan.objectives.rpo
    missing = tuple(each.analyzer for each in facts.standings if each.status != "ready")
    rto = forecast_rto(facts.plan, facts.durations, len(missing), facts.slots)
    found = [
        *assignment_reasons(facts),
        *resource_reasons(facts),
        *analyzer_reasons(facts),
        *rebuilt_reasons(facts),
        *drill_reasons(facts),
        *_forecast_reasons(rto),
    ]
    return Readiness(
        plan=facts.plan.name,
        primary=facts.primary,
        target=facts.target,
        active=facts.assignment.active,
        epoch=facts.epoch,
        state=state_of(found),
        reasons=tuple(sorted(found, key=_rank)),
        points=tuple(point_of(each, facts) for each in facts.standings),
        rto=rto,
        rpo_seconds=objective.total_seconds() if objective else None,
        retirements=tuple(sorted(facts.retirements, key=lambda each: (each.retires_at, each.deployment))),
        last_drill=facts.drill,
        assessed_at=facts.now,
        source_answered=_source_answered(facts),
        missing=missing,
        names=facts.names,
    )


def _source_answered(facts: Facts) -> bool:
    if facts.is_failback:
        return facts.target_failure is None
    return facts.source_asked and facts.source_failure is None


def state_of(reasons: Iterable[Reason]) -> State:
    """Give the state that the worst of some reasons makes."""
    severities = {reason.severity for reason in reasons}
    if Severity.ERROR in severities:
        return State.NOT_READY
    return State.UNKNOWN if Severity.UNKNOWN in severities else State.READY


def _forecast_reasons(rto: RtoForecast) -> Iterable[Reason]:
    if rto.met is False and rto.high is not None and rto.objective is not None:
        yield Reason(
            bucket=Bucket.RTO_AT_RISK,
            severity=Severity.WARNING,
            text=f"A failover may take {rto.high:.0f} s, and the plan allows {rto.objective:.0f} s",
            next_action="Probe more often (failover.probe_every), or replicate more often so that less has to be "
            "restored; standby status shows how long each part takes",
        )


def _rank(reason: Reason) -> tuple[int, int, str]:
    return _WORST_FIRST.index(reason.severity), _BUCKETS.index(reason.bucket), reason.text
