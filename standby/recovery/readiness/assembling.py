"""Puts together the facts of one pair from what the resources said and what was recorded: no calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from standby.recovery.drill.summary import LatestDrills
from standby.recovery.readiness.durations import Durations
from standby.recovery.readiness.facts import Facts, Standing
from standby.recovery.readiness.last_runs import LastRuns
from standby.recovery.readiness.looking import Look, Looks
from standby.recovery.readiness.model_facts import Needed, model_facts, retirements
from standby.recovery.readiness.standing import Kept, Recorded, from_records, on_the_way_back, surveyed
from standby.replication.inventory import Inventory
from standby.replication.objectives import recovery_points
from standby.replication.planned import Records, Selection
from standby.replication.planning import make_plan
from standby.replication.rebuilt import RebuiltThere
from standby.replication.serving import Serving, models_of
from standby.service.errors import ServiceError
from standby.service.resource import DeploymentOverrides, Resource

Pair = tuple[str, str]
"""Source and target."""


@dataclass(frozen=True)
class Known:
    """What was gathered for all pairs of a plan.

    Attributes:
        ledgers: by source and target.
        kept: what the newest snapshot has, by source; nothing where it was not needed.
        rebuilt: by target.
    """

    resources: Mapping[str, Resource]
    looks: Looks
    ledgers: Mapping[Pair, Records]
    last_runs: LastRuns
    drills: LatestDrills
    durations: Durations
    kept: Mapping[str, Kept]
    rebuilt: Mapping[str, RebuiltThere] = field(default_factory=dict)

    def seen(self, resource: str) -> Inventory | None:
        """Give what a resource said it holds."""
        look = self.looks.get(resource)
        return look.inventory if isinstance(look, Look) else None


@dataclass(frozen=True)
class _Stand:
    """How the analyzers of a pair stand.

    Attributes:
        needed: the models of each.
        source: what stood behind those models until now.
        names: id at the target by id at home.
    """

    standings: tuple[Standing, ...]
    needed: Needed
    source: Serving
    names: Mapping[str, str]


def copied(frame: Facts) -> Pair:
    """Give the pair whose copies are meant: to what would serve, or to what serves on the way back."""
    return frame.home, frame.side.active if frame.is_way_back else frame.target


def facts_of(known: Known, frame: Facts) -> Facts:
    """Complete the facts of a pair, of which only who and when is known."""
    look = known.looks[frame.destination]
    source = known.looks.get(frame.home) if frame.source_asked else None
    facts = replace(
        frame,
        durations=known.durations,
        drill=None if frame.is_way_back else known.drills.at(frame.target),
        slots=known.resources[frame.destination].max_concurrent_copies,
        source_failure=source if isinstance(source, ServiceError) else None,
    )
    if isinstance(look, ServiceError):
        return replace(facts, target_failure=look, names=_names_by_runs(known, facts))
    there = look.inventory
    stand = _stand(known, facts, there)
    return replace(
        facts,
        standings=stand.standings,
        names=stand.names,
        rebuilt=() if facts.target == facts.home else _rebuilt(known, facts.target, stand.names),
        models=model_facts(facts.plan, stand.needed, stand.source, there.serving),
        retirements=retirements(facts.plan, stand.needed, there.serving, look.models),
    )


def _stand(known: Known, facts: Facts, there: Inventory) -> _Stand:
    pair = copied(facts)
    recorded = Recorded(known.ledgers[pair], known.last_runs.of(*pair), known.kept.get(facts.home))
    if facts.is_way_back:
        active = known.seen(facts.side.active) if facts.switched else None
        return _way_back(facts, there, active, recorded)
    source = known.seen(facts.home) if facts.source_asked else None
    if source is not None:
        return _survey(facts, source, there, recorded)
    standings = from_records(facts.plan, there, recorded, facts.now)
    return _Stand(
        standings,
        {each.analyzer: _models(there, each.target_analyzer) for each in standings},
        Serving(known.resources[facts.home], defaults=None, deployments=None),
        {each.analyzer: each.target_analyzer for each in standings},
    )


def _rebuilt(known: Known, target: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Name what labelled data trained at home, and a restore rebuilt at the target."""
    there = known.seen(target)
    if there is None:
        return ()
    at_home = {at_target: name for name, at_target in names.items()}
    found = {
        at_home.get(name, each.original)
        for name, each in known.rebuilt.get(target, {}).items()
        if each.trained and each.is_incarnation_of(there.analyzers.get(name))
    }
    # What another plan rebuilt there is none of this one's concern.
    return tuple(sorted(found & names.keys()))


def _survey(facts: Facts, source: Inventory, there: Inventory, recorded: Recorded) -> _Stand:
    plan = facts.plan
    # A version beside what is there would be called by another name than the applications call now.
    on_existing = "refuse" if plan.on_existing == "version" else plan.on_existing
    asked = Selection(targets=(facts.target,), sources=(facts.home,), on_existing=on_existing)
    inventories = {facts.home: source, facts.target: there}
    proposal = make_plan(plan, asked, inventories, {copied(facts): recorded.records}, facts.now)
    standings = tuple(
        surveyed(item, point, recorded.left.analyzers.get(item.analyzer), facts.now)
        for item, point in zip(proposal.items, recovery_points(proposal), strict=True)
    )
    return _Stand(
        standings,
        {item.analyzer: item.models for item in proposal.items},
        source.serving,
        {each.analyzer: each.target_analyzer for each in standings},
    )


def _way_back(facts: Facts, there: Inventory, active: Inventory | None, recorded: Recorded) -> _Stand:
    overrides = facts.plan.deployments.get(facts.side.active, DeploymentOverrides())
    standings, names = on_the_way_back(facts.plan, there, active, recorded, overrides, facts.now)
    return _Stand(
        standings,
        {each.analyzer: _models(there, each.analyzer) for each in standings},
        there.serving,
        {name: name for name in names} if facts.target == facts.home else names,
    )


def _models(there: Inventory, analyzer: str) -> tuple[tuple[str, str], ...]:
    return models_of(there.definitions.get(analyzer, {}))


def _names_by_runs(known: Known, frame: Facts) -> Mapping[str, str]:
    left = known.last_runs.of(*copied(frame)).analyzers
    if frame.target == frame.home:
        return {name: name for name in left}
    return {name: each.target_analyzer for name, each in left.items()}
