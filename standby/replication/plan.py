"""From what all resources hold to what a run would do: a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from standby.config.globs import LONGEST_ID, matches
from standby.config.plan import RecoveryPlan
from standby.config.resource import PREVIEW_2025, DeploymentOverrides
from standby.fencing import OtherPlans
from standby.replication import items
from standby.replication import verdict as verdicts
from standby.replication.errors import NothingSelected
from standby.replication.fingerprint import Comparison, Definition, same_meaning, writable
from standby.replication.inventory import Inventory, Meaning, is_protected, must_match, sight_as_it_is
from standby.replication.items import PlanItem, Records, ReplicationPlan, Selection
from standby.replication.ledger import Owner, RebuiltThere
from standby.replication.needs import Dependencies, JudgedModels, closure, judge_models, resolve, with_added_defaults
from standby.replication.trained import Guard, force_warnings, guard, guarded, is_side_copy_of, side_copy_names
from standby.replication.verdict import Action, CopyRecord, Sighting, Verdict

AT_HAND = frozenset({Verdict.IN_SYNC, Verdict.CREATING})  # With which a version there counts as the copy


@dataclass(frozen=True)
class Pair:
    """One source and one target of a plan, with what both hold; the rest is as in `make_plan`."""

    recovery_plan: RecoveryPlan
    selection: Selection
    selected: Sequence[str]
    source: Inventory
    target: Inventory
    records: Records
    owners: Mapping[str, Owner]
    rebuilt: Mapping[str, RebuiltThere]
    now: datetime
    others: OtherPlans
    following: bool
    earlier: bool
    _comparisons: dict[tuple[str, str], Comparison] = field(init=False, default_factory=dict)
    _judged: dict[tuple[tuple[str, str], ...], JudgedModels] = field(init=False, default_factory=dict)

    @cached_property
    def names(self) -> items.TargetNames:
        return items.TargetNames(
            template=self.recovery_plan.target_id,
            referenced=frozenset(it for name in self.source.analyzers for it in self._meant(name).references),
            taken=self.target.analyzers.keys() | self.source.analyzers.keys(),
            given=self.selection.names,
        )

    def plan(self) -> tuple[list[PlanItem], Mapping[str, str]]:
        """Decide for every selected analyzer and what those need; give the items by name, and the defaults to add."""
        dependencies = closure(self.selected, self.source.analyzers, lambda name: self._meant(name).references)
        models = {model: None for name in dependencies.children for model in self._meant(name).models}
        there, missing = self.target.serving, self.recovery_plan.missing_defaults
        serving, added = with_added_defaults(models, self.source.serving, there, self.overrides, missing)
        pair = replace(self, target=replace(self.target, serving=serving))
        own = {name: pair._item(name, dependencies) for name in dependencies.children}
        beside = items.beside_other_plans(items.apart(own), self.others, following=self.following)
        decided = list(items.after_children(beside, dependencies))
        done = [it for it in decided if it.action is not Action.REFUSE and not pair._judged_models(it).errors]
        needed = {model for item in done for _, model in item.models}
        return decided, {name: deployment for name, deployment in added.items() if name in needed}

    @property
    def overrides(self) -> DeploymentOverrides:
        return self.recovery_plan.overrides(self.target.serving.resource.name)

    def _meant(self, name: str) -> Meaning:
        return self.source.meaning(name, self.recovery_plan.ignore)

    def _item(self, name: str, dependencies: Dependencies) -> PlanItem:
        source, target = self.source.serving.resource, self.target.serving.resource
        target_name, expected, found, verdict = self._counterpart(name)
        verdict = self._against_records(name, target_name, expected, found, verdict)
        last = self._last(target_name, found)
        action = self._action(name, verdict)
        if action is Action.COPY and found is not None and found.status in verdicts.HOLDS_NOTHING:
            action = Action.REPLACE
        why = guard(verdict, expected, found, last)
        if action is Action.REPLACE and why is not None and name not in self._forced(why):
            action = Action.REFUSE
        equal = found is not None and same_meaning(found.fingerprint, expected.fingerprint)
        differences = () if equal or found is None else self._compared(name, target_name).differences()
        unlisted = self.target.unlisted if found is None else ""
        status = found.status if found else "ready"
        in_place = target.api_version != PREVIEW_2025
        item = PlanItem(
            source=source.name,
            target=target.name,
            analyzer=name,
            target_analyzer=self.names.free_version(name) if action is Action.COPY_AS_VERSION else target_name,
            verdict=verdict,
            action=action,
            reason=verdicts.explain(
                verdict, action, name, source.name, target.name, status, equal=equal, in_place=in_place
            ),
            needs=tuple(sorted(dependencies.children[name])),
            models=self._meant(name).models,
            expected=expected,
            found=found,
            last=last,
            differences=tuple(each.path for each in differences),
            warnings=(*dependencies.warnings_of(name), *([f"It may be there: {unlisted}"] if unlisted else [])),
        )
        advice = f"Delete it there, or overwrite it with --force {name}"
        is_overwritten = item.over_nothing or name in self.selection.force
        there = "" if is_overwritten else self.target.unreadable(target_name, advice)
        if name not in self.selection.keep and (wrong := self.source.unreadable(name) or there):
            return items.blocked(item, wrong)
        if why is not None:
            item = guarded(item, why, self._side_copy)
        if warnings := force_warnings(item):
            item = replace(item, warnings=item.warnings + warnings)
        if name not in self.selection.force and (cause := self._belongs_elsewhere(item)):
            return items.blocked(item, f"{cause}. Rename one of the two, or overwrite it with --force {name}.")
        return self._against_models(_against_source(self._against_target(item), dependencies))

    def _belongs_elsewhere(self, item: PlanItem) -> str:
        """Say whose analyzer would be replaced, where it is not of this pair alone."""
        if item.action is not Action.REPLACE:
            return ""
        there = item.target_analyzer
        if owner := self.owners.get(there):
            return (
                f"Another plan copied {there} to {item.target} from {owner.source}: the two would overwrite each "
                f"other in turn (if nothing is copied there from {owner.source} now, remove {owner.ledger})"
            )
        is_source = item.target in {pair.source for pair in self.recovery_plan.pairs}
        own = is_source and is_protected(self.recovery_plan, self.target.analyzers[there], self.now)
        if own and item.verdict is Verdict.FOREIGN:
            return f"This plan protects {there} at {item.target}, too, which was not copied from {item.source}"
        return ""

    def _judge(self, name: str, target_name: str, expected: Sighting, found: Sighting | None) -> Verdict:
        record = self.records.get(target_name)
        if found is None or same_meaning(found.fingerprint, expected.fingerprint):
            return verdicts.judge(expected, found, record)
        built = self.rebuilt.get(self.target.serving.resource.name, {}).get(target_name)
        as_copied = record is not None and record.target.status == verdicts.UNFINISHED
        as_copied |= built is not None and built.is_as_built(self.target.analyzers[target_name])
        filled_in = self._compared(name, target_name).is_filled_in(as_copied=as_copied)
        return verdicts.judge(expected, found, record, is_filled_in=filled_in)

    def _against_records(
        self, name: str, target_name: str, expected: Sighting, found: Sighting | None, verdict: Verdict
    ) -> Verdict:
        record = self.records.get(target_name)
        if verdict is not Verdict.IN_SYNC or found is None or not found.trained:
            return verdict
        known = record is not None and expected.is_same(record.source) and found.is_same(record.target)
        if found.rebuilt or not known:
            # One definition can be two trainings: only a record knows better than who says that they differ.
            if name in self.selection.keep:
                return Verdict.TARGET_AHEAD
            if name in self.selection.force:
                return Verdict.SOURCE_AHEAD
        return verdict

    def _action(self, name: str, verdict: Verdict) -> Action:
        if name in self.selection.keep and verdict in verdicts.OVERWRITABLE:
            return Action.SKIP
        policy = self.selection.on_existing or self.recovery_plan.on_existing
        if verdict is Verdict.FOREIGN and self.selection.on_foreign is not None:
            policy = self.selection.on_foreign
        return verdicts.decide(verdict, policy, forced=name in self.selection.force)

    def _forced(self, why: Guard) -> tuple[str, ...]:
        force, for_trained = self.selection.force, self.selection.force_trained
        return force if for_trained is None or why is Guard.UNKNOWN else for_trained

    def _side_copy(self, name: str, found: Sighting) -> str:
        """Choose an id that is free, or that of a side copy which was made by a run that did not come further."""
        names, taken = side_copy_names(name, self.now.date()), self.names.taken
        return next(it for it in names if it not in taken or is_side_copy_of(self._sight_target(it), found))

    def _counterpart(self, name: str) -> tuple[str, Sighting, Sighting | None, Verdict]:
        """Find an analyzer's counterpart at the target: the one of the same id, or a version that equals it."""
        # Given are its id there, what a copy of the analyzer would be there, what the target has, and how it relates.
        own = self.names.of(name)
        expected = self._expected(name, own)
        found = self._sight_target(own, expected)
        own_verdict = self._judge(name, own, expected, found)
        if own_verdict is Verdict.MISSING or own_verdict in AT_HAND or name in self.selection.names:
            return own, expected, found, own_verdict
        for version in self._versions.get(own, ()):
            if version in self.source.analyzers:
                continue  # It is called like a version, and is none.
            wanted = self._expected(name, version)
            candidate = self._sight_target(version, wanted)
            if candidate is None:
                continue
            verdict = self._judge(name, version, wanted, candidate)
            is_equal = same_meaning(candidate.fingerprint, wanted.fingerprint)
            if verdict is Verdict.IN_SYNC or (is_equal and verdict in AT_HAND):
                return version, wanted, candidate, verdict
        return own, expected, found, own_verdict

    @cached_property
    def _versions(self) -> Mapping[str, list[str]]:
        return items.versions(self.target.analyzers)

    def _last(self, target_name: str, found: Sighting | None) -> CopyRecord | None:
        """Give the record of the last copy, unless the target's analyzer is another one by now."""
        record = self.records.get(target_name)
        if record is None or found is None or record.target.created_at != found.created_at:
            return None
        if record.target.status == verdicts.UNFINISHED:
            return None  # It was never found good.
        return record

    def _sight_target(self, name: str, expected: Sighting | None = None) -> Sighting | None:
        analyzer = self.target.analyzers.get(name)
        if analyzer is None:
            return None
        found = self._sight(self.target, name, name)
        status = verdicts.status_of(analyzer, self.now, self.recovery_plan.deadlines.poll)
        found = found if status == found.status else replace(found, status=status)
        record = self._last(name, found)
        begun = self.records.get(name)
        if expected and begun and verdicts.is_unfinished(begun, found, expected):
            found = replace(found, status=verdicts.UNFINISHED)
        listed = self.rebuilt.get(self.target.serving.resource.name, {}).get(name)
        recorded = record is not None and record.target.rebuilt and not verdicts.is_trained_again(found, record.target)
        # What was trained there since it was rebuilt is trained, for all that is known.
        is_rebuilt = listed is not None and listed.trained and listed.is_certain and not listed.is_older_than(analyzer)
        return replace(found, rebuilt=True) if recorded or is_rebuilt else found

    def _definition(self, name: str, target_name: str) -> Definition | None:
        """Give what a copy of an analyzer has, where that is not what the analyzer has itself."""
        target, there = self.target.serving.resource, self.target.definitions.get(target_name)
        if target.api_version != PREVIEW_2025:
            return None
        return verdicts.expected_definition(self.source.definitions[name], target, self.overrides, there)

    def _expected(self, name: str, target_name: str) -> Sighting:
        seen = self._sight(self.source, name, target_name, self._definition(name, target_name))
        record = self.records.get(target_name)
        built = self.rebuilt.get(self.source.serving.resource.name, {}).get(name)
        listed = built is not None and built.trained
        recorded = record is not None and record.source.rebuilt and record.source.created_at == seen.created_at
        return replace(seen, rebuilt=True) if listed or recorded else seen

    def _sight(self, there: Inventory, name: str, target_name: str, definition: Definition | None = None) -> Sighting:
        """See an analyzer as it is, or as a definition describes it, so that it can be compared with its record."""
        analyzer, record, ignore = there.analyzers[name], self.records.get(target_name), self.recovery_plan.ignore
        if definition is not None or self.earlier or (record is not None and record.is_by_first_rules):
            return verdicts.sight(analyzer, there.definitions[name] if definition is None else definition, ignore)
        return sight_as_it_is(analyzer, there.meaning(name, ignore))

    def _compared(self, name: str, target_name: str) -> Comparison:
        known, ignore = self._comparisons, self.recovery_plan.ignore
        if (name, target_name) not in known:
            known.clear()  # One is asked for several times in a row; all of them would fill the memory.
            definition = self._definition(name, target_name)
            own = self.source.means(name, ignore) if definition is None else writable(definition, ignore)
            known[name, target_name] = Comparison(own, self.target.means(target_name, ignore))
        return known[name, target_name]

    def _against_target(self, item: PlanItem) -> PlanItem:
        version = self.target.serving.resource.api_version
        if item.action is Action.REPLACE and version == PREVIEW_2025 and not item.over_nothing:
            cause = f"Api-version {version} cannot replace it"
            there = verdicts.explain(
                item.verdict, Action.REFUSE, item.analyzer, item.source, item.target, in_place=False
            )
            return _refused(item, f"{cause}. {there}")
        if item.action in verdicts.COPYING and len(item.target_analyzer) > LONGEST_ID:
            cause = f"Its copy would be called {item.target_analyzer}, which is too long for an id"
            advice = "Choose a shorter target_id, or exclude it from the plan"
            if item.action is Action.COPY_AS_VERSION:
                advice = f"Delete {self.names.of(item.analyzer)} at {item.target} and run again"
                advice += "" if version == PREVIEW_2025 else ", or allow --on-existing replace"
            return _refused(item, f"{cause}. {advice}.")
        if item.action is Action.COPY and item.found is not None:
            return items.blocked(item, f"It is being deleted at {item.target}. Run again when it is gone.")
        return item

    def _against_models(self, item: PlanItem) -> PlanItem:
        judged = self._judged_models(item)
        if judged.warnings:
            item = replace(item, warnings=item.warnings + judged.warnings)
        if not judged.errors:
            return item
        if item.action in verdicts.COPYING:
            return items.blocked(item, " ".join(judged.errors))
        # What is there already stays there, but it would not work: that must not go unsaid.
        return replace(item, warnings=item.warnings + judged.errors)

    def _judged_models(self, item: PlanItem) -> JudgedModels:
        # Most analyzers name the same models.
        known, there, missing = self._judged, self.target.serving, self.recovery_plan.missing_defaults
        if item.models not in known:
            known[item.models] = judge_models(item.models, self.source.serving, there, self.overrides, missing)
        return known[item.models]


