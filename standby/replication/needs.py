"""What an analyzer needs where it is copied to: other analyzers, and deployments of the models it names.

An analyzer that is `ready` still fails its first analysis where a model name leads to no deployment
(REFERENCE, *Two protocols*); this check, made before the copy, is the only thing that notices.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from standby.config.plan import MissingDefaults
from standby.config.resource import PREVIEW_2025, DeploymentOverrides, Resource
from standby.document import JsonValue
from standby.service.errors import ServiceError
from standby.service.models import PREBUILT, Deployment


@dataclass(frozen=True)
class Dependencies:
    # For each analyzer, selected or pulled in, the custom analyzers it refers to.
    children: Mapping[str, frozenset[str]]
    parents: Mapping[str, list[str]]  # likewise, by analyzer the ones that refer to it
    pulled_in: frozenset[str]  # analyzers that nobody selected but a selected one needs
    missing: Mapping[str, frozenset[str]]  # for each analyzer, the ones it refers to that the source does not have
    # For each member of a cycle, the cycle's path (first name repeated at its end).
    cycles: Mapping[str, tuple[str, ...]]

    def warnings_of(self, analyzer: str) -> tuple[str, ...]:
        if analyzer not in self.pulled_in:
            return ()
        return (f"Not selected, but needed by {', '.join(sorted(self.parents[analyzer]))}.",)


def references(definition: Mapping[str, JsonValue]) -> frozenset[str]:
    """Name the custom analyzers a definition refers to, at any depth.

    References are `baseAnalyzerId`, `config.contentCategories.*.analyzerId`, and both again inside inline
    analyzers (`config.contentCategories.*.analyzer`): REFERENCE, *The analyzer*.
    """
    named = [
        name
        for analyzer in (definition, *inline_analyzers(definition))
        for name in (analyzer.get("baseAnalyzerId"), *(each.get("analyzerId") for each in _categories(analyzer)))
    ]
    return frozenset(name for name in named if isinstance(name, str) and name and not name.startswith(PREBUILT))


def inline_analyzers(definition: Mapping[str, JsonValue]) -> Iterator[Mapping[str, JsonValue]]:
    """Walk the analyzers written out inside a definition, at any depth."""
    for category in _categories(definition):
        inline = category.get("analyzer")
        if isinstance(inline, dict):
            yield inline
            yield from inline_analyzers(inline)


def resolve(selected: Iterable[str], definitions: Mapping[str, Mapping[str, JsonValue]]) -> Dependencies:
    """Close a selection of ids under references; `definitions` has every custom analyzer of the source."""
    return closure(selected, definitions, lambda name: references(definitions[name]))


def closure(
    selected: Iterable[str], known: Container[str], references_of: Callable[[str], frozenset[str]]
) -> Dependencies:
    """Close a selection of ids under references, of which it is known what each refers to."""
    wanted = frozenset(selected)
    children: dict[str, frozenset[str]] = {}
    parents: defaultdict[str, list[str]] = defaultdict(list)
    missing: dict[str, frozenset[str]] = {}
    waiting = sorted(wanted)
    while waiting:
        analyzer = waiting.pop()
        if analyzer in children:
            continue
        needed = references_of(analyzer)
        children[analyzer] = there = frozenset(name for name in needed if name in known)
        if absent := needed - there:
            missing[analyzer] = absent
        for name in there:
            parents[name].append(analyzer)
        waiting.extend(there - children.keys())
    pulled_in = frozenset(children) - wanted
    return Dependencies(children, parents, pulled_in, missing, cycles=_cycles(children))


def _cycles(children: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    graph = {analyzer: set(needed) for analyzer, needed in children.items()}
    found: dict[str, tuple[str, ...]] = {}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists a cycle from child to parent; people read it from parent to child.
            path = tuple(reversed(error.args[1]))
            found.update(dict.fromkeys(path, path))
            for member in set(path):
                del graph[member]
            for needed in graph.values():
                needed.difference_update(path)
        else:
            return found


def _categories(definition: Mapping[str, JsonValue]) -> Iterator[Mapping[str, JsonValue]]:
    config = definition.get("config")
    categories = config.get("contentCategories") if isinstance(config, dict) else None
    if isinstance(categories, dict):
        yield from (category for category in categories.values() if isinstance(category, dict))


def with_references(definition: Mapping[str, JsonValue], names: Mapping[str, str]) -> dict[str, JsonValue]:
    """Give a definition whose references lead to new names, by the old ones."""
    changed = dict(definition)
    base = changed.get("baseAnalyzerId")
    if isinstance(base, str) and base in names:
        changed["baseAnalyzerId"] = names[base]
    config = changed.get("config")
    if isinstance(config, dict) and isinstance(categories := config.get("contentCategories"), dict):
        renamed = {name: _renamed_category(category, names) for name, category in categories.items()}
        changed["config"] = {**config, "contentCategories": renamed}
    return changed


def _renamed_category(category: JsonValue, names: Mapping[str, str]) -> JsonValue:
    if not isinstance(category, dict):
        return category
    changed = dict(category)
    referred, inline = changed.get("analyzerId"), changed.get("analyzer")
    if isinstance(referred, str) and referred in names:
        changed["analyzerId"] = names[referred]
    if isinstance(inline, dict):
        changed["analyzer"] = with_references(inline, names)
    return changed


def referenced_anywhere(definitions: Mapping[str, Mapping[str, JsonValue]]) -> frozenset[str]:
    return frozenset(name for definition in definitions.values() for name in references(definition))


class Severity(StrEnum):
    """How a finding bears on a copy."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Serving:
    """What a resource has behind its model names; `None` where it was never set, or could not be asked for."""

    resource: Resource
    defaults: Mapping[str, str] | None = None
    deployments: Mapping[str, Deployment] | None = None
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


