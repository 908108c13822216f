"""How each analyzer changed at the primary and at the standby since the last verified copy.

Which of the two is kept follows from that, or is decided by people where both have something of their own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from standby.concurrency import side_by_side
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.errors import GuardRefused, StandbyError
from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.failback.report import (
    CONFLICTS,
    COPIED_TO_PRIMARY,
    Choice,
    Divergence,
    DivergenceItem,
    DivergenceReport,
)
from standby.recovery.snapshots.id_mapping import Provenance, trace
from standby.recovery.sync import newer_records, reversed_records
from standby.replication import verdict
from standby.replication.fingerprint import comparison, fingerprint, same_meaning
from standby.replication.inventory import Inventory, is_protected, take_inventory
from standby.replication.items import Records, Selection
from standby.replication.ledger import Rebuilt, RebuiltThere
from standby.replication.needs import resolve
from standby.replication.trained import known_rebuilt
from standby.replication.verdict import CopyRecord, Sighting
from standby.service.errors import ServiceError


class NothingThere(StandbyError):
    def __init__(self, analyzer: str, standby: str) -> None:
        super().__init__(f"{standby} has no {analyzer} that could be kept", f"Leave out --keep {analyzer}=standby")


class NotCompared(StandbyError):
    def __init__(self, plan: str, analyzer: str, primary: str, standby: str) -> None:
        action = f"Use its id at {primary}; standby failback {plan} --dry-run lists the analyzers that differ"
        super().__init__(f"Neither {primary} nor {standby} has an analyzer {analyzer} of plan {plan}", action)


class PrimaryDoesNotAnswer(GuardRefused):
    def __init__(self, plan: str, primary: str, reason: str) -> None:
        cause = f"The analyzers of {primary} cannot be read: {reason.removesuffix('.')}"
        super().__init__(cause, f"Fix that (standby doctor {plan} helps), then run again")


Choices = Mapping[str, Choice]  # Whose analyzer is kept, by its id at the primary, where somebody decided


_STAYS_THERE = frozenset({Divergence.DELETED_AT_PRIMARY, Divergence.NEW_AT_STANDBY, Divergence.UNUSABLE_AT_STANDBY})
"""What the standby has, and is not copied to the primary where that of the primary is kept."""


@dataclass(frozen=True)
class Comparison:
    """Primary and standby, and what follows for each analyzer."""

    report: DivergenceReport
    provenance: Provenance
    equal: Records  # what is in sync, as if it had just been copied from the primary, by id at the standby

    @property
    def to_primary(self) -> tuple[str, ...]:
        other = (each for each in self.report.items if each.divergence is not Divergence.IN_SYNC)
        return tuple(each.standby_analyzer for each in other if each.keep == "standby" and each.standby_analyzer)

    @property
    def to_standby(self) -> tuple[str, ...]:
        """Ids at the primary of what the standby must take over, whatever was edited there."""
        edited = CONFLICTS | {Divergence.EDITED_AT_PRIMARY, Divergence.EDITED_AT_STANDBY}
        return tuple(it.analyzer for it in self.report.items if it.keep == "home" and it.divergence in edited)

    @property
    def selection(self) -> Selection:
        """What to copy from the standby to the primary: nothing but what was decided here."""
        coming = set(self.to_primary)
        rebuilt = {item.standby_analyzer for item in self.report.items if item.rebuilt}
        kept = [item for item in self.report.items if item.keep == "home"]
        left = {item.standby_analyzer for item in kept if item.divergence in _STAYS_THERE}
        return Selection(
            analyzers=tuple(name for name in self.provenance.belonging if name not in left),
            on_existing="refuse",
            force=tuple(sorted(coming)),
            keep=tuple(sorted(self.provenance.primary_ids.keys() - coming - (self.equal.keys() - rebuilt))),
            names=self.provenance.primary_ids,
            force_trained=tuple(
                item.standby_analyzer for item in self.report.items if item.forced and item.standby_analyzer
            ),
        )


@dataclass(frozen=True)
class _Facts:
    plan: RecoveryPlan
    primary: Inventory
    standby: Inventory
    records: Records
    provenance: Provenance
    rebuilt: RebuiltThere
    rebuilt_at_primary: RebuiltThere
    now: datetime
    begun_at: datetime | None


async def compare(
    context: RecoveryContext,
    primary: str,
    standby: str,
    keep: Choices,
    begun_at: datetime | None = None,  # when an unfinished failback began, UTC
    *,
    # Ids at the primary of what may be replaced although it was trained, and its counterpart was not.
    force: Collection[str] = (),
    earlier: Collection[str] = (),  # given to an earlier run of that failback: used where they still mean something
) -> Comparison:
    """Compare primary and standby with what they had in common; nothing is changed."""
    async with side_by_side() as group:
        serving = group.create_task(take_inventory(context.connections[standby]))
        away = group.create_task(_inventory_of_primary(context, primary))
    forward = (await context.run.read_ledger(primary, standby)).records
    backward = (await context.run.read_ledger(standby, primary)).records
    records = {**forward, **newer_records(forward, reversed_records(backward))}
    now = context.clock.now()
    at_primary, at_standby = away.result(), serving.result()
    provenance = trace(context.plan, at_primary, at_standby, records, now)
    facts = _Facts(
        plan=context.plan,
        primary=at_primary,
        standby=at_standby,
        records=records,
        provenance=provenance,
        rebuilt=await known_rebuilt(context.vault, standby, at_standby.analyzers),
        rebuilt_at_primary=await known_rebuilt(context.vault, primary, at_primary.analyzers),
        now=now,
        begun_at=begun_at,
    )
    items, equal = _compared(facts)
    found = DivergenceReport(
        plan=context.plan.name,
        primary=primary,
        standby=standby,
        epoch=(await read_fence(context.vault, context.plan)).epoch,
        compared_at=now,
        items=tuple(items),
        superseded=provenance.superseded,
        outside=provenance.outside,
    )
    return Comparison(_decided(found, keep, force, earlier), provenance, equal)


async def _inventory_of_primary(context: RecoveryContext, primary: str) -> Inventory:
    try:
        return await take_inventory(context.connections[primary])
    except ServiceError as error:
        raise PrimaryDoesNotAnswer(context.plan.name, primary, error.cause) from None


def _compared(facts: _Facts) -> tuple[list[DivergenceItem], dict[str, CopyRecord]]:
    plan, primary, standby, records = facts.plan, facts.primary, facts.standby, facts.records
    overrides = plan.overrides(standby.serving.resource.name)
    counterparts = facts.provenance.standby_ids
    expected = {
        name: verdict.expected_definition(
            definition, standby.serving.resource, overrides, standby.definitions.get(counterparts.get(name, ""))
        )
        for name, definition in primary.definitions.items()
    }
    ordered = sorted(records.items(), key=lambda entry: entry[1].copied_at)
    last = {record.analyzer or name: record for name, record in ordered}
    protected = [name for name, analyzer in primary.analyzers.items() if is_protected(plan, analyzer, facts.now)]
    # What the plan copies, what it once copied and the primary still has, and what the standby has of it.
    concerned = set(resolve(protected, primary.definitions).children) | (last.keys() & primary.analyzers.keys())
    items: list[DivergenceItem] = []
    equal: dict[str, CopyRecord] = {}
    for analyzer in sorted(counterparts.keys() | concerned):
        there = counterparts.get(analyzer)
        original = expected.get(analyzer)
        built, built_at_primary = facts.rebuilt.get(there or ""), facts.rebuilt_at_primary.get(analyzer)
        if built_at_primary and not _is_still_rebuilt(built_at_primary, primary, plan):
            built_at_primary = None
        at_primary = _sight(primary, analyzer, original, facts, built_at_primary)
        at_standby = _sight(standby, there, standby.definitions[there], facts, built) if there else None
        known = last.get(analyzer) if there is None else records.get(there)
        found = diverge(at_primary, at_standby, known, facts.begun_at)
        if built_at_primary and at_primary and at_primary.rebuilt and at_standby:
            if found in _BOTH_HAVE_IT and at_standby.has_training:
                is_edited = _is_edited(primary.definitions[analyzer], built_at_primary, plan)
                found = Divergence.REBUILT_AND_EDITED_AT_PRIMARY if is_edited else Divergence.REBUILT_AT_PRIMARY
        elif built and at_primary and at_standby and original and _is_still_rebuilt(built, standby, plan):
            is_own = built.origin == primary.serving.resource.name
            found = _rebuilt_at_standby(found, built, at_primary, at_standby, known, is_own=is_own)
        paths: tuple[str, ...] = ()
        if there is not None and original is not None:
            places = comparison(original, standby.definitions[there], plan.ignore).differences()
            paths = tuple(each.path for each in places)
        costs_training = _costs_training(at_primary, at_standby) and found is not Divergence.IN_SYNC
        is_copied = found in COPIED_TO_PRIMARY
        is_open = found in CONFLICTS or (is_copied and costs_training)
        items.append(
            DivergenceItem(
                analyzer=analyzer,
                standby_analyzer=there,
                divergence=found,
                keep=None if is_open else "standby" if is_copied else "home",
                rebuilt=at_standby is not None and at_standby.rebuilt,
                differences=paths,
                costs_training=costs_training,
            )
        )
        if found is Divergence.IN_SYNC and there and at_primary and at_standby:
            equal[there] = CopyRecord(at_primary, at_standby, facts.now, analyzer)
    return items, equal


def _sight(
    inventory: Inventory, name: str, definition: Mapping[str, JsonValue] | None, facts: _Facts, built: Rebuilt | None
) -> Sighting | None:
    if definition is None:
        return None
    analyzer, plan = inventory.analyzers[name], facts.plan
    seen = verdict.sight(analyzer, definition, plan.ignore)
    status = verdict.status_of(analyzer, facts.now, plan.deadlines.poll)
    return replace(seen, rebuilt=built is not None and built.trained, status=status)


def _is_still_rebuilt(built: Rebuilt, there: Inventory, plan: RecoveryPlan) -> bool:
    """Say whether it is certain: one with another date and its definition still may have been trained in its place."""
    is_edited = _is_edited(there.definitions[built.analyzer], built, plan)
    return built.is_certain and (is_edited or not built.is_older_than(there.analyzers[built.analyzer]))


def _is_edited(definition: Mapping[str, JsonValue], built: Rebuilt, plan: RecoveryPlan) -> bool:
    return not same_meaning(fingerprint(definition, plan.ignore), built.fingerprint)


def _costs_training(primary: Sighting | None, standby: Sighting | None) -> bool:
    """Say whether the primary's was trained, and the standby's was not as it was."""
    if primary is None or standby is None or not primary.has_training:
        return False
    return standby.rebuilt or not standby.trained


def _decided(
    report: DivergenceReport, keep: Choices, force: Collection[str], earlier: Collection[str]
) -> DivergenceReport:
    """Put in what somebody decided about whose analyzers are kept, and ordered about trained ones."""
    known = {item.analyzer: item for item in report.items}
    gone = {name for name, choice in keep.items() if choice == "standby" and name in known}
    gone = {name for name in gone if known[name].standby_analyzer is None}
    for analyzer in (*keep, *force):
        if analyzer not in known and analyzer not in earlier:
            raise NotCompared(report.plan, analyzer, report.primary, report.standby)
        if analyzer in gone and analyzer not in earlier:
            raise NothingThere(analyzer, report.standby)
    keep = {name: choice for name, choice in keep.items() if name not in gone}
    decided = []
    for item in report.items:
        forced = item.analyzer in force
        # An order to replace what is trained decides where nothing else is open.
        implied = "standby" if forced and item.divergence in COPIED_TO_PRIMARY else None
        choice = keep.get(item.analyzer) or item.keep or implied
        decided.append(item.model_copy(update={"keep": choice, "forced": forced}))
    return report.model_copy(update={"items": tuple(decided)})


def diverge(
    primary: Sighting | None, standby: Sighting | None, last: CopyRecord | None, begun_at: datetime | None = None
) -> Divergence:
    """Compare primary and standby with what they were at the last verified copy.

    That of the primary is reduced to what a copy of it at the standby would be. What was copied to the primary since
    an unfinished failback began, and is equal, was copied by it.
    """
    primary, standby = _there(primary), _there(standby)
    if standby is not None and standby.status not in {"ready", "creating"}:
        return Divergence.UNUSABLE_AT_STANDBY
    if primary is None:
        return Divergence.DELETED_AT_PRIMARY if last else Divergence.NEW_AT_STANDBY
    if standby is None:
        return Divergence.DELETED_AT_STANDBY if last else Divergence.NEW_AT_PRIMARY
    if primary.status == "creating":
        return Divergence.UNDER_WAY
    found = _between(primary, standby, last, begun_at)
    if primary.status != "ready" and found in {Divergence.IN_SYNC, Divergence.EDITED_AT_STANDBY}:
        return Divergence.UNUSABLE_AT_PRIMARY
    return found


def _there(sighting: Sighting | None) -> Sighting | None:
    return None if sighting is None or sighting.status == "deleting" else sighting


def _between(primary: Sighting, standby: Sighting, last: CopyRecord | None, begun_at: datetime | None) -> Divergence:
    equal = same_meaning(primary.fingerprint, standby.fingerprint)
    if equal and (not (primary.trained or standby.trained) or _is_our_copy(primary, standby, begun_at)):
        return Divergence.IN_SYNC
    if last is None:
        # Labelled data is no part of a definition: only dates tell whether one was made of the other.
        made_of_it = _is_made_after(primary, standby) or _is_made_after(standby, primary)
        return Divergence.IN_SYNC if equal and made_of_it else Divergence.DIFFERENT
    at_primary, at_standby = _changed(primary, last.source), _changed(standby, last.target)
    if at_primary and at_standby:
        return Divergence.EDITED_AT_BOTH
    if at_primary:
        return Divergence.EDITED_AT_PRIMARY
    if at_standby:
        return Divergence.EDITED_AT_STANDBY
    return Divergence.IN_SYNC if equal else Divergence.DIFFERENT


def _changed(now: Sighting, then: Sighting) -> bool:
    return verdict.is_trained_again(now, then) or not same_meaning(now.fingerprint, then.fingerprint)


def _is_made_after(one: Sighting, other: Sighting) -> bool:
    return one.created_at is not None and other.changed_at is not None and one.created_at >= other.changed_at


def _is_our_copy(primary: Sighting, standby: Sighting, begun_at: datetime | None) -> bool:
    """Say whether a failback copied it to the primary and was killed before it could record that."""
    return (
        begun_at is not None
        and primary.created_at is not None
        and primary.created_at >= begun_at.replace(microsecond=0)
        and _is_made_after(primary, standby)
    )


_BOTH_HAVE_IT = CONFLICTS | {Divergence.IN_SYNC, Divergence.EDITED_AT_PRIMARY, Divergence.EDITED_AT_STANDBY}


def _rebuilt_at_standby(
    found: Divergence, built: Rebuilt, primary: Sighting, standby: Sighting, last: CopyRecord | None, *, is_own: bool
) -> Divergence:
    """Say how an analyzer changed that was rebuilt at the standby, of which `diverge` says what was found.

    The last verified copy is likely of an earlier incarnation. It `is_own` if rebuilt from what the primary had.
    """
    if found not in _BOTH_HAVE_IT:
        return found
    has_what_was_built = same_meaning(primary.fingerprint, built.fingerprint)
    # Or was it trained again since, under the same definition?
    is_what_was_built = has_what_was_built and not _is_changed_since(primary, built, last)
    is_edited = not same_meaning(standby.fingerprint, built.fingerprint)
    if is_edited:
        return Divergence.EDITED_AT_STANDBY if is_what_was_built else found
    if not built.trained:
        return found
    if has_what_was_built:
        return Divergence.IN_SYNC if is_what_was_built else Divergence.EDITED_AT_PRIMARY
    if not is_own:
        return found  # It has what was edited at the standby, which the primary never had.
    # An earlier version of the primary's was restored: on purpose, or was the primary's edited since?
    at_primary = found in {Divergence.EDITED_AT_BOTH, Divergence.EDITED_AT_PRIMARY}
    return Divergence.EDITED_AT_PRIMARY if at_primary else Divergence.DIFFERENT


def _is_changed_since(now: Sighting, built: Rebuilt, last: CopyRecord | None) -> bool:
    if verdict.is_later(now.changed_at, built.created_at):
        return True
    then = last.source if last else now
    is_same = now.created_at == then.created_at and same_meaning(now.fingerprint, then.fingerprint)
    return not is_same or verdict.is_later(now.changed_at, then.changed_at)
