"""Judges readiness from facts: a pure function. The worst reason decides."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from standby.config.durations import roughly
from standby.errors import StandbyError
from standby.fencing import Phase
from standby.recovery.audit import HOW_TO_GO_ON
from standby.recovery.proof.records import Verdict as ByDocument
from standby.recovery.readiness.document import AnalyzerPoint, Bucket, Facts, Readiness, Reason, Standing, State
from standby.recovery.readiness.wording import WORDS, Kind, Subject, missing_words, proof_reason_words, rebuilt_words
from standby.recovery.runs import Restoring, RtoForecast, forecast_rto
from standby.replication.needs import Severity
from standby.replication.verdict import Verdict
from standby.service import errors
from standby.text import lasting, some_of
from standby.vault.replica import ReplicaState


def point_of(standing: Standing, facts: Facts) -> AnalyzerPoint:
    """Compare the age of one copy with the plan's RPO; what would be restored is as old as the snapshot."""
    restoring = facts.restoring
    lost = restoring.lost.get(standing.analyzer, "") if restoring else ""
    restored = restoring is not None and standing.analyzer in restoring.needs
    if restoring is not None and (lost or restored):
        seen_at = restoring.seen_at if restored else None
        standing = replace(standing, verified_at=seen_at, source_changed=True if lost else None)
    since = standing.verified_at
    age = None if since is None else max(0.0, (facts.now - since).total_seconds())
    return AnalyzerPoint(
        analyzer=standing.analyzer,
        verified_at=since,
        age_seconds=age,
        source_changed=standing.source_changed,
        met=_met(standing, age, facts),
        at_least=since is not None and not _source_answered(facts),
        restored=restored,
        lost=lost,
    )


