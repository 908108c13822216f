"""Looks for itself at what a rehearsal restored: there, ready, as it was kept, with models behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from standby.errors import sentence
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.intent import Intent
from standby.recovery.snapshots.opening import Snapshot
from standby.recovery.snapshots.restore_items import Fidelity, RestoreItem, RestorePlan
from standby.replication.fingerprint import fingerprint
from standby.replication.serving import Serving, Severity, check_models, models_of
from standby.service.models import Analyzer, Deployment
from standby.service.resource import Resource


class DrilledAnalyzer(BaseModel):
    """One analyzer of the snapshot at the resource it was rehearsed at.

    Attributes:
        problem: why it could not serve; empty where it could.
        unknown: what could not be told about its models.
    """

    model_config = ConfigDict(frozen=True)

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
        name: _source(context, snapshot, name, client.resource)
        for name in {item.resource for item in plan.items}
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
    errors = [
        str(each) for each in findings if each.severity is Severity.ERROR and not (each.missing and forgiven)
    ]
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
