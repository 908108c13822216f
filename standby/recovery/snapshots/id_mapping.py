"""The id of an analyzer at each resource of a plan: copies may have other ids."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from standby.config.globs import LONGEST_ID
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.replication.dependencies import PLACE_OF_ID, TargetNames, referenced_anywhere

MOST_TAGS = 10
"""Tags that an analyzer may have (REFERENCE, *The analyzer*)."""

_DIGEST_CHARACTERS = 8


@dataclass(frozen=True)
class Naming:
    """How restored analyzers differ in name from what the snapshot has.

    Attributes:
        tags: added to every analyzer; where there are too many then, its own give way.
    """

    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        """Give an id under the prefix; one that is too long ends in a digest of it."""
        whole = f"{self.prefix}{analyzer}"
        if len(whole) <= LONGEST_ID:
            return whole
        digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{whole[: LONGEST_ID - _DIGEST_CHARACTERS - 1]}-{digest}"


keep_names = Naming()
"""Ids stay what they are."""


def renamed(
    definition: Mapping[str, JsonValue], names: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, JsonValue]:
    """Give a definition whose references lead to new names, by the old ones, and which has more tags."""
    changed = _with_references(definition, names)
    if tags:
        own = definition.get("tags")
        rest = {key: own[key] for key in own if key not in tags} if isinstance(own, dict) else {}
        changed["tags"] = dict(list({**tags, **rest}.items())[:MOST_TAGS])
    return changed


def _with_references(definition: Mapping[str, JsonValue], names: Mapping[str, str]) -> dict[str, JsonValue]:
    changed = dict(definition)
    base = changed.get("baseAnalyzerId")
    if isinstance(base, str) and base in names:
        changed["baseAnalyzerId"] = names[base]
    config = changed.get("config")
    if isinstance(config, dict) and isinstance(categories := config.get("contentCategories"), dict):
        changed["config"] = {
            **config,
            "contentCategories": {name: _category(category, names) for name, category in categories.items()},
        }
    return changed


def _category(category: JsonValue, names: Mapping[str, str]) -> JsonValue:
    if not isinstance(category, dict):
        return category
    changed = dict(category)
    referred, inline = changed.get("analyzerId"), changed.get("analyzer")
    if isinstance(referred, str) and referred in names:
        changed["analyzerId"] = names[referred]
    if isinstance(inline, dict):
        changed["analyzer"] = _with_references(inline, names)
    return changed


def primary_id(plan: RecoveryPlan, analyzer: str, at: str, primary: str, referenced: Collection[str]) -> str:
    """Give the id that an analyzer has at its source.

    Args:
        referenced: analyzers that others at that resource refer to; these keep their ids.
    """
    if at == primary or analyzer in referenced:
        return analyzer
    before, _, after = plan.target_id.partition(PLACE_OF_ID)
    is_a_copy = analyzer.startswith(before) and analyzer.endswith(after)
    bare = analyzer[len(before) : len(analyzer) - len(after)] if is_a_copy else ""
    return bare or analyzer


def ids_at(
    plan: RecoveryPlan, at: str, to: str, primary: str, definitions: Mapping[str, Mapping[str, JsonValue]]
) -> dict[str, str]:
    """Give the ids that the analyzers of one resource have at another."""
    if at == to:
        return {analyzer: analyzer for analyzer in definitions}
    referenced = referenced_anywhere(definitions)
    bare = {analyzer: primary_id(plan, analyzer, at, primary, referenced) for analyzer in definitions}
    if to == primary:
        return bare
    names = TargetNames(plan.target_id, referenced, ())
    return {analyzer: analyzer if analyzer in referenced else names.of(own) for analyzer, own in bare.items()}
