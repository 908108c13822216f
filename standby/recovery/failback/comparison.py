"""Looks at home and at its standby, and says whose analyzers go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from standby.concurrency import side_by_side
from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides
from standby.document import JsonValue
from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.failback.divergence import (
    COMES_TO_PRIMARY,
    CONFLICTS,
    Against,
    Divergence,
    diverge,
    meaning,
    with_rebuilt,
)
from standby.recovery.failback.errors import NotCompared, NothingThere, PrimaryDoesNotAnswer
from standby.recovery.failback.report import DivergenceItem, DivergenceReport, Kept
from standby.recovery.provenance import Provenance, trace
from standby.recovery.sync import newer_than, turned_around
from standby.replication.dependencies import resolve
from standby.replication.fingerprint import differences
from standby.replication.inventory import Inventory, is_protected, take_inventory
from standby.replication.items import Records, Selection
from standby.replication.ledger import RebuiltThere, read_ledger, read_rebuilt
from standby.replication.verdict import CopyRecord, Sighting, expected_definition, sight
from standby.service.errors import ServiceError

Keep = Mapping[str, Kept]
"""Whose analyzer goes on, by its id at home, where somebody said so."""


NOTHING_REBUILT: RebuiltThere = {}


@dataclass(frozen=True)
class Compared:
    """One analyzer, and how each side has it; home reduced to what a copy of it would be."""

    item: DivergenceItem
    primary: Sighting | None
    standby: Sighting | None


@dataclass(frozen=True)
class Comparison:
    """Both sides, and what each analyzer leads to.

    Attributes:
        report: for people and programs.
        provenance: what the analyzers of the standby are called at home.
        equal: what is in sync, as if it had just been copied from home, by id at the standby.
    """

    report: DivergenceReport
    provenance: Provenance
    equal: Records

    @property
    def coming_home(self) -> tuple[str, ...]:
        """Ids at the standby of what is to be copied home."""
        return tuple(
            item.standby_analyzer
            for item in self.report.items
            if item.keep == "standby" and item.standby_analyzer and item.divergence is not Divergence.IN_SYNC
        )

    @property
    def going_out(self) -> tuple[str, ...]:
        """Ids at home of what the standby must take over from it, whatever was done to it there."""
        return tuple(
            item.analyzer
            for item in self.report.items
            if item.keep == "home"
            and item.divergence in CONFLICTS | {Divergence.EDITED_AT_PRIMARY, Divergence.EDITED_AT_STANDBY}
        )

    @property
    def homeward(self) -> Selection:
        """What to ask the engine for, from the standby to home: nothing but what was decided here."""
        coming = set(self.coming_home)
        left = {
            item.standby_analyzer
            for item in self.report.items
            if item.keep == "home" and item.divergence in {Divergence.DELETED_AT_PRIMARY, Divergence.NEW_AT_STANDBY}
        }
        return Selection(
            analyzers=tuple(name for name in self.provenance.belonging if name not in left),
            on_existing="refuse",
            force=tuple(sorted(coming)),
            keep=tuple(sorted(self.provenance.primary_ids.keys() - coming - self.equal.keys())),
            names=self.provenance.primary_ids,
        )


async def compare(
    context: RecoveryContext,
    primary: str,
    standby: str,
    keep: Keep,
    begun_at: datetime | None = None,
) -> Comparison:
    """Look at both sides and at what they had in common; nothing is changed.

    Args:
        context: of the recovery.
        home: the source of ordinary times.
        standby: the resource that serves in its place.
        keep: whose analyzers go on where it was said.
        begun_at: when an unfinished failback began, UTC.

    Raises:
        HomeDoesNotAnswer: it cannot be said what home has.
        NotCompared: `keep` names what is on neither side.
        NothingThere: `keep` names what the standby does not have.
    """
    async with side_by_side() as group:
        serving = group.create_task(take_inventory(context.connections[standby]))
        away = group.create_task(_primary(context, primary))
    version = context.connections[primary].resource.api_version
    forward = (await read_ledger(context.vault, primary, standby, version)).records
    backward = (await read_ledger(context.vault, standby, primary, version)).records
    records = {**forward, **newer_than(forward, turned_around(backward))}
    now = context.clock.now()
    provenance = trace(context.plan, away.result(), serving.result(), records, now)
    rebuilt = await read_rebuilt(context.vault, standby)
    found = divergences(context.plan, away.result(), serving.result(), records, provenance, now, begun_at, rebuilt)
    fence = await read_fence(context.vault, context.plan)
    report = DivergenceReport(
        plan=context.plan.name,
        primary=primary,
        standby=standby,
        epoch=fence.epoch,
        compared_at=now,
        items=settled([each.item for each in found], keep, context.plan.name, primary, standby),
        superseded=provenance.superseded,
        outside=provenance.outside,
    )
    return Comparison(report, provenance, _equal(found, now))


def divergences(
    plan: RecoveryPlan,
    primary: Inventory,
    standby: Inventory,
    records: Records,
    provenance: Provenance,
    now: datetime,
    begun_at: datetime | None = None,
    rebuilt: RebuiltThere = NOTHING_REBUILT,
) -> tuple[Compared, ...]:
    """Say what became of every analyzer of a plan: a pure function of both sides and their ledger."""
    overrides = plan.deployments.get(standby.serving.resource.name, DeploymentOverrides())
    expected = {
        name: expected_definition(definition, standby.serving.resource, overrides)
        for name, definition in primary.definitions.items()
    }
    counterparts = provenance.standby_ids
    last = _last_by_primary(records)
    concerned = counterparts.keys() | _concerned(plan, primary, last, now)

    def compared(analyzer: str) -> Compared:
        there = counterparts.get(analyzer)
        at_home = _sight(primary, analyzer, expected.get(analyzer), plan)
        at_standby = None if there is None else _sight(standby, there, standby.definitions[there], plan)
        known = last.get(analyzer) if there is None else records.get(there)
        found = diverge(at_home, at_standby, known, begun_at)
        built = rebuilt.get(there) if there is not None else None
        if built is not None and not built.is_incarnation_of(standby.analyzers.get(built.analyzer)):
            built = None
        if built is not None and at_home is not None and at_standby is not None:
            against = Against(
                rebuilt=built,
                primary=at_home,
                last=known,
                primary_meaning=meaning(expected[analyzer], plan.ignore),
                standby_meaning=meaning(standby.definitions[built.analyzer], plan.ignore),
                equal=at_home.fingerprint == at_standby.fingerprint,
            )
            found = with_rebuilt(found, against, primary.serving.resource.name)
        item = DivergenceItem(
            analyzer=analyzer,
            standby_analyzer=there,
            divergence=found,
            keep=_unasked(found),
            rebuilt=built is not None and built.trained,
            differences=() if there is None else _paths(expected.get(analyzer), standby.definitions[there], plan),
        )
        return Compared(item, at_home, at_standby)

    return tuple(compared(analyzer) for analyzer in sorted(concerned))


def settled(
    items: Sequence[DivergenceItem], keep: Keep, plan: str, primary: str, standby: str
) -> tuple[DivergenceItem, ...]:
    """Put in what somebody said about whose analyzers go on.

    Raises:
        NotCompared: it names what is on neither side.
        NothingThere: it names what the standby does not have.
    """
    known = {item.analyzer: item for item in items}
    for analyzer, kept in keep.items():
        if analyzer not in known:
            raise NotCompared(plan, analyzer, primary, standby)
        if kept == "standby" and known[analyzer].standby_analyzer is None:
            raise NothingThere(analyzer, standby)
    return tuple(item.model_copy(update={"keep": keep.get(item.analyzer, item.keep)}) for item in items)


async def _primary(context: RecoveryContext, primary: str) -> Inventory:
    try:
        return await take_inventory(context.connections[primary])
    except ServiceError as error:
        raise PrimaryDoesNotAnswer(context.plan.name, primary, error.cause) from None


def _concerned(plan: RecoveryPlan, primary: Inventory, last: Mapping[str, CopyRecord], now: datetime) -> frozenset[str]:
    """Name what the plan copies from home, and what it once copied and is still there."""
    protected = [name for name, analyzer in primary.analyzers.items() if is_protected(plan, analyzer, now)]
    return frozenset(resolve(protected, primary.definitions).children) | (last.keys() & primary.analyzers.keys())


def _last_by_primary(records: Records) -> dict[str, CopyRecord]:
    ordered = sorted(records.items(), key=lambda entry: entry[1].copied_at)
    return {record.analyzer or name: record for name, record in ordered}


def _sight(
    inventory: Inventory, name: str, definition: Mapping[str, JsonValue] | None, plan: RecoveryPlan
) -> Sighting | None:
    if definition is None:
        return None
    return sight(inventory.analyzers[name], definition, plan.ignore)


def _paths(
    primary: Mapping[str, JsonValue] | None, standby: Mapping[str, JsonValue], plan: RecoveryPlan
) -> tuple[str, ...]:
    if primary is None:
        return ()
    return tuple(difference.path for difference in differences(primary, standby, plan.ignore))


def _equal(found: Iterable[Compared], now: datetime) -> dict[str, CopyRecord]:
    return {
        each.item.standby_analyzer: CopyRecord(each.primary, each.standby, now, each.item.analyzer)
        for each in found
        if each.item.divergence is Divergence.IN_SYNC and each.item.standby_analyzer and each.primary and each.standby
    }


def _unasked(found: Divergence) -> Kept | None:
    if found in CONFLICTS:
        return None
    return "standby" if found in COMES_TO_PRIMARY else "home"