def analyzer_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what is wrong with analyzers: each kind once, with all analyzers that it is true of."""
    if not facts.standings and facts.target_failure is None:
        yield _nothing_known(facts)
    wrong = [each for each in facts.models if each.finding.severity is Severity.ERROR and not each.forgiven]
    unserved = {name for fact in wrong for name in fact.analyzers}
    kinds: dict[Kind, list[Standing]] = {}
    for standing in facts.standings:
        if (kind := _kind(standing, facts, unserved)) is not None:
            kinds.setdefault(kind, []).append(standing)
    for kind, standings in kinds.items():
        names = tuple(sorted(standing.analyzer for standing in standings))
        text, action = WORDS[kind.bucket](Subject(kind, names, standings, facts))
        yield _reason(kind.bucket, text, action, severity=kind.severity, analyzers=names)
    if facts.rebuilt:
        yield _reason(Bucket.REBUILT, *rebuilt_words(facts), analyzers=facts.rebuilt)
    if facts.gone:
        active, plan = facts.assignment.active, facts.plan.name
        was, is_ = ("was", "is") if len(facts.gone) == 1 else ("were", "are")
        text = (
            f"{some_of(facts.gone)} {was} at {active}, which serves for {facts.primary}, and {is_} not there any more"
        )
        action = (
            f"Rebuild from a snapshot with standby restore {plan} --to {active}; "
            f"if it was removed on purpose, record that with standby snapshot {plan}"
        )
        yield _reason(Bucket.MISSING, text, action, severity=Severity.ERROR, analyzers=facts.gone)


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
    if standing.unusable_children:
        return Kind(Bucket.CHILD, Severity.ERROR, some_of(standing.unusable_children))
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
        return None  # A failback copies everything before the primary serves.
    if standing.source_changed is False:
        return True
    if age is not None and age <= objective.total_seconds():
        return True
    return False if standing.source_changed else None


def _nothing_known(facts: Facts) -> Reason:
    primary, plan = facts.primary, facts.plan.name
    if facts.source_asked and facts.source_failure is None:
        text = f"{primary} has no analyzer that the plan selects"
        action = f"Check include, exclude, tags and base of plan {plan}"
    else:
        text = f"No record says which analyzers {primary} has, so the readiness of {facts.destination} is unknown"
        action = f"Run standby replicate {plan} as soon as {primary} answers"
    return _reason(Bucket.NOTHING_KNOWN, text, action, severity=Severity.UNKNOWN)


def _reason(
    bucket: Bucket,
    text: str,
    next_action: str,
    *,
    severity: Severity = Severity.WARNING,
    analyzers: tuple[str, ...] = (),
) -> Reason:
    return Reason(bucket=bucket, severity=severity, text=text, next_action=next_action, analyzers=analyzers)


DRILL_AGE = timedelta(days=45)  # A drill that is older proves little: there should be one a month
RETIREMENT_NOTICE = timedelta(days=60)  # How long before a model ends there is a warning


def assignment_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what the fence says that matters for a failover, and whether fence and audit log can be relied on."""
    assignment, plan, primary = facts.assignment, facts.plan.name, facts.primary
    if facts.records_lost:
        yield _reason(Bucket.RECORDS_LOST, facts.records_lost, HOW_TO_GO_ON, severity=Severity.ERROR)
    if facts.outside and not facts.is_failback:
        text, _, action = facts.outside.partition(". ")
        yield _reason(Bucket.RESIDENCY, text, action, severity=Severity.ERROR)
    if assignment.phase is Phase.SWITCHING and assignment.run_id != facts.run_id:
        to = assignment.target or facts.target
        what = f"failover from {assignment.active} to" if to != assignment.active else "rollback to"
        text = f"The {what} {to} has not ended (run {assignment.run_id})"
        action = f"Wait until it ends; if it was interrupted, run standby failover {plan} --to {to} again"
        yield _reason(Bucket.SWITCH_UNDER_WAY, text, action, severity=Severity.UNKNOWN)
    if not facts.switched:
        return
    action = f"Fail back with standby failback {plan}"
    if not facts.is_failback:
        what = f"nothing is copied to {facts.target} until the failback"
    elif assignment.phase is Phase.ACTIVATED:
        what = "this failover is not committed"
        back = assignment.previous or primary
        action = f"Commit it with standby commit {plan}, or roll it back with standby failover {plan} --to {back}"
    else:
        what = f"this shows whether {primary} is ready for a failback"
    since = f" since {assignment.since:%Y-%m-%d %H:%M} UTC" if assignment.since else ""
    text = f"{assignment.active} serves for {primary}{since} (epoch {facts.epoch}); {what}"
    yield _reason(Bucket.FENCED, text, action)
    if missing := assignment.missing:
        action = f"Rebuild with standby restore {plan} --to {assignment.active}, which adds it to the active map"
        yield _reason(Bucket.LEFT_OUT, missing_words(missing, assignment.active), action, analyzers=missing)


