"""What a restore would do about the analyzers of one resource of a snapshot: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter

from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides
from standby.document import JsonValue
from standby.recovery.snapshots.fidelity import (
    MET,
    Fidelity,
    Found,
    Holding,
    RestoreAction,
    RestoreItem,
    action,
    doubt_of,
    fidelity,
    holding,
    told,
)
from standby.recovery.snapshots.id_mapping import Naming, renamed
from standby.recovery.snapshots.manifest import ResourceSnapshot
from standby.recovery.snapshots.store import without_access
from standby.replication.dependencies import LONGEST_ID, Dependencies, TargetNames, resolve
from standby.replication.fingerprint import fingerprint, writable
from standby.replication.inventory import Inventory
from standby.replication.ledger import RebuiltThere
from standby.replication.serving import JudgedModels, Serving, judge_models, models_of, with_added_defaults
from standby.replication.verdict import CopyRecord, expected_definition


@dataclass(frozen=True)
class Part:
    """One resource of a snapshot, and the target.

    Attributes:
        name: the resource, as the snapshot has it.
        kept: what it held.
        definitions: those that could be read, by analyzer.
        damaged: why others could not.
        selected: analyzers that are asked for.
        ids: id at the target, by analyzer.
        source: what served it then.
        target: what the target holds.
        overrides: the plan's deployment overrides for the target.
        records: verified copies at the target, by id there.
        owners: ids at the target that another resource of the snapshot already gets, with its name.
        rebuilt: what the target has of earlier restores, by id there.
    """

    plan: RecoveryPlan
    name: str
    kept: ResourceSnapshot
    definitions: Mapping[str, Mapping[str, JsonValue]]
    damaged: Mapping[str, tuple[str, ...]]
    selected: tuple[str, ...]
    ids: Mapping[str, str]
    naming: Naming
    source: Serving
    target: Inventory
    overrides: DeploymentOverrides
    records: Mapping[str, CopyRecord]
    owners: Mapping[str, str]
    rebuilt: RebuiltThere


@dataclass(frozen=True)
class PlannedPart:
    """The decisions about one resource of a snapshot.

    Attributes:
        definitions: what is sent, by id at the target, of what is created.
        added_defaults: model names that the target's defaults lack, with their deployments.
    """

    items: tuple[RestoreItem, ...]
    definitions: Mapping[str, Mapping[str, JsonValue]]
    added_defaults: Mapping[str, str]


class PartPlan:
    """Decides about one resource of a snapshot."""

    def __init__(self, part: Part) -> None:
        """Take what is to be decided about."""
        self._part = part
        self._to = part.target.serving.resource.name
        # Only what comes along is called otherwise; what does not is referred to as it was.
        self._names = {analyzer: part.ids[analyzer] for analyzer in self._dependencies.children}

    @cached_property
    def holdings(self) -> Mapping[str, Holding]:
        """What the target has of each analyzer that is asked for or needed."""
        return {analyzer: held for analyzer, (_, held) in self._counterparts.items()}

    def plan(self, changed: Mapping[str, str]) -> PlannedPart:
        """Decide about each analyzer.

        Args:
            changed: why labelled data is not proven to be what it was, by analyzer.
        """
        creating = [analyzer for analyzer, held in self.holdings.items() if action(held) is RestoreAction.CREATE]
        serving, added = with_added_defaults(
            (model for analyzer in creating for model in models_of(self._sent[analyzer])),
            self._part.source,
            self._part.target.serving,
            self._part.overrides,
            self._part.plan.missing_defaults,
        )
        items: dict[str, RestoreItem] = {}
        for analyzer in self._order():
            items[analyzer] = self._item(analyzer, changed.get(analyzer, ""), serving, items)
        needed = {
            model
            for analyzer, item in items.items()
            if item.action is RestoreAction.CREATE
            for _, model in models_of(self._sent[analyzer])
        }
        return PlannedPart(
            items=(*items.values(), *self._lost()),
            definitions={
                item.target_analyzer: self._sent[analyzer]
                for analyzer, item in items.items()
                if item.action is RestoreAction.CREATE
            },
            added_defaults={name: to for name, to in added.items() if name in needed},
        )

    @cached_property
    def _dependencies(self) -> Dependencies:
        readable = [analyzer for analyzer in self._part.selected if analyzer in self._part.definitions]
        return resolve(readable, self._part.definitions)

    @cached_property
    def _sent(self) -> Mapping[str, dict[str, JsonValue]]:
        """What a build of each analyzer sends: what its author decided, under the new names."""
        part = self._part
        return {
            analyzer: writable(
                renamed(
                    expected_definition(part.definitions[analyzer], part.target.serving.resource, part.overrides),
                    self._names,
                    part.naming.tags,
                )
            )
            for analyzer in self._dependencies.children
        }

    @cached_property
    def _expected(self) -> Mapping[str, str]:
        return {
            analyzer: fingerprint(without_access(definition), self._part.plan.ignore)
            for analyzer, definition in self._sent.items()
        }

    @cached_property
    def _counterparts(self) -> Mapping[str, tuple[str, Holding]]:
        return {analyzer: self._counterpart(analyzer) for analyzer in sorted(self._dependencies.children)}

    def _counterpart(self, analyzer: str) -> tuple[str, Holding]:
        """Find what stands for an analyzer at the target: its namesake, or a version that is met by it."""
        own = self._part.ids[analyzer]
        held = self._holding(analyzer, own)
        if held in {Holding.OTHER_VERSION, Holding.SOMETHING_ELSE}:
            for version in TargetNames("{id}", (), ()).versions(own, self._part.target.analyzers):
                if self._holding(analyzer, version) in MET:
                    return version, self._holding(analyzer, version)
        return own, held

    def _holding(self, analyzer: str, at_target: str) -> Holding:
        part = self._part
        there = part.target.analyzers.get(at_target)
        found = None
        if there is not None:
            definition, record = part.target.definitions[at_target], part.records.get(at_target)
            found = Found(there, definition, record, part.rebuilt.get(at_target))
        return holding(part.kept.analyzers[analyzer], self._expected[analyzer], found, part.plan.ignore)

    def _order(self) -> Iterable[str]:
        """Give the analyzers, children first; those in a circle come as they are."""
        cycles = self._dependencies.cycles
        graph = {
            analyzer: () if analyzer in cycles else needed for analyzer, needed in self._dependencies.children.items()
        }
        return TopologicalSorter(graph).static_order()

    def _item(self, analyzer: str, changed: str, serving: Serving, settled: Mapping[str, RestoreItem]) -> RestoreItem:
        part = self._part
        kept = part.kept.analyzers[analyzer]
        target_analyzer, held = self._counterparts[analyzer]
        there = part.target.analyzers.get(target_analyzer)
        if held is Holding.REBUILT and not changed and kept.labelled:
            changed = doubt_of(part.rebuilt[target_analyzer])
        item = RestoreItem(
            primary=part.kept.primary,
            resource=part.name,
            analyzer=analyzer,
            target_analyzer=target_analyzer,
            fidelity=fidelity(held, kept, changed),
            action=action(held),
            held=held is not Holding.NOTHING,
            met=held in MET,
            reason=told(held, kept, changed, self._to, there.status if there else ""),
            needs=tuple(
                sorted(part.ids[child] for child in self._dependencies.children[analyzer] if child != analyzer)
            ),
            fingerprint=self._expected[analyzer],
            warnings=self._warnings(analyzer),
        )
        judged = self._judged_models(analyzer, serving)
        if item.action is not RestoreAction.CREATE:
            # What is there stays there, but it would not work: that must not go unsaid.
            return item.model_copy(update={"warnings": item.warnings + judged.warnings + judged.errors})
        item = item.model_copy(update={"warnings": item.warnings + judged.warnings})
        obstacle = next(self._obstacles(analyzer, settled, there is not None), " ".join(judged.errors))
        if not obstacle:
            return item
        return item.model_copy(update={"action": RestoreAction.REFUSE, "reason": obstacle})

    def _obstacles(self, analyzer: str, settled: Mapping[str, RestoreItem], is_deleted: bool) -> Iterator[str]:
        """Say why an analyzer cannot be created, and what to do about it."""
        part, there = self._part, self._part.target
        version, spoken = part.kept.api_version, there.serving.resource.api_version
        own = part.ids[analyzer]
        if version != spoken:
            yield f"It was made under api-version {version}, and {self._to} has {spoken}. Set them alike."
        if len(own) > LONGEST_ID:
            yield f"It would be called {own}, which is too long for an id. Shorten target_id."
        if owner := part.owners.get(own):
            yield f"{self._to} already gets an analyzer of this id from {owner}. Restore one with --analyzer."
        if is_deleted:
            yield f"It is being deleted at {self._to}. Run again when it is gone."
        if analyzer in self._dependencies.cycles:
            path = " → ".join(self._dependencies.cycles[analyzer])
            yield f"It refers to itself through {path}. The service cannot build that."
        if absent := sorted(self._dependencies.missing.get(analyzer, frozenset()) - there.analyzers.keys()):
            lost = [name for name in absent if name in part.damaged]
            where = "damaged in" if lost else "not in"
            names = ", ".join(lost or absent)
            yield f"It refers to {names}, {where} the snapshot. Restore from another one with --as-of."
        for child in sorted(self._dependencies.children[analyzer]):
            if child in settled and settled[child].action is RestoreAction.REFUSE:
                yield f"Its child {child} is refused. Fix that first."

    def _judged_models(self, analyzer: str, serving: Serving) -> JudgedModels:
        part = self._part
        return judge_models(
            models_of(self._sent[analyzer]),
            part.source,
            serving,
            part.overrides,
            part.plan.missing_defaults,
        )

    def _warnings(self, analyzer: str) -> tuple[str, ...]:
        kept = self._part.kept.analyzers[analyzer]
        told: list[str] = []
        if analyzer in self._dependencies.pulled_in and analyzer not in self._part.selected:
            told.append("Not selected, but needed by one that is.")
        if kept.status != "ready":
            told.append(f"It was {kept.status} when the snapshot was taken.")
        told += [
            f"Training needs access to {each.container}: the signature in its URL is not kept."
            for each in kept.labelled
            if each.access_cut
        ]
        return tuple(dict.fromkeys(told))

    def _lost(self) -> Iterable[RestoreItem]:
        """Refuse what is asked for and cannot be read any more."""
        for analyzer in self._part.selected:
            if problems := self._part.damaged.get(analyzer):
                target_analyzer = self._part.naming.of(analyzer)
                yield RestoreItem(
                    primary=self._part.kept.primary,
                    resource=self._part.name,
                    analyzer=analyzer,
                    target_analyzer=target_analyzer,
                    fidelity=Fidelity.UNFAITHFUL,
                    action=RestoreAction.REFUSE,
                    held=target_analyzer in self._part.target.analyzers,
                    reason=f"{'. '.join(problems)}. Restore it from another snapshot with --as-of.",
                )
