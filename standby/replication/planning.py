"""From what all resources hold to what a run would do: a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase

from standby.config.plan import RecoveryPlan
from standby.replication.errors import NothingSelected
from standby.replication.filters import is_protected
from standby.replication.inventory import Inventory
from standby.replication.pair import Pair
from standby.replication.planned import PlanItem, Records, ReplicationPlan, Selection

__all__ = ["PlanItem", "Records", "ReplicationPlan", "Selection", "make_plan", "selected_pairs"]


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
    _refuse_unknown(recovery_plan, selection, inventories, made_at)
    items: list[PlanItem] = []
    added: dict[str, dict[str, str]] = {}
    owners: dict[str, dict[str, str]] = {}
    for source, target in selected_pairs(recovery_plan, selection):
        pair = Pair(
            recovery_plan,
            selection,
            inventories[source],
            _with_defaults(inventories[target], added.setdefault(target, {})),
            records.get((source, target), {}),
            owners.setdefault(target, {}),
            made_at,
        )
        planned, defaults = pair.plan()
        items.extend(planned)
        added[target].update(defaults)
        for item in planned:
            owners[target].setdefault(item.target_analyzer, source)
    return ReplicationPlan(
        recovery_plan=recovery_plan,
        made_at=made_at,
        items=tuple(items),
        added_defaults={target: defaults for target, defaults in added.items() if defaults},
    )


def selected_pairs(recovery_plan: RecoveryPlan, selection: Selection) -> Iterator[tuple[str, str]]:
    """Yield source and target of every pair that is asked for."""
    for pair in recovery_plan.pairs:
        if selection.sources and pair.source not in selection.sources:
            continue
        for target in pair.targets:
            if not selection.targets or target in selection.targets:
                yield pair.source, target


def _refuse_unknown(
    recovery_plan: RecoveryPlan,
    selection: Selection,
    inventories: Mapping[str, Inventory],
    now: datetime,
) -> None:
    for target in selection.targets:
        if target not in recovery_plan.targets:
            raise NothingSelected("target", target, list(recovery_plan.targets))
    sources = {source for source, _ in selected_pairs(recovery_plan, selection)}
    known = sorted(
        {
            name
            for source in sources
            for name, analyzer in inventories[source].analyzers.items()
            if is_protected(recovery_plan, analyzer, now)
        }
    )
    for pattern in selection.analyzers:
        if pattern != "*" and not any(fnmatchcase(analyzer, pattern) for analyzer in known):
            raise NothingSelected("analyzer", pattern, known)
    everything = sorted({name for source in sources for name in inventories[source].analyzers})
    for forced in selection.force:
        if forced not in everything:
            raise NothingSelected("analyzer", forced, everything)


def _with_defaults(inventory: Inventory, added: Mapping[str, str]) -> Inventory:
    """Take for true what an earlier pair of the plan adds to the target's defaults."""
    if not added:
        return inventory
    serving = replace(inventory.serving, defaults={**(inventory.serving.defaults or {}), **added})
    return replace(inventory, serving=serving)
