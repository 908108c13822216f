"""The id of an analyzer at each resource of a plan, and which copy belongs to which: copies may have other ids."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from standby.config.globs import original_id
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.replication.inventory import Inventory, is_protected
from standby.replication.items import Records, TargetNames, fitting_id
from standby.replication.needs import referenced_anywhere, resolve, with_references

LONG_AGO = datetime.min.replace(tzinfo=UTC)
MOST_TAGS = 10  # Tags that an analyzer may have (REFERENCE, *The analyzer*)


@dataclass(frozen=True)
class Naming:
    """How restored analyzers differ in name from what the snapshot has."""

    prefix: str = ""
    # Added to every analyzer; where there are too many then, its own give way.
    tags: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        return fitting_id(f"{self.prefix}{analyzer}")


keep_names = Naming()  # Ids stay what they are


def renamed(
    definition: Mapping[str, JsonValue], names: Mapping[str, str], tags: Mapping[str, str]
) -> dict[str, JsonValue]:
    """Give a definition whose references lead to new names, by the old ones, and which has more tags."""
    changed = with_references(definition, names)
    if tags:
        own = definition.get("tags")
        rest = {key: own[key] for key in own if key not in tags} if isinstance(own, dict) else {}
        changed["tags"] = dict(list({**tags, **rest}.items())[:MOST_TAGS])
    return changed


def primary_id(plan: RecoveryPlan, analyzer: str, at: str, primary: str, referenced: Collection[str]) -> str:
    """Give the id that an analyzer has at its source; one that others at the resource refer to has kept its id."""
    if at == primary or analyzer in referenced:
        return analyzer
    return original_id(plan.target_id, analyzer)


def ids_at(
    plan: RecoveryPlan, at: str, to: str, primary: str, definitions: Mapping[str, Mapping[str, JsonValue]]
) -> dict[str, str]:
    if at == to:
        return {analyzer: analyzer for analyzer in definitions}
    referenced = referenced_anywhere(definitions)
    bare = {analyzer: primary_id(plan, analyzer, at, primary, referenced) for analyzer in definitions}
    if to == primary:
        return bare
    names = TargetNames(plan.target_id, referenced, ())
    return {analyzer: analyzer if analyzer in referenced else names.of(own) for analyzer, own in bare.items()}


@dataclass(frozen=True)
class Provenance:
    """Every analyzer of a standby, traced to the primary."""

    primary_ids: Mapping[str, str]  # id at the primary, by id at the standby
    # Ids at the standby of what a failback copies: copies, what the plan's filters would choose at the primary, and
    # what those need.
    belonging: tuple[str, ...]
    superseded: tuple[str, ...]  # ids at the standby of older copies, of which there is a newer one
    outside: tuple[str, ...]

    @property
    def standby_ids(self) -> Mapping[str, str]:
        """Id at the standby of what a failback copies, by its id at the primary."""
        return {self.primary_ids[name]: name for name in self.belonging}


def trace(
    plan: RecoveryPlan, primary: Inventory | None, standby: Inventory, records: Records, now: datetime
) -> Provenance:
    originals = {} if primary is None else primary.definitions
    names = TargetNames(plan.target_id, referenced_anywhere(originals), taken=())
    # What keeps its id comes before what is renamed to that id, as when it was copied.
    copies = {names.of(name): name for name in sorted(originals, key=lambda name: names.of(name) == name)}
    recorded = {name: record.analyzer for name, record in records.items() if record.analyzer is not None}
    known = {**copies, **recorded}
    primary_ids = {name: known.get(name) or original_id(plan.target_id, name) for name in standby.analyzers}
    newest: dict[str, str] = {}
    copied_at = {name: record.copied_at for name, record in records.items()}
    for name in sorted(primary_ids, key=lambda name: (copied_at.get(name, LONG_AGO), name in copies, name)):
        newest[primary_ids[name]] = name
    superseded = {name for name in primary_ids if newest[primary_ids[name]] != name}
    # An old edit is an edit, too: the filter by date does not count.
    filters = plan.model_copy(update={"modified_since": None})
    protected = {
        name
        for name, analyzer in standby.analyzers.items()
        if name in records or is_protected(filters, analyzer.model_copy(update={"analyzer_id": primary_ids[name]}), now)
    }
    needed = resolve(protected, standby.definitions).children.keys()
    return Provenance(
        primary_ids=primary_ids,
        belonging=tuple(sorted(needed - superseded)),
        superseded=tuple(sorted(needed & superseded)),
        outside=tuple(sorted(primary_ids.keys() - needed)),
    )
