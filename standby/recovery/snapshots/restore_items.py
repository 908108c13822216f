"""What a restore would do about each analyzer, and how true the result would be to what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from standby.replication.rebuilt import Rebuilt
from standby.service.models import JsonValue


class Fidelity(StrEnum):
    """How true an analyzer at the target is to the one that was kept."""

    EXACT = "exact"
    """It is there already, as a verified copy made earlier."""

    EQUIVALENT = "equivalent"
    """Rebuilt from the same definition, and no labelled data that may have changed has a part in it."""

    UNFAITHFUL = "unfaithful"
    """Labelled data shaped it that has changed, is gone or is unknown; or something else is there."""


class RestoreAction(StrEnum):
    """What a restore does about an analyzer."""

    CREATE = "create"
    KEEP = "keep"
    REFUSE = "refuse"


class RestoreItem(BaseModel):
    """One analyzer of a snapshot at the resource that is restored to.

    Attributes:
        resource: where it was when the snapshot was taken.
        home: the source in whose place that resource served.
        action: create; keep what is there; refuse.
        held: whether the target has anything under its id.
        met: whether what is there is what the snapshot has, so that nothing is left to be done.
        reason: a sentence or two.
        needs: analyzers of this restore that must be there first, by their id at the target.
        fingerprint: that it must have at the target.
    """

    model_config = ConfigDict(frozen=True)

    home: str
    resource: str
    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    action: RestoreAction
    held: bool = False
    met: bool = False
    reason: str
    needs: tuple[str, ...] = ()
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestorePlan:
    """Everything one restore would do; nothing was changed to find out.

    Attributes:
        snapshot_id: what it restores from.
        taken_at: when that was taken, UTC.
        to: resource that is restored to.
        items: in order of their id at the target.
        definitions: what is sent, by id at the target, of what is created.
        added_defaults: model names that are added to the target's defaults first.
        problems: what was found wrong with the snapshot's files, a sentence each; all of it was made good by
            another store.
        stale: what is listed as rebuilt at the target, and is there no more.
        rehearsed: ids are those of a rehearsal, which the plan knows nothing of.
    """

    snapshot_id: str
    taken_at: datetime
    to: str
    items: tuple[RestoreItem, ...]
    definitions: Mapping[str, Mapping[str, JsonValue]] = field(repr=False)
    added_defaults: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    stale: tuple[Rebuilt, ...] = ()
    rehearsed: bool = False
