"""What a plan's `missing_defaults` makes of a target that cannot serve an analyzer's models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from standby.config.plan import MissingDefaults
from standby.replication.serving import Serving, Severity, check_models, default_to_add
from standby.service.resource import SEED_PAGE_API_VERSION, DeploymentOverrides


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
    # Whoever switched the management plane off need not be told that it was not asked.
    told = set(Severity) if target.resource.arm_endpoint else {Severity.ERROR, Severity.WARNING}
    findings = [finding for finding in checked if finding.severity in told]
    forgiven = [finding for finding in findings if finding.missing and missing_defaults == "ignore"]
    return JudgedModels(
        errors=tuple(
            str(finding)
            for finding in findings
            if finding.severity is Severity.ERROR and finding not in forgiven
        ),
        warnings=tuple(
            str(finding)
            for finding in findings
            if finding.severity is not Severity.ERROR or finding in forgiven
        ),
    )


def with_added_defaults(
    models: Iterable[tuple[str, str]],
    source: Serving,
    target: Serving,
    overrides: DeploymentOverrides,
    missing_defaults: MissingDefaults,
) -> tuple[Serving, Mapping[str, str]]:
    """Add the model names that `sync` would add to a target's defaults; no name that is there is touched.

    Returns:
        The target as it would be, and the additions: deployment by model name.
    """
    if missing_defaults != "sync" or target.resource.api_version == SEED_PAGE_API_VERSION:
        return target, {}
    present = target.defaults or {}
    added: dict[str, str] = {}
    for role, name in models:
        deployment = default_to_add(role, name, source, target, overrides)
        if name not in present and deployment is not None:
            added.setdefault(name, deployment)
    return (replace(target, defaults={**added, **present}) if added else target), added
