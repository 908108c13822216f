"""Whether a resource can serve the models an analyzer names.

An analyzer that is `ready` still fails its first analysis where a model name leads to no deployment
(REFERENCE, *Two protocols*); this check, made before the copy, is the only thing that notices.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from standby.config.plan import MissingDefaults
from standby.config.resource import PREVIEW_2025, DeploymentOverrides, Resource
from standby.document import JsonValue
from standby.replication.dependencies import inline_analyzers
from standby.service.errors import ServiceError
from standby.service.models import Deployment


class Severity(StrEnum):
    """How a finding bears on a copy."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Serving:
    """What a resource has behind its model names; `None` where it was never set, or could not be asked for."""

    resource: Resource
    defaults: Mapping[str, str] | None
    deployments: Mapping[str, Deployment] | None
    unread: ServiceError | None = None  # why its defaults cannot be read; `None` where they can, or were never set


@dataclass(frozen=True)
class Finding:
    """One thing to know about one model name of an analyzer at one target, with the deployment it leads to, if any."""

    severity: Severity
    role: str
    model: str
    deployment: str | None
    cause: str
    next_action: str = ""
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.cause}. {self.next_action}." if self.next_action else f"{self.cause}."


def models_of(definition: Mapping[str, JsonValue]) -> tuple[tuple[str, str], ...]:
    """Give role and model name of every model a definition names, inline analyzers included."""
    named = [analyzer.get("models") for analyzer in (definition, *inline_analyzers(definition))]
    pairs = [pair for models in named if isinstance(models, dict) for pair in models.items()]
    found = {(role, name) for role, name in pairs if isinstance(name, str) and name}
    return tuple(sorted(found))


def check_models(
    models: Iterable[tuple[str, str]], source: Serving, target: Serving, overrides: DeploymentOverrides
) -> tuple[Finding, ...]:
    """Follow every model name of an analyzer to a deployment at the target, and say what is there.

    A different embedding model is an error, a different completion model a warning (disaster-recovery page,
    *Start Copy operation*). A name that leads nowhere is an error with the call that fixes it.
    """
    return tuple(finding for role, name in models for finding in _check(role, name, source, target, overrides))


def default_to_add(
    role: str, name: str, source: Serving, target: Serving, overrides: DeploymentOverrides
) -> str | None:
    """Choose the deployment that a model name missing from a target's defaults should lead to."""
    # The plan's override comes first, then a deployment of the same model, the one that is called as at the source
    # before others; then the one that is only called so. `None` where there is nothing to choose.
    override = _override(overrides, role)
    if override is not None:
        return override
    deployments = target.deployments or {}
    model = _source_model(name, source)
    fitting = [found.name for found in deployments.values() if found.model == model]
    at_source = (source.defaults or {}).get(name)
    if at_source in deployments and (at_source in fitting or not fitting):
        return at_source
    return min(fitting, default=None)


def _check(role: str, name: str, source: Serving, target: Serving, overrides: DeploymentOverrides) -> Iterator[Finding]:
    override = _override(overrides, role)
    # In the `2025-05-01-preview` protocol analyzers name deployments and the copy can override them; on the
    # released one they name models, and only the target's defaults say which deployment serves one.
    by_deployment = target.resource.api_version == PREVIEW_2025
    mapped = None if target.defaults is None else target.defaults.get(name)
    deployment = (override or name) if by_deployment else mapped
    if target.unread and not by_deployment:
        where, why = target.resource.name, target.unread
        cause = f"Which deployment serves {name} at {where} is unknown: {why.cause}"
        yield Finding(Severity.ERROR, role, name, None, cause, why.next_action, missing=True)
        return
    if deployment is None:
        yield _no_default(role, name, target, default_to_add(role, name, source, target, overrides))
        return
    if not by_deployment and override is not None and override != deployment:
        where, version = target.resource.name, f"api-version {target.resource.api_version}"
        cause = f"{where} serves {name} by {deployment}, not by the plan's {override}: {version} has no overrides"
        action = f"Change the default at {where} if {override} is meant"
        yield Finding(Severity.WARNING, role, name, deployment, cause, action)
    yield from _compare(role, name, deployment, source, target)