def _refused(item: PlanItem, reason: str) -> PlanItem:
    return replace(item, action=Action.REFUSE, reason=reason)


def _against_source(item: PlanItem, dependencies: Dependencies) -> PlanItem:
    if item.action not in verdicts.ACTING:
        return item
    if item.analyzer in dependencies.cycles:
        path = " → ".join(dependencies.cycles[item.analyzer])
        return items.blocked(item, f"It refers to itself through {path}. Break the cycle at {item.source}.")
    if missing := dependencies.missing.get(item.analyzer):
        names = ", ".join(sorted(missing))
        cause = f"It refers to {names}, which {item.source} does not have"
        return items.blocked(item, f"{cause}. Create it there, or remove the reference.")
    if item.action in verdicts.COPYING and item.expected.status != "ready":
        cause = f"It is {item.expected.status} at {item.source}, and only a ready analyzer can be copied"
        is_made = item.expected.status == "creating"
        advice = "Run again when it is ready" if is_made else "Build it again there, or exclude it from the plan"
        return items.blocked(item, f"{cause}. {advice}.")
    return item


def _protected(plan: RecoveryPlan, source: Inventory | None, now: datetime) -> list[str]:
    analyzers = source.analyzers if source else {}
    return [name for name, analyzer in analyzers.items() if is_protected(plan, analyzer, now)]


