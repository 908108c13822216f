"""How true what a target has, or would get, is to the analyzer that a snapshot has."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from standby.document import Document, JsonObject, JsonValue
from standby.errors import GuardRefused
from standby.recovery.snapshots.manifest import AnalyzerEntry
from standby.replication.fingerprint import same_meaning
from standby.replication.items import Key
from standby.replication.ledger import Rebuilt
from standby.replication.verdict import HOLDS_NOTHING, CopyRecord, is_later
from standby.service.models import Analyzer


class Fidelity(StrEnum):
    """How true an analyzer at the target is to the one that the snapshot has."""

    EXACT = "exact"  # It is there already, as a verified copy made earlier

    EQUIVALENT = "equivalent"
    """Rebuilt from the same definition, and no labelled data that may have changed has a part in it."""

    UNFAITHFUL = "unfaithful"
    """Labelled data shaped it that has changed, is gone or is unknown; or something else is there."""


class RestoreAction(StrEnum):
    """What a restore does about an analyzer."""

    CREATE = "create"
    KEEP = "keep"
    REFUSE = "refuse"


class Restorable(Document):
    """One analyzer of a snapshot at the resource that is restored to: `resource` is where it was then."""

    primary: str = Field(alias="home")
    resource: str
    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    action: RestoreAction


class RestoreItem(Restorable):
    """What a restore would do about one analyzer."""

    held: bool = False  # whether the target has anything under its id
    met: bool = False  # whether the target has what the snapshot has, so that nothing is left to be done
    over_failed: bool = False  # what the target has failed or is stuck; it is overwritten
    reason: str
    needs: tuple[str, ...] = ()  # analyzers of this restore that must be there first, by their id at the target
    fingerprint: str = ""  # that it must have at the target
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Where it was, and its id there: unique in a restore."""
        return (self.resource, self.analyzer)


@dataclass(frozen=True)
class RestorePlan:
    """Everything one restore would do; nothing was changed to find out."""

    snapshot_id: str
    taken_at: datetime
    to: str
    items: tuple[RestoreItem, ...]  # in order of their id at the target
    # What is sent, by id at the target, of what is created.
    definitions: Mapping[str, Mapping[str, JsonValue]] = field(repr=False)
    # Model names that are added to the target's defaults first.
    added_defaults: Mapping[str, str] = field(default_factory=dict)
    # What was found wrong with the snapshot's files, a sentence each; all of it was made good by another store.
    problems: tuple[str, ...] = ()
    stale: tuple[Rebuilt, ...] = ()  # what is listed as rebuilt at the target, and is there no more
    is_drill: bool = False  # ids are those of a drill, which the plan does not know
    # Why what serves for another plan is left alone, by id at the target.
    elsewhere: Mapping[str, GuardRefused] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        counts = Counter(item.action for item in self.items)
        return {
            "snapshot": self.snapshot_id,
            "taken_at": self.taken_at.isoformat(),
            "to": self.to,
            "added_defaults": dict(self.added_defaults),
            "totals": {action.value: counts[action] for action in RestoreAction},
            "items": [item.model_dump(mode="json") for item in self.items],
            "problems": list(self.problems),
        }


class Holding(StrEnum):
    """What a target has under the id of an analyzer that is to be restored."""

    NOTHING = "nothing"
    VERIFIED_COPY = "verified copy"
    REBUILT = "rebuilt"
    SAME_DEFINITION = "same definition"
    EARLIER_TRAINING = "earlier training"
    OTHER_VERSION = "other version"
    SOMETHING_ELSE = "something else"
    UNFINISHED = "unfinished"
    FAILED = "failed"
    UNUSABLE = "unusable"


ABSENT = frozenset({Holding.NOTHING, Holding.FAILED})  # The target has nothing of these that could be lost


MET = frozenset({Holding.VERIFIED_COPY, Holding.REBUILT, Holding.SAME_DEFINITION, Holding.EARLIER_TRAINING})
"""Nothing is left to be done about these."""


