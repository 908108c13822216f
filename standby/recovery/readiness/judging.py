"""Judges readiness from facts: a pure function.

The worst reason decides. So one more reason can make a target less ready, and never more.
"""

from __future__ import annotations

from collections.abc import Iterable

from standby.recovery.readiness.analyzer_reasons import analyzer_reasons, point_of, rebuilt_reasons
from standby.recovery.readiness.document import Bucket, Readiness, Reason, RtoForecast, State
from standby.recovery.readiness.facts import Facts
from standby.recovery.readiness.forecast import forecast_rto
from standby.recovery.readiness.side_reasons import drill_reasons, resource_reasons, side_reasons
from standby.replication.serving import Severity

_WORST_FIRST = (Severity.ERROR, Severity.UNKNOWN, Severity.WARNING)
_BUCKETS = tuple(Bucket)


def judge_readiness(facts: Facts) -> Readiness:
    """Say whether the target could take over, and why not."""
    objective = facts.plan.objectives.rpo
    missing = tuple(each.analyzer for each in facts.standings if each.status != "ready")
    rto = forecast_rto(facts.plan, facts.durations, len(missing), facts.slots)
    found = [
        *side_reasons(facts),
        *resource_reasons(facts),
        *analyzer_reasons(facts),
        *rebuilt_reasons(facts),
        *drill_reasons(facts),
        *_forecast_reasons(rto),
    ]
    return Readiness(
        plan=facts.plan.name,
        home=facts.home,
        target=facts.target,
        active=facts.side.active,
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
    if facts.is_way_back:
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
            next_action="Probe more often under failover.probe_every, or replicate more often, so that "
            "nothing has to be restored; standby status shows what takes how long",
        )


def _rank(reason: Reason) -> tuple[int, int, str]:
    return _WORST_FIRST.index(reason.severity), _BUCKETS.index(reason.bucket), reason.text