def _last_seen(
    plan: RecoveryPlan, selected: Sequence[str], source: Inventory | None, records: Records, analyzers: Sequence[str]
) -> dict[str, Sighting]:
    """Give what is asked for of a pair that cannot be compared: as its source has it, else as the ledger saw it."""
    if source is None:
        found = {record.analyzer or copy: record.source for copy, record in records.items()}
        return {name: seen for name, seen in found.items() if matches(name, analyzers)}
    names = resolve(selected, source.definitions).children
    return {name: verdicts.sight(source.analyzers[name], source.definitions[name], plan.ignore) for name in names}


def make_plan(
    recovery_plan: RecoveryPlan,
    selection: Selection,
    inventories: Mapping[str, Inventory],
    records: Mapping[tuple[str, str], Records],
    made_at: datetime,
    rebuilt: Mapping[str, RebuiltThere] | None = None,  # those still that incarnation, by resource and id
    owners: Mapping[str, Mapping[str, Owner]] | None = None,  # of copies that other plans made, by target and id
    *,
    others: OtherPlans | None = None,  # what serves for them; they are not considered where it is left out
    following: bool = False,  # whether the run is a part of a failover
    unseen: Mapping[str, str] | None = None,  # why a resource has no inventory, by name: it could not be looked at
    earlier: bool = False,  # whether its fingerprints will be compared with those that an earlier version stored
) -> ReplicationPlan:
    """Decide what a run would do about every selected analyzer and target; `NothingSelected` where none matches."""
    unseen, others = unseen or {}, others or OtherPlans(recovery_plan.name)
    sources = {source for source, _ in items.selected_pairs(recovery_plan, selection)}
    protected = {source: _protected(recovery_plan, inventories.get(source), made_at) for source in sources}
    _refuse_unknown(recovery_plan, selection, inventories, protected)
    every: list[PlanItem] = []
    added: dict[str, dict[str, str]] = {}
    for source, target in items.selected_pairs(recovery_plan, selection):
        known = records.get((source, target), {})
        selected = [name for name in protected[source] if matches(name, selection.analyzers)]
        if reason := unseen.get(source) or unseen.get(target):
            seen = _last_seen(recovery_plan, selected, inventories.get(source), known, selection.analyzers)
            every.extend(items.unseen_items(source, target, seen, known, reason))
            continue
        here, there = inventories[source], inventories[target].with_defaults(added.setdefault(target, {}))
        theirs, built = (owners or {}).get(target, {}), rebuilt or {}
        pair = Pair(
            recovery_plan, selection, selected, here, there, known, theirs, built, made_at, others, following, earlier
        )
        planned, defaults = pair.plan()
        if outside := recovery_plan.leaving(here.serving.resource, there.serving.resource):
            planned = [it if it.action not in verdicts.COPYING else _refused(it, outside) for it in planned]
            defaults = {}
        every.extend(planned)
        added[target].update(defaults)
    additions = {target: defaults for target, defaults in added.items() if defaults}
    return ReplicationPlan(recovery_plan, made_at, tuple(every), additions, dict(unseen))


def _refuse_unknown(
    plan: RecoveryPlan,
    selection: Selection,
    inventories: Mapping[str, Inventory],
    protected: Mapping[str, Sequence[str]],
) -> None:
    for target in selection.targets:
        if target not in plan.targets:
            raise NothingSelected("target", target, list(plan.targets))
    if not protected.keys() <= inventories.keys():
        return  # A name that is not known may be one of a source that could not be looked at.
    must_match(selection.analyzers, {name for names in protected.values() for name in names})
    everything = {name for source in protected for name in inventories[source].analyzers}
    for forced in selection.force:
        if forced not in everything:
            raise NothingSelected("analyzer", forced, sorted(everything), "force")