@dataclass(frozen=True)
class Found:
    """An analyzer of the target, and the record of its copy."""

    analyzer: Analyzer
    fingerprint: str
    as_expected: bool  # whether it is what a restored one must be there
    record: CopyRecord | None  # of the last verified copy under this id, where there is one
    status: str  # that of the analyzer, but `STUCK` where nothing builds it any more
    rebuilt: Rebuilt | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the target still has the verified copy that the ledger has."""
        if self.record is None:
            return False
        then = self.record.target
        return same_meaning(self.fingerprint, then.fingerprint) and self.analyzer.created_at == then.created_at


def holding(entry: AnalyzerEntry, found: Found) -> Holding:
    if found.analyzer.status == "deleting":
        return Holding.NOTHING
    if found.status in HOLDS_NOTHING:
        return Holding.FAILED
    if found.status != "ready":
        return Holding.UNFINISHED if found.status == "creating" else Holding.UNUSABLE
    # What was only found equal is recorded as a copy is.
    is_copy = found.rebuilt is None and found.is_recorded
    if not found.as_expected:
        return Holding.OTHER_VERSION if is_copy else Holding.SOMETHING_ELSE
    if found.record is None or not is_copy:
        return Holding.SAME_DEFINITION if found.rebuilt is None else Holding.REBUILT
    # Labelled data may have built it again since, under the same definition.
    then, built_at = found.record.source, entry.created_at
    is_trained_again = entry.labelled and (built_at != then.created_at or is_later(entry.changed_at, then.changed_at))
    return Holding.EARLIER_TRAINING if is_trained_again else Holding.VERIFIED_COPY


def fidelity(held: Holding, entry: AnalyzerEntry, changed: str) -> Fidelity:
    """Say how true the analyzer at the target is, or will be once it is rebuilt; `changed` as for `explain`."""
    if held is Holding.VERIFIED_COPY:
        return Fidelity.EXACT
    if held in {Holding.EARLIER_TRAINING, Holding.OTHER_VERSION, Holding.SOMETHING_ELSE}:
        return Fidelity.UNFAITHFUL
    return Fidelity.UNFAITHFUL if entry.labelled and changed else Fidelity.EQUIVALENT


def action(held: Holding) -> RestoreAction:
    """Say what a restore does; it overwrites only what failed, and so holds nothing."""
    if held in ABSENT:
        return RestoreAction.CREATE
    return RestoreAction.REFUSE if held is Holding.UNUSABLE else RestoreAction.KEEP


def explain(held: Holding, entry: AnalyzerEntry, changed: str, to: str, status: str, delete: str) -> str:
    """Say in a sentence or two why that is done, and what can be done instead.

    `changed` says why its labelled data is not proven to be what it was; it is empty where it is, or has none.
    """
    left_alone = f"which is not changed. To restore this one, first {delete}."
    sentences = {
        Holding.NOTHING: f"{to} does not have it. {_rebuilt(entry, changed)}",
        Holding.VERIFIED_COPY: f"{to} has a verified copy of it.",
        Holding.REBUILT: (f"{to} has it already, rebuilt from its definition.{f' {changed}.' if changed else ''}"),
        Holding.SAME_DEFINITION: (f"{to} has one with the same definition already.{f' {changed}.' if changed else ''}"),
        Holding.EARLIER_TRAINING: f"{to} has a copy of it that was made before it was trained again.",
        Holding.OTHER_VERSION: f"{to} has a copy of another version of it, {left_alone}",
        Holding.SOMETHING_ELSE: f"{to} has something else under this id, {left_alone}",
        Holding.UNFINISHED: f"It is being built at {to}. Run again when this has ended.",
        Holding.FAILED: f"It is {status} at {to} and holds nothing, so it is overwritten. {_rebuilt(entry, changed)}",
        Holding.UNUSABLE: (
            f"It is {status} at {to}, and may hold a training, so it is not replaced. "
            f"To restore it anyway, first {delete}."
        ),
    }
    return sentences[held]


def _rebuilt(entry: AnalyzerEntry, changed: str) -> str:
    if not entry.labelled:
        return "It is rebuilt from its definition."
    if changed:
        return f"{changed}. The rebuilt analyzer may give other results."
    return "It is rebuilt, and trained again on labelled data that has not changed."