def shared_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what other plans say of the same analyzers, and what that means for a failover of this one."""
    others, plan = facts.others, facts.plan.name
    for unknown in others.unknown if others else ():
        text = f"It is unknown what serves for plan {unknown.plan}: {unknown.reason}"
        action = f"Restore {unknown.where} as it was"
        yield _reason(Bucket.FENCED, text, action, severity=Severity.UNKNOWN)
    for other in others.of(facts.primary) if others else ():
        shared = tuple(sorted(each.analyzer for each in facts.standings if other.scope.has(each.analyzer)))
        if not shared:
            continue
        text = f"{some_of(shared)}: {other}"
        agrees = other.resource == facts.destination
        action = other.or_follow(plan) if agrees and other.is_settled else other.way_out
        against = Severity.ERROR if other.is_settled else Severity.UNKNOWN
        yield _reason(Bucket.FENCED, text, action, severity=Severity.WARNING if agrees else against, analyzers=shared)


def resource_reasons(facts: Facts) -> Iterator[Reason]:
    """Give who did not answer, which models are missing and which will end."""
    if facts.target_failure is not None:
        failure, what = facts.target_failure, f"The analyzers of {facts.destination} could not be read"
        severity = _severity_at_target(failure)
        reason = _unread(failure, facts, Bucket.UNREACHABLE, f"{what}: {failure.cause}", severity)
        if isinstance(failure, errors.Unreachable | errors.ServiceUnavailable) and not isinstance(
            failure, errors.TokenUnavailable | errors.NotFromHere
        ):
            # The error's own advice, to fail over, is right for the resource that serves, and not for a target.
            again = f"standby status {facts.plan.name}"
            action = f"Check the network and the endpoint of {facts.destination}, then run {again} again"
            reason = reason.model_copy(update={"next_action": action})
        yield reason
    if facts.source_failure is not None:
        failure, what = facts.source_failure, f"The analyzers of {facts.primary} could not be read"
        text = f"{what}, so records are used instead: {failure.cause}"
        # Only a warning: a source that does not answer is what a failover is for.
        yield _unread(failure, facts, Bucket.SOURCE_UNREACHABLE, text, Severity.WARNING)
    for fact in facts.models:
        finding = fact.finding
        forbids = finding.severity is Severity.ERROR and not fact.forgiven
        yield _reason(
            Bucket.MODEL_UNKNOWN if finding.severity is Severity.UNKNOWN else Bucket.MODEL_MISSING,
            f"{finding.cause} (needed by {some_of(fact.analyzers)})",
            finding.next_action or f"Check whether deployment {finding.deployment} can serve them as well",
            severity=Severity.ERROR if forbids else Severity.WARNING,
            analyzers=fact.analyzers,
        )
    for retirement in facts.retirements:
        left, at = retirement.retires_at - facts.now, retirement.resource
        if left <= RETIREMENT_NOTICE:
            ends = "should have been retired on" if left <= timedelta() else f"is retired in {roughly(left)}, on"
            model = f"{retirement.model} {retirement.version}".strip()
            served = f"{model}, which deployment {retirement.deployment} at {at} serves"
            text = f"{served}, {ends} {retirement.retires_at:%Y-%m-%d}"
            action = f"Deploy a newer version at {at} and run a drill with it"
            yield _reason(Bucket.MODEL_RETIRING, text, action, analyzers=retirement.analyzers)


def _unread(failure: StandbyError, facts: Facts, bucket: Bucket, text: str, severity: Severity) -> Reason:
    bucket = Bucket.PERMISSION if isinstance(failure, errors.NotAuthorized) else bucket
    action = failure.next_action or f"See standby doctor {facts.plan.name}"
    return _reason(bucket, text, action, severity=severity)


def _severity_at_target(failure: StandbyError) -> Severity:
    if isinstance(failure, errors.NotAuthorized):
        # Without a status there was no token: that says nothing about the resource.
        return Severity.ERROR if failure.status is not None else Severity.UNKNOWN
    passes = isinstance(failure, errors.Unreachable) or (isinstance(failure, errors.ServiceError) and failure.transient)
    return Severity.UNKNOWN if passes else Severity.ERROR


def drill_reasons(facts: Facts) -> Iterator[Reason]:
    if facts.is_failback:
        return
    command = f"standby drill {facts.plan.name} --to {facts.target}"
    drill = facts.drill
    if drill is None:
        text = f"No drill has tested a failover to {facts.target} yet"
        yield _reason(Bucket.NEVER_DRILLED, text, f"Run {command}")
        return
    age = facts.now - drill.ended_at
    if not drill.passed:
        # What is wrong with the target now has a reason of its own; an old failure alone must not stop a failover.
        text = f"The last drill at {facts.target} failed {roughly(age)} ago: {drill.reason.rstrip('.')}"
        yield _reason(Bucket.DRILL_FAILED, text, f"Fix the cause, then run {command}")
    elif age > DRILL_AGE:
        text = f"The last drill at {facts.target} was {roughly(age)} ago"
        yield _reason(Bucket.DRILL_OLD, text, f"Run {command}")


def proof_reasons(facts: Facts) -> Iterator[Reason]:
    """Give what sample documents say of the copies; only warnings, since they keep from no failover."""
    if facts.is_failback:
        return
    ready = {each.analyzer for each in facts.standings if each.status == "ready"}
    found: dict[Bucket, list[str]] = {}
    for name in sorted(ready & (facts.sampled | facts.proofs.keys())):
        if (bucket := _by_document(name, facts)) is not None:
            found.setdefault(bucket, []).append(name)
    for bucket, names in found.items():
        yield _reason(bucket, *proof_reason_words(facts, bucket, names), analyzers=tuple(names))


def _by_document(name: str, facts: Facts) -> Bucket | None:
    proof, allowed = facts.proofs.get(name), facts.plan.objectives.proof
    if proof is None or name in facts.recopied:
        return Bucket.NEVER_COMPARED
    if proof.verdict is ByDocument.DIFFERS:
        return Bucket.PROOF_DIFFERS
    if allowed is not None and facts.now - proof.compared_at > allowed:
        return Bucket.PROOF_OLD
    return None if proof.verdict is ByDocument.AGREES and not proof.last_try else Bucket.NO_VERDICT


_WORST_FIRST = (Severity.ERROR, Severity.UNKNOWN, Severity.WARNING)
_BUCKETS = tuple(Bucket)


def judge_readiness(facts: Facts) -> Readiness:
    objective = facts.plan.objectives.rpo
    missing = tuple(each.analyzer for each in facts.standings if each.status != "ready")
    unasked = Restoring(unknown="that was not checked") if missing else Restoring()
    rto = forecast_rto(facts.plan, facts.durations, facts.restoring or unasked)
    if facts.is_failback:
        basis = "A failback copies first, and interrupts only while the active map is published."
        rto = RtoForecast(low=None, high=None, basis=basis, objective=None, met=None)
    found = [
        *assignment_reasons(facts),
        *shared_reasons(facts),
        *resource_reasons(facts),
        *analyzer_reasons(facts),
        *drill_reasons(facts),
        *proof_reasons(facts),
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
        needs=_needs(facts),
        proofs=tuple(facts.proofs[name] for name in sorted(facts.proofs.keys() & facts.names.keys())),
    )


def _needs(facts: Facts) -> dict[str, tuple[str, ...]]:
    at_primary = {there: name for name, there in facts.names.items()}
    ready = [each for each in facts.standings if each.status == "ready"]
    wanted = {it.analyzer: [c for c in it.children if c in at_primary or c in it.unusable_children] for it in ready}
    needs = {name: tuple(at_primary.get(child, child) for child in children) for name, children in wanted.items()}
    return {name: needed for name, needed in needs.items() if needed}


REPLICA_BEHIND = timedelta(minutes=15)  # A replica of the vault that is behind for longer is not just being written


def with_replica(readiness: Readiness, replica: ReplicaState | None) -> Readiness:
    """Add what is wrong with the replica of the vault; where that is the vault now, nothing is known from here."""
    if replica is None or replica.whole:
        return readiness
    since = replica.since or readiness.assessed_at
    if not replica.problem and readiness.assessed_at - since < REPLICA_BEHIND:
        return readiness
    action = f"Correct that, then run standby snapshot {readiness.plan}, which updates it"
    severity = Severity.UNKNOWN if replica.refused else Severity.WARNING
    reason = _reason(Bucket.REPLICA, replica.words, replica.next_action or action, severity=severity)
    reasons = sorted([*readiness.reasons, reason], key=_rank)
    return readiness.model_copy(update={"reasons": tuple(reasons), "state": state_of(reasons)})


def _source_answered(facts: Facts) -> bool:
    if facts.is_failback:
        return facts.target_failure is None
    return facts.source_asked and facts.source_failure is None


def state_of(reasons: Iterable[Reason]) -> State:
    severities = {reason.severity for reason in reasons}
    if Severity.ERROR in severities:
        return State.NOT_READY
    return State.UNKNOWN if Severity.UNKNOWN in severities else State.READY


def _forecast_reasons(rto: RtoForecast) -> Iterable[Reason]:
    if rto.met is False and rto.high is not None and rto.objective is not None:
        yield _reason(
            Bucket.RTO_AT_RISK,
            f"A failover may take {lasting(rto.high)}, and the plan allows {lasting(rto.objective)}",
            "Probe more often (failover.probe_every), or replicate more often so that less has to be restored; "
            "standby status shows how long each part takes",
        )


def _rank(reason: Reason) -> tuple[int, int, str]:
    return _WORST_FIRST.index(reason.severity), _BUCKETS.index(reason.bucket), reason.text