def _compare(role: str, name: str, deployment: str, source: Serving, target: Serving) -> Iterator[Finding]:
    where = target.resource.name
    if target.deployments is None or "/" in deployment:
        cause = f"Whether deployment {deployment} exists at {where}, and which model it is, is unknown"
        action = "Give the resource Entra credentials that may read it, to have this checked"
        if "/" in deployment:
            action = "It is behind a connection, where only a test analysis can show it"
        yield Finding(Severity.UNKNOWN, role, name, deployment, cause, action)
        return
    found = target.deployments.get(deployment)
    if found is None:
        cause = f"{where} has no deployment {deployment} for model {name}"
        action = _create_deployment(target.resource, deployment, name, source)
        yield Finding(Severity.ERROR, role, name, deployment, cause, action, missing=True)
        return
    expected = _source_model(name, source)
    if expected is None or expected == found.model:
        return
    cause = f"Deployment {deployment} at {where} is {found.model}, while the source uses {expected}"
    if role == "embedding":
        action = f"Point {name} at a deployment of {expected} at {where}: embeddings of two models do not compare"
        yield Finding(Severity.ERROR, role, name, deployment, cause, action)
    else:
        yield Finding(Severity.WARNING, role, name, deployment, cause)


def _source_model(name: str, source: Serving) -> str | None:
    """Which model the source really uses under a name, as far as is known."""
    found = _source_deployment(name, source)
    if found is not None:
        return found.model
    return None if source.resource.api_version == PREVIEW_2025 else name


def _source_deployment(name: str, source: Serving) -> Deployment | None:
    by_deployment = source.resource.api_version == PREVIEW_2025
    deployment = name if by_deployment else (source.defaults or {}).get(name)
    return (source.deployments or {}).get(deployment or "")


def _no_default(role: str, name: str, target: Serving, proposed: str | None) -> Finding:
    where = target.resource
    cause = f"{where.name} has no default deployment for model {name}"
    if target.defaults is None:
        cause = f"{where.name} has no defaults, so model {name} leads to no deployment"
    body = json.dumps({"modelDeployments": {name: proposed or "DEPLOYMENT"}})
    call = f"PATCH {where.endpoint}/contentunderstanding/defaults?api-version={where.api_version} with {body}"
    return Finding(Severity.ERROR, role, name, None, cause, f"Fix it with {call}", missing=True)


def _create_deployment(resource: Resource, deployment: str, name: str, source: Serving) -> str:
    parts = resource.resource_id.strip("/").split("/")
    model = _source_model(name, source) or name
    found = _source_deployment(name, source)
    version = (found.version if found else "") or "VERSION"
    return (
        f"Fix it with az cognitiveservices account deployment create --subscription {parts[1]} "
        f"--resource-group {parts[3]} --name {parts[-1]} --deployment-name {deployment} "
        f"--model-name {model} --model-format OpenAI --model-version {version} "
        "--sku-name GlobalStandard --sku-capacity 1"
    )


def _override(overrides: DeploymentOverrides, role: str) -> str | None:
    return {"completion": overrides.chat_completion, "embedding": overrides.embedding}.get(role)


@dataclass(frozen=True)
class JudgedModels:
    """Findings about one analyzer's models, sorted by whether they forbid its copy."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def judge_models(
    models: Iterable[tuple[str, str]],
    source: Serving,
    target: Serving,
    overrides: DeploymentOverrides,
    missing_defaults: MissingDefaults,
) -> JudgedModels:
    """Say what forbids a copy and what only deserves a warning; `ignore` makes warnings of missing models."""
    checked = check_models(models, source, target, overrides)
    # An operator who configured no management plane knows that it was not asked.
    relevant = set(Severity) if target.resource.arm_endpoint else {Severity.ERROR, Severity.WARNING}
    findings = [finding for finding in checked if finding.severity in relevant]
    forgiven = missing_defaults == "ignore"
    errors = [each for each in findings if each.severity is Severity.ERROR and not (each.missing and forgiven)]
    return JudgedModels(tuple(map(str, errors)), tuple(str(finding) for finding in findings if finding not in errors))


def with_added_defaults(
    models: Iterable[tuple[str, str]],
    source: Serving,
    target: Serving,
    overrides: DeploymentOverrides,
    missing_defaults: MissingDefaults,
) -> tuple[Serving, Mapping[str, str]]:
    """Add the model names that `sync` would add to a target's defaults; give the target then, and the additions."""
    if missing_defaults != "sync" or target.unread or target.resource.api_version == PREVIEW_2025:
        return target, {}
    present = target.defaults or {}
    added: dict[str, str] = {}
    for role, name in models:
        deployment = default_to_add(role, name, source, target, overrides)
        if name not in present and deployment is not None:
            added.setdefault(name, deployment)
    return (replace(target, defaults={**added, **present}) if added else target), added