Models = Iterable[tuple[str, str]]  # Role and name of each model that an analyzer names


def check_models(
    models: Models, source: Serving, target: Serving, overrides: DeploymentOverrides
) -> tuple[Finding, ...]:
    """Follow every model name of an analyzer to a deployment at the target, and say what was found.

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
    override = overrides.of(role)
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
    override = overrides.of(role)
    # In the `2025-05-01-preview` protocol analyzers name deployments and the copy can override them; on the
    # released one they name models, and only the target's defaults say which deployment serves one.
    by_deployment = target.resource.api_version == PREVIEW_2025
    mapped = None if target.defaults is None else target.defaults.get(name)
    deployment = (override or name) if by_deployment else mapped
    if target.unread and not by_deployment:
        where, why = target.resource.name, target.unread
        cause = f"It is unknown which deployment serves {name} at {where}: {why.cause}"
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
        # Of all deployments of a target in the same words, which are then said once.
        cause = f"It is unknown which deployments and models {where} has"
        action = "Give the resource Entra credentials that may read them, to have this checked"
        if "/" in deployment:
            cause = f"It is unknown whether deployment {deployment} exists at {where}, and which model it has"
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


@dataclass(frozen=True)
class JudgedModels:
    """Findings about one analyzer's models, sorted by whether they forbid its copy."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def judge_models(
    models: Models, source: Serving, target: Serving, overrides: DeploymentOverrides, missing_defaults: MissingDefaults
) -> JudgedModels:
    """Say what forbids a copy and what only deserves a warning; `ignore` makes warnings of missing models."""
    checked = check_models(models, source, target, overrides)
    # An operator who configured no management plane knows that it was not asked.
    relevant = set(Severity) if target.resource.arm_endpoint else {Severity.ERROR, Severity.WARNING}
    findings = [finding for finding in checked if finding.severity in relevant]
    forgiven = missing_defaults == "ignore"
    errors = [each for each in findings if each.severity is Severity.ERROR and not (each.missing and forgiven)]
    warnings = dict.fromkeys(str(finding) for finding in findings if finding not in errors)
    return JudgedModels(tuple(map(str, errors)), tuple(warnings))


def with_added_defaults(
    models: Models, source: Serving, target: Serving, overrides: DeploymentOverrides, missing_defaults: MissingDefaults
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
