"""The id of an analyzer at each resource of a plan: copies may have other ids."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from standby.config.globs import original_id
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.replication.items import TargetNames, fitting_id
from standby.replication.needs import referenced_anywhere

MOST_TAGS = 10  # Tags that an analyzer may have (REFERENCE, *The analyzer*)


@dataclass(frozen=True)
class Naming:
    """How restored analyzers differ in name from what the snapshot has."""

    prefix: str = ""
    # Added to every analyzer; where there are too many then, its own give way.
    tags: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        """Give an id under the prefix."""
        return fitting_id(f"{self.prefix}{analyzer}")


keep_names = Naming()  # Ids stay what they are


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
        renamed_ = {name: _category(category, names) for name, category in categories.items()}
        changed["config"] = {**config, "contentCategories": renamed_}
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
    return original_id(plan.target_id, analyzer)


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
