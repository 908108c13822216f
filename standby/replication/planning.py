"""From what all resources hold to what a run would do: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter

from standby.config.plan import OnExisting, RecoveryPlan
from standby.replication.actions import ACTING, COPYING, Action, decide, explain
from standby.replication.dependencies import Dependencies, resolve
from standby.replication.errors import NothingSelected
from standby.replication.expectation import expected_definition, sight
from standby.replication.fingerprint import differences
from standby.replication.inventory import Inventory
from standby.replication.models_policy import judge_models, with_added_defaults
from standby.replication.serving import models_of
from standby.replication.verdict import CopyRecord, Sighting, Verdict, judge
from standby.service.models import JsonValue
from standby.service.resource import SEED_PAGE_API_VERSION, DeploymentOverrides

Records = Mapping[str, CopyRecord]
"""The ledger of one pair: the last verified copy by target analyzer."""


@dataclass(frozen=True)
class Selection:
    """What of a recovery plan is asked for this time; no targets means all of them."""

    analyzers: tuple[str, ...] = ("*",)
    targets: tuple[str, ...] = ()
    on_existing: OnExisting | None = None


@dataclass(frozen=True)
class PlanItem:
    """One analyzer at one target: how it stands, what is to be done, and why.

    Attributes:
        needs: the children, by source id, that must be usable at the target first.
        models: role and name of every model it uses.
        expected: what the copy will be verified against.
        found: what the target held when the plan was made.
        differences: JSON paths at which the target differs from what is expected.
    """

    source: str
    target: str
    analyzer: str
    target_analyzer: str
    verdict: Verdict
    action: Action
    reason: str
    needs: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    expected: Sighting
    found: Sighting | None
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, target and analyzer: unique in a plan."""
        return (self.source, self.target, self.analyzer)


@dataclass(frozen=True)
class ReplicationPlan:
    """Everything a run would do, before it does any of it.

    Attributes:
        made_at: UTC.
        added_defaults: by target, the model names that will be added to its defaults, with their deployments.
    """

    recovery_plan: RecoveryPlan
    made_at: datetime
    items: tuple[PlanItem, ...]
    added_defaults: Mapping[str, Mapping[str, str]]

    @property
    def busy_targets(self) -> tuple[str, ...]:
        """The targets at which something is to be done."""
        return tuple(sorted({item.target for item in self.items if item.action in ACTING}))


def make_plan(
    recovery_plan: RecoveryPlan,
    selection: Selection,
    inventories: Mapping[str, Inventory],
    records: Mapping[tuple[str, str], Records],
    made_at: datetime,
) -> ReplicationPlan:
    """Decide for every selected analyzer and target what a run would do.

    Args:
        recovery_plan: pairs, filters and policies.
        selection: what of it is asked for.
        inventories: by resource name, for every resource of the selected pairs.
        records: the ledgers, by source and target.
        made_at: now, UTC.

    Raises:
        NothingSelected: a pattern or target of the selection matches nothing.
    """
    _refuse_unknown(recovery_plan, selection, inventories)
    items: list[PlanItem] = []
    added: dict[str, dict[str, str]] = {}
    for source, target in selected_pairs(recovery_plan, selection):
        pair = _Pair(recovery_plan, selection, inventories[source], inventories[target])
        planned, defaults = pair.plan(records.get((source, target), {}))
        items.extend(planned)
        added.setdefault(target, {}).update(defaults)
    return ReplicationPlan(
        recovery_plan=recovery_plan,
        made_at=made_at,
        items=tuple(_one_source_each(items)),
        added_defaults={target: defaults for target, defaults in added.items() if defaults},
    )


def selected_pairs(recovery_plan: RecoveryPlan, selection: Selection) -> Iterator[tuple[str, str]]:
    """Yield source and target of every pair that is asked for."""
    for pair in recovery_plan.pairs:
        for target in pair.targets:
            if not selection.targets or target in selection.targets:
                yield pair.source, target


