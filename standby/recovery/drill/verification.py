"""Whether a drill passed, and why not; a pure function of what it found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from standby.config.plan import RecoveryPlan
from standby.config.resource import Resource
from standby.document import Document
from standby.errors import sentence
from standby.recovery.activation.sinks import Activation
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.manifest import Intent
from standby.recovery.drill.report import CleanUp
from standby.recovery.drill.sandbox import UNKNOWN
from standby.recovery.failover.report import FailoverReport
from standby.recovery.snapshots.fidelity import Fidelity, RestoreItem, RestorePlan
from standby.recovery.snapshots.snapshot import Snapshot
from standby.replication.fingerprint import fingerprint
from standby.replication.serving import Serving, Severity, check_models, models_of
from standby.service.models import Analyzer, Deployment
from standby.text import some_of


class DrilledAnalyzer(Document):
    """One analyzer of the snapshot at the resource it was rehearsed at.

    Attributes:
        problem: why it could not serve; empty where it could.
        unknown: what could not be told about its models.
    """

    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    fingerprint: str
    problem: str = ""
    unknown: str = ""


async def look_at(
    context: RecoveryContext, intent: Intent, snapshot: Snapshot, plan: RestorePlan
) -> tuple[DrilledAnalyzer, ...]:
    """Say of every analyzer of a rehearsal whether it could serve.

    Args:
        context: the rehearsal's.
        intent: of the drill.
        snapshot: what was restored from.
        plan: what was to be restored.

    Raises:
        ServiceError: the resource does not answer.
    """
    client = context.connections[intent.to]
    listed = {found.analyzer_id: found for found in await client.list_analyzers()}
    context.connections.forget_serving(intent.to)
    serving = await context.connections.serving(intent.to)
    sources = {
        name: _source(context, snapshot, name, client.resource) for name in {item.resource for item in plan.items}
    }
    return tuple(
        _seen(context, intent, item, listed.get(item.target_analyzer), sources[item.resource], serving)
        for item in plan.items
    )


def unusable(seen: Iterable[DrilledAnalyzer]) -> Iterator[str]:
    """Say what is wrong with those that could not serve."""
    for each in seen:
        if each.problem:
            yield f"{each.analyzer}: {sentence(each.problem)}"


def _seen(
    context: RecoveryContext,
    intent: Intent,
    item: RestoreItem,
    found: Analyzer | None,
    source: Serving,
    serving: Serving,
) -> DrilledAnalyzer:
    # As it is there: an embedding model that the service filled in is used like one that was named.
    definition = found.to_json() if found else {}
    findings = check_models(models_of(definition), source, serving, context.run.overrides(intent.to))
    forgiven = context.plan.missing_defaults == "ignore"
    errors = [str(each) for each in findings if each.severity is Severity.ERROR and not (each.missing and forgiven)]
    unknown = [str(each) for each in findings if each.severity is Severity.UNKNOWN]
    problem = _problem(intent, item, found, fingerprint(definition, context.plan.ignore))
    return DrilledAnalyzer(
        analyzer=item.analyzer,
        target_analyzer=item.target_analyzer,
        fidelity=item.fidelity,
        fingerprint=item.fingerprint,
        problem=problem or " ".join(errors),
        unknown=" ".join(unknown),
    )


def _problem(intent: Intent, item: RestoreItem, found: Analyzer | None, seen: str) -> str:
    if found is None:
        return item.reason or f"{intent.to} does not have it"
    if not intent.made(found):
        return f"{intent.to} has another one under its id {item.target_analyzer}"
    if found.status != "ready":
        return f"it is {found.status} at {intent.to}"
    return "" if seen == item.fingerprint else f"at {intent.to} it is not what the snapshot has"


def _source(context: RecoveryContext, snapshot: Snapshot, name: str, like: Resource) -> Serving:
    """Give what the analyzers had behind their models when they were kept."""
    kept = snapshot.resources[name]
    deployments: Mapping[str, Deployment] | None = None
    if kept.deployments is not None:
        deployments = {
            deployment: Deployment(deployment, found.model, found.version)
            for deployment, found in kept.deployments.items()
        }
    known = context.configuration.resources.get(name) or like
    resource = known.model_copy(update={"name": name, "api_version": kept.api_version})
    return Serving(resource, kept.defaults, deployments)


MOST_REASONS = 20
"""Analyzers whose failure is told one by one."""


@dataclass
class Findings:
    """What a drill found, as far as it came.

    Attributes:
        epoch: of the fence before.
        failover: the rehearsed failover's report.
        seen: the analyzers at the target.
        told: what the rehearsal's sink was told, in order.
        before: digests of what must stay as it is.
        after: the same, at the end.
        problems: what stopped it, a sentence each.
        interrupted: it was asked to stop.
        cleanup: what became of what it made.
    """

    epoch: int = 0
    failover: FailoverReport | None = None
    seen: tuple[DrilledAnalyzer, ...] = ()
    told: tuple[Activation, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    cleanup: CleanUp = field(default_factory=CleanUp)


def reasons_against(plan: RecoveryPlan, intent: Intent, found: Findings) -> tuple[str, ...]:
    """Say why a drill did not pass, a sentence each, the cause first; none where it passed."""
    told: list[str] = []
    if found.interrupted:
        told.append("It was interrupted before its end.")
    told += [sentence(problem) for problem in found.problems]
    wrong = list(unusable(found.seen))
    told += wrong[:MOST_REASONS]
    if len(wrong) > MOST_REASONS:
        told.append(f"And {len(wrong) - MOST_REASONS} more analyzers could not serve.")
    if not found.problems and not found.interrupted:
        told += _failover(plan, intent, found)
    told += _touched(found)
    told += _left(intent, found.cleanup)
    # The failover and the look at its result often say the same.
    return tuple(dict.fromkeys(told))


def _failover(plan: RecoveryPlan, intent: Intent, found: Findings) -> Iterator[str]:
    report = found.failover
    if report is None or report.state != "activated":
        yield from (sentence(problem) for problem in (report.problems if report else ()))
        yield f"The failover did not come to its end at {intent.to}."
        return
    if report.epoch <= found.epoch:
        yield f"The epoch did not grow: it was {found.epoch}, and is {report.epoch}."
    yield from _told(intent, found, report)
    objective = plan.objectives.rto
    if objective is not None and report.recovery_seconds is not None:
        allowed = objective.total_seconds()
        if report.recovery_seconds > allowed:
            yield f"The recovery took {report.recovery_seconds:.1f} s, and the RTO is {allowed:.0f} s."


def _told(intent: Intent, found: Findings, report: FailoverReport) -> Iterator[str]:
    named = [activation.sources.get(intent.primary) for activation in found.told]
    if not named or named[-1] is None or named[-1].resource != intent.to:
        yield f"The sink was not told that {intent.to} serves in the place of {intent.primary}."
    elif found.told[-1].epoch != report.epoch:
        yield f"The sink was told epoch {found.told[-1].epoch}, and the failover had {report.epoch}."
    elif named[0] is not None:
        yield f"The sink was told of {intent.to} before it was told that nobody serves."


def _touched(found: Findings) -> Iterator[str]:
    for name, before in found.before.items():
        after = found.after.get(name, UNKNOWN)
        if UNKNOWN not in (before, after) and before != after:
            yield f"{name} changed while it was rehearsed: see standby audit show who did that."


def _left(intent: Intent, cleanup: CleanUp) -> Iterator[str]:
    if cleanup.proven:
        return
    unknown = f"It is not known what is left at {intent.to}"
    what = f"{some_of(cleanup.left, 5)} left at {intent.to}" if cleanup.left else unknown
    yield f"The clean-up is not proven complete. {sentence(f'{what}: {cleanup.problem}')}"
