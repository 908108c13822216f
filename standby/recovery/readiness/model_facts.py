"""Whether the models that analyzers need are served where they would be needed, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from standby.config.plan import RecoveryPlan
from standby.recovery.readiness.document import Retirement
from standby.recovery.readiness.facts import ModelFact
from standby.replication.serving import Finding, Serving, Severity, check_models
from standby.service.models import CatalogModel
from standby.service.resource import SEED_PAGE_API_VERSION, DeploymentOverrides

Needed = Mapping[str, tuple[tuple[str, str], ...]]
"""Role and name of every model, by the id at home of the analyzer that needs it."""


def model_facts(plan: RecoveryPlan, needed: Needed, source: Serving, there: Serving) -> tuple[ModelFact, ...]:
    """Follow every model to a deployment, and tell each finding once with all analyzers it goes for."""
    same: dict[Finding, list[str]] = {}
    for analyzer, models in sorted(needed.items()):
        for finding in check_models(models, source, there, _overrides(plan, there)):
            # Whoever switched the management plane off need not be told that it was not asked.
            if finding.severity is not Severity.UNKNOWN or there.resource.arm_endpoint:
                same.setdefault(finding, []).append(analyzer)
    return tuple(
        ModelFact(finding, tuple(analyzers), forgiven=finding.missing and plan.missing_defaults == "ignore")
        for finding, analyzers in same.items()
    )


def retirements(
    plan: RecoveryPlan, needed: Needed, there: Serving, models: Iterable[CatalogModel]
) -> tuple[Retirement, ...]:
    """Tell when the models end that analyzers lead to, as far as Azure says it."""
    ends = {(model.name, model.version): model.retires_at for model in models}
    users: dict[str, list[str]] = {}
    for analyzer, roles in sorted(needed.items()):
        for called in sorted({_deployment(plan, there, role, name) for role, name in roles} - {""}):
            users.setdefault(called, []).append(analyzer)
    found: list[Retirement] = []
    for name, analyzers in users.items():
        deployment = (there.deployments or {}).get(name)
        retires_at = ends.get((deployment.model, deployment.version)) if deployment else None
        if deployment is not None and retires_at is not None:
            found.append(
                Retirement(
                    resource=there.resource.name,
                    deployment=name,
                    model=deployment.model,
                    version=deployment.version,
                    retires_at=retires_at,
                    analyzers=tuple(analyzers),
                )
            )
    return tuple(found)


def _deployment(plan: RecoveryPlan, there: Serving, role: str, name: str) -> str:
    if there.resource.api_version == SEED_PAGE_API_VERSION:
        overrides = _overrides(plan, there)
        chosen = {"completion": overrides.chat_completion, "embedding": overrides.embedding}
        return chosen.get(role) or name
    return (there.defaults or {}).get(name, "")


def _overrides(plan: RecoveryPlan, there: Serving) -> DeploymentOverrides:
    return plan.deployments.get(there.resource.name, DeploymentOverrides())
