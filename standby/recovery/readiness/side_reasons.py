"""Reasons that are about resources, the fence and drills, not about single analyzers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from standby.config.durations import roughly
from standby.errors import StandbyError
from standby.fencing import Phase
from standby.recovery.readiness.analyzer_words import some_of
from standby.recovery.readiness.document import Bucket, Reason, Retirement
from standby.recovery.readiness.facts import Facts
from standby.replication.serving import Severity
from standby.service.errors import NotAuthorized, ServiceError

DRILL_AGE = timedelta(days=45)
"""A drill that is older proves little: it should be one a month."""

RETIREMENT_NOTICE = timedelta(days=60)
"""So long before a model ends it is told."""


def side_reasons(facts: Facts) -> Iterator[Reason]:
    """Tell what the fence says that bears on a switch."""
    side, plan = facts.side, facts.plan.name
    if side.phase is Phase.SWITCHING and side.run_id != facts.run_id:
        to = side.target or facts.target
        yield Reason(
            bucket=Bucket.SWITCH_UNDER_WAY,
            severity=Severity.UNKNOWN,
            text=f"A switch from {side.active} to {to} has not ended (run {side.run_id})",
            next_action=f"Wait for its end; where it was interrupted, "
            f"run standby failover {plan} --to {to} again",
        )
    if not facts.switched:
        return
    since = f" since {side.since:%Y-%m-%d %H:%M} UTC" if side.since else ""
    served = f"{side.active} serves in the place of {facts.home}{since} (epoch {facts.epoch})"
    if not facts.is_way_back:
        yield _fenced(
            f"{served}, and nothing is copied to {facts.target} meanwhile",
            f"Bring {facts.home} back with standby failback {plan}",
        )
    elif side.phase is Phase.ACTIVATED:
        yield _fenced(
            f"{served}, and that is not committed",
            f"Make it final with standby commit {plan}, "
            f"or take it back with standby failover {plan} --to {facts.home}",
        )
    else:
        yield _fenced(
            f"{served}; what is told here is the way back",
            f"Bring {facts.home} back with standby failback {plan}",
        )


def resource_reasons(facts: Facts) -> Iterator[Reason]:
    """Tell who did not answer, what models are missing and which will end."""
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
            next_action=finding.next_action or f"See whether {finding.deployment} does as well",
            analyzers=fact.analyzers,
        )
    for retirement in facts.retirements:
        left = retirement.retires_at - facts.now
        if left <= RETIREMENT_NOTICE:
            yield _retiring(retirement, left)


def drill_reasons(facts: Facts) -> Iterator[Reason]:
    """Tell what the last drill proves, and what it does not."""
    if facts.is_way_back:
        return
    again = f"Rehearse it with standby drill {facts.plan.name} --to {facts.target}"
    drill = facts.drill
    if drill is None:
        yield Reason(
            bucket=Bucket.NEVER_DRILLED,
            severity=Severity.WARNING,
            text=f"A failover to {facts.target} was never rehearsed",
            next_action=again,
        )
        return
    age = facts.now - drill.ended_at
    if not drill.passed:
        # What is wrong with the target now is found now; an old failure alone must not keep a recovery away.
        yield Reason(
            bucket=Bucket.DRILL_FAILED,
            severity=Severity.WARNING,
            text=f"The last drill at {facts.target} failed {roughly(age)} ago: {drill.reason.rstrip('.')}",
            next_action=f"Mend that. {again}",
        )
    elif age > DRILL_AGE:
        yield Reason(
            bucket=Bucket.DRILL_OLD,
            severity=Severity.WARNING,
            text=f"The last drill at {facts.target} was {roughly(age)} ago",
            next_action=again,
        )


def _fenced(text: str, next_action: str) -> Reason:
    return Reason(bucket=Bucket.FENCED, severity=Severity.WARNING, text=text, next_action=next_action)


def _of_target(failure: StandbyError, facts: Facts) -> Reason:
    refused = isinstance(failure, NotAuthorized)
    if isinstance(failure, NotAuthorized):
        # Without an answer of the resource there was no token: that says nothing about it.
        severity = Severity.ERROR if failure.status is not None else Severity.UNKNOWN
    else:
        passes = isinstance(failure, ServiceError) and failure.transient
        severity = Severity.UNKNOWN if passes else Severity.ERROR
    return Reason(
        bucket=Bucket.PERMISSION if refused else Bucket.UNREACHABLE,
        severity=severity,
        text=f"{facts.destination} does not say what it holds: {failure.cause}",
        next_action=failure.next_action or f"See standby doctor {facts.plan.name}",
    )


def _of_source(failure: StandbyError, facts: Facts) -> Reason:
    # No reason to stay: a source that does not answer is what a failover is for.
    refused = isinstance(failure, NotAuthorized)
    return Reason(
        bucket=Bucket.PERMISSION if refused else Bucket.SOURCE_UNREACHABLE,
        severity=Severity.WARNING,
        text=f"{facts.home} does not say what it holds, so this is judged by what was recorded: "
        f"{failure.cause}",
        next_action=failure.next_action or f"See standby doctor {facts.plan.name}",
    )


def _retiring(retirement: Retirement, left: timedelta) -> Reason:
    model = f"{retirement.model} {retirement.version}".strip()
    day = f"{retirement.retires_at:%Y-%m-%d}"
    what = f"{model}, which deployment {retirement.deployment} at {retirement.resource} serves,"
    told = "was to be retired on" if left <= timedelta() else f"is retired in {roughly(left)}, on"
    return Reason(
        bucket=Bucket.MODEL_RETIRING,
        severity=Severity.WARNING,
        text=f"{what} {told} {day}",
        next_action=f"Deploy a newer version at {retirement.resource} and rehearse with it",
        analyzers=retirement.analyzers,
    )
