"""Which analyzer of the primary each analyzer of a standby is a copy of: copies may have other ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from standby.config.globs import original_id
from standby.config.plan import RecoveryPlan
from standby.replication.inventory import Inventory, is_protected
from standby.replication.items import Records, TargetNames
from standby.replication.needs import referenced_anywhere, resolve

LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
    """Trace what a standby holds."""
    copies = _copies(plan, primary)
    primary_ids = {name: _primary_id(plan, name, copies, records) for name in standby.analyzers}
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


def _copies(plan: RecoveryPlan, primary: Inventory | None) -> dict[str, str]:
    """Give the id at the primary of every copy that the plan would make, by the id of the copy."""
    originals = {} if primary is None else primary.definitions
    names = TargetNames(plan.target_id, referenced_anywhere(originals), taken=())
    # What keeps its id comes before what is renamed to that id, as when it was copied.
    return {names.of(name): name for name in sorted(originals, key=lambda name: names.of(name) == name)}


def _primary_id(plan: RecoveryPlan, name: str, copies: Mapping[str, str], records: Records) -> str:
    record = records.get(name)
    if record is not None and record.analyzer is not None:
        return record.analyzer
    return copies.get(name) or original_id(plan.target_id, name)
