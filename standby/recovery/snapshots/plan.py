"""Decides what a restore would do: from a snapshot, from what the target holds, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from graphlib import TopologicalSorter

from standby.config.errors import UnknownName
from standby.config.globs import LONGEST_ID, matches
from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides
from standby.document import JsonValue
from standby.errors import GuardRefused
from standby.fencing import ActiveElsewhere, OtherFenceUnknown, OtherPlans
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots import fidelity
from standby.recovery.snapshots.fidelity import Fidelity, Found, Holding, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.id_mapping import Naming, ids_at, keep_names, renamed
from standby.recovery.snapshots.labelled import see_labelled, what_changed
from standby.recovery.snapshots.manifest import ResourceSnapshot, SnapshotError
from standby.recovery.snapshots.snapshot import Snapshot, readable_definitions
from standby.replication.fingerprint import comparison, fingerprint, same_meaning, sendable
from standby.replication.inventory import Inventory, must_match, take_inventory
from standby.replication.items import versions
from standby.replication.ledger import RebuiltThere, read_ledger, read_rebuilt
from standby.replication.needs import Dependencies, Serving, judge_models, models_of, resolve, with_added_defaults
from standby.replication.trained import still_there
from standby.replication.verdict import CopyRecord, expected_definition, status_of
from standby.service.models import Analyzer
from standby.text import utc


class NotOfThisPlan(SnapshotError):
    def __init__(self, plan: str, resource: str, taken_at: datetime) -> None:
        cause = f"The snapshot of plan {plan} of {utc(taken_at)} has nothing for {resource}"
        super().__init__(cause, "Name a source or a target of the plan")


async def plan_restore(
    context: RecoveryContext,
    snapshot: Snapshot,
    to: str,
    *,
    analyzers: Sequence[str] = ("*",),  # globs on ids as the snapshot has them; what they refer to comes along
    naming: Naming = keep_names,
    only_missing: bool = False,  # leave out whatever the target has under the id, whatever it is
    primary: str = "",  # only what serves for this primary; everything that belongs at `to` if left out
) -> RestorePlan:
    """Decide what to do about every analyzer of a snapshot at one resource; no other resource is asked."""
    if to not in context.plan.resources:
        raise UnknownName(f"resource of plan {context.plan.name}", to, context.plan.resources)
    parts = {name: part for name, part in snapshot.resources.items() if _belongs(context.plan, name, part, to, primary)}
    if not parts:
        raise NotOfThisPlan(context.plan.name, to, snapshot.taken_at)
    must_match(analyzers, {analyzer for part in parts.values() for analyzer in part.analyzers})
    inventory = await take_inventory(context.connections[to])
    context.connections.remember_serving(inventory.serving)
    rebuilt = await read_rebuilt(context.vault, to)
    there = still_there(rebuilt, inventory.analyzers)
    planned: list[Decisions] = []
    owners: dict[str, str] = {}
    others = OtherPlansThere(await context.run.other_plans(fresh=True), to, in_failover=only_missing)
    for name in parts:
        own = await _plan_part(context, snapshot, name, inventory, there, analyzers, naming, owners, others)
        owners = {item.target_analyzer: name for item in own.items} | owners
        planned.append(own)
    items = [item for own in planned for item in own.items if not (only_missing and item.held)]
    return RestorePlan(
        snapshot_id=snapshot.id,
        taken_at=snapshot.taken_at,
        to=to,
        items=tuple(sorted(items, key=lambda item: (item.target_analyzer, item.resource))),
        definitions={name: sent for own in planned for name, sent in own.definitions.items()},
        added_defaults={name: to for own in planned for name, to in own.added_defaults.items()},
        problems=snapshot.problems,
        stale=tuple(each for name, each in rebuilt.items() if name not in there),
        is_drill=bool(naming.prefix),
        elsewhere={
            item.target_analyzer: error
            for item in items
            if not item.met and (error := others.against(item.target_analyzer)) is not None
        },
    )


async def _plan_part(
    context: RecoveryContext,
    snapshot: Snapshot,
    name: str,
    inventory: Inventory,
    rebuilt: RebuiltThere,
    analyzers: Sequence[str],
    naming: Naming,
    owners: Mapping[str, str],
    others: OtherPlansThere,
) -> Decisions:
    stored, to = snapshot.resources[name], inventory.serving.resource.name
    definitions, damaged = await readable_definitions(context, snapshot, name)
    ids = ids_at(context.plan, name, to, stored.primary, definitions)
    if naming.prefix:
        ids = {analyzer: naming.of(analyzer) for analyzer in definitions}
    home = context.configuration.resources.get(stored.primary)
    resource_plan = ResourcePlan(
        recovery_plan=context.plan,
        name=name,
        stored=stored,
        definitions=definitions,
        damaged=damaged,
        selected=tuple(analyzer for analyzer in stored.analyzers if matches(analyzer, analyzers)),
        ids=ids,
        naming=naming,
        source=source_serving(context, name, stored, inventory.serving),
        target=inventory,
        records=await _records(context, name, stored, to),
        owners=owners,
        rebuilt=rebuilt,
        now=context.clock.now(),
        others=others,
        outside=context.plan.leaving(home, inventory.serving.resource) if home else "",
    )
    doubtful = {
        analyzer: definitions[analyzer]
        for analyzer, held in resource_plan.holdings.items()
        if held in fidelity.ABSENT | {Holding.SAME_DEFINITION, Holding.REBUILT} and stored.analyzers[analyzer].labelled
    }
    client = context.connections[to]
    now = await see_labelled(doubtful, client.resource, client.tls)
    return resource_plan.decide(
        {analyzer: what_changed(stored.analyzers[analyzer].labelled, now[analyzer]) for analyzer in doubtful}
    )


def _belongs(plan: RecoveryPlan, name: str, part: ResourceSnapshot, to: str, primary: str) -> bool:
    """Say whether what a resource held belongs at another: it is in one recovery with it."""
    primaries = [each for each in part.primaries if not primary or each == primary]
    targets = {target for pair in plan.pairs if pair.source in primaries for target in pair.targets}
    return bool(primaries) and (to == name or to in primaries or to in targets)


async def _records(context: RecoveryContext, name: str, part: ResourceSnapshot, to: str) -> dict[str, CopyRecord]:
    """Read what was copied to the target from where the snapshot is of, by id at the target."""
    records: dict[str, CopyRecord] = {}
    for source in dict.fromkeys((*part.primaries, name)):
        if source != to:
            version = context.connections[to].resource.api_version
            records |= (await read_ledger(context.vault, source, to, version)).records
    return records


def source_serving(context: RecoveryContext, name: str, part: ResourceSnapshot, target: Serving) -> Serving:
    """Give what served the analyzers when the snapshot was taken; that resource is not asked."""
    known = context.configuration.resources.get(name) or target.resource.model_copy(update={"name": name})
    resource = known.model_copy(update={"api_version": part.api_version})
    return Serving(resource=resource, defaults=part.defaults, deployments=part.deployments)


@dataclass(frozen=True)
class OtherPlansThere:
    others: OtherPlans
    to: str
    # It adds what is missing as a part of a failover, which asked the fences itself and may lead to the same resource
    # at the same time as that of another plan.
    in_failover: bool

    def against(self, analyzer: str) -> GuardRefused | None:
        what = f"does not restore {analyzer} at {self.to}"
        other = self.others.serving(self.to, analyzer)
        if other is not None and (other.is_settled or not self.in_failover):
            return ActiveElsewhere(self.others.plan, what, other)
        if self.others.unknown and not self.in_failover:
            return OtherFenceUnknown(self.others.plan, what, self.others.unknown[0])
        return None


@dataclass(frozen=True)
class Decisions:
    items: tuple[RestoreItem, ...]
    definitions: Mapping[str, Mapping[str, JsonValue]]
    added_defaults: Mapping[str, str]


@dataclass(frozen=True)
class ResourcePlan:
    """What a restore would do about the analyzers of one resource of a snapshot: a pure function of these."""

    recovery_plan: RecoveryPlan
    name: str
    stored: ResourceSnapshot
    definitions: Mapping[str, Mapping[str, JsonValue]]
    damaged: Mapping[str, tuple[str, ...]]
    selected: tuple[str, ...]
    ids: Mapping[str, str]  # id at the target, by analyzer
    naming: Naming
    source: Serving
    target: Inventory
    records: Mapping[str, CopyRecord]  # verified copies at the target, by id there
    owners: Mapping[str, str]  # ids at the target that another resource of the snapshot already gets, with its name
    rebuilt: RebuiltThere  # what the target has of earlier restores, by id there
    now: datetime  # when the target was seen, UTC
    others: OtherPlansThere | None = None  # what serves for other plans; not considered where it is left out
    outside: str = ""  # why data of the primary must not be kept at the target; empty where it may

    @cached_property
    def holdings(self) -> Mapping[str, Holding]:
        return {analyzer: held for analyzer, (_, held) in self._counterparts.items()}

    def decide(self, changed: Mapping[str, str]) -> Decisions:
        """Decide about each analyzer; `changed` says why labelled data is not proven to be what it was."""
        creating = [
            analyzer for analyzer, held in self.holdings.items() if fidelity.action(held) is RestoreAction.CREATE
        ]
        models = [model for analyzer in creating for model in models_of(self._sent[analyzer])]
        there, missing = self.target.serving, self.recovery_plan.missing_defaults
        serving, added = with_added_defaults(models, self.source, there, self._overrides, missing)
        # Children first; those in a circle come as they are.
        cycles, children = self._dependencies.cycles, self._dependencies.children
        graph = {analyzer: () if analyzer in cycles else needed for analyzer, needed in children.items()}
        items: dict[str, RestoreItem] = {}
        for analyzer in TopologicalSorter(graph).static_order():
            items[analyzer] = self._item(analyzer, changed.get(analyzer, ""), serving, items)
        built = {name: item for name, item in items.items() if item.action is RestoreAction.CREATE}
        sent = {item.target_analyzer: self._sent[analyzer] for analyzer, item in built.items()}
        needed = {model for definition in sent.values() for _, model in models_of(definition)}
        defaults = {name: to for name, to in added.items() if name in needed}
        return Decisions(items=(*items.values(), *self._lost()), definitions=sent, added_defaults=defaults)

    @property
    def _to(self) -> str:
        return self.target.serving.resource.name

    @property
    def _overrides(self) -> DeploymentOverrides:
        return self.recovery_plan.overrides(self._to)

    @cached_property
    def _new_names(self) -> Mapping[str, str]:
        # Only what comes along has another id; what does not is referred to as it was.
        return {analyzer: self.ids[analyzer] for analyzer in self._dependencies.children}

    @cached_property
    def _dependencies(self) -> Dependencies:
        readable = [analyzer for analyzer in self.selected if analyzer in self.definitions]
        return resolve(readable, self.definitions)

    @cached_property
    def _sent(self) -> Mapping[str, dict[str, JsonValue]]:
        """What a build of each analyzer sends: all that the service showed, under the new names."""
        return {analyzer: self._as_there(analyzer, None) for analyzer in self._dependencies.children}

    def _as_there(self, analyzer: str, there: Mapping[str, JsonValue] | None) -> dict[str, JsonValue]:
        own, resource = self.definitions[analyzer], self.target.serving.resource
        expected = expected_definition(own, resource, self._overrides, there)
        return sendable(renamed(expected, self._new_names, self.naming.tags))

    @cached_property
    def _expected(self) -> Mapping[str, str]:
        ignore = self.recovery_plan.ignore
        return {analyzer: fingerprint(definition, ignore) for analyzer, definition in self._sent.items()}

    @cached_property
    def _counterparts(self) -> Mapping[str, tuple[str, Holding]]:
        return {analyzer: self._counterpart(analyzer) for analyzer in sorted(self._dependencies.children)}

    @cached_property
    def _versions(self) -> Mapping[str, list[str]]:
        return versions(self.target.analyzers)

    def _counterpart(self, analyzer: str) -> tuple[str, Holding]:
        """Find an analyzer's counterpart at the target: the one of the same id, or a version that is met by it."""
        own = self.ids[analyzer]
        held = self._holding(analyzer, own)
        if held in {Holding.OTHER_VERSION, Holding.SOMETHING_ELSE}:
            for version in self._versions.get(own, ()):
                if self._holding(analyzer, version) in fidelity.MET:
                    return version, self._holding(analyzer, version)
        return own, held

    def _holding(self, analyzer: str, at_target: str) -> Holding:
        there = self.target.analyzers.get(at_target)
        if there is None:
            return Holding.NOTHING
        ignore, definition = self.recovery_plan.ignore, self.target.definitions[at_target]
        rebuilt, own = self.rebuilt.get(at_target), fingerprint(definition, ignore)
        is_as_built = rebuilt is not None and rebuilt.is_as_built(there)  # a restore built it, and nobody changed it
        compared = comparison(self._as_there(analyzer, definition), definition, ignore)
        as_expected = compared.is_filled_in(as_copied=is_as_built) or same_meaning(own, self._expected[analyzer])
        found = Found(there, own, as_expected, self.records.get(at_target), self._status(there), rebuilt)
        return fidelity.holding(self.stored.analyzers[analyzer], found)

    def _status(self, there: Analyzer) -> str:
        return status_of(there, self.now, self.recovery_plan.deadlines.poll)

    def _item(self, analyzer: str, changed: str, serving: Serving, decided: Mapping[str, RestoreItem]) -> RestoreItem:
        entry = self.stored.analyzers[analyzer]
        target_analyzer, held = self._counterparts[analyzer]
        there = self.target.analyzers.get(target_analyzer)
        doubtful = held is Holding.REBUILT and self.rebuilt[target_analyzer].fidelity == Fidelity.UNFAITHFUL
        if doubtful and not changed and entry.labelled:
            changed = "When it was rebuilt, its labelled data was not proven to be unchanged"
        item = RestoreItem(
            primary=self.stored.primary,
            resource=self.name,
            analyzer=analyzer,
            target_analyzer=target_analyzer,
            fidelity=fidelity.fidelity(held, entry, changed),
            action=fidelity.action(held),
            held=held not in fidelity.ABSENT,
            met=held in fidelity.MET,
            over_failed=held is Holding.FAILED,
            reason=fidelity.explain(
                held, entry, changed, self._to, self._status(there) if there else "", self._delete(target_analyzer)
            ),
            needs=tuple(
                sorted(self.ids[child] for child in self._dependencies.children[analyzer] if child != analyzer)
            ),
            fingerprint=self._expected[analyzer],
            warnings=self._warnings(analyzer),
        )
        models, missing = models_of(self._sent[analyzer]), self.recovery_plan.missing_defaults
        judged = judge_models(models, self.source, serving, self._overrides, missing)
        if item.action is not RestoreAction.CREATE:
            # It stays as it is, but would not work, which must be said.
            return item.model_copy(update={"warnings": item.warnings + judged.warnings + judged.errors})
        item = item.model_copy(update={"warnings": item.warnings + judged.warnings})
        is_deleted = there is not None and held is Holding.NOTHING
        obstacle = next(self._obstacles(analyzer, decided, is_deleted), " ".join(judged.errors))
        if not obstacle:
            return item
        return item.model_copy(update={"action": RestoreAction.REFUSE, "reason": obstacle})

    def _delete(self, there: str) -> str:
        resource = self.target.serving.resource
        path = f"{resource.endpoint}/contentunderstanding/analyzers/{there}"
        return f"delete it with DELETE {path}?api-version={resource.api_version}"

    def _obstacles(self, analyzer: str, decided: Mapping[str, RestoreItem], is_deleted: bool) -> Iterator[str]:
        """Say why an analyzer cannot be created, and what to do about it."""
        there = self.target
        version, spoken = self.stored.api_version, there.serving.resource.api_version
        own = self.ids[analyzer]
        if self.outside:
            yield self.outside
        if self.others is not None and (against := self.others.against(own)) is not None:
            yield str(against)
        if version != spoken:
            yield f"It was made under api-version {version}, and {self._to} has {spoken}. Use the same one at both."
        if len(own) > LONGEST_ID:
            yield f"It would be called {own}, which is too long for an id. Shorten target_id."
        if owner := self.owners.get(own):
            yield f"{self._to} already gets an analyzer of this id from {owner}. Restore one with --analyzer."
        if is_deleted:
            yield f"It is being deleted at {self._to}. Run again when it is gone."
        if analyzer in self._dependencies.cycles:
            path = " → ".join(self._dependencies.cycles[analyzer])
            yield f"It refers to itself through {path}. The service cannot build that."
        if absent := sorted(self._dependencies.missing.get(analyzer, frozenset()) - there.analyzers.keys()):
            lost = [name for name in absent if name in self.damaged]
            where = "damaged in" if lost else "not in"
            names = ", ".join(lost or absent)
            yield f"It refers to {names}, {where} the snapshot. Restore from another one with --as-of."
        for child in sorted(self._dependencies.children[analyzer]):
            if child in decided and decided[child].action is RestoreAction.REFUSE:
                yield f"Its child {child} is refused. Fix that first."

    def _warnings(self, analyzer: str) -> tuple[str, ...]:
        entry = self.stored.analyzers[analyzer]
        warnings: list[str] = []
        if analyzer in self._dependencies.pulled_in and analyzer not in self.selected:
            warnings.append("Not selected, but needed by one that is.")
        if entry.status != "ready":
            warnings.append(f"It was {entry.status} when the snapshot was taken.")
        cut = [each.container for each in entry.labelled if each.access_cut]
        warnings += [f"Training needs access to {name}: the signature in its URL is not stored." for name in cut]
        return tuple(dict.fromkeys(warnings))

    def _lost(self) -> Iterable[RestoreItem]:
        """Refuse what is asked for and cannot be read any more."""
        for analyzer in self.selected:
            if problems := self.damaged.get(analyzer):
                target_analyzer = self.naming.of(analyzer)
                yield RestoreItem(
                    primary=self.stored.primary,
                    resource=self.name,
                    analyzer=analyzer,
                    target_analyzer=target_analyzer,
                    fidelity=Fidelity.UNFAITHFUL,
                    action=RestoreAction.REFUSE,
                    held=target_analyzer in self.target.analyzers,
                    reason=f"{'. '.join(problems)}. Restore it from another snapshot with --as-of.",
                )