def _refuse_unknown(
    recovery_plan: RecoveryPlan, selection: Selection, inventories: Mapping[str, Inventory]
) -> None:
    for target in selection.targets:
        if target not in recovery_plan.targets:
            raise NothingSelected("target", target, list(recovery_plan.targets))
    sources = {source for source, _ in selected_pairs(recovery_plan, selection)}
    known = [analyzer for source in sorted(sources) for analyzer in inventories[source].analyzers]
    for pattern in selection.analyzers:
        if pattern != "*" and not any(fnmatchcase(analyzer, pattern) for analyzer in known):
            raise NothingSelected("analyzer", pattern, known)


def _one_source_each(items: Iterable[PlanItem]) -> Iterator[PlanItem]:
    """Refuse to write one analyzer of a target from two sources: the plan's first pair keeps it."""
    owners: dict[tuple[str, str], str] = {}
    for item in items:
        owner = owners.setdefault((item.target, item.target_analyzer), item.source)
        if owner == item.source:
            yield item
        else:
            yield _blocked(item, f"{item.target} already gets an analyzer of this name from {owner}")


def _blocked(item: PlanItem, cause: str) -> PlanItem:
    return replace(item, verdict=Verdict.BLOCKED, action=Action.REFUSE, reason=cause)


@dataclass(frozen=True)
class _Pair:
    """One source and one target of a plan, with what both hold."""

    recovery_plan: RecoveryPlan
    selection: Selection
    source: Inventory
    target: Inventory

    def plan(self, records: Records) -> tuple[list[PlanItem], Mapping[str, str]]:
        dependencies = resolve(self._selected(), self.source.definitions)
        serving, added = with_added_defaults(
            (model for name in dependencies.children for model in models_of(self.source.definitions[name])),
            self.source.serving,
            self.target.serving,
            self.overrides,
            self.recovery_plan.missing_defaults,
        )
        target = replace(self.target, serving=serving)
        pair = replace(self, target=target)
        own = {name: pair._item(name, dependencies, records) for name in dependencies.children}
        items = list(_after_children(own, dependencies))
        needed = {model for item in items if item.action in COPYING for _, model in item.models}
        return items, {name: deployment for name, deployment in added.items() if name in needed}

    @property
    def overrides(self) -> DeploymentOverrides:
        target = self.target.serving.resource.name
        return self.recovery_plan.deployments.get(target, DeploymentOverrides())

    def _selected(self) -> list[str]:
        plan = self.recovery_plan
        return [
            name
            for name in self.source.analyzers
            if _matches(name, plan.include)
            and not _matches(name, plan.exclude)
            and _matches(name, self.selection.analyzers)
        ]

    def _item(self, name: str, dependencies: Dependencies, records: Records) -> PlanItem:
        source, target = self.source.serving.resource, self.target.serving.resource
        definition = expected_definition(self.source.definitions[name], target, self.overrides)
        expected = sight(self.source.analyzers[name], definition, self.recovery_plan.ignore)
        target_name, found = self._counterpart(name, expected)
        verdict = judge(expected, found, records.get(target_name))
        action = decide(verdict, self.selection.on_existing or self.recovery_plan.on_existing)
        item = PlanItem(
            source=source.name,
            target=target.name,
            analyzer=name,
            target_analyzer=self._free_version(name) if action is Action.COPY_AS_VERSION else target_name,
            verdict=verdict,
            action=action,
            reason=explain(verdict, action, source.name, target.name),
            needs=tuple(sorted(dependencies.children[name])),
            models=models_of(self.source.definitions[name]),
            expected=expected,
            found=found,
            differences=self._differences(definition, target_name, found, expected),
            warnings=_pulled_in(name, dependencies),
        )
        return self._against_models(_against_source(self._against_protocol(item), dependencies))

    def _counterpart(self, name: str, expected: Sighting) -> tuple[str, Sighting | None]:
        """Find what stands for an analyzer at the target: its namesake, or a version that equals it."""
        found = self._sight_target(name)
        if found is None or found.fingerprint == expected.fingerprint:
            return name, found
        for version in _versions(name, self.target.analyzers):
            candidate = self._sight_target(version)
            if candidate is not None and candidate.fingerprint == expected.fingerprint:
                return version, candidate
        return name, found

    def _sight_target(self, name: str) -> Sighting | None:
        analyzer = self.target.analyzers.get(name)
        if analyzer is None:
            return None
        return sight(analyzer, self.target.definitions[name], self.recovery_plan.ignore)

    def _differences(
        self,
        definition: Mapping[str, JsonValue],
        target_name: str,
        found: Sighting | None,
        expected: Sighting,
    ) -> tuple[str, ...]:
        if found is None or found.fingerprint == expected.fingerprint:
            return ()
        return tuple(
            difference.path
            for difference in differences(
                definition, self.target.definitions[target_name], self.recovery_plan.ignore
            )
        )

    def _free_version(self, name: str) -> str:
        number = 2
        while f"{name}_v{number}" in self.target.analyzers:
            number += 1
        return f"{name}_v{number}"

    def _against_protocol(self, item: PlanItem) -> PlanItem:
        version = self.target.serving.resource.api_version
        if item.action is Action.REPLACE and version == SEED_PAGE_API_VERSION:
            cause = f"{item.target} has one already, and api-version {version} cannot replace it"
            return replace(
                item,
                action=Action.REFUSE,
                reason=f"{cause}. Allow a copy beside it with --on-existing version.",
            )
        return item

    def _against_models(self, item: PlanItem) -> PlanItem:
        judged = judge_models(
            item.models,
            self.source.serving,
            self.target.serving,
            self.overrides,
            self.recovery_plan.missing_defaults,
        )
        item = replace(item, warnings=item.warnings + judged.warnings)
        if not judged.errors:
            return item
        if item.action in COPYING:
            return _blocked(item, " ".join(judged.errors))
        # What is there already stays there, but it would not work: that must not go unsaid.
        return replace(item, warnings=item.warnings + judged.errors)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _versions(name: str, known: Iterable[str]) -> list[str]:
    prefix = f"{name}_v"
    numbered = [other for other in known if other.startswith(prefix) and other[len(prefix) :].isdigit()]
    return sorted(numbered, key=lambda other: -int(other[len(prefix) :]))


