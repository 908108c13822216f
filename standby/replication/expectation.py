"""An analyzer reduced to what planning and verification compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from standby.replication.fingerprint import fingerprint
from standby.replication.verdict import Sighting
from standby.service.models import Analyzer, JsonValue
from standby.service.resource import SEED_PAGE_API_VERSION, DeploymentOverrides, Resource


def expected_definition(
    definition: Mapping[str, JsonValue], target: Resource, overrides: DeploymentOverrides
) -> dict[str, JsonValue]:
    """Give the definition that a copy of an analyzer has at a target.

    Inferred: on the seed page's protocol an overridden deployment stands in the copy's `models`.
    """
    expected = dict(definition)
    models = definition.get("models")
    if target.api_version == SEED_PAGE_API_VERSION and isinstance(models, dict):
        chosen = {"completion": overrides.chat_completion, "embedding": overrides.embedding}
        expected["models"] = models | {role: name for role, name in chosen.items() if name and role in models}
    return expected


def sight(analyzer: Analyzer, definition: Mapping[str, JsonValue], ignore: Sequence[str] = ()) -> Sighting:
    """Reduce an analyzer, described by a definition of it, to what is compared."""
    return Sighting(
        fingerprint=fingerprint(definition, ignore),
        status=analyzer.status,
        created_at=analyzer.created_at,
        changed_at=analyzer.last_modified_at,
        trained=bool(definition.get("knowledgeSources")),
    )