def _pulled_in(name: str, dependencies: Dependencies) -> tuple[str, ...]:
    if name not in dependencies.pulled_in:
        return ()
    parents = sorted(parent for parent, needed in dependencies.children.items() if name in needed)
    return (f"Not selected, but needed by {', '.join(parents)}.",)


def _against_source(item: PlanItem, dependencies: Dependencies) -> PlanItem:
    if item.action not in COPYING:
        return item
    if item.analyzer in dependencies.cycles:
        path = " → ".join(dependencies.cycles[item.analyzer])
        return _blocked(item, f"It refers to itself through {path}. Break the cycle at {item.source}.")
    if missing := dependencies.missing.get(item.analyzer):
        names = ", ".join(sorted(missing))
        return _blocked(
            item, f"It refers to {names}, which {item.source} does not have. Create or unlink it."
        )
    if item.expected.status != "ready":
        return _blocked(
            item, f"It is {item.expected.status} at {item.source}. Only a ready analyzer can be copied."
        )
    return item


def _after_children(own: Mapping[str, PlanItem], dependencies: Dependencies) -> Iterator[PlanItem]:
    """Block every copy whose children will not be what the source's parent refers to."""
    graph = {
        name: () if name in dependencies.cycles else needed for name, needed in dependencies.children.items()
    }
    settled: dict[str, PlanItem] = {}
    for name in TopologicalSorter(graph).static_order():
        item = own[name]
        causes = [cause for child in item.needs if (cause := _hindrance(settled.get(child, own[child])))]
        if causes and item.action in COPYING and item.verdict is not Verdict.BLOCKED:
            item = _blocked(item, f"{' '.join(causes)} Settle that first.")
        settled[name] = item
    return iter(sorted(settled.values(), key=lambda item: item.analyzer))


def _hindrance(child: PlanItem) -> str:
    if child.action is Action.REFUSE:
        state = "blocked" if child.verdict is Verdict.BLOCKED else "refused"
        return f"Its child {child.analyzer} is {state}."
    if child.target_analyzer != child.analyzer:
        return f"It refers to {child.analyzer}, and the copy of that is called {child.target_analyzer}."
    return ""
